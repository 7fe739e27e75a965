"""
What datagrams pass on their way to viewers: RTP is taken off, or frames are put on, and what is
not of the stream is left out.
"""

from __future__ import annotations

import struct
from itertools import groupby
from typing import Final

from txgroupsock.primitives.run import Run
from txgroupsock.relay.prevailing import Prevailing
from txgroupsock.relay.rtp import HEADER, isRTCP, payloadOf, sourceOf
from txgroupsock.relay.stage import Stage
from txgroupsock.relay.ts import PACKET, isPackets

_PLAIN = b"\x80"  # version 2, no padding, no extension, no contributing sources
_LENGTH = struct.Struct("!H")
_UNMARKED: Final = bytes(each & 0x7F for each in range(256))
_OTHER: Final = {True: "not TS", False: "other stream"}


class AlignTS(Stage):
    """
    Gives on what comes, but of a transport stream only what is whole packets of 188 bytes.

    What else comes to its address is dropped and counted.  It takes 1.3 µs a run.
    """

    def __init__(self) -> None:
        super().__init__()
        self._prevailing = Prevailing()

    def runReceived(self, run: Run) -> None:
        """Take a run."""
        size, count = run.segmentSize, len(run)
        if count > 1 and (not isPackets(run.data) if not size % PACKET else len(run.data) % size):
            for each in run:
                self._take(Run(each, len(each), run.sender, run.arrival), 1)
        else:  # all of it is of one kind
            self._take(run, count)

    def _take(self, run: Run, count: int) -> None:
        isTS = self._prevailing.isPackets(run.data) and not run.segmentSize % PACKET
        if self._prevailing.has(b"", run.arrival, count, isTS=isTS):
            self.give(run)
        else:
            self.drop(count, "not TS")


class StripRTP(Stage):
    """
    Gives on the payload of each RTP packet of the stream (RFC 3550 section 5.1).

    That is those of one payload type and one SSRC; see L{Prevailing}.  Everything else is dropped
    and counted: RTCP, what is no RTP, other streams such as forward error correction, and packets
    without payload.
    """

    def __init__(self) -> None:
        super().__init__()
        self._prevailing = Prevailing()

    def runReceived(self, run: Run) -> None:
        """Take a run."""
        data, size = run.data, run.segmentSize
        count = len(run)
        # Nearly every run: all headers are alike, and one copy is made of what is behind them.
        source = self._prevailing.name
        if source is not None and self._isPlain(run, count, source):
            body = size - HEADER
            parts = [data[at + HEADER : at + size] for at in range(0, len(data), size)]
            whole = memoryview(b"".join(parts))
            isTS = self._prevailing.isTS
            isAlike = not body % PACKET and isPackets(whole) if isTS else body % PACKET
            if isAlike and self._prevailing.has(source, run.arrival, count, isTS=isTS):
                self.give(Run(whole, body, run.sender, run.arrival))
                return
        payloads = [payload for each in run if (payload := self._payload(each, run.arrival))]
        for length, group in groupby(payloads, key=len):
            joined = memoryview(b"".join(group))
            self.give(Run(joined, length, run.sender, run.arrival))

    def _isPlain(self, run: Run, count: int, source: bytes) -> bool:
        """Whether all are packets of the stream with nothing but a header before the payload."""
        data, size = run.data, run.segmentSize
        if size <= HEADER or len(data) - (count - 1) * size <= HEADER:
            return False
        if isRTCP(data) or sourceOf(data) != source:
            return False
        if count == 1:
            return data[0] == _PLAIN[0]
        types = data[1::size].tobytes().translate(_UNMARKED)
        return (
            data[::size].tobytes() == _PLAIN * count
            and types == source[:1] * count
            and all(
                data[at::size].tobytes() == source[at - 7 : at - 6] * count for at in range(8, 12)
            )
        )

    def _payload(self, packet: memoryview, now: float) -> memoryview | None:
        """What of a packet is given on."""
        payload = payloadOf(packet)
        if payload is None:
            self.drop(1, "RTCP" if isRTCP(packet) else "not RTP")
        elif not payload:  # nothing in a stream of bytes
            self.drop(1, "empty")
        else:
            prevailing, source = self._prevailing, sourceOf(packet)
            isTS = prevailing.isPackets(payload)
            if prevailing.has(source, now, isTS=isTS):
                return payload
            self.drop(1, _OTHER[source == prevailing.name])
        return None


class Frame(Stage):
    """Gives on each datagram after its length, in 16 bits (RFC 4571)."""

    def runReceived(self, run: Run) -> None:
        """Take a run."""
        framed = b"".join([_LENGTH.pack(len(each)) + each for each in run])
        self.give(Run(memoryview(framed), run.segmentSize + _LENGTH.size, run.sender, run.arrival))
