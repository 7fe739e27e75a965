"""Where a stream can be joined without breaking a picture."""

from __future__ import annotations

from typing import Final, Protocol

from txgroupsock.packets.rtp import payloadOf
from txgroupsock.primitives.run import Run
from txgroupsock.relay.redundancy.sequencing import RTP

_TS_PACKET: Final = 188
_SYNC: Final = 0x47
_PAYLOAD_UNIT_START: Final = 0x40  # in the second byte: ISO/IEC 13818-1, 2.4.3.2
_HAS_ADAPTATION: Final = 0x20  # in the fourth
_RANDOM_ACCESS: Final = 0x40  # in the adaptation field: 2.4.3.4


class Boundary(Protocol):
    """Finds the datagrams that something begins with."""

    def find(self, run: Run, last: bytes) -> int | None:
        """
        Which datagram of a run is the first to begin something, from 0; L{None} if none does.

        @param last: the first 16 bytes of the datagram before the run; C{b""} if there is none.
        """


class RTPFrame:
    """
    The first RTP packet of a picture, or whatever has a timestamp of its own.

    That is the one after a marker bit, or with another timestamp than the one before (RFC 3550
    section 5.1).
    """

    def find(self, run: Run, last: bytes) -> int | None:
        """See L{Boundary}."""
        for index, each in enumerate(run):
            if RTP.keyOf(each) is None:
                continue
            if len(last) >= 12 and (last[1] & 0x80 or last[4:8] != each[4:8]):
                return index
            last = bytes(each[:16])
        return None


class TransportStreamUnit:
    """
    A datagram with an MPEG transport stream in which a payload unit begins (PUSI), such as a
    picture, whether it is in RTP or not.

    It begins somewhere in the datagram: up to six packets before that are of others.
    """

    def find(self, run: Run, last: bytes) -> int | None:
        """See L{Boundary}."""
        for index, each in enumerate(run):
            if any(packet[1] & _PAYLOAD_UNIT_START for packet in _packets(each)):
                return index
        return None


class TransportStreamRandomAccess:
    """
    A datagram with an MPEG transport stream that a decoder can begin with (random access
    indicator), whether it is in RTP or not; for a picture, one that depends on none before.
    """

    def find(self, run: Run, last: bytes) -> int | None:
        """See L{Boundary}."""
        for index, each in enumerate(run):
            if any(
                packet[3] & _HAS_ADAPTATION and packet[4] and packet[5] & _RANDOM_ACCESS
                for packet in _packets(each)
            ):
                return index
        return None


def _packets(datagram: memoryview) -> list[memoryview]:
    """The packets of a transport stream in a datagram."""
    data: memoryview | None = datagram
    if datagram and datagram[0] != _SYNC:
        data = payloadOf(datagram)
    if data is None:
        return []
    found = [
        data[start : start + _TS_PACKET]
        for start in range(0, len(data) - _TS_PACKET + 1, _TS_PACKET)
    ]
    return [each for each in found if each[0] == _SYNC]
