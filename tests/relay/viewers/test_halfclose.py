"""Clients that have ended sending, and still listen."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import ProcessProtocol

from tests.relay.admin.running import routeText, running
from tests.relay.support import freePort
from tests.relay.viewers.support import (
    HOST,
    ON_LOOPBACK,
    PATH,
    Client,
    Stream,
    connect,
    portOf,
    request,
    serving,
    soon,
    stream,
    watch,
)
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.viewers import StreamModel, TCPModel, ViewerService

__all__ = ["stream"]

NEWS = StreamModel(InputModel.parse("udp://239.77.0.1:5077?interface=lo"))
BY_TCP: Any = {"endpoints": (), "tcp": (TCPModel(ON_LOOPBACK, NEWS),)}


class Program(ProcessProtocol):
    """What a program writes; its standard input is at its end from the beginning."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.isOver = False

    def connectionMade(self) -> None:
        self.transport.closeStdin()  # type: ignore[union-attr]

    def outReceived(self, data: bytes) -> None:
        self.data += data

    def processEnded(self, reason: Any) -> None:
        self.isOver = True


def endSending(client: Client) -> None:
    """Close one half of a client's connection."""
    client.transport.loseWriteConnection()  # type: ignore[union-attr]


async def isWatched(reactor: Any, service: ViewerService, count: int = 1) -> None:
    """Wait until so many watch."""
    await soon(reactor, lambda: service.status().viewers == count, f"{count} watch")


@pytest_twisted.ensureDeferred
async def test_aClientThatHasEndedSendingIsServedByHTTP(reactor: Any, stream: Stream) -> None:
    """With the whole stream, whenever it ends sending: with its request, or later."""
    async with serving(reactor) as service:
        atOnce = await request(reactor, service)
        endSending(atOnce)
        later = await watch(reactor, service)
        endSending(later)
        await isWatched(reactor, service, 2)
        stream.send(40)
        for client in (atOnce, later):
            assert await client.bodyOf(reactor, len(stream.sent)) == stream.sent
        assert service.status().viewers == 2


@pytest_twisted.ensureDeferred
async def test_aClientThatHasEndedSendingIsServedByTCP(reactor: Any, stream: Stream) -> None:
    """As it connects."""
    async with serving(reactor, **BY_TCP) as service:
        client = await connect(reactor, service)
        endSending(client)
        await isWatched(reactor, service)
        stream.send(40)
        await client.until(reactor, lambda: len(client.data) >= len(stream.sent))
        assert client.data == stream.sent


@pytest.mark.parametrize("isHTTP", [True, False], ids=["HTTP", "TCP"])
@pytest_twisted.ensureDeferred
async def test_programsWithoutInputAreServed(reactor: Any, stream: Stream, isHTTP: bool) -> None:
    """Such as socat and curl with </dev/null; once they have gone, so have their viewers."""
    async with serving(reactor, **({} if isHTTP else BY_TCP)) as service:
        where = f"{HOST}:{portOf(service)}"
        command = ["socat", "-t", "50", "-", f"TCP:{where}"]
        if isHTTP:
            command = ["curl", "--no-buffer", "--silent", f"http://{where}{PATH.decode()}"]
        program = Program()
        process = reactor.spawnProcess(program, command[0], command, env=None)
        await isWatched(reactor, service)
        stream.send(40)
        await soon(reactor, lambda: len(program.data) >= len(stream.sent), "it has everything")
        assert program.data == stream.sent
        process.signalProcess("KILL")

        def isOver() -> bool:
            if not program.isOver:
                process.reapProcess()  # uvloop keeps to itself the signal that would tell
            return program.isOver

        await soon(reactor, isOver, "it has ended")

        def noneWatches() -> bool:
            stream.send()
            return service.status().viewers == 0

        await soon(reactor, noneWatches, "nobody watches")


@pytest.mark.parametrize("isHTTP", [True, False], ids=["HTTP", "TCP"])
@pytest_twisted.ensureDeferred
async def test_aHalfClosedClientThatVanishesIsNoticed(
    reactor: Any, stream: Stream, isHTTP: bool
) -> None:
    """Where nothing is sent to it, when it is looked whether viewers take anything."""
    settings = {} if isHTTP else BY_TCP
    async with serving(reactor, **settings, stallTime=0.2) as service:
        with socket.create_connection((HOST, portOf(service))) as client:
            if isHTTP:
                client.sendall(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % PATH)
            client.shutdown(socket.SHUT_WR)
            await isWatched(reactor, service)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))
        # With a reset, as of its host when that has forgotten it.
        await isWatched(reactor, service, 0)


@pytest_twisted.ensureDeferred
async def test_aLocalClientThatGoesIsNoticedAtOnce(reactor: Any, tmp_path: Path) -> None:
    """A UNIX socket tells an end of sending from an end."""
    path = tmp_path / "viewers"
    tcp = (TCPModel(f"unix:{path}", NEWS),)
    async with serving(reactor, endpoints=(), tcp=tcp) as service:
        clients = [
            await connectProtocol(UNIXClientEndpoint(reactor, str(path)), Client())
            for _ in range(2)
        ]
        await isWatched(reactor, service, 2)
        endSending(clients[0])
        await clients[1].close(reactor)
        await isWatched(reactor, service)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: re"])
@pytest_twisted.ensureDeferred
async def test_whatAsksForNothingIsClosed(reactor: Any, sent: bytes) -> None:
    """By HTTP, a client that ends sending before it has asked cannot be answered."""
    async with serving(reactor) as service:
        client = await connect(reactor, service)
        client.transport.write(sent)  # type: ignore[union-attr]
        endSending(client)
        assert await client.answer(reactor) == b""


@pytest_twisted.ensureDeferred
async def test_theAPIAnswersWhoHasEndedSending(reactor: Any, tmp_path: Path) -> None:
    """As scripts with nc ask it."""
    async with running(reactor, tmp_path / "relay.toml", routeText(freePort())) as relay:
        client = await relay.say(b"GET /healthz HTTP/1.0\r\n\r\n")
        endSending(client)
        assert (await client.answer(reactor)).startswith(b"HTTP/1.0 200")
