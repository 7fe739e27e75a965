"""Finding out whether what comes from a sender comes because it was relayed."""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import ClassVar

from attrs import define, evolve, field

from txgroupsock.primitives.run import Run
from txgroupsock.relay.sameness import copiesIn
from txgroupsock.relay.watch import Sender, Watch


class Backlog:
    """
    Copies of runs that are held back, in order.

    @cvar most: bytes that are held, with what Python needs for each run.
    """

    most: ClassVar[int] = 16 * 1024 * 1024
    _overhead: ClassVar[int] = 256

    def __init__(self) -> None:
        self._runs: deque[Run] = deque()
        self.size = 0

    def __len__(self) -> int:
        """How many runs it holds."""
        return len(self._runs)

    @property
    def isFull(self) -> bool:
        """Whether it holds as much as it may."""
        return self.size >= self.most

    def append(self, run: Run) -> None:
        """Hold a copy of a run."""
        self._runs.append(evolve(run, data=memoryview(bytes(run.data))))
        self.size += len(run.data) + self._overhead

    def first(self, count: int) -> Iterable[Run]:
        """The ones that have waited longest."""
        return islice(self._runs, count)

    def pop(self) -> Run:
        """Give back the one that has waited longest."""
        run = self._runs.popleft()
        self.size -= len(run.data) + self._overhead
        return run


@define(eq=False)
class _Returns:
    """
    What has come from one suspect of what was relayed, each matched with the oldest under way.

    @ivar underWay: when what has not come back yet was relayed, by content.
    @ivar matched: how many came back, by content.
    @ivar delays: the seconds that each took which did.
    @ivar excess: how many more came.
    @ivar late: how many of these when no probe was to come back any more.
    """

    underWay: dict[bytes, deque[float]] = field(factory=lambda: defaultdict(deque))
    matched: Counter[bytes] = field(factory=Counter)
    delays: list[float] = field(factory=list)
    excess: Counter[bytes] = field(factory=Counter)
    late: int = 0

    def returned(self, content: bytes, count: int, now: float, *, isLate: bool) -> None:
        relayed = self.underWay[content]
        matched = min(count, len(relayed))
        self.delays += [now - relayed.popleft() for _ in range(matched)]
        self.matched[content] += matched
        self.excess[content] += count - matched
        self.late += isLate * (count - matched)


