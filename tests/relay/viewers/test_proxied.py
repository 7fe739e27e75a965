"""Who is behind a proxy is what its header says; whoever writes one gets nothing out of that."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol

from tests.relay.support import loggedLines
from tests.relay.viewers.support import (
    ON_LOOPBACK,
    PATH,
    Client,
    assertQuiet,
    connect,
    portOf,
    serving,
    soon,
)
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.viewers import StreamModel, TCPModel

BEHIND = f"haproxy:{ON_LOOPBACK}"
GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % PATH
PREFIX = b"\r\n\r\n\0\r\nQUIT\n"
IN_WORDS = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 80\r\n"
IN_BYTES = PREFIX + b"\x21\x11\0\x0c" + bytes([192, 0, 2, 7, 192, 0, 2, 1]) + b"\x13\x88\0\x50"
IPV6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 80\r\n"

NO_HEADERS = [
    b"x",
    b"GET / HTTP/1.1\r\n\r\n",
    b"PROXY\r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 x y z w\r\n",
    b"PROXY TCP4 \xff\xfe 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 " + b"1" * 50 + b" 1 1 1\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1 " + b"9" * 5000 + b"\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 -1 2\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1_0 2\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2 <script>\r\n",
    b"PROXY TCP4 <script> 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 192.0.2.7 \x1b[2J 1 2\r\n",
    b"PROXY TCP4 192.0.2.7\nforged 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
    b"PROXY TCP6 192.0.2.7 192.0.2.1 1 2\r\n",
    b"PROXY TCP6 fe80::1%\x1b[2J<script> fe80::2 1 2\r\n",
    b"PROXY " + b"x" * 200,
    PREFIX + b"\x31\x11\0\0",
    PREFIX + b"\x21\x11\0\x04" + bytes(4),
    PREFIX + b"\x21\x77\0\0",
]


async def saying(reactor: Any, service: Any, *parts: bytes) -> Client:
    """A connection to the second endpoint that has said something, in so many pieces."""
    client = await connect(reactor, service, 1)
    transport: Any = client.transport
    transport.setTcpNoDelay(True)
    for part in parts:
        transport.write(part)
        await soon(reactor, lambda: not unsent(transport.getHandle()), "it is taken")
    return client


def unsent(handle: socket.socket) -> int:
    """Bytes that the other end has not acknowledged."""
    return int(struct.unpack("i", fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4)))[0])


@pytest_twisted.ensureDeferred
async def test_whatIsNoHeaderIsJunk(reactor: Any) -> None:
    """The connection is closed without an answer and counted, and leaves nothing in the log."""
    with loggedLines() as lines:
        async with serving(reactor, endpoints=(ON_LOOPBACK, BEHIND)) as service:
            for number, header in enumerate(NO_HEADERS, 1):
                client = await connect(reactor, service, 1)
                client.transport.write(header + GET)  # type: ignore[union-attr]
                assert await client.answer(reactor) == b"", header
                assert service.status().refused == {"junk": number}, header
    assertQuiet(lines)
    assert not [line for line in lines if "forged" in line or "\x1b" in line or "<script" in line]


@pytest.mark.parametrize(
    ("header", "origin"),
    [
        (IN_WORDS, "192.0.2.7:5000"),
        (IN_BYTES, "192.0.2.7:5000"),
        (IPV6, "[2001:db8::7]:5000"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_aViewerIsWhereTheHeaderSays(reactor: Any, header: bytes, origin: str) -> None:
    """In words or in bytes, in one piece or in many."""
    async with serving(reactor, endpoints=(ON_LOOPBACK, BEHIND)) as service:
        for parts in ((header + GET,), (header[:1], header[1:14], header[14:], GET)):
            client = await saying(reactor, service, *parts)
            assert (await client.head(reactor)).startswith(b"HTTP/1.1 200 ")
            [channel] = service.status().channels
            assert [viewer.peer for viewer in channel.viewers] == [origin]
            await client.close(reactor)
            await soon(reactor, lambda: not service.status().viewers, "it has gone")
        assert not service.status().refused


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN <script> x y z\r\n",
        PREFIX + b"\x20\0\0\0",
        PREFIX + b"\x21\x31\0\xd8" + b"<script>\n".ljust(216, b"\0"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_whoIsNotSaidIsTheProxy(reactor: Any, header: bytes) -> None:
    """So is who is said to be a UNIX socket, whose name could be anything."""
    async with serving(reactor, endpoints=(ON_LOOPBACK, BEHIND)) as service:
        client = await saying(reactor, service, header + GET)
        assert (await client.head(reactor)).startswith(b"HTTP/1.1 200 ")
        [channel] = service.status().channels
        transport: Any = client.transport
        assert [viewer.peer for viewer in channel.viewers] == [
            f"127.0.0.1:{transport.getHost().port}"
        ]
        await client.close(reactor)


@pytest.mark.parametrize(
    "text", ["haproxy:keepalive:{}", "keepalive:haproxy\\:{}"], ids=["outside", "inside"]
)
@pytest_twisted.ensureDeferred
async def test_anotherEndpointMayBeAround(reactor: Any, text: str) -> None:
    """Keep-alive outside or inside; the header is read just so."""
    quoted = ON_LOOPBACK.replace(":", "\\:")
    async with serving(reactor, endpoints=(ON_LOOPBACK, text.format(quoted))) as service:
        assert portOf(service, 1)
        client = await saying(reactor, service, NO_HEADERS[4] + GET)
        assert await client.answer(reactor) == b""
        assert service.status().refused == {"junk": 1}


@pytest_twisted.ensureDeferred
async def test_aSocketOnDiskIsNoOther(reactor: Any, tmp_path: Path) -> None:
    """The proxy may connect there as well."""
    path = str(tmp_path / "viewers")
    async with serving(reactor, endpoints=(f"haproxy:unix:{path}",)) as service:
        for header, answer in ((IN_WORDS, b"HTTP/1.1 200 "), (NO_HEADERS[4], b"")):
            client: Client = await connectProtocol(UNIXClientEndpoint(reactor, path), Client())
            client.transport.write(header + GET)  # type: ignore[union-attr]
            assert (await client.head(reactor)).startswith(answer)
            await client.close(reactor)
        assert service.status().refused == {"junk": 1}


@pytest_twisted.ensureDeferred
async def test_aViewerWhoAsksForNothingMayWriteNoOtherThanAHeader(reactor: Any) -> None:
    """What gets a stream by TCP is closed in the midst of it, with all that waits for it."""
    news = StreamModel(InputModel.parse("udp://239.77.0.1:5077?interface=lo"))
    async with serving(reactor, endpoints=(), tcp=(TCPModel(BEHIND, news),)) as service:
        client = await connect(reactor, service)
        await soon(reactor, lambda: service.status().viewers, "it is watched")
        client.transport.write(NO_HEADERS[4])  # type: ignore[union-attr]
        await client.answer(reactor)
        await soon(reactor, lambda: not service.status().viewers, "it has gone")
        assert service.status().refused == {"junk": 1}
