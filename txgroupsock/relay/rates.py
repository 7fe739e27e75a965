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


@frozen
class Sample:
    """The sums of some counters at one moment."""

    datagrams: int
    bytes: int
    dropped: int

    @classmethod
    def of(cls, counters: Counters) -> Sample:
        """Those of counters now."""
        return cls(counters.datagrams, counters.bytes, sum(counters.dropped.values()))

    def since(self, before: Sample, seconds: float) -> Rate:
        """What was counted from then to now; nothing if that was other counters."""
        grown = (
            self.datagrams - before.datagrams,
            self.bytes - before.bytes,
            self.dropped - before.dropped,
        )
        if min(grown) < 0 or seconds <= 0:
            return Rate()
        return Rate(grown[0] / seconds, 8 * grown[1] / seconds, grown[2] / seconds)


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
        self._before: tuple[Sample, ...] | None = None

    def sample(self, counters: Sequence[Counters], seconds: float) -> None:
        """
        Look at the counters again.

        @param counters: one for each part; the first is where things come in.
        @param seconds: since the last look.
        """
        now, before = tuple(Sample.of(each) for each in counters), self._before
        self._before = now
        if before is None or len(before) != len(now):
            self.parts = (Rate(),) * len(now)
            return
        self.parts = tuple(
            one.since(other, seconds) for one, other in zip(now, before, strict=True)
        )
        dropped = sum(each.dropped for each in self.parts)
        self.history.append(Rate(self.parts[0].datagrams, self.parts[0].bits, dropped))

    def forget(self) -> None:
        """Take the next look as the first: the parts are others now."""
        self._before = None
