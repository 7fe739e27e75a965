"""Outputs whose destination is a host name, with a resolver that answers when the test says so."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import pairwise
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.relay.carriers.udp.test_output_faults import Host, counts, reasons
from tests.relay.resolver import ResolvingClock
from tests.relay.support import SECONDS, Listener, freePort, loggedLines, opened, runOf
from txgroupsock.relay.carriers.udp.hostlookup import HostLookup
from txgroupsock.relay.carriers.udp.output import UDPOutput
from txgroupsock.relay.models.udp import OutputModel
from txgroupsock.testing.namespaces import Namespace

NAME = "stream.example"


@pytest.fixture
def clock() -> ResolvingClock:
    """Time, and the resolver."""
    return ResolvingClock()


@pytest.fixture
def host(namespaces: None) -> Iterator[Host]:
    """The test is inside."""
    made = Host()
    with closing(made), made:
        yield made


@pytest_twisted.ensureDeferred
async def test_aHostNameIsLookedUp(reactor: Any, clock: ResolvingClock) -> None:
    """What comes before the answer is dropped as "lookup"; after it everything is sent there."""
    with (
        Listener(reactor, "127.0.0.1") as listener,
        opened(f"udp://{NAME}:{listener.port}", clock) as output,
    ):
        where = f"sending to {NAME} port {listener.port}"
        assert output.describe() == [f"{where}, not looked up yet"]
        assert (output.localAddress, output.buffer) == (None, None)
        output.runReceived(runOf(b"aa", b"b"))
        clock.questions[0].answer("127.0.0.1")
        assert output.describe() == [f"sending to 127.0.0.1 port {listener.port}"]
        output.runReceived(runOf(b"hello"))
        assert await listener.payloads(1) == [b"hello"]
        assert str(output.counters) == "1 datagrams, 5 bytes, 2 dropped (lookup 2)"


@pytest_twisted.ensureDeferred
async def test_aChangedAddressIsFollowed(reactor: Any, clock: ResolvingClock) -> None:
    """When the name's address changes the stream goes there, counters and sender's port kept."""
    clock.known[NAME] = ["127.0.0.1"]
    with (
        Listener(reactor, "127.0.0.1") as one,
        Listener(reactor, "127.0.0.2", one.port) as two,
        opened(f"udp://{NAME}:{one.port}", clock) as output,
    ):
        output.runReceived(runOf(b"one"))
        clock.known[NAME] = ["127.0.0.2"]
        clock.advance(HostLookup.interval)
        output.runReceived(runOf(b"two"))
        (first,), (second,) = await one.take(1), await two.take(1)
        assert (first.data, second.data) == (b"one", b"two")
        assert first.sender == second.sender
        assert output.counters.datagrams == 2


@pytest_twisted.ensureDeferred
async def test_theFamilyMayChange(reactor: Any, clock: ResolvingClock) -> None:
    """A name may stand for an IPv6 address now and for an IPv4 one later."""
    clock.known[NAME] = ["::1"]
    with (
        Listener(reactor, "::1") as one,
        Listener(reactor, "127.0.0.1", one.port) as two,
        opened(f"udp://{NAME}:{one.port}", clock) as output,
    ):
        output.runReceived(runOf(b"six"))
        clock.known[NAME] = ["127.0.0.1"]
        clock.advance(HostLookup.interval)
        output.runReceived(runOf(b"four"))
        assert await one.payloads(1) == [b"six"]
        assert await two.payloads(1) == [b"four"]


@pytest.mark.parametrize(
    ("source", "family"), [("127.0.0.1", socket.AF_INET), ("[::1]", socket.AF_INET6)]
)
def test_aSourceAddressChoosesTheFamily(
    clock: ResolvingClock, source: str, family: socket.AddressFamily
) -> None:
    """Where the source is given only addresses of its family are asked for."""
    with opened(f"udp://{source}@{NAME}:9", clock):
        (question,) = clock.questions
        assert question.types is not None
        assert [each.__name__ for each in question.types] == [
            "IPv4Address" if family == socket.AF_INET else "IPv6Address"
        ]


def test_aNameThatIsNotFoundIsNoError(clock: ResolvingClock) -> None:
    """The output opens, warns, drops as "lookup", and goes on asking until it is closed."""
    clock.known[NAME] = []
    with loggedLines() as lines, opened(f"udp://{NAME}:9", clock) as output:
        assert lines[0].startswith(f"cannot find the address of {NAME}: check the name")
        for _ in range(3):
            output.runReceived(runOf(b"x"))
            clock.advance(1)
        assert output.counters.dropped == {"lookup": 3}
        assert len(clock.questions) == 3
        missing = f"the address of {NAME} cannot be found: nothing is sent there yet"
        assert output.warnings() == [missing]
        assert len(lines) == 1
    assert output.describe() == []
    output.runReceived(runOf(b"x"))
    assert output.counters.dropped == {"lookup": 3, "closed": 1}


def test_anAnswerAfterClosingOpensNothing(clock: ResolvingClock) -> None:
    """An output that was closed while its name was looked up has no socket afterwards."""
    with opened(f"udp://{NAME}:9", clock) as output:
        pass
    clock.questions[0].answer("127.0.0.1")
    assert output.localAddress is None


@pytest.mark.lan
def test_anAddressThatCannotBeUsedYetIsTriedAgain(clock: ResolvingClock, namespaces: None) -> None:
    """If the interface is gone when the answer comes, the stream goes on when it is back."""
    namespace = Namespace()
    link = ("ip", "link", "add", "one", "type", "veth", "peer", "name", "far")
    with ExitStack() as closing:
        closing.callback(namespace.close)
        namespace.run(*link)
        closing.enter_context(namespace)
        output = closing.enter_context(opened(f"udp://{NAME}:9?interface=one", clock))
        namespace.run("ip", "link", "del", "one")
        clock.questions[0].answer("239.1.1.1")
        output.runReceived(runOf(b"x"))
        assert output.counters.dropped == {"ENODEV": 1}
        assert output.describe() == [f"sending to {NAME} port 9, not possible yet"]
        namespace.run(*link)
        namespace.run("ip", "addr", "add", "10.0.0.1/24", "dev", "one")
        namespace.run("ip", "link", "set", "one", "up")
        clock.advance(UDPOutput.longestPause)
        output.runReceived(runOf(b"x"))
        assert output.describe() == ["sending to 239.1.1.1 port 9 by one"]
        assert str(output.counters) == "1 datagrams, 1 bytes, 1 dropped (ENODEV 1)"


@pytest.mark.lan
def test_anotherAddressTakesOver(host: Host, clock: ResolvingClock) -> None:
    """When the IPv6 address of this host goes the stream goes on by IPv4: one run is dropped."""
    clock.known[NAME] = ["fd00::2", "10.0.0.2"]
    with loggedLines() as lines, opened(f"udp://{NAME}:9", clock) as output:
        output.runReceived(runOf(b"x"))
        assert output.describe() == ["sending to fd00::2 port 9"]
        host.address("del", "fd00::1")
        for _ in range(90):
            output.runReceived(runOf(b"x"))
        assert output.describe() == ["sending to 10.0.0.2 port 9"]
        assert counts(output) == (90, 1)
        (reason,) = reasons(output)
        told = f"{NAME} is taken to be 10.0.0.2, since fd00::2, which it is too, fails ({reason})"
        assert output.warnings() == [told]
        assert f"udp://{NAME}:9: sending again to 10.0.0.2 (" in lines[-1]
        # It is the good one now, and stays so.
        host.address("add", "fd00::1")
        clock.advance(HostLookup.interval)
        output.runReceived(runOf(b"x"))
        assert output.describe() == ["sending to 10.0.0.2 port 9"]


@pytest.mark.lan
def test_whileNoAddressCanBeReachedItWaits(host: Host, clock: ResolvingClock) -> None:
    """All are tried, then there is a pause; the first that can be reached again is used."""
    clock.known[NAME] = ["fd00::2", "10.0.0.2"]
    with opened(f"udp://{NAME}:9", clock) as output:
        output.runReceived(runOf(b"x"))
        host.address("del", "fd00::1", "10.0.0.1")
        for _ in range(10):
            output.runReceived(runOf(b"x"))
            clock.advance(UDPOutput.longestPause)
        assert counts(output) == (1, 10)
        host.address("add", "10.0.0.1")
        clock.advance(UDPOutput.longestPause)
        output.runReceived(runOf(b"x"))
        assert counts(output) == (2, 10)
        assert output.describe() == ["sending to 10.0.0.2 port 9"]


@pytest_twisted.ensureDeferred
async def test_whereNobodyListensTheOtherAddressIsTried(
    reactor: Any, clock: ResolvingClock
) -> None:
    """A program that has the port open for IPv4 only is found by a name that is IPv6 first."""
    clock.known[NAME] = ["::1", "127.0.0.1"]
    with (
        Listener(reactor, "127.0.0.1") as listener,
        opened(f"udp://{NAME}:{listener.port}", clock) as output,
    ):
        output.runReceived(runOf(b"refused"))
        output.runReceived(runOf(b"tells of it"))
        clock.advance(0)
        output.runReceived(runOf(b"hello"))
        assert await listener.payloads(1) == [b"hello"]
        assert counts(output) == (3, 0)


def test_whereNobodyListensAtAllNothingIsDropped(clock: ResolvingClock) -> None:
    """The addresses take turns, one a second, so that whichever comes to listen is found."""
    clock.known[NAME] = ["::1", "127.0.0.1"]
    with opened(f"udp://{NAME}:{freePort()}", clock) as output:
        seen = []
        for _ in range(400):
            output.runReceived(runOf(b"x"))
            clock.advance(0.01)
            seen += output.describe()
        assert counts(output) == (400, 0)
        turns = sum(here != there for here, there in pairwise(seen))
        assert 3 <= turns <= 5


@pytest_twisted.ensureDeferred
async def test_theRealResolverIsUsed(reactor: Any) -> None:
    """On the real reactor localhost is found, and the stream arrives there."""
    found: Deferred[None] = Deferred()

    def look(line: str) -> None:
        if line.startswith("localhost is "):
            reactor.callLater(0, found.callback, None)  # once the line has been acted upon

    with loggedLines(look), Listener(reactor, "127.0.0.1") as listener:
        model = OutputModel.parse(f"udp://127.0.0.1@localhost:{listener.port}")
        output = UDPOutput(reactor, model)
        output.openOutput()
        try:
            await found.addTimeout(SECONDS, reactor)
            output.runReceived(runOf(b"hello"))
            assert await listener.payloads(1) == [b"hello"]
        finally:
            output.closeOutput()
