"""Socket modes and options: blocking, SIGPIPE, reuse, and what governs outgoing multicast."""

from __future__ import annotations

import errno
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen

from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.constants import (
    IP_MULTICAST_ALL,
    IPV6_MULTICAST_ALL,
    SO_NOSIGPIPE,
    required,
)
from txgroupsock.primitives.errors import SocketOptionError
from txgroupsock.primitives.networkinterface import (
    InterfaceLike,
    addressOf,
    interfaceIndex,
    interfaceName,
)
from txgroupsock.primitives.sockaddr import protocolLevel


@contextmanager
def settingOption(operation: str, advice: str = "") -> Iterator[None]:
    """Turn any L{OSError} of the calls inside into a L{SocketOptionError} that names them."""
    try:
        yield
    except OSError as error:
        raise SocketOptionError(error.errno, operation, advice) from error


@checked
def makeSocketNonBlocking(sock: socket.socket) -> None:
    """From now on, calls return at once, with EAGAIN where they would have waited."""
    with settingOption("make the socket non-blocking"):
        sock.setblocking(False)


@checked
def makeSocketBlocking(sock: socket.socket, writeTimeoutMs: int = 0) -> None:
    """
    From now on, calls wait; a write at most so many milliseconds.

    @param writeTimeoutMs: SO_SNDTIMEO (socket(7)); 0 clears an earlier one, which LIVE555
        leaves in place.
    """
    if writeTimeoutMs < 0:
        raise SocketOptionError(
            errno.EINVAL, f"use a write timeout of {writeTimeoutMs} ms", "0 means none"
        )
    seconds, milliseconds = divmod(writeTimeoutMs, 1000)
    with settingOption(f"make the socket blocking with a write timeout of {writeTimeoutMs} ms"):
        sock.setblocking(True)
        sock.setsockopt(
            socket.SOL_SOCKET,
            socket.SO_SNDTIMEO,
            struct.pack("@ll", seconds, milliseconds * 1000),  # struct timeval
        )


@checked
def ignoreSigPipeOnSocket(sock: socket.socket) -> None:
    """
    A write to a peer that has gone is an EPIPE error, never a signal that ends the process.

    SO_NOSIGPIPE where there is one; elsewhere SIGPIPE is ignored in the whole process,
    which Python does at start, and this function again if the host program undid it.
    A handler that the program installed is left alone: it does not end the process.

    @raise SocketOptionError: SIGPIPE has to be ignored, and this is not the main thread.
    """
    if SO_NOSIGPIPE is not None:
        with settingOption("set SO_NOSIGPIPE"):
            sock.setsockopt(socket.SOL_SOCKET, SO_NOSIGPIPE, 1)
    elif signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL:
        try:
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        except ValueError:
            raise SocketOptionError(
                None,
                "ignore SIGPIPE",
                "call this once in the main thread",
                reason="Python lets only the main thread do that",
            ) from None


@checked
def setReuse(sock: socket.socket, *, address: bool, port: bool) -> None:
    """
    Whether others may bind the same port.

    @param address: SO_REUSEADDR.  On Linux this alone lets several datagram sockets each
        receive every multicast datagram.
    @param port: SO_REUSEPORT.  On Linux this shares *unicast* datagrams, and connections,
        out among the sockets; the BSDs need it for what SO_REUSEADDR does on Linux.
    """
    with settingOption("share the port"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, address)
        if hasattr(socket, "SO_REUSEPORT"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, port)


@checked
def setMulticastLoop(sock: socket.socket, *, enabled: bool) -> None:
    """Whether this host's members of a group hear what this socket sends to it."""
    v4 = sock.family == socket.AF_INET
    option = socket.IP_MULTICAST_LOOP if v4 else socket.IPV6_MULTICAST_LOOP
    with settingOption("set the multicast loop"):
        sock.setsockopt(protocolLevel(sock.family), option, int(enabled))


@checked
def getMulticastLoop(sock: socket.socket) -> bool:
    """Whether this host's members of a group hear what this socket sends to it."""
    v4 = sock.family == socket.AF_INET
    option = socket.IP_MULTICAST_LOOP if v4 else socket.IPV6_MULTICAST_LOOP
    with settingOption("read the multicast loop"):
        return bool(sock.getsockopt(protocolLevel(sock.family), option))


