"""The service for operators as a Twisted service."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults

from txgroupsock.ports import GroupsockReactor
from txgroupsock.relay.admin.api import RoutesAPI
from txgroupsock.relay.admin.doctor import DoctorAPI
from txgroupsock.relay.admin.resource import AdminRequest, AdminResource
from txgroupsock.relay.control.control import Control
from txgroupsock.relay.control.monitor import Monitor
from txgroupsock.relay.control.reload import ReloadService
from txgroupsock.relay.errors import StartError
from txgroupsock.relay.http.bounded import BoundedSite
from txgroupsock.relay.http.listening import Listening
from txgroupsock.relay.status import Outcome
from txgroupsock.relay.threads import Threads

_HEAD_TIME = 30.0  # seconds for a request to come and its answer to be taken
_CONNECTIONS = 64


class AdminService(Service):
    """Serves the status page, the API, metrics and health, as the configuration says."""

    def __init__(
        self, reactor: Any, control: Control, reloading: ReloadService | None = None
    ) -> None:
        """
        @param control: of what is shown and changed.
        @param reloading: reads its file again, if there is one.
        """
        self._control = control
        self._monitor = Monitor(reactor, control)
        model = control.configuration.admin
        routes = RoutesAPI(control, reloading)
        self._doctor = DoctorAPI(reactor, control)
        self._resource = AdminResource(model, self._monitor, routes, self._doctor)
        self._site = BoundedSite(
            reactor, self._resource, AdminRequest, _HEAD_TIME, _CONNECTIONS, self._resource.refused
        )
        self._reactor = GroupsockReactor(reactor)
        self._threads = Threads(self._reactor)
        self._listenings: list[Listening] = []
        self._isOpen = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens."""
        return tuple(each.address for each in self._listenings if each.address is not None)

    def privilegedStartService(self) -> None:
        """
        Listen.

        @raise StartError: it cannot.
        """
        if self._isOpen:
            return
        Service.privilegedStartService(self)
        self._isOpen = True
        text = "status, API and metrics are at {address}"
        self._listenings = [
            Listening(self._reactor, each, self._site, text, threads=self._threads)
            for each in self._resource.model.endpoints
        ]
        try:
            for each in self._listenings:
                each.openNow()
        except OSError as error:
            self._close()
            raise StartError(error) from error

    def startService(self) -> None:
        """Listen if nobody does yet, and begin to look at the counters."""
        if self.running:
            return
        Service.startService(self)
        if not self._isOpen:
            self.privilegedStartService()
        self._control.changed.append(self._changed)
        self._monitor.start()

    def stopService(self) -> Deferred[Any]:
        """Close everything; fires when all is given back."""
        if self.running:
            self._control.changed.remove(self._changed)
        Service.stopService(self)
        self._monitor.stop()
        self._doctor.close()
        self._resource.events.close()
        return self._close()

    def _close(self) -> Deferred[Any]:
        self._isOpen = False
        closing = [each.close() for each in self._listenings]
        return gatherResults([*closing, self._site.close()])

    def _changed(self, _: Outcome) -> None:
        self._resource.model = self._control.configuration.admin
