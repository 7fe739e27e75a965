"""
The contract: what this package's objects promise, beyond Twisted's own interfaces.

A group, a source or an interface is given in any of the usual ways: addresses as text or
as L{ipaddress} objects, an interface by name, index or address, for IPv4 and IPv6 alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from txgroupsock.primitives import InterfaceLike, IPAddress, Membership
    from txgroupsock.primitives.run import Run
    from txgroupsock.relay.counters import Counters


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


class IRunReceiver(Interface):
    """Something that datagrams flow into, a run at a time: a relay's stage or output."""

    def runReceived(run: Run) -> None:
        """
        Take a run.

        Its memory is only lent: whoever needs the data after this call returns copies it.
        """


class IRelayInput(Interface):
    """Where a route's datagrams come from."""

    counters: Counters = Attribute("What has arrived (L{Counters}).")

    def openInput(receiver: IRunReceiver) -> None:
        """
        Acquire sockets, join groups, and from then on give every run to a receiver.

        @raise OSError: a socket or a membership could not be had; nothing stays open.
        """

    def closeInput() -> Deferred[None]:
        """Leave every group and close every socket."""

    def describe() -> list[str]:
        """What is open, for people: a line for each membership or address."""


class IRelayOutput(IRunReceiver):
    """Where a route's datagrams go."""

    counters: Counters = Attribute("What was sent, and what was dropped here (L{Counters}).")

    def openOutput() -> None:
        """
        Acquire what is needed to send.

        @raise OSError: it could not be had; nothing stays open.
        """

    def closeOutput() -> Deferred[None]:
        """Send nothing more, and give everything back."""

    def describe() -> list[str]:
        """Where it sends, for people."""
