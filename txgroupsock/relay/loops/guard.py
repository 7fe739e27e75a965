"""Loops through other relays: what an input relays comes back to it, from another sender."""

from __future__ import annotations

import math
import random
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar

from attrs import define, evolve, field
from twisted.logger import Logger

from txgroupsock.primitives.run import Run
from txgroupsock.relay.counters import Counters

Sender = tuple[str, int]


class EchoGuard:
    """
    Says what of an input's runs may be relayed, so that loops stop (L{Crowd}).

    While one sender sends, that is all.  Nothing is ever held or reordered.
    """

    def __init__(
        self, counters: Counters, name: object, random: Callable[[], float] = random.random
    ) -> None:
        """
        @param counters: what may not be relayed is counted there, as C{"loop"}.
        @param name: what its input is called in the log.
        @param random: from 0 to 1; when a datagram is watched.
        """
        self._only: Sender | None = None
        self._made = counters, name, random
        self._crowd: Crowd | None = None

    @property
    def echoes(self) -> list[Sender]:
        """The senders that are part of a loop now."""
        return [] if self._crowd is None else [each.sender for each in self._crowd.echoes.values()]

    def newOf(self, run: Run) -> Sequence[Run]:
        """What of a run is to be relayed, in order, not copied."""
        crowd = self._crowd
        if run.sender == self._only:
            return (run,)
        if crowd is None:
            if self._only is None:
                self._only = run.sender
                return (run,)
            crowd = self._crowd = Crowd(self._only, *self._made)
            self._only = None
        parts = crowd.newOf(run)
        if crowd.isOver:
            self._only, self._crowd = run.sender, None
        return (run,) if parts is None else parts

    def close(self) -> None:
        """Forget everything; for when the input closes."""
        self._only = self._crowd = None


@define(eq=False)
class _Bait:
    """
    A datagram whose copies are counted.

    @ivar taken: when it arrived, in seconds.
    @ivar isNew: whether nobody had sent it before.
    @ivar passed: how often it was relayed since.
    @ivar counts: how often it came from each slot, its own included.
    """

    owner: int
    taken: float
    isNew: bool
    passed: int = 0
    counts: dict[int, int] = field(factory=dict)


@define(eq=False)
class _Echo:
    """A sender that sends what was relayed: since when, last when, and how much of it was told."""

    sender: Sender
    since: float
    lastDrop: float = field(default=-math.inf)
    saidAt: float = field(default=-math.inf)
    doubtAt: float = field(default=-math.inf)
    dropped: int = 0
    said: int = 0


