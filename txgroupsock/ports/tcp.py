"""
TCP with keep-alive: Twisted's own ports and connectors, whose sockets have their options from
the moment they are made.

Accepted connections inherit those of the listening socket (tcp(7)), and a client connects only
when the reactor turns, so the options hold from the first packet, at each attempt.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet import tcp
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.error import CannotListenError, ConnectError

from txgroupsock.ports.keepalive import applyKeepAlive, isTCP
from txgroupsock.primitives import (
    GroupsockError,
    InterfaceLike,
    KeepAlive,
    SocketSetupError,
    UnknownInterface,
    findInterface,
    setReuse,
)
from txgroupsock.primitives.checks import asText, wholeNumber, wrongKind
from txgroupsock.primitives.networkinterface import addressOf, interfaceLike
from txgroupsock.primitives.sockets import setupAdvice

_NO_SUCH = "no interface has that name, index or address"


class KeepAlivePort(tcp.Port):
    """A listening port of Twisted's whose connections have keep-alive."""

    def __init__(
        self,
        port: Any,
        factory: Any,
        backlog: int,
        interface: Any,
        reactor: Any,
        keepAlive: KeepAlive | None,
        *,
        reusePort: bool,
        kind: str,
    ) -> None:
        """
        The arguments are those of L{GroupsockReactor.listenTCP
        <txgroupsock.GroupsockReactor.listenTCP>}.

        @param kind: C{"TCP"} or C{"TLS"}, for the log.
        @raise CannotListenError: there is no such interface, or it has no address.
        """
        try:
            address = addressToListenOn(interface)
        except GroupsockError as error:
            raise CannotListenError(interface, port, error) from error
        tcp.Port.__init__(self, port, factory, backlog, address, reactor)
        self._type = kind
        self._asked = interface
        self._keepAlive = keepAlive
        self._isShared = reusePort
        self._made: socket.socket | None = None

    def createInternetSocket(self) -> socket.socket:
        """The socket to listen on, with its options."""
        made: socket.socket = super().createInternetSocket()  # type: ignore[no-untyped-call]
        self._made = made
        if self._isShared:
            setReuse(made, address=True, port=True)
        if self._keepAlive is not None:
            applyKeepAlive(made, self._keepAlive)
        return made

    def startListening(self) -> None:
        """
        Listen.

        @raise CannotListenError: it could not be opened; C{socketError} says why.
        """
        try:
            tcp.Port.startListening(self)
        except (CannotListenError, OSError, TypeError, UnicodeError) as error:
            # Twisted leaves to others what is raised for a NUL in a name, and by listen(2).
            if self._made is not None:
                self._made.close()
            cause = error.socketError if isinstance(error, CannotListenError) else error
            raise CannotListenError(self._asked, self.port, self._explained(cause)) from error
        finally:
            self._made = None

    def _explained(self, error: Any) -> GroupsockError:
        if isinstance(error, GroupsockError):
            return error
        if isinstance(error, socket.gaierror | TypeError | UnicodeError):
            try:
                findInterface(self.interface)
            except GroupsockError as unknown:
                known = unknown.advice or "'ip address' lists the interfaces"
                advice = f"no host of that name is known either ({error}); {known}"
                return UnknownInterface(
                    errno.ENODEV, f"listen on {self.interface}", advice, _NO_SUCH
                )
        operation = f"bind to {self.interface or '0.0.0.0'}:{self.port}"
        number = getattr(error, "errno", None)
        return SocketSetupError(number, operation, setupAdvice(number, self.port or 0))


def addressToListenOn(interface: InterfaceLike | bytes) -> str:
    """
    What Twisted is to bind a listening socket to: the name or index of an interface is its IPv4
    address, or its IPv6 one if it has no other.  Anything else is left as it is: an address, or
    the name of a host of this machine, which the C library looks up when it is bound.

    C{"::%eth0"} is the IPv6 address of eth0: no system binds a stream socket to a wildcard on
    one interface.

    @raise UnknownInterface: there is no such interface.
    @raise SocketSetupError: it has no address.
    """
    interface = interfaceLike(interface)
    if not interface:
        return ""
    text = str(interface)
    families: tuple[int, ...] = (socket.AF_INET, socket.AF_INET6)
    if isIPAddress(text):
        return text
    if isIPv6Address(text):
        host, _, scope = text.partition("%")
        address = ipaddress.IPv6Address(host)
        if not scope or not address.is_unspecified:
            # To the resolver only a link-local address can have a scope.
            return text if address.is_link_local else host
        interface, families = scope, (socket.AF_INET6,)
    try:
        name = findInterface(interface).name
    except UnknownInterface:
        if isinstance(interface, str) and len(families) > 1:
            return text
        raise
    for family in families:
        found = addressOf(interface, family)
        if found is not None:
            return str(found)
    raise SocketSetupError(
        None,
        f"listen on {name}",
        f"give it one ('ip address add ... dev {name}'), or listen on another",
        reason="it has no IPv6 address" if len(families) == 1 else "it has no address",
    )


