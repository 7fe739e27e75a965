"""
The frames of a capture file, whatever is in them: pcap and pcapng, in both byte orders.

Nothing here takes more memory than the largest block that is allowed, whatever a file says.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

from txgroupsock.relay.recording.frames import LINK_TYPES
from txgroupsock.relay.recording.recorded import CaptureError

LARGEST_FRAME: Final = 262_144
"""Bytes captured of one frame: what libpcap has as its most (MAXIMUM_SNAPLEN)."""

NANOSECONDS: Final = 0xA1B23C4D
MICROSECONDS: Final = 0xA1B2C3D4
FILE_HEADER: Final = struct.calcsize("IHHiIII")

_SECTION, _BYTE_ORDER = 0x0A0D0D0A, 0x1A2B3C4D
_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 1, 2, 3, 6
_RESOLUTION, _OFFSET = 9, 14
_LARGEST_BLOCK = 1 << 20  # of those that are looked at; others are passed over piece by piece
_MOST_INTERFACES = 1 << 16
_PIECE = 1 << 16

Frame = tuple[int, int, bytes, int]
"""Nanoseconds since 1970, or -1; link type; what was captured of it; bytes that it had."""


class Torn(Exception):
    """A file ends in the midst of something, or goes on with what cannot be: where, and what."""


def framesIn(file: BinaryIO, path: str) -> Iterator[Frame]:
    """
    Every frame of a file.

    @param path: what to call it.
    @raise CaptureError: it is no capture.
    @raise Torn: it is one up to some place.
    """
    return _Source(file, path).frames()


class _Source:
    """A file that is read on and on, and knows where that is."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._file, self._path = file, path
        self._at = 0  # where what is being read began
        self._next = 0

    def frames(self) -> Iterator[Frame]:
        magic = self._file.read(4)
        self._next = len(magic)
        if len(magic) == 4:
            for order in "<", ">":
                (number,) = struct.unpack(f"{order}I", magic)
                if number in (NANOSECONDS, MICROSECONDS):
                    return self._pcap(order, 1 if number == NANOSECONDS else 1000)
                if number == _SECTION:  # which is the same in both orders
                    return self._pcapng()
        what = "it is empty" if not magic else "it is neither pcap nor pcapng"
        if magic[:2] == b"\x1f\x8b":
            what = "it is compressed; gunzip it first"
        raise CaptureError(f"{self._path} is no capture: {what}")

    def _read(self, size: int) -> bytes:
        """So many bytes, or fewer at the end of the file."""
        found = self._file.read(size)
        self._next += len(found)
        return found

    def _need(self, size: int, of: str) -> bytes:
        found = self._read(size)
        if len(found) < size:
            raise self._torn(f"it ends within a {of}")
        return found

    def _torn(self, how: str) -> Torn:
        return Torn(f"at byte {self._at:,} of {self._path} {how}")

    # pcap

    def _pcap(self, order: str, unit: int) -> Iterator[Frame]:
        """Section 4 of the draft; a file header is before the records."""
        header = self._need(FILE_HEADER - 4, "header")
        major, minor, _, _, _, link = struct.unpack(f"{order}HHiIII", header)
        if major != 2:
            raise CaptureError(f"{self._path} is pcap {major}.{minor}; only 2.4 can be read")
        link &= 0xFFFF  # above that there is what the frames have at their ends
        if link not in LINK_TYPES:
            raise CaptureError(
                f"{self._path} was captured on a link of type {link}; those that can be read are "
                f"{', '.join(map(str, sorted(LINK_TYPES)))}.  Capture on another interface"
            )
        record = struct.Struct(f"{order}IIII")
        while True:
            self._at = self._next
            start = self._read(record.size)
            if not start:
                return
            if len(start) < record.size:
                raise self._torn("it ends within a record")
            seconds, parts, size, length = record.unpack(start)
            if size > LARGEST_FRAME:
                raise self._torn(f"there is a record of {size:,} bytes, which cannot be")
            yield (
                seconds * 1_000_000_000 + parts * unit,
                link,
                self._need(size, "record"),
                length,
            )

    # pcapng

    def _pcapng(self) -> Iterator[Frame]:
        """Sections 3 and 4 of the draft: blocks, each with its length before and after it."""
        interfaces: list[_Interface] = []
        order = ""
        kindBytes = struct.pack(">I", _SECTION)
        while kindBytes:
            if len(kindBytes) < 4:
                raise self._torn("it ends within a block")
            if kindBytes == b"\n\r\r\n":
                order = self._section()
                interfaces = []
            else:
                kind, size = struct.unpack(f"{order}II", kindBytes + self._need(4, "block"))
                yield from self._block(order, kind, size, interfaces)
            self._at = self._next
            kindBytes = self._read(4)

    def _section(self) -> str:
        """Pass over the header of a section; the byte order in it."""
        start = self._need(8, "block")
        for order in "<", ">":
            size, magic = struct.unpack(f"{order}II", start)
            if magic == _BYTE_ORDER:
                self._passOver(order, size, 12)
                return order
        if self._at == 0:
            raise CaptureError(f"{self._path} is no capture: it only begins like pcapng")
        raise self._torn("there is a section without byte order")

    def _block(
        self, order: str, kind: int, size: int, interfaces: list[_Interface]
    ) -> Iterator[Frame]:
        if kind not in (_INTERFACE, _PACKET, _OLD_PACKET, _SIMPLE_PACKET):
            self._passOver(order, size, 8)
            return
        if size % 4 or not 12 <= size <= _LARGEST_BLOCK:
            raise self._torn(f"there is a block of {size:,} bytes, which cannot be")
        body = self._need(size - 12, "block")
        self._end(order, size)
        try:
            if kind == _INTERFACE:
                if len(interfaces) >= _MOST_INTERFACES:
                    raise self._torn(f"there are more than {_MOST_INTERFACES:,} interfaces")
                interfaces.append(_Interface.of(order, body))
            elif kind == _SIMPLE_PACKET:
                yield -1, interfaces[0].link, b"", 0
            else:
                yield _frameOf(order, kind, body, interfaces)
        except (struct.error, IndexError):
            raise self._torn("there is a block that cannot be") from None

    def _passOver(self, order: str, size: int, read: int) -> None:
        """Read a block to its end, of which so many bytes have been."""
        rest = size - read - 4
        if size % 4 or rest < 0:
            raise self._torn(f"there is a block of {size:,} bytes, which cannot be")
        while rest:
            rest -= len(self._need(min(rest, _PIECE), "block"))
        self._end(order, size)

    def _end(self, order: str, size: int) -> None:
        (again,) = struct.unpack(f"{order}I", self._need(4, "block"))
        if again != size:
            raise self._torn(f"there is a block of {size:,} bytes whose end says {again:,}")


