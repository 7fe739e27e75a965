"""
What a protocol gets of what has arrived: datagrams, runs, or datagrams and how they arrived.

It says which by the interfaces that it provides.
"""

from __future__ import annotations

import socket
from array import array
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol, TypeAlias

from attrs import evolve
from twisted.logger import Logger

from txgroupsock.interfaces import IArrivalReceiver, IRunReceiver
from txgroupsock.ports.asked import Asked
from txgroupsock.primitives.arrival import Arrival, receiveArrivals, recordArrivals
from txgroupsock.primitives.batch import (
    Batch,
    Single,
    canBatch,
    dataWaits,
)
from txgroupsock.primitives.batchmemory import LARGEST, BatchMemory, Lendable
from txgroupsock.primitives.run import Run

Piece: TypeAlias = tuple[Any, int, Any]
"""Data, the size of each datagram in it but the last, and the sender; or, for that, an Arrival."""


class Receiving(Protocol):
    """
    Something that receives from a socket.

    @ivar mayHaveMore: whether it is worth calling L{receive} again at once.
    @ivar memory: what it has received into, and does not while that is lent.
    """

    mayHaveMore: bool

    @property
    def memory(self) -> Lendable: ...

    def receive(self, sock: socket.socket, most: int) -> list[Any]:
        """
        Pieces of what has arrived: data, size of a datagram in it, and sender.

        @param most: datagrams, or coalesced trains of them, to receive; at least 1.
        @raise OSError: as C{recvfrom} raises it, BlockingIOError if nothing has arrived.
        """

    def receiveOne(self, sock: socket.socket) -> Any:
        """One such piece; cheaper where there is only one."""

    def hasMore(self, sock: socket.socket) -> bool:
        """Whether it is worth calling L{receive} after L{receiveOne}."""


class Detailed:
    """Receives one datagram at a time, with its arrival in the place of its sender."""

    mayHaveMore = True

    def __init__(self, memory: BatchMemory) -> None:
        self.memory = Lendable()  # what it gives has memory of its own
        self._usual = self._memory = memory
        self._room = memoryview(memory.slots)[:LARGEST]
        self._waiting = array("i", [0])

    def receive(self, sock: socket.socket, most: int) -> list[Any]:
        """See L{Receiving}."""
        return [self.receiveOne(sock)]

    def receiveOne(self, sock: socket.socket) -> Any:
        """See L{Receiving}."""
        memory = self._usual.free()
        if memory is not self._memory:
            self._memory = memory
            self._room = memoryview(memory.slots)[:LARGEST]
        size, segment, arrival = receiveArrivals(sock, self._room)
        return bytes(self._room[:size]), segment, arrival

    def hasMore(self, sock: Any) -> bool:
        """See L{Receiving}."""
        return not isinstance(sock, socket.socket) or dataWaits(sock, self._waiting)


class Delivery:
    """
    Hands pieces to a protocol, which may do what it likes: nothing it raises gets out of here.

    @ivar readAt: when the pieces were read, in seconds of the reactor's clock.
    @ivar takesRuns: whether a piece is handed over as one, and as it was read: lent.
    @ivar takesTruncated: whether the protocol wants what is left of datagrams that were larger
        than its port takes.
    """

    takesRuns = False
    takesTruncated = False
    readAt = 0.0

    _log = Logger()

    def __init__(self, port: Any) -> None:
        self._port = port
        self._protocol = port.protocol

    def ready(self, pieces: Iterable[Piece]) -> list[Piece]:
        """Pieces as L{deliver} takes them, one by one."""
        made: list[Piece] = []
        for data, size, sender in pieces:
            payload = bytes(data)
            total = len(payload)
            if total <= size:
                made.append((payload, size, sender))
            else:
                made += [
                    (payload[start : start + size], size, sender) for start in range(0, total, size)
                ]
        return made

    def deliver(self, data: Any, size: int, sender: Any) -> None:
        """
        Hand over a piece.

        @param data: of what takes runs, lent: good until this returns.
        @param size: bytes of each datagram in it but the last.
        """
        try:
            self._protocol.datagramReceived(data, sender)
        except BaseException:  # noqa: BLE001 - nothing that a protocol does stops its port
            self._failed(sender)

    def deliverAll(self, pending: deque[Piece]) -> None:
        """
        Hand over what is pending, until the protocol pauses the port or is replaced.

        The short way of L{deliver}, which takes 0.2 µs less for each datagram.
        """
        port, protocol = self._port, self._protocol
        while pending:
            data, _, sender = pending.popleft()
            try:
                protocol.datagramReceived(data, sender)
            except BaseException:  # noqa: BLE001 - as above
                self._failed(sender)
            if not port._isReading or port._delivery is not self:  # noqa: SLF001 - its own port
                return

    def instead(self, pieces: Iterable[Piece]) -> list[Piece]:
        """Pieces that were made ready for another protocol, ready for this one."""
        return self.ready(
            (memoryview(data), size, sender.sender if isinstance(sender, Arrival) else sender)
            for data, size, sender in pieces
            if not (isinstance(sender, Arrival) and sender.length > len(data))
        )

    def _failed(self, sender: Any) -> None:
        self._log.failure(
            "{port} failed on a datagram from {sender}", port=self._port, sender=sender
        )


