"""Datagrams over a stream, each after its 16-bit length (RFC 4571)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import AbstractDatagramProtocol, ClientFactory, connectionDone
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from txgroupsock.ports.streamtransport import (
    MAX_LENGTH,
    Congestion,
    StreamDatagramTransport,
    StreamStatistics,
)
from txgroupsock.primitives.arguments import checked

_LENGTH = struct.Struct("!H")


class FramedDatagrams(Int16StringReceiver):
    """
    A stream protocol that runs a L{DatagramProtocol
    <twisted.internet.protocol.DatagramProtocol>} over its connection, TCP or TLS.

    The datagram protocol's transport provides C{IUDPTransport}, with the peer as the one
    address that it hears from and may write to.  An empty frame (RFC 4571's null packet) is an
    empty datagram.  While the peer takes nothing, datagrams to it are dropped and counted.

    @ivar datagramTransport: what the protocol got; L{None} before the connection is made.
    """

    MAX_LENGTH = MAX_LENGTH
    datagramTransport: StreamDatagramTransport | None = None

    @checked
    def __init__(
        self, protocol: AbstractDatagramProtocol, peer: tuple[str, int] | None = None
    ) -> None:
        """
        @param protocol: started when the connection is made, and stopped when it is lost.  One
            that provides C{IHalfCloseableProtocol} goes on writing to a peer that sends no more.
        @param peer: what address it knows the other end by; that of the connection if left out.
        """
        self._protocol = protocol
        self._buffer = bytearray()
        self._peer = peer
        if IHalfCloseableProtocol.providedBy(protocol):
            directlyProvides(self, IHalfCloseableProtocol, providedBy(self))
        self._congestion: Congestion | None = None

    @property
    def statistics(self) -> StreamStatistics:
        """What was counted; zeros before the connection is made."""
        made = self.datagramTransport
        return StreamStatistics() if made is None else made.statistics

    @property
    def protocol(self) -> AbstractDatagramProtocol:
        """What gets the datagrams; may be set at any time, and whoever sets it starts it."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: AbstractDatagramProtocol) -> None:
        self._protocol = protocol
        if self.datagramTransport is not None:
            self.datagramTransport.protocol = protocol

    def connectionMade(self) -> None:
        """Start the datagram protocol."""
        stream: Any = self.transport
        self._congestion = congestion = Congestion(stream)
        self.datagramTransport = StreamDatagramTransport(
            stream, congestion, self.protocol, _framed, congestion.loseConnection, self._peer
        )
        self.protocol.makeConnection(self.datagramTransport)

    def dataReceived(self, data: bytes) -> None:
        """
        Take what has come.

        A datagram is out of the buffer before it is handed over: unlike Twisted's, this may be
        called again from within L{stringReceived}, as it is when that has the reactor turn.
        """
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH.size and not self.paused:
            end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
            if len(buffer) < end:
                return
            string = bytes(buffer[_LENGTH.size : end])
            del buffer[:end]
            self.stringReceived(string)

    def stringReceived(self, string: bytes) -> None:
        """Hand a datagram to the protocol."""
        if self.datagramTransport is not None:
            self.datagramTransport.datagramReceived(string)

    def readConnectionLost(self) -> None:
        """The peer sends no more: tell a protocol that can be told; others are stopped."""
        closing: Any = self.protocol
        closing.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """Nothing can be sent any more."""
        closing: Any = self.protocol
        closing.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop the datagram protocol."""
        if self._congestion is not None:
            self._congestion.connectionLost()
        if self.datagramTransport is not None:
            self.datagramTransport.connectionLost()


class FramedDatagramsFactory(ClientFactory):
    """Gives each connection a datagram protocol of its own; for servers and clients."""

    noisy = False

    @checked
    def __init__(
        self,
        makeProtocol: Callable[[], AbstractDatagramProtocol],
        peer: tuple[str, int] | None = None,
    ) -> None:
        """
        @param makeProtocol: called for each connection.
        @param peer: see L{FramedDatagrams}.
        """
        self._makeProtocol = makeProtocol
        self._peer = peer

    def buildProtocol(self, addr: IAddress | None) -> FramedDatagrams:
        """Make one for a new connection."""
        made = FramedDatagrams(self._makeProtocol(), self._peer)
        made.factory = self
        return made


def _framed(datagram: bytes) -> bytes:
    return _LENGTH.pack(len(datagram)) + datagram
