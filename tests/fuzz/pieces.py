"""Bytes taken for whatever a target needs: numbers, times, datagrams, runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from txgroupsock.primitives.run import Run

SENDER: Final = ("192.0.2.1", 5000)


class Pieces:
    """
    What is drawn from some bytes; once they are used up, all is 0.

    @ivar now: a time in seconds that only goes on.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self.now = 0.0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        """So many bytes, or fewer at the end."""
        found = self._data[self._at : self._at + size]
        self._at += size
        return found

    def number(self, below: int) -> int:
        """A number from 0."""
        size = (below.bit_length() + 7) // 8
        return int.from_bytes(self.take(size), "big") % below

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))

    def later(self) -> float:
        """A time after the one before: mostly by ms, and now and then by seconds."""
        step = self.number(256)
        self.now += step / 1000 if step < 240 else float(step - 239)
        return self.now

    def datagrams(self, most: int = 60) -> Iterator[bytes]:
        """Datagrams of any content, or that look like RTP or like a transport stream."""
        for _ in range(most):
            if not self:
                return
            kind = self.number(8)
            if kind == 0:
                yield self.take(self.number(64))
            elif kind <= 3:
                head = bytes((0x80 | self.number(64), self.number(256)))
                numbers = bytes((0, self.number(256))) + bytes(4)
                packet = head + numbers + bytes((0, 0, 0, self.number(3)))
                yield packet + (self.take(self.number(32)) if kind < 3 else self._packets())
            else:
                yield self._packets()

    def _packets(self) -> bytes:
        """Packets of a transport stream, or nearly."""
        found = b""
        for _ in range(self.number(3) + 1):
            head = bytes((0x47, self.number(256), self.number(4), self.number(256)))
            found += (head + self.take(self.number(40))).ljust(188, b"\xff")
        return found + b"\0" * (self.number(16) == 15)

    def runs(self, most: int = 60) -> Iterator[Run]:
        """Runs of these, at times that go on."""
        waiting = b""
        size = 0
        for datagram in self.datagrams(most):
            if waiting and len(datagram) == size and size and self.number(2):
                waiting += datagram
                continue
            if waiting or size:
                yield self.run(waiting, size)
            waiting, size = datagram, len(datagram)
        yield self.run(waiting, size)

    def run(self, data: bytes, size: int) -> Run:
        """One run."""
        return Run(memoryview(data), size, SENDER, self.later())
