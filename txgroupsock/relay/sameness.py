"""Datagrams of the same content: how many there are in a run, and which were relayed before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from attrs import evolve

from txgroupsock.primitives.run import Run


def firstOf(run: Run) -> bytes:
    """A copy of the first datagram of a run."""
    return bytes(run.data[: run.segmentSize])


def lastOf(run: Run) -> bytes:
    """A copy of the last datagram of a run."""
    size = run.segmentSize
    return bytes(run.data[-(len(run.data) % size or size) :]) if size else b""


def tellingOffset(content: bytes, others: Iterable[bytes]) -> int:
    """Where a content differs from the first of some that does: there one byte tells most apart."""
    for other in others:
        for offset, (one, another) in enumerate(zip(content, other, strict=False)):
            if one != another:
                return offset
    return len(content) // 2


def copiesIn(
    run: Run, contents: Sequence[bytes], offsets: Sequence[int] | None = None
) -> Iterator[tuple[int, int]]:
    """
    How many datagrams of a run have each of some contents: index and number, where any has.

    @param offsets: for each content, where to look at one byte before all are compared.
    """
    data, segment = run.data, run.segmentSize
    if len(data) <= segment or not segment:
        single = bytes(data)
        for index, content in enumerate(contents):
            if content == single:
                yield index, 1
        return
    last = len(data) % segment
    tail = bytes(data[-last:]) if last else None
    columns: dict[int, bytes] = {}
    for index, content in enumerate(contents):
        if len(content) == segment:
            offset = segment // 2 if offsets is None else offsets[index]
            column = columns.get(offset)
            if column is None:
                # One byte of each tells nearly all that differ: 1 µs for 64, instead of 10.
                column = columns[offset] = bytes(data[offset : len(data) - last : segment])
            copies = 0
            at = column.find(content[offset])
            while at >= 0:
                copies += bytes(data[at * segment : (at + 1) * segment]) == content
                at = column.find(content[offset], at + 1)
            if copies:
                yield index, copies
        elif content == tail:
            yield index, 1


class Relayed:
    """
    What was relayed in the last seconds, as hashes.

    Python's hash of bytes has a secret key, so nobody can make other contents look the same.

    @ivar since: since when it remembers, in seconds.
    @cvar seconds: how long it remembers what was relayed, at least; twice that at most.
    @cvar most: datagrams in each of two generations, about 80 bytes each; of more than that it
        remembers the newest.
    """

    seconds: ClassVar[float] = 2.0
    most: ClassVar[int] = 1 << 17

    def __init__(self, now: float) -> None:
        self.since = now
        self._began = now
        self._young: set[int] = set()
        self._old: set[int] = set()

    def add(self, run: Run) -> None:
        """Remember each datagram of a run."""
        self._age(run.arrival)
        self._young.update([hash(bytes(each)) for each in run])

    def unknownOf(self, run: Run) -> list[Run]:
        """What there is in a run that was not relayed: parts of it, in order, not copied."""
        self._age(run.arrival)
        young, old, size = self._young, self._old, run.segmentSize
        hashes = [hash(bytes(each)) for each in run]
        isKnown = [each in young or each in old for each in hashes]
        if True not in isKnown:
            return [run]
        parts = []
        start = 0
        for index, known in enumerate([*isKnown, True]):
            if known:
                if start < index:
                    parts.append(evolve(run, data=run.data[start * size : index * size]))
                start = index + 1
        return parts

    def _age(self, now: float) -> None:
        age = now - self._began
        if age < self.seconds and len(self._young) < self.most:
            return
        self._old = self._young if age < 2 * self.seconds else set()
        self._young, self._began = set(), now