class KeepAliveConnector(tcp.Connector):
    """A connector of Twisted's that gives each of its connections keep-alive."""

    def __init__(
        self,
        host: Any,
        port: Any,
        factory: Any,
        timeout: Any,
        bindAddress: Any,
        reactor: Any,
        keepAlive: KeepAlive,
    ) -> None:
        """The arguments are those of C{connectTCP}."""
        tcp.Connector.__init__(self, host, port, factory, timeout, bindAddress, reactor)
        self._keepAlive = keepAlive
        self._refusal: ConnectError | None = None

    def connect(self) -> None:
        """Begin to connect; the attempt fails if its socket could not be given the options."""
        self._refusal = None
        tcp.Connector.connect(self)
        if self._refusal is not None and self.transport is not None:
            self.transport.failIfNotConnected(self._refusal)

    def _makeTransport(self) -> tcp.Client:
        made = tcp.Connector._makeTransport(self)  # noqa: SLF001 - each kind of connector has its own
        try:
            sock: socket.socket = made.getHandle()
        except AttributeError:
            return made  # it could not make or bind a socket, and will say so itself
        try:
            applyKeepAlive(sock, self._keepAlive)
        except GroupsockError as error:
            self._refusal = ConnectError(error.errno, str(error))
        return made


def needFactory(factory: Any) -> None:
    """
    Refuse what cannot make protocols.

    @raise TypeError: it is none, but a class or a protocol, say.
    """
    if isinstance(factory, type) or not hasattr(factory, "buildProtocol"):
        raise wrongKind("factory", factory, "a factory of protocols, such as Factory.forProtocol()")


def needPort(port: Any) -> None:
    """
    Refuse what nothing can listen on.

    @raise TypeError: it is no number, nor what Twisted's C{makeBinding} makes.
    @raise ValueError: there is no such port.
    """
    if not isinstance(port, getattr(tcp, "_Binding", ())):  # there is no public name for it
        wholeNumber("port", port, 0, 0xFFFF)


def needPeer(host: Any, port: Any, bindAddress: Any) -> None:
    """
    Refuse what nothing can connect to, or from.

    @raise TypeError: one of them is of another kind than it has to be.
    @raise ValueError: there is no such port.
    """
    asText("host", host, "an address or a name")
    if not isinstance(port, str):
        wholeNumber("port", port, 0, 0xFFFF)
    if isinstance(bindAddress, tuple) and len(bindAddress) == 2:
        asText("bindAddress[0]", bindAddress[0], "an address or a name")
        wholeNumber("bindAddress[1]", bindAddress[1], 0, 0xFFFF)
    elif bindAddress is not None and not isinstance(bindAddress, getattr(tcp, "_Binding", ())):
        raise wrongKind("bindAddress", bindAddress, "(host, port) or None")


def applyToDescriptor(fileDescriptor: int, keepAlive: KeepAlive | None) -> None:
    """
    Set keep-alive on the socket of a descriptor; one that is no TCP socket is left alone.

    @raise SocketOptionError: the kernel refused.
    """
    if keepAlive is None:
        return
    with _lent(fileDescriptor) as sock:
        if isTCP(sock):
            applyKeepAlive(sock, keepAlive)


def needListening(fileDescriptor: int) -> None:
    """
    Refuse a descriptor on which nobody can connect.

    @raise OSError: EBADF, ENOTSOCK, or EINVAL for a socket that does not listen.
    """
    with _lent(fileDescriptor) as sock:
        try:
            listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:  # macOS cannot tell
                raise
            listens = 1
    if not listens:
        raise OSError(errno.EINVAL, f"descriptor {fileDescriptor} is no socket that listens")


@contextmanager
def _lent(fileDescriptor: int) -> Iterator[socket.socket]:
    """The socket of a descriptor, which stays its owner's; takes no further one."""
    wholeNumber("fileDescriptor", fileDescriptor, None, 2**31 - 1)
    sock = socket.socket(fileno=fileDescriptor)
    try:
        yield sock
    finally:
        sock.detach()
