"""A relay in a loop, simulated: its guarded input, the way round, and the clock."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable

from attrs import define, field
from twisted.internet.task import Clock

from txgroupsock.primitives.run import Run
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.loops.guard import EchoGuard

TICK = 0.001
Sender = tuple[str, int]
SOURCE: Sender = ("10.0.0.1", 5000)
RELAY: Sender = ("10.0.0.2", 40000)


def runsOf(datagrams: Iterable[tuple[Sender, bytes]], now: float, most: int = 64) -> list[Run]:
    """Datagrams as a port hands them over."""
    runs: list[tuple[Sender, int, list[bytes]]] = []
    for sender, data in datagrams:
        if runs and data:
            last, size, parts = runs[-1]
            fits = len(data) <= size and len(parts[-1]) == size and len(parts) < most
            if last == sender and fits:
                parts.append(data)
                continue
        runs.append((sender, len(data), [data]))
    return [Run(memoryview(b"".join(parts)), size, sender, now) for sender, size, parts in runs]


@define
class Way:
    """
    What brings datagrams that were relayed back.

    @ivar delay: seconds.
    @ivar jitter: seconds, at most, by which it is longer at times; nothing overtakes.
    @ivar loss: the share that gets lost.
    @ivar rate: datagrams that it takes in a millisecond; what it cannot take waits.
    @ivar room: datagrams that can wait.
    """

    sender: Sender = RELAY
    delay: float = 0.001
    jitter: float = 0.0
    loss: float = 0.0
    rate: int = 100
    room: int = 2000
    isOpen: bool = True
    _queue: deque[tuple[float, bytes]] = field(factory=deque)

    def take(self, data: bytes, now: float, chance: random.Random) -> None:
        if self.isOpen and len(self._queue) < self.room and chance.random() >= self.loss:
            self._queue.append((now + self.delay + self.jitter * chance.random(), data))

    def bring(self, now: float) -> list[tuple[Sender, bytes]]:
        brought: list[tuple[Sender, bytes]] = []
        while self._queue and self._queue[0][0] <= now and len(brought) < self.rate:
            brought.append((self.sender, self._queue.popleft()[1]))
        return brought


@define
class Simulation:
    """
    A guarded input, what is sent to it, and the ways by which what it relays comes back.

    @ivar relayed: what passed: when, whose and what.
    """

    ways: list[Way] = field(factory=list)
    seed: int = 1
    capacity: int = 200  # datagrams that the relay handles in a millisecond
    room: int = 4000
    clock: Clock = field(factory=Clock)
    counters: Counters = field(factory=Counters)
    relayed: list[tuple[float, Sender, bytes]] = field(factory=list)
    sent: list[tuple[Sender, bytes]] = field(factory=list)
    arrived: int = 0
    chance: random.Random = field(init=False)
    guard: EchoGuard = field(init=False)
    _queue: deque[tuple[Sender, bytes]] = field(factory=deque)

    def __attrs_post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.guard = EchoGuard(self.counters, "input", self.chance.random)

    def admit(self, run: Run) -> None:
        """Have all of a run that may be relayed taken by all ways."""
        for part in self.guard.newOf(run):
            self._forward(part)

    def _forward(self, run: Run) -> None:
        now = self.clock.seconds()
        for each in run:
            data = bytes(each)
            self.relayed.append((now, run.sender, data))
            for way in self.ways:
                way.take(data, now, self.chance)

    def run(
        self,
        seconds: float,
        send: Callable[[int], Iterable[tuple[Sender, bytes]]] = lambda _: (),
    ) -> None:
        """@param send: what true senders send in each millisecond, by its number."""
        for _ in range(round(seconds / TICK)):
            self.clock.advance(TICK)
            now = self.clock.seconds()
            sent = list(send(round(now / TICK)))
            self.sent += sent
            arriving = [each for way in self.ways for each in way.bring(now)]
            for each in [*sent, *arriving]:
                if len(self._queue) < self.room:
                    self._queue.append(each)
            # Not quite the same in each millisecond, as nothing is.
            share = 0.5 + self.chance.random()
            count = min(round(self.capacity * share), len(self._queue))
            taken = [self._queue.popleft() for _ in range(count)]
            self.arrived += count
            for run in runsOf(taken, now):
                self.admit(run)

    def copies(self, since: float = 0.0) -> Counter[bytes]:
        """How often each datagram was relayed from some time on."""
        return Counter(data for when, _, data in self.relayed if when >= since)

    def of(self, sender: Sender) -> list[bytes]:
        """What was relayed of a sender's, in order."""
        return [data for _, each, data in self.relayed if each == sender]

    def sentBy(self, sender: Sender) -> list[bytes]:
        """What a sender has sent, in order."""
        return [data for each, data in self.sent if each == sender]
