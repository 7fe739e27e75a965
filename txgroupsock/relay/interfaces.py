"""What the parts of a relay promise each other, and one of your own has to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

from txgroupsock.interfaces import IRunReceiver

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from twisted.internet.defer import Deferred

    from txgroupsock.relay.counters import Counters
    from txgroupsock.relay.models.route import RelayModel
    from txgroupsock.relay.status import Outcome, RouteStatus


class IWarning(Interface):
    """Part of a relay that may have something to tell an operator."""

    def warnings() -> list[str]:
        """What is not as it should be, in words, each with what to do about it."""


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


class IRelayStage(IRunReceiver):
    """
    Something that a route's datagrams pass between its input and its outputs.

    It gives on what it will of each run, before it returns or later; a run that it keeps it
    copies.  What it does not give on it counts as dropped.
    """

    counters: Counters = Attribute("What was given on, and what was not (L{Counters}).")

    def openStage(receiver: IRunReceiver) -> None:
        """
        Acquire what is needed, and from then on give runs to a receiver.

        @raise OSError: it could not be had; nothing stays open.
        """

    def closeStage() -> Deferred[None]:
        """Give nothing on any more, and give everything back."""


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


class IRelay(Interface):
    """Routes that are opened and closed together, in this process or in others."""

    def openRelay() -> list[RouteStatus]:
        """
        Open every route; returns what is open, route by route.

        @raise OSError: one of them could not be opened; then none stays open.
        """

    def closeRelay() -> Deferred[list[RouteStatus]]:
        """Close every route; fires, when all is given back, with what each was at the end."""

    def status() -> list[RouteStatus] | Deferred[list[RouteStatus]]:
        """What there is to know about each route now, in their order."""

    def counters() -> Iterable[tuple[str, Sequence[Counters]]]:
        """
        The name of each route, and the counters of its parts in the order of
        L{RouteStatus.ends}: as they are when it is their turn, or were a second ago.
        """

    def change(model: RelayModel) -> Deferred[Outcome]:
        """
        Go over to the routes of another model, all of it or nothing.

        What is in both stays as it is, open, and loses nothing.  One change is made after another.

        @return: fires when what is gone is closed; or fails with the L{OSError} why something new
            could not be opened, or with L{RuntimeError} if this cannot be changed while it runs,
            or does not run; then all is as it was before.
        """
