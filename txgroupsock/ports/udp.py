"""
A UDP port on a reactor, with source-specific multicast, for IPv4 and IPv6.

The main path is L{doRead <txgroupsock.ports.receiver.ReceivingTransport.doRead>} and
L{write <txgroupsock.ports.sender.SendingTransport.write>}; what the network does to a datagram
is counted, what a caller does wrong is raised, and neither closes the port.
"""

from __future__ import annotations

import socket
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    ILoggingContext,
    IMulticastTransport,
    IPushProducer,
    IReadWriteDescriptor,
    ISystemHandle,
)
from twisted.internet.protocol import AbstractDatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from txgroupsock.interfaces import (
    IDestinationErrorReceiver,
    IRunReceiver,
    IRunTransport,
    ISourceMulticastTransport,
)
from txgroupsock.ports.address import checkPeer
from txgroupsock.ports.asked import Asked
from txgroupsock.ports.clock import steady
from txgroupsock.ports.delivery import receivingFor
from txgroupsock.ports.listen import Where
from txgroupsock.ports.memberships import Memberships
from txgroupsock.ports.multicast import MulticastTransport
from txgroupsock.ports.pacing import Shared, checkLatency
from txgroupsock.ports.portlog import logClosed, logStarting, prefixOf
from txgroupsock.ports.receiver import ReceivingTransport
from txgroupsock.ports.sender import DatagramSender, SendingTransport
from txgroupsock.ports.spread import Share, openHelper
from txgroupsock.ports.statistics import PortStatistics, kernelDrops
from txgroupsock.primitives import (
    Environment,
    GroupsockError,
    InterfaceLike,
    TransferError,
    fromSocketAddress,
    makeSocketNonBlocking,
    recordDestinationErrors,
    setupDatagramSocket,
)
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.checks import needClosed, wrongKind
from txgroupsock.primitives.constants import LINUX
from txgroupsock.primitives.errors import sendAdvice
from txgroupsock.primitives.options import hearOnlyOwnGroups

RUN_LATENCY = 0.001
"""Seconds that datagrams may gather under load before a protocol that takes runs gets them."""


