"""Many times, of which the extremes, the mean and the quantiles are known."""

from __future__ import annotations

from typing import Final

_BITS: Final = 7  # of precision: times in a bucket differ by less than 1/64


class Latencies:
    """
    Times from one event to another, in whole nanoseconds; negative ones, too, as from clocks that
    differ.

    What it takes up does not depend on how many there are: each is kept to within 1/64, as a
    count of those that are alike.

    @ivar count: how many.
    @ivar least: the shortest, exactly.
    @ivar most: the longest, exactly.
    """

    def __init__(self) -> None:
        self.count = 0
        self.least = self.most = 0
        self._total = 0
        self._alike: dict[int, int] = {}

    def add(self, nanoseconds: int, count: int = 1) -> None:
        """Count so many of one length."""
        if not self.count:
            self.least = self.most = nanoseconds
        elif nanoseconds < self.least:
            self.least = nanoseconds
        elif nanoseconds > self.most:
            self.most = nanoseconds
        self.count += count
        self._total += count * nanoseconds
        shift = max(0, nanoseconds.bit_length() - _BITS)
        key = nanoseconds >> shift << shift
        self._alike[key] = self._alike.get(key, 0) + count

    def addAll(self, other: Latencies) -> None:
        """Count all that another has, too."""
        if not other.count:
            return
        self.least = min(self.least, other.least) if self.count else other.least
        self.most = max(self.most, other.most) if self.count else other.most
        self.count += other.count
        self._total += other._total
        for key, count in other._alike.items():
            self._alike[key] = self._alike.get(key, 0) + count

    @property
    def mean(self) -> float:
        """Nanoseconds; 0 if there are none."""
        return self._total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """The time, in ns, that a share (0 to 1) of all do not exceed; 0 if there are none."""
        wanted = share * self.count
        seen = 0
        for key in sorted(self._alike):
            seen += self._alike[key]
            if seen >= wanted:
                width = 1 << max(0, key.bit_length() - _BITS)
                return min(max(key + width // 2, self.least), self.most)
        return 0.0

    def toJSON(self) -> dict[str, float] | None:
        """In ms: C{min}, C{mean}, C{median}, C{p99} and C{max}; L{None} if there are none."""
        if not self.count:
            return None
        figures = {
            "min": self.least,
            "mean": self.mean,
            "median": self.quantile(0.5),
            "p99": self.quantile(0.99),
            "max": self.most,
        }
        return {name: round(each / 1e6, 6) for name, each in figures.items()}

    def __str__(self) -> str:
        if not self.count:
            return "latency unknown"
        return f"latency {self.mean / 1e6:.2f} ms (at most {self.most / 1e6:.2f})"
