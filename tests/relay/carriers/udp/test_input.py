"""Where a route's datagrams come from: real sockets on loopback."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from zope.interface.verify import verifyObject

from tests.descriptors import descriptorsLeft
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
from txgroupsock import GroupsockReactor
from txgroupsock.primitives import GroupsockError, UnknownInterface, increaseReceiveBufferTo
from txgroupsock.primitives.hoststate import HostState
from txgroupsock.relay.carriers.udp import input  # noqa: A004 - a module of that name
from txgroupsock.relay.carriers.udp.input import UDPInput
from txgroupsock.relay.interfaces import IRelayInput
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.models.url import StreamURL

GROUPS = {socket.AF_INET: "239.7.7.1", socket.AF_INET6: "ff15::7771"}


def modelOf(*urls: str) -> InputModel:
    """The model of one input."""
    return InputModel.of([StreamURL.parse(each) for each in urls])


@asynccontextmanager
async def listening(reactor: Any, *urls: str) -> AsyncIterator[tuple[UDPInput, Collector]]:
    """An open input and what it feeds."""
    collector = Collector()
    source = UDPInput(reactor, modelOf(*urls))
    source.openInput(collector)
    try:
        yield source, collector
    finally:
        await source.closeInput()


def test_itIsWhatItSays(reactor: Any) -> None:
    """An input provides IRelayInput, open or not."""
    source = UDPInput(reactor, modelOf("udp://:5000"))
    verifyObject(IRelayInput, source)
    assert source.describe() == []
    assert str(source.counters) == "0 datagrams, 0 bytes, 0 dropped"


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_unicastIsReceived(reactor: Any, family: socket.AddressFamily) -> None:
    """What is sent to its address and port arrives, with its sender, and is counted."""
    host, port = LOOPBACK[family], freePort(family)
    async with listening(reactor, url(host, port)) as (source, collector):
        sender = send(b"one", host, port)
        send(b"", host, port)
        assert await collector.take(reactor, 2) == [b"one", b""]
        assert collector.senders[0] == sender
        assert str(source.counters) == "2 datagrams, 3 bytes, 0 dropped"
        assert source.describe() == [f"listening on {host} port {port}"]


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_theWildcardHearsEveryAddress(reactor: Any, family: socket.AddressFamily) -> None:
    """Without an address, or with ::, it receives whatever this host's addresses get."""
    port = freePort(family)
    text = f"udp://:{port}" if family == socket.AF_INET else f"udp://[::]:{port}"
    async with listening(reactor, text) as (_, collector):
        send(b"x", LOOPBACK[family], port)
        assert await collector.take(reactor, 1) == [b"x"]


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_unicastIsNotMixedWithOthersGroups(
    reactor: Any, family: socket.AddressFamily
) -> None:
    """A unicast input hears no group, though another program on this host has joined it."""
    port, group = freePort(family), GROUPS[family]
    text = f"udp://:{port}" if family == socket.AF_INET else f"udp://[::]:{port}"
    member = Listener(reactor, LOOPBACK[family], group=group)
    async with listening(reactor, text) as (_, collector):
        with member:
            send(b"for the group", group, port)
            send(b"for us", LOOPBACK[family], port)
            assert await collector.take(reactor, 1) == [b"for us"]


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_aGroupIsReceived(reactor: Any, family: socket.AddressFamily) -> None:
    """A group that was joined arrives; another one, and unicast on the same port, does not."""
    port, group = freePort(family), GROUPS[family]
    text = url(group, port, "?interface=lo")
    async with listening(reactor, text) as (source, collector):
        send(b"other group", group[:-1] + "9", port)
        send(b"unicast", LOOPBACK[family], port)
        send(b"group", group, port)
        assert await collector.take(reactor, 1) == [b"group"]
        assert source.describe() == [f"joined {group} on lo, port {port}"]


@pytest.mark.parametrize("text", ["[ff02::7772%lo]:{}", "[ff02::7772]:{}?interface=lo"])
@pytest_twisted.ensureDeferred
async def test_aLinkLocalGroupIsReceived(reactor: Any, text: str) -> None:
    """A link-local group is joined by its scope or by interface=, which mean the same."""
    port = freePort(socket.AF_INET6)
    async with listening(reactor, "udp://" + text.format(port)) as (source, collector):
        send(b"x", "ff02::7772", port)
        assert await collector.take(reactor, 1) == [b"x"]
        assert source.describe() == [f"joined ff02::7772 on lo, port {port}"]


