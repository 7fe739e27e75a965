"""One source of RTP: its sequence numbers and its jitter (RFC 3550 appendix A.1, A.3 and A.8)."""

from __future__ import annotations

from typing import Final

from attrs import define

_MAX_DROPOUT: Final = 3000  # the constants of appendix A.1
_MAX_MISORDER: Final = 100
_MIN_SEQUENTIAL: Final = 2
_WINDOW: Final = (1 << _MAX_MISORDER) - 1


@define(eq=False)
class Source:
    """
    What appendix A.1 has of a source, and which of the last 100 packets came.

    Other than there, a packet counts once however often it comes; the first of the two packets
    that make a source known counts too, and so does one that comes too late to have been first.

    @ivar ssrc: its name.
    @ivar highest: the highest sequence number, with the times that it went round.
    @ivar base: the lowest since the source was heard first, or started again.
    @ivar received: packets since then.
    @ivar probation: packets in sequence that are missing until it is known.
    @ivar bad: the sequence number that, if it comes next, tells of a new start.
    @ivar window: a bit for each of the last packets that came, that of the highest is the lowest.
    @ivar expectedBefore: packets before it last started again.
    @ivar timestamp: of the last packet taken; L{None} if its arrival has been seen to.
    """

    ssrc: int
    highest: int
    base: int = 0
    received: int = 0
    probation: int = _MIN_SEQUENTIAL
    bad: int = -1
    window: int = 0
    payloadType: int = -1
    expectedBefore: int = 0
    receivedBefore: int = 0
    reordered: int = 0
    duplicates: int = 0
    restarts: int = 0
    typeChanges: int = 0
    timestamp: int | None = None
    jitter: float = 0.0
    _timedAt: float = 0.0
    _timedStamp: int | None = None

    def __attrs_post_init__(self) -> None:
        self.highest -= 1  # it is given the packet that it is made for

    def take(self, sequence: int) -> bool:
        """Take a packet; whether it is one of this source."""
        gap = (sequence - self.highest) & 0xFFFF
        if self.probation:
            self.probation = self.probation - 1 if gap == 1 else _MIN_SEQUENTIAL - 1
            self.highest = sequence
            if not self.probation:
                self._start(sequence)
            return not self.probation
        if gap == 0:
            self.duplicates += 1
        elif gap < _MAX_DROPOUT:
            self.highest += gap
            self.received += 1
            self.window = (self.window << gap | 1) & _WINDOW
        elif gap <= 0x10000 - _MAX_MISORDER:
            if sequence != self.bad:
                self.bad = (sequence + 1) & 0xFFFF
                return False
            self._retire()
            self.restarts += 1
            self._start(sequence)
            self._timedStamp = None
        else:
            self._takeLate(0x10000 - gap)
        return True

    def _takeLate(self, behind: int) -> None:
        bit = 1 << behind
        if self.window & bit:
            self.duplicates += 1
            return
        self.window |= bit
        self.received += 1
        self.reordered += 1
        self.base = min(self.base, self.highest - behind)

    def _start(self, sequence: int) -> None:
        """This packet and the one before are the first."""
        self.highest = sequence
        self.base = sequence - (_MIN_SEQUENTIAL - 1)
        self.received = _MIN_SEQUENTIAL
        self.window = (1 << _MIN_SEQUENTIAL) - 1
        self.bad = -1

    def _retire(self) -> None:
        self.expectedBefore += self.highest - self.base + 1
        self.receivedBefore += self.received

    def advance(self, count: int) -> None:
        """Take so many packets, the next ones in sequence."""
        self.highest += count
        self.received += count
        if self.window != _WINDOW:
            self.window = (((self.window + 1) << count) - 1) & _WINDOW

    def useType(self, payloadType: int) -> None:
        """A packet had this payload type."""
        if payloadType != self.payloadType:
            self.typeChanges += self.payloadType >= 0
            self.payloadType = payloadType
            self._timedStamp = None  # its clock may be another one

    def timed(self, arrival: float, rate: int) -> float:
        """
        The packet taken last arrived at this time; the jitter (appendix A.8) in seconds.

        @param arrival: in seconds.
        @param rate: Hz of the timestamps.
        """
        stamp = self.timestamp
        self.timestamp = None
        if stamp is None:
            return self.jitter
        if self._timedStamp is not None:
            ticks = (stamp - self._timedStamp + 0x80000000 & 0xFFFFFFFF) - 0x80000000
            late = abs(arrival - self._timedAt - ticks / rate)
            self.jitter += (late - self.jitter) / 16
        self._timedAt, self._timedStamp = arrival, stamp
        return self.jitter

    def addSums(self, other: Source) -> None:
        """Add what was counted of another source, as if it were before."""
        self.expectedBefore += other.expectedBefore
        self.receivedBefore += other.receivedBefore
        if other.received:
            self.expectedBefore += other.highest - other.base + 1
            self.receivedBefore += other.received
        self.reordered += other.reordered
        self.duplicates += other.duplicates
        self.restarts += other.restarts
        self.typeChanges += other.typeChanges
