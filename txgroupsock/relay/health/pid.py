"""What is known of one PID of a transport stream, and of what has to come again in time."""

from __future__ import annotations

from typing import Final

from attrs import define

from txgroupsock.relay.health.psi import Sections

PCR_CLOCK: Final = 27_000_000  # Hz
_PCR_ROUND: Final = (1 << 33) * 300
_PCR_STEP: Final = PCR_CLOCK // 10  # 100 ms: TR 101 290 2.3b


@define(eq=False)
class Due:
    """
    Something that has to come again in time.

    @ivar limit: seconds from one time to the next.
    @ivar seen: when it came last, or was first waited for.
    @ivar isLate: whether its absence has been counted.
    """

    limit: float
    seen: float
    isLate: bool = False

    def came(self, now: float) -> int:
        """It is here; 1 if it was late and nobody has noticed."""
        missed = now - self.seen > self.limit and not self.isLate
        self.seen, self.isLate = now, False
        return int(missed)

    def check(self, now: float) -> int:
        """1 if it is late, and this has not been counted before."""
        if self.isLate or now - self.seen <= self.limit:
            return 0
        self.isLate = True
        return 1


@define
class Budget:
    """
    How often something may be done that costs much, and that others can ask for.

    @ivar most: in a quarter of a second, so that never much of it is done at once.
    """

    most: int
    _spent: int = 0
    _since: float = float("-inf")

    def spend(self, now: float) -> bool:
        """Whether it may be done once more."""
        if not 0 <= now - self._since < 0.25:
            self._since, self._spent = now, 0
        self._spent += 1
        return self._spent <= self.most


@define(eq=False)
class PID:
    """
    One PID.

    @ivar packets: that had it.
    @ivar seen: when the last one came.
    @ivar era: how often sync had been lost when C{counter} was set.
    @ivar counter: continuity_counter of the last packet with payload; -1 if unknown.
    @ivar isRepeated: whether that packet has come twice already.
    @ivar errors: of continuity.
    @ivar duplicates: packets that came twice, as each may.
    @ivar scrambled: packets whose transport_scrambling_control is not 00.
    @ivar scrambledBefore: the same, before the present interval.
    @ivar sections: of its tables; L{None} for what is no PAT or PMT.
    @ivar due: when it has to come again; L{None} if no PMT names it.
    @ivar streamType: as its PMT has it.
    """

    number: int
    packets: int = 0
    seen: float = 0.0
    era: int = 0
    counter: int = -1
    isRepeated: bool = False
    errors: int = 0
    duplicates: int = 0
    scrambled: int = 0
    scrambledBefore: int = 0
    sections: Sections | None = None
    due: Due | None = None
    streamType: int | None = None
    pcr: PCR | None = None

    def continues(self, counter: int) -> bool:
        """
        Take a packet with payload by its continuity_counter; whether it follows the one before
        (ISO/IEC 13818-1 2.4.3.3): it is the next one, or the same once again.
        """
        before, self.counter = self.counter, counter
        if before < 0 or counter == (before + 1) & 15:
            self.isRepeated = False
            return True
        if counter == before and not self.isRepeated:
            self.isRepeated = True
            self.duplicates += 1
            return True
        self.isRepeated = False
        self.errors += 1
        return False


@define(eq=False)
class PCR:
    """
    The clock of a program, as the PCRs of one PID have it.

    @ivar value: the last one, in ticks of 27 MHz.
    @ivar arrival: when that came, in seconds.
    @ivar repetitionErrors: TR 101 290 2.3a: more than C{limit} seconds from one to the next.
    @ivar discontinuityErrors: 2.3b: more than 100 ms further than the one before, or behind it.
    @ivar jitter: seconds; as RFC 3550 appendix A.8 has it, with the PCR for the timestamp.
    @ivar most: the highest that this was.
    """

    limit: float
    value: int = -1
    arrival: float = 0.0
    repetitionErrors: int = 0
    discontinuityErrors: int = 0
    jitter: float = 0.0
    most: float = 0.0
    _timedAt: float = 0.0
    _timedValue: int = -1

    def take(self, value: int, arrival: float, *, isNew: bool) -> None:
        """
        A PCR has come.

        @param isNew: discontinuity_indicator: it has nothing to do with those before.
        """
        if isNew:
            self._timedValue = -1
        elif self.value >= 0:
            self.repetitionErrors += arrival - self.arrival > self.limit
            if (value - self.value) % _PCR_ROUND > _PCR_STEP:
                self.discontinuityErrors += 1
                self._timedValue = -1
        self.value, self.arrival = value, arrival

    def timed(self) -> None:
        """The PCR taken last was the last in its run, whose arrival it has."""
        if self._timedValue >= 0:
            ticks = (self.value - self._timedValue) % _PCR_ROUND
            late = abs(self.arrival - self._timedAt - ticks / PCR_CLOCK)
            self.jitter += (late - self.jitter) / 16
            self.most = max(self.most, self.jitter)
        self._timedAt, self._timedValue = self.arrival, self.value
