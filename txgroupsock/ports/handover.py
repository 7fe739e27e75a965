"""Handing over what a port has read, to a protocol that may do anything meanwhile."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import AbstractDatagramProtocol

from txgroupsock.ports.clock import callOff
from txgroupsock.ports.delivery import Delivery, Piece, Receiving

# Seconds in which a protocol that has never had the reactor turn gets the rest if it does so now.
_PATIENCE: Final = 0.05


class HandingOver:
    """
    The part of a port that hands over what it has read.

    While a protocol is given something it may have the reactor turn, have this port read, pause
    or close it, or set another protocol.  So what has been read waits in one queue, and whoever
    comes next first hands over what is there: each piece once, and in order.  What lies in
    memory that others receive into is lent meanwhile, and they use another.
    """

    reactor: Any
    connected: bool
    _protocol: AbstractDatagramProtocol
    _pending: deque[Piece]
    _delivery: Delivery

    _isReading = False
    _isPaced = False
    _resume: IDelayedCall | None = None
    _inTurn: IDelayedCall | None = None
    _turnsInside = False

    @property
    def isReading(self) -> bool:
        """Whether the protocol wants more: the port is neither paused nor closing."""
        return self._isReading

    @property
    def _isWatched(self) -> bool:
        """Whether it is for the reactor to say when there is something to be read."""
        return self._isReading and not self._isPaced

    def _handOver(self) -> bool:
        """
        Hand over what has been read, until the protocol pauses the port.

        @return: whether it wants more.
        """
        pending = self._pending
        if len(pending) > 1 and self._inTurn is None and not self._isPaced:
            self._handOverInTime()
        while pending and self._isReading:
            self._delivery.deliverAll(pending)
        if pending and self._delivery.takesRuns:  # what was read is only lent
            for index, (data, size, sender) in enumerate(pending):
                pending[index] = (memoryview(bytes(data)), size, sender)
        return self._isReading

    def _handOverBy(self, delivery: Delivery) -> None:
        """Hand over to another protocol from now on, also what was read for the one before."""
        self._delivery = delivery
        if self._pending:
            read = list(self._pending)
            self._pending.clear()
            self._pending += delivery.instead(read)

    def _handOverRead(self, pieces: list[Piece], receiving: Receiving) -> None:
        """Hand over what has just been read, while nobody else receives into where it lies."""
        delivery = self._delivery
        if not delivery.takesRuns:
            self._handOverNew(delivery.ready(pieces))
            return
        memory = receiving.memory
        memory.isLent = True
        try:
            self._handOverNew(pieces)
        finally:
            memory.isLent = False

    def _handOverNew(self, pieces: list[Piece]) -> None:
        if len(pieces) == 1 and self._isReading:
            self._delivery.deliver(*pieces[0])
        else:
            self._pending += pieces
            self._handOver()

    def _handOverInTime(self) -> None:
        """
        See to it that what is pending is handed over even if the protocol, once it has been given
        the first of it, has the reactor turn and does not return.  A pacer's ticks do that, too.

        A timer that runs out unneeded costs less than one that is called off each time.
        """
        delay = 0 if self._turnsInside else _PATIENCE
        self._inTurn = self.reactor.callLater(delay, self._handOverInTurn)

    def _handOverInTurn(self) -> None:
        self._inTurn = None
        if self._pending and self._isReading:
            self._turnsInside = True
            self._handOver()

    def _cancelInTurn(self) -> None:
        inTurn, self._inTurn = self._inTurn, None
        callOff(inTurn)

    def _handOverHeld(self) -> None:
        """Hand over what was kept when the port was paused, and read on."""
        self._resume = None
        self._handOver()
        if self._isWatched:
            self.reactor.addReader(self)

    @property
    def protocol(self) -> AbstractDatagramProtocol:
        """What gets all that arrives; may be set at any time (see L{useProtocol})."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: AbstractDatagramProtocol) -> None:
        if self.connected:
            self.useProtocol(protocol)
        else:
            self._protocol = protocol

    def useProtocol(self, protocol: AbstractDatagramProtocol) -> None:
        """Give what arrives to a protocol from now on."""
        raise NotImplementedError
