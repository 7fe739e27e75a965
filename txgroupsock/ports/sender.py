"""Sending datagrams on a non-blocking socket: a bounded queue for when the kernel has no room."""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from attrs import define, field
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger

from txgroupsock.ports.address import checkDestination
from txgroupsock.ports.statistics import PortStatistics
from txgroupsock.primitives import Destination, SocketAddress, TransferError, fromSocketAddress
from txgroupsock.primitives.arguments import explained
from txgroupsock.primitives.checks import wrongKind
from txgroupsock.primitives.destination import WOULD_BLOCK
from txgroupsock.primitives.errors import sendAdvice
from txgroupsock.primitives.run import Run
from txgroupsock.primitives.sockaddr import familyName

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


@define
class _Waiting:
    """
    Datagrams of one size, of which the last may be shorter, and where they go.

    @ivar target: a L{Destination}; or what C{sendto} takes, L{None} for a connected socket's
        peer, and then it is one datagram.
    @ivar count: datagrams left.
    """

    data: bytes | memoryview
    size: int
    target: SocketAddress | Destination | None
    count: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.count = 1 if len(self.data) <= self.size else -(-len(self.data) // self.size)

    def took(self, count: int) -> None:
        """Go on after so many datagrams."""
        if count:
            self.data = self.data[count * self.size :]
            self.count -= count


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
        self._queue: deque[_Waiting] = deque()
        self._queuedBytes = 0
        self._producer: IPushProducer | None = None
        self._wasRefused = False

    def send(self, packet: bytes | memoryview, target: SocketAddress | None) -> None:
        """
        Send a datagram now, or as soon as there is room.

        @param target: L{None} on a connected socket.
        @raise MessageLengthError: it is larger than a datagram can be.
        @raise TransferError: the kernel refuses the request itself (EINVAL, EACCES, ...).
        """
        if self._queue:
            self._enqueue(_Waiting(packet, len(packet), target))
            return
        try:
            self._sendNow(packet, target)
        except OSError as error:
            self._failed(packet, target, error)
        finally:
            if self._wasRefused:
                self._tellRefused()

    def _failed(
        self, packet: bytes | memoryview, target: SocketAddress | None, error: OSError
    ) -> None:
        if error.errno in WOULD_BLOCK:
            self._enqueue(_Waiting(packet, len(packet), target))
            return
        self._dropped(error.errno)
        if error.errno == errno.EMSGSIZE:
            raise MessageLengthError(f"{len(packet)} bytes") from error
        if error.errno not in NETWORK_ERRORS:
            raise _explained(packet, target, error) from error
        self._logFirst(packet, target, error)

    def sendRun(self, data: bytes | memoryview, size: int, destination: Destination) -> None:
        """
        Send datagrams of one size now, or as soon as there is room.

        What becomes of each is counted, here and in C{destination.statistics}.
        """
        waiting = _Waiting(data, size, destination)
        if not self._queue:
            self._sendSome(waiting)
        if waiting.count:
            self._enqueue(waiting)

    def flush(self) -> bool:
        """
        Send what waits, as far as there is room; whether nothing waits any longer.

        Raises nothing: who wrote a datagram that is refused now has long gone on.
        """
        while self._queue:
            first = self._queue[0]
            before = (first.count, len(first.data))
            if isinstance(first.target, Destination):
                self._sendSome(first)
            else:
                self._sendOne(first)
            self._statistics.datagramsQueued -= before[0] - first.count
            self._queuedBytes -= before[1] - len(first.data)
            if not first.count:
                self._queue.popleft()
            if self._wasRefused:
                self._tellRefused()
            if first.count:
                return False
        if self._producer is not None:
            self._producer.resumeProducing()
        return True

    def registerProducer(self, producer: IPushProducer) -> None:
        """Pause a producer while anything waits."""
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is registered already")
        self._producer = producer
        if self._queue:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """Leave the producer alone from now on."""
        self._producer = None

    def close(self) -> None:
        """Send nothing more; what still waits is counted as dropped."""
        for each in self._queue:
            self._statistics.datagramsDropped += each.count
            if isinstance(each.target, Destination):
                each.target.dropped(each.count, errno.EAGAIN)
        self._statistics.datagramsQueued = 0
        self._queue.clear()
        self._queuedBytes = 0

    def _sendOne(self, waiting: _Waiting) -> None:
        """Send a datagram that was written before there was room, if there is now."""
        target = waiting.target
        if isinstance(target, Destination):
            return
        try:
            self._sendNow(waiting.data, target)
        except OSError as error:
            if error.errno in WOULD_BLOCK:
                return
            self._dropped(error.errno)
            self._logFirst(waiting.data, target, error)
        waiting.took(1)

    def _sendSome(self, waiting: _Waiting) -> None:
        """Send as much of a run as there is room for."""
        destination = waiting.target
        if not isinstance(destination, Destination):
            return
        mine, its = self._statistics, destination.statistics
        sent, size, dropped = its.datagramsSent, its.bytesSent, its.datagramsDropped
        waiting.took(destination.sendRun(self._socket, waiting.data, waiting.size))
        mine.datagramsSent += its.datagramsSent - sent
        mine.bytesSent += its.bytesSent - size
        mine.datagramsDropped += its.datagramsDropped - dropped

    def _sendNow(self, packet: bytes | memoryview, target: SocketAddress | None) -> None:
        if target is not None:
            self._socket.sendto(packet, target)
        else:
            self._sendToPeer(packet)
        self._statistics.datagramsSent += 1
        self._statistics.bytesSent += len(packet)

    def _sendToPeer(self, packet: bytes | memoryview) -> None:
        """
        Send on a connected socket, where an ICMP error about an earlier datagram, whatever its
        errno (EACCES too: RFC 4443 section 3.1), takes the place of one attempt.

        Who is to be told of it may do anything, so that comes once the queue is in order.
        """
        try:
            self._socket.send(packet)
        except OSError as error:
            if error.errno in WOULD_BLOCK:
                raise
            if error.errno == errno.ECONNREFUSED:
                self._wasRefused = True
            self._socket.send(packet)

    def _tellRefused(self) -> None:
        self._wasRefused = False
        self._refused()

    def _enqueue(self, waiting: _Waiting) -> None:
        count, size = waiting.count, len(waiting.data)
        isFull = self._statistics.datagramsQueued + count > self.maxDatagrams
        if isFull or self._queuedBytes + size > self.maxBytes:
            self._dropped(errno.EAGAIN, count)
            if isinstance(waiting.target, Destination):
                waiting.target.dropped(count, errno.EAGAIN)
            return
        waiting.data = bytes(memoryview(waiting.data))  # what was given may have been lent only
        self._queue.append(waiting)
        self._queuedBytes += size
        self._statistics.datagramsQueued += count
        if len(self._queue) == 1:
            self._waiting()
            if self._producer is not None:
                self._producer.pauseProducing()

    def _dropped(self, number: int | None, count: int = 1) -> None:
        self._statistics.datagramsDropped += count
        self._statistics.sendErrors[number or 0] += count

    def _logFirst(
        self, packet: bytes | memoryview, target: SocketAddress | None, error: OSError
    ) -> None:
        if self._statistics.sendErrors[error.errno or 0] == 1:
            self._log.warn("{error}", error=_explained(packet, target, error))


class SendingTransport:
    """The sending half of a port."""

    reactor: Any
    addressFamily: int
    _sender: DatagramSender
    _peer: tuple[tuple[str, int], ...]

    def write(self, packet: bytes, addr: SocketAddress | None = None) -> None:
        """
        Send a datagram, at once if the kernel has room and as soon as it has if not.

        What the network does to it (no route, nobody there, a full queue, a firewall) is
        counted in C{statistics} and never raised.

        @param addr: C{(host, port)} with a literal address; L{None} on a connected port.
        @raise MessageLengthError: it is larger than a datagram can be.
        @raise InvalidAddressError: it is not a literal address of this port's family and a port.
        @raise UnknownInterface: the scope of the host names no interface.
        @raise TransferError: the kernel refuses the request itself.
        """
        target = self._target(addr)
        try:
            self._sender.send(packet, target)
        except TypeError as error:
            raise explained(error, SendingTransport.write, packet=packet) from None

    def writeSequence(self, seq: Iterable[bytes], addr: SocketAddress | None = None) -> None:
        """Send one datagram made of several pieces; see L{write}."""
        try:
            packet = b"".join(seq)
        except TypeError:
            raise wrongKind("seq", seq, "a list of bytes") from None
        self.write(packet, addr)

    def writeTo(self, datagram: bytes | memoryview, *destinations: Destination) -> None:
        """See L{IRunTransport}."""
        try:
            for destination in destinations:
                self._sender.sendRun(datagram, len(datagram), self._checked(destination))
        except TypeError as error:
            raise explained(error, SendingTransport.writeTo, datagram=datagram) from None

    def writeRun(self, run: Run, *destinations: Destination) -> None:
        """See L{IRunTransport}."""
        try:
            data, size = run.data, run.segmentSize
            for destination in destinations:
                self._sender.sendRun(data, size, self._checked(destination))
        except (AttributeError, TypeError) as error:
            raise explained(error, SendingTransport.writeRun, run=run) from None

    def _checked(self, destination: Destination) -> Destination:
        if not isinstance(destination, Destination):
            raise wrongKind("destination", destination, "a Destination")
        if destination.family != self.addressFamily:
            raise ValueError(
                f"{destination} is not {familyName(self.addressFamily)}, which this port is"
            )
        return destination

    # Positional, as in Twisted's IConsumer.
    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:  # noqa: FBT001
        """See L{IRunTransport}."""
        if not streaming:
            raise ValueError("only a streaming producer (IPushProducer) can be paused")
        if not hasattr(producer, "pauseProducing"):
            raise wrongKind("producer", producer, "an object that provides IPushProducer")
        self._sender.registerProducer(producer)

    def unregisterProducer(self) -> None:
        """See L{IRunTransport}."""
        self._sender.unregisterProducer()

    def doWrite(self) -> None:
        """Send what has been waiting for room."""
        if self._sender.flush():
            self.reactor.removeWriter(self)

    def _target(self, addr: SocketAddress | None) -> SocketAddress | None:
        """What to hand the kernel for an address; L{None} on a connected port."""
        if self._peer:
            if addr is not None and addr not in self._peer and not self._isPeer(addr):
                raise ValueError(
                    f"this port is connected to {self._peer[0]} and cannot write to {addr}"
                )
            return None
        if addr is None:
            raise ValueError("write() needs an address: this port is not connected")
        return checkDestination(addr, self.addressFamily)

    def _isPeer(self, addr: SocketAddress) -> bool:
        """Whether an address is the peer's, however it is written."""
        return fromSocketAddress(checkDestination(addr, self.addressFamily)) in self._peer


def _explained(
    packet: bytes | memoryview, target: SocketAddress | None, error: OSError
) -> TransferError:
    where = f" to {target[0]}" if target else ""
    return TransferError(error.errno, f"send {len(packet)} bytes{where}", sendAdvice(error.errno))
