"""What is known of each leg of a merge: what it lost, and how far it is behind the others."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

from attrs import define, field, frozen

INTERVAL: Final = 10.0
"""Seconds over which a leg's loss and skew are taken together."""

_MISSING_KNOWN: Final = 256  # stretches of lost datagrams that may still come
_STEPS: Final = 256  # in a window: how finely a leg's progress is noted
_NOTED: Final = 8 * _STEPS
_ENOUGH: Final = 100  # to tell a rate, or a skew


@define
class Skew:
    """How far a leg was behind whichever had a datagram first, in seconds."""

    least: float = 0.0
    most: float = 0.0
    total: float = 0.0
    count: int = 0

    def add(self, seconds: float) -> None:
        """Note one."""
        self.least = min(self.least, seconds) if self.count else seconds
        self.most = max(self.most, seconds)
        self.total += seconds
        self.count += 1

    @property
    def mean(self) -> float:
        """0 if there is none."""
        return self.total / self.count if self.count else 0.0


@frozen
class LegStatus:
    """
    A leg at one moment.

    @ivar received: datagrams, each counted once.
    @ivar used: of these, how many were given on, since no other leg had them before.
    @ivar lost: datagrams missing on this leg before the last that came.
    @ivar duplicates: datagrams that had come on this very leg before.
    @ivar late: datagrams that came when they had been given up.
    @ivar strays: datagrams of another stream, or another place in it, than is given on.
    @ivar lossRate: of the datagrams of the last interval, 0 to 1.
    @ivar skew: of the last interval.
    @ivar silence: seconds since its last datagram; L{None} before the first.
    """

    received: int
    used: int
    lost: int
    duplicates: int
    late: int
    strays: int
    lossRate: float
    skew: Skew
    silence: float | None

    def __str__(self) -> str:
        heard = "nothing yet" if self.silence is None else f"{self.received:,} received"
        return (
            f"{heard}, {self.used:,} used, {self.lost:,} lost, {self.late:,} late, "
            f"{self.skew.least * 1000:.1f} to {self.skew.most * 1000:.1f} ms behind "
            f"(mean {self.skew.mean * 1000:.1f})"
        )


@define(eq=False)
class Leg:
    """
    What has come on one leg, by the numbers of the stream that is given on.

    @ivar end: one more than the highest number on this leg; L{None} while it has none there.
    @ivar lastHeard: when its last datagram came, in seconds; L{None} before the first.
    """

    window: float
    end: int | None = None
    lastHeard: float | None = None
    received: int = 0
    used: int = 0
    lost: int = 0
    duplicates: int = 0
    late: int = 0
    strays: int = 0
    _missing: list[tuple[int, int]] = field(factory=list)  # in order
    _ends: list[int] = field(factory=list)  # its progress: numbers,
    _times: list[float] = field(factory=list)  # and when it was there
    _skew: Skew = field(factory=Skew)
    _lastSkew: Skew = field(factory=Skew)
    _before: tuple[int, int] = (0, 0)  # received and lost when the interval began
    _lastRate: float = 0.0
    _began: float | None = None

    def note(self, first: int, end: int, now: float, others: Sequence[Leg]) -> None:
        """
        Count consecutive datagrams that came.

        @param others: legs, which may include this one.
        """
        if self._began is None or now >= self._began + INTERVAL:
            self._nextInterval(now)
        if self.end is None or first == self.end:
            self.received += end - first
            self.end = end
        elif first > self.end:
            self._missing.append((self.end, first))
            if len(self._missing) > _MISSING_KNOWN:
                del self._missing[0]
            self.lost += first - self.end
            self.received += end - first
            self.end = end
        else:
            self._noteOld(first, min(end, self.end))
            self.received += max(0, end - self.end)
            self.end = max(end, self.end)
        if self.end == end and (not self._times or now >= self._times[-1] + self.window / _STEPS):
            self._progress(end, now, others)

    def forget(self) -> None:
        """Begin anew in another stream."""
        self.end = None
        self._missing.clear()
        self._ends.clear()
        self._times.clear()

    def status(self, now: float) -> LegStatus:
        """What there is to know now."""
        isOver = self._began is not None and now >= self._began + 2 * INTERVAL
        recent = self._skew if self._skew.count >= _ENOUGH else self._lastSkew
        recent = Skew() if isOver else recent if recent.count else self._skew
        return LegStatus(
            received=self.received,
            used=self.used,
            lost=self.lost,
            duplicates=self.duplicates,
            late=self.late,
            strays=self.strays,
            lossRate=0.0 if isOver else self._rate(),
            skew=Skew(recent.least, recent.most, recent.total, recent.count),
            silence=None if self.lastHeard is None else max(0.0, now - self.lastHeard),
        )

    def _noteOld(self, first: int, end: int) -> None:
        """
        Count datagrams before the highest: they were missing, or came before.

        2 µs, however many stretches are known.
        """
        missing = self._missing
        begin = bisect_right(missing, first, key=lambda stretch: stretch[1])
        stop = bisect_left(missing, end, begin, key=lambda stretch: stretch[0])
        found, left = 0, list[tuple[int, int]]()
        for low, high in missing[begin:stop]:
            found += min(high, end) - max(low, first)
            rests = (low, min(high, first)), (max(low, end), high)
            left += [rest for rest in rests if rest[0] < rest[1]]
        missing[begin:stop] = left
        if len(missing) > _MISSING_KNOWN:
            del missing[0]
        self.lost -= found
        self.received += found
        self.duplicates += end - first - found

    def _progress(self, end: int, now: float, others: Sequence[Leg]) -> None:
        """Note how far it has come, and how long after the first of the others."""
        self._ends.append(end)
        self._times.append(now)
        if len(self._ends) > _NOTED:
            del self._ends[: _NOTED // 2], self._times[: _NOTED // 2]
        behind = [now - at for each in others if (at := each.whenAt(end)) is not None]
        self._skew.add(max(behind))

    def whenAt(self, end: int) -> float | None:
        """When it had come so far; L{None} if it has not."""
        index = bisect_left(self._ends, end)
        return self._times[index] if index < len(self._ends) else None

    def _rate(self) -> float:
        """Of this interval, or while that has too few of the last."""
        received, lost = self.received - self._before[0], max(0, self.lost - self._before[1])
        return lost / (received + lost) if received + lost >= _ENOUGH else self._lastRate

    def _nextInterval(self, now: float) -> None:
        self._lastRate, self._lastSkew = self._rate(), self._skew
        self._before, self._skew, self._began = (self.received, self.lost), Skew(), now
