"""Where a route's datagrams go: one UDP destination."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.interfaces import IRelayOutput
from txgroupsock.primitives import (
    AddressError,
    Destination,
    Environment,
    IPAddress,
    SocketSetupError,
    TransferError,
    increaseSendBufferTo,
    interfaceIndex,
    makeSocketNonBlocking,
    parseAddress,
    setupDatagramSocket,
)
from txgroupsock.primitives.errors import sendAdvice
from txgroupsock.primitives.networkinterface import interfaceName
from txgroupsock.primitives.run import Run
from txgroupsock.primitives.sockaddr import describe, familyOf
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.model import OutputModel, withScope

SEND_BUFFER = 1024 * 1024
"""Bytes: for bursts that leave faster than the interface takes them."""


@implementer(IRelayOutput)
class UDPOutput:
    """
    Sends to one address, unicast or multicast, on a socket of its own.

    TTL and interface travel with each message, and a run leaves with one call where the kernel
    can cut it up (L{Destination <txgroupsock.Destination>}).  What cannot be sent now is
    dropped and counted: a stream that comes late is worth nothing, and no destination may hold
    up another.

    @cvar quiet: at most one line of log about failures in so many seconds.
    """

    quiet: ClassVar[float] = 10.0

    _log = Logger()

    def __init__(self, reactor: Any, model: OutputModel) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self._reactor = reactor
        self._model = model
        self._socket: socket.socket | None = None
        self._destination: Destination | None = None
        self._errorsSeen: Counter[int] = Counter()
        self._droppedSaid = 0
        self._saidAt = float("-inf")
        self.counters = Counters()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._model}>"

    def openOutput(self) -> None:
        """See L{IRelayOutput}."""
        address = self._resolve()
        index = interfaceIndex(self._model.interface)
        self._destination = Destination(
            withScope(address, index), self._model.port, ttl=self._model.ttl, interface=index
        )
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
        there = self._destination
        if there is None:
            return []
        where = f"{there.target[0]} port {there.port}"
        if there.interface:
            where += f" by {interfaceName(there.interface)}"
        if there.ttl is not None:
            where += f" with TTL {there.ttl}"
        return [f"sending to {where}"]

    def runReceived(self, run: Run) -> None:
        """Send every datagram of a run."""
        sock, there, counters = self._socket, self._destination, self.counters
        if sock is None or there is None:
            counters.dropped["closed"] += len(run)
            return
        sent = there.sendRun(sock, run.data, run.segmentSize)
        if sent < len(run):
            there.dropped(len(run) - sent, errno.EAGAIN)
        counters.datagrams = there.statistics.datagramsSent
        counters.bytes = there.statistics.bytesSent
        if there.statistics.errors != self._errorsSeen:
            self._failed(there)

    def _failed(self, there: Destination) -> None:
        """Count what was dropped of a run, and say so now and then."""
        new = there.statistics.errors - self._errorsSeen
        self._errorsSeen = there.statistics.errors.copy()
        for number, count in new.items():
            self.counters.failed(number, count)
        now = self._reactor.seconds()
        if now - self._saidAt < self.quiet:
            return
        dropped = self.counters.dropped.total()
        number = next(iter(new))
        self._log.warn(
            "{output}: {error} ({count:,} dropped since the last such line)",
            output=self._model,
            error=TransferError(number, f"send to {describe(there.target)}", sendAdvice(number)),
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
