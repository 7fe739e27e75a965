"""
What a protocol gets of what has arrived: datagrams, runs, or datagrams and how they arrived.

It says which by the interfaces that it provides.
"""

from __future__ import annotations

import socket
from typing import Any, Protocol

from twisted.logger import Logger

from txgroupsock.interfaces import IArrivalReceiver, IRunReceiver
from txgroupsock.primitives.arrival import receiveArrival, recordArrivals
from txgroupsock.primitives.batch import (
    LARGEST,
    Batch,
    BatchMemory,
    Single,
    canBatch,
    coalesceArrivals,
)
from txgroupsock.primitives.run import Run


class Receiving(Protocol):
    """
    Something that receives from a socket.

    @ivar mayHaveMore: whether it is worth calling L{receive} again at once.
    """

    mayHaveMore: bool

    def receive(self, sock: socket.socket, most: int) -> list[Any]:
        """
        Pieces of what has arrived: data, size of a datagram in it, and sender.

        @param most: datagrams, or coalesced trains of them, to receive; at least 1.
        @raise OSError: as C{recvfrom} raises it, BlockingIOError if nothing has arrived.
        """

    def receiveOne(self, sock: socket.socket) -> Any:
        """One such piece; cheaper where there is only one."""


class Detailed:
    """Receives one datagram at a time, with its arrival in the place of its sender."""

    mayHaveMore = True

    def __init__(self, size: int, memory: BatchMemory) -> None:
        self._view = memoryview(memory.slots)[:size]

    def receive(self, sock: socket.socket, most: int) -> list[Any]:
        """See L{Receiving}."""
        return [self.receiveOne(sock)]

    def receiveOne(self, sock: socket.socket) -> Any:
        """See L{Receiving}."""
        size, arrival = receiveArrival(sock, self._view)
        return self._view[:size], arrival.length, arrival


class Delivery:
    """
    Hands pieces to a protocol, which may do what it likes: nothing it raises gets out of here.

    @ivar readAt: when the pieces were read, in seconds of the reactor's clock.
    @ivar takesRuns: whether a piece is handed over as one.
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

    def deliver(self, data: memoryview, size: int, sender: Any) -> int:
        """
        Hand over a piece, or its beginning if the protocol then pauses or closes its port.

        @param data: lent; good until this returns.
        @param size: bytes of each datagram in it but the last.
        @return: bytes handed over.
        """
        payload = bytes(data)
        total = len(payload)
        if total <= size:
            self._datagram(payload, sender)
            return total
        port = self._port
        for start in range(0, total, size):
            if start and not port.isReading:
                return start
            self._datagram(payload[start : start + size], sender)
        return total

    def _datagram(self, payload: bytes, sender: Any) -> None:
        try:
            self._protocol.datagramReceived(payload, sender)
        except BaseException:  # noqa: BLE001 - nothing that a protocol does stops its port
            self._failed(sender)

    def _failed(self, sender: Any) -> None:
        self._log.failure(
            "{port} failed on a datagram from {sender}", port=self._port, sender=sender
        )


class RunDelivery(Delivery):
    """Hands over runs."""

    takesRuns = True

    def deliver(self, data: memoryview, size: int, sender: Any) -> int:
        """See L{Delivery.deliver}."""
        try:
            self._protocol.runReceived(Run(data, size, sender, self.readAt))
        except BaseException:  # noqa: BLE001 - as above
            self._failed(sender)
        return len(data)


class ArrivalDelivery(Delivery):
    """Hands over datagrams, each with how it arrived."""

    takesTruncated = True

    def deliver(self, data: memoryview, size: int, sender: Any) -> int:
        """See L{Delivery.deliver}; C{sender} is the L{Arrival}."""
        try:
            self._protocol.datagramArrived(bytes(data), sender)
        except BaseException:  # noqa: BLE001 - as above
            self._failed(sender.sender)
        return len(data)


def receivingFor(port: Any, memory: BatchMemory) -> tuple[Receiving, Delivery]:
    """
    How a port that has just been opened is to receive, and to hand over what it receives.

    @param memory: what to receive into.
    """
    sock = port.socket
    if IArrivalReceiver.providedBy(port.protocol):
        recordArrivals(sock)
        return Detailed(min(port.maxPacketSize, LARGEST), memory), ArrivalDelivery(port)
    receiving: Receiving = Single()
    # Not for what is only like a socket, such as those of txgroupsock.testing.
    if canBatch() and isinstance(sock, socket.socket):
        coalesceArrivals(sock)
        receiving = Batch(sock.family, memory)
    isForRuns = IRunReceiver.providedBy(port.protocol)
    return receiving, RunDelivery(port) if isForRuns else Delivery(port)
