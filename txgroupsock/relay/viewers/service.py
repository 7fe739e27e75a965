"""Viewers as a Twisted service: listens, and closes it all."""

from __future__ import annotations

from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from txgroupsock.ports import GroupsockReactor
from txgroupsock.primitives.arguments import checked
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.engine.filelimit import allowOpenFiles
from txgroupsock.relay.engine.inputs import SharedInputs
from txgroupsock.relay.errors import StartError
from txgroupsock.relay.health.sharedhooks import SharedHooks
from txgroupsock.relay.http.bounded import BoundedSite
from txgroupsock.relay.http.listening import Listening
from txgroupsock.relay.threads import Threads
from txgroupsock.relay.turns import Turns, Work, atOnce
from txgroupsock.relay.viewers.change import Offer, ViewersChange, offersOf
from txgroupsock.relay.viewers.channels import Channels
from txgroupsock.relay.viewers.model import StreamModel, ViewersModel
from txgroupsock.relay.viewers.status import ViewersStatus
from txgroupsock.relay.viewers.tcp import StreamFactory
from txgroupsock.relay.viewers.web import StreamRequest, StreamResource

_USUAL: Final = ViewersModel()
_SPARE_FILES = 64  # of Python, Twisted and what else is in the process


class ViewerService(Service):
    """
    Gives streams to viewers by HTTP and TCP.

    Connections have keep-alive: a viewer that has gone without a word is found out even while
    the stream is silent.

    @ivar model: what it was asked to be.
    """

    _log = Logger()

    @checked
    def __init__(
        self,
        reactor: Any,
        model: ViewersModel = _USUAL,
        inputs: SharedInputs | None = None,
        hooks: SharedHooks | None = None,
    ) -> None:
        """
        @param reactor: one that can watch descriptors (all but Windows' IOCP).
        @param model: left out, it listens on loopback and allows nothing.
        @param inputs: those of the routes of this process, to receive a group only once.
        @param hooks: those of the routes of this process, to tell of alarms in order.
        """
        self.model = model
        self._reactor = GroupsockReactor(reactor)
        self._threads = Threads(self._reactor)
        self._turns = Turns(self._reactor)
        self._inputs = inputs or SharedInputs(self._reactor)
        self._listenings: list[Listening] = []
        self._change: ViewersChange | None = None
        self._isOpen = False
        limits = self.model.limits
        named = self.model.named
        self._channels = Channels(self._reactor, self._inputs, limits, named, hooks)
        self._resource = StreamResource(self._channels, self.model.allowed, self.model.access)
        self._refused = self._resource.refused
        self._site = BoundedSite(
            self._reactor,
            self._resource,
            StreamRequest,
            limits.headTime,
            limits.connections,
            self._refused,
        )

    def privilegedStartService(self) -> None:
        """
        Listen everywhere.

        @raise StartError: it cannot somewhere; then it does nowhere.
        """
        if self._isOpen:
            return
        Service.privilegedStartService(self)
        allowOpenFiles(_filesOf(self.model))
        self._isOpen = True
        self._listenings = [self._make(each) for each in offersOf(self.model)]
        try:
            for listening in self._listenings:
                listening.openNow()
        except OSError as error:
            self._close()
            raise StartError(error) from error

    def startService(self) -> None:
        """Listen if it does not yet."""
        if self.running:
            return
        Service.startService(self)
        if not self._isOpen:
            self.privilegedStartService()

    def stopService(self) -> Deferred[Any]:
        """Close everything; fires when all is given back."""
        Service.stopService(self)
        return self._close()

    def prepare(self, model: ViewersModel) -> Deferred[ViewersChange]:
        """
        Open what another model has and this service does not.

        Nothing else changes until the change is committed.

        @return: what to commit or to abandon; or it fails with L{OSError}, and all is as it was.
        @raise RuntimeError: (in the L{Deferred}) this is not open, or another change is not over.
        """
        return Deferred.fromCoroutine(self._prepare(model))

    async def _prepare(self, model: ViewersModel) -> ViewersChange:
        if not self._isOpen:
            raise RuntimeError("this service is not open, so nothing can be changed in it")
        if self._change is not None and not self._change.isOver:
            raise RuntimeError("another change has been neither committed nor abandoned")
        allowOpenFiles(_filesOf(model))
        there = self._listenings
        self._change = change = ViewersChange(model, there, self._make, self._take, self._turns)
        await change.open()
        return change

    def _take(self, change: ViewersChange) -> Deferred[Any]:
        self.model = model = change.model
        self._resource.change(model.allowed, model.access)
        self._site.headTime = model.limits.headTime
        self._site.connections = model.limits.connections
        for listening, (_, stream) in zip(change.listenings, offersOf(model), strict=True):
            listening.stream = stream
            if stream is not None:
                listening.factory.stream = stream
        self._listenings = change.listenings
        for listening in change.new:
            listening.letIn()
        if not model.endpoints:
            self._site.endIdle()
        closing = [each.close() for each in change.gone]
        return gatherResults([*closing, self._channels.change(model)])

    def status(self) -> ViewersStatus:
        """What there is to know about it now."""
        return atOnce(self.makingStatus())

    def makingStatus(self) -> Work[ViewersStatus]:
        """The same, some viewers at a time."""
        channels, totals = yield from self._channels.makingStatus()
        return ViewersStatus(
            tuple(each.address for each in self._listenings if each.address is not None),
            self.model.limits,
            self._channels.streams(),
            channels,
            self._channels.viewers,
            totals,
            dict(self._refused),
        )

    def counters(self) -> list[tuple[str, Counters]]:
        """The name of each channel that is open, and what has come in: at little cost."""
        return self._channels.counters()

    def _make(self, offer: Offer) -> Listening:
        endpoint, stream = offer
        factory: Any = self._site
        if stream is not None:
            factory = StreamFactory(self._channels, stream, self._refused)
        text = "viewers may connect to {address}"
        return Listening(self._reactor, endpoint, factory, text, stream, self._threads)

    def _close(self) -> Deferred[Any]:
        self._isOpen = False
        listenings, self._listenings = self._listenings, []
        closing = [each.close() for each in listenings]
        if self._change is not None:
            closing.append(self._change.end())
            self._change = None
        return gatherResults([*closing, self._channels.close(), self._site.close()])


def _filesOf(model: ViewersModel) -> int:
    """How many descriptors it needs, at most."""
    limits = model.limits
    isAnywhere = model.endpoints or model.tcp
    most = _SPARE_FILES + limits.viewers + limits.connections + limits.channels
    streams = [each for each in model.named.values() if isinstance(each, StreamModel)]
    most += sum(len(each.input.legs) - 1 for each in streams)  # a channel has one, at least
    return most if isAnywhere else 0
