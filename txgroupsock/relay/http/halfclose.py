"""
Clients that have said all they have to say, and still listen: C{shutdown(SHUT_WR)}, as by
C{socat </dev/null} and scripts with C{nc}.

To TCP such a client looks like one that has gone (RFC 9293 section 3.6): which it is shows when it
is sent something, or when the kernel probes it.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from zope.interface import implementer

from txgroupsock.interfaces import IKeepAlive
from txgroupsock.ports.keepalive import handleOf
from txgroupsock.primitives import GroupsockError, KeepAlive

_PROBES = KeepAlive(15, 15, 4)
"""
How one that may have gone is probed.  The kernel of one that has answers for it as long as it
remembers the connection, a minute in Linux (C{net.ipv4.tcp_fin_timeout}), and with a reset then.
"""


@implementer(IHalfCloseableProtocol)
class HalfCloseable:
    """For protocols that go on serving a client after it has ended sending."""

    transport: Any

    def readConnectionLost(self) -> None:
        """The client sends no more: close if it does not listen either, and find out if it goes."""
        if hasHungUp(self.transport):
            self.transport.abortConnection()
            return
        keepAlive: Any = IKeepAlive(self.transport, None)
        if keepAlive is not None:
            with suppress(GroupsockError):  # it has been closed meanwhile
                keepAlive.setKeepAlive(_PROBES)

    def writeConnectionLost(self) -> None:
        """Nobody here closes one half only."""


def hasHungUp(transport: Any) -> bool:
    """Whether both directions of a connection are closed, or it has been reset."""
    handle = handleOf(transport)
    if handle is None or handle.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(handle, 0)  # POLLHUP and POLLERR are always told
    return bool(poll.poll(0))
