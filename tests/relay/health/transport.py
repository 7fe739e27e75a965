"""Transport streams, made and read packet by packet, as ISO/IEC 13818-1 has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from attrs import define, field

NULL = 0x1FFF


def packet(
    pid: int,
    counter: int,
    content: bytes = b"",
    *,
    isStart: bool = False,
    hasPayload: bool = True,
    flags: int | None = None,
    pcr: int | None = None,
    control: int = 0,
    isDamaged: bool = False,
) -> bytes:
    """
    One packet of 188 bytes.

    @param flags: of the adaptation field: 0x80 is discontinuity_indicator; L{None} for no field.
    @param pcr: ticks of 27 MHz; there is an adaptation field, then.
    @param control: transport_scrambling_control.
    """
    adaptation = b""
    if pcr is not None:
        flags = (flags or 0) | 0x10
    if flags is not None or not hasPayload:
        fields = bytes((flags or 0,))
        if pcr is not None:
            fields += (pcr // 300 % (1 << 33) << 15 | 0x3F << 9 | pcr % 300).to_bytes(6, "big")
        if not hasPayload:
            fields = fields.ljust(183, b"\xff")
        adaptation = bytes((len(fields),)) + fields
    head = bytes(
        (
            0x47,
            0x80 * isDamaged | 0x40 * isStart | pid >> 8,
            pid & 0xFF,
            control << 6 | 0x20 * bool(adaptation) | 0x10 * hasPayload | counter & 15,
        )
    )
    return (head + adaptation + content).ljust(188, b"\xff")


def crc(data: bytes) -> bytes:
    """The CRC-32 of annex A, bit by bit."""
    value = 0xFFFFFFFF
    for each in data:
        for bit in range(7, -1, -1):
            isSet = (value >> 31) ^ (each >> bit & 1)
            value = (value << 1 & 0xFFFFFFFF) ^ (0x04C11DB7 if isSet else 0)
    return value.to_bytes(4, "big")


def section(tableId: int, number: int, body: bytes, version: int = 0) -> bytes:
    """A section with its CRC, after a pointer_field of 0."""
    size = 5 + len(body) + 4
    head = bytes((tableId, 0xB0 | size >> 8, size & 0xFF)) + number.to_bytes(2, "big")
    whole = head + bytes((0xC1 | version << 1, 0, 0)) + body
    return b"\0" + whole + crc(whole)


def pat(programs: dict[int, int], version: int = 0) -> bytes:
    """A PAT: the PIDs of the PMTs, by program."""
    body = b"".join(
        program.to_bytes(2, "big") + (0xE000 | pid).to_bytes(2, "big")
        for program, pid in programs.items()
    )
    return section(0, 1, body, version)


def pmt(program: int, pcrPID: int, types: dict[int, int], version: int = 0) -> bytes:
    """A PMT: stream types by elementary PID."""
    body = (0xE000 | pcrPID).to_bytes(2, "big") + b"\xf0\0"
    for pid, kind in types.items():
        body += bytes((kind,)) + (0xE000 | pid).to_bytes(2, "big") + b"\xf0\0"
    return section(2, program, body, version)


@define
class Reference:
    """Reads a stream packet by packet, and counts what is wrong with continuity."""

    packets: Counter[int] = field(factory=Counter)
    errors: Counter[int] = field(factory=Counter)
    duplicates: Counter[int] = field(factory=Counter)
    scrambled: Counter[int] = field(factory=Counter)
    damaged: int = 0
    _last: dict[int, int] = field(factory=dict)
    _repeated: set[int] = field(factory=set)

    def take(self, packets: Iterable[bytes]) -> None:
        for each in packets:
            self._take(each)

    def _take(self, each: bytes) -> None:
        assert each[0] == 0x47
        pid = int.from_bytes(each[1:3], "big") & 0x1FFF
        if each[1] & 0x80:
            self.damaged += 1
            return
        self.packets[pid] += 1
        if pid == NULL:
            return
        if each[3] >> 6:
            self.scrambled[pid] += 1
        counter, hasField, hasPayload = each[3] & 15, each[3] & 0x20, each[3] & 0x10
        mayBreak = bool(hasField and each[4] and each[5] & 0x80)
        last = self._last.get(pid)
        if not hasPayload:
            if mayBreak:
                self._last[pid] = counter
            return
        self._last[pid] = counter
        if last is None or mayBreak or counter == (last + 1) % 16:
            self._repeated.discard(pid)
        elif counter == last and pid not in self._repeated:
            self._repeated.add(pid)
            self.duplicates[pid] += 1
        else:
            self._repeated.discard(pid)
            self.errors[pid] += 1
