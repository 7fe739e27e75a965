"""Where a route's datagrams go: one UDP destination."""

from __future__ import annotations

import socket
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.interfaces import IRelayOutput
from txgroupsock.primitives import (
    AddressError,
    Ancillary,
    Environment,
    IPAddress,
    SocketAddress,
    SocketSetupError,
    TransferError,
    ancillaryFor,
    increaseSendBufferTo,
    interfaceIndex,
    makeSocketNonBlocking,
    parseAddress,
    setupDatagramSocket,
    toSocketAddress,
    writeSocket,
)
from txgroupsock.primitives.networkinterface import interfaceName
from txgroupsock.primitives.run import Run
from txgroupsock.primitives.sockaddr import familyOf
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.model import OutputModel, withScope

SEND_BUFFER = 1024 * 1024
"""Bytes: for bursts that leave faster than the interface takes them."""


@implementer(IRelayOutput)
class UDPOutput:
    """
    Sends to one address, unicast or multicast, on a socket of its own.

    TTL and interface travel with each message (L{ancillaryFor}).  What cannot be sent now
    is dropped and counted: a stream that comes late is worth nothing, and no destination
    may hold up another.

    @cvar quiet: at most one line of log about failures in so many seconds.
    """

    quiet: ClassVar[float] = 10.0

    _log = Logger()

    def __init__(self, reactor: Any, model: OutputModel) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self._reactor = reactor
        self._model = model
        self._socket: socket.socket | None = None
        self._target: SocketAddress | None = None
        self._ancillary: Ancillary = []
        self._interface = 0
        self._droppedSaid = 0
        self._saidAt = float("-inf")
        self.counters = Counters()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._model}>"

    def openOutput(self) -> None:
        """See L{IRelayOutput}."""
        address = self._resolve()
        self._interface = interfaceIndex(self._model.interface)
        self._ancillary = ancillaryFor(
            familyOf(address), ttl=self._model.ttl, interface=self._interface
        )
        self._target = toSocketAddress(withScope(address, self._interface), self._model.port)
        sock = setupDatagramSocket(Environment(reuseFlag=False), 0, familyOf(address))
        try:
            makeSocketNonBlocking(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            increaseSendBufferTo(sock, SEND_BUFFER, force=True)
        except BaseException:
            sock.close()
            raise
        self._socket = sock

    def closeOutput(self) -> Deferred[None]:
        """See L{IRelayOutput}."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        return succeed(None)

    def describe(self) -> list[str]:
        """See L{IRelayOutput}."""
        if self._target is None:
            return []
        where = f"{self._target[0]} port {self._target[1]}"
        if self._interface:
            where += f" by {interfaceName(self._interface)}"
        if self._model.ttl is not None:
            where += f" with TTL {self._model.ttl}"
        return [f"sending to {where}"]

    def runReceived(self, run: Run) -> None:
        """Send every datagram of a run."""
        sock, target, ancillary, counters = (
            self._socket,
            self._target,
            self._ancillary,
            self.counters,
        )
        if sock is None:
            counters.dropped["closed"] += len(run)
            return
        for datagram in run:
            try:
                writeSocket(sock, target, datagram, ancillary)
            except TransferError as error:
                counters.failed(error.errno)
                self._failed(error)
            else:
                counters.passed(len(datagram))

    def _failed(self, error: TransferError) -> None:
        now = self._reactor.seconds()
        if now - self._saidAt < self.quiet:
            return
        dropped = self.counters.dropped.total()
        self._log.warn(
            "{output}: {error} ({count:,} dropped since the last such line)",
            output=self._model,
            error=error,
            count=dropped - self._droppedSaid,
        )
        self._saidAt, self._droppedSaid = now, dropped

    def _resolve(self) -> IPAddress:
        """The address of the destination; a host name is looked up once, here."""
        host = self._model.host
        try:
            return parseAddress(host)
        except AddressError:
            pass
        try:
            found = socket.getaddrinfo(host, self._model.port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: a label is too long
            raise SocketSetupError(
                None,
                f"find the address of {host}",
                "check the name and this host's DNS, or give an address",
                reason=str(getattr(error, "strerror", error)),
            ) from error
        return parseAddress(str(found[0][4][0]))
