"""More sockets for one port, when its groups are beyond the limits of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.error import CannotListenError
from zope.interface import directlyProvides, providedBy

from txgroupsock.ports.memberships import Memberships
from txgroupsock.primitives import getReceiveBufferSize, increaseReceiveBufferTo

if TYPE_CHECKING:
    from txgroupsock.ports.udp import UDPPort


def openHelper(port: UDPPort, helpers: list[UDPPort]) -> Memberships:
    """
    Open one more socket like a port's, which feeds the same protocol and counts with it.

    @param helpers: those that the port has; the new one is added.
    @raise GroupsockError: it could not be opened.
    """
    helper = port.another(Share(port.protocol))
    helper.statistics = port.statistics
    try:
        helper.startListening()
    except CannotListenError as error:
        raise error.socketError from None
    increaseReceiveBufferTo(helper.socket, getReceiveBufferSize(port.socket), force=True)
    if not port.isReading:
        helper.pauseProducing()
    helpers.append(helper)
    return helper.memberships


class Share:
    """
    What a further socket feeds: the protocol of the port that it belongs to, which has been
    started once, and will be stopped once.
    """

    noisy = False

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        directlyProvides(self, providedBy(protocol))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)

    def makeConnection(self, transport: UDPPort) -> None:
        """Nothing: the protocol keeps the transport that it has."""

    def doStop(self) -> None:
        """Nothing: its own port stops it."""
