"""
Looking at all packets of a run at once, where they have up to 15 PIDs.

One byte for each packet holds which PID it has (4 bits) and its continuity_counter (4 bits); it is
made for all packets together by looking bytes up in tables.  What has been thrown out of these
bytes but one PID has to be the next part of 0, 1, ... 15, 0, 1, ...
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import compress
from typing import Final

from attrs import define

from txgroupsock.relay.health.pid import PID
from txgroupsock.relay.health.psi import NULL_PID

SIZE: Final = 188
SYNC: Final = b"\x47"
MOST_PACKETS: Final = 512
_MOST_PIDS: Final = 15

_SOUND: Final = bytes(range(0x80))  # second bytes without transport_error_indicator
_PID_BITS: Final = bytes(each & 0x1F for each in range(256))
_CLEAR: Final = bytes(range(0x40))  # fourth bytes without transport_scrambling_control
_IS_SCRAMBLED: Final = bytes(each >> 6 != 0 for each in range(256))
# With adaptation_field.
_IS_ADAPTED: Final = bytes(each & 0x20 != 0 for each in range(256))
# The continuity_counter, or what has the packet left out, since it has no payload.
_COUNTERS: Final = bytes(each & 0x0F if each & 0x10 else 0xF0 for each in range(256))
_NONE: Final = 0xF0


@define(eq=False)
class View:
    """
    A run in which every PID goes on as it should.

    @ivar shares: of each PID that is there: it, its byte in C{keys}, its packets, and how many
        of these have payload.
    @ivar nulls: null packets.
    @ivar clocks: for each PCR, its PID and the index of its packet.
    @ivar keys: for each packet, what stands for its PID.
    @ivar scrambled: the same, of scrambled packets only.
    """

    shares: list[tuple[PID, int, int, int]]
    nulls: int
    clocks: list[tuple[int, int]]
    keys: bytes
    scrambled: bytes


class Plan:
    """
    The tables for certain PIDs.

    Making one takes 30 µs.
    """

    def __init__(self, pids: dict[int, PID], factor: int) -> None:
        """@param factor: see L{factorFor}."""
        self._pids = pids
        self._hashed = bytes(each * factor & 0xFF for each in range(256))
        highs, indexes = bytearray(b"\xff" * 256), bytearray(bytes((_NONE,)) * 256)
        self._parts: list[tuple[int, PID, bytes, bytes]] = []
        for index, (number, pid) in enumerate(pids.items()):
            key = _keyOf(number, factor)
            highs[key], indexes[key] = number >> 8, index << 4
            own = range(index << 4, (index << 4) + 16)
            others = bytes(each for each in range(256) if each not in own)
            cycle = bytes(own) * (MOST_PACKETS // 16 + 2)
            self._parts.append((key, pid, others, cycle))
        self._null = _keyOf(NULL_PID, factor)
        highs[self._null] = NULL_PID >> 8
        self._highs, self._indexes = bytes(highs), bytes(indexes)

    @classmethod
    def of(cls, pids: Iterable[PID]) -> Plan | None:
        """A plan for these; L{None} if they are too many."""
        chosen = {each.number: each for each in pids if each.number != NULL_PID}
        if not 0 < len(chosen) <= _MOST_PIDS:
            return None
        factor = factorFor([*chosen, NULL_PID])
        return None if factor is None else cls(chosen, factor)

    def view(self, packets: memoryview) -> View | None:
        """
        A run's packets, if all of them are as they should be; L{None} if they are to be looked
        at one by one.
        """
        count = len(packets) // SIZE
        if count > MOST_PACKETS:
            return None
        heads = packets.cast("I")[:: SIZE // 4].tobytes()
        second, third, fourth = heads[1::4], heads[2::4], heads[3::4]
        if heads[::4] != SYNC * count or second.translate(None, _SOUND):
            return None
        highs = second.translate(_PID_BITS)
        keys = (
            int.from_bytes(highs.translate(self._hashed), "little")
            ^ int.from_bytes(third, "little")
        ).to_bytes(count, "little")
        if keys.translate(self._highs) != highs:  # a PID that is not in the plan
            return None
        codes = (
            int.from_bytes(keys.translate(self._indexes), "little")
            | int.from_bytes(fourth.translate(_COUNTERS), "little")
        ).to_bytes(count, "little")
        shares = []
        for key, pid, others, cycle in self._parts:
            number = keys.count(key)
            if number:
                counters = codes.translate(None, others)
                payloads = len(counters)
                begin = pid.counter + 1
                if payloads and (not begin or counters != cycle[begin : begin + payloads]):
                    return None
                shares.append((pid, key, number, payloads))
        clocks = _clocksIn(packets, highs, third, fourth)
        if clocks is None:
            return None
        scrambled = b""
        if fourth.translate(None, _CLEAR):
            scrambled = bytes(compress(keys, fourth.translate(_IS_SCRAMBLED)))
        return View(shares, keys.count(self._null), clocks, keys, scrambled)


def _clocksIn(
    packets: memoryview, highs: bytes, third: bytes, fourth: bytes
) -> list[tuple[int, int]] | None:
    """Which packets have a PCR; L{None} if there is a discontinuity_indicator."""
    clocks = []
    isAdapted = fourth.translate(_IS_ADAPTED)
    index = isAdapted.find(1)
    while index >= 0:
        at = index * SIZE
        if packets[at + 4]:  # its length
            flags = packets[at + 5]
            if flags & 0x80:
                return None
            if flags & 0x10:
                clocks.append((highs[index] << 8 | third[index], index))
        index = isAdapted.find(1, index + 1)
    return clocks


def factorFor(numbers: Iterable[int]) -> int | None:
    """
    What the upper five bits of PIDs can be multiplied with so that, together with the lower
    eight, one byte tells these PIDs apart; L{None} if nothing will do.
    """
    every = list(numbers)
    for factor in range(256):
        if len({_keyOf(each, factor) for each in every}) == len(every):
            return factor
    return None


def _keyOf(number: int, factor: int) -> int:
    return ((number >> 8) * factor ^ number) & 0xFF
