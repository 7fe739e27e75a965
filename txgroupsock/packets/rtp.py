"""RTP packets, as far as a relay looks into them (RFC 3550 section 5.1)."""

from __future__ import annotations

from typing import Final

HEADER: Final = 12
"""Bytes of a header without contributing sources and extension."""

RTCP_TYPES: Final = range(192, 224)
"""Second bytes that are packet types of RTCP, and no RTP (RFC 5761 section 4)."""


def isRTCP(datagram: memoryview) -> bool:
    """Whether a datagram is one of RTCP, which may share RTP's port (RFC 5761)."""
    return len(datagram) > 1 and datagram[0] >> 6 == 2 and datagram[1] in RTCP_TYPES


def isRTP(datagram: memoryview) -> bool:
    """Whether a datagram begins as an RTP packet does."""
    return len(datagram) >= HEADER and datagram[0] >> 6 == 2 and datagram[1] not in RTCP_TYPES


def payloadOf(packet: memoryview) -> memoryview | None:
    """The payload of an RTP packet; L{None} if it is not one (RFC 3550 appendix A.1)."""
    if not isRTP(packet):
        return None
    start = HEADER + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        if len(packet) < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
    end = len(packet)
    if packet[0] & 0x20:
        padding = packet[-1]
        if not padding:
            return None
        end -= padding
    return packet[start:end] if start <= end else None


def sourceOf(packet: memoryview) -> bytes:
    """What tells the streams on one port apart: payload type and SSRC, in 5 bytes."""
    return bytes((packet[1] & 0x7F,)) + packet[8:12]
