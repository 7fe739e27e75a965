"""From an input to its outputs: real sockets on loopback."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from zope.interface.verify import verifyObject

from tests.relay.support import (
    BOTH_FAMILIES,
    LOOPBACK,
    Collector,
    Listener,
    freePort,
    loggedLines,
    send,
    url,
)
from txgroupsock.interfaces import IRunReceiver
from txgroupsock.primitives import GroupsockError
from txgroupsock.primitives.run import Run
from txgroupsock.relay.carriers.udp.input import UDPInput
from txgroupsock.relay.carriers.udp.output import UDPOutput
from txgroupsock.relay.engine.route import Route
from txgroupsock.relay.interfaces import IRelayOutput
from txgroupsock.relay.models.udp import InputModel, OutputModel

GROUPS = {
    socket.AF_INET: ("239.7.8.1", "239.7.8.2"),
    socket.AF_INET6: ("ff15::7781", "ff15::7782"),
}


@asynccontextmanager
async def relaying(reactor: Any, source: str, *outputs: str | IRelayOutput) -> AsyncIterator[Route]:
    """An open route to outputs given as such or by their URLs."""
    made = [
        UDPOutput(reactor, OutputModel.parse(each)) if isinstance(each, str) else each
        for each in outputs
    ]
    route = Route(UDPInput(reactor, InputModel.parse(source)), made)
    route.openRoute()
    try:
        yield route
    finally:
        await route.closeRoute()


@define(eq=False)
class Broken(Collector):
    """An output that raises what no output should."""

    attempts: int = 0

    def runReceived(self, run: Run) -> None:
        self.attempts += 1
        raise RuntimeError("broken on purpose")


@define(eq=False)
class Unopenable(Collector):
    """An output that cannot be opened."""

    def openOutput(self) -> None:
        raise OSError(errno.EPERM, "not today")


def test_itIsWhatItSays(reactor: Any) -> None:
    """A route provides IRunReceiver: its input feeds it."""
    verifyObject(IRunReceiver, Route.fromURLs(reactor, ["udp://:5000"], ["udp://127.0.0.1:5001"]))


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_unicastGoesToUnicast(reactor: Any, family: socket.AddressFamily) -> None:
    """What arrives at a unicast port leaves for a unicast address, empty datagrams too."""
    host, port = LOOPBACK[family], freePort(family)
    payloads = [b"one", b"", b"three", b""]
    with Listener(reactor, host) as listener:
        async with relaying(reactor, url(host, port), url(host, listener.port)) as route:
            for each in payloads:
                send(each, host, port)
            assert await listener.payloads(4) == payloads
            incoming, outgoing = route.status().report()
            counts = "4 datagrams, 8 bytes, 0 dropped; buffer "
            assert incoming.startswith(f"in, listening on {host} port {port}: {counts}")
            assert outgoing.startswith(
                f"out, sending to {host} port {listener.port}: {counts}1,048,576 bytes"
            )


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_multicastGoesToUnicastAndMulticast(
    reactor: Any, family: socket.AddressFamily
) -> None:
    """A group goes to a host and to another group at once; each output gets all of it."""
    host, port = LOOPBACK[family], freePort(family)
    group, other = GROUPS[family]
    payloads = [bytes([number]) * number for number in range(50)]
    with Listener(reactor, host) as unicast, Listener(reactor, other, group=other) as multicast:
        outputs = [url(host, unicast.port), url(other, multicast.port, "?interface=lo")]
        async with relaying(reactor, url(group, port, "?interface=lo"), *outputs) as route:
            for each in payloads:
                send(each, group, port)
            assert await unicast.payloads(50) == payloads
            assert await multicast.payloads(50) == payloads
            assert route.status().describe() == [
                f"joined {group} on lo, port {port}",
                f"sending to {host} port {unicast.port}",
                f"sending to {other} port {multicast.port} by lo",
            ]


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_oneFamilyGoesToTheOther(reactor: Any, family: socket.AddressFamily) -> None:
    """An IPv4 stream can leave over IPv6, and the other way round."""
    other = socket.AF_INET6 if family == socket.AF_INET else socket.AF_INET
    group, port = GROUPS[family][0], freePort(family)
    with Listener(reactor, LOOPBACK[other]) as listener:
        out = url(LOOPBACK[other], listener.port)
        async with relaying(reactor, url(group, port, "?interface=lo"), out):
            send(b"across", group, port)
            assert await listener.payloads(1) == [b"across"]


@pytest_twisted.ensureDeferred
async def test_aLinkLocalGroupIsRelayed(reactor: Any) -> None:
    """From one link-local IPv6 group to another."""
    port = freePort(socket.AF_INET6)
    with Listener(reactor, "ff02::7784", group="ff02::7784") as listener:
        out = f"udp://[ff02::7784%lo]:{listener.port}"
        async with relaying(reactor, f"udp://[ff02::7783%lo]:{port}", out):
            send(b"link", "ff02::7783", port)
            assert await listener.payloads(1) == [b"link"]


# The family is no parameter: pytest-twisted can run only one item of a Hypothesis test.
@given(
    family=st.sampled_from([socket.AF_INET, socket.AF_INET6]),
    sizes=st.lists(
        st.integers(0, 65507) | st.sampled_from([1, 1316, 1472, 1473, 65506, 65507]),
        min_size=1,
        max_size=8,
    ),
)
@settings(max_examples=30)
@pytest_twisted.ensureDeferred
async def test_datagramsOfAnySizeArriveUnchanged(
    reactor: Any, family: socket.AddressFamily, sizes: list[int]
) -> None:
    """Datagrams of 0 to 65,507 bytes arrive bit by bit as they were sent, in order."""
    host, port = LOOPBACK[family], freePort(family)
    payloads = [bytes((index + at) % 251 for at in range(251)) * 261 for index in range(len(sizes))]
    payloads = [whole[:size] for whole, size in zip(payloads, sizes, strict=True)]

    with Listener(reactor, host) as listener:
        async with relaying(reactor, url(host, port), url(host, listener.port)) as route:
            for each in payloads:
                send(each, host, port)
            assert await listener.payloads(len(sizes)) == payloads
            assert route.input.counters == route.outputs[0].counters
            assert route.input.counters.bytes == sum(sizes)


@pytest_twisted.ensureDeferred
async def test_anOutputNeverTakesTheInputsPort(reactor: Any) -> None:
    """Where the kernel has but two ports to give, an output gets the one that the input leaves."""
    if "TXGROUPSOCK_NO_PRIVATE_NETWORK" in os.environ:
        pytest.skip("would change this machine's ip_local_port_range")
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    before, first = given.read_text(), freePort()
    try:
        given.write_text(f"{first} {first + 1}")
    except OSError:
        pytest.skip("no right to change ip_local_port_range")
    try:
        for port in (first, first + 1) * 5:
            async with relaying(reactor, f"udp://:{port}", "udp://127.0.0.1:9"):
                pass
    finally:
        given.write_text(before)


@pytest_twisted.ensureDeferred
async def test_aDeadOutputDoesNotDisturbTheOthers(reactor: Any) -> None:
    """An output without a route counts what it drops, and a live one gets everything; what came
    in is what each sent and dropped.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if sock.connect_ex(("192.0.2.1", 9)) != errno.ENETUNREACH:
            pytest.skip("a default route leads to 192.0.2.1 here")
    port = freePort()
    with Listener(reactor, "127.0.0.1") as listener, loggedLines() as lines:
        live = url("127.0.0.1", listener.port)
        async with relaying(reactor, f"udp://:{port}", "udp://192.0.2.1:9", live) as route:
            for number in range(200):
                send(b"%d" % number, "127.0.0.1", port)
            assert await listener.payloads(200) == [b"%d" % number for number in range(200)]
            assert [str(each.counters) for each in route.outputs] == [
                "0 datagrams, 0 bytes, 200 dropped (ENETUNREACH 200)",
                "200 datagrams, 490 bytes, 0 dropped",
            ]
            for each in route.outputs:
                counted = each.counters.datagrams + each.counters.dropped.total()
                assert counted == route.input.counters.datagrams
    assert len(lines) == 1


