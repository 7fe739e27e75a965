"""What a relay counts, and how it says so."""

from __future__ import annotations

import errno
from collections import Counter

from attrs import define, field


@define
class Counters:
    """
    Datagrams and bytes of payload that passed one place, and datagrams that did not.

    @ivar datagrams: that passed.
    @ivar bytes: of payload, in those.
    @ivar dropped: datagrams lost here, by reason: an errno's name, or a word of docs/relay.md.
    """

    datagrams: int = 0
    bytes: int = 0
    dropped: Counter[str] = field(factory=Counter)

    def passed(self, count: int, size: int) -> None:
        """So many datagrams, of so many bytes in all, passed."""
        self.datagrams += count
        self.bytes += size

    def since(self, before: Counters) -> Counters:
        """What was counted since a copy was made."""
        return Counters(
            self.datagrams - before.datagrams,
            self.bytes - before.bytes,
            self.dropped - before.dropped if self.dropped else Counter(),
        )

    def plus(self, other: Counters) -> Counters:
        """The sums of both."""
        return Counters(
            self.datagrams + other.datagrams,
            self.bytes + other.bytes,
            self.dropped + other.dropped if self.dropped or other.dropped else Counter(),
        )

    def copy(self) -> Counters:
        """The counts as they are now."""
        return Counters(self.datagrams, self.bytes, self.dropped.copy())

    def __str__(self) -> str:
        reasons = ", ".join(
            f"{reason} {count:,}" for reason, count in sorted((+self.dropped).items())
        )
        dropped = f"{self.dropped.total():,} dropped" + (f" ({reasons})" if reasons else "")
        return f"{self.datagrams:,} datagrams, {self.bytes:,} bytes, {dropped}"


def errnoName(number: int | None) -> str:
    """The name of an errno: C{"ENOBUFS"}."""
    return errno.errorcode.get(number or 0, "unknown")


def bitRate(bits: float) -> str:
    """A bit rate for people: C{"10.5 Mbit/s"}."""
    for unit in ("bit/s", "kbit/s", "Mbit/s"):
        if bits < 1000:
            return f"{bits:.1f} {unit}"
        bits /= 1000
    return f"{bits:.2f} Gbit/s"


def counted(number: int, noun: str) -> str:
    """So many: C{1 route}, C{2,000 routes}."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
