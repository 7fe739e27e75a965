"""When a membership is reported again, and whose datagrams must not get lost thereby."""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import nlargest
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

from txgroupsock.ports.clock import steady

SILENCE: Final = 5.0
"""Seconds, at least, that nothing came from a group before it is refreshed for that."""

MOST: Final = 60.0
"""Seconds between two refreshes of a group that stays silent."""

_LOOK = SILENCE / 2


class Refreshing:
    """
    The times at which one membership is refreshed.

    On silence: when a group that something had come from is silent for 5 s to 7.5 s, then again
    after twice as long each time, up to 60 s.  On a schedule, if one is asked for.

    Each begins at a time of its own, lest a thousand groups that fall silent together are
    refreshed in one turn of the reactor: each takes 0.2 ms, and 0.6 where 1,000 groups are joined.
    """

    def __init__(
        self,
        reactor: Any,
        received: Callable[[], int],
        refresh: Callable[..., object],
        random: Callable[[], float] = random.random,
    ) -> None:
        """
        @param reactor: provides C{IReactorTime}.
        @param received: how many datagrams have come.
        @param refresh: called with C{mayLose}: whether there is nothing to lose.
        @param random: a number from 0 to 1.
        """
        self._random = random
        self._reactor = steady(reactor)
        self._received = received
        self._refresh = refresh
        self._timers: dict[str, IDelayedCall] = {}
        self._before = 0
        self._silent = 0.0
        self._next = SILENCE

    def start(self, interval: float | None) -> None:
        """
        Begin, or go on in another way.

        @param interval: seconds between scheduled refreshes; L{None} for on silence only; 0 for
            never.
        """
        self.stop()
        if interval == 0:
            return
        self._before, self._silent, self._next = self._received(), 0.0, SILENCE
        self._timers["look"] = self._reactor.callLater(_LOOK * self._random(), self._look)
        if interval is not None:
            self._again(interval, interval * self._random())

    def stop(self) -> None:
        """Refresh no more."""
        while self._timers:
            self._timers.popitem()[1].cancel()

    def _again(self, interval: float, wait: float) -> None:
        self._timers["schedule"] = self._reactor.callLater(wait, self._scheduled, interval)

    def _scheduled(self, interval: float) -> None:
        self._again(interval, interval)
        self._refresh(mayLose=False)

    def _look(self) -> None:
        self._timers["look"] = self._reactor.callLater(_LOOK, self._look)
        received = self._received()
        if received != self._before or not received:
            self._before, self._silent, self._next = received, 0.0, SILENCE
            return
        self._silent += _LOOK
        if self._silent >= self._next:
            self._silent, self._next = 0.0, min(2 * self._next, MOST)
            self._refresh(mayLose=True)


class Senders:
    """Who has sent lately, as many as a filter of sources may have to hold."""

    most: Final = 64

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def heard(self, host: str, now: float) -> None:
        """
        Something came from a host.

        @param now: seconds of any clock.
        """
        self._last[host] = now
        if len(self._last) > 2 * self.most:  # who makes them up may not have our memory
            self._last = {each: self._last[each] for each in self.latest()}

    def latest(self) -> list[str]:
        """The hosts that were heard last, the latest first."""
        return nlargest(self.most, self._last, key=self._last.__getitem__)
