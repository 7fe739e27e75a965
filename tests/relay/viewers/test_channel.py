"""One stream reaches many viewers whole and in order, and those that are slow cost nobody else."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from zope.interface.verify import verifyObject

from tests.relay.support import loggedLines
from tests.relay.viewers.support import HOST, Client, numbersIn, runOf, soon
from txgroupsock.relay.interfaces import IRelayOutput
from txgroupsock.relay.viewers import Channel, Limits
from txgroupsock.relay.viewers.block import Backlog, Block, Position
from txgroupsock.relay.viewers.channels import Channels
from txgroupsock.relay.viewers.tcp import StreamFactory
from txgroupsock.relay.viewers.viewer import viewerOf

SMALL = 32 * 1024  # bytes of a buffer in the kernel
SOON = Limits(blockTime=0.001, sendBuffer=SMALL)


class Clients(Factory):
    """Makes clients, which may take nothing at first."""

    noisy = False

    def __init__(self, client: Client) -> None:
        self._client = client

    def buildProtocol(self, addr: IAddress | None) -> Client:
        return self._client


class Bench:
    """A channel that is fed by the test, and viewers of it by TCP."""

    def __init__(self, reactor: Any, limits: Limits) -> None:
        self.reactor = reactor
        self.channel = Channel(reactor, "test", limits)
        self.channel.openOutput()
        inputs: Any = None  # none is opened
        self.refused: Counter[str] = Counter()
        channels = Channels(reactor, inputs, limits, {"test": self.channel})
        factory = StreamFactory(channels, "test", self.refused)
        self._port = reactor.listenTCP(0, factory, interface=HOST)
        self._clients: list[Client] = []
        self.fed = 0

    async def connect(self, *, isPaused: bool = False) -> Client:
        """A viewer with little room in the kernel; it may take nothing."""
        client = Client()
        before = self.channel.viewers
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            sock.connect((HOST, self._port.getHost().port))
            sock.setblocking(False)
            self.reactor.adoptStreamConnection(sock.fileno(), socket.AF_INET, Clients(client))
        if isPaused:
            client.transport.pauseProducing()  # type: ignore[union-attr]
        self._clients.append(client)
        await soon(self.reactor, lambda: self.channel.viewers > before, "one more viewer")
        return client

    def feed(self, count: int) -> None:
        """Give the channel so many datagrams at once."""
        self.channel.runReceived(runOf(self.fed, count))
        self.fed += count

    async def feedSlowly(self, runs: int, count: int = 20) -> None:
        """Give the channel runs, with time for what they cause in between."""
        for _ in range(runs):
            self.feed(count)
            await deferLater(self.reactor, 0.002)

    async def numbers(self, client: Client, last: int) -> list[int]:
        """The numbers that a client has got, as soon as a certain one is among them."""
        size = 1316

        def isThere() -> bool:
            whole = len(client.data) // size * size
            return whole > 0 and last in numbersIn(bytes(client.data[whole - size : whole]))

        await client.until(self.reactor, isThere)
        return numbersIn(bytes(client.data))

    async def close(self) -> None:
        await self._port.stopListening()
        closing = self.channel.closeOutput()
        for client in self._clients:
            await client.close(self.reactor)
        await closing


@asynccontextmanager
async def bench(reactor: Any, limits: Limits = SOON) -> AsyncIterator[Bench]:
    """A channel and its viewers, which are gone afterwards."""
    made = Bench(reactor, limits)
    try:
        yield made
    finally:
        await made.close()


def test_itIsAnOutput(reactor: Any) -> None:
    """A channel provides IRelayOutput."""
    verifyObject(IRelayOutput, Channel(reactor, "test"))


@pytest_twisted.ensureDeferred
async def test_everyViewerGetsEveryByteInOrder(reactor: Any) -> None:
    """Fifty viewers that take what comes get all of it from when they began."""
    async with bench(reactor) as it:
        clients = [await it.connect() for _ in range(50)]
        for _ in range(40):
            it.feed(30)
            await deferLater(reactor, 0.002)
        for client in clients:
            assert await it.numbers(client, 1199) == list(range(1200))
        status = it.channel.status()
        assert (status.skips, status.stalled) == (0, 0)
        assert status.bytes == 50 * 1200 * 1316
        assert {each.bytes for each in status.viewers} == {1200 * 1316}
        assert status.counters.datagrams == 1200


@pytest_twisted.ensureDeferred
async def test_whoTakesALittleLessGetsEverythingLater(reactor: Any) -> None:
    """What a viewer has not got yet waits in the backlog, and comes in order, without a gap."""
    async with bench(reactor) as it:
        client = await it.connect(isPaused=True)
        await it.feedSlowly(60)
        (status,) = it.channel.status().viewers
        assert status.isBehind
        assert 0 < it.channel.status().backlog <= SOON.backlog
        client.transport.resumeProducing()  # type: ignore[union-attr]
        assert await it.numbers(client, 1199) == list(range(1200))
        await it.feedSlowly(5)
        assert await it.numbers(client, 1299) == list(range(1300))
        await soon(reactor, lambda: not it.channel.status().backlog, "an empty backlog")
        (status,) = it.channel.status().viewers
        assert (status.isBehind, status.skips, status.bytes) == (False, 0, 1300 * 1316)


@pytest_twisted.ensureDeferred
async def test_slowViewerSkipsWholeDatagrams(reactor: Any) -> None:
    """
    Who takes too little skips to what comes now, at the end of a datagram; it is counted.

    The others do not notice, and what is kept for those who are behind has its bound.
    """
    limits = Limits(blockTime=0.001, sendBuffer=SMALL, backlog=200_000)
    async with bench(reactor, limits) as it:
        slow = await it.connect(isPaused=True)
        others = [await it.connect() for _ in range(5)]
        for _ in range(5):
            await it.feedSlowly(40)
            assert it.channel.status().backlog <= limits.backlog
        for client in others:
            assert await it.numbers(client, 3999) == list(range(4000))
        slow.transport.resumeProducing()  # type: ignore[union-attr]

        def isCaughtUp() -> bool:
            return not any(each.isBehind for each in it.channel.status().viewers)

        await soon(reactor, isCaughtUp, "the slow viewer has caught up")
        await it.feedSlowly(10)
        numbers = await it.numbers(slow, it.fed - 1)
        assert numbers == sorted(set(numbers))
        status = it.channel.status()
        (skipped,) = [each for each in status.viewers if each.skips]
        assert skipped.skips == sum(b != a + 1 for a, b in pairwise(numbers))
        assert skipped.skippedDatagrams == it.fed - len(numbers)
        assert skipped.skippedBytes == 1316 * skipped.skippedDatagrams
        assert skipped.bytes == 1316 * len(numbers)
        assert status.skips == skipped.skips
        assert status.skippedDatagrams == skipped.skippedDatagrams


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_whoTakesSlowlyIsKept(reactor: Any) -> None:
    """A viewer that takes a little now and then is behind, but not closed."""
    limits = Limits(blockTime=0.001, sendBuffer=SMALL, backlog=100_000, stallTime=0.6)
    async with bench(reactor, limits) as it:
        client = await it.connect(isPaused=True)
        transport: Any = client.transport
        for _ in range(20):
            await it.feedSlowly(10)
            transport.resumeProducing()
            before = len(client.data)
            await client.until(reactor, lambda before=before: len(client.data) > before)  # type: ignore[misc]
            transport.pauseProducing()
            await deferLater(reactor, 0.06)
        assert it.channel.viewers == 1
        assert not it.channel.status().stalled


@pytest_twisted.ensureDeferred
async def test_whoTakesNothingIsClosed(reactor: Any) -> None:
    """A viewer that takes nothing for a time is closed, and counted; the others are not."""
    limits = Limits(blockTime=0.001, sendBuffer=SMALL, stallTime=0.2)
    async with bench(reactor, limits) as it:
        await it.connect(isPaused=True)
        other = await it.connect()
        with loggedLines() as lines:
            while it.channel.viewers == 2:
                await it.feedSlowly(5)
        assert any("disconnected from test: it took nothing for 0.2 s" in each for each in lines)
        status = it.channel.status()
        assert (status.stalled, status.viewersBefore, len(status.viewers)) == (1, 1, 1)
        assert await it.numbers(other, it.fed - 1) == list(range(it.fed))


@pytest_twisted.ensureDeferred
async def test_littleThatNobodyTakesIsNoticedToo(reactor: Any) -> None:
    """It does not take a full buffer to find out that a viewer takes nothing (Linux)."""
    limits = Limits(blockTime=0.001, stallTime=0.2, sendBuffer=4 * 1024 * 1024)
    async with bench(reactor, limits) as it:
        await it.connect(isPaused=True)
        await it.feedSlowly(20)
        assert not it.channel.status().viewers[0].isBehind
        await soon(reactor, lambda: not it.channel.viewers, "it is closed")


@pytest_twisted.ensureDeferred
async def test_silentInputKeepsItsViewers(reactor: Any) -> None:
    """Who has taken all that there is is not closed, however long nothing comes."""
    async with bench(reactor, Limits(blockTime=0.001, stallTime=0.05)) as it:
        client = await it.connect()
        it.feed(3)
        assert await it.numbers(client, 2) == [0, 1, 2]
        await deferLater(reactor, 0.3)
        it.feed(3)
        assert await it.numbers(client, 5) == list(range(6))


@pytest_twisted.ensureDeferred
async def test_whoComesLaterGetsWhatComesFromThenOn(reactor: Any) -> None:
    """A viewer begins with a whole datagram, and gets nothing from before it came."""
    async with bench(reactor) as it:
        first = await it.connect()
        it.feed(10)
        assert await it.numbers(first, 9) == list(range(10))
        second = await it.connect()
        it.feed(10)
        assert await it.numbers(second, 19) == list(range(10, 20))
        assert [each.bytes for each in it.channel.status().viewers] == [20 * 1316, 10 * 1316]


@pytest_twisted.ensureDeferred
async def test_goneViewersAreCountedAndCostNothing(reactor: Any) -> None:
    """What viewers got stays counted when they have gone; nothing is gathered for nobody."""
    async with bench(reactor) as it:
        client = await it.connect()
        it.feed(10)
        assert await it.numbers(client, 9) == list(range(10))
        await client.close(reactor)
        await soon(reactor, lambda: not it.channel.viewers, "it has gone")
        it.feed(10)
        status = it.channel.status()
        assert (status.bytes, status.viewersBefore) == (10 * 1316, 1)
        assert status.counters.datagrams == 20


@pytest_twisted.ensureDeferred
async def test_datagramsGatherIntoBlocks(reactor: Any) -> None:
    """Datagrams that come one by one go out together, unless they are enough before that."""
    limits = Limits(blockTime=0.05, blockSize=20 * 1316)
    async with bench(reactor, limits) as it:
        client = await it.connect()
        it.feed(1)  # after a silence it goes at once
        assert await it.numbers(client, 0) == [0]
        for _ in range(10):
            it.feed(1)
        assert it.channel.position.blocks == 1
        assert await it.numbers(client, 10) == list(range(11))
        assert it.channel.position == Position(2, 11, 11 * 1316)
        it.feed(20)
        assert it.channel.position.blocks == 3


@pytest_twisted.ensureDeferred
async def test_tooManyAreRefused(reactor: Any) -> None:
    """A viewer over the limit of a channel is closed at once, and counted."""
    async with bench(reactor, Limits(viewersPerChannel=1)) as it:
        await it.connect()
        with socket.create_connection((HOST, it._port.getHost().port)) as second:
            await soon(reactor, lambda: it.refused["viewers"], "it is refused")
            assert second.recv(1) == b""
        assert it.channel.viewers == 1


def test_backlogKeepsTheNewest() -> None:
    """The backlog holds the last blocks up to its size, found by where they begin."""
    backlog, position, starts = Backlog(100), Position(), []
    for _ in range(10):
        starts.append(position)
        end = position.after(1, 30)
        backlog.append(Block(bytes(30), position, end))
        position = end
    assert backlog.size == 90
    assert [backlog.at(each) is not None for each in starts] == [False] * 7 + [True] * 3
    assert backlog.at(position) is None
    backlog.append(Block(bytes(101), position, position.after(1, 101)))
    assert backlog.size == 0
    assert backlog.at(position) is None


class BrokenTransport(StringTransport):
    """One that raises what no socket does, as an event loop's own may."""

    def __init__(self) -> None:
        StringTransport.__init__(self)

    def write(self, data: bytes) -> None:
        raise RuntimeError("the handler is closed")


def test_transportThatRaisesCostsOthersNothing() -> None:
    """Its viewer is ended, the log says why, and all others get the block."""
    channel = Channel(Clock(), "test", Limits(blockSize=1))
    transports = [StringTransport(), BrokenTransport(), StringTransport()]
    for transport in transports:
        viewer = viewerOf(Clock(), transport, channel, SMALL)
        channel.add(viewer)
        viewer.begin(isHeadWaiting=False)
    with loggedLines() as lines:
        channel.runReceived(runOf(0, 2))
    assert [numbersIn(each.value()) for each in transports] == [[0, 1], [], [0, 1]]
    assert channel.viewers == 2
    assert any("could not be given test" in each for each in lines)
    assert any("disconnected from test: its connection failed" in each for each in lines)
