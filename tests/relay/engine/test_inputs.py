"""One input for several routes: real sockets on loopback."""

from __future__ import annotations

import errno
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from zope.interface.verify import verifyObject

from tests.relay.support import (
    BOTH_FAMILIES,
    LOOPBACK,
    Collector,
    freePort,
    send,
    url,
)
from txgroupsock.ports import GroupsockReactor
from txgroupsock.ports.udp import RUN_LATENCY
from txgroupsock.primitives import GroupsockError
from txgroupsock.relay.engine.inputs import InputShare, SharedInputs
from txgroupsock.relay.interfaces import IRelayInput
from txgroupsock.relay.models.udp import InputModel

Share = Callable[..., InputShare]


@pytest.fixture
def inputs(reactor: Any) -> SharedInputs:
    """No input yet."""
    return SharedInputs(GroupsockReactor(reactor))


def latencyOf(inputs: SharedInputs) -> float:
    """The latency of the only input."""
    (shared,) = inputs._inputs.values()
    port: Any = shared.input._port
    return float(port.latency)


class Opened:
    """Shares that are closed in the end, whatever happens."""

    def __init__(self, inputs: SharedInputs) -> None:
        self.inputs = inputs
        self.shares: list[InputShare] = []

    async def __aenter__(self) -> Opened:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        return self

    async def __aexit__(self, *exception: object) -> None:
        for each in self.shares:
            await each.closeInput()

    def open(self, text: str, receiver: Collector | None = None) -> tuple[InputShare, Collector]:
        """A share of an input, and what it feeds."""
        share = self.inputs.share(InputModel.parse(text))
        receiver = receiver or Collector()
        share.openInput(receiver)
        self.shares.append(share)
        return share, receiver


@pytest_twisted.async_yield_fixture
async def opened(inputs: SharedInputs) -> AsyncIterator[Opened]:
    """Opens shares."""
    async with Opened(inputs) as opened:
        yield opened


def test_itIsWhatItSays(inputs: SharedInputs) -> None:
    """A share provides IRelayInput, open or not."""
    share = inputs.share(InputModel.parse("udp://:5000"))
    share.receiver = Collector()
    verifyObject(IRelayInput, share)
    assert (share.describe(), share.warnings(), share.buffer) == ([], [], None)
    assert str(share.counters) == "0 datagrams, 0 bytes, 0 dropped"


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_oneSocketFeedsEveryShare(
    reactor: Any, opened: Opened, family: socket.AddressFamily
) -> None:
    """A unicast port, which can be opened only once, gives each datagram to every share."""
    host, port = LOOPBACK[family], freePort(family)
    one, first = opened.open(url(host, port))
    two, second = opened.open(url(host, port))
    send(b"hello", host, port)
    assert await first.take(reactor, 1) == [b"hello"]
    assert await second.take(reactor, 1) == [b"hello"]
    assert one.describe() == two.describe() == [f"listening on {host} port {port}"]
    assert one.counters == two.counters
    assert str(one.counters) == "1 datagrams, 5 bytes, 0 dropped"
    assert len(opened.inputs._inputs) == 1


@pytest_twisted.ensureDeferred
async def test_otherInputsAreOthers(reactor: Any, opened: Opened) -> None:
    """Inputs that differ in more than latency are not shared."""
    port, other = freePort(), freePort()
    _, first = opened.open(f"udp://127.0.0.1:{port}")
    _, second = opened.open(f"udp://127.0.0.1:{other}")
    send(b"one", "127.0.0.1", port)
    send(b"two", "127.0.0.1", other)
    assert await first.take(reactor, 1) == [b"one"]
    assert await second.take(reactor, 1) == [b"two"]


@pytest_twisted.ensureDeferred
async def test_theSmallestLatencyHolds(opened: Opened) -> None:
    """The latency is the smallest that an open share wants; the usual one if none says."""
    text = f"udp://127.0.0.1:{freePort()}"
    usual, _ = opened.open(text)
    assert latencyOf(opened.inputs) == RUN_LATENCY
    slow, _ = opened.open(f"{text}?latency=20ms")
    fast, _ = opened.open(f"{text}?latency=5ms")
    never, _ = opened.open(f"{text}?latency=0")
    for share, wanted in ((never, 0.005), (fast, 0.02), (slow, RUN_LATENCY)):
        await share.closeInput()
        assert latencyOf(opened.inputs) == wanted
    assert usual.model.latency is None