@checked
def setMulticastTTL(sock: socket.socket, ttl: int) -> None:
    """
    How many routers multicast sent by this socket may pass, less one: 0 stays on this
    host, 1 (the default) on the link, up to 255 (IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS).

    For one message or one destination see L{txgroupsock.primitives.ancillary}.
    """
    if not 0 <= ttl <= 255:
        raise SocketOptionError(errno.EINVAL, f"use a TTL of {ttl}", "it is from 0 to 255")
    v4 = sock.family == socket.AF_INET
    option = socket.IP_MULTICAST_TTL if v4 else socket.IPV6_MULTICAST_HOPS
    with settingOption(f"set a multicast TTL of {ttl}"):
        sock.setsockopt(protocolLevel(sock.family), option, ttl)


@checked
def getMulticastTTL(sock: socket.socket) -> int:
    """The TTL or hop limit of multicast sent by this socket."""
    v4 = sock.family == socket.AF_INET
    option = socket.IP_MULTICAST_TTL if v4 else socket.IPV6_MULTICAST_HOPS
    with settingOption("read the multicast TTL"):
        return sock.getsockopt(protocolLevel(sock.family), option)


@checked
def setMulticastInterface(sock: socket.socket, interface: InterfaceLike) -> None:
    """
    Where multicast sent by this socket leaves; "any" leaves it to the routing table.

    By index in both families (C{struct ip_mreqn}, ip(7)); LIVE555 hands IPv6 an IPv4 address.

    @raise UnknownInterface: there is no such interface.
    """
    multicastInterfaceOption(sock.family, interface).setOn(sock)


@frozen
class SocketOption:
    """
    A socket option that is known before there is a socket.

    @ivar operation: what setting it does, for errors.
    """

    level: int
    number: int
    value: bytes
    operation: str

    def setOn(self, sock: socket.socket) -> None:
        """
        Set it.

        @raise SocketOptionError: the kernel refused it.
        """
        with settingOption(self.operation):
            sock.setsockopt(self.level, self.number, self.value)


def multicastInterfaceOption(family: int, interface: InterfaceLike) -> SocketOption:
    """What L{setMulticastInterface} sets on a socket of a family."""
    index = interfaceIndex(interface)
    if family == socket.AF_INET6:
        option, value = socket.IPV6_MULTICAST_IF, struct.pack("@I", index)
    else:
        # The address becomes the sender's where the socket has none, and getsockopt gives it back.
        address = addressOf(interface, socket.AF_INET) if index else None
        packed = address.packed if address else bytes(4)
        option, value = socket.IP_MULTICAST_IF, struct.pack("@4s4si", bytes(4), packed, index)
    operation = f"send multicast by {interfaceName(index)}"
    return SocketOption(protocolLevel(family), option, value, operation)


@checked
def getMulticastInterface(sock: socket.socket) -> str | int:
    """
    Where multicast sent by this socket leaves: of an IPv4 socket the interface's address
    (C{"0.0.0.0"}: by the routes), of an IPv6 one its index (0: by the routes).
    """
    with settingOption("read the multicast interface"):
        if sock.family == socket.AF_INET6:
            return sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF)
        return socket.inet_ntoa(sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, 4))


def hearOnlyOwnGroups(sock: socket.socket) -> None:
    """
    Deliver only groups that this socket joined, not those of every process on the host.

    Clears IP_MULTICAST_ALL (ip(7)) or IPV6_MULTICAST_ALL (Linux 4.20); elsewhere a kernel
    does this by itself.  LIVE555 uses the IPv4 number for IPv6 too.
    """
    option = IP_MULTICAST_ALL if sock.family == socket.AF_INET else IPV6_MULTICAST_ALL
    if option is None:
        return
    try:
        sock.setsockopt(protocolLevel(sock.family), option, 0)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:  # a kernel too old to have it
            raise SocketOptionError(error.errno, "hear only joined groups") from error


@checked
def bindToDevice(sock: socket.socket, name: str) -> None:
    """
    Let a socket use one device only, for what it receives and what it sends.

    SO_BINDTODEVICE (socket(7)): Linux; without CAP_NET_RAW only since 5.7.

    @param name: the device; C{""} lets the socket use any again.
    @raise UnknownInterface: there is no such device.
    @raise NotSupportedHere: this system has no such option.
    """
    option = required(getattr(socket, "SO_BINDTODEVICE", None), "SO_BINDTODEVICE")
    index = interfaceIndex(name)
    device = interfaceName(index).encode() if index else b""
    with settingOption(f"bind to the device {name}", "this may need root or CAP_NET_RAW"):
        sock.setsockopt(socket.SOL_SOCKET, option, device + b"\0")
