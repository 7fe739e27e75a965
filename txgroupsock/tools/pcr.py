"""Program clock references (ISO/IEC 13818-1 2.4.3.4, 2.4.3.5): found, and followed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import define, field

HZ: Final = 27_000_000
ROUND: Final = (1 << 33) * 300
"""Ticks after which the clock begins anew: 26.5 h."""

_PACKET: Final = 188
_FURTHEST: Final = 2 * HZ  # 0.1 s is allowed; files are made that have more
_ENOUGH: Final = 16  # PCRs of another PID for each that has none any more


def clocksIn(packets: bytes) -> Iterator[tuple[int, int, int, bool]]:
    """
    Each PCR in whole packets: where its packet begins, its PID, its value in ticks, and whether the
    packet tells of a discontinuity.
    """
    # An adaptation field with something in it: few packets have one.
    controls, lengths = packets[3::_PACKET], packets[4::_PACKET]
    for number, control in enumerate(controls):
        if not control & 0x20 or lengths[number] < 7:
            continue
        at = number * _PACKET
        flags = packets[at + 5]
        if not flags & 0x10 or packets[at + 1] & 0x80:  # no PCR, or damaged on its way
            continue
        bits = int.from_bytes(packets[at + 6 : at + 12], "big")
        value = (bits >> 15) * 300 + (bits & 0x1FF)
        pid = (packets[at + 1] & 0x1F) << 8 | packets[at + 2]
        yield at, pid, value, bool(flags & 0x80)


@define
class Clock:
    """
    The clock of one program among the PCRs of all.

    @ivar pid: whose PCRs count; -1 until there is one.
    @ivar discontinuities: how often the clock did not go on.
    """

    pid: int = -1
    discontinuities: int = 0
    _value: int = -1
    _others: dict[int, int] = field(factory=dict)

    def take(self, pid: int, value: int, *, isNew: bool) -> int | None:
        """
        Take a PCR.

        @param isNew: discontinuity_indicator: it has nothing to do with those before.
        @return: the ticks since the one before; 0 if that cannot be told; L{None} if this one does
            not count.
        """
        if pid != self.pid:
            if self.pid >= 0:
                self._others[pid] = self._others.get(pid, 0) + 1
                if self._others[pid] < _ENOUGH:
                    return None
                self.discontinuities += 1
            self.pid, self._value = pid, value
            self._others.clear()
            return 0
        self._others.clear()
        before, self._value = self._value, value
        ticks = (value - before) % ROUND
        if isNew or not 0 < ticks <= _FURTHEST:
            self.discontinuities += 1
            return 0
        return ticks