@pytest_twisted.ensureDeferred
async def test_onlyTheChosenSourcesAreHeard(reactor: Any) -> None:
    """With sources, datagrams of other hosts to the same group do not arrive."""
    port, group = freePort(), "232.7.7.1"
    urls = [f"udp://127.0.0.{number}@{group}:{port}?interface=lo" for number in (2, 3)]
    async with listening(reactor, *urls) as (source, collector):
        for number in (4, 2, 4, 3, 4, 2):
            send(b"%d" % number, group, port, f"127.0.0.{number}")
        assert await collector.take(reactor, 3) == [b"2", b"3", b"2"]
        assert source.describe() == [
            f"joined 232.7.7.1 from 127.0.0.2 on lo, port {port}",
            f"joined 232.7.7.1 from 127.0.0.3 on lo, port {port}",
        ]


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_aGroupsPortIsShared(reactor: Any, family: socket.AddressFamily) -> None:
    """A second relay and another program on the same group each get every datagram."""
    port, group = freePort(family), GROUPS[family]
    text = url(group, port, "?interface=lo")
    with Listener(reactor, group, port, shared=True, group=group) as program:
        async with (
            listening(reactor, text) as (_, one),
            listening(reactor, text) as (_, two),
        ):
            send(b"x", group, port)
            assert await one.take(reactor, 1) == [b"x"]
            assert await two.take(reactor, 1) == [b"x"]
            assert await program.payloads(1) == [b"x"]


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_aUnicastPortIsNotShared(reactor: Any, family: socket.AddressFamily) -> None:
    """A second input on a unicast port is refused, with the way to find who has it."""
    host, port = LOOPBACK[family], freePort(family)
    async with listening(reactor, url(host, port)):
        second = UDPInput(reactor, modelOf(url(host, port)))
        with pytest.raises(GroupsockError) as caught:
            second.openInput(Collector())
        assert caught.value.errno == errno.EADDRINUSE
        assert f"'ss -lntup sport = :{port}' names it" in str(caught.value)
        assert second.describe() == []


@pytest_twisted.ensureDeferred
async def test_aGroupsPortCanBeKept(reactor: Any) -> None:
    """An input that does not share keeps others off the port of its group."""
    text = url("239.7.7.2", freePort(), "?interface=lo")
    source = UDPInput(reactor, modelOf(text), isShared=False)
    source.openInput(Collector())
    with pytest.raises(GroupsockError, match="Address already in use"):
        UDPInput(reactor, modelOf(text)).openInput(Collector())
    await source.closeInput()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("udp://192.0.2.1:5000", "cannot bind to 192.0.2.1:5000: "),
        ("udp://239.1.1.1:5000?interface=nope0", "cannot find the interface nope0: "),
        ("udp://[ff02::7]:5000", r"cannot bind to \[ff02::7\]:5000: .*needs its interface"),
    ],
)
def test_whatCannotBeOpenedIsSaid(reactor: Any, text: str, message: str) -> None:
    """An input that cannot be opened raises an OSError that says why, and leaves nothing open."""
    source = UDPInput(reactor, modelOf(text))
    with pytest.raises(OSError, match=message):
        source.openInput(Collector())
    assert source.describe() == []
    assert str(source.counters) == "0 datagrams, 0 bytes, 0 dropped"


def test_anInterfaceIsCheckedBeforeAnythingElse(reactor: Any) -> None:
    """An interface that does not exist is an UnknownInterface, whatever the family."""
    for host in ("239.1.1.1", "ff15::1"):
        with pytest.raises(UnknownInterface):
            UDPInput(reactor, modelOf(url(host, 5000, "?interface=nope0"))).openInput(Collector())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("udp://192.0.2.1:{}", "cannot bind to 192.0.2.1:"),
        ("udp://239.1.1.1:{}?interface=nope0", "cannot find the interface nope0: "),
        ("udp://[ff02::7%nope0]:{}", "cannot find the interface nope0: "),
    ],
)
@pytest_twisted.ensureDeferred
async def test_whatMayComeIsWaitedFor(reactor: Any, text: str, problem: str) -> None:
    """If asked to wait it is open without a state, and a warning says what is missing."""
    source = UDPInput(reactor, modelOf(text.format(freePort())))
    before = source._reactor.getDelayedCalls()
    with loggedLines() as lines:
        source.openInput(Collector(), waits=True)
    assert source.describe() == []
    [warning] = [each for each in source.warnings() if "buffer" not in each]
    assert warning.startswith(f"nothing is received: {problem}")
    assert sum("is not received: " in each for each in lines) == 1
    await source.closeInput()
    assert source.warnings() == [each for each in source.warnings() if "buffer" in each]
    assert source._reactor.getDelayedCalls() == before


def test_whatIsWrongIsNotWaitedFor(reactor: Any) -> None:
    """A port that somebody has, or an address that lacks its interface, is an error."""
    with Listener(reactor, "127.0.0.1") as other:
        for text in (f"udp://127.0.0.1:{other.port}", "udp://[ff02::7]:5000"):
            source = UDPInput(reactor, modelOf(text))
            with pytest.raises(OSError, match="cannot bind to"):
                source.openInput(Collector(), waits=True)


