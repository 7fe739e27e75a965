"""What datagrams pass on their way to viewers: RTP is taken off, or frames are put on."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import groupby

from txgroupsock.primitives.run import Run
from txgroupsock.relay.rtp import HEADER, payloadOf
from txgroupsock.relay.stage import Stage

_PLAIN = b"\x80"  # version 2, no padding, no extension, no contributing sources
_LENGTH = struct.Struct("!H")


class StripRTP(Stage):
    """
    Gives on the payload of each RTP packet (RFC 3550 section 5.1).

    What is no RTP packet is dropped and counted.
    """

    def runReceived(self, run: Run) -> None:
        """Take a run."""
        data, size = run.data, run.segmentSize
        count = len(run)
        # Nearly every run: one look at the first byte of all, and one copy of what is behind.
        isPlain = size > HEADER and len(data) - (count - 1) * size > HEADER
        if isPlain and bytes(data[::size]) == _PLAIN * count:
            payloads = [data[at + HEADER : at + size] for at in range(0, len(data), size)]
            self._giveAll(payloads, size - HEADER, run)
            return
        stripped = list(_payloads(run))
        if len(stripped) < count:
            self.drop(count - len(stripped), "not RTP")
        for length, group in groupby(stripped, key=len):
            self._giveAll(list(group), length, run)

    def _giveAll(self, payloads: list[memoryview], size: int, run: Run) -> None:
        if not size:  # packets without payload are nothing in a stream of bytes
            self.drop(len(payloads), "empty")
            return
        self.give(Run(memoryview(b"".join(payloads)), size, run.sender, run.arrival))


class Frame(Stage):
    """Gives on each datagram after its length, in 16 bits (RFC 4571)."""

    def runReceived(self, run: Run) -> None:
        """Take a run."""
        framed = b"".join([_LENGTH.pack(len(each)) + each for each in run])
        self.give(Run(memoryview(framed), run.segmentSize + _LENGTH.size, run.sender, run.arrival))


def _payloads(run: Run) -> Iterator[memoryview]:
    for packet in run:
        payload = payloadOf(packet)
        if payload is not None:
            yield payload
