"""Sending datagrams on a non-blocking socket: a bounded queue for when the kernel has no room."""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable
from typing import ClassVar

from twisted.internet.error import MessageLengthError
from twisted.logger import Logger

from txgroupsock.ports.statistics import PortStatistics
from txgroupsock.primitives import SocketAddress, TransferError
from txgroupsock.primitives.errors import sendAdvice

# What the network, not the caller, did to a datagram: counted, never raised.
NETWORK_ERRORS = frozenset(
    {
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ENODEV,
        errno.ENXIO,
        errno.EPERM,  # a firewall
        errno.EADDRNOTAVAIL,  # the interface has lost its address
    }
)
WOULD_BLOCK = frozenset({errno.EAGAIN, errno.EWOULDBLOCK})


class DatagramSender:
    """
    Sends datagrams in the order given, and counts what becomes of each.

    EAGAIN means that the socket's buffer is full: the datagram waits, and those after it.
    ENOBUFS means that the interface's queue is: the kernel tells nobody when that has
    room again, so the datagram is dropped and counted, as a router would.

    @cvar maxBytes: most bytes that wait.
    @cvar maxDatagrams: most datagrams that do.
    """

    maxBytes: ClassVar[int] = 1024 * 1024
    maxDatagrams: ClassVar[int] = 1024

    _log = Logger()

    def __init__(
        self,
        sock: socket.socket,
        statistics: PortStatistics,
        waiting: Callable[[], None],
        refused: Callable[[], None],
    ) -> None:
        """
        @param waiting: called when the first datagram has to wait; L{flush} is then to be
            called when the socket is writable.
        @param refused: called when the peer of a connected socket is not listening.
        """
        self._socket = sock
        self._statistics = statistics
        self._waiting = waiting
        self._refused = refused
        self._queue: deque[tuple[bytes, SocketAddress | None]] = deque()
        self._queuedBytes = 0

    def send(self, packet: bytes, target: SocketAddress | None) -> None:
        """
        Send a datagram now, or as soon as there is room.

        @param target: L{None} on a connected socket.
        @raise MessageLengthError: it is larger than a datagram can be.
        @raise TransferError: the kernel refuses the request itself (EINVAL, EACCES, ...).
        """
        if self._queue:
            self._enqueue(packet, target)
            return
        try:
            self._sendNow(packet, target)
        except OSError as error:
            if error.errno in WOULD_BLOCK:
                self._enqueue(packet, target)
                return
            self._dropped(error.errno)
            if error.errno == errno.EMSGSIZE:
                raise MessageLengthError(f"{len(packet)} bytes") from error
            if error.errno not in NETWORK_ERRORS:
                raise _explained(packet, target, error) from error
            self._logFirst(packet, target, error)

    def flush(self) -> bool:
        """
        Send what waits, as far as there is room; whether nothing waits any longer.

        Raises nothing: who wrote a datagram that is refused now has long gone on.
        """
        while self._queue:
            packet, target = self._queue[0]
            try:
                self._sendNow(packet, target)
            except OSError as error:
                if error.errno in WOULD_BLOCK:
                    return False
                self._dropped(error.errno)
                self._logFirst(packet, target, error)
            self._queue.popleft()
            self._queuedBytes -= len(packet)
            self._statistics.datagramsQueued -= 1
        return True

    def close(self) -> None:
        """Send nothing more; what still waits is counted as dropped."""
        self._statistics.datagramsDropped += len(self._queue)
        self._statistics.datagramsQueued -= len(self._queue)
        self._queue.clear()
        self._queuedBytes = 0

    def _sendNow(self, packet: bytes, target: SocketAddress | None) -> None:
        if target is not None:
            self._socket.sendto(packet, target)
        else:
            self._sendToPeer(packet)
        self._statistics.datagramsSent += 1
        self._statistics.bytesSent += len(packet)

    def _sendToPeer(self, packet: bytes) -> None:
        """
        Send on a connected socket, where an ICMP error about an earlier datagram, whatever its
        errno (EACCES too: RFC 4443 section 3.1), takes the place of one attempt.
        """
        try:
            self._socket.send(packet)
        except OSError as error:
            if error.errno in WOULD_BLOCK:
                raise
            if error.errno == errno.ECONNREFUSED:
                self._refused()
            self._socket.send(packet)

    def _enqueue(self, packet: bytes, target: SocketAddress | None) -> None:
        if len(self._queue) >= self.maxDatagrams or self._queuedBytes + len(packet) > self.maxBytes:
            self._dropped(errno.EAGAIN)
            return
        self._queue.append((bytes(packet), target))
        self._queuedBytes += len(packet)
        self._statistics.datagramsQueued += 1
        if len(self._queue) == 1:
            self._waiting()

    def _dropped(self, number: int | None) -> None:
        self._statistics.datagramsDropped += 1
        self._statistics.sendErrors[number or 0] += 1

    def _logFirst(self, packet: bytes, target: SocketAddress | None, error: OSError) -> None:
        if self._statistics.sendErrors[error.errno or 0] == 1:
            self._log.warn("{error}", error=_explained(packet, target, error))


def _explained(packet: bytes, target: SocketAddress | None, error: OSError) -> TransferError:
    where = f" to {target[0]}" if target else ""
    return TransferError(error.errno, f"send {len(packet)} bytes{where}", sendAdvice(error.errno))