class RunDelivery(Delivery):
    """Hands over runs."""

    takesRuns = True

    def ready(self, pieces: Iterable[Piece]) -> list[Piece]:
        """See L{Delivery.ready}."""
        return list(pieces)

    def deliverAll(self, pending: deque[Piece]) -> None:
        """See L{Delivery.deliverAll}."""
        self.deliver(*pending.popleft())

    def deliver(self, data: Any, size: int, sender: Any) -> None:
        """See L{Delivery.deliver}."""
        try:
            self._protocol.runReceived(Run(data, size, sender, self.readAt))
        except BaseException:  # noqa: BLE001 - as above
            self._failed(sender)


class ArrivalDelivery(Delivery):
    """Hands over datagrams, each with how it arrived."""

    takesTruncated = True

    def ready(self, pieces: Iterable[Piece]) -> list[Piece]:
        """See L{Delivery.ready}; the sender is the L{Arrival}, also of all that came as one."""
        most = self._port.maxPacketSize
        made: list[Piece] = []
        for data, size, arrival in pieces:
            if len(data) <= size:
                made.append((bytes(data[:most]), size, arrival))
                continue
            for start in range(0, len(data), size):
                payload = bytes(data[start : start + size])
                own = evolve(arrival, length=len(payload))
                made.append((payload[:most], size, own))
        return made

    def deliverAll(self, pending: deque[Piece]) -> None:
        """See L{Delivery.deliverAll}."""
        self.deliver(*pending.popleft())

    def deliver(self, data: Any, size: int, sender: Any) -> None:
        """See L{Delivery.deliver}; C{sender} is the L{Arrival}."""
        try:
            self._protocol.datagramArrived(data, sender)
        except BaseException:  # noqa: BLE001 - as above
            self._failed(sender.sender)

    def instead(self, pieces: Iterable[Piece]) -> list[Piece]:
        """See L{Delivery.instead}; of how these arrived, nobody has asked."""
        return self.ready(
            (data, size, sender)
            if isinstance(sender, Arrival)
            else (data, size, Arrival(sender, None, 0, None, len(data)))
            for data, size, sender in pieces
        )


def receivingFor(port: Any, memory: BatchMemory, asked: Asked) -> tuple[Receiving, Delivery]:
    """
    How an open port is to receive, and to hand over what it receives.

    @param memory: what to receive into.
    @param asked: what is asked of the kernel for that.
    """
    sock = port.socket
    if IArrivalReceiver.providedBy(port.protocol):
        asked.ask(recordArrivals)
        return Detailed(memory), ArrivalDelivery(port)
    receiving: Receiving = Single()
    # Not for what is only like a socket, such as those of txgroupsock.testing.
    if canBatch() and isinstance(sock, socket.socket):
        asked.askForTrains()
        receiving = Batch(sock.family, memory)
    isForRuns = IRunReceiver.providedBy(port.protocol)
    return receiving, RunDelivery(port) if isForRuns else Delivery(port)
