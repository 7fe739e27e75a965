"""
Time that passes evenly, whatever becomes of the time of day.

All of Twisted's reactors take the time of day for their clock.  When that is set back by an hour,
what is due in a millisecond comes an hour later; when it is set ahead, everything is due at once.
So nothing here measures with it: a process of our own has its reactor count monotonic time
(L{makeSteady}), and in other people's programs, which may want their reactor's C{seconds} for a
date, we have a clock of our own beside it (L{steady}).
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final, Protocol

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.runtime import seconds as timeOfDay
from zope.interface import directlyProvides, implementer, providedBy

from txgroupsock.primitives.checks import wrongKind
from txgroupsock.primitives.timerdescriptor import HAS_TIMERS, TimerDescriptor

_monotonic: Final = time.monotonic

_TIMES_OF_DAY: Final = (timeOfDay, time.time)  # noqa: TID251 - to know it by
_EXACT: Final = 1  # ns
_ROUNDING: Final = 1e-6  # s
_MILLISECOND: Final = 1_000_000
_SPARE: Final = 64  # calls that are dead and may stay, besides as many as there are alive


def isSteady(reactor: Any) -> bool:
    """Whether a reactor's clock is any but the time of day, such as a test's own."""
    return getattr(reactor, "seconds", None) not in _TIMES_OF_DAY


def makeSteady(reactor: Any) -> None:
    """
    Have a reactor, and all that is Twisted's on it, measure monotonic time; for the process whose
    reactor it is to decide.

    Its clock goes on from where it is, so what is to be called already keeps its distance, also
    where this is called by the reactor.  C{reactor.seconds()} is no date any more once the system's
    clock is set, such as those in an access log of twisted.web's.

    @raise TypeError: it is no reactor.
    """
    if not callable(getattr(reactor, "getDelayedCalls", None)):
        raise wrongKind("reactor", reactor, "a reactor")
    if isSteady(reactor):
        return
    calls = reactor.getDelayedCalls()
    # Whoever has not measured any time may as well have a clock that is no Python to call.
    isFresh = not calls and not getattr(reactor, "running", True)
    reactor.seconds = _monotonic if isFresh else _Continued(reactor.seconds())
    for call in calls:
        call.seconds = reactor.seconds


class _Continued:
    """Monotonic time, counted on from what a clock said."""

    def __init__(self, said: float) -> None:
        self._ahead = said - _monotonic()

    def __call__(self) -> float:
        return self._ahead + _monotonic()


def needReactor(reactor: Any) -> None:
    """
    Whatever makes calls later is a reactor.

    @raise TypeError: it is none.
    """
    if isinstance(reactor, type) or not callable(getattr(reactor, "callLater", None)):
        raise wrongKind("reactor", reactor, "a reactor")


def steady(reactor: Any) -> Any:
    """
    A reactor with a clock that nobody sets: the same one if its own is such, as after
    L{makeSteady}; else a L{SteadyReactor} where the system has timers that a reactor can watch
    (Linux), which is its C{steadied} if it has one.  Elsewhere it is the same one all the same:
    there, use L{makeSteady}.

    @raise TypeError: it is no reactor.
    """
    needReactor(reactor)
    if isSteady(reactor) or not _canWatchTimers(reactor):
        return reactor
    return getattr(reactor, "steadied", None) or SteadyReactor(reactor)


def callOff(call: IDelayedCall | None) -> None:
    """See to it that a call is not made, if there is one that has not been."""
    if call is not None and call.active():
        call.cancel()


def exact(reactor: Any) -> Any:
    """
    A reactor as L{steady} has it, with a timer of its own if possible: a call is 0.1 ms late
    instead of 0.5 (epoll and poll wait for whole milliseconds, rounded up).
    """
    seconds = getattr(reactor, "seconds", None)
    isReal = seconds in (*_TIMES_OF_DAY, _monotonic) or isinstance(seconds, _Continued)
    if isReal and _canWatchTimers(reactor):
        return SteadyReactor(reactor, _EXACT)
    return reactor


def unwrapped(reactor: Any) -> Any:
    """The reactor that runs, whatever is around it here."""
    while hasattr(reactor, "wrapped"):
        reactor = reactor.wrapped
    return reactor


def _canWatchTimers(reactor: Any) -> bool:
    return HAS_TIMERS and IReactorFDSet.providedBy(reactor)


class SteadyReactor:
    """
    Another reactor, but for its clock, which is CLOCK_MONOTONIC, and calls made by that.

    All calls share a descriptor that the reactor watches (timerfd_create(2)), while there are any.

    @ivar wrapped: the other one.
    """

    _log = Logger()

    def __init__(self, reactor: Any, resolution: int = _MILLISECOND) -> None:
        """
        @param reactor: provides C{IReactorFDSet}.
        @param resolution: ns of which each wait is a multiple, rounded up, as it is for epoll:
            ports are read less often if what reading takes is no part of the time between.
        """
        self.wrapped = reactor
        self._resolution = resolution
        self._calls: list[tuple[float, int, DelayedCall]] = []  # a heap; not all are still true
        self._numbers = count()
        self._alive = 0
        self._alarm: _Alarm | _Substitute | None = None
        self._alarmAt = float("inf")
        self._wakesAt = 0.0
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        if name == "wrapped":  # not there yet, as in a copy that is being made
            raise AttributeError(name)
        return getattr(self.wrapped, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} around {self.wrapped!r}>"

    seconds = staticmethod(_monotonic)

    def callLater(
        self, delay: float, function: Callable[..., object], *args: Any, **kwargs: Any
    ) -> IDelayedCall:
        """See C{IReactorTime}."""
        if not delay >= 0:
            raise ValueError(f"{delay} is not a number of seconds, 0 or more")
        call = DelayedCall(
            _monotonic() + delay, function, args, kwargs, self._cancelled, self._add, _monotonic
        )
        self._alive += 1
        self._add(call)
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """See C{IReactorTime}; with those that the reactor has itself."""
        ours = dict.fromkeys(call for _, _, call in self._calls if call.active())
        return [*self.wrapped.getDelayedCalls(), *ours]

    def _add(self, call: DelayedCall) -> None:
        """Make a call at its time; if it had another one, no more at that."""
        calls = self._calls
        if len(calls) > 2 * self._alive + _SPARE:
            calls[:] = [each for each in calls if _isTrue(each)]
            heapq.heapify(calls)
        heapq.heappush(calls, (call.time, next(self._numbers), call))
        if call.time < self._alarmAt:
            self._setAlarm(call.time)

    def _cancelled(self, call: DelayedCall) -> None:
        self._alive -= 1
        if not self._alive:
            self._calls.clear()
            self._endAlarm()

    def _setAlarm(self, at: float) -> None:
        if self._alarm is None:
            try:
                self._alarm = _Alarm(self.wrapped, self._wake)
            except OSError:  # no descriptors are left; better a clock that can be set than none
                self._alarm = _Substitute(self.wrapped, self._wake)
        now, least = _monotonic(), self._resolution
        if at <= now:
            # In the reactor's next turn, before it reads anything, as it is with its own calls.
            self.wrapped.callFromThread(self.makeDue)
        wait = max(least, (int((at - now) * 1e9) // least + 1) * least)
        self._alarmAt, self._wakesAt = at, now + wait / 1e9 - _ROUNDING
        self._alarm.set(wait)

    def _wake(self) -> None:
        if _monotonic() >= self._wakesAt:  # or the alarm was set anew when this was on its way
            self._run()

    def _endAlarm(self) -> None:
        alarm, self._alarm = self._alarm, None
        self._alarmAt = float("inf")
        if alarm is not None:
            alarm.close()

    def makeDue(self) -> None:
        """Make the calls that are due, now."""
        if self._calls and self._calls[0][0] <= _monotonic():
            self._run()

    def _run(self) -> None:
        calls, now = self._calls, _monotonic()
        # The alarm goes on until it is set anew: who turns the reactor in a call misses none.
        self._alarmAt = float("-inf")
        while calls and calls[0][0] <= now:
            entry = heapq.heappop(calls)
            if not _isTrue(entry):
                continue
            call = entry[2]
            if call.delayed_time > 0:
                call.activate_delay()
                self._add(call)
                continue
            call.called = 1
            self._alive -= 1
            try:
                call.func(*call.args, **call.kw)
            except BaseException:  # noqa: BLE001 - whatever it is, the others are to be called
                self._log.failure("{function} failed when its time had come", function=call.func)
        while calls and not _isTrue(calls[0]):
            heapq.heappop(calls)
        if calls:
            self._setAlarm(calls[0][0])
        else:
            self._endAlarm()


def _isTrue(entry: tuple[float, int, DelayedCall]) -> bool:
    """Whether a call is still to be made, and not at an earlier time by another entry."""
    at, _, call = entry
    return call.time == at and not (call.called or call.cancelled)


@implementer(IReadDescriptor)
class _Watched:
    """A timer that a reactor watches."""

    def __init__(self, reactor: Any) -> None:
        """@raise OSError: there are no descriptors left."""
        self._reactor = reactor
        self._timer = TimerDescriptor()
        self.fileno, self.set = self._timer.fileno, self._timer.set
        reactor.addReader(self)

    def close(self) -> None:
        """Give everything back."""
        self._reactor.removeReader(self)
        self._timer.close()

    def doRead(self) -> None:
        """Its time is over."""
        raise NotImplementedError

    def logPrefix(self) -> str:
        """For the log of the reactor."""
        return "clock"

    def connectionLost(self, reason: Failure) -> None:
        """Go on: a reactor that stops lets go of what it watches, but makes calls to the last."""
        if self.fileno() >= 0:
            self._reactor.addReader(self)


class _Alarm(_Watched):
    """Calls whenever its time has come, until it is set anew."""

    def __init__(self, reactor: Any, call: Callable[[], None]) -> None:
        self._call = call
        super().__init__(reactor)

    def doRead(self) -> None:
        """See C{IReadDescriptor}."""
        self._call()


class _Substitute:
    """The same by the reactor's own clock."""

    def __init__(self, reactor: Any, call: Callable[[], None]) -> None:
        self._reactor, self._call = reactor, call
        self._delayed: IDelayedCall | None = None

    def set(self, nanoseconds: int) -> None:
        self.close()
        self._delayed = self._reactor.callLater(nanoseconds / 1e9, self._call)

    def close(self) -> None:
        callOff(self._delayed)


