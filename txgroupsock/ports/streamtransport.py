"""Datagrams on a connection: the transport that a datagram protocol gets there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from attrs import define
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IDelayedCall, IPushProducer, ITCPTransport, IUDPTransport
from twisted.internet.protocol import AbstractDatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.ports.clock import steady

MAX_LENGTH = 0xFFFF  # what a 16-bit length prefix can say


@define
class StreamStatistics:
    """
    Counts since a datagram protocol got its connection; bytes are those of payload.

    @ivar datagramsReceived: handed to the protocol.
    @ivar bytesReceived: in those.
    @ivar datagramsSent: handed to the connection.
    @ivar bytesSent: in those.
    @ivar datagramsDropped: not sent, because the peer took nothing or the connection was gone.
    """

    datagramsReceived: int = 0
    bytesReceived: int = 0
    datagramsSent: int = 0
    bytesSent: int = 0
    datagramsDropped: int = 0


@implementer(IPushProducer)
class Congestion:
    """
    Whether a connection takes more now.

    Registered with it as a producer that has no way to be stopped but by dropping what it has:
    so at most the connection's own buffer (64 KiB in Twisted) and one datagram wait in memory.

    @cvar patience: seconds for the peer to take what waits when the connection is closed.
    """

    patience: ClassVar[float] = 5.0

    def __init__(self, transport: Any) -> None:
        self.isPaused = False
        self.isClosed = False
        self._aborting: IDelayedCall | None = None
        self._insisted = 0
        self._transport = transport
        transport.registerProducer(self, True)
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)  # a datagram is not held back to wait for another

    def pauseProducing(self) -> None:
        self.isPaused = True

    def resumeProducing(self) -> None:
        self.isPaused = False
        self._insisted = 0

    def stopProducing(self) -> None:
        self.isClosed = True

    def insist(self, data: bytes, limit: int) -> bool:
        """
        Write what must not be dropped.

        @param limit: bytes that may wait so, since the peer last took anything.
        @return: L{False} if that would be more; the connection has then been ended.
        """
        if self.isClosed:
            return False
        if self.isPaused:
            self._insisted += len(data)
            if self._insisted > limit:
                self.loseConnection()
                return False
        self._transport.write(data)
        return True

    def loseConnection(self) -> None:
        """Close the connection, without waiting long for a peer that takes nothing."""
        if self.isClosed:
            return
        wasPaused = self.isPaused
        self.isClosed = True
        # Over TLS nothing closes while a producer is registered.
        self._transport.unregisterProducer()
        if wasPaused:
            self._transport.abortConnection()
            return
        self._transport.loseConnection()
        reactor = getattr(self._transport, "reactor", None)  # one made up for a test has none
        if reactor is not None:
            self._aborting = steady(reactor).callLater(self.patience, self._abort)

    def connectionLost(self) -> None:
        """Know that there is nothing to close any more."""
        self.isClosed = True
        if self._aborting is not None:
            self._aborting.cancel()
            self._aborting = None

    def _abort(self) -> None:
        self._aborting = None
        self._transport.abortConnection()


@implementer(IUDPTransport)
class StreamDatagramTransport:
    """
    What a L{DatagramProtocol <twisted.internet.protocol.DatagramProtocol>} writes to when its
    datagrams cross a connection.

    There is one peer, as on a connected UDP port.

    @ivar statistics: what was counted (L{StreamStatistics}).
    @ivar protocol: what gets the datagrams.
    """

    _log = Logger()

    def __init__(
        self,
        stream: Any,
        congestion: Congestion,
        protocol: AbstractDatagramProtocol,
        frame: Callable[[bytes], bytes],
        close: Callable[[], None],
        peer: tuple[str, int] | None = None,
    ) -> None:
        """
        @param stream: the connection's own transport.
        @param congestion: whether it takes more.
        @param protocol: whose transport this is.
        @param frame: makes of a datagram what crosses the connection.
        @param close: ends this, and sooner or later calls L{connectionLost}.
        @param peer: what address the protocol knows the other end by; that of the connection
            if left out.
        """
        self.statistics = StreamStatistics()
        self._stream = stream
        self._congestion = congestion
        self.protocol = protocol
        self._frame = frame
        self._close = close
        self._peer = peer or _hostAndPort(stream.getPeer())
        self._isOpen = True
        self._closing: list[Deferred[None]] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {type(self.protocol).__name__} to {self._peer}>"

    # For the protocol

    def write(self, packet: bytes, addr: tuple[str, int] | None = None) -> None:
        """
        Send a datagram; if the connection takes nothing now it is dropped, and counted.

        @param addr: the peer's, or L{None}.
        @raise MessageLengthError: it is longer than 65,535 bytes.
        @raise ValueError: another address.
        """
        if addr is not None and tuple(addr[:2]) != self._peer:
            raise ValueError(f"this connection leads to {self._peer}, not to {addr}")
        if len(packet) > MAX_LENGTH:
            raise MessageLengthError(f"{len(packet)} bytes; a frame has at most {MAX_LENGTH}")
        if not self._isOpen or self._congestion.isPaused or self._congestion.isClosed:
            self.statistics.datagramsDropped += 1
            return
        self.statistics.datagramsSent += 1
        self.statistics.bytesSent += len(packet)
        self._stream.write(self._frame(packet))

    def connect(self, host: str, port: int) -> None:
        """
        Do nothing: the connection leads to one peer anyway.

        @raise ValueError: that is another one.
        """
        if (host, port) != self._peer:
            raise ValueError(f"this connection leads to {self._peer}, not to {(host, port)}")

    def getHost(self) -> Any:
        """This end's address on the connection."""
        return self._stream.getHost()

    def getPeer(self) -> Any:
        """The other end's address on the connection."""
        return self._stream.getPeer()

    def stopListening(self) -> Deferred[None]:
        """End; fires when the protocol's C{stopProtocol} was called."""
        if not self._isOpen:
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._closing.append(closed)
        self._close()
        return closed

    def setBroadcastAllowed(self, enabled: bool) -> None:  # noqa: FBT001 - Twisted's interface
        """Do nothing: a connection has no broadcast."""

    def getBroadcastAllowed(self) -> bool:
        """No."""
        return False

    # For the connection

    def datagramReceived(self, datagram: bytes) -> None:
        """Hand a datagram to the protocol; what it raises is logged, as a UDP port does."""
        if not self._isOpen:
            return
        self.statistics.datagramsReceived += 1
        self.statistics.bytesReceived += len(datagram)
        try:
            self.protocol.datagramReceived(datagram, self._peer)
        except Exception:  # noqa: BLE001 - one datagram must not end the connection
            self._log.failure("{protocol} failed on a datagram", protocol=self.protocol)

    def connectionLost(self) -> None:
        """Tell the protocol, and whoever waits for that."""
        if not self._isOpen:
            return
        self._isOpen = False
        try:
            self.protocol.doStop()
        except Exception:  # noqa: BLE001 - the connection is gone all the same
            self._log.failure("{protocol} failed in stopProtocol", protocol=self.protocol)
        closing, self._closing = self._closing, []
        for each in closing:
            each.callback(None)


def _hostAndPort(address: Any) -> tuple[str, int]:
    """An address as datagram protocols know it; what has none (a UNIX socket) is nowhere."""
    if isinstance(address, IPv4Address | IPv6Address):
        return (address.host, address.port)
    return ("", 0)
