"""Where a route's datagrams come from: one UDP port, and the groups it has joined."""

from __future__ import annotations

from collections import Counter
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.interfaces import IRelayInput, IRunReceiver, IWarning
from txgroupsock.ports import GroupsockReactor, UDPPort
from txgroupsock.ports.udp import RUN_LATENCY
from txgroupsock.primitives import BufferSize, increaseReceiveBufferTo, interfaceIndex
from txgroupsock.primitives.run import Run
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.echo import EchoGuard
from txgroupsock.relay.feedback import Feedback
from txgroupsock.relay.model import InputModel, withScope

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Bytes: 0.3 s of a 100 Mbit/s stream, for when this process is kept waiting."""


@implementer(IRelayInput, IRunReceiver, IWarning)
class UDPInput(DatagramProtocol):
    """
    Receives a group, from any source or from chosen ones, or unicast datagrams.

    A group's port is shared with other programs on this host, as is usual for multicast,
    and bound to the group, so that no other group on that port gets in; a unicast port
    is not shared.

    @ivar buffer: the receive buffer that was asked for and granted; L{None} until it is open.
    """

    noisy = False  # Twisted would log when it starts and stops

    _log = Logger()
    _receiver: IRunReceiver

    def __init__(
        self,
        reactor: Any,
        model: InputModel,
        *,
        isShared: bool | None = None,
        feedback: Feedback | None = None,
    ) -> None:
        """
        @param reactor: provides C{IReactorFDSet} and C{IReactorTime}.  Inputs of one
            L{GroupsockReactor <txgroupsock.GroupsockReactor>} share what they receive into.
        @param isShared: whether other sockets may have the same port; left out, a group's is.
        @param feedback: knows the outputs of this process, so that what they send is not
            relayed round and round.
        """
        self.model = model
        self.buffer: BufferSize | None = None
        isOurs = isinstance(reactor, GroupsockReactor)
        self._reactor = reactor if isOurs else GroupsockReactor(reactor)
        self._isShared = model.isMulticast if isShared is None else isShared
        self._feedback = feedback or Feedback()
        self._port: UDPPort | None = None
        self._counters = Counters()
        self._droppedBefore = Counter[str]()  # by ports that have been closed
        self._guard = EchoGuard(self._reactor, self._pass, self._counters, model)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model}>"

    @property
    def counters(self) -> Counters:
        """See L{IRelayInput}."""
        if self._port is not None and self._port.connected:
            dropped, before = self._counters.dropped, self._droppedBefore
            truncated = self._port.statistics.datagramsTruncated
            for reason, count in (("truncated", truncated), ("kernel", self._port.kernelDrops())):
                if count:
                    dropped[reason] = before[reason] + count
        return self._counters

    def openInput(self, receiver: IRunReceiver) -> None:
        """See L{IRelayInput}."""
        model, self._receiver = self.model, receiver
        address = withScope(model.address, interfaceIndex(model.interface))
        try:
            port = self._reactor.listenMulticast(
                model.port,
                self,
                str(address),
                listenMultiple=self._isShared,
                latency=model.latency,
            )
        except CannotListenError as error:
            raise error.socketError from None
        try:
            self._prepare(port)
        except BaseException:
            port.connectionLost()
            raise
        self._port = port

    def setLatency(self, latency: float | None) -> None:
        """
        Let datagrams gather for another time from now on.

        @param latency: seconds; L{None} for the usual.
        """
        self.model = evolve(self.model, latency=latency)
        if self._port is not None:
            self._port.latency = RUN_LATENCY if latency is None else latency

    def _prepare(self, port: UDPPort) -> None:
        """Join what there is to join, and have room for it."""
        model = self.model
        self.buffer = buffer = increaseReceiveBufferTo(port.getHandle(), RECEIVE_BUFFER, force=True)
        if buffer.isClamped:
            self._log.warn(
                "the receive buffer of {model} has {buffer.granted:,} bytes instead of "
                "{buffer.requested:,}; {buffer.advice}",
                model=model,
                buffer=buffer,
            )
        for source in model.sources:
            port.memberships.joinSource(model.address, source, model.interface)
        if model.isMulticast and not model.sources:
            port.memberships.join(model.address, model.interface)

    def closeInput(self) -> Deferred[None]:
        """See L{IRelayInput}."""
        self._droppedBefore = self.counters.dropped.copy()  # the kernel's go with the socket
        self._guard.close()
        port, self._port = self._port, None
        return succeed(None) if port is None else port.stopListening()

    def describe(self) -> list[str]:
        """See L{IRelayInput}."""
        if self._port is None:
            return []
        host = self._port.getHost()
        joined = [f"joined {each}, port {host.port}" for each in self._port.memberships]
        return joined or [f"listening on {host.host} port {host.port}"]

    def warnings(self) -> list[str]:
        """See L{IWarning}."""
        advice = "" if self.buffer is None else self.buffer.advice
        return [f"the receive buffer is small: {advice}"] if advice else []

    def runReceived(self, run: Run) -> None:
        """Pass a run on, unless it is what this process has sent, or what came in before."""
        if self._feedback.isLoop(self, run):
            self._counters.dropped["loop"] += len(run)
        else:
            self._guard.admit(run)

    def _pass(self, run: Run) -> None:
        self._counters.passed(len(run), len(run.data))
        self._receiver.runReceived(run)
