"""Viewers as a Twisted service: listens, and closes it all."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgroupsock.ports import GroupsockReactor
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.endpoint import isFromSystemd, serverEndpoint
from txgroupsock.relay.filelimit import allowOpenFiles
from txgroupsock.relay.service import StartError
from txgroupsock.relay.sharing import SharedInputs
from txgroupsock.relay.viewers.channels import Channels
from txgroupsock.relay.viewers.model import ViewersModel
from txgroupsock.relay.viewers.status import ViewersStatus
from txgroupsock.relay.viewers.tcp import StreamFactory
from txgroupsock.relay.viewers.viewer import addressOf
from txgroupsock.relay.viewers.web import StreamResource, StreamSite

_SPARE_FILES = 64  # of Python, Twisted and what else is in the process


class ViewerService(Service):
    """
    Gives streams to viewers by HTTP and TCP.

    Connections have keep-alive: a viewer that has gone without a word is found out even while
    the stream is silent.

    @ivar model: what it was asked to be.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, model: ViewersModel | None = None, inputs: SharedInputs | None = None
    ) -> None:
        """
        @param reactor: one that can watch descriptors (all but Windows' IOCP).
        @param model: left out, it listens on loopback and allows nothing.
        @param inputs: those of the routes of this process, to receive a group only once.
        """
        self.model = model or ViewersModel()
        self._reactor = GroupsockReactor(reactor)
        self._inputs = inputs or SharedInputs(self._reactor)
        self._ports: list[Any] = []
        self._isOpen = False
        self._setUp()

    def _setUp(self) -> None:
        model = self.model
        self._channels = Channels(self._reactor, self._inputs, model.limits, model.named)
        self._resource = StreamResource(self._channels, model.allowed, model.access)
        self._site = StreamSite(self._reactor, self._resource, model.limits)
        self._refused = self._resource.refused

    def privilegedStartService(self) -> None:
        """
        Listen everywhere.

        @raise StartError: it cannot somewhere; then it does nowhere.
        """
        Service.privilegedStartService(self)
        limits = self.model.limits
        allowOpenFiles(_SPARE_FILES + limits.viewers + limits.connections + limits.channels)
        self._isOpen = True
        try:
            for each in self.model.endpoints:
                self._listen(each, self._site)
            for tcp in self.model.tcp:
                if isinstance(tcp.stream, str) and not self._channels.has(tcp.stream):
                    raise ValueError(f"{tcp.endpoint}: there is no stream {tcp.stream!r}")
                factory = StreamFactory(self._channels, tcp.stream, self._refused)
                self._listen(tcp.endpoint, factory)
        except (OSError, ValueError, TypeError, LookupError, CannotListenError) as error:
            self._close()
            raise StartError(error) from error

    def startService(self) -> None:
        """Listen if it does not yet."""
        Service.startService(self)
        if not self._isOpen:
            self.privilegedStartService()

    def stopService(self) -> Deferred[Any]:
        """Close everything; fires when all is given back."""
        Service.stopService(self)
        return self._close()

    def status(self) -> ViewersStatus:
        """What there is to know about it now."""
        return ViewersStatus(
            tuple(addressOf(port.getHost()) for port in self._ports),
            self._channels.status(),
            self._channels.viewers,
            self._channels.totals(),
            dict(self._refused),
        )

    def counters(self) -> list[tuple[str, Counters]]:
        """The name of each channel that is open, and what has come in: at little cost."""
        return self._channels.counters()

    def _listen(self, endpoint: str, factory: Any) -> None:
        """
        Listen somewhere.

        Nearly every endpoint does so at once; of one that does not, failure is logged.
        """
        failures: list[Failure] = []
        hasReturned = False

        def failed(failure: Failure) -> None:
            failures.append(failure)
            if hasReturned:
                self._log.failure("cannot listen on {endpoint}", failure, endpoint=endpoint)

        listening = maybeDeferred(serverEndpoint(self._reactor, endpoint).listen, factory)
        listening.addCallbacks(self._listens, failed)
        hasReturned = True
        if failures and failures[0].check(OSError) and isFromSystemd(endpoint):
            why = f"{failures[0].value}; what systemd handed over can be listened on once only"
            raise ValueError(f"{endpoint}: {why}")
        if failures:
            failures[0].raiseException()

    def _listens(self, port: Any) -> None:
        if not self._isOpen:  # it took too long
            port.stopListening()
            return
        self._ports.append(port)
        self._log.info("viewers may connect to {address}", address=addressOf(port.getHost()))

    def _close(self) -> Deferred[Any]:
        self._isOpen = False
        ports, self._ports = self._ports, []
        closing = [maybeDeferred(each.stopListening) for each in ports]
        return gatherResults([*closing, self._channels.close(), self._site.close()])
