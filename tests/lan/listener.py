"""A protocol for tests, which keeps what it receives and says when there is enough."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol


class Listener(DatagramProtocol):
    """
    Keeps every datagram.

    @ivar received: payload and sender of each.
    """

    noisy = False

    def __init__(self) -> None:
        self.received: list[tuple[bytes, tuple[str, int]]] = []
        self._waiting: list[tuple[int, Deferred[None]]] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.received.append((datagram, addr))
        ready = [each for each in self._waiting if each[0] <= len(self.received)]
        for each in ready:
            self._waiting.remove(each)
            each[1].callback(None)

    def has(self, reactor: Any, count: int, timeout: float = 5.0) -> Deferred[None]:
        """Fires when so many datagrams have been received; fails if they do not come."""
        enough: Deferred[None] = Deferred()
        if len(self.received) >= count:
            enough.callback(None)
        else:
            self._waiting.append((count, enough))
            enough.addTimeout(timeout, reactor)
        return enough

    @property
    def hosts(self) -> list[str]:
        """The sender's host of each datagram."""
        return [addr[0] for _, addr in self.received]
