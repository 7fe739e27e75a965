"""
A stream whose every datagram can be accounted for, and that is made a run at a time.

A datagram has a header and zeros up to its size.  The header, in network byte order:

    magic "txgs" | stream, 8 bytes | total, 64 bits | number, 64 bits | time sent, 64 bits

The stream is random, so that two are told apart; the total is how many datagrams there will be, 0
if that is not known; numbers count from 0; the time is in ns since 1970.
"""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

HEADER: Final = 36
"""Bytes of the header."""

MAGIC: Final = b"txgs"
LARGEST: Final = 65507
"""Bytes of the largest datagram (UDP over IPv4)."""

MOST: Final = 64
"""Datagrams that are made, or looked at, as one."""

_HEAD: Final = struct.Struct("!4s8sQ")


def headOf(stream: bytes, total: int) -> bytes:
    """What all headers of a stream begin with."""
    return _HEAD.pack(MAGIC, stream, total)


@lru_cache(maxsize=256)
def layoutOf(size: int, count: int) -> struct.Struct:
    """
    So many datagrams of a size in a row: of each the beginning of its header, its number, its time
    and what is behind its header.
    """
    return struct.Struct("!" + f"20sQQ{size - HEADER}s" * count)


class TestStream:
    """
    A source of numbered datagrams at a steady rate, for a L{Player
    <txgroupsock.teststream.player.Player>}.

    @ivar stream: eight random bytes in every datagram.
    @ivar sent: datagrams made; the next one's number.
    @ivar total: how many there will be; 0 for any number.
    """

    __test__ = False  # pytest takes it for a test otherwise

    def __init__(
        self,
        rate: float = 1000.0,
        size: int = 1316,
        total: int = 0,
        clock: Callable[[], int] = time.time_ns,  # noqa: TID251 - what two hosts share
    ) -> None:
        """
        @param rate: datagrams per second.
        @param size: bytes of each; at least L{HEADER}.  1,316 is seven MPEG-TS packets.
        @param clock: gives ns; since 1970, unless the other end has the same one, too.
        """
        if not HEADER <= size <= LARGEST:
            raise ValueError(
                f"a test datagram has at least {HEADER} bytes and at most {LARGEST}, not {size}"
            )
        self.stream = secrets.token_bytes(8)
        self.sent = 0
        self.total = total
        self.size = size
        self._rate = rate
        self._clock = clock
        self._head = headOf(self.stream, total)
        self._filling = bytes(size - HEADER)
        self._most = max(1, min(MOST, LARGEST // size))

    @property
    def nextAt(self) -> float | None:
        """When the next one is due, in seconds from the beginning; L{None} after the last."""
        if self.total and self.sent >= self.total:
            return None
        return self.sent / self._rate

    @property
    def progress(self) -> float | None:
        """How much of it has been sent, 0 to 1; L{None} if it has no end."""
        return self.sent / self.total if self.total else None

    def take(self, until: float) -> Iterator[tuple[memoryview, int]]:
        """The datagrams that are due up to a time: runs, each with the size of a datagram."""
        # Numbers are compared, and a product may be a little less than what was divided.
        due = int(until * self._rate + 1e-6) + 1
        if self.total:
            due = min(due, self.total)
        while self.sent < due:
            count = min(due - self.sent, self._most)
            yield memoryview(self._made(count)), self.size

    def _made(self, count: int) -> bytes:
        values: list[object] = [self._head, 0, self._clock(), self._filling] * count
        values[1::4] = range(self.sent, self.sent + count)
        self.sent += count
        return layoutOf(self.size, count).pack(*values)
