"""Pacing: under load, ports are read once in a while instead of at every wake-up."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any, Final, Protocol
from weakref import WeakValueDictionary

from twisted.internet.interfaces import IReactorCore

from txgroupsock.ports.clock import Ticks, ticksOf
from txgroupsock.primitives.batchmemory import BatchMemory
from txgroupsock.primitives.checks import wrongKind

MOST_LATENCY: Final = 60.0
"""Seconds; no receive buffer lasts as long."""

WAKE_UPS: Final = 8
"""A port looks at its rate once in so many wake-ups."""

# A wake-up costs about what a tick does, 20 to 60 µs, so ticks pay from two wake-ups in their time
# on; they go on until there are fewer than two datagrams in most.  Ten ports with 1,000 datagrams
# a second each take 9.6 µs for one at ticks of 1 ms, and 24 if each is woken up for it.
# Reading nothing costs 5 µs, so a port that has nothing in three of four ticks is given back.
_ENOUGH: Final = 2
# A poll reactor rounds its waits down to whole milliseconds and spins for the rest, at each tick.
_ENOUGH_IF_SPINNING: Final = 64
_OFFERS: Final = 4
_PATIENCE: Final = 32
_HIT: Final = 3


class Paced(Protocol):
    """A port that can be read at the ticks of a pacer instead of whenever it can be read."""

    def readPaced(self) -> int:
        """Read what has gathered; how many datagrams; negative if there is more than that."""

    def endPacing(self) -> None:
        """Be woken up by the reactor again."""


class Pacer:
    """
    Reads ports that much arrives at, all of them with one timer for one latency.

    A port that is woken up often offers itself.  Once all that do so are woken up twice in a
    latency, the pacer takes them, and further ones as they come; from then on, nothing of theirs
    is looked at by the reactor.  Without ports it has no timer.
    """

    def __init__(self, reactor: Any, latency: float, enough: int = _ENOUGH) -> None:
        """
        @param reactor: provides C{IReactorTime}.
        @param latency: seconds from one tick to the next.
        @param enough: wake-ups in that time from which ticks are cheaper.
        """
        self._enough = enough
        self.latency = latency
        self._reactor = reactor
        self._empty: dict[Paced, int] = {}  # ports, and how far each is from paying
        self._poor = 0
        self._offers: deque[float] = deque(maxlen=_OFFERS)
        self._ticks: Ticks | None = None
        self._trigger: Any = None

    def offer(self, port: Paced, now: float, gap: float) -> bool:
        """
        Offer a port for reading; whether it has been taken.

        @param now: in seconds of the reactor's clock.
        @param gap: seconds between two wake-ups of this port, on average over the last
            L{WAKE_UPS}; this has to be called after each so many.
        """
        if gap > 2 * self.latency:
            return False
        if self._ticks is None:
            offers = self._offers
            most = _OFFERS * WAKE_UPS * self.latency / self._enough
            isEnough = len(offers) == _OFFERS and now - offers[0] <= most
            offers.append(now)
            if not isEnough:
                return False
            self._start()
        self._empty[port] = 0
        return True

    def withdraw(self, port: Paced) -> None:
        """Read a port no more, if it was."""
        if self._empty.pop(port, None) is not None and not self._empty:
            self._stop()

    def _tick(self) -> None:
        total = 0
        hasMore = False
        for port in tuple(self._empty):
            if port not in self._empty:  # another one's protocol has paused or closed it
                continue
            count = port.readPaced()
            total += abs(count)
            hasMore = hasMore or count < 0
            empty = self._empty.get(port)
            if empty is None:
                continue
            if count:
                self._empty[port] = max(0, empty - _HIT)
            elif empty < _PATIENCE:
                self._empty[port] = empty + 1
            else:
                self.withdraw(port)
                port.endPacing()
        self._poor = max(0, self._poor - 1) if total >= self._enough else self._poor + 1
        if self._poor > _PATIENCE:
            self._dissolve()
        elif hasMore and self._ticks is not None:
            self._ticks.soon()

    def _dissolve(self) -> None:
        ports = tuple(self._empty)
        self._empty.clear()
        self._stop()
        for port in ports:
            port.endPacing()

    def _start(self) -> None:
        # Whatever reading takes: nothing is held for longer than from tick to tick.
        self._ticks = ticksOf(self._reactor, self.latency, self._tick)
        if IReactorCore.providedBy(self._reactor):
            # A reactor that stops closes the ports that it watches.
            self._trigger = self._reactor.addSystemEventTrigger(
                "before", "shutdown", self._dissolve
            )

    def _stop(self) -> None:
        trigger, self._trigger = self._trigger, None
        if trigger is not None:
            with suppress(ValueError):  # it is what calls this
                self._reactor.removeSystemEventTrigger(trigger)
        if self._ticks is not None:
            self._ticks.stop()
        self._ticks = None
        self._poor = 0
        self._offers.clear()


class Shared:
    """
    What the ports of one reactor share.

    @ivar memory: what they receive into.
    """

    def __init__(self, reactor: Any, wrapped: Any = None) -> None:
        """
        @param reactor: provides C{IReactorTime}.
        @param wrapped: the one that this is a wrapper of, if it is one.
        """
        self.memory = BatchMemory()
        self._reactor = reactor
        # By name: not every system can import it.
        kinds = [each.__name__ for each in type(wrapped or reactor).__mro__]
        self._enough = _ENOUGH_IF_SPINNING if "PollReactor" in kinds else _ENOUGH
        self._pacers: WeakValueDictionary[float, Pacer] = WeakValueDictionary()

    def pacer(self, latency: float) -> Pacer:
        """The pacer of all ports with that latency, in seconds."""
        found = self._pacers.get(latency)
        if found is None:
            found = self._pacers[latency] = Pacer(self._reactor, latency, self._enough)
        return found


def checkLatency(latency: float | None) -> float | None:
    """
    A latency, if it is one.

    @raise ValueError: it is not.
    @raise TypeError: it is no number.
    """
    given: Any = latency
    if isinstance(given, bool) or not isinstance(given, float | int | None):
        raise wrongKind("latency", latency, "a number of seconds")
    if latency is not None and not 0 <= latency <= MOST_LATENCY:
        raise ValueError(
            f"latency is {latency}; it must be a number of seconds from 0 to {MOST_LATENCY:g}"
        )
    return latency
