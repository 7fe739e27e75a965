"""Turns of the reactor: long work is divided among many of them, and the longest is known."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Sequence
from typing import Any, ClassVar, Final, Generic, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall

from txgroupsock.ports.clock import steady

PIECE: Final = 16
"""Outputs, viewers and the like that are one piece of work: 0.5 ms of an output's whole status."""

_T = TypeVar("_T")
_Thing = TypeVar("_Thing")

Work = Generator[None, None, _T]
"""What makes something, and yields after each piece of that work but the last."""


def inPieces(make: Callable[[_Thing], _T], things: Sequence[_Thing]) -> Work[list[_T]]:
    """Work that makes something of each of many things: so many of them a piece."""
    made: list[_T] = []
    for at in range(0, len(things), PIECE):
        if at:
            yield
        made += map(make, things[at : at + PIECE])
    return made


def atOnce(work: Work[_T]) -> _T:
    """What work makes, without a pause."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            made: _T = end.value
            return made


class Turns:
    """
    Divides work that takes long among turns of the reactor, so that streams do not wait for it.

    All the work together has so much of a turn, however many began some.

    @cvar most: seconds of a turn, and one piece of work.
    """

    most: ClassVar[float] = 0.002

    def __init__(self, reactor: Any) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self._reactor = steady(reactor)
        self._waiting: deque[Deferred[None]] = deque()
        self._next: IDelayedCall | None = None

    def free(self) -> Deferred[None]:
        """Fires when there is time for a piece of work; those who asked first come first."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        self._goOn()
        return waiting

    async def each(self, work: Iterable[_T]) -> AsyncIterator[_T]:
        """Each of these when there is time for it."""
        for piece in work:
            await self.free()
            yield piece

    async def made(self, work: Work[_T]) -> _T:
        """What work makes, each piece of it when there is time."""
        while True:
            await self.free()
            try:
                next(work)
            except StopIteration as end:
                made: _T = end.value
                return made

    def stop(self) -> None:
        """Forget all work."""
        self._waiting.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _goOn(self) -> None:
        if self._waiting and self._next is None:
            self._next = self._reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        self._next = None
        end = self._reactor.seconds() + self.most
        while self._waiting:
            self._waiting.popleft().callback(None)
            if self._reactor.seconds() >= end:
                break
        self._goOn()


class Shared(Generic[_T]):
    """
    What many ask for is made once for all who ask meanwhile, and for those soon after.

    It is kept for as long as it took to be made, so that half of the time is the most that it
    can take, whoever asks how often; but for L{least} in any case.

    @cvar least: seconds.
    """

    least: ClassVar[float] = 0.1

    def __init__(self, reactor: Any, make: Callable[[], Awaitable[_T]]) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self._reactor = steady(reactor)
        self._make = make
        self._made: tuple[_T] | None = None
        self._until = float("-inf")
        self._waiting: list[Deferred[_T]] | None = None

    def get(self) -> Deferred[_T]:
        """It, as soon as it is made; or what making it raised."""
        if self._made is not None and self._reactor.seconds() < self._until:
            return succeed(self._made[0])
        asked: Deferred[_T] = Deferred()
        if self._waiting is not None:
            self._waiting.append(asked)
            return asked
        self._waiting = [asked]
        Deferred.fromCoroutine(self._begin()).addBoth(self._tell)
        return asked

    def forget(self) -> None:
        """Make it anew for who asks next: it has become another."""
        self._until = float("-inf")

    async def _begin(self) -> _T:
        began = self._reactor.seconds()
        made = await self._make()
        now = self._reactor.seconds()
        self._made, self._until = (made,), now + max(self.least, now - began)
        return made

    def _tell(self, result: Any) -> None:
        waiting, self._waiting = self._waiting, None
        for each in waiting or ():
            each.callback(result)


class TurnMeter:
    """
    Knows how long a turn of the reactor lately took at most: a timer that is due in it is late.

    @cvar interval: seconds between two looks; what takes longer is always noticed.
    @cvar memory: seconds that the longest turn is remembered for, at least; twice that at most.
    """

    interval: ClassVar[float] = 0.05
    memory: ClassVar[float] = 60.0

    def __init__(self, reactor: Any) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self._reactor = steady(reactor)
        self._next: IDelayedCall | None = None
        self._due = self._since = 0.0
        self._before = self._now = 0.0

    @property
    def longest(self) -> float:
        """Seconds."""
        return max(self._before, self._now)

    def start(self) -> None:
        """Begin to measure."""
        if self._next is None:
            self._since = self._reactor.seconds()
            # Not from now on: the reactor may not run yet.
            self._next = self._reactor.callLater(0, self._lookLater)

    def stop(self) -> None:
        """Measure no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _lookLater(self) -> None:
        self._due = self._reactor.seconds() + self.interval
        self._next = self._reactor.callLater(self.interval, self._look)

    def _look(self) -> None:
        now = self._reactor.seconds()
        if now - self._since >= self.memory:
            self._before, self._now, self._since = self._now, 0.0, now
        self._now = max(self._now, now - self._due)
        self._lookLater()
