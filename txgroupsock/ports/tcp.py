"""
TCP with keep-alive: listening sockets that hand it on, and clients that begin with it.

Nothing here but Twisted's public API: C{adoptStreamPort} takes a socket that has its options
already, and a connector tells its factory as soon as it has made one.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.interfaces import IConnector, IListeningPort, IReactorSocket, ISystemHandle
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from txgroupsock.ports.keepalive import applyKeepAlive, isTCP
from txgroupsock.primitives import (
    AddressError,
    Environment,
    GroupsockError,
    InterfaceLike,
    IPAddress,
    KeepAlive,
    SocketSetupError,
    findInterface,
    parseAddress,
    setupStreamSocket,
)
from txgroupsock.primitives.networkinterface import addressOf
from txgroupsock.primitives.sockaddr import familyOf, wildcard


def listenStream(
    reactor: Any,
    port: int,
    factory: Any,
    backlog: int,
    interface: InterfaceLike,
    keepAlive: KeepAlive | None,
    *,
    reusePort: bool,
) -> IListeningPort:
    """
    A listening TCP port of the reactor's own kind, whose connections have keep-alive.

    The options are set on the listening socket, and accepted ones inherit them (tcp(7)), so
    they hold before the first byte.

    @raise CannotListenError: it could not be opened; C{socketError} says why.
    """
    if not IReactorSocket.providedBy(reactor):
        raise TypeError(
            f"{type(reactor).__name__} does not provide IReactorSocket, which a port with "
            "keep-alive needs"
        )
    try:
        address = addressToListenOn(interface)
        sock = setupStreamSocket(
            Environment(),
            port,
            familyOf(address),
            bindAddress=address,
            reusePort=reusePort,
            onlyIPv6=False,  # "::" takes IPv4 too where the system allows that, as in Twisted
        )
    except GroupsockError as error:
        raise CannotListenError(interface, port, error) from error
    with sock:
        try:
            if keepAlive is not None:
                applyKeepAlive(sock, keepAlive)
            sock.listen(backlog)
        except OSError as error:
            raise CannotListenError(interface, port, error) from error
        adopted: IListeningPort = reactor.adoptStreamPort(sock.fileno(), sock.family, factory)
        return adopted


def addressToListenOn(interface: InterfaceLike) -> IPAddress:
    """
    What to bind a listening socket to: an address is itself, nothing is every IPv4 address, and
    the name or index of an interface is its IPv4 address, or its IPv6 one if it has no other.

    C{"::%eth0"} is the IPv6 address of eth0: no system binds a stream socket to a wildcard on
    one interface.

    @raise UnknownInterface: there is no such interface.
    @raise SocketSetupError: it has no address.
    """
    if not interface:
        return wildcard(socket.AF_INET)
    families: tuple[int, ...] = (socket.AF_INET, socket.AF_INET6)
    try:
        address = parseAddress(str(interface))
    except AddressError:
        pass
    else:
        scope = getattr(address, "scope_id", None)
        if scope is None or not address.is_unspecified:
            return address
        interface, families = scope, (socket.AF_INET6,)
    for family in families:
        found = addressOf(interface, family)
        if found is not None:
            return found
    name = findInterface(interface).name
    raise SocketSetupError(
        None,
        f"listen on {name}",
        f"give it one ('ip address add ... dev {name}'), or listen on another",
        reason="it has no IPv6 address" if len(families) == 1 else "it has no address",
    )


def applyToDescriptor(fileDescriptor: int, keepAlive: KeepAlive | None) -> None:
    """
    Set keep-alive on the socket of a descriptor, which stays open; one that is no TCP socket is
    left alone.

    @raise SocketOptionError: the kernel refused.
    """
    if keepAlive is None:
        return
    with socket.socket(fileno=os.dup(fileDescriptor)) as sock:
        if isTCP(sock):
            applyKeepAlive(sock, keepAlive)


def needListening(fileDescriptor: int) -> None:
    """
    Refuse a descriptor on which nobody can connect.

    @raise OSError: EBADF, ENOTSOCK, or EINVAL for a socket that does not listen.
    """
    with socket.socket(fileno=os.dup(fileDescriptor)) as sock:
        try:
            listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:  # macOS cannot tell
                raise
            listens = 1
    if not listens:
        raise OSError(errno.EINVAL, f"descriptor {fileDescriptor} is no socket that listens")


class KeepAliveClientFactory:
    """
    A client factory that gives each of its connections keep-alive, and is the wrapped one in
    all else.

    A connector makes its socket before it calls C{startedConnecting}, at each attempt, and
    connects only when the reactor turns, so the options hold from the first packet.
    """

    _log = Logger()

    def __init__(self, factory: Any, keepAlive: KeepAlive) -> None:
        self._factory = factory
        self._keepAlive = keepAlive
        self._refusal: Failure | None = None
        directlyProvides(self, providedBy(factory))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} around {self._factory!r}>"

    def startedConnecting(self, connector: IConnector) -> None:
        """Set the options, and tell the wrapped factory."""
        self._refusal = None
        try:
            self._apply(getattr(connector, "transport", None))
        except OSError as error:
            self._refusal = Failure(ConnectError(error.errno, str(error)))
        self._factory.startedConnecting(connector)
        if self._refusal is not None and getattr(connector, "state", "") == "connecting":
            connector.stopConnecting()

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """Tell the wrapped factory, with the reason why it was given up here if it was."""
        refusal, self._refusal = self._refusal, None
        self._factory.clientConnectionFailed(connector, refusal or reason)

    def _apply(self, transport: Any) -> None:
        if not ISystemHandle.providedBy(transport):
            self._log.warn("{transport} is given no keep-alive: no socket", transport=transport)
            return
        try:
            handle: Any = transport.getHandle()
        except AttributeError:
            return  # it could not make or bind a socket, and will say so itself
        applyKeepAlive(handle, self._keepAlive)
