"""What a Groupsock promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from twisted.internet.defer import Deferred

    from txgroupsock.groupsock.destinations import SessionDestination
    from txgroupsock.groupsock.statistics import GroupsockStatistics
    from txgroupsock.primitives import (
        IPAddress,
    )


class IGroupsock(Interface):
    """
    LIVE555's C{Groupsock}: one incoming group and any number of destinations.

    What the network does to a datagram is counted and never raised.  What cannot be done for
    the caller raises a L{GroupsockError <txgroupsock.GroupsockError>}, an L{OSError} that
    keeps its C{errno}, and then nothing has changed.
    """

    group: IPAddress = Attribute("The incoming group; unicast or unspecified if there is none.")
    source: IPAddress | None = Attribute("The one sender to hear; L{None}: any.")
    port: int = Attribute("The port that it receives on and sends from.")
    family: int = Attribute("C{AF_INET} or C{AF_INET6}, of the group and every destination.")
    ttl: int = Attribute("TTL or hop limit for the destination with session id 0.")
    isSSM: bool = Attribute("Whether it is source-specific.")
    isOpen: bool = Attribute("Whether it receives; neither L{close} nor the reactor ended that.")
    received: Callable[[bytes, tuple[str, int]], Any] | None = Attribute(
        "Called with each datagram and its sender."
    )
    destinations: tuple[SessionDestination, ...] = Attribute(
        "Where it sends to, in the order added."
    )
    statistics: GroupsockStatistics = Attribute("What was received and sent.")

    def handleRead(datagram: bytes, sender: tuple[str, int]) -> None:
        """
        Take a datagram that has arrived: count it, and give it to C{received}.

        One from another source than that of a source-specific group is dropped, even where
        the kernel let it pass, as it does with unicast.  One from ourselves is given on, but
        counted apart.
        """

    def wasLoopedBackFromUs(sender: tuple[str, int]) -> bool:
        """Whether a sender has an address of this host, of either family, and our own port."""

    def output(data: bytes | bytearray | memoryview) -> int:
        """
        Send a datagram to every destination with the TTL of each.

        Each fails alone: what the kernel does not take, for want of room too, is dropped and
        counted, and logged once for each destination and kind of error.

        @return: how many destinations the kernel took it for.
        """

    def changeDestinationParameters(
        address: str | IPAddress | None = None,
        port: int | None = None,
        ttl: int | None = None,
        sessionId: int = 0,
    ) -> None:
        """
        Change what is given of a session's destination; L{None} leaves a thing as it is.

        A session without a destination gets one, which takes an address and a port.  One with
        several keeps only the changed one.  The destination with session id 0 is also the
        incoming group: if its new address is a group, that one is joined, on its port, and the
        old one left.
        """

    def addDestination(
        address: str | IPAddress, port: int, sessionId: int = 0, ttl: int = 255
    ) -> None:
        """Send there too, unless this session has that address and port; joins nothing."""

    def removeDestination(sessionId: int) -> int:
        """Remove every destination of a session; how many there were.  Leaves no group."""

    def removeAllDestinations() -> None:
        """Send nowhere."""

    def hasMultipleDestinations() -> bool:
        """Whether there is more than one."""

    def lookupSessionIdFromDestination(address: str | IPAddress, port: int) -> int | None:
        """The session id of the first destination there; L{None} if there is none."""

    def multicastSendOnly() -> None:
        """
        Be a member of no group from now on; unicast to the port still arrives.

        This leaves the group.  For one that has never joined, construct it with C{sendOnly}.
        """

    def changePort(port: int) -> None:
        """Receive and send on another port, in the same group; destinations stay as they are."""

    def close() -> Deferred[None]:
        """Leave the group and close the socket; what is sent from then on is dropped."""

    def fileno() -> int:
        """The descriptor of the socket; -1 when closed."""
