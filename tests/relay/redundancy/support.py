"""Numbered datagrams for the tests of merging and failover."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.primitives.run import Run
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.interfaces import IRelayInput, IWarning
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


@implementer(IRelayInput, IWarning)
@define(eq=False)
class Leg:
    """An input that gives what it is told to."""

    failure: OSError | None = None
    counters: Counters = field(factory=Counters)
    receiver: IRunReceiver | None = None

    def openInput(self, receiver: IRunReceiver) -> None:
        if self.failure is not None:
            raise self.failure
        self.receiver = receiver

    def closeInput(self) -> Deferred[None]:
        assert self.receiver is not None
        self.receiver = None
        return succeed(None)

    def describe(self) -> list[str]:
        return [] if self.receiver is None else ["joined"]

    def warnings(self) -> list[str]:
        return ["a small buffer"]

    def give(self, run: Run) -> None:
        assert self.receiver is not None
        self.receiver.runReceived(run)