@pytest_twisted.ensureDeferred
async def test_anOutputThatRaisesStopsNoOther(reactor: Any) -> None:
    """Whatever an output raises, the others get their datagrams; it is logged once, and counted
    every time.
    """
    port = freePort()
    broken, after = Broken(), Collector()
    with loggedLines() as lines:
        async with relaying(reactor, f"udp://:{port}", broken, after):
            for _ in range(3):
                send(b"x", "127.0.0.1", port)
            assert await after.take(reactor, 3) == [b"x"] * 3
    assert broken.attempts == 3
    assert str(broken.counters) == "0 datagrams, 0 bytes, 3 dropped (error 3)"
    assert [line for line in lines if "failed; later failures are counted" in line] == lines
    assert len(lines) == 1


@pytest.mark.parametrize("position", [0, 1, 2])
def test_anOutputThatCannotBeOpenedClosesTheOthers(reactor: Any, position: int) -> None:
    """When an output cannot be opened the error is raised, and nothing else stays open."""
    others = [Collector(), Collector()]
    outputs: list[Collector] = [*others]
    outputs.insert(position, Unopenable())
    route = Route(UDPInput(reactor, InputModel.parse(f"udp://:{freePort()}")), outputs)
    with pytest.raises(OSError, match="not today"):
        route.openRoute()
    assert not any(each.isOpen for each in others)
    assert route.input.describe() == []


def test_anInputThatCannotBeOpenedOpensNoOutput(reactor: Any) -> None:
    """When the input cannot be opened the error is raised, and no output is open."""
    outputs = [UDPOutput(reactor, OutputModel.parse("udp://127.0.0.1:9")), Collector()]
    route = Route(UDPInput(reactor, InputModel.parse("udp://192.0.2.1:5000")), outputs)
    with pytest.raises(GroupsockError, match=r"cannot bind to 192\.0\.2\.1:5000"):
        route.openRoute()
    assert not outputs[1].isOpen  # type: ignore[attr-defined]
    outputs[0].runReceived(Run(memoryview(b"x"), 1, ("", 0), 0.0))
    assert outputs[0].counters.dropped == {"closed": 1}


def test_closingWaitsForEveryOutput() -> None:
    """A route is closed when its input and all its outputs are, the input first."""
    order: list[str] = []

    @define(eq=False)
    class Slow(Collector):
        closing: Deferred[None] | None = None

        def closeOutput(self) -> Deferred[None]:
            order.append("output")
            self.closing = Deferred()
            return self.closing

    @define(eq=False)
    class Source:
        counters: Any = None

        def openInput(self, receiver: Any) -> None:
            order.append("open")

        def closeInput(self) -> Deferred[None]:
            order.append("input")
            return succeed(None)

        def describe(self) -> list[str]:
            return []

    slow = Slow()
    route = Route(Source(), [slow])  # type: ignore[arg-type]
    route.openRoute()
    closed = route.closeRoute()
    done: list[Any] = []
    closed.addCallback(done.append)
    assert order == ["open", "input", "output"]
    assert not done
    assert slow.closing is not None
    slow.closing.callback(None)
    assert done