@pytest_twisted.ensureDeferred
async def test_aLaterShareCountsFromItsOpening(reactor: Any, opened: Opened) -> None:
    """A share counts what came while it was open: not before, not after, and on if reopened."""
    port = freePort()
    text = f"udp://127.0.0.1:{port}"
    early, first = opened.open(text)
    send(b"aa", "127.0.0.1", port)
    await first.take(reactor, 1)
    late, second = opened.open(text)
    assert late.counters.datagrams == 0
    send(b"bbb", "127.0.0.1", port)
    await second.take(reactor, 1)
    assert (early.counters.datagrams, early.counters.bytes) == (2, 5)
    assert (late.counters.datagrams, late.counters.bytes) == (1, 3)
    await early.closeInput()
    send(b"c", "127.0.0.1", port)
    await second.take(reactor, 2)
    assert (early.counters.datagrams, late.counters.datagrams) == (2, 2)
    early.openInput(first)
    assert early.counters.datagrams == 2
    send(b"d", "127.0.0.1", port)
    await first.take(reactor, 3)
    assert (early.counters.datagrams, late.counters.datagrams) == (3, 3)
    assert first.payloads == [b"aa", b"bbb", b"d"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest_twisted.ensureDeferred
async def test_sharesCloseInAnyOrder(reactor: Any, opened: Opened, order: tuple[int, ...]) -> None:
    """Those still open hear everything; with the last one the port is free at once."""
    port = freePort()
    ends = [opened.open(f"udp://127.0.0.1:{port}") for _ in range(3)]
    for number, closing in enumerate(order, 1):
        share, _ = ends[closing]
        await share.closeInput()
        await share.closeInput()
        assert share.describe() == []
        for still in order[number:]:
            _, collector = ends[still]
            if still == order[number]:
                send(b"%d" % number, "127.0.0.1", port)
            assert len(await collector.take(reactor, number)) == number
    assert [len(ends[each][1].payloads) for each in order] == [0, 1, 2]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", port))


@pytest_twisted.ensureDeferred
async def test_theMostRefreshesHold(opened: Opened) -> None:
    """The shortest schedule that an open share wants; on silence unless all say never."""
    text = f"udp://239.7.7.9:{freePort()}?interface=lo"
    never, _ = opened.open(f"{text}&refresh=0")
    [shared] = opened.inputs._inputs.values()
    wanted = [shared.input.model.refresh]
    ends = []
    for query in ("", "&refresh=60s", "&refresh=20s"):
        ends.append(opened.open(f"{text}{query}")[0])
        wanted.append(shared.input.model.refresh)
    for each in reversed(ends):
        await each.closeInput()
        wanted.append(shared.input.model.refresh)
    assert wanted == [0, None, 60, 20, 60, None, 0]
    await never.closeInput()


@pytest_twisted.ensureDeferred
async def test_whatCannotBeOpenedLeavesNothing(reactor: Any, opened: Opened) -> None:
    """An input that cannot be opened is not kept: once it can be, it is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holding:
        holding.bind(("127.0.0.1", 0))
        port = int(holding.getsockname()[1])
        for _ in range(2):
            with pytest.raises(GroupsockError) as raised:
                opened.open(f"udp://127.0.0.1:{port}")
            assert raised.value.errno == errno.EADDRINUSE
        assert opened.inputs._inputs == {}
    _, collector = opened.open(f"udp://127.0.0.1:{port}")
    send(b"x", "127.0.0.1", port)
    assert await collector.take(reactor, 1) == [b"x"]


@pytest_twisted.ensureDeferred
async def test_anUnknownInterfaceLeavesNothing(opened: Opened) -> None:
    """A group that cannot be joined leaves no socket either."""
    with pytest.raises(GroupsockError):
        opened.open("udp://239.1.1.1:5000?interface=nope0")
    assert opened.inputs._inputs == {}


@pytest_twisted.ensureDeferred
async def test_anInputCanBeOpenedAgain(reactor: Any, opened: Opened) -> None:
    """Once the last share is closed the next one opens the input anew, and hears what comes."""
    port = freePort()
    for number in range(3):
        share, collector = opened.open(f"udp://127.0.0.1:{port}")
        send(b"%d" % number, "127.0.0.1", port)
        assert await collector.take(reactor, 1) == [b"%d" % number]
        await share.closeInput()
        assert opened.inputs._inputs == {}
