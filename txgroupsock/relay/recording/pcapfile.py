"""
Capture files, written: pcap with nanoseconds, of raw IP (LINKTYPE_RAW).

What came as UDP payloads gets headers again: addresses, ports, lengths and checksums are right;
TTL and everything else that an input does not see is made up.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from txgroupsock.relay.recording.blocks import LARGEST_FRAME, NANOSECONDS
from txgroupsock.relay.recording.frames import RAW
from txgroupsock.relay.recording.recorded import Address

Held = tuple[bytes, int, Address, float]
"""A copy of a run: its data, segment size, sender, and arrival in seconds of some clock."""

FILE_START: Final = struct.pack("<IHHiIII", NANOSECONDS, 2, 4, 0, 0, LARGEST_FRAME, RAW)
"""The header of a file."""

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_UDP = struct.Struct("!HHHH")
_HOPS = 64
_DO_NOT_FRAGMENT = 0x4000
_MOST_KNOWN = 4096


class Framer:
    """
    Makes the records of a file out of runs.

    All datagrams of a run but the last have the same headers with IPv4, whose UDP needs no
    checksum: so they are made once, and joined with the payloads.  IPv6 needs one for each
    datagram (RFC 8200 section 8.1).
    """

    def __init__(self, destination: Address) -> None:
        """
        @param destination: where everything was sent to; where that is no address of the sender's
            family, it is C{0.0.0.0} or C{::}.
        """
        self._to = {family: _packed(destination[0], family) for family in _FAMILIES}
        self._port = destination[1]
        self._headers: dict[tuple[Address, int], bytes] = {}

    def records(self, held: Held, offset: float = 0.0) -> bytes:
        """
        The records of the datagrams of a run, in order, with the one time that it has.

        @param offset: seconds from 1970 to when that clock began.
        """
        data, size, sender, time = held
        # Not time * 1e9, for which a float has too few digits.
        seconds, fraction = divmod(max(0.0, time + offset), 1)
        when = struct.pack("<II", int(seconds) & 0xFFFFFFFF, int(fraction * 1e9))
        if _packed(sender[0], socket.AF_INET6) is not None:
            return self._ofIPv6(data, size, sender, when)
        length = len(data)
        if length <= size:
            return self._start(when, sender, length) + data
        view, rest = memoryview(data), length % size
        start = self._start(when, sender, size)
        whole = start + start.join([view[at : at + size] for at in range(0, length - rest, size)])
        return whole + self._start(when, sender, rest) + view[-rest:] if rest else whole

    def _start(self, when: bytes, sender: Address, length: int) -> bytes:
        """What is before a payload with IPv4."""
        header = self._headers.get((sender, length))
        if header is None:
            header = self._remember(sender, length, self._ipv4(sender, length))
        return when + header

    def _remember(self, sender: Address, length: int, header: bytes) -> bytes:
        if len(self._headers) >= _MOST_KNOWN:
            self._headers.clear()
        self._headers[sender, length] = header
        return header

    def _ipv4(self, sender: Address, length: int) -> bytes:
        """RFC 791 section 3.1, after the size of the record."""
        source = _packed(sender[0], socket.AF_INET) or bytes(4)
        destination = self._to[socket.AF_INET] or bytes(4)
        total = _fitting(28 + length)

        def header(checksum: int) -> bytes:
            return _IPV4.pack(
                0x45,
                0,
                total,
                0,
                _DO_NOT_FRAGMENT,
                _HOPS,
                socket.IPPROTO_UDP,
                checksum,
                source,
                destination,
            )

        return (
            struct.pack("<II", 28 + length, 28 + length)
            + header(0xFFFF - _sum(header(0)))
            + _UDP.pack(sender[1], self._port, _fitting(8 + length), 0)
        )

    def _ofIPv6(self, data: bytes, size: int, sender: Address, when: bytes) -> bytes:
        """RFC 8200 section 3."""
        parts = []
        for at in range(0, len(data), size) if size else (0,):
            payload = data[at : at + size]
            length = len(payload)
            header = self._headers.get((sender, length))
            if header is None:
                header = self._remember(sender, length, self._ipv6(sender, length))
            # Kept with the sum of all that does not change, where the checksum is to be.
            known = header[-2] << 8 | header[-1]
            checksum = 0xFFFF - _sum(payload, known)
            parts += [when, header[:-2], struct.pack("!H", checksum or 0xFFFF), payload]
        return b"".join(parts)

    def _ipv6(self, sender: Address, length: int) -> bytes:
        source = _packed(sender[0], socket.AF_INET6) or bytes(16)
        destination = self._to[socket.AF_INET6] or bytes(16)
        size = 8 + length
        udp = _UDP.pack(sender[1], self._port, _fitting(size), 0)
        pseudo = source + destination + struct.pack("!II", size, socket.IPPROTO_UDP)
        header = _IPV6.pack(6 << 28, _fitting(size), socket.IPPROTO_UDP, _HOPS, source, destination)
        known = struct.pack("!H", _sum(pseudo + udp))
        return struct.pack("<II", 40 + size, 40 + size) + header + udp[:-2] + known


_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def _packed(host: str, family: int) -> bytes | None:
    """An address of a family, without its scope; L{None} if it is none."""
    try:
        return socket.inet_pton(family, host.partition("%")[0])
    except (OSError, ValueError):
        return None


def _fitting(length: int) -> int:
    """A length for 16 bits; 0 if it needs more, as network cards have it and RFC 2675."""
    return length if length <= 0xFFFF else 0


def _sum(data: bytes, before: int = 0) -> int:
    """
    The sum of all 16-bit words in ones' complement (RFC 1071).

    That is the remainder of the whole as a number, since 2**16 leaves 1: 0.9 µs for 1,316 bytes.
    """
    number = int.from_bytes(data, "big") << (8 if len(data) % 2 else 0)
    total = number + before
    return total % 0xFFFF or (0xFFFF if total else 0)
