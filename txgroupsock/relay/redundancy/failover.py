"""Which of several legs, in order of priority, is given on; without any I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import define, field, frozen

from txgroupsock.primitives.arguments import typed
from txgroupsock.primitives.run import Run
from txgroupsock.relay.prevailing import Prevailing
from txgroupsock.relay.redundancy.boundary import Boundary
from txgroupsock.relay.redundancy.sequencing import Sequencing, portion

LOSS_INTERVAL: Final = 1.0
"""Seconds over which a leg's loss rate is measured."""

_FEWEST: Final = 20  # datagrams in an interval that tell a rate


@frozen(field_transformer=typed)
class Policy:
    """
    When to go over to another leg.

    @ivar silence: seconds without a datagram after which a leg is bad.
    @ivar lossRate: share of datagrams, 0 to 1, above which a leg is bad; L{None}: never.
    @ivar sequencing: where the numbers are that tell the loss; needed for C{lossRate}.
    @ivar returnAfter: seconds that a leg of higher priority has to be good before it is used again.
    @ivar boundary: where to begin on the new leg, if the old one still delivers; L{None}: anywhere.
    @ivar boundaryWait: seconds that this is waited for at most.
    """

    silence: float = 1.0
    lossRate: float | None = None
    sequencing: Sequencing | None = None
    returnAfter: float = 10.0
    boundary: Boundary | None = None
    boundaryWait: float = 1.0

    def __attrs_post_init__(self) -> None:
        if self.silence <= 0:
            raise ValueError(f"the silence is {self.silence} s; it must be more than 0")
        if self.lossRate is not None and not 0 < self.lossRate < 1:
            raise ValueError(f"the loss rate is {self.lossRate}; it is between 0 and 1")
        if self.lossRate is not None and self.sequencing is None:
            raise ValueError("a loss rate needs a sequencing, which tells what is lost")


@define(eq=False)
class Candidate:
    """
    What is known of one leg.

    @ivar received: datagrams.
    @ivar passed: of these, given on.
    @ivar lastHeard: in seconds; L{None} before the first.
    @ivar goodSince: in seconds; L{None} while it is bad.
    @ivar lossRate: of the last interval.
    """

    received: int = 0
    passed: int = 0
    lastHeard: float | None = None
    goodSince: float | None = None
    lossRate: float = 0.0
    last: bytes = b""
    _name: bytes = b""  # of the stream whose numbers are followed
    _prevailing: Prevailing = field(factory=Prevailing)
    _next: int = 0
    _missed: int = 0
    _had: int = 0
    _until: float | None = None

    def heard(self, run: Run, now: float, sequencing: Sequencing | None) -> None:
        """Count what came."""
        self.received += len(run)
        self.lastHeard = now
        if sequencing is not None:
            self._measure(run, now, sequencing)

    def _measure(self, run: Run, now: float, sequencing: Sequencing) -> None:
        if self._until is None or now >= self._until:
            total = self._had + self._missed
            self.lossRate = max(0, self._missed) / total if total >= _FEWEST else 0.0
            self._missed = self._had = 0
            self._until = now + LOSS_INTERVAL
        half = sequencing.modulus // 2
        for part in sequencing.parts(run):
            name = (part.key << 8 | part.kind).to_bytes(8, "big")
            # What takes turns with the stream goes on where that ended; all else is beside it.
            isInTurn = part.number == self._next and name[:7] == self._name[:7]
            if not isInTurn and not self._prevailing.has(name, now, part.length, isTS=False):
                continue
            if isInTurn or name == self._name:
                ahead = (part.number - self._next + half) % sequencing.modulus - half
                # What comes late had been counted as missed; a jump is a stream that began anew.
                if abs(ahead) <= 3000:  # MAX_DROPOUT of RFC 3550 appendix A.1
                    self._missed += ahead if ahead >= 0 else -min(part.length, -ahead)
                if ahead < 0 and ahead + part.length <= 0 and ahead >= -3000:
                    self._had += part.length
                    continue
            self._name = name
            self._next = (part.number + part.length) % sequencing.modulus
            self._had += part.length


@define
class _Change:
    """A leg that is to be given on from its next boundary."""

    index: int
    why: str
    by: float


