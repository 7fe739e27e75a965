"""Which PIDs make up a program: the PAT and the PMTs of a transport stream (ISO/IEC 13818-1)."""

from __future__ import annotations

from typing import Final

from attrs import define, field, frozen

PAT_PID: Final = 0
NULL_PID: Final = 0x1FFF
PAT: Final = 0x00  # table_id, table 2-31
PMT: Final = 0x02
_LONGEST: Final = 1024  # bytes of a section of either (2.4.4.4, 2.4.4.9)
_STUFFING: Final = 0xFF


@define
class Sections:
    """
    Puts the sections of one PID together (2.4.4).

    @ivar crcErrors: sections whose CRC was wrong.
    @ivar known: all after the header of a packet that holds a whole table which has been read.
    """

    crcErrors: int = 0
    known: bytes = b""
    _parts: bytearray = field(factory=bytearray)
    _sound: bytes = b""

    @property
    def isEmpty(self) -> bool:
        """Whether there is no part of a section."""
        return not self._parts

    def forget(self) -> None:
        """A packet was lost: what has been put together so far is worth nothing."""
        self._parts.clear()

    def take(self, payload: bytes, *, isStart: bool) -> list[bytes]:
        """
        The sections that a packet completes and whose CRC is right, from table_id to CRC.

        @param isStart: payload_unit_start_indicator: there is a pointer_field.
        """
        found: list[bytes] = []
        if isStart and payload:
            begin = 1 + payload[0]
            if self._parts:  # the end of a section comes first
                self._parts += payload[1:begin]
                self._takeComplete(found)
            self._parts = bytearray(payload[begin:])
        elif self._parts:
            self._parts += payload
        self._takeComplete(found)
        return found

    def _takeComplete(self, found: list[bytes]) -> None:
        parts = self._parts
        while len(parts) >= 3 and parts[0] != _STUFFING:
            size = 3 + (int.from_bytes(parts[1:3], "big") & 0x0FFF)
            if size > _LONGEST:
                parts.clear()
            if len(parts) < size or not parts:
                return
            section = bytes(parts[:size])
            del parts[:size]
            # A table is the same for hours; its CRC takes 20 µs.
            if section == self._sound or crc32(section) == 0:
                self._sound = section
                found.append(section)
            else:
                self.crcErrors += 1
        if parts and parts[0] == _STUFFING:
            parts.clear()


@frozen
class ProgramAssociation:
    """
    A section of the PAT (2.4.4.3).

    @ivar version: of the whole table.
    @ivar number: of this section.
    @ivar pids: of the PMTs, by program.
    """

    version: int
    number: int
    pids: dict[int, int]

    @classmethod
    def of(cls, section: bytes) -> ProgramAssociation | None:
        """What a section says; L{None} if it does not hold yet, or is too short."""
        if len(section) < 12 or not section[5] & 1:
            return None
        entries = section[8:-4]
        programs = {
            int.from_bytes(entries[at : at + 2], "big"): _pid(entries, at + 2)
            for at in range(0, len(entries) - 3, 4)
        }
        programs.pop(0, None)  # the network PID
        return cls(section[5] >> 1 & 0x1F, section[6], programs)


@frozen
class ProgramMap:
    """
    A PMT (2.4.4.8).

    @ivar program: its number.
    @ivar pcrPID: L{NULL_PID} if it has none.
    @ivar types: stream_type, by elementary PID.
    """

    program: int
    pcrPID: int
    types: dict[int, int]

    @classmethod
    def of(cls, section: bytes) -> ProgramMap | None:
        """What a section says; L{None} if it does not hold yet, or is too short."""
        if len(section) < 16 or not section[5] & 1:
            return None
        end = len(section) - 4
        at = 12 + (int.from_bytes(section[10:12], "big") & 0x0FFF)
        types = {}
        while at + 5 <= end:
            types[_pid(section, at + 1)] = section[at]
            at += 5 + (int.from_bytes(section[at + 3 : at + 5], "big") & 0x0FFF)
        return cls(int.from_bytes(section[3:5], "big"), _pid(section, 8), types)


def _pid(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big") & 0x1FFF


def _crcTable() -> list[int]:
    table = []
    for value in range(256):
        crc = value << 24
        for _ in range(8):
            crc = crc << 1 ^ 0x04C11DB7 * (crc >> 31)
            crc &= 0xFFFFFFFF
        table.append(crc)
    return table


_CRC: Final = _crcTable()


def crc32(data: bytes) -> int:
    """The CRC of annex A, which is 0 over a section with its own at the end."""
    crc = 0xFFFFFFFF
    for each in data:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC[crc >> 24 ^ each]
    return crc
