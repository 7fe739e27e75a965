"""What several of the programs need."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.protocols.wire import Echo
from twisted.python.failure import Failure

HOST = "127.0.0.1"


class Caller(Protocol):
    """Sends something, and keeps what comes until as much has come, or the connection ends."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._received = b""
        self.answer: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._payload)

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if len(self._received) >= len(self._payload):
            assert self.transport is not None
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.answer.callback(self._received)


def listenForEcho(reactor: Any) -> int:
    """Listen on a port that gives back what it gets; its number."""
    number: int = reactor.listenTCP(0, Factory.forProtocol(Echo), interface=HOST).getHost().port
    return number


async def eventually(reactor: Any, condition: Any, seconds: float = 20) -> Any:
    """Wait until a function returns something true; what it returned last."""
    end = reactor.seconds() + seconds
    while not (result := condition()) and reactor.seconds() < end:
        await deferLater(reactor, 0.02)
    return result
