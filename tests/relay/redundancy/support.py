"""Numbered datagrams for the tests of merging and failover."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from txgroupsock.primitives.run import Run
from txgroupsock.relay.redundancy.sequencing import Sequencing


def rtp(
    number: int, ssrc: int = 7, size: int = 40, timestamp: int = 0, marker: bool = False
) -> bytes:
    """An RTP packet whose payload is its number in full."""
    header = struct.pack("!BBHII", 0x80, 33 | marker << 7, number % 65536, timestamp % 2**32, ssrc)
    return header + struct.pack("!q", number) + bytes(size - 20)


def numberIn(packet: bytes | memoryview) -> int:
    """The number in full."""
    return int(struct.unpack_from("!q", packet, 12)[0])


def run(*datagrams: bytes, sender: str = "10.0.0.1") -> Run:
    """One run, in memory that can be changed; all but the last have the size of the first."""
    return Run(memoryview(bytearray(b"".join(datagrams))), len(datagrams[0]), (sender, 5000), 0.0)


def rtpRun(numbers: Iterable[int], ssrc: int = 7, size: int = 40) -> Run:
    """A run of RTP packets."""
    return run(*(rtp(each, ssrc, size) for each in numbers))


def spoil(lent: Run) -> None:
    """Overwrite the memory of a run, as a port does once its receiver has returned."""
    lent.data[:] = bytes([0xEE]) * len(lent.data)


def numbersIn(runs: Iterable[Run]) -> list[int]:
    """The numbers of RTP packets in runs."""
    return [numberIn(each) for one in runs for each in one]


def partsOf(sequencing: Sequencing, taken: Run) -> Sequence[tuple[int, int, int]]:
    """Key, number and count of each part of a run, each found to be what it says."""
    parts = sequencing.parts(taken)
    assert all(len(each.run) == each.length for each in parts)
    return [(each.key, each.number, each.length) for each in parts]