class Failover:
    """
    Gives on the best leg: the first that is good, or comes back once it was so for long enough.

    @ivar legs: in order of priority.
    @ivar active: index of the one that is given on.
    @ivar changes: how often that became another one.
    @ivar reason: why it last did, in words; C{""} if it never has.
    """

    def __init__(self, count: int, policy: Policy, now: float) -> None:
        """@param now: when the legs were opened, in seconds."""
        self.legs = tuple(Candidate() for _ in range(count))
        self.active = 0
        self.changes = 0
        self.reason = ""
        self._policy = policy
        self._began = now
        self._change: _Change | None = None

    def take(self, index: int, run: Run, now: float) -> Run | None:
        """
        Take what came on a leg.

        @return: what of it is given on; in the same memory.
        """
        leg, policy = self.legs[index], self._policy
        self._judge(now)
        leg.heard(run, now, policy.sequencing if policy.lossRate is not None else None)
        self._judge(now)
        self._choose(now)
        change = self._change
        given: Run | None = None
        if index == self.active:
            given = run
        elif change is not None and change.index == index:
            given = self._begun(run, leg, change, now)
        if policy.boundary is not None:
            *_, last = run
            leg.last = bytes(last[:16])
        if given is not None:
            leg.passed += len(given)
        return given

    def due(self, now: float) -> None:
        """Look whether another leg has to be given on."""
        self._judge(now)
        self._choose(now)

    @property
    def deadline(self) -> float:
        """When L{due} is to be called, in seconds; it may be in the past while nothing comes."""
        return self._heard(self.legs[self.active]) + self._policy.silence

    def goOnFrom(self, other: Failover, places: Sequence[int | None]) -> None:
        """
        Take over what another one knows, which is not used any more.

        @param places: for each leg, which of the other's it was; L{None}: none.
        """
        self.legs = tuple(Candidate() if each is None else other.legs[each] for each in places)
        self.changes, self.reason, self._began = other.changes, other.reason, other._began
        good = (index for index in range(len(places)) if self.isGood(index))
        self.active = places.index(other.active) if other.active in places else next(good, 0)

    def isGood(self, index: int) -> bool:
        """Whether a leg was good when it was last looked at."""
        return self.legs[index].goodSince is not None

    def _heard(self, leg: Candidate) -> float:
        return self._began if leg.lastHeard is None else leg.lastHeard

    def _isSilent(self, leg: Candidate, now: float) -> bool:
        return now >= self._heard(leg) + self._policy.silence

    def _judge(self, now: float) -> None:
        """See which legs are good."""
        most = self._policy.lossRate
        for leg in self.legs:
            isBad = (
                leg.lastHeard is None
                or self._isSilent(leg, now)
                or (most is not None and leg.lossRate > most)
            )
            if isBad:
                leg.goodSince = None
            elif leg.goodSince is None:
                leg.goodSince = now

    def _choose(self, now: float) -> None:
        """Go over, or prepare to, if there is a better leg than the one given on."""
        change = self._change
        if change is not None and not self.isGood(change.index):
            change = self._change = None
        active, policy = self.legs[self.active], self._policy
        if self._isSilent(active, now):
            best = self._best(now, 0)
            if best is not None:
                self._goOver(best, f"leg {self.active + 1} is silent")
        elif change is not None:
            if now >= change.by:
                self._goOver(change.index, change.why)
        elif not self.isGood(self.active) and active.lastHeard is not None:
            best = self._best(now, 0)
            if best is not None:
                why = f"leg {self.active + 1} loses {100 * active.lossRate:.1f} %"
                self._prepare(best, why, now)
        else:
            best = self._best(now, policy.returnAfter)
            if best is not None and best < self.active:
                self._prepare(best, f"leg {best + 1} is good again", now)

    def _best(self, now: float, forSeconds: float) -> int | None:
        """The first leg that has been good for so long, other than the one given on."""
        for index, leg in enumerate(self.legs):
            isLongEnough = leg.goodSince is not None and now >= leg.goodSince + forSeconds
            if index != self.active and isLongEnough:
                return index
        return None

    def _prepare(self, index: int, why: str, now: float) -> None:
        if self._policy.boundary is None:
            self._goOver(index, why)
        else:
            self._change = _Change(index, why, now + self._policy.boundaryWait)

    def _begun(self, run: Run, leg: Candidate, change: _Change, now: float) -> Run | None:
        """What of a run comes after a boundary, at which it is gone over to its leg."""
        boundary = self._policy.boundary
        assert boundary is not None  # noqa: S101 - for mypy: else nothing is prepared
        begin = boundary.find(run, leg.last)
        if begin is None:
            return None
        self._goOver(change.index, change.why)
        return portion(run, begin, len(run)) if begin else run

    def _goOver(self, index: int, why: str) -> None:
        self.active, self.reason, self._change = index, why, None
        self.changes += 1
