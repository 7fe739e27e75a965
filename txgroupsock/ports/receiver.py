"""Receiving on a reactor: within the bounds of one turn, and on through every error."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgroupsock.ports.clock import callOff
from txgroupsock.ports.delivery import Piece, Receiving
from txgroupsock.ports.handover import HandingOver
from txgroupsock.ports.pacing import WAKE_UPS, Pacer
from txgroupsock.ports.statistics import PortStatistics
from txgroupsock.primitives.arrival import receiveDestinationReport
from txgroupsock.primitives.batchmemory import LARGEST
from txgroupsock.primitives.destination import WOULD_BLOCK

_CLOSED = frozenset({errno.EBADF, errno.ENOTSOCK})

# After so many wake-ups in a row for one datagram, so many seconds apart or more, datagrams are
# taken one by one, which is cheaper; of a pair, the second would be read too soon for that.
_LONE: Final = 16
_APART: Final = 0.0001

# Then the kernel is asked whether more waits, which takes 0.7 µs, and 3 to 5 on an idle processor:
# after so many seconds without a wake-up, for turns may have become long, and one time in so many.
_RARE: Final = 0.002
_ASKS: Final = 4


class ReceivingTransport(HandingOver):
    """
    The receiving half of a port: reads datagrams and gives them to the protocol.

    An error is nearly always the echo of an earlier send (ICMP) or passing trouble of an
    interface: it is counted, and reading goes on.  Only errors without end make it pause.

    @cvar maxThroughput: most bytes read in one turn of the reactor.
    @cvar maxDatagrams: most datagrams, or runs for a protocol that takes these, handed over
        in one turn; without it a stream of empty ones would keep the reactor for itself.
    @cvar respite: seconds without reading after the second of two errors in a row.
    """

    maxThroughput: ClassVar[int] = 1024 * 1024
    maxDatagrams: ClassVar[int] = 1024
    respite: ClassVar[float] = 0.1

    socket: socket.socket
    addressFamily: int
    statistics: PortStatistics
    _maxPacketSize: int
    _closing: list[Deferred[None]]
    _peer: tuple[tuple[str, int], ...]
    _receiving: Receiving
    _pacer: Pacer | None
    _seconds: Callable[[], float]
    _reportDestinationError: Callable[[tuple[str, int], int], None] | None = None

    _log = Logger()

    _hasFailed = False
    _isRefusing = False
    _wakeUps = 0
    _lone = 0
    _readAt = float("-inf")
    _lastReadAt = float("-inf")
    _consideredAt = float("-inf")
    _lastSize = LARGEST
    _readings = 0
    _datagramsLeft = 0
    _bytesLeft = 0
    _isDrained = True

    @property
    def isClosing(self) -> bool:
        """Whether the port is closed, or about to be, and its protocol wants nothing more."""
        return bool(self._closing) or not self.connected

    def doRead(self) -> Failure | None:
        """
        Give what has arrived to the protocol, within one turn's bounds.

        @return: a failure only if the descriptor itself has been closed behind our back.
        """
        if self._pending and not self._handOver():
            return None
        if self._lone >= _LONE:
            return self._readLone()
        before = self.statistics.datagramsReceived
        failure = self._read()
        found = self.statistics.datagramsReceived - before
        if found:
            self._woken(found)
        return failure

    def _readLone(self) -> Failure | None:
        """
        Take just one datagram, unless more has come meanwhile.

        The short way of L{_read} and L{_take}, which costs 10 µs less, of 75 per wake-up.
        """
        receiving, delivery = self._receiving, self._delivery
        mayHaveMore = self._lone % _ASKS == 0
        try:
            data, size, sender = receiving.receiveOne(self.socket)
        except OSError as error:
            failure = self._receiveRaised(error, isFirst=True)
            if failure is not None or error.errno in WOULD_BLOCK or not self._isReading:
                return failure
            self._lone = 0
            return self._read(isFirst=False)
        length = len(data)
        if length > size or size > self._maxPacketSize:
            self._take([(data, size, sender)], receiving)
            self._lone = 0
        else:
            self._hasFailed = False
            delivery.readAt = self._readAt = self._seconds()
            mayHaveMore = mayHaveMore or self._readAt - self._lastReadAt > _RARE
            self.statistics.datagramsReceived += 1
            self.statistics.bytesReceived += length
            if delivery.takesRuns:
                memory = receiving.memory
                memory.isLent = True
                try:
                    delivery.deliver(data, size, sender)
                finally:
                    memory.isLent = False
            else:
                delivery.deliver(bytes(data), size, sender)
            self._woken(1)
        # Of empty ones that wait, nothing is known; one each turn would not do.
        if self._isReading and (
            not length or (mayHaveMore and self._receiving.hasMore(self.socket))
        ):
            self._lone = 0
            return self._read(isFirst=False)
        return None

    def _woken(self, found: int) -> None:
        """
        Note that a wake-up was for so many datagrams.

        Where handling them takes the time until the next come, each waits for a turn to end, and
        wake-ups are rarer than datagrams for that reason only: such a one counts twice.
        """
        since = self._readAt - self._lastReadAt
        self._lone = self._lone + 1 if found == 1 and since > _APART else 0
        self._lastReadAt = self._readAt
        self._wakeUps += 1
        if found > 1 and self._seconds() - self._readAt > since / 2:
            self._wakeUps += 1
        if self._wakeUps >= WAKE_UPS:
            self._considerPacing()

    def _considerPacing(self) -> None:
        """Have a pacer read this port from now on, if it is woken up often enough for that."""
        gap = (self._readAt - self._consideredAt) / self._wakeUps
        self._wakeUps = 0
        self._consideredAt = self._readAt
        if self._pacer is None or self._isPaced or not (self._isReading and self._isDrained):
            return
        if self._pacer.offer(self, self._readAt, gap):
            self._isPaced = True
            self.reactor.removeReader(self)

    def readPaced(self) -> int:
        """See L{Paced <txgroupsock.ports.pacing.Paced>}."""
        before = self.statistics.datagramsReceived
        if self._reportDestinationError is not None:
            self._takeErrorReports()
        if not self._isReading or (self._pending and not self._handOver()):
            return 0
        failure = self._read()
        if failure is not None:
            self.connectionLost(failure)
        found = self.statistics.datagramsReceived - before
        return found if self._isDrained else -max(found, 1)

    def endPacing(self) -> None:
        """See L{Paced <txgroupsock.ports.pacing.Paced>}."""
        self._isPaced = False
        self._watchAnew()
        if self._pending and self._inTurn is None:
            self._handOverInTime()

    def _leavePacer(self) -> None:
        if self._isPaced and self._pacer is not None:
            self._isPaced = False
            self._pacer.withdraw(self)

    def _read(self, *, isFirst: bool = True) -> Failure | None:
        """
        Read until nothing is left, or a turn's bounds are reached.

        @param isFirst: whether nothing has been read in this turn.
        """
        self._readings += 1
        reading = self._readings
        self._datagramsLeft, self._bytesLeft = self.maxDatagrams, self.maxThroughput
        self._isDrained = True
        while self._datagramsLeft > 0 and self._bytesLeft > 0:
            # Datagrams are taken to be as large as the last one.
            most = min(self._datagramsLeft, 1 + (self._bytesLeft - 1) // self._lastSize)
            receiving = self._receiving
            mayHaveMore = True
            try:
                pieces = receiving.receive(self.socket, most)
            except OSError as error:
                failure = self._receiveRaised(error, isFirst=isFirst)
                if failure is not None or error.errno in WOULD_BLOCK:
                    return failure
                self._datagramsLeft -= 1
            else:
                self._hasFailed = False
                mayHaveMore = receiving.mayHaveMore
                self._take(pieces, receiving)
            isFirst = False
            # What was read while something was handed over has left nothing to do here.
            if not (mayHaveMore and self._isReading and self._readings == reading):
                return None
        self._isDrained = False
        return None

    def _take(self, pieces: list[Piece], receiving: Receiving) -> None:
        """Count what has been read, and hand it over."""
        delivery, statistics = self._delivery, self.statistics
        delivery.readAt = self._readAt = self._seconds()
        taken = []
        size = 0
        for piece in pieces:
            data, size, sender = piece
            length = len(data)
            count = 1 if length <= size else -(-length // size)
            self._datagramsLeft -= 1 if delivery.takesRuns else count
            self._bytesLeft -= length
            if size > self._maxPacketSize:
                self._truncated(count, size, sender)
                if not delivery.takesTruncated:
                    continue
            statistics.datagramsReceived += count
            statistics.bytesReceived += length
            taken.append(piece)
        self._lastSize = size or 1
        self._handOverRead(taken, receiving)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Give everything back."""
        raise NotImplementedError

    def resumeProducing(self) -> None:
        """Read again."""
        self._cancelResume()
        if self.isClosing:
            return
        self._isReading = True
        if self._pending:
            # Not now: this may be a call from within the protocol.
            self._resume = self.reactor.callLater(0, self._handOverHeld)
        else:
            self._watchAnew()

    def pauseProducing(self) -> None:
        """Read nothing until L{resumeProducing}; the kernel's buffer holds what it can."""
        self._cancelResume()
        self._isReading = False
        self._leavePacer()
        self.reactor.removeReader(self)

    def startReading(self) -> None:
        """Twisted's other name for L{resumeProducing}."""
        self.resumeProducing()

    def stopReading(self) -> None:
        """Twisted's other name for L{pauseProducing}."""
        self.pauseProducing()

    def _survives(self, reason: Failure) -> bool:
        """Take the error that the reactor took for the end of a connection, if it is that."""
        if reason.check(ConnectionDone):  # while reading; errors are read like datagrams
            survives = self.doRead() is None
        else:  # while only writing; or the reactor is stopping
            isForThat = reason.check(ConnectionLost) is not None and not self._isWatched
            survives = isForThat and self._takeError()
        if survives:
            self._watchAnew()
        return survives

    def _watchAnew(self) -> None:
        """
        Have the reactor watch the socket for what is of interest now.

        When an error waits on a socket (POLLERR), poll and epoll reactors report it as lost and
        no longer watch it; uvloop lets go of it without a word, so that it has to be taken off
        first.
        """
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        if self._isWatched:
            self.reactor.addReader(self)
        if self.statistics.datagramsQueued:
            self.reactor.addWriter(self)

    def _resumeIn(self, delay: float) -> None:
        self._leavePacer()  # an error's report has to wake somebody up
        self._cancelResume()
        self._resume = self.reactor.callLater(delay, self.resumeProducing)

    def _cancelResume(self) -> None:
        callOff(self._resume)
        self._resume = None

    def _receiveRaised(self, error: OSError, *, isFirst: bool) -> Failure | None:
        if error.errno in _CLOSED:
            return Failure(error)
        if error.errno in WOULD_BLOCK:
            self._hasFailed = False
            if isFirst and self._isWatched:
                self._wokenInVain()
        else:
            self._receiveFailed(error)
        return None

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

    def _truncated(self, count: int, size: int, sender: Any) -> None:
        if not self.statistics.datagramsTruncated:
            self._log.warn(
                "{port} has a maxPacketSize of {most} bytes and got a datagram of {size}, "
                "from {sender}",
                port=self,
                most=self._maxPacketSize,
                size=size,
                sender=sender,
            )
        self.statistics.datagramsTruncated += count

    def _wokenInVain(self) -> None:
        """
        Nothing is there to be read: a write has taken the error that was, or the socket has
        an error queue, which keeps it readable, since IP_RECVERR is set (ip(7)).
        """
        self._resumeIn(0)
        self._takeErrorReports()

    def _takeErrorReports(self) -> None:
        """Empty the error queue."""
        if not hasattr(socket, "MSG_ERRQUEUE"):
            return
        with suppress(OSError):
            for _ in range(self.maxDatagrams):
                found = receiveDestinationReport(self.socket)
                report = self._reportDestinationError
                if found is not None and report is not None:
                    try:
                        report(*found)
                    except BaseException:  # noqa: BLE001 - nothing a protocol does stops the port
                        self._log.failure("{port} failed on an error report", port=self)