def test_tooManySourcesLeaveNothingOpen(reactor: Any) -> None:
    """When the kernel refuses one source too many, its limit is named, and the port closed."""
    limit = int(Path("/proc/sys/net/ipv4/igmp_max_msf").read_text())
    urls = [f"udp://10.0.0.{number}@232.7.7.3:5000?interface=lo" for number in range(1, limit + 2)]
    source = UDPInput(reactor, modelOf(*urls))
    with pytest.raises(GroupsockError, match=r"net\.ipv4\.igmp_max_msf") as caught:
        source.openInput(Collector())
    assert caught.value.errno == errno.ENOBUFS
    assert source.describe() == []


@pytest_twisted.ensureDeferred
async def test_kernelDropsAreCounted(reactor: Any) -> None:
    """What found the kernel's buffer full shows as dropped, also after the input is closed."""
    port = freePort()
    source, collector = UDPInput(reactor, modelOf(f"udp://127.0.0.1:{port}")), Collector()
    source.openInput(collector)
    assert source._port is not None
    source._port.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(50):  # before the reactor gets a turn
            sock.sendto(bytes(1000), ("127.0.0.1", port))
    dropped = source.counters.dropped["kernel"]
    assert 0 < dropped < 50
    await collector.take(reactor, 50 - dropped)
    before = source.counters.copy()
    assert str(before) == (
        f"{50 - dropped} datagrams, {50 - dropped},000 bytes, {dropped} dropped (kernel {dropped})"
    )
    await source.closeInput()
    assert source.counters == before


@pytest_twisted.ensureDeferred
async def test_truncatedDatagramsAreCounted(reactor: Any) -> None:
    """What is larger than the port takes is dropped whole, and counted as truncated."""
    port = freePort()
    async with listening(reactor, f"udp://127.0.0.1:{port}") as (source, collector):
        assert source._port is not None
        source._port.maxPacketSize = 100
        send(bytes(101), "127.0.0.1", port)
        send(bytes(100), "127.0.0.1", port)
        assert await collector.take(reactor, 1) == [bytes(100)]
        assert str(source.counters) == "1 datagrams, 100 bytes, 1 dropped (truncated 1)"


@pytest_twisted.ensureDeferred
async def test_aSmallReceiveBufferIsLogged(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A buffer that the kernel does not grant is said at the start, with the sysctl to raise."""
    monkeypatch.setattr(input, "RECEIVE_BUFFER", 2**30 - 1)
    # As for a user without CAP_NET_ADMIN: not forced.
    monkeypatch.setattr(
        input,
        "increaseReceiveBufferTo",
        lambda sock, size, **_: increaseReceiveBufferTo(sock, size),
    )
    text = f"udp://127.0.0.1:{freePort()}"
    with loggedLines() as lines:
        async with listening(reactor, text):
            pass
    said = [line for line in lines if "receive buffer" in line]
    assert said[0].startswith(f"the receive buffer of {text} has ")
    assert "instead of 1,073,741,823; raise net.core.rmem_max" in said[0]


@pytest_twisted.ensureDeferred
async def test_aClosedInputCanBeOpenedAgain(reactor: Any) -> None:
    """Closing gives the port back; to close twice is no error, and to open again continues."""
    port = freePort()
    source, collector = UDPInput(reactor, modelOf(f"udp://127.0.0.1:{port}")), Collector()
    await source.closeInput()
    for count in (1, 2):
        source.openInput(collector)
        send(b"x", "127.0.0.1", port)
        await collector.take(reactor, count)
        await source.closeInput()
        await source.closeInput()
        assert source.describe() == []
    assert source.counters.datagrams == 2


@pytest.mark.skipif(sys.platform != "linux", reason="numbers of descriptors as Linux gives them")
@pytest.mark.parametrize(
    "text",
    [
        "udp://127.0.0.1:{}",
        "udp://239.7.7.1:{}?interface=lo",
        "udp://127.0.0.1@232.7.7.1:{}?interface=127.0.0.1",
    ],
)
@pytest_twisted.ensureDeferred
async def test_aSocketAndOneToAskByAreEnoughDescriptors(reactor: Any, text: str) -> None:
    """Whatever is looked at of the host to open an input takes one more, and for a moment only."""
    ours = GroupsockReactor(reactor)
    ours.linkWatch.add(print)
    source = UDPInput(ours, modelOf(text.format(freePort())))
    try:
        with descriptorsLeft(2):
            source.openInput(Collector())
        with descriptorsLeft(0):
            source._changed(HostState())
        assert source.warnings() == []
    finally:
        await source.closeInput()
        ours.linkWatch.remove(print)
