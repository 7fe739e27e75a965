"""
The contract: what this package's objects promise, beyond Twisted's own interfaces.

A group, a source or an interface is given in any of the usual ways: addresses as text or
as L{ipaddress} objects, an interface by name, index or address, for IPv4 and IPv6 alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IPushProducer

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
