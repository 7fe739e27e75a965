"""Autobahn: WebSocket, a server and a client of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
    connectWS,
    listenWS,
)
from twisted.internet.defer import Deferred

from tests.programs.support import HOST

URL = f"ws://{HOST}:4200"
MESSAGES = (b"short", bytes(range(256)) * 4000, b"")


class Server(WebSocketServerProtocol):  # type: ignore[misc]
    """Sends back what it gets, and where it comes from."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)
        if not payload:
            peer = self.transport.getPeer()
            self.sendMessage(f"{peer.type} {peer.host}".encode(), False)


class Client(WebSocketClientProtocol):  # type: ignore[misc]
    """Sends messages, and keeps what comes back."""

    done: Deferred[list[object]]

    def onOpen(self) -> None:
        self.seen: list[object] = []
        for message in MESSAGES:
            self.sendMessage(message, True)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.seen.append([isBinary, len(payload), hashlib.sha256(payload).hexdigest()])
        if not isBinary:
            self.seen.append(payload.decode())
            self.sendClose(1000, "enough")

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self.seen.append([wasClean, code, reason])
        self.done.callback(self.seen)


async def main(reactor: Any, folder: Path) -> list[object]:
    """Messages of several sizes there and back, and an orderly close."""
    serving = WebSocketServerFactory(URL)
    serving.protocol = Server
    listenWS(serving, interface=HOST)
    client = WebSocketClientFactory(URL)
    client.protocol = Client
    Client.done = Deferred()
    connectWS(client)
    return await Client.done
