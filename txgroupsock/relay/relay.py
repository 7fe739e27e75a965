"""Several routes in one process."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from zope.interface import implementer

from txgroupsock.interfaces import IRelay
from txgroupsock.ports import GroupsockReactor
from txgroupsock.relay.filelimit import allowOpenFiles
from txgroupsock.relay.plan import RelayModel
from txgroupsock.relay.route import Route
from txgroupsock.relay.sharing import SharedInputs
from txgroupsock.relay.status import RouteStatus

_SPARE_FILES = 64  # of Python, Twisted and what else is in the process


@implementer(IRelay)
class Relay:
    """
    Routes that are opened and closed together.

    @ivar routes: see L{Route}.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)

    @classmethod
    def of(cls, reactor: Any, model: RelayModel) -> Relay:
        """The relay that a model describes, not open yet; what its routes can share they do."""
        reactor = GroupsockReactor(reactor)
        inputs = SharedInputs(reactor)
        return cls([Route.of(reactor, each, inputs) for each in model.routes])

    def openRelay(self) -> list[RouteStatus]:
        """See L{IRelay}."""
        allowOpenFiles(_SPARE_FILES + sum(1 + len(each.outputs) for each in self.routes))
        with ExitStack() as opened:
            for route in self.routes:
                route.openRoute()
                opened.callback(route.closeRoute)
            opened.pop_all()
        return self.status()

    def closeRelay(self) -> Deferred[list[RouteStatus]]:
        """See L{IRelay}."""
        atTheEnd = self.status()
        closed = gatherResults([each.closeRoute() for each in self.routes])
        return closed.addCallback(lambda _: atTheEnd)

    def status(self) -> list[RouteStatus]:
        """See L{IRelay}."""
        return [each.status() for each in self.routes]