class _Interface(NamedTuple):
    """
    What captured.

    @ivar units: of time in a second.
    @ivar offset: seconds to add to times.
    """

    link: int
    units: int = 1_000_000
    offset: int = 0

    @classmethod
    def of(cls, order: str, body: bytes) -> _Interface:
        """
        Section 4.2 of the draft.

        @raise struct.error: it is too short.
        """
        link, _, _ = struct.unpack_from(f"{order}HHI", body)
        units, offset, at = 1_000_000, 0, 8
        while at + 4 <= len(body):
            code, size = struct.unpack_from(f"{order}HH", body, at)
            value = body[at + 4 : at + 4 + size]
            if code == 0:
                break
            if code == _RESOLUTION and value:
                units = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
            elif code == _OFFSET and len(value) == 8:
                (offset,) = struct.unpack(f"{order}q", value)
            at += 4 + (size + 3 & ~3)
        return cls(link, units, offset)


def _frameOf(order: str, kind: int, body: bytes, interfaces: list[_Interface]) -> Frame:
    """
    Section 4.3 of the draft, and its appendix on packet blocks.

    @raise struct.error: it is too short.
    @raise IndexError: so it is, or nothing has said what captured it.
    """
    start = "IIIII" if kind == _PACKET else "HHIIII"
    found = struct.unpack_from(order + start, body)
    interface = interfaces[found[0]]
    high, low, size, length = found[-4:]
    if size > LARGEST_FRAME or 20 + size > len(body):
        raise IndexError
    ticks = high << 32 | low
    time = interface.offset * 1_000_000_000 + ticks * 1_000_000_000 // interface.units
    return max(time, 0), interface.link, body[20 : 20 + size], length
