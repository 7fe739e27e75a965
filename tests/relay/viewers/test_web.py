"""What HTTP clients are told, whatever they say."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.task import deferLater

from tests.conftest import openDescriptors
from tests.ports.streams import clientTLS
from tests.relay.support import loggedLines
from tests.relay.viewers.support import (
    HOST,
    PATH,
    Client,
    Stream,
    assertQuiet,
    connect,
    joined,
    portOf,
    request,
    serving,
    soon,
    stream,
    tlsEndpoint,
    watch,
)
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.viewers import Access, StreamModel
from txgroupsock.relay.viewers.access import Passwords

__all__ = ["stream"]


@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
@pytest_twisted.ensureDeferred
async def test_streamIsABodyThatEndsWithItsConnection(
    reactor: Any, stream: Stream, version: bytes
) -> None:
    """No length and no chunks, for both versions of HTTP; nothing keeps a copy."""
    async with serving(reactor) as service:
        client = await request(reactor, service, version=version)
        head = (await client.head(reactor)).lower().split(b"\r\n")
        assert head[0] == version.lower() + b" 200 ok"
        assert b"content-type: video/mp2t" in head
        assert b"cache-control: no-store" in head
        assert b"connection: close" in head
        assert not [each for each in head if each.startswith((b"content-le", b"transfer"))]
        stream.send(30)
        assert await client.bodyOf(reactor, len(stream.sent)) == stream.sent
    await client.answer(reactor)


@pytest_twisted.ensureDeferred
async def test_headOfAStreamJoinsNothing(reactor: Any) -> None:
    """HEAD says what GET would, with no body and no join."""
    async with serving(reactor, lingerTime=10.0) as service:
        client = await request(reactor, service, method=b"HEAD")
        answer = await client.answer(reactor)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n")
        assert b"video/mp2t" in answer
        assert not joined()
        assert not service.status().channels


@pytest_twisted.ensureDeferred
async def test_rangesAreIgnored(reactor: Any, stream: Stream) -> None:
    """Players ask for bytes=0-; a stream without an end has no ranges, and says so."""
    async with serving(reactor) as service:
        client = await watch(reactor, service, PATH, b"Range: bytes=0-")
        assert b"accept-ranges: none" in (await client.head(reactor)).lower()
        stream.send()
        assert await client.bodyOf(reactor, 1316) == stream.sent


REFUSED = [
    ("POST", PATH.decode(), 405),
    ("PUT", "/", 405),
    ("OPTIONS", "/", 405),
    ("get", PATH.decode(), 405),
    ("G\x7cT", "/", 405),
    ("GET", "/", 404),
    ("GET", "/unknown", 404),
    ("HEAD", "/unknown", 404),
    ("GET", "/udp", 404),
    ("GET", "/udp/", 403),
    ("GET", PATH.decode() + "/", 404),
    ("GET", "//udp/239.77.0.1:5077", 404),
    ("GET", "/./udp/239.77.0.1:5077", 404),
    ("GET", "/UDP/239.77.0.1:5077", 404),
    ("GET", "/status/../udp/239.77.0.1:5077", 404),
    ("GET", "http://x/udp/239.77.0.1:5077", 404),
    ("GET", "/udp/udp://239.77.0.1:5077", 404),
    ("GET", "/udp%2f239.77.0.1:5077", 404),
    ("GET", "/udp/239.78.0.1:5077", 403),
    ("GET", "/rtp/239.78.0.1:5077", 403),
    ("HEAD", "/udp/239.78.0.1:5077", 403),
    ("GET", "/udp/239.77.0.1:5077%3finterface=lo", 403),
    ("GET", "/udp/239.77.0.1:5077?interface=lo", 403),
    ("GET", "/udp/239.77.0.1:5077?%69nterface=lo", 403),
    ("GET", "/udp/239.77.0.1%2500:5077", 403),
    ("GET", "/udp/239.77.0.1:5077%00", 403),
    ("GET", "/udp/239.77.0.1:5077%0d%0aX-Injected:%20yes", 403),
    ("GET", "/udp/%2532%2533%2539.77.0.1:5077", 403),
    ("GET", "/udp/127.0.0.1:22", 403),
    ("GET", "/udp/[::ffff:239.77.0.1]:5077", 403),
    ("GET", "/udp/[ff12::1%25lo]:5077", 403),
    ("GET", "/%ff%fe", 404),
]


@pytest.mark.parametrize(("method", "path", "status"), REFUSED)
@pytest_twisted.ensureDeferred
async def test_theseAreRefused(reactor: Any, method: str, path: str, status: int) -> None:
    """Each gets the answer that it should, which ends the connection, and joins nothing."""
    async with serving(reactor) as service:
        client = await request(reactor, service, path.encode("latin-1"), method=method.encode())
        answer = await client.answer(reactor)
        assert answer.split(b" ")[1] == b"%d" % status, answer
        assert (b"\r\nAllow: GET, HEAD\r\n" in answer) == (status == 405)
        assert b"injected" not in answer.partition(b"\r\n\r\n")[0].lower()
        assert service.status().refused == {str(status): 1}
        assert not service.status().totals.channels


@pytest_twisted.ensureDeferred
async def test_pathMayBePercentEncoded(reactor: Any, stream: Stream) -> None:
    """Encoded characters are what they stand for, and one channel has one name."""
    async with serving(reactor) as service:
        await watch(reactor, service, PATH)
        await watch(reactor, service, b"/%75dp/%32%339.77.0.1%3A5077?whatever=1")
        (channel,) = service.status().channels
        assert channel.name == PATH.decode()
        assert len(channel.viewers) == 2


@pytest_twisted.ensureDeferred
async def test_groupThatCannotBeJoinedIsNotAvailable(reactor: Any) -> None:
    """What goes wrong on this side is a 503 for clients, and one line of log for the operator."""
    named = {"x": StreamModel(InputModel.parse("udp://239.77.0.9:5077?interface=lo"))}
    async with serving(reactor, named=named) as service:
        rule = service.model.allowed.rules[0]
        object.__setattr__(rule, "interface", "nonesuch")
        with loggedLines() as lines:
            for _ in range(3):
                answer = await (await request(reactor, service)).answer(reactor)
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert b"nonesuch" not in answer
        assert len([each for each in lines if "nonesuch" in each]) == 1


# Hostile clients

JUNK = [
    b"\r\n",
    b"\0" * 100,
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET  / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
    b"GET / HTTP/1.1\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 1000 + b"\r\n",
    b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: \0\r\n\r\n",
    b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 9000 + b"\r\nZ: " + b"y" * 9000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"y" * 100000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\nAuthorization: Basic !!!\r\n\r\n",
    b"GET / HTTP/1.1\r\nAuthorization: \xff\xff\r\nCookie: =;;a\xff\r\n\r\n",
    b"GET /?token=%ff&token=&=&&%zz HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Type: multipart/form-data\r\nContent-Length: 3\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
    b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
]


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
@pytest_twisted.ensureDeferred
async def test_junkGetsAnAnswerOrNone(reactor: Any, junk: bytes) -> None:
    """Junk ends its connection, with an error or without a word, and with no traceback."""
    access = Access(("secret-7",), Passwords({"me": "pass"}))
    with loggedLines() as lines:
        async with serving(reactor, headTime=0.2, access=access) as service:
            client = await connect(reactor, service)
            client.transport.write(junk)  # type: ignore[union-attr]
            answer = await client.answer(reactor)
            answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert answer == b"" or 400 <= int(answer.split(b" ")[1]) < 500, answer
            assert not service.status().viewers
    assertQuiet(lines)


@pytest_twisted.ensureDeferred
async def test_noiseGetsAnAnswerOrNone(reactor: Any) -> None:
    """So does a request in which anything may be wrong."""
    rand = random.Random(77)
    good = (
        b"GET /udp/239.77.0.1:5077?token=x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    )
    with loggedLines() as lines:
        async with serving(reactor, headTime=0.3) as service:
            clients = []
            for _ in range(150):
                noisy = bytearray(good)
                for _ in range(rand.randrange(1, 8)):
                    noisy[rand.randrange(len(noisy))] = rand.randrange(256)
                client = await connect(reactor, service)
                client.transport.write(bytes(noisy))  # type: ignore[union-attr]
                clients.append(client)
            for client in clients:
                await client.until(reactor, lambda c=client: c.data or c.isOver)  # type: ignore[misc]
    assertQuiet(lines)


@pytest_twisted.ensureDeferred
async def test_whoAsksTooSlowlyIsClosed(reactor: Any) -> None:
    """A request has to be there in time, however steadily its bytes drip in."""
    async with serving(reactor, headTime=0.3) as service:
        silent, dripping = [await connect(reactor, service) for _ in range(2)]
        started = reactor.seconds()
        while not dripping.isOver:
            dripping.transport.write(b"G")  # type: ignore[union-attr]
            await deferLater(reactor, 0.02)
        assert 0.2 < reactor.seconds() - started < 3
        assert await silent.answer(reactor) == b""
        assert service.status().refused == {"slow": 2}


@pytest_twisted.ensureDeferred
async def test_uploadsAreThrownAway(reactor: Any) -> None:
    """A body, of whatever length, is kept nowhere, and ends with the time for a request."""
    before = set(openDescriptors())
    async with serving(reactor, headTime=0.3) as service:
        client = await request(
            reactor, service, PATH, b"Content-Length: 999999999999", method=b"POST"
        )
        while not client.isOver:
            client.transport.write(bytes(65536))  # type: ignore[union-attr]
            others = ("socket:", "anon_inode:")
            opened = {each for each in openDescriptors() if not each[1].startswith(others)}
            assert opened <= before
            await deferLater(reactor, 0.02)
        assert service.status().refused == {"slow": 1}


@pytest_twisted.ensureDeferred
async def test_whatAViewerSaysIsThrownAway(reactor: Any, stream: Stream) -> None:
    """A viewer may send what it likes, without end; it gets its stream, and no second answer."""
    async with serving(reactor) as service:
        client = await watch(reactor, service)
        for _ in range(50):
            client.transport.write(b"GET / HTTP/1.1\r\n\r\n" * 2000)  # type: ignore[union-attr]
        stream.send(5)
        assert await client.bodyOf(reactor, len(stream.sent)) == stream.sent
        await client.close(reactor)

        def hasGone() -> bool:
            # Under uvloop an error that is found while data waits shows in the next write.
            stream.send()
            return not service.status().viewers

        await soon(reactor, hasGone, "it has gone")


@pytest_twisted.ensureDeferred
async def test_connectionsThatAskForNothingAreBounded(reactor: Any, stream: Stream) -> None:
    """Only so many may be open without a request; viewers do not count among them."""
    async with serving(reactor, connections=3) as service:
        viewers = [await watch(reactor, service) for _ in range(5)]
        idle = [await connect(reactor, service) for _ in range(6)]
        await soon(reactor, lambda: sum(each.isOver for each in idle) == 3, "three are closed")
        assert service.status().refused == {"connections": 3}
        stream.send()
        for client in viewers:
            assert await client.bodyOf(reactor, 1316) == stream.sent


@pytest_twisted.ensureDeferred
async def test_aPageOfAnotherHostGetsNothing(reactor: Any, stream: Stream) -> None:
    """On loopback, who asks for another host's name is refused: a page may have led it here."""
    hosts = {b"evil.example": b"421", b"localhost:1": b"200", b"[::1]": b"200"}
    async with serving(reactor) as service:
        for host, status in hosts.items():
            client: Any = await connect(reactor, service)
            client.transport.write(b"HEAD " + PATH + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            assert (await client.answer(reactor)).split()[1] == status


# TLS


@pytest_twisted.ensureDeferred
async def test_streamOverTLS(reactor: Any, stream: Stream, tmp_path: Path) -> None:
    """Over TLS a stream is whole and in order too, for those who are behind as well."""
    endpoints = (tlsEndpoint(tmp_path),)
    async with serving(reactor, endpoints=endpoints, blockTime=0.001, sendBuffer=8192) as service:
        plain = HostnameEndpoint(reactor, HOST, portOf(service))
        client: Client = await connectProtocol(wrapClientTLS(clientTLS(), plain), Client())
        client.transport.write(b"GET " + PATH + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")  # type: ignore[union-attr]
        await client.head(reactor)
        client.transport.pauseProducing()  # type: ignore[union-attr]
        for _ in range(60):
            stream.send(20)
            await deferLater(reactor, 0.002)
        assert service.status().channels[0].viewers[0].isBehind
        client.transport.resumeProducing()  # type: ignore[union-attr]
        assert await client.bodyOf(reactor, len(stream.sent)) == stream.sent
        stream.send(10)
        assert await client.bodyOf(reactor, len(stream.sent)) == stream.sent
        assert service.status().totals.skips == 0


@pytest_twisted.ensureDeferred
async def test_halfATLSHandshakeTakesNoLonger(reactor: Any, tmp_path: Path) -> None:
    """The time for a request includes that for the handshake."""
    async with serving(reactor, endpoints=(tlsEndpoint(tmp_path),), headTime=0.2) as service:
        with socket.create_connection((HOST, portOf(service))) as sock:
            sock.sendall(b"\x16\x03\x01\x02\x00\x01")
            await soon(reactor, lambda: service.status().refused.get("slow"), "it is closed")
