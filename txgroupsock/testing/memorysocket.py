"""A UDP socket that exists in memory only: what L{socket.socket} is to the ports and primitives."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from txgroupsock.primitives import constants
from txgroupsock.primitives.ancillary import Ancillary
from txgroupsock.primitives.sockaddr import (
    IPAddress,
    SocketAddress,
    isMulticast,
    protocolLevel,
    scopeIndex,
    wildcard,
    withoutScope,
)
from txgroupsock.testing.grouptable import GroupTable, refusal
from txgroupsock.testing.socketoptions import SocketOptions

if TYPE_CHECKING:
    from txgroupsock.testing.host import MemoryHost

BROADCAST = ipaddress.IPv4Address("255.255.255.255")
_LARGEST = {socket.AF_INET: 65507, socket.AF_INET6: 65527}
_ICMP = 2  # SO_EE_ORIGIN_ICMP, linux/errqueue.h


@frozen
class Received:
    """
    A datagram in a receive buffer.

    @ivar sender: as C{recvfrom} gives it.
    @ivar interface: index of the interface that it came by.
    @ivar time: when it came, in seconds of the reactor's clock.
    """

    payload: bytes
    sender: SocketAddress
    destination: IPAddress
    interface: int
    time: float


class MemorySocket:
    """
    A UDP socket of a L{MemoryHost <txgroupsock.testing.MemoryHost>}.  It never waits.

    @ivar family: C{AF_INET} or C{AF_INET6}.
    @ivar type: C{SOCK_DGRAM}.
    @ivar sendRoom: how many more datagrams its send buffer takes before EAGAIN; L{None}
        (at first): any number.  Set it to 0 to fill the buffer, and to something else to drain it.
    @ivar memberships: the groups it has joined.
    """

    proto = socket.IPPROTO_UDP
    type = socket.SOCK_DGRAM

    def __init__(self, host: MemoryHost, family: int) -> None:
        self.family = socket.AddressFamily(family)
        self.host = host
        self.sendRoom: int | None = None
        self.options = SocketOptions(self.family)
        self.memberships = GroupTable(self.family, host.deviceFor)
        self._fileno = host.network.register(self)
        self._address = wildcard(self.family)
        self._port = 0
        self._isAddressSet = False
        self._peer: tuple[IPAddress, int, int] | None = None
        self._received: deque[Received] = deque()
        self._drops = 0
        self._pending = 0
        self._reports: deque[tuple[int, SocketAddress]] = deque()
        self._sendFailures: deque[int] = deque()
        self._receiveFailures: deque[int] = deque()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.host} on {self.getsockname()}>"

    # Faults

    def failSends(self, *numbers: int) -> None:
        """Have the next sends fail, each with one of these errnos."""
        self._sendFailures.extend(numbers)

    def failReceives(self, *numbers: int) -> None:
        """Have the next receives fail, each with one of these errnos, before what has arrived."""
        self._receiveFailures.extend(numbers)

    # Life

    def fileno(self) -> int:
        """A number that the reactor of its network knows, and the kernel does not; -1 if closed."""
        return self._fileno

    def close(self) -> None:
        """Leave every group, give the port back, and forget what has arrived."""
        if self._fileno >= 0:
            self.host.network.unregister(self)
            self._fileno = -1
            self.memberships.clear()
            self._received.clear()

    def __enter__(self) -> MemorySocket:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - as socket.socket has it
        """Nothing: it never waits."""

    def settimeout(self, seconds: float | None) -> None:
        """Nothing: it never waits."""

    # Addresses

    def bind(self, address: Sequence[Any]) -> None:
        """See C{bind(2)}: EINVAL, EADDRNOTAVAIL, EADDRINUSE."""
        self._checkOpen()
        host, port, scope = self._parse(address)
        if self._port:
            raise refusal(errno.EINVAL)
        needsScope = host.version == 6 and host.is_link_local
        if needsScope and not scope:
            raise refusal(errno.EINVAL)
        if not (host.is_unspecified or isMulticast(host) or self.host.has(host)):
            raise refusal(errno.EADDRNOTAVAIL)
        self._port = self.host.claimPort(self, host, port)
        self._address = host
        self._isAddressSet = not host.is_unspecified

    def connect(self, address: Sequence[Any]) -> None:
        """See C{connect(2)}: ENETUNREACH."""
        self._checkOpen()
        host, port, scope = self._parse(address)
        interface, source = self.host.route(self, host, scope)
        self._bindIfUnbound()
        self._peer = (host, port, scope or (interface if host.is_link_local else 0))
        if not self._isAddressSet:
            self._address = source

    def getsockname(self) -> SocketAddress:
        """Where it is bound to; of a connected one, what it sends from."""
        self._checkOpen()
        scope = self.host.scopeOf(self._address)
        return _sockaddr(self._address, self._port, scope)

    def getpeername(self) -> SocketAddress:
        """Where it is connected to."""
        self._checkOpen()
        if self._peer is None:
            raise refusal(errno.ENOTCONN)
        return _sockaddr(*self._peer)

    @property
    def port(self) -> int:
        """The port that it is bound to; 0 if none."""
        return self._port

    @property
    def address(self) -> IPAddress:
        """The address that it is bound to."""
        return self._address

    # Options

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """See C{setsockopt(2)}; ENOPROTOOPT for what nothing here knows."""
        self._checkOpen()
        isOfFamily = level == protocolLevel(self.family)
        if isOfFamily and isinstance(value, bytes) and self.memberships.setOption(option, value):
            return
        self.options.set(level, option, value)

    def getsockopt(self, level: int, option: int, buffer: int | bytearray = 0) -> Any:
        """
        See C{getsockopt(2)}.

        @param buffer: how many bytes are wanted, instead of an integer; or, for
            MCAST_MSFILTER, what the kernel would read the question from and write the answer to.
        """
        self._checkOpen()
        if isinstance(buffer, bytearray):
            self.memberships.readFilter(buffer)
            return None
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            pending, self._pending = self._pending, 0
            return pending
        if (level, option) == (socket.SOL_SOCKET, constants.SO_MEMINFO):
            return struct.pack("@9I", *([0] * 8), self._drops)
        return self.options.get(level, option, buffer)

    # Sending

    def send(self, data: Any, flags: int = 0) -> int:
        """See C{send(2)}: EDESTADDRREQ if it is not connected."""
        return self.sendmsg([data], (), flags)

    def sendto(self, data: Any, *flagsAndAddress: Any) -> int:
        """See C{sendto(2)}."""
        return self.sendmsg([data], (), 0, flagsAndAddress[-1])

    def sendmsg(
        self,
        buffers: Iterable[Any],
        ancillary: Ancillary | tuple[()] = (),
        flags: int = 0,
        address: Sequence[Any] | None = None,
    ) -> int:
        """
        See C{sendmsg(2)}: EACCES (broadcast), EAGAIN, EDESTADDRREQ, EINVAL, EMSGSIZE, ENETUNREACH.

        @param ancillary: TTL, DSCP, interface and source, and segment size.
        """
        self._checkOpen()
        if self._sendFailures:
            raise refusal(self._sendFailures.popleft())
        self._raisePending()
        data = b"".join(bytes(each) for each in buffers)
        target = self._peer if address is None else self._parse(address)
        if target is None:
            raise refusal(errno.EDESTADDRREQ)
        host, port, scope = target
        if not port:
            raise refusal(errno.EINVAL)
        if host == BROADCAST and not self.options.get(socket.SOL_SOCKET, socket.SO_BROADCAST):
            raise refusal(errno.EACCES)
        message = self.options.forMessage(ancillary)
        pieces = _cut(data, message.segmentSize)
        if max(map(len, pieces)) > _LARGEST[self.family]:
            raise refusal(errno.EMSGSIZE)
        interface, source = self.host.route(self, host, message.interface or scope, message.source)
        if self.sendRoom is not None:
            if not self.sendRoom:
                raise refusal(errno.EAGAIN)
            self.sendRoom -= 1
        self._bindIfUnbound()
        ttl = message.ttl if message.ttl is not None else self.options.ttlFor(host)
        for piece in pieces:
            self.host.send(self, interface, source, (host, port), ttl, message.dscp, piece)
        return len(data)

    # Receiving

    def accepts(self, destination: IPAddress, port: int, sender: IPAddress, senderPort: int) -> int:
        """
        How well this socket suits a datagram that came for an address and port: 0 if not at all,
        and more the more closely it is bound.
        """
        if port != self._port or destination.version != self._address.version:
            return 0
        isBound = not self._address.is_unspecified
        if isBound and self._address != destination:
            return 0
        if self._peer is not None and self._peer[:2] != (sender, senderPort):
            return 0
        return 1 + isBound + 2 * (self._peer is not None)

    def deliver(self, received: Received) -> None:
        """Put a datagram into the receive buffer, or drop it if that is full."""
        held = sum(len(each.payload) for each in self._received)
        if held + len(received.payload) > self.options.receiveBuffer:
            self._drops += 1
        else:
            self._received.append(received)

    def unreachable(self, number: int, destination: SocketAddress) -> None:
        """Take what ICMP says of a datagram that was sent from here."""
        reports = self.options.reportsErrors
        if reports:
            self._reports.append((number, destination))
        if reports or self._peer is not None:
            self._pending = number

    @property
    def isReadable(self) -> bool:
        """Whether a reactor would call C{doRead}."""
        return bool(self._received or self._pending or self._reports or self._receiveFailures)

    @property
    def isWritable(self) -> bool:
        """Whether a reactor would call C{doWrite}."""
        return self.sendRoom is None or self.sendRoom > 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        """See C{recv(2)}."""
        return self.recvfrom(size, flags)[0]

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, SocketAddress]:
        """See C{recvfrom(2)}: EAGAIN if nothing has arrived."""
        received = self._next()
        return received.payload[:size], received.sender

    def recvfrom_into(
        self, buffer: Any, size: int = 0, flags: int = 0
    ) -> tuple[int, SocketAddress]:
        """See C{recvfrom(2)}; with MSG_TRUNC a datagram's whole length is returned."""
        length, _, _, sender = self.recvmsg_into([buffer], 0, flags)
        return length, sender

    def recvmsg(
        self, size: int, ancillarySize: int = 0, flags: int = 0
    ) -> tuple[bytes, Ancillary, int, SocketAddress]:
        """See C{recvmsg(2)}; with MSG_ERRQUEUE, what IP_RECVERR keeps."""
        if flags & getattr(socket, "MSG_ERRQUEUE", 0):
            return self._nextReport()
        received = self._next()
        payload = received.payload[:size]
        truncated = socket.MSG_TRUNC if len(payload) < len(received.payload) else 0
        return payload, self.options.ancillaryOf(received), truncated, received.sender

    def recvmsg_into(
        self, buffers: Iterable[Any], ancillarySize: int = 0, flags: int = 0
    ) -> tuple[int, Ancillary, int, SocketAddress]:
        """See C{recvmsg(2)}; with MSG_TRUNC a datagram's whole length is returned."""
        received = self._next()
        rest = memoryview(received.payload)
        for each in buffers:
            view = memoryview(each).cast("B")
            part = rest[: len(view)]
            view[: len(part)] = part
            rest = rest[len(part) :]
        length = len(received.payload) - (0 if flags & socket.MSG_TRUNC else len(rest))
        truncated = socket.MSG_TRUNC if rest else 0
        return length, self.options.ancillaryOf(received), truncated, received.sender

    def _next(self) -> Received:
        self._checkOpen()
        if self._receiveFailures:
            raise refusal(self._receiveFailures.popleft())
        self._raisePending()
        if not self._received:
            raise refusal(errno.EAGAIN)
        return self._received.popleft()

    def _nextReport(self) -> tuple[bytes, Ancillary, int, SocketAddress]:
        self._checkOpen()
        if not self._reports:
            raise refusal(errno.EAGAIN)
        number, destination = self._reports.popleft()
        # struct sock_extended_err (linux/errqueue.h)
        error = struct.pack("@I4BII", number, _ICMP, 3, 3, 0, 0, 0)
        option = constants.IP_RECVERR if self.family == socket.AF_INET else constants.IPV6_RECVERR
        return b"", [(protocolLevel(self.family), option or 0, error)], 0, destination

    # What they share

    def _checkOpen(self) -> None:
        if self._fileno < 0:
            raise refusal(errno.EBADF)

    def _raisePending(self) -> None:
        if self._pending:
            pending, self._pending = self._pending, 0
            raise refusal(pending)

    def _bindIfUnbound(self) -> None:
        if not self._port:
            self._port = self.host.claimPort(self, self._address, 0)

    def _parse(self, address: Sequence[Any]) -> tuple[IPAddress, int, int]:
        """Address without scope, port, and scope, of what was given to a method of a socket."""
        text, port = address[0], int(address[1])
        if not 0 <= port <= 0xFFFF:
            raise OverflowError("port must be 0-65535.")
        try:
            host = BROADCAST if text == "<broadcast>" else ipaddress.ip_address(text or "0.0.0.0")
        except ValueError:
            raise socket.gaierror(socket.EAI_NONAME, f"{text!r} is no literal address") from None
        if not text:
            host = wildcard(self.family)
        if (host.version == 4) != (self.family == socket.AF_INET):
            raise socket.gaierror(socket.EAI_FAMILY, f"{text} is of the other address family")
        scope = int(address[3]) if len(address) > 3 else scopeIndex(host)
        return withoutScope(host), port, scope


def _sockaddr(host: IPAddress, port: int, scope: int) -> SocketAddress:
    return (str(host), port) if host.version == 4 else (str(host), port, 0, scope)


def _cut(data: bytes, size: int) -> list[bytes]:
    """The datagrams that the kernel would cut a run into (UDP_SEGMENT)."""
    if not 0 < size < len(data):
        return [data]
    return [data[at : at + size] for at in range(0, len(data), size)]