class Trial:
    """
    Some suspects, whose datagrams are held back, and the probes that decide about them.

    With nothing of theirs relayed, the copies in a loop run out.  Then some runs that are held
    are relayed one by one, as probes, at short irregular intervals.  In a loop, what was relayed
    comes back as often, and all after about the same time.  Whoever sends on his own account
    goes on as before: many come or none, at any time.

    @cvar probes: how many runs are relayed, and how many datagrams of those are looked for.
    @cvar spacing: seconds between two, at most.
    @cvar settling: seconds, at least, for what is under way to arrive, before and after the
        probes: or twice the time that the loop seems to take, if that is longer.
    @cvar slowest: seconds that a loop may take to go round.
    @cvar jitter: seconds by which the time that a loop takes may vary, besides a quarter of it.
    """

    probes: ClassVar[int] = 12
    spacing: ClassVar[float] = 0.015
    settling: ClassVar[float] = 0.1
    slowest: ClassVar[float] = 0.5
    jitter: ClassVar[float] = 0.01

    def __init__(
        self,
        suspects: Iterable[Sender],
        now: float,
        roundTrip: float,
        random: Callable[[], float] = random.random,
        *,
        isLast: bool = False,
    ) -> None:
        """
        @param now: seconds.
        @param roundTrip: the time that the loop seems to take, in seconds.
        @param random: from 0 to 1; makes the times between the probes irregular.
        @param isLast: whether there is to be none with more suspects.
        """
        self.suspects = {each: _Returns() for each in suspects}
        self._settling = max(self.settling, 2 * min(roundTrip, self.slowest))
        self._roundTrip = roundTrip
        self._random = random
        self._isLast = isLast
        self._contents: list[bytes] = []
        self._probed: Counter[bytes] = Counter()
        self._others: dict[bytes, set[Sender]] = {}
        self._probesLeft = self.probes
        self._nextProbe = now + self._settling
        # With nothing to probe with, it waits for that no longer than this.
        self._ends = self._nextProbe + 2 * self._settling + 2 * self.probes * self.spacing

    def held(self, run: Run) -> None:
        """A suspect's run has come, and is held."""
        isLate = not self._probesLeft and run.arrival > self._ends - self._settling
        returns = self.suspects[run.sender]
        for index, count in copiesIn(run, self._contents):
            returns.returned(self._contents[index], count, run.arrival, isLate=isLate)

    def relayed(self, run: Run, now: float) -> None:
        """A run is being relayed, be it a probe or a run of somebody who is no suspect."""
        for index, count in copiesIn(run, self._contents):
            content = self._contents[index]
            if run.sender in self.suspects:
                self._probed[content] += count
            else:
                others = self._others.setdefault(content, set())
                if len(others) < Watch.mostSenders:
                    others.add(run.sender)
            for returns in self.suspects.values():
                returns.underWay[content].extend([now] * count)

    def nextProbe(self, backlog: Backlog, now: float) -> Run | None:
        """Take the run that was held longest, if it is time to relay it as a probe."""
        if not self._probesLeft or not self._nextProbe <= now < self._ends or not len(backlog):
            return None
        if self._probesLeft == self.probes:
            # From here on nothing of these is under way but what is known to be.  What is rare
            # tells most: many send null packets.
            found = Counter(bytes(each) for run in backlog.first(self.probes) for each in run)
            self._contents = sorted(found, key=found.__getitem__)[: self.probes]
        self._nextProbe = now + self.spacing * self._random()
        self._probesLeft -= 1
        if not self._probesLeft:
            # Whoever sends regularly does so in this time too, when nothing is to come back.
            self._ends = now + 2 * self._settling
        return backlog.pop()

    def isOver(self, now: float) -> bool:
        """Whether L{guilty} knows all that it will."""
        return now >= self._ends

    def guilty(self) -> list[Sender]:
        """Which of the suspects send what they do because it is relayed to them."""
        return [each for each, returns in self.suspects.items() if self._isEcho(returns)]

    def company(self) -> set[Sender]:
        """
        Those who send just what the suspects do, if that makes it undecidable the first time.

        Either they are part of it, or they send such as null packets, which come back from
        nobody knows whom.  In a trial of all of them, only the probes are relayed.
        """
        if self._isLast or self._isDecidable():
            return set()
        return set[Sender]().union(*self._others.values())

    def withCompany(self, company: Iterable[Sender], now: float) -> Trial:
        """A trial of more suspects, which begins now, while what was held still is."""
        suspects = [*self.suspects, *company]
        return Trial(suspects, now, self._roundTrip, self._random, isLast=True)

    def _isDecidable(self) -> bool:
        """Whether enough was relayed that came from nobody else."""
        return 2 * sum(self._probed[each] for each in self._ownContents()) >= self.probes

    def _ownContents(self) -> list[bytes]:
        """What only suspects have sent."""
        return [content for content in self._contents if content not in self._others]

    def _isEcho(self, returns: _Returns) -> bool:
        if not self._isDecidable() or returns.late > 1 or not self._isRegular(returns.delays):
            return False
        own = self._ownContents()
        back = sum(returns.matched[each] for each in own)
        more = sum(returns.excess[each] for each in own)
        # Some may get lost, and there may be two ways back.
        return 2 * back >= sum(self._probed[each] for each in own) and more <= back

    def _isRegular(self, delays: list[float]) -> bool:
        """Whether nearly all took about the same time, and not more than a loop might."""
        if not delays:
            return False
        few = len(delays) // 8
        ordered = sorted(delays)[few : len(delays) - few]
        return ordered[-1] <= min(1.25 * ordered[0] + self.jitter, self._settling)
