"""
The contract: what this package's objects promise, beyond Twisted's own interfaces.

A group, a source or an interface is given in any of the usual ways: addresses as text or
as L{ipaddress} objects, an interface by name, index or address, for IPv4 and IPv6 alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IPushProducer

    from txgroupsock.destinations import SessionDestination
    from txgroupsock.primitives import (
        Arrival,
        ConnectionState,
        Destination,
        InterfaceLike,
        IPAddress,
        KeepAlive,
        Membership,
        SourceFilter,
    )
    from txgroupsock.primitives.run import Run
    from txgroupsock.traffic import GroupsockStatistics


class ISourceMulticastTransport(Interface):
    """
    A datagram transport that can join groups from chosen sources (RFC 3678, RFC 4607).

    Where C{interface} is left out it is the one that the transport was opened on, or else
    whichever the routing table chooses.  Every L{Deferred} that fails does so with
    L{JoinError <txgroupsock.JoinError>}, which is an L{OSError} with its C{errno} and a
    L{MulticastJoinError <twisted.internet.error.MulticastJoinError>}.
    """

    def joinSourceGroup(
        group: str | IPAddress, source: str | IPAddress, interface: InterfaceLike = None
    ) -> Deferred[Membership]:
        """
        Receive a group from one source; call again for further sources.

        Never falls back to receiving from any source.
        """

    def leaveSourceGroup(
        group: str | IPAddress, source: str | IPAddress, interface: InterfaceLike = None
    ) -> Deferred[Membership]:
        """Stop receiving a group from one source; with its last source the group is left."""

    def joinSourceGroups(
        group: str | IPAddress,
        sources: Iterable[str | IPAddress],
        interface: InterfaceLike = None,
    ) -> Deferred[list[Membership]]:
        """Receive a group from each of several sources, or, where one is refused, from none."""

    def joinGroupEverywhere(
        group: str | IPAddress, source: str | IPAddress | None = None
    ) -> Deferred[list[Membership]]:
        """
        Receive a group on every interface that is up and carries multicast.

        One that refuses is passed over; it fails if all do.
        """

    def getSourceFilter(
        group: str | IPAddress, interface: InterfaceLike = None
    ) -> Deferred[SourceFilter]:
        """Which sources of a joined group are heard, as the kernel has it (Linux)."""

    def setSourceFilter(
        group: str | IPAddress, wanted: SourceFilter, interface: InterfaceLike = None
    ) -> Deferred[None]:
        """
        Replace which sources of a joined group are heard, at once (Linux).

        An INCLUDE filter without sources leaves the group.
        """

    def blockSource(
        group: str | IPAddress, source: str | IPAddress, interface: InterfaceLike = None
    ) -> Deferred[Membership]:
        """Stop hearing one source of a group that was joined from any source."""

    def unblockSource(
        group: str | IPAddress, source: str | IPAddress, interface: InterfaceLike = None
    ) -> Deferred[Membership]:
        """Hear a blocked source again."""

    def getMemberships() -> list[Membership]:
        """What is joined now, in the order it was joined: one item per group, interface and
        source.
        """


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


class IKeepAlive(Interface):
    """
    What the kernel does about a silent peer, and what it knows of a TCP connection.

    C{IKeepAlive(transport)} adapts any TCP transport of Twisted, also one under TLS.
    """

    def getKeepAlive() -> KeepAlive | None:
        """What is set now; L{None} if keep-alive is off."""

    def setKeepAlive(keepAlive: KeepAlive | None) -> None:
        """
        Set it from now on; L{None} switches keep-alive off and clears the user timeout.

        @raise SocketOptionError: the kernel refused.
        """

    def getConnectionState() -> ConnectionState:
        """
        Round-trip time, unacknowledged data, retransmissions and the like, as they are now.

        @raise NotSupportedHere: this kernel does not tell (only Linux does).
        """


class IRunReceiver(Interface):
    """
    Something that datagrams flow into a run at a time: a protocol, or a relay's output.

    A protocol that provides it gets runs instead of C{datagramReceived}.
    """

    def runReceived(run: Run) -> None:
        """
        Take a run.

        Its memory is only lent: whoever needs the data after this call returns copies it.
        """


class IArrivalReceiver(Interface):
    """
    A protocol that wants to know how each datagram arrived.

    Its port then has the kernel tell (IP_PKTINFO, SO_TIMESTAMPNS), and calls this instead of
    C{datagramReceived}.
    """

    def datagramArrived(datagram: bytes, arrival: Arrival) -> None:
        """
        Take a datagram.

        @param datagram: what there is of it: less than C{arrival.length} if it was larger than
            the port's C{maxPacketSize}.
        """


class IDestinationErrorReceiver(Interface):
    """
    A protocol that wants to know when a datagram that it sent could not be delivered.

    Its port then has the kernel keep what ICMP says (IP_RECVERR; Linux).
    """

    def destinationFailed(address: tuple[str, int], number: int) -> None:
        """
        A datagram did not get there.

        @param address: where it was sent to, C{(host, port)}.
        @param number: the errno, such as ECONNREFUSED (nobody listens there) or EHOSTUNREACH.
        """


class IRunTransport(Interface):
    """
    A datagram transport that sends to prepared destinations, and sends runs.

    What becomes of each datagram is counted in its destination's C{statistics}.  What does not
    fit into the socket's buffer now waits, up to the transport's bound, and goes out in order.
    """

    def writeTo(datagram: bytes | memoryview, *destinations: Destination) -> None:
        """
        Send a datagram to each of some destinations.

        @raise ValueError: one is of the other address family.
        """

    def writeRun(run: Run, *destinations: Destination) -> None:
        """
        Send every datagram of a run to each of some destinations.

        @raise ValueError: one is of the other address family.
        """

    # Positional, as in Twisted's IConsumer.
    def registerProducer(producer: IPushProducer, streaming: bool) -> None:  # noqa: FBT001
        """
        Have a producer paused while datagrams wait for room, and resumed when none does.

        @param streaming: must be true.
        """

    def unregisterProducer() -> None:
        """Pause and resume nothing any more."""
