"""RTP packets, as far as a relay looks into them (RFC 3550 section 5.1)."""

from __future__ import annotations

from typing import Final

HEADER: Final = 12
"""Bytes of a header without contributing sources and extension."""


def payloadOf(packet: memoryview) -> memoryview | None:
    """The payload of an RTP packet; L{None} if it is not one (RFC 3550 appendix A.1)."""
    if len(packet) < HEADER or packet[0] >> 6 != 2:
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
