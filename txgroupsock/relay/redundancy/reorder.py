"""Datagrams of one stream, each once and in order, from whatever order they come in."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Final

from attrs import frozen

from txgroupsock.primitives.run import Run
from txgroupsock.relay.redundancy.sequencing import portion

BYTES_EACH: Final = 768
"""Bytes of payload held at most, for each datagram of the limit."""

_MOST_JOINED: Final = 64  # datagrams in a run, as many as a port receives at once
_MOST_BYTES: Final = 65000
_LOST_KNOWN: Final = 64

Held = tuple[bytes, tuple[str, int]]
"""A copy of a datagram that waits for those before it, and its sender."""


@frozen
class Gap:
    """There was something missing before this number when it came."""

    end: int
    since: float


class ReorderBuffer:
    """
    Gives on what comes in the order of its numbers, which here do not begin anew.

    What is next goes on at once, in the memory it came in.  What comes after a gap is copied and
    held until the gap is filled, or has been there for the window; then the gap is lost.

    Its memory is bounded: what comes within a window, never more than the limit, and never more
    than L{BYTES_EACH} bytes for each of these.  So is its time: however the numbers jump, each
    datagram is copied once, put on a heap once and taken off it once, 2.5 µs in all with 16,384
    held, and a gap costs the same whatever its length.

    @ivar next: number of the datagram that is given on next.
    @ivar end: one more than the highest number so far.
    @ivar lost: datagrams that were given up.
    @ivar overflowed: how many of these because the limit was reached.
    @ivar progress: when the highest number last rose, in seconds.
    @ivar bytes: of payload held.
    """

    def __init__(self, first: int, window: float, limit: int, now: float) -> None:
        """
        @param window: seconds.
        @param limit: of datagrams held.
        """
        self.next = self.end = first
        self.lost = 0
        self.overflowed = 0
        self.progress = now
        self.bytes = 0
        self._window = window
        self._limit = limit
        self._held: dict[int, Held] = {}
        self._order: list[int] = []  # a heap of the numbers of these
        self._gaps: deque[Gap] = deque()  # each with a datagram held behind it
        self._givenUp: deque[tuple[int, int]] = deque(maxlen=_LOST_KNOWN)

    @property
    def holding(self) -> int:
        """Datagrams held."""
        return len(self._held)

    def setLimits(self, window: float, limit: int) -> None:
        """Have another window and another limit from now on."""
        self._window, self._limit = window, limit

    def take(self, first: int, run: Run, now: float, out: list[Run]) -> int:
        """
        Take consecutive datagrams.

        @param first: number of the first.
        @param out: what is given on now is appended.
        @return: how many of them had not come before.
        """
        end = first + len(run)
        if end <= self.next:
            return 0
        if end > self.end:
            if first > self.end:
                self._gaps.append(Gap(first, now))
            self.end, self.progress = end, now
        begin, fresh = first, 0
        if first <= self.next:
            begin = min(end, self._order[0]) if self._order else end
            fresh = begin - self.next
            isWhole = first == self.next and begin == end
            out.append(run if isWhole else portion(run, self.next - first, begin - first))
            self.next = begin
        if begin < end:
            fresh += self._hold(begin, end, first, run)
        if self._held:
            self._release(now, out)
            self._shrink(now, out)
        return fresh

    def due(self, now: float, out: list[Run]) -> None:
        """Give up the gaps that have been there for the window, and give on what was behind."""
        while self._gaps and self._gaps[0].since + self._window <= now:
            self._giveUp(self._gaps[0].end, now, out)

    @property
    def deadline(self) -> float | None:
        """When L{due} has something to do, in seconds; L{None} while nothing is missing."""
        return self._gaps[0].since + self._window if self._gaps else None

    def flush(self, now: float, out: list[Run]) -> None:
        """Wait for nothing more: give on all that is held."""
        while self._gaps:
            self._giveUp(self._gaps[0].end, now, out)

    def lateOf(self, first: int, end: int) -> int:
        """How many of some numbers were given up."""
        return sum(max(0, min(end, last) - max(first, begin)) for begin, last in self._givenUp)

    def _hold(self, begin: int, end: int, first: int, run: Run) -> int:
        """Copy what of a run is not held yet; how many datagrams that is."""
        held, size, before = self._held, run.segmentSize, len(self._held)
        for number in range(begin, end):
            if number not in held:
                at = (number - first) * size
                data = bytes(run.data[at : at + size])
                held[number] = data, run.sender
                heappush(self._order, number)
                self.bytes += len(data)
        return len(held) - before

    def _release(self, now: float, out: list[Run]) -> None:
        """Give on what is next of what is held."""
        order, ready = self._order, list[Held]()
        while order and order[0] == self.next:
            ready.append(self._held.pop(heappop(order)))
            self.next += 1
        if ready:
            self.bytes -= sum(len(data) for data, _ in ready)
            joined(ready, now, out)
        while self._gaps and self._gaps[0].end <= self.next:
            self._gaps.popleft()

    def _giveUp(self, end: int, now: float, out: list[Run]) -> None:
        """Wait for nothing before a number any more; it, or one before, is held."""
        while self.next < end:
            first = self._order[0]
            self.lost += first - self.next
            self._givenUp.append((self.next, first))
            self.next = first
            self._release(now, out)

    def _shrink(self, now: float, out: list[Run]) -> None:
        """Hold no more than the limit."""
        before = self.lost
        while len(self._held) > self._limit or self.bytes > self._limit * BYTES_EACH:
            self._giveUp(self._gaps[0].end, now, out)
        self.overflowed += self.lost - before


def joined(held: list[Held], now: float, out: list[Run]) -> None:
    """Consecutive datagrams in as few runs as they fit."""
    batch: list[bytes] = []
    sender, size, count = held[0][1], 0, 0
    for data, origin in held:
        # Only the last datagram of a run may be shorter, so nothing follows one that is.
        if batch and not (
            len(data) == size
            and size
            and count < _MOST_JOINED
            and (count + 1) * size <= _MOST_BYTES
            and origin == sender
        ):
            out.append(Run(memoryview(b"".join(batch)), size, sender, now))
            batch, count = [], 0
        if not batch:
            sender, size = origin, len(data)
        batch.append(data)
        count += 1
    out.append(Run(memoryview(b"".join(batch)), size, sender, now))