class Ticks(Protocol):
    """Calls again and again, until it is stopped."""

    def soon(self) -> None:
        """Call at once after what the reactor does now."""

    def stop(self) -> None:
        """Call no more."""


def ticksOf(reactor: Any, seconds: float, call: Callable[[], None]) -> Ticks:
    """
    Call again and again, at the least cost.

    An empty tick of 1 ms takes as long by a timer that goes on by itself as by the C{callLater} of
    a reactor (medians of 51 and 53 µs of CPU, on a slow and busy machine; 48 if that is made
    steady); by a timer that is set each time, 10 more.

    @param seconds: from one call to the next, about.
    """
    beside = reactor
    while not isinstance(beside, SteadyReactor | None):
        beside = getattr(beside, "wrapped", None)
    if beside is not None:
        try:
            return TimerTicks(beside, seconds, call)
        except OSError:  # no descriptors are left
            pass
    return LaterTicks(reactor, seconds, call)


class LaterTicks:
    """By calls of a reactor, from tick to tick, whatever one of them takes."""

    def __init__(self, reactor: Any, seconds: float, call: Callable[[], None]) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self._later, self._seconds, self._call = reactor.callLater, seconds, call
        self._next: IDelayedCall = self._later(seconds, self._tick)

    def _tick(self) -> None:
        self._next = self._later(self._seconds, self._tick)
        self._call()

    def soon(self) -> None:
        """See L{Ticks}."""
        if self._next.active():
            self._next.reset(0)

    def stop(self) -> None:
        """See L{Ticks}."""
        if self._next.active():
            self._next.cancel()


class TimerTicks(_Watched):
    """By a timer that a reactor watches."""

    # As seldom as epoll, which waits for whole milliseconds after what has been read in a tick.
    _rarer: Final = 1.2

    def __init__(self, clock: SteadyReactor, seconds: float, call: Callable[[], None]) -> None:
        """@raise OSError: there are no descriptors left."""
        super().__init__(clock.wrapped)
        self._makeDue, self._call = clock.makeDue, call
        self._interval = max(1, int(seconds * self._rarer * 1e9))
        self.set(self._interval, self._interval)

    def doRead(self) -> None:
        """See C{IReadDescriptor}."""
        self._timer.read()
        self._makeDue()  # as a reactor makes all calls in the order of their times
        self._call()

    def soon(self) -> None:
        """See L{Ticks}."""
        if self.fileno() >= 0:
            self.set(1, self._interval)

    def stop(self) -> None:
        """See L{Ticks}."""
        self.close()
