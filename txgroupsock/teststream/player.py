"""Plays datagrams when their time has come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from txgroupsock.ports.clock import callOff, exact
from txgroupsock.primitives.checks import needClosed
from txgroupsock.primitives.run import Run
from txgroupsock.teststream.latencies import Latencies
from txgroupsock.teststream.stream import LARGEST, MOST

_NOBODY: Final = ("", 0)
_LATE: Final = 0.01
_STEP: Final = 0.005


class Source(Protocol):
    """
    Datagrams with the times at which they are due, in seconds from a beginning.

    @ivar nextAt: when the next one is; L{None} after the last.
    @ivar progress: how much of it has been taken, 0 to 1; L{None} if that cannot be told.
    """

    @property
    def nextAt(self) -> float | None:
        """See above."""

    @property
    def progress(self) -> float | None:
        """See above."""

    def take(self, until: float) -> Iterable[tuple[memoryview, int]]:
        """
        The datagrams that are due up to a time, each given once: runs, each with the size of a
        datagram in it.
        """


class TimedSource:
    """A source of what an iterator gives: times, in seconds and never less than before, and
    payloads.  It is read one datagram ahead.
    """

    def __init__(
        self,
        datagrams: Iterator[tuple[float, bytes]],
        progress: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._datagrams = datagrams
        self._ahead = next(datagrams, None)
        self._progress = progress

    @property
    def nextAt(self) -> float | None:
        """See L{Source}."""
        return None if self._ahead is None else self._ahead[0]

    @property
    def progress(self) -> float | None:
        """See L{Source}."""
        return self._progress()

    def take(self, until: float) -> Iterator[tuple[memoryview, int]]:
        """See L{Source}."""
        ahead, following = self._ahead, self._datagrams
        payloads: list[bytes] = []
        size = room = 0
        try:
            while ahead is not None and ahead[0] <= until:
                payload = ahead[1]
                length = len(payload)
                # Datagrams of one size, of which the last may be shorter, are one run.
                isMore = bool(payloads) and 0 < length <= size and len(payloads[-1]) == size
                if not isMore or length > room or len(payloads) == MOST:
                    if payloads:
                        yield memoryview(b"".join(payloads)), size
                    payloads, size, room = [], length, LARGEST
                payloads.append(payload)
                room -= length
                ahead = next(following, None)
        finally:
            self._ahead = ahead
        if payloads:
            yield memoryview(b"".join(payloads)), size


class Player:
    """
    Gives the runs of a source to somebody, each at its time.

    What is due in C{quantum} seconds goes at once.  Held up for more than 10 ms, it goes on from
    where it was and catches up at twice the pace, so that no burst comes of it.

    @cvar quantum: seconds.
    @ivar datagrams: given so far.
    @ivar bytes: of payload, in those.
    @ivar lateness: how much too late they were: once for each time that something was given.
    """

    quantum = 0.0005

    def __init__(
        self, reactor: Any, source: Source, give: Callable[[Run], object], speed: float = 1.0
    ) -> None:
        """
        @param reactor: provides C{IReactorTime}; if it provides C{IReactorFDSet} too, times are
            kept more exactly.
        @param speed: seconds of the source that are played in one second.
        """
        self.source = source
        self.datagrams = 0
        self.bytes = 0
        self.lateness = Latencies()
        self._reactor = exact(reactor)
        self._give = give
        self._speed = speed
        self._began: float | None = None
        self._next: IDelayedCall | None = None
        self._ended: Deferred[None] | None = None

    def start(self) -> Deferred[None]:
        """
        Play from now on.

        @return: fires after the last datagram, or when it is stopped; fails as the source does.
        """
        needClosed(self, self._next is not None)
        ended: Deferred[None] = Deferred()
        self._ended = ended
        self._next = self._reactor.callLater(0, self._tick)
        return ended

    def stop(self) -> None:
        """Play no more."""
        following, self._next = self._next, None
        callOff(following)
        ended, self._ended = self._ended, None
        if ended is not None:
            ended.callback(None)

    @property
    def isPlaying(self) -> bool:
        """Whether it has begun, and not ended."""
        return self._next is not None

    @property
    def seconds(self) -> float:
        """How long it has played."""
        return 0.0 if self._began is None else float(self._reactor.seconds()) - self._began

    def _tick(self) -> None:
        try:
            pause = self._play()
        except Exception as error:  # noqa: BLE001 - a source may fail in any way, and say so
            ended, self._ended = self._ended, None
            self.stop()
            if ended is not None:
                ended.errback(error)
            return
        if pause is None:
            self.stop()
        elif self._next is not None:
            self._next = self._reactor.callLater(pause, self._tick)

    def _play(self) -> float | None:
        """Give what is due; seconds until there is more, or L{None} if there is none."""
        source, speed = self.source, self._speed
        now = float(self._reactor.seconds())
        if self._began is None:
            self._began = now
        position = (now - self._began) * speed
        at = source.nextAt
        if at is None:
            return None
        if at > position:
            return (at - position) / speed
        late = (position - at) / speed
        until = position if late <= _LATE else at + _STEP * speed
        self.lateness.add(int(late * 1e9))
        for data, size in source.take(until):
            run = Run(data, size, _NOBODY, now)
            self.datagrams += len(run)
            self.bytes += len(data)
            self._give(run)
            if self._next is None:  # it has been stopped
                return None
        following = source.nextAt
        if following is None:
            return None
        passed = self.seconds * speed
        pause = max((following - passed) / speed, self.quantum)
        if late > _LATE:  # half the time that what was given takes
            pause = max(pause, (following - at) / speed / 2)
        return pause
