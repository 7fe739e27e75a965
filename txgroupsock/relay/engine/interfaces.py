"""What a relay promises, in this process or in others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from twisted.internet.defer import Deferred

    from txgroupsock.relay.counters import Counters
    from txgroupsock.relay.engine.model import RelayModel
    from txgroupsock.relay.status import Outcome, RouteStatus


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
