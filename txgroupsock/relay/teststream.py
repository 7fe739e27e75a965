"""A stream whose every datagram can be accounted for: a sender, and a receiver that checks it."""

from __future__ import annotations

import secrets
import struct
import time
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.task import LoopingCall

# magic, stream (random, so that two streams are told apart), sequence number, time sent in ns
_HEADER = struct.Struct("!4s8sQQ")
_MAGIC = b"txgs"
_TICK = 0.005
_MOST_PER_TICK = 50
_WINDOW = 65536


class StreamSender:
    """
    Sends numbered datagrams at a steady rate.

    @ivar stream: eight random bytes in every datagram.
    @ivar sent: datagrams sent; the next one's number.
    """

    def __init__(
        self, reactor: Any, send: Callable[[bytes], None], rate: float = 1000.0, size: int = 1316
    ) -> None:
        """
        @param send: takes each datagram.
        @param rate: datagrams per second; at most 10,000.
        @param size: bytes of each; at least 28.  1,316 is seven MPEG-TS packets.
        """
        if size < _HEADER.size:
            raise ValueError(f"a test datagram has at least {_HEADER.size} bytes, not {size}")
        self.stream = secrets.token_bytes(8)
        self.sent = 0
        self._reactor = reactor
        self._send = send
        self._rate = rate
        self._filling = bytes(size - _HEADER.size)
        self._began = 0.0
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = reactor

    def start(self) -> None:
        """Send from now on."""
        self._began = self._reactor.seconds()
        self._ticking.start(_TICK)

    def stop(self) -> None:
        """Send no more."""
        if self._ticking.running:
            self._ticking.stop()

    def _tick(self) -> None:
        most = self.sent + _MOST_PER_TICK
        due = int((self._reactor.seconds() - self._began) * self._rate)
        # Held up itself, it catches up in steps that any receive buffer has room for.
        while self.sent < min(due, most):
            header = _HEADER.pack(_MAGIC, self.stream, self.sent, time.monotonic_ns())
            self.sent += 1
            self._send(header + self._filling)


@define
class Latencies:
    """Times from sending to receiving, in seconds."""

    count: int = 0
    total: float = 0.0
    most: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.count += 1
        self.total += seconds
        self.most = max(self.most, seconds)

    def __str__(self) -> str:
        if not self.count:
            return "latency unknown"
        mean = self.total / self.count
        return f"latency {mean * 1000:.2f} ms (at most {self.most * 1000:.2f})"


class StreamReceiver:
    """
    Checks the datagrams of one L{StreamSender}, in any order.

    @ivar received: datagrams, each counted once.
    @ivar bytes: of payload, in those.
    @ivar duplicates: datagrams that had been received before, or were so late (65,536
        numbers) that this is no longer known.
    @ivar reordered: datagrams that came after a later one.
    @ivar damaged: datagrams of another size or content than was sent.
    @ivar foreign: datagrams that are not of this stream.
    @ivar latencies: since the beginning; see also L{takeLatencies}.
    """

    def __init__(self, stream: bytes, size: int = 1316) -> None:
        self.received = 0
        self.bytes = 0
        self.duplicates = 0
        self.reordered = 0
        self.damaged = 0
        self.foreign = 0
        self.latencies = Latencies()
        self._recent = Latencies()
        self._stream = stream
        self._filling = bytes(size - _HEADER.size)
        self._next = 0
        self._has = bytearray(_WINDOW)  # for each of the latest numbers, whether it came

    @property
    def missing(self) -> int:
        """Datagrams not received although a later one was."""
        return self._next - self.received

    def takeLatencies(self) -> Latencies:
        """Those since the last call."""
        taken, self._recent = self._recent, Latencies()
        return taken

    def datagramReceived(self, datagram: bytes) -> None:
        """Check one datagram."""
        if len(datagram) < _HEADER.size:
            self.foreign += 1
            return
        magic, stream, number, sentAt = _HEADER.unpack_from(datagram)
        if magic != _MAGIC or stream != self._stream:
            self.foreign += 1
            return
        if datagram[_HEADER.size :] != self._filling:
            self.damaged += 1
            return
        if number >= self._next:
            for skipped in range(max(self._next, number - _WINDOW), number):
                self._has[skipped % _WINDOW] = False
            self._next = number + 1
        elif self._next - number > _WINDOW or self._has[number % _WINDOW]:
            self.duplicates += 1
            return
        else:
            self.reordered += 1
        self._has[number % _WINDOW] = True
        self.received += 1
        self.bytes += len(datagram)
        latency = (time.monotonic_ns() - sentAt) / 1e9
        self.latencies.add(latency)
        self._recent.add(latency)
