"""Watching for senders that repeat what others send, as one does that is part of a loop."""

from __future__ import annotations

from collections import Counter, deque
from typing import ClassVar

from attrs import define, field

from txgroupsock.primitives.run import Run
from txgroupsock.relay.sameness import copiesIn, firstOf, lastOf, tellingOffset

Sender = tuple[str, int]


@define(eq=False)
class Bait:
    """
    A datagram that was relayed, and how often each sender has sent it since.

    @ivar taken: when it arrived, in seconds.
    @ivar copies: how many came from each sender, its own included.
    @ivar delays: seconds until the first came from each other sender.
    """

    sender: Sender
    taken: float
    copies: Counter[Sender] = field(factory=Counter)
    delays: dict[Sender, float] = field(factory=dict)


class Watch:
    """
    Remembers a datagram now and then, from one sender after the other, and counts its copies.

    In a loop a copy comes round again and again.  Redundant senders give one copy, and equal
    ones, such as counters of statsd, give as many as the first sender does, more or less.

    @cvar interval: seconds between baits.
    @cvar lifetime: seconds that each is compared with what arrives; a loop is noticed if it
        takes less than half of that to go round.
    @cvar tooMany: copies from one sender, for each that the bait's own sender has sent.
    @cvar mostSenders: how many it keeps apart.
    """

    interval: ClassVar[float] = 0.2
    lifetime: ClassVar[float] = 2.0
    tooMany: ClassVar[int] = 2
    mostSenders: ClassVar[int] = 256

    def __init__(self) -> None:
        most = round(self.lifetime / self.interval)
        self._baits: deque[Bait] = deque(maxlen=most)
        self._contents: deque[bytes] = deque(maxlen=most)  # of those
        self._offsets: deque[int] = deque(maxlen=most)  # of the byte to look at first
        self._seen: dict[Sender, float] = {}
        self._due = float("-inf")

    def examine(self, run: Run) -> list[Bait]:
        """Compare a run with the baits; of which ones there are now too many copies from it."""
        sender, now = run.sender, run.arrival
        struck = []
        for index, count in copiesIn(run, self._contents, self._offsets):
            bait = self._baits[index]
            copies = bait.copies
            isNew = sender not in copies
            if now - bait.taken > self.lifetime or (isNew and len(copies) >= self.mostSenders):
                continue
            copies[sender] += count
            if sender == bait.sender:
                continue
            if isNew:
                bait.delays[sender] = now - bait.taken
            if copies[sender] >= self.tooMany * copies[bait.sender]:
                struck.append(bait)
        return struck

    def take(self, run: Run) -> None:
        """Take a bait from a run that is being relayed, if one is due and it is this sender's turn.

        In a loop nearly all that arrives are copies, which make no good baits; so senders take
        turns, and the rarest is waited for as long again as is usual between two baits.
        """
        now, sender = run.arrival, run.sender
        if sender not in self._seen and len(self._seen) >= self.mostSenders:
            self._seen.clear()  # somebody makes them up
        self._seen[sender] = now
        if 0 < self._due - now < 2 * self.interval or not run.segmentSize:
            return  # (later than that only if the clock was set back)
        if now < self._due + self.interval:
            others = min(len(self._seen) - 1, len(self._baits))
            if any(self._baits[-index].sender == sender for index in range(1, others + 1)):
                return
        self._due = now + self.interval
        self._prune(now)
        content = firstOf(run)
        self._baits.append(Bait(sender, now))
        self._offsets.append(tellingOffset(content, [lastOf(run), *self._contents]))
        self._contents.append(content)
        for _, count in copiesIn(run, [content]):
            self._baits[-1].copies[sender] = count

    def onlySender(self) -> Sender | None:
        """The sender of all that has arrived in a lifetime, if it was one."""
        return next(iter(self._seen)) if len(self._seen) == 1 else None

    def restart(self) -> None:
        """Forget the baits, whose copies were not all counted."""
        self._baits.clear()
        self._contents.clear()
        self._offsets.clear()
        self._due = float("-inf")

    def _prune(self, now: float) -> None:
        self._seen = {
            sender: seen for sender, seen in self._seen.items() if now - seen < self.lifetime
        }
