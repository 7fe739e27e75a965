"""How fast counters grow, now and for the last minutes."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from txgroupsock.relay.counters import Counters

KEPT: Final = 300
"""Intervals that a L{History} keeps."""


@frozen
class Rate:
    """A second: datagrams and bits of payload that passed, and datagrams that were dropped."""

    datagrams: float = 0.0
    bits: float = 0.0
    dropped: float = 0.0


_NOTHING = Rate()
_Sums = tuple[int, int, int]  # datagrams, bytes, datagrams dropped


class History:
    """
    Rates of the last intervals, in 12 bytes each.

    Kept as 32-bit floats: they are for charts.
    """

    def __init__(self) -> None:
        self._columns = [array("f"), array("f"), array("f")]
        self._next = 0  # where the oldest is, once there are as many as are kept

    def append(self, rate: Rate) -> None:
        """Add the newest; the oldest goes if there are too many."""
        values = (rate.datagrams, rate.bits, rate.dropped)
        isFull = len(self._columns[0]) == KEPT
        for column, value in zip(self._columns, values, strict=True):
            if isFull:
                column[self._next] = value
            else:
                column.append(value)
        self._next = (self._next + 1) % KEPT

    def series(self) -> tuple[list[int], list[int], list[int]]:
        """Datagrams, bits and drops a second, in whole numbers, the oldest first."""
        first = self._next if len(self._columns[0]) == KEPT else 0
        datagrams, bits, dropped = (
            list(map(round, column[first:] + column[:first])) for column in self._columns
        )
        return datagrams, bits, dropped


class Rates:
    """The rates of the parts of something, from one sample to the next."""

    def __init__(self) -> None:
        self.parts: tuple[Rate, ...] = ()
        self.history = History()
        self._before: list[_Sums] | None = None

    def sample(self, counters: Sequence[Counters], seconds: float) -> None:
        """
        Look at the counters again.

        @param counters: one for each part; the first is where things come in.
        @param seconds: since the last look.
        """
        now = [(each.datagrams, each.bytes, sum(each.dropped.values())) for each in counters]
        before, self._before = self._before, now
        if before is None or len(before) != len(now):
            self.parts = (_NOTHING,) * len(now)
            return
        if before == now:  # as most of a thousand routes may be
            self.parts = (_NOTHING,) * len(now)
            self.history.append(_NOTHING)
            return
        self.parts = tuple(
            _grown(one, other, seconds) for one, other in zip(before, now, strict=True)
        )
        dropped = sum(each.dropped for each in self.parts)
        self.history.append(Rate(self.parts[0].datagrams, self.parts[0].bits, dropped))

    def forget(self) -> None:
        """Take the next look as the first: the parts are others now."""
        self._before = None


def _grown(before: _Sums, now: _Sums, seconds: float) -> Rate:
    """What was counted from then to now; nothing if that was other counters."""
    datagrams, size, dropped = (one - other for one, other in zip(now, before, strict=True))
    if min(datagrams, size, dropped) < 0 or seconds <= 0:
        return _NOTHING
    return Rate(datagrams / seconds, 8 * size / seconds, dropped / seconds)
