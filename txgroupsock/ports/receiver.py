"""Receiving on a reactor: within the bounds of one turn, and on through every error."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import AbstractDatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgroupsock.ports.sender import WOULD_BLOCK
from txgroupsock.ports.statistics import PortStatistics
from txgroupsock.primitives import SocketAddress, fromSocketAddress
from txgroupsock.primitives.io import REPORT_LENGTH

_CLOSED = frozenset({errno.EBADF, errno.ENOTSOCK})


class ReceivingTransport:
    """
    The receiving half of a port: reads datagrams and gives them to the protocol.

    An error is nearly always the echo of an earlier send (ICMP) or passing trouble of an
    interface: it is counted, and reading goes on.  Only errors without end make it pause.

    @cvar maxThroughput: most bytes read in one turn of the reactor.
    @cvar maxDatagrams: most datagrams read in one turn; without it a stream of empty ones
        would keep the reactor for itself.
    @cvar respite: seconds without reading after the second of two errors in a row.
    """

    maxThroughput: ClassVar[int] = 256 * 1024
    maxDatagrams: ClassVar[int] = 1024
    respite: ClassVar[float] = 0.1

    reactor: Any
    protocol: AbstractDatagramProtocol
    socket: socket.socket
    addressFamily: int
    statistics: PortStatistics
    maxPacketSize: int
    connected: bool
    _closing: list[Deferred[None]]
    _peer: tuple[tuple[str, int], ...]
    _buffer: bytearray
    """One byte more than C{maxPacketSize}, to see a larger datagram."""

    _log = Logger()

    _isReading = False
    _hasFailed = False
    _resume: IDelayedCall | None = None
    _isRefusing = False

    def doRead(self) -> Failure | None:
        """
        Give what has arrived to the protocol, within one turn's bounds.

        @return: a failure only if the descriptor itself has been closed behind our back.
        """
        buffer, statistics, protocol = self._buffer, self.statistics, self.protocol
        view = memoryview(buffer)
        receive = self.socket.recvfrom_into
        isIPv6 = self.addressFamily == socket.AF_INET6
        bytesLeft = self.maxThroughput
        for count in range(self.maxDatagrams):
            try:
                length, sender = receive(buffer, 0, REPORT_LENGTH)
            except OSError as error:
                if error.errno in _CLOSED:
                    return Failure(error)
                if error.errno in WOULD_BLOCK:
                    self._hasFailed = False
                    if not count and self._isReading:
                        self._wokenInVain()
                    return None
                self._receiveFailed(error)
            else:
                self._hasFailed = False
                bytesLeft -= length
                if length > self.maxPacketSize:
                    self._truncated(length, sender)
                    continue
                statistics.datagramsReceived += 1
                statistics.bytesReceived += length
                if isIPv6:
                    sender = fromSocketAddress(sender)
                try:
                    protocol.datagramReceived(bytes(view[:length]), sender)
                except BaseException:  # noqa: BLE001 - nothing a protocol does stops the port
                    self._log.failure(
                        "{port} failed on a datagram from {sender}", port=self, sender=sender
                    )
            if bytesLeft <= 0 or not self._isReading:
                return None
        return None

    def resumeProducing(self) -> None:
        """Read again."""
        self._cancelResume()
        if self.connected and not self._closing:
            self._isReading = True
            self._watchAnew()

    def pauseProducing(self) -> None:
        """Read nothing until L{resumeProducing}; the kernel's buffer holds what it can."""
        self._cancelResume()
        self._isReading = False
        self.reactor.removeReader(self)

    startReading = resumeProducing
    stopReading = pauseProducing

    def _watchAnew(self) -> None:
        """
        Have the reactor watch the socket for what is of interest now.

        When an error waits on a socket (POLLERR), poll and epoll reactors report it as lost and
        no longer watch it; uvloop lets go of it without a word, so that it has to be taken off
        first.
        """
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        if self._isReading:
            self.reactor.addReader(self)
        if self.statistics.datagramsQueued:
            self.reactor.addWriter(self)

    def _resumeIn(self, delay: float) -> None:
        self._cancelResume()
        self._resume = self.reactor.callLater(delay, self.resumeProducing)

    def _cancelResume(self) -> None:
        if self._resume is not None and self._resume.active():
            self._resume.cancel()
        self._resume = None

    def _receiveFailed(self, error: OSError) -> None:
        self._noteFailure(error)
        if not self._isReading:
            return
        if self._hasFailed:
            # Nothing was read since the last one, so another may be next: do not spin.
            self.pauseProducing()
            self._resumeIn(self.respite)
        else:
            self._hasFailed = True
            self._resumeIn(0)

    def _noteFailure(self, error: OSError) -> None:
        number = error.errno or 0
        self.statistics.receiveErrors[number] += 1
        if number == errno.ECONNREFUSED:
            self._refused()
        elif self.statistics.receiveErrors[number] == 1:
            self._log.warn("{port} could not receive: {error}", port=self, error=error)

    def _takeError(self) -> bool:
        """Whether an error waited on the socket; if so it has been noted."""
        try:
            number = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError:  # the descriptor has been closed
            return False
        if number:
            self._noteFailure(OSError(number, os.strerror(number)))
        return bool(number)

    def _refused(self) -> None:
        """Tell a connected protocol; not again while it is being told, as when it then writes."""
        refused = getattr(self.protocol, "connectionRefused", None)
        if refused is None or self._isRefusing or not self._peer:
            return
        self._isRefusing = True
        try:
            refused()
        except BaseException:  # noqa: BLE001 - as in doRead
            self._log.failure("{port} failed in connectionRefused", port=self)
        finally:
            self._isRefusing = False

    def _truncated(self, length: int, sender: SocketAddress) -> None:
        self.statistics.datagramsTruncated += 1
        if self.statistics.datagramsTruncated == 1:
            self._log.warn(
                "{port} drops datagrams larger than its maxPacketSize of {most} bytes; "
                "the first has {length}, from {sender}",
                port=self,
                most=self.maxPacketSize,
                length=length if REPORT_LENGTH else f"more than {self.maxPacketSize}",
                sender=sender[0],
            )

    def _wokenInVain(self) -> None:
        """
        Nothing is there to be read: a write has taken the error that was, or the socket has
        an error queue, which keeps it readable, since somebody set IP_RECVERR on it (ip(7)).
        """
        self._resumeIn(0)
        flag = getattr(socket, "MSG_ERRQUEUE", None)
        if flag is None:
            return
        with suppress(OSError):
            for _ in range(self.maxDatagrams):
                self.socket.recvmsg(0, 0, flag)
