"""Creating sockets the way groupsock does."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.environment import Environment
from txgroupsock.primitives.errors import (
    AddressError,
    SocketSetupError,
    bindAdvice,
    descriptorAdvice,
)
from txgroupsock.primitives.keepalive import setSocketKeepAlive
from txgroupsock.primitives.networkinterface import addressOf, interfaceIndex
from txgroupsock.primitives.options import (
    bindToDevice,
    makeSocketNonBlocking,
    multicastInterfaceOption,
    setMulticastLoop,
    setReuse,
    settingOption,
)
from txgroupsock.primitives.sockaddr import (
    IPAddress,
    SocketAddress,
    describe,
    familyName,
    familyOf,
    parseAddress,
    toSocketAddress,
    wildcard,
)


@checked
def setupDatagramSocket(
    env: Environment,
    port: int,
    family: int = socket.AF_INET,
    *,
    bindAddress: str | IPAddress | None = None,
    reusePort: bool | None = None,
) -> socket.socket:
    """
    A bound UDP socket, ready to join groups and to send.

    Multicast loops back to this host, and leaves by C{env.sendingInterface}.  An IPv6
    socket carries IPv6 only (IPV6_V6ONLY).

    @param port: 0 lets the kernel choose one.
    @param bindAddress: bind to this address instead of the wildcard: one of this host, or,
        on Linux and the BSDs, a group, so that no other group on the port is received.
        Left out, a socket with a port of its own is bound to the wildcard, and one
        without to C{env.receivingInterface}, as in LIVE555.
    @param reusePort: SO_REUSEPORT where that should differ from C{env.reuseFlag}.
    @return: a blocking socket; see L{makeSocketNonBlocking}.
    @raise SocketSetupError: it could not be created or bound.
    @raise SocketOptionError: an option was refused.
    @raise AddressError: not an IP family, not a port, or C{bindAddress} is of the other family.
    @raise UnknownInterface: an interface of C{env} does not exist.
    """
    _checkFamily(family)
    # Names are looked up first: that takes a descriptor too, and then gives it back.
    address = _bindAddress(env, port, family, bindAddress)
    where = toSocketAddress(address, port)
    leaves = None
    if interfaceIndex(env.sendingInterface):
        leaves = multicastInterfaceOption(family, env.sendingInterface)

    def configure(sock: socket.socket) -> None:
        port_ = env.reuseFlag if reusePort is None else reusePort
        setReuse(sock, address=env.reuseFlag, port=port_)
        setMulticastLoop(sock, enabled=True)
        _bind(sock, where)
        if leaves is not None:
            leaves.setOn(sock)

    # An IPv4-mapped address (RFC 4291 section 2.5.5.2) is one that carries IPv4.
    isMapped = getattr(address, "ipv4_mapped", None) is not None
    return _setup(env, family, socket.SOCK_DGRAM, configure, onlyIPv6=not isMapped)


@checked
def setupStreamSocket(
    env: Environment,
    port: int,
    family: int = socket.AF_INET,
    *,
    bindAddress: str | IPAddress | None = None,
    nonBlocking: bool = True,
    keepAlive: bool = False,
    reusePort: bool = False,
    onlyIPv6: bool = True,
) -> socket.socket:
    """
    A bound TCP socket, to listen on or to connect from.

    @param port: 0 lets the kernel choose one.
    @param bindAddress: bind to this address of this host; left out, to that of
        C{env.receivingInterface}, or the wildcard.
    @param reusePort: SO_REUSEPORT, so that several worker processes can listen on one port.
    @param onlyIPv6: whether an IPv6 socket refuses IPv4 (IPV6_V6ONLY); C{False} leaves that to
        the system (C{net.ipv6.bindv6only}), as Twisted does.
    @raise SocketSetupError: it could not be created or bound.
    @raise SocketOptionError: an option was refused.
    @raise AddressError: not an IP family, not a port, or C{bindAddress} is of the other family.
    @raise UnknownInterface: an interface of C{env} does not exist.
    """
    _checkFamily(family)
    # LIVE555 binds a stream socket to the receiving interface whatever its port.
    address = _receivingAddress(env, family) if bindAddress is None else bindAddress
    where = toSocketAddress(_bindAddress(env, port, family, address), port)

    def configure(sock: socket.socket) -> None:
        setReuse(sock, address=env.reuseFlag, port=reusePort)
        _bind(sock, where)
        if nonBlocking:
            makeSocketNonBlocking(sock)
        if keepAlive:
            setSocketKeepAlive(sock)

    return _setup(env, family, socket.SOCK_STREAM, configure, onlyIPv6=onlyIPv6)


def _setup(
    env: Environment,
    family: int,
    kind: socket.SocketKind,
    configure: Callable[[socket.socket], None],
    *,
    onlyIPv6: bool = True,
) -> socket.socket:
    """Create a socket and configure it; whatever goes wrong, it is closed."""
    try:
        sock = env.createSocket(family, kind)
    except OSError as error:
        raise SocketSetupError(
            error.errno, f"create an {familyName(family)} socket", setupAdvice(error.errno, 0)
        ) from error
    try:
        if env.interfaceBindToDevice:
            bindToDevice(sock, env.interfaceBindToDevice)
        if family == socket.AF_INET6 and onlyIPv6:
            with settingOption("set IPV6_V6ONLY"):
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        configure(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _checkFamily(family: int) -> None:
    if family not in (socket.AF_INET, socket.AF_INET6):
        raise AddressError(
            errno.EAFNOSUPPORT,
            f"create a socket of address family {family}",
            "use AF_INET or AF_INET6",
        )


def setupAdvice(number: int | None, port: int) -> str:
    """What to do about an errno from creating a socket or binding it to a port, or C{""}."""
    if number == errno.EAFNOSUPPORT:
        return "this kernel has that protocol switched off"
    return descriptorAdvice(number) or bindAdvice(number, port)


def _bindAddress(
    env: Environment, port: int, family: int, bindAddress: str | IPAddress | None
) -> IPAddress:
    if bindAddress is None:
        return wildcard(family) if port else _receivingAddress(env, family)
    address = parseAddress(bindAddress)
    if familyOf(address) != family:
        raise AddressError(
            errno.EAFNOSUPPORT,
            f"bind an {familyName(family)} socket to {address}",
            reason="the address is of the other family",
        )
    return address


def _receivingAddress(env: Environment, family: int) -> IPAddress:
    if not interfaceIndex(env.receivingInterface):
        return wildcard(family)
    address = addressOf(env.receivingInterface, family)
    if address is None:
        raise SocketSetupError(
            errno.EADDRNOTAVAIL,
            f"bind to the interface {env.receivingInterface}",
            "give it one, or name another receivingInterface",
            reason=f"it has no {familyName(family)} address",
        )
    return address


def _bind(sock: socket.socket, where: SocketAddress) -> None:
    try:
        sock.bind(where)
    except OSError as error:
        raise SocketSetupError(
            error.errno, f"bind to {describe(where)}", setupAdvice(error.errno, where[1])
        ) from error
