"""Pacing: a port that much arrives at is read at ticks, together with others, and no other is."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.ports.support import Listen, OpenSocket, Recorder, addressOf
from tests.ports.test_runs import Runs, train
from txgroupsock import UDPPort
from txgroupsock.interfaces import IDestinationErrorReceiver, IRunReceiver
from txgroupsock.ports.clock import LaterTicks, TimerTicks
from txgroupsock.ports.pacing import Pacer
from txgroupsock.primitives.run import Run

LATENCY = 0.05
"""Seconds: many wake-ups even on a busy machine."""


def isWatched(reactor: Any, port: UDPPort) -> bool:
    """Whether the reactor wakes a port up."""
    return port in reactor.getReaders()


def timers(reactor: Any) -> list[Any]:
    """The ticks that pacers wait for."""
    calls = [getattr(each.func, "__self__", None) for each in reactor.getDelayedCalls()]
    every = [*calls, *reactor.getReaders()]
    return [each for each in every if isinstance(each, LaterTicks | TimerTicks)]


async def pace(reactor: Any, *ports: UDPPort, sender: Any) -> None:
    """Send to ports, datagram after datagram, until each of them is paced."""
    for port in ports:
        while isWatched(reactor, port):
            sender.sendto(b"on", addressOf(port))
            await deferLater(reactor, 0)
    for port in ports:
        await drained(port)


async def drained(port: UDPPort) -> None:
    """Wait for all that was sent to a port, which may have been woken up for more than once."""
    protocol: Any = port.protocol
    await deferLater(port.reactor, 2 * LATENCY)
    protocol.datagrams.clear()
    protocol.counts.clear()


class Meddler(Runs):
    """Does something to another port with each run."""

    meddle: Callable[[], object] | None = None

    def runReceived(self, run: Run) -> None:
        super().runReceived(run)
        if self.meddle is not None:
            self.meddle()


class TestGathering:
    @pytest_twisted.ensureDeferred
    async def test_aBusyPortIsReadAtTicks(
        self, reactor: Any, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """The reactor no longer wakes it up, and what gathers is handed over together, in order."""
        protocol = Runs()
        port = listen(protocol, latency=LATENCY)
        sender = openSocket()
        await pace(reactor, port, sender=sender)
        for number in range(20):
            sender.sendto(b"%2d" % number, addressOf(port))
        assert protocol.datagrams == []
        await protocol.has(20)
        assert protocol.datagrams == [b"%2d" % number for number in range(20)]
        assert protocol.counts == [20]

    @pytest_twisted.ensureDeferred
    async def test_aSparsePortIsNot(
        self, reactor: Any, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """With one datagram in a latency a port is read at once, without any timer."""
        protocol = Runs()
        port = listen(protocol, latency=0.002)
        sender = openSocket()
        for number in range(1, 81):
            sender.sendto(b"x", addressOf(port))
            await protocol.has(number)
            assert isWatched(reactor, port)
            assert timers(reactor) == []
            await deferLater(reactor, 0.002)

    @pytest_twisted.ensureDeferred
    async def test_moreThanATurnIsReadWithoutWaiting(
        self,
        reactor: Any,
        listen: Listen,
        openSocket: OpenSocket,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """What one turn of the reactor leaves is read in the next, not a latency later."""
        protocol = Runs()
        port = listen(protocol, latency=LATENCY)
        sender = openSocket()
        await pace(reactor, port, sender=sender)
        monkeypatch.setattr(UDPPort, "maxDatagrams", 1)
        protocol.arrivals.clear()
        for size in range(1, 11):  # of different sizes, so that each is a run
            sender.sendto(bytes(size), addressOf(port))
        await protocol.has(10)
        assert len(protocol.arrivals) == 10
        assert max(protocol.arrivals) - min(protocol.arrivals) < 5 * LATENCY

    @pytest.mark.parametrize("isTrainFirst", [True, False])
    @pytest_twisted.ensureDeferred
    async def test_aBurstAfterLoneDatagrams(
        self, listen: Listen, openSocket: OpenSocket, isTrainFirst: bool
    ) -> None:
        """After many datagrams on their own a burst, a train and one too large come out right."""
        protocol = Runs()
        port = listen(protocol, latency=0, maxPacketSize=1000)
        sender = openSocket()
        sent = [b"%3d" % number for number in range(30)]
        for number, payload in enumerate(sent):
            sender.sendto(payload, addressOf(port))
            await protocol.has(number + 1)
            await deferLater(port.reactor, 0.001)
        if not isTrainFirst:
            sender.sendto(bytes(1001), addressOf(port))
        train(sender, [b"train", b"train", b"end"], addressOf(port))
        if isTrainFirst:
            sender.sendto(bytes(1001), addressOf(port))
        for number in range(10):
            sender.sendto(b"%3d" % number, addressOf(port))
        await protocol.has(43)
        assert protocol.datagrams == [*sent, b"train", b"train", b"end", *sent[:10]]
        assert port.statistics.datagramsTruncated == 1
        assert port.statistics.datagramsReceived == 43


class Slow(Runs):
    """Takes its time for each run."""

    def __init__(self, clock: MemoryReactorClock, seconds: float) -> None:
        super().__init__()
        self._clock, self._seconds = clock, seconds

    def runReceived(self, run: Run) -> None:
        super().runReceived(run)
        self._clock.rightNow += self._seconds


class TestLongTurns:
    @pytest.mark.parametrize(("seconds", "isPaced"), [(0.00055, True), (0.0001, False)])
    def test_whatWaitsForATurnCounts(
        self, openSocket: OpenSocket, seconds: float, isPaced: bool
    ) -> None:
        """A port whose handling makes datagrams wait is paced, and one that gets trains is not."""
        clock = MemoryReactorClock()
        port = UDPPort(clock, Slow(clock, seconds), 0, "127.0.0.1", latency=0.001)
        port.startListening()
        sender = openSocket()
        for number in range(1, 101):
            for _ in range(3):
                sender.sendto(b"x", addressOf(port))
            if port in clock.getReaders():
                port.doRead()
            clock.rightNow = number * 0.0006
        assert (port not in clock.getReaders()) is isPaced
        port.connectionLost()


class TestSharing:
    @pytest_twisted.ensureDeferred
    async def test_oneTimer(self, reactor: Any, listen: Listen, openSocket: OpenSocket) -> None:
        """All paced ports of a reactor wait for the same tick, and without ports there is none."""
        ports = [listen(Runs(), latency=LATENCY) for _ in range(3)]
        assert timers(reactor) == []
        await pace(reactor, *ports, sender=openSocket())
        assert len(timers(reactor)) == 1
        for each in ports:
            await each.stopListening()
        assert timers(reactor) == []

    @pytest_twisted.ensureDeferred
    async def test_manySparsePorts(
        self, reactor: Any, listen: Listen, openSocket: OpenSocket, reactorName: str
    ) -> None:
        """Ports that each get a datagram in a latency are paced if they are many."""
        if reactorName == "poll":
            pytest.skip("for a poll reactor they would have to be very many")
        ports = [listen(Runs(), latency=LATENCY) for _ in range(10)]
        sender = openSocket()
        while any(isWatched(reactor, port) for port in ports):
            for port in ports:
                sender.sendto(b"x", addressOf(port))
                await deferLater(reactor, LATENCY / 10)
        assert len(timers(reactor)) == 1

    @pytest_twisted.ensureDeferred
    async def test_pausedByAnother(
        self, reactor: Any, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """A port that another one's protocol pauses in a tick is not read in that tick."""
        protocols = Meddler(), Meddler()
        ports = [listen(each, latency=LATENCY) for each in protocols]
        sender = openSocket()
        await pace(reactor, *ports, sender=sender)
        for protocol, other in zip(protocols, reversed(ports), strict=True):
            protocol.meddle = other.pauseProducing
        for port in ports:
            sender.sendto(b"x", addressOf(port))
        await deferLater(reactor, 2 * LATENCY)
        assert sorted(len(each.datagrams) for each in protocols) == [0, 1]
        for protocol in protocols:
            protocol.meddle = None
        for port in ports:
            port.resumeProducing()
        for protocol in protocols:
            await protocol.has(1)

    @pytest_twisted.ensureDeferred
    async def test_closedByAnother(
        self, reactor: Any, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """A port that another one's protocol closes in a tick is not read any more."""
        protocols = Meddler(), Meddler()
        ports = [listen(each, latency=LATENCY) for each in protocols]
        sender = openSocket()
        await pace(reactor, *ports, sender=sender)
        for protocol, other in zip(protocols, reversed(ports), strict=True):
            protocol.meddle = other.connectionLost
        for port in ports:
            sender.sendto(b"x", addressOf(port))
        await deferLater(reactor, 2 * LATENCY)
        assert sorted(len(each.datagrams) for each in protocols) == [0, 1]


class TestLeaving:
    @pytest_twisted.ensureDeferred
    async def test_whenNothingComes(
        self, reactor: Any, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """Some empty ticks after the last datagram the reactor watches the port, without a timer;
        not after the first.
        """
        protocol = Runs()
        port = listen(protocol, latency=LATENCY)
        sender = openSocket()
        await pace(reactor, port, sender=sender)
        assert not isWatched(reactor, port)
        while not isWatched(reactor, port):
            await deferLater(reactor, LATENCY)
        assert timers(reactor) == []
        sender.sendto(b"again", addressOf(port))
        await protocol.has(1)
        assert protocol.datagrams == [b"again"]

    @pytest_twisted.ensureDeferred
    async def test_pausedAndResumed(
        self, reactor: Any, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """A paced port that is paused has no timer; once resumed, the reactor watches it."""
        protocol = Runs()
        port = listen(protocol, latency=LATENCY)
        sender = openSocket()
        await pace(reactor, port, sender=sender)
        port.pauseProducing()
        assert timers(reactor) == []
        assert not isWatched(reactor, port)
        sender.sendto(b"x", addressOf(port))
        port.resumeProducing()
        assert isWatched(reactor, port)
        await protocol.has(1)

    @pytest_twisted.ensureDeferred
    async def test_pausesItselfAtATick(
        self, reactor: Any, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """A protocol that pauses its port at a tick gets the rest of what was read afterwards."""

        class Pausing(Runs):
            pausesNow = False
            paused: Deferred[None]

            def runReceived(self, run: Run) -> None:
                super().runReceived(run)
                if self.pausesNow:
                    self.pausesNow = False
                    port.pauseProducing()
                    self.paused.callback(None)

        protocol = Pausing()
        protocol.paused = Deferred()
        port = listen(protocol, latency=LATENCY)
        sender = openSocket()
        await pace(reactor, port, sender=sender)
        protocol.pausesNow = True
        for payload in (b"1", b"22", b"333"):
            sender.sendto(payload, addressOf(port))
        await protocol.paused
        assert protocol.datagrams == [b"1"]
        assert timers(reactor) == []
        port.resumeProducing()
        await protocol.has(3)
        assert protocol.datagrams == [b"1", b"22", b"333"]

    @pytest_twisted.ensureDeferred
    async def test_errorsAreReported(
        self, reactor: Any, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """A paced port hears which of its destinations has no listener."""
        failed: DeferredQueue[tuple[tuple[str, int], int]] = DeferredQueue()

        @implementer(IRunReceiver, IDestinationErrorReceiver)
        class Both(Runs):
            def destinationFailed(self, address: tuple[str, int], number: int) -> None:
                failed.put((address, number))

        protocol = Both()
        port = listen(protocol, latency=LATENCY)
        sender = openSocket()
        await pace(reactor, port, sender=sender)
        with openSocket() as closed:
            nobody = addressOf(closed)
        port.write(b"x", nobody)
        assert await failed.get() == (nobody, errno.ECONNREFUSED)
        await deferLater(reactor, 0)  # that was within the port
        await pace(reactor, port, sender=sender)
        port.write(b"x", nobody)
        port.write(b"x", addressOf(port))  # takes the error, and leaves its report
        assert await failed.get() == (nobody, errno.ECONNREFUSED)
        await deferLater(reactor, 0)
        assert not isWatched(reactor, port)

    @pytest_twisted.ensureDeferred
    async def test_anErrorIsNoEnd(
        self, reactor: Any, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """A paced port survives that a reactor which watches it for writing only finds an error."""
        port = listen(Runs(), latency=LATENCY)
        with openSocket() as sender:
            port.connect(*sender.getsockname())
            await pace(reactor, port, sender=sender)
        port.write(b"x")
        port.connectionLost(Failure(ConnectionLost()))
        assert port.connected
        assert port.statistics.receiveErrors == {errno.ECONNREFUSED: 1}
        assert not isWatched(reactor, port)

    @pytest_twisted.ensureDeferred
    async def test_oneOfTwo(self, reactor: Any, listen: Listen, openSocket: OpenSocket) -> None:
        """A port that nothing comes to leaves the others to be read at ticks."""
        busy, silent = listen(Runs(), latency=0.01), listen(Runs(), latency=0.01)
        sender = openSocket()
        await pace(reactor, busy, silent, sender=sender)
        while not isWatched(reactor, silent):
            for _ in range(100):
                sender.sendto(b"x", addressOf(busy))
            await deferLater(reactor, 0.005)
        assert not isWatched(reactor, busy)
        assert len(timers(reactor)) == 1

    @pytest_twisted.ensureDeferred
    async def test_theReactorStops(
        self, reactor: Any, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """When the reactor stops it finds the paced port among those to be closed."""
        port = listen(Runs(), latency=LATENCY)
        await pace(reactor, port, sender=openSocket())
        before = reactor._eventTriggers["shutdown"].before
        ours = [call for call, _, _ in before if isinstance(getattr(call, "__self__", 0), Pacer)]
        assert len(ours) == 1
        ours[0]()
        assert isWatched(reactor, port)
        assert timers(reactor) == []


class TestLatency:
    def test_whatItIs(self, listen: Listen) -> None:
        """It is 1 ms for a protocol that takes runs, 0 for another, or what was asked for."""
        assert listen(Runs()).latency == 0.001
        assert listen(Recorder()).latency == 0
        assert listen(Recorder(), latency=0.2).latency == 0.2

    @pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf")])
    def test_whatItCannotBe(self, listen: Listen, wrong: float) -> None:
        """A latency that is no length of time is refused, and the one there was stays."""
        port = listen(DatagramProtocol(), latency=0.5)
        with pytest.raises(ValueError, match="latency"):
            port.latency = wrong
        assert port.latency == 0.5
        with pytest.raises(ValueError, match="latency"):
            UDPPort(MemoryReactorClock(), DatagramProtocol(), latency=wrong)

    @pytest_twisted.ensureDeferred
    async def test_endsAtOnce(self, reactor: Any, listen: Listen, openSocket: OpenSocket) -> None:
        """Set to 0, it has a paced port read at once what has gathered, and all that comes."""
        protocol = Runs()
        port = listen(protocol, latency=LATENCY)
        sender = openSocket()
        await pace(reactor, port, sender=sender)
        port.latency = 0
        assert port.latency == 0
        assert isWatched(reactor, port)
        assert timers(reactor) == []
        for number in range(1, 101):
            sender.sendto(b"x", addressOf(port))
            await protocol.has(number)
        assert isWatched(reactor, port)

    @pytest_twisted.ensureDeferred
    async def test_beginsAtOnce(self, reactor: Any, listen: Listen, openSocket: OpenSocket) -> None:
        """Set on a port that had none, it has the port paced."""
        port = listen(Runs(), latency=0)
        port.latency = LATENCY
        await pace(reactor, port, sender=openSocket())
        assert len(timers(reactor)) == 1

    def test_aPausedPortStaysPaused(self, reactor: Any, listen: Listen) -> None:
        """Setting it does not resume a port."""
        port = listen(Runs())
        port.pauseProducing()
        port.latency = 0
        assert not isWatched(reactor, port)
