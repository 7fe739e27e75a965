"""RTSP with interleaved datagrams on one connection (RFC 7826 section 14)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import AbstractDatagramProtocol, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgroupsock.ports.interleaving import (
    InterleavedFrame,
    InterleavedParser,
    InterleavingError,
)
from txgroupsock.ports.streamtransport import Congestion, StreamDatagramTransport
from txgroupsock.primitives.arguments import checked

_HEAD = struct.Struct("!cBH")

# What a peer that reads nothing may have us keep of answers to its requests, in bytes.
_MOST_WAITING = 256 * 1024


class InterleavedRTSP(Protocol):
    """
    A stream protocol that carries RTSP messages and, between them, the datagrams of up to 256
    channels, each to and from a L{DatagramProtocol
    <twisted.internet.protocol.DatagramProtocol>} of its own.

    Understands no RTSP but where a message ends: override L{messageReceived}, or give a
    function.  While the peer takes nothing, datagrams to it are dropped and counted; messages
    wait, up to 256 KiB, and then the connection is given up.

    @ivar framesUnclaimed: received on channels that were not open, and dropped.
    """

    _log = Logger()

    @checked
    def __init__(self, messageReceived: Callable[[bytes], None] | None = None) -> None:
        """@param messageReceived: called with each message, instead of the method."""
        self.framesUnclaimed = 0
        self._messageReceived = messageReceived
        self._parser = InterleavedParser()
        self._channels: dict[int, StreamDatagramTransport] = {}
        self._congestion: Congestion | None = None

    # For users

    def messageReceived(self, message: bytes) -> None:
        """
        Take one whole RTSP message: its head, the empty line and its body.

        What this raises is logged, and the connection goes on.
        """
        if self._messageReceived is not None:
            self._messageReceived(message)

    @checked
    def sendMessage(self, message: bytes) -> None:
        """
        Send one whole RTSP message.

        A peer that lets more than 256 KiB of them wait has its connection closed.
        """
        if self._congestion is None or self._congestion.isClosed:
            return
        if not self._congestion.insist(message, _MOST_WAITING):
            self._log.warn("{peer} takes no more messages; closed", peer=self._peer())

    @checked
    def openChannel(
        self,
        channel: int,
        protocol: AbstractDatagramProtocol,
        peer: tuple[str, int] | None = None,
    ) -> StreamDatagramTransport:
        """
        Run a datagram protocol on a channel from now on.

        @param channel: 0 to 255.
        @param peer: what address the protocol knows the other end by; that of the connection
            if left out.
        @return: what the protocol got as its transport; its C{stopListening} closes the channel.
        @raise ValueError: there is no such channel, or it is open already.
        @raise RuntimeError: there is no connection.
        """
        if not 0 <= channel <= 0xFF:
            raise ValueError(f"channels are from 0 to 255, not {channel}")
        if channel in self._channels:
            raise ValueError(f"channel {channel} is open already: {self._channels[channel]}")
        if self._congestion is None or self._congestion.isClosed:
            raise RuntimeError(f"no connection to open channel {channel} on")
        opened = StreamDatagramTransport(
            self.transport,
            self._congestion,
            protocol,
            lambda datagram: _HEAD.pack(b"$", channel, len(datagram)) + datagram,
            lambda: self.closeChannel(channel),
            peer,
        )
        self._channels[channel] = opened
        try:
            protocol.makeConnection(opened)
        except BaseException:
            del self._channels[channel]
            raise
        return opened

    @checked
    def closeChannel(self, channel: int) -> None:
        """Stop the protocol of a channel; one that is not open is left so."""
        closed = self._channels.pop(channel, None)
        if closed is not None:
            closed.connectionLost()

    def loseConnection(self) -> None:
        """Close the connection; what a peer that reads nothing has not taken is dropped."""
        if self._congestion is not None:
            self._congestion.loseConnection()

    def interleavingFailed(self, error: InterleavingError) -> None:
        """
        Deal with what is no RTSP: log it, and close the connection at once.

        Nothing more can be received.
        """
        self._log.info("{peer} is cut off: {error}", peer=self._peer(), error=error)
        transport: Any = self.transport
        transport.abortConnection()

    # For the transport

    def connectionMade(self) -> None:
        """Be told when the peer is slow."""
        self._congestion = Congestion(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Hand on what is complete."""
        try:
            for item in self._parser.feed(data):
                if self._congestion is None or self._congestion.isClosed:
                    return
                if isinstance(item, InterleavedFrame):
                    self._frameReceived(item)
                else:
                    self._hand(item.data)
        except InterleavingError as error:
            self.interleavingFailed(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop every channel's protocol."""
        if self._congestion is not None:
            self._congestion.connectionLost()
        for channel in list(self._channels):
            self.closeChannel(channel)

    def _frameReceived(self, frame: InterleavedFrame) -> None:
        channel = self._channels.get(frame.channel)
        if channel is None:
            self.framesUnclaimed += 1
        else:
            channel.datagramReceived(frame.data)

    def _hand(self, message: bytes) -> None:
        try:
            self.messageReceived(message)
        except Exception:  # noqa: BLE001 - one message must not end the connection
            self._log.failure("{protocol} failed on a message", protocol=self)

    def _peer(self) -> Any:
        return None if self.transport is None else self.transport.getPeer()
