"""Keep-alive and the state of any TCP connection, also one under TLS."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import ISystemHandle, ITransport
from twisted.python.components import getRegistry
from zope.interface import implementer

from txgroupsock.interfaces import IKeepAlive
from txgroupsock.primitives import (
    ConnectionState,
    KeepAlive,
    clearSocketKeepAlive,
    getConnectionState,
    getSocketKeepAlive,
    setSocketKeepAlive,
)
from txgroupsock.primitives.arguments import checked

# Deeper than protocol wrappers are stacked in earnest; a transport that contains itself must
# not hang the program.
_MOST_LAYERS = 32


@implementer(IKeepAlive)
class TransportKeepAlive:
    """L{IKeepAlive} for the TCP socket of a transport."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    @classmethod
    def under(cls, transport: Any) -> TransportKeepAlive | None:
        """
        Keep-alive for a transport, or for what TLS and other protocol wrappers are around.

        @return: L{None} if there is no TCP socket under it, or not any more; C{IKeepAlive(...)}
            then raises L{TypeError}, or gives its second argument.
        """
        sock = _socketUnder(transport)
        return None if sock is None else cls(sock)

    def getKeepAlive(self) -> KeepAlive | None:
        """See L{IKeepAlive}."""
        return getSocketKeepAlive(self._socket)

    @checked
    def setKeepAlive(self, keepAlive: KeepAlive | None) -> None:
        """See L{IKeepAlive}."""
        if keepAlive is None:
            clearSocketKeepAlive(self._socket)
        else:
            applyKeepAlive(self._socket, keepAlive)

    def getConnectionState(self) -> ConnectionState:
        """See L{IKeepAlive}."""
        return getConnectionState(self._socket)


def applyKeepAlive(sock: socket.socket, keepAlive: KeepAlive) -> None:
    """Give a TCP socket these parameters."""
    setSocketKeepAlive(
        sock, keepAlive.idle, keepAlive.interval, keepAlive.count, keepAlive.userTimeout
    )


def isTCP(sock: socket.socket) -> bool:
    """Whether a socket can have keep-alive."""
    return sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM


def _socketUnder(transport: Any) -> socket.socket | None:
    """The TCP socket under a transport."""
    layer = transport
    for _ in range(_MOST_LAYERS):
        if layer is None:
            break
        handle = handleOf(layer)
        if handle is not None:
            return handle if isTCP(handle) and handle.fileno() >= 0 else None
        layer = getattr(layer, "transport", None)
    return None


def handleOf(layer: Any) -> socket.socket | None:
    """The socket of one transport, if it has one itself."""
    handle = None
    if ISystemHandle.providedBy(layer):
        try:
            handle = layer.getHandle()
        except AttributeError:  # Twisted's transports have no socket any more when closed
            return None
    if not isinstance(handle, socket.socket):
        # After startTLS the handle of the transport itself is TLS's.
        handle = getattr(layer, "socket", None)
    return handle if isinstance(handle, socket.socket) else None


# Not registerAdapter, which raises when this module is imported anew, as reloaders do.
getRegistry().register([ITransport], IKeepAlive, "", TransportKeepAlive.under)
