"""What the parts of a relay promise each other, and one of your own has to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

from txgroupsock.interfaces import IRunReceiver

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from txgroupsock.relay.counters import Counters


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
