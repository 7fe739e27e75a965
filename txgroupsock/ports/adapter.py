"""Source-specific multicast for Twisted's own multicast ports."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import IMulticastTransport
from twisted.python.components import getRegistry
from zope.interface import implementer

from txgroupsock.interfaces import ISourceMulticastTransport
from txgroupsock.ports.keepalive import handleOf
from txgroupsock.ports.listen import Where
from txgroupsock.ports.memberships import Memberships
from txgroupsock.ports.multicast import MulticastTransport
from txgroupsock.primitives import GroupsockError, fromSocketAddress

_KEY = "_txgroupsockMemberships"


@implementer(ISourceMulticastTransport)
class StockMulticast(MulticastTransport):
    """
    L{ISourceMulticastTransport} for a port of Twisted's, on the port's own socket.

    Also has the methods of Twisted's own L{IMulticastTransport}, which work for IPv6 here.
    What was joined by the port's own C{joinGroup} is not in L{getMemberships}.
    """

    def __init__(self, transport: Any, sock: socket.socket) -> None:
        self.reactor = transport.reactor
        self.socket = sock
        self._where = _whereIs(sock)
        # The port remembers what was joined, so that every adapter for it knows.
        self.memberships = transport.__dict__.setdefault(
            _KEY, Memberships(sock, self._where.interface)
        )

    @classmethod
    def of(cls, transport: Any) -> StockMulticast | None:
        """An adapter for a transport; L{None} if there is no open UDP socket under it."""
        sock = handleOf(transport)
        return None if sock is None or sock.fileno() < 0 else cls(transport, sock)


def _whereIs(sock: socket.socket) -> Where:
    """Where a socket is bound."""
    host, _ = fromSocketAddress(sock.getsockname())
    try:
        return Where.of(host)
    except GroupsockError:
        # The interface has gone, or changed its name; its address still tells the family.
        return Where.of(host.partition("%")[0])


# Not registerAdapter, which raises when this module is imported anew, as reloaders do.
getRegistry().register([IMulticastTransport], ISourceMulticastTransport, "", StockMulticast.of)
