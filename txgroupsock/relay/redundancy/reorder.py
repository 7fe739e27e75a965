"""Datagrams of one stream, each once and in order, from whatever order they come in."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import Final

from attrs import define, frozen

from txgroupsock.primitives.run import Run
from txgroupsock.relay.redundancy.sequencing import portion

_MOST_JOINED: Final = 64  # datagrams in a run, as many as a port receives at once
_MOST_BYTES: Final = 65000
_LOST_KNOWN: Final = 64


@define
class Held:
    """Consecutive datagrams that wait for those before them: a copy."""

    first: int
    end: int
    run: Run


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

    Its memory is bounded: what comes within a window, and never more than the limit.

    @ivar next: number of the datagram that is given on next.
    @ivar end: one more than the highest number so far.
    @ivar lost: datagrams that were given up.
    @ivar overflowed: how many of these because the limit was reached.
    @ivar progress: when the highest number last rose, in seconds.
    @ivar holding: datagrams held.
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
        self.holding = 0
        self._window = window
        self._limit = limit
        self._held: list[Held] = []  # in order, and not overlapping
        self._gaps: deque[Gap] = deque()
        self._givenUp: deque[tuple[int, int]] = deque(maxlen=_LOST_KNOWN)

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
        skipped = self.end
        if end > skipped:
            self.end, self.progress = end, now
        if first > skipped:
            self._gaps.append(Gap(first, now))
        if first <= self.next and (not self._held or end <= self._held[0].first):
            out.append(run if first == self.next else portion(run, self.next - first, end - first))
            fresh = end - self.next
            self.next = end
        else:
            fresh = self._hold(max(first, self.next), end, first, run)
        if self._held:
            self._release(now, out)
            if self.holding > self._limit:
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
        held = self._held
        index = bisect_right(held, begin, key=lambda each: each.end)
        fresh = 0
        while begin < end:
            following = held[index] if index < len(held) else None
            stop = end if following is None else min(end, following.first)
            if begin < stop:
                part = portion(run, begin - first, stop - first)
                copy = Run(memoryview(bytes(part.data)), run.segmentSize, run.sender, run.arrival)
                held.insert(index, Held(begin, stop, copy))
                index += 1
                fresh += stop - begin
            begin = end if following is None else max(stop, following.end)
            index += 1
        self.holding += fresh
        return fresh

    def _release(self, now: float, out: list[Run]) -> None:
        """Give on what is next of what is held."""
        held, count = self._held, 0
        while count < len(held) and held[count].first == self.next:
            self.next = held[count].end
            count += 1
        if count:
            joined(held[:count], now, out)
            self.holding -= sum(each.end - each.first for each in held[:count])
            del held[:count]
        while self._gaps and self._gaps[0].end <= self.next:
            self._gaps.popleft()

    def _giveUp(self, end: int, now: float, out: list[Run]) -> None:
        """Wait for nothing before a number any more."""
        while self.next < end:
            first = self._held[0].first
            self.lost += first - self.next
            self._givenUp.append((self.next, first))
            self.next = first
            self._release(now, out)

    def _shrink(self, now: float, out: list[Run]) -> None:
        """Hold no more than the limit."""
        before = self.lost
        while self.holding > self._limit:
            self._giveUp(self._gaps[0].end, now, out)
        self.overflowed += self.lost - before


def joined(held: list[Held], now: float, out: list[Run]) -> None:
    """Consecutive datagrams in as few runs as they fit."""
    batch: list[Run] = []
    count = size = 0
    for each in held:
        run, datagrams = each.run, each.end - each.first
        # Only the last datagram of a run may be shorter, so nothing follows one that is.
        fits = batch and (
            batch[0].segmentSize == run.segmentSize
            and size == count * run.segmentSize
            and count + datagrams <= _MOST_JOINED
            and size + len(run.data) <= _MOST_BYTES
        )
        if batch and not fits:
            out.append(_one(batch, now))
            batch, count, size = [], 0, 0
        batch.append(run)
        count += datagrams
        size += len(run.data)
    out.append(_one(batch, now))


def _one(runs: list[Run], now: float) -> Run:
    data = runs[0].data if len(runs) == 1 else memoryview(b"".join(each.data for each in runs))
    return Run(data, runs[0].segmentSize, runs[0].sender, now)
