"""
A flow: a socket connected to one destination, for a stream that always goes there.

What a L{Destination} sends with each message is here set once on the socket, and the kernel keeps
the route.  So a call has only the payload to hand over: 3.1 µs for a run of five datagrams of
1,316 bytes, where C{sendmsg} with an address and ancillary data takes 4.4 to 5.1.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from typing import Final

from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.buffers import BufferSize, increaseSendBufferTo
from txgroupsock.primitives.constants import (
    IP_RECVERR,
    IP_UNICAST_IF,
    IPV6_RECVERR,
    IPV6_UNICAST_IF,
    UDP_SEGMENT,
    required,
)
from txgroupsock.primitives.destination import Destination
from txgroupsock.primitives.environment import Environment
from txgroupsock.primitives.errors import SocketOptionError, TransferError, sendAdvice
from txgroupsock.primitives.networkinterface import interfaceName
from txgroupsock.primitives.options import (
    bindToDevice,
    setMulticastInterface,
    setMulticastTTL,
    settingOption,
)
from txgroupsock.primitives.segmentation import CANNOT_SEGMENT, Segmentation
from txgroupsock.primitives.sockaddr import (
    describe,
    fromSocketAddress,
    isMulticast,
    protocolLevel,
)
from txgroupsock.primitives.sockets import setupDatagramSocket

SEND_BUFFER: Final = 1024 * 1024
"""Bytes: for bursts that leave faster than the interface takes them."""

# What an ICMP message about earlier datagrams leaves on the socket, for the next call to return
# without sending anything (udp(7)).
_ECHOES: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.EHOSTUNREACH,
        errno.EHOSTDOWN,
        errno.ENETUNREACH,
        errno.ENOPROTOOPT,
        errno.EMSGSIZE,
        errno.EOPNOTSUPP,
        errno.EPROTO,
    }
)
_MOST_ECHOES: Final = 2


class Flow:
    """
    Sends runs to one destination by a socket of its own.

    Nothing that the network does is raised by L{sendRun}: it is counted in the destination's
    C{statistics}.  An error that comes back from there (ICMP) costs no datagram, since what it
    kept from being sent is sent again; and a full interface queue is told and counted
    (IP_RECVERR), where Linux otherwise drops without a word.

    @ivar destination: where it sends (L{Destination}).
    @ivar port: the local port that it has or had last; 0 if none.
    @ivar buffer: the send buffer that was asked for and granted; L{None} until it is open.
    @ivar heardBack: called with the errno of an error that came back from there, while a run is
        sent.
    """

    @checked
    def __init__(self, destination: Destination, port: int = 0) -> None:
        """@param port: the local port to have if it is free."""
        self.destination = destination
        self.buffer: BufferSize | None = None
        self.heardBack: Callable[[int], object] = _ignore
        self._segmentation = Segmentation()
        self._send: Callable[[memoryview], int] = _sendWhenClosed
        self._socket: socket.socket | None = None
        self.port = port
        self._size = 0  # what UDP_SEGMENT is set to; 0 is off
        self._room = 0  # bytes that one call then takes

    @property
    def isOpen(self) -> bool:
        """Whether it has a socket."""
        return self._socket is not None

    @property
    def localAddress(self) -> tuple[str, int] | None:
        """The C{(host, port)} that receivers see as the sender; L{None} when closed."""
        return None if self._socket is None else fromSocketAddress(self._socket.getsockname())

    def open(self) -> None:
        """
        Open the socket; one that was open before is replaced, and its port kept if it is free.

        What was decided then, such as the source address that the kernel chose, is decided anew.

        @raise SocketSetupError: it could not be had, or the source is no address of this host.
        @raise SocketOptionError: an option was refused.
        @raise TransferError: no route leads to the destination.
        """
        self.close()
        try:
            sock = self._opened(self.port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            sock = self._opened(0)
        self.port = sock.getsockname()[1]
        self._socket, self._send = sock, sock.send
        self._size = self._room = 0

    def close(self) -> None:
        """Close the socket; what is sent from then on is dropped and counted as EBADF."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._send = _sendWhenClosed

    def sendRun(self, data: memoryview, size: int) -> None:
        """
        Send a run: datagrams of one size, of which the last may be shorter.

        @param size: bytes of each but the last; 0 for one empty datagram.
        """
        length = len(data)
        if length > size:
            isReady = size == self._size and length <= self._room
        else:
            isReady = length <= self._size or not self._size
        if not isReady:
            self._sendInPieces(data, size)
            return
        try:
            self._send(data)
        except OSError as error:
            self._sendAgain(data, size, error.errno)
        else:
            self._sent(length, size)

    def _sendInPieces(self, data: memoryview, size: int) -> None:
        """Send with each call as much as the kernel and the path can cut up."""
        at, length = 0, len(data)
        while True:
            part = data[at : at + self._nextCall(size, length - at)]
            try:
                self._send(part)
            except OSError as error:
                self._sendAgain(part, size, error.errno)
            else:
                self._sent(len(part), size)
            at += len(part)
            if at >= length:
                return

    def _nextCall(self, size: int, rest: int) -> int:
        """How much the next call is to send, with the socket set so that it is cut up rightly."""
        room = rest
        if rest > size:
            room = self._segmentation.bytesPerCall(size)
            if room > size and self._canSegment(size):
                self._room = room
                return min(room, rest)
            room = size
            self._segmentation.sentAlone()
        if 0 < self._size < room:
            self._setSegment(0)
        return room

    def _sendAgain(self, part: memoryview, size: int, number: int | None) -> None:
        """A call failed with an errno; do what can be done about it, or drop and count."""
        statistics = self.destination.statistics
        if self._size and number in CANNOT_SEGMENT:
            self._segmentation.refused(self._size)
            statistics.segmentationRefused = number
            self._setSegment(0)
            self._sendInPieces(part, size)
            return
        echoes: list[int] = []
        while number in _ECHOES and len(echoes) < _MOST_ECHOES:
            echoes.append(number)
            try:
                self._send(part)
            except OSError as error:
                number = error.errno
            else:
                statistics.reported.update(echoes)
                self._sent(len(part), size)
                self.heardBack(echoes[-1])
                return
        # What the last try failed with is why; if it was the same before, that was no echo.
        statistics.reported.update(each for each in echoes if each != number)
        count = -(-len(part) // size) if len(part) > size else 1
        self.destination.dropped(count, number)

    def _sent(self, length: int, size: int) -> None:
        statistics = self.destination.statistics
        statistics.bytesSent += length
        if length > size:
            count = -(-length // size)
            statistics.datagramsSent += count
            statistics.datagramsSegmented += count
            statistics.segmentationRefused = None
        else:
            statistics.datagramsSent += 1

    def _canSegment(self, size: int) -> bool:
        if size != self._size:
            try:
                self._setSegment(size)
            except OSError as error:  # Linux before 4.18
                self._segmentation.refused(size)
                self.destination.statistics.segmentationRefused = error.errno
                return False
        return True

    def _setSegment(self, size: int) -> None:
        if self._socket is not None:
            kind = required(UDP_SEGMENT, "UDP_SEGMENT")
            self._socket.setsockopt(socket.IPPROTO_UDP, kind, size)
        self._size = size

    def _opened(self, port: int) -> socket.socket:
        there = self.destination
        env = Environment(reuseFlag=False)
        sock = setupDatagramSocket(env, port, there.family, bindAddress=there.source)
        try:
            sock.setblocking(False)
            self._configure(sock)
            try:
                sock.connect(there.target)
            except OSError as error:
                raise TransferError(
                    error.errno, f"send to {describe(there.target)}", sendAdvice(error.errno)
                ) from error
        except BaseException:
            sock.close()
            raise
        return sock

    def _configure(self, sock: socket.socket) -> None:
        there = self.destination
        v4 = there.family == socket.AF_INET
        isGroup = isMulticast(there.address)
        level = protocolLevel(there.family)
        with settingOption(f"prepare a socket that sends to {describe(there.target)}"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            # Nobody reads it: let what is sent there, and reports, take up next to no memory.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
            if there.ttl is not None and not isGroup:
                hops = socket.IP_TTL if v4 else socket.IPV6_UNICAST_HOPS
                sock.setsockopt(level, hops, there.ttl)
            if there.dscp is not None:
                tos = socket.IP_TOS if v4 else socket.IPV6_TCLASS
                sock.setsockopt(level, tos, there.dscp << 2)
            report = IP_RECVERR if v4 else IPV6_RECVERR
            if report is not None:
                sock.setsockopt(level, report, 1)
            if there.interface and not isGroup:
                option = required(IP_UNICAST_IF if v4 else IPV6_UNICAST_IF, "IP_UNICAST_IF")
                sock.setsockopt(level, option, struct.pack("!I", there.interface))
        if there.interface and not isGroup and not v4:
            _keepTo(sock, there.interface)
        if isGroup and there.ttl is not None:
            setMulticastTTL(sock, there.ttl)
        if isGroup and there.interface:
            setMulticastInterface(sock, there.interface)
        self.buffer = increaseSendBufferTo(sock, SEND_BUFFER, force=True)


def _keepTo(sock: socket.socket, interface: int) -> None:
    """
    Have IPv6 leave by one interface, whatever the routes say.

    IPV6_UNICAST_IF is only a wish once the source address is settled: then Linux prefers a route
    with a longer prefix that leads elsewhere.
    """
    try:
        bindToDevice(sock, interfaceName(interface))
    except SocketOptionError as error:
        if error.errno != errno.EPERM:  # Linux before 5.7, not as root: the wish has to do
            raise


def _ignore(number: int) -> None:
    pass


def _sendWhenClosed(data: memoryview) -> int:
    raise OSError(errno.EBADF, "the flow is closed")