@implementer(
    IListeningPort,
    IMulticastTransport,
    ISourceMulticastTransport,
    IRunTransport,
    IReadWriteDescriptor,
    IPushProducer,
    ISystemHandle,
    ILoggingContext,
)
class UDPPort(ReceivingTransport, SendingTransport, MulticastTransport):
    """
    A UDP socket that feeds a L{DatagramProtocol <twisted.internet.protocol.DatagramProtocol>}.

    Addresses are C{(host, port)} as in Twisted; the host of an IPv6 one keeps its scope,
    C{"fe80::1%eth0"}, when received, and may have one when given.

    @ivar statistics: what was counted (L{PortStatistics}).
    """

    _log = Logger()

    @checked
    def __init__(
        self,
        reactor: Any,
        protocol: AbstractDatagramProtocol,
        port: int = 0,
        interface: InterfaceLike = "",
        maxPacketSize: int = 65535,
        *,
        listenMultiple: bool = False,
        reusePort: bool | None = None,
        family: int | None = None,
        latency: float | None = None,
        shared: Shared | None = None,
        openSocket: Callable[..., socket.socket] = setupDatagramSocket,
        spread: bool = False,
    ) -> None:
        """
        A port that is not open yet; the arguments are those of
        L{GroupsockReactor.listenMulticast <txgroupsock.GroupsockReactor.listenMulticast>}.

        @param reactor: provides C{IReactorFDSet} and C{IReactorTime}.
        @param shared: what to have in common with other ports of the same reactor; left out,
            what a L{GroupsockReactor <txgroupsock.GroupsockReactor>} has.
        @param openSocket: makes the socket, with the arguments of L{setupDatagramSocket}.
        """
        self.reactor = reactor = steady(reactor)
        self._protocol = protocol
        self.port = port
        self.interface = interface
        self.maxPacketSize = maxPacketSize
        self.listenMultiple = listenMultiple
        # Linux shares multicast with SO_REUSEADDR alone; SO_REUSEPORT would also deal
        # unicast datagrams out among the sockets.  The BSDs need it for either.
        self.reusePort = (listenMultiple and not LINUX) if reusePort is None else reusePort
        self.statistics = PortStatistics()
        self.connected = False
        self._family = family
        self._wantedLatency = checkLatency(latency)
        self._pacer = None
        self._prefix = ""
        self._seconds = reactor.seconds
        self._shared: Shared = shared or getattr(reactor, "sharedByPorts", None) or Shared(reactor)
        self._openSocket = openSocket
        self._isSpread = spread
        self._helpers: list[UDPPort] = []
        self._peer: tuple[tuple[str, int], ...] = ()
        self._closing = []
        self._pending = deque()

    def __repr__(self) -> str:
        state = "not listening"
        if self.connected:
            host = self.getHost()
            state = f"on {host.host} port {host.port}"
        return f"<{type(self).__name__} of {type(self.protocol).__name__} {state}>"

    def connect(self, host: str, port: int) -> None:
        """
        Exchange datagrams with one address only.

        @param host: a literal address, C{bytes} too; an IPv6 one may have a scope,
            C{"fe80::1%eth0"}.
        @raise InvalidAddressError: it is not an address of this port's family.
        @raise RuntimeError: the port is connected already.
        @raise TransferError: no route leads there; the port stays unconnected.
        """
        if self._peer:
            raise RuntimeError(f"this port is connected already, to {self._peer[0]}")
        target = checkPeer(host, port, self.addressFamily)
        try:
            self.socket.connect(target)
        except OSError as error:
            raise TransferError(
                error.errno, f"connect to {host}", sendAdvice(error.errno)
            ) from error
        # As the caller writes it, and as senders are written.
        self._peer = ((host, port), fromSocketAddress(target))

    # Broadcast

    @checked
    def setBroadcastAllowed(self, enabled: bool) -> None:  # noqa: FBT001 - Twisted's interface
        """Whether this port may send to a broadcast address; at first it may not."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, enabled)

    def getBroadcastAllowed(self) -> bool:
        """Whether this port may send to a broadcast address."""
        return bool(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST))

    # Life

    @property
    def maxPacketSize(self) -> int:
        """Bytes; a larger datagram is dropped, counted and logged once.  May be set."""
        return self._maxPacketSize

    @maxPacketSize.setter
    def maxPacketSize(self, size: int) -> None:
        if isinstance(size, bool) or not isinstance(size, int):
            raise wrongKind("maxPacketSize", size, "a whole number of bytes")
        if not 1 <= size < 2**31:
            wanted = "at least 1" if size < 1 else f"at most {2**31 - 1:,}"
            raise ValueError(f"maxPacketSize is {size}; it must be {wanted}")
        self._maxPacketSize = size

    def startListening(self) -> None:
        """
        Open the socket and begin to read.

        @raise CannotListenError: it could not be had; C{socketError} says why.
        @raise RuntimeError: it is open already.
        """
        needClosed(self, self.connected)
        try:
            where = Where.of(self.interface, self._family)
            sock = self._open(where)
        except GroupsockError as error:
            raise CannotListenError(self.interface, self.port, error) from error
        self.addressFamily = sock.family
        self.socket = sock
        spread = partial(openHelper, self, self._helpers) if self._isSpread else None
        self.memberships = Memberships(sock, where.interface, spread)
        self._where = where
        self._peer = ()
        self._sender = DatagramSender(
            sock, self.statistics, lambda: self.reactor.addWriter(self), self._refused
        )
        self._pending.clear()
        self._asked = Asked(sock)
        try:
            self.useProtocol(self.protocol)
        except GroupsockError as error:
            sock.close()
            raise CannotListenError(self.interface, self.port, error) from error
        self.connected = True
        self._realPortNumber = sock.getsockname()[1]  # as Twisted calls it, and programs do
        logStarting(self.protocol, self._realPortNumber)
        self.resumeProducing()
        try:
            self.protocol.makeConnection(self)
        except BaseException:
            self._giveBack()
            raise

    def useProtocol(self, protocol: AbstractDatagramProtocol) -> None:
        """
        Give what arrives to a protocol from now on, and what has been read already, in the form
        that it wants; the caller starts it.  Setting C{protocol} does the same.
        @raise GroupsockError: the kernel cannot tell what this protocol asks for.
        """
        self._protocol = protocol
        self._prefix = ""
        self._reportDestinationError = None
        self._asked.takeBack()
        self._receiving, delivery = receivingFor(self, self._shared.memory, self._asked)
        self._handOverBy(delivery)
        self._pace()
        if IDestinationErrorReceiver.providedBy(protocol):
            self._asked.ask(recordDestinationErrors)
            self._reportDestinationError = protocol.destinationFailed
        for each in self._helpers:
            share: Any = Share(protocol)
            each.useProtocol(share)

    @property
    def latency(self) -> float:
        """
        Seconds that datagrams may gather under load before they are read; 0 for none.

        May be set at any time, to a finite number, 0 or more, and holds from then on.
        """
        wanted = self._wantedLatency
        return RUN_LATENCY * IRunReceiver.providedBy(self.protocol) if wanted is None else wanted

    @latency.setter
    def latency(self, latency: float) -> None:
        self._wantedLatency = checkLatency(latency)
        self._pace()
        for each in self._helpers:
            each.latency = latency

    def _pace(self) -> None:
        """Have the pacer for the latency there is now."""
        if self._isPaced:
            self._leavePacer()
            self._watchAnew()
        self._pacer = self._shared.pacer(self.latency) if self.latency else None

    def another(self, protocol: Any) -> UDPPort:
        """A port like this one, not open yet, that shares its number and feeds a protocol."""
        return UDPPort(
            self.reactor,
            protocol,
            self.getHost().port,
            self.interface,
            self.maxPacketSize,
            listenMultiple=True,
            reusePort=self.reusePort,
            family=self._family,
            latency=self._wantedLatency,
            shared=self._shared,
            openSocket=self._openSocket,
        )

    def _open(self, where: Where) -> socket.socket:
        reuse = self.listenMultiple or self._isSpread
        env = Environment(reuseFlag=reuse, sendingInterface=where.interface)
        sock = self._openSocket(
            env, self.port, where.family, bindAddress=where.address, reusePort=self.reusePort
        )
        try:
            makeSocketNonBlocking(sock)
            hearOnlyOwnGroups(sock)
        except BaseException:
            sock.close()
            raise
        return sock

    def resumeProducing(self) -> None:
        """Read again."""
        super().resumeProducing()
        for each in self._helpers:
            each.resumeProducing()

    def pauseProducing(self) -> None:
        """Read nothing until L{resumeProducing}; the kernel's buffer holds what it can."""
        super().pauseProducing()
        for each in self._helpers:
            each.pauseProducing()

    def stopListening(self) -> Deferred[None]:
        """
        Close the port, leaving its groups.

        @return: fires when it is closed and the protocol's C{stopProtocol} was called.
        """
        if not self.connected:
            return succeed(None)
        if not self._closing:
            self.pauseProducing()
            # Not now: this may be a call from within doRead, with more to be done there.
            self.reactor.callLater(0, self.connectionLost)
        closed: Deferred[None] = Deferred()
        self._closing.append(closed)
        return closed

    def loseConnection(self) -> None:
        """Twisted's old name for L{stopListening}."""
        warnings.warn(
            "Please use stopListening() to close a port", DeprecationWarning, stacklevel=2
        )
        self.stopListening()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        Give everything back.

        @param reason: why the reactor calls this, if it does: the descriptor has been closed,
            or the reactor is stopping.  But poll and epoll also call this for an error that
            waits on the socket, such as the echo of an ICMP message: then nothing is lost.
        """
        if not self.connected or (reason is not None and self._survives(reason)):
            return
        self.pauseProducing()
        logClosed(self.protocol, self._realPortNumber)
        try:
            self.protocol.doStop()
        except BaseException:  # noqa: BLE001 - the descriptor has to be given back
            self._log.failure("{port} failed in stopProtocol", port=self)
        self._giveBack()

    def _giveBack(self) -> None:
        self.pauseProducing()
        self.reactor.removeWriter(self)
        self.connected = False
        self._sender.close()
        self._cancelInTurn()
        self._pending.clear()
        self._asked.leave()
        while self._helpers:
            self._helpers.pop().connectionLost()
        with suppress(OSError):  # somebody else closed the descriptor
            self.socket.close()
        closing, self._closing = self._closing, []
        for each in closing:
            each.callback(None)

    def stopProducing(self) -> None:
        """Close the port."""
        self.stopListening()

    # What it is

    def getHost(self) -> IPv4Address | IPv6Address:
        """The address it is bound to."""
        kind = IPv4Address if self.addressFamily == socket.AF_INET else IPv6Address
        return kind("UDP", *self.socket.getsockname())

    def getHandle(self) -> socket.socket:
        """The socket, for options of one's own."""
        return self.socket

    def fileno(self) -> int:
        """The descriptor; -1 when closed."""
        return self.socket.fileno() if self.connected else -1

    def logPrefix(self) -> str:
        """The protocol's own prefix, or its class, and C{(UDP)}."""
        if not self._prefix:  # 3 µs, and the reactor asks at every wake-up
            self._prefix = f"{prefixOf(self.protocol)} (UDP)"
        return self._prefix

    def kernelDrops(self) -> int | None:
        """
        Datagrams that the kernel dropped because this port's receive buffer was full;
        L{None} where it does not tell.
        """
        drops = [kernelDrops(each.socket) for each in (self, *self._helpers)]
        return None if None in drops else sum(filter(None, drops))
