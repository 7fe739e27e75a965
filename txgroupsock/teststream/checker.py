"""Checks what arrives of a test stream: loss, order, duplicates, damage, latency, jitter."""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.primitives.run import Run
from txgroupsock.teststream.latencies import Latencies
from txgroupsock.teststream.stream import HEADER, MAGIC, MOST, headOf, layoutOf

_WINDOW: Final = 65536
_HEADER: Final = struct.Struct("!12sQQQ")


@implementer(IRunReceiver)
class StreamReceiver:
    """
    Checks the datagrams of one L{TestStream <txgroupsock.teststream.stream.TestStream>},
    in any order.

    A run in which everything is as expected is looked at as a whole.

    @ivar size: bytes of a datagram.
    @ivar total: datagrams that there will be; 0 if that is not known.
    @ivar first: the first number that counts.
    @ivar next: the number after the highest that came.
    @ivar received: datagrams, each counted once.
    @ivar bytes: of payload, in those.
    @ivar duplicates: datagrams that had been received before, or were so late (65,536
        numbers) that this is no longer known.
    @ivar reordered: datagrams that came after a later one.
    @ivar damaged: datagrams of another size or content than was sent.
    @ivar foreign: datagrams that are not of this stream.
    @ivar giveForeign: called with each of those.
    @ivar jitter: ns, as RFC 3550 section 6.4.1 has it, from the last datagram of one run to that
        of the next: for these the arrival is known.
    """

    def __init__(
        self,
        stream: bytes,
        size: int = 1316,
        total: int = 0,
        first: int = 0,
        clock: Callable[[], int] = time.time_ns,  # noqa: TID251 - what two hosts share
    ) -> None:
        """@param clock: gives ns; since 1970, unless the other end has the same one, too."""
        self.stream = stream
        self.size = size
        self.total = total
        self.first = self.next = first
        self.received = 0
        self.bytes = 0
        self.duplicates = 0
        self.reordered = 0
        self.damaged = 0
        self.foreign = 0
        self.jitter = 0.0
        self.giveForeign: Callable[[bytes], object] = lambda _: None
        self._before = Latencies()  # what was taken
        self._recent = Latencies()
        self._name = MAGIC + stream
        self._head = headOf(stream, total)
        self._filling = bytes(size - HEADER)
        self._has = bytearray(_WINDOW)  # for each of the latest numbers, whether it came
        self._clock = clock
        self._transit: int | None = None  # of the last datagram that jitter was taken from

    @property
    def missing(self) -> int:
        """Datagrams not received although a later one was."""
        return self.next - self.first - self.received

    def lost(self, *, isOver: bool) -> int:
        """
        Datagrams not received although they were sent, as far as that is known.

        @param isOver: whether all of the stream has been sent.
        """
        end = max(self.next, self.total) if isOver else self.next
        return end - self.first - self.received

    @property
    def isAll(self) -> bool:
        """Whether it is known that nothing more is to come."""
        return bool(self.total) and self.received >= self.total - self.first

    @property
    def latencies(self) -> Latencies:
        """Times from sending to receiving, since the beginning."""
        every = Latencies()
        every.addAll(self._before)
        every.addAll(self._recent)
        return every

    def takeLatencies(self) -> Latencies:
        """Those since the last call."""
        taken, self._recent = self._recent, Latencies()
        self._before.addAll(taken)
        return taken

    def runReceived(self, run: Run) -> None:
        """See L{IRunReceiver}."""
        now = self._clock()
        data, size = run.data, run.segmentSize
        if size != self.size or len(data) % size:
            for datagram in run:
                self._take(bytes(datagram), now)
            return
        for at in range(0, len(data), size * MOST):
            part = data[at : at + size * MOST]
            if not self._takeWhole(part, now):
                for start in range(0, len(part), size):
                    self._take(bytes(part[start : start + size]), now)

    def datagramReceived(self, datagram: bytes) -> None:
        """Check one datagram."""
        self._take(datagram, self._clock())

    def _takeWhole(self, data: memoryview, now: int) -> bool:
        """Take datagrams if all of them are the next ones; whether they were."""
        count = len(data) // self.size
        values = layoutOf(self.size, count).unpack(data)
        following = self.next
        if (
            values[1::4] != tuple(range(following, following + count))
            or values[0::4] != (self._head,) * count
            or values[3::4] != (self._filling,) * count
        ):
            return False
        at = following % _WINDOW
        if at + count <= _WINDOW:
            self._has[at : at + count] = b"\1" * count
        else:
            self._mark(following, following + count, 1)
        self.next = following + count
        self.received += count
        self.bytes += len(data)
        times = values[2::4]
        last = times[-1]
        if times.count(last) == count:
            self._recent.add(now - last, count)
        else:
            for sentAt, alike in Counter(times).items():
                self._recent.add(now - sentAt, alike)
        self._timed(now - last)
        return True

    def _take(self, datagram: bytes, now: int) -> None:
        if len(datagram) < HEADER or not datagram.startswith(self._name):
            self.foreign += 1
            self.giveForeign(datagram)
            return
        _, total, number, sentAt = _HEADER.unpack_from(datagram)
        if total != self.total or datagram[HEADER:] != self._filling:
            self.damaged += 1
            return
        if number >= self.next:
            self._mark(max(self.next, number - _WINDOW), number, 0)
            self.next = number + 1
        elif self.next - number > _WINDOW or self._has[number % _WINDOW]:
            self.duplicates += 1
            return
        else:
            self.reordered += 1
            self.first = min(self.first, number)
        self._has[number % _WINDOW] = True
        self.received += 1
        self.bytes += len(datagram)
        self._recent.add(now - sentAt)
        self._timed(now - sentAt)

    def _mark(self, start: int, end: int, value: int) -> None:
        """Note of some numbers, at most so many as the window has, whether they came."""
        while start < end:
            at = start % _WINDOW
            count = min(end - start, _WINDOW - at)
            self._has[at : at + count] = bytes((value,)) * count
            start += count

    def _timed(self, transit: int) -> None:
        """The datagram taken last took so long."""
        if self._transit is not None:
            self.jitter += (abs(transit - self._transit) - self.jitter) / 16
        self._transit = transit

    def toJSON(self, *, isOver: bool) -> dict[str, Any]:
        """By name, as docs/tools.md has it."""
        return {
            "stream": self.stream.hex(),
            "size": self.size,
            "first": self.first,
            "last": self.next - 1,
            "total": self.total or None,
            "received": self.received,
            "bytes": self.bytes,
            "lost": self.lost(isOver=isOver),
            "reordered": self.reordered,
            "duplicates": self.duplicates,
            "damaged": self.damaged,
            "latency": self.latencies.toJSON(),
            "jitter": round(self.jitter / 1e6, 6),
        }