class Crowd:
    """
    Several senders of one input: who of them only sends again and again what was relayed.

    A sender becomes an echo in one of two ways.  It sends ten times what another sent once and
    nobody before (a I{bait}), and then, of something that was new after that, and once more; who
    sends equal datagrams, such as statsd and heartbeats, has sent them before, and a redundant
    sender sends each once.  Or, whatever they are, its copies are more than the L{least} in a
    second and L{factor} times what all others bring in.  From then on, what was relayed in the
    last L{recent} seconds is dropped if it comes from there; what is new passes.

    It is over when that has not happened for L{calm} seconds, or when it turns out to be none:
    it goes on sending a datagram more often than that was relayed, which no echo can.

    Nothing depends on how long a round takes or how much there is to do.  What is remembered has
    a fixed size: senders are told apart by 12 bits of a hash, contents by 64 (Python's, which
    has a secret key), in a table in which the new overwrites the old.

    @cvar least: copies of one sender in a second that are no matter.
    @cvar factor: times what truly comes in; of as many copies the same is true.
    @cvar ways: copies of each datagram that there may be in a loop, by as many ways back.
    @cvar closely: seconds for which all datagrams are looked at, when one in ten is a repetition
        and there are many; then not again for L{rest} seconds.
    @cvar lifetime: seconds in which the copies of a bait are counted.
    @cvar recent: seconds that a loop may take to go round.
    @cvar memory: seconds without another sender after which there is one again.
    @cvar settling: seconds after which everything that was under way has come.
    @cvar sampled: how many datagrams of a run are looked at, at most, while there is no echo.
    @ivar echoes: by slot.
    @ivar isOver: whether there has been one sender only for long.
    """

    mostCopies: ClassVar[int] = 10
    strikesNeeded: ClassVar[int] = 3
    least: ClassVar[int] = 1500
    factor: ClassVar[int] = 2
    ways: ClassVar[int] = 3
    lifetime: ClassVar[float] = 8.0
    recent: ClassVar[float] = 4.0
    memory: ClassVar[float] = 60.0
    settling: ClassVar[float] = 2.0
    calm: ClassVar[float] = 10.0
    quiet: ClassVar[float] = 10.0
    sampled: ClassVar[int] = 2
    interval: ClassVar[float] = 0.1  # between baits, on average
    mostBaits: ClassVar[int] = 8
    mostOfOne: ClassVar[int] = 3
    mostEchoes: ClassVar[int] = 16
    mostSuspects: ClassVar[int] = 256
    slots: ClassVar[int] = 1 << 12
    contents: ClassVar[int] = 1 << 14
    closely: ClassVar[float] = 3.0
    rest: ClassVar[float] = 20.0

    _log = Logger()

    def __init__(
        self,
        first: Sender | None,
        counters: Counters,
        name: object,
        random: Callable[[], float],
    ) -> None:
        """@param first: who alone has sent until now; the others are those of L{EchoGuard}."""
        self._first = 1 + hash(first) % self.slots
        self.echoes: dict[int, _Echo] = {}
        self.isOver = False
        self._counters, self._name, self._random = counters, name, random
        self._young: dict[int, int] = {}  # who first sent what was relayed lately
        self._old: dict[int, int] = {}
        self._seen = array("q", bytes(8 * self.contents))  # what was sent at any time
        self._baits: dict[int, _Bait] = {}
        self._strikes: dict[int, tuple[int, float]] = {}  # how many, and when the last
        self._limits: dict[int, int] = {}  # of those that were found to be no echo
        self._counts: dict[int, tuple[int, int]] = {}  # repeats and copies of each, this second
        self._fresh = self._others = 0  # datagrams that are no repeats, and no copies, this second
        self._freshBefore = deque([0], maxlen=4)  # and in those before
        self._othersBefore = deque([0], maxlen=4)
        self._began = self._ends = self._aged = self._due = self._closeUntil = -math.inf
        self._changed = -math.inf
        self._latest: Sender | None = None
        self._runs = 0

    def newOf(self, run: Run) -> list[Run] | None:
        """What of a run is to be relayed, in order, not copied; L{None}: all of it."""
        now, data, size, sender = run.arrival, run.data, run.segmentSize, run.sender
        if sender != self._latest:
            self._latest, self._changed = sender, now
        if not self._began <= now < self._ends:
            self._turn(now)
        slot = 1 + hash(sender) % self.slots
        if len(data) <= size:
            count, step, marks = 1, 1, [hash(bytes(data))]
        else:
            count, step, marks = self._marksOf(run)
        if self.echoes:
            echo = self.echoes.get(slot)
            if echo is not None and echo.sender == sender:
                return self._newOfEcho(run, marks, slot, echo)
        young, old, baits = self._young, self._old, self._baits
        repeats = copies = 0
        for mark in marks:
            owner = young.get(mark) or old.get(mark)
            if not owner:
                self._add(mark, slot, now)
            else:
                if slot == self._first:
                    owner = slot
                young[mark] = owner
                repeats += step
                if owner != slot:
                    copies += step
            if mark in baits:
                baits[mark].passed += 1
                self._compare(mark, run, slot)
        self._fresh += count - repeats
        self._others += count - copies
        if repeats:
            self._weigh(run, slot, repeats, copies)
        return None

    def _marksOf(self, run: Run) -> tuple[int, int, list[int]]:
        """How many datagrams a run has, every how manieth is looked at, and the hashes of these."""
        data, size, count = run.data, run.segmentSize, len(run)
        isClose = self.echoes or run.arrival < self._closeUntil
        step = 1 if isClose else -(-count // self.sampled)
        self._runs += 1
        starts = range(self._runs % step * size, len(data), step * size)
        return count, step, [hash(bytes(data[start : start + size])) for start in starts]

    def _newOfEcho(
        self, run: Run, marks: Sequence[int], slot: int, echo: _Echo
    ) -> list[Run] | None:
        """The same of one that is an echo: what was not relayed lately."""
        now, known = run.arrival, []
        for index, mark in enumerate(marks):
            if mark not in self._young and mark not in self._old:
                self._add(mark, slot, now)
                if mark in self._baits:
                    self._baits[mark].passed += 1
                continue
            known.append(index)
            if mark in self._baits:
                self._doubt(self._baits[mark], echo, slot, now)
            elif now >= echo.doubtAt:
                echo.doubtAt = now + self.settling
                self._baits[mark] = _Bait(slot, now, isNew=False)
        self._others += len(marks) - len(known)
        if not known:
            return None
        echo.lastDrop = now
        echo.dropped += len(known)
        self._counters.dropped["loop"] += len(known)
        parts, start, size = [], 0, run.segmentSize
        for index in [*known, len(marks)]:
            if start < index:
                parts.append(evolve(run, data=run.data[start * size : index * size]))
            start = index + 1
        return parts

    def _add(self, mark: int, slot: int, now: float) -> None:
        """Remember what was not relayed lately."""
        self._young[mark] = slot
        if len(self._young) > self.contents:
            self._age(now)
        at = mark % self.contents
        if now >= self._due:
            self._take(mark, _Bait(slot, now, self._seen[at] != mark))
        self._seen[at] = mark

    def _weigh(self, run: Run, slot: int, repeats: int, copies: int) -> None:
        """See whether these are too many of what was relayed already."""
        before = self._counts.get(slot, (0, 0))
        self._counts[slot] = repeats, copies = before[0] + repeats, before[1] + copies
        most = self._limits.get(slot, self.least)
        if repeats <= most:
            return
        if copies > max(most, self.factor * max(self._others, *self._othersBefore)):
            self._accuse(run, slot)
        elif run.arrival > self._closeUntil + self.rest and 10 * repeats > max(
            self._fresh, *self._freshBefore
        ):
            self._closeUntil = run.arrival + self.closely

    def _take(self, mark: int, bait: _Bait) -> None:
        """Have another bait, unless there are enough."""
        self._due = bait.taken + 2 * self.interval * self._random()
        ofOne = sum(each.owner == bait.owner for each in self._baits.values())
        if ofOne < self.mostOfOne and len(self._baits) < self.mostBaits:
            self._baits[mark] = bait

    def _compare(self, mark: int, run: Run, slot: int) -> None:
        """See whether a bait has come too often."""
        bait = self._baits[mark]
        bait.counts[slot] = count = bait.counts.get(slot, 0) + 1
        if slot != bait.owner and count >= self.mostCopies * bait.counts.get(bait.owner, 1):
            del self._baits[mark]
            if bait.isNew and slot not in self._limits:
                self._strike(bait, run, slot)

    def _doubt(self, bait: _Bait, echo: _Echo, slot: int, now: float) -> None:
        """See whether an echo sends more than was relayed to it."""
        if slot not in self.echoes or now < max(bait.taken, echo.since) + self.settling:
            return  # it may have been under way before
        bait.counts[slot] = count = bait.counts.get(slot, 0) + 1
        if count > self.ways * (2 + bait.passed):
            self._limits[slot] = self.least + int(2 * echo.dropped / (now - echo.since))
            self._end(slot, "it sends more than was relayed to it, so it is no loop")

    def _strike(self, bait: _Bait, run: Run, slot: int) -> None:
        strikes, last = self._strikes.pop(slot, (0, -math.inf))
        if bait.taken > last:  # or it could be one that sent all this before
            strikes, last = strikes + 1, run.arrival
        self._strikes[slot] = (strikes, last)
        if strikes >= self.strikesNeeded:
            self._accuse(run, slot)
        elif len(self._strikes) > self.mostSuspects:
            del self._strikes[next(iter(self._strikes))]

    def _turn(self, now: float) -> None:
        """Do what is to be done once a second."""
        self._began, self._ends, self._due = now, now + 1, min(self._due, now + self.interval)
        self.isOver = not self.echoes and now - self._changed > self.memory
        self._counts = {}
        self._freshBefore.append(self._fresh)
        self._othersBefore.append(self._others)
        self._fresh = self._others = 0
        if not 0 <= now - self._aged < self.recent / 2:
            self._age(now)
        for mark, bait in list(self._baits.items()):
            if not 0 <= now - bait.taken < self.lifetime:
                del self._baits[mark]
                self._strikes = {
                    slot: (strikes - (bait.taken > last), last)
                    for slot, (strikes, last) in self._strikes.items()
                    if strikes > (bait.taken > last)
                }
        for slot, echo in list(self.echoes.items()):
            if now - max(echo.since, echo.lastDrop) >= self.calm:
                self._end(slot, "nothing came back for a while")
                self._strikes[slot] = (self.strikesNeeded - 1, now)
            elif now - echo.saidAt >= self.quiet:
                self._say(echo, now)

    def _age(self, now: float) -> None:
        self._old, self._young, self._aged = self._young, {}, now

    def _accuse(self, run: Run, slot: int) -> None:
        if slot in self.echoes or len(self.echoes) >= self.mostEchoes:
            return
        self.echoes[slot] = echo = _Echo(run.sender, run.arrival, saidAt=run.arrival)
        self._log.warn(
            "loop: what {name} receives and relays comes back to it from {sender}, another relay. "
            "Copies from there are dropped and counted as loop; anything else from there is "
            "relayed. Have one of the two relays send elsewhere, or name the source to hear",
            name=self._name,
            sender="{} port {}".format(*echo.sender),
        )

    def _say(self, echo: _Echo, now: float) -> None:
        self._log.warn(
            "loop: {name} has dropped {count:,} more datagrams that came back from {sender}",
            name=self._name,
            count=echo.dropped - echo.said,
            sender="{} port {}".format(*echo.sender),
        )
        echo.said, echo.saidAt = echo.dropped, now

    def _end(self, slot: int, why: str) -> None:
        echo = self.echoes.pop(slot)
        self._log.info(
            "loop: the loop of {name} through {sender} is over, since {why}; {count:,} datagrams "
            "were dropped",
            name=self._name,
            sender="{} port {}".format(*echo.sender),
            why=why,
            count=echo.dropped,
        )
