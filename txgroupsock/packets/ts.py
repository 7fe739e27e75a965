"""Packets of an MPEG transport stream in a datagram (ISO/IEC 13818-1 2.4.3.2)."""

from __future__ import annotations

from typing import Final

PACKET: Final = 188
"""Bytes of a packet."""

SYNC: Final = b"\x47"
"""The first of them."""


def isPackets(data: bytes | memoryview) -> bool:
    """Whether these are whole packets, at least one, each with its sync byte."""
    size = len(data)
    isWhole = size > 0 and not size % PACKET
    return isWhole and bytes(data[::PACKET]) == SYNC * (size // PACKET)
