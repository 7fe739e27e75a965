"""Where a route's datagrams come from: one UDP port, and the groups it has joined."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.interfaces import IRelayInput, IRunReceiver
from txgroupsock.ports import UDPPort
from txgroupsock.primitives import increaseReceiveBufferTo, interfaceIndex
from txgroupsock.primitives.run import Run
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.model import InputModel, withScope

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Bytes: 0.3 s of a 100 Mbit/s stream, for when this process is kept waiting."""


@implementer(IRelayInput, IRunReceiver)
class UDPInput(DatagramProtocol):
    """
    Receives a group, from any source or from chosen ones, or unicast datagrams.

    A group's port is shared with other programs on this host, as is usual for multicast,
    and bound to the group, so that no other group on that port gets in; a unicast port
    is not shared.
    """

    noisy = False  # Twisted would log when it starts and stops

    _log = Logger()
    _receiver: IRunReceiver

    def __init__(self, reactor: Any, model: InputModel, *, isShared: bool | None = None) -> None:
        """
        @param reactor: provides C{IReactorFDSet} and C{IReactorTime}.
        @param isShared: whether other sockets may have the same port; left out, a group's is.
        """
        self._reactor = reactor
        self._model = model
        self._isShared = model.isMulticast if isShared is None else isShared
        self._port: UDPPort | None = None
        self._counters = Counters()

    @property
    def counters(self) -> Counters:
        """See L{IRelayInput}."""
        if self._port is not None and self._port.connected:
            dropped = self._counters.dropped
            dropped["truncated"] = self._port.statistics.datagramsTruncated
            dropped["kernel"] = self._port.kernelDrops() or 0
        return self._counters

    def openInput(self, receiver: IRunReceiver) -> None:
        """See L{IRelayInput}."""
        model, self._receiver = self._model, receiver
        address = withScope(model.address, interfaceIndex(model.interface))
        port = UDPPort(self._reactor, self, model.port, str(address), listenMultiple=self._isShared)
        try:
            port.startListening()
        except CannotListenError as error:
            raise error.socketError from None
        try:
            self._prepare(port)
        except BaseException:
            port.connectionLost()
            raise
        self._port = port

    def _prepare(self, port: UDPPort) -> None:
        """Join what there is to join, and have room for it."""
        model = self._model
        buffer = increaseReceiveBufferTo(port.getHandle(), RECEIVE_BUFFER, force=True)
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
        _ = self.counters  # the kernel's share goes with the socket
        port, self._port = self._port, None
        return succeed(None) if port is None else port.stopListening()

    def describe(self) -> list[str]:
        """See L{IRelayInput}."""
        if self._port is None:
            return []
        host = self._port.getHost()
        joined = [f"joined {each}, port {host.port}" for each in self._port.memberships]
        return joined or [f"listening on {host.host} port {host.port}"]

    def runReceived(self, run: Run) -> None:
        """Count a run, and pass it on."""
        self._counters.passed(len(run), len(run.data))
        self._receiver.runReceived(run)
