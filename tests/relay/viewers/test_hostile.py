"""Whatever a client sends gets an error or is cut off, and a viewer beside it notices nothing."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.task import LoopingCall, deferLater

from tests.ports.streams import clientTLS
from tests.relay.support import loggedLines
from tests.relay.viewers.support import (
    HOST,
    ON_LOOPBACK,
    PATH,
    Client,
    Stream,
    assertQuiet,
    connect,
    joined,
    portOf,
    serving,
    soon,
    tlsEndpoint,
    watch,
)
from txgroupsock.relay.viewers import ViewerService

MEGABYTE = 1024 * 1024
ALLOWED = PATH.decode()
GET = f"GET {ALLOWED} HTTP/1.1\r\nHost: localhost\r\n"
ANSWER = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) [^\r\n]+\r\n")


@asynccontextmanager
async def besideAViewer(
    reactor: Any, burst: int = 1, **changed: Any
) -> AsyncIterator[ViewerService]:
    """
    A service with one viewer, which has to get all of a stream; no traceback is logged.

    @param burst: of how many datagrams in 5 ms.
    """
    stream = Stream("239.77.0.1", 5077)
    sending = LoopingCall(stream.send, burst)
    sending.clock = reactor
    with loggedLines() as lines, closing(stream):
        async with serving(reactor, **{"headTime": 0.5, **changed}) as service:
            client = await watch(reactor, service)
            sending.start(0.005)
            try:
                yield service
            finally:
                sending.stop()
            assert await client.bodyOf(reactor, len(stream.sent)) == stream.sent
            assert service.status().viewers == 1
            assert service.status().totals.channels == 1
            assert service.status().totals.skips == 0
    assertQuiet(lines)


async def told(reactor: Any, service: ViewerService, data: bytes) -> bytes:
    """All that comes back for what is sent, until the connection is over."""
    client: Client = await connect(reactor, service)
    client.transport.write(data)  # type: ignore[union-attr]
    answer = await client.answer(reactor)
    return answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")


async def toldAll(reactor: Any, service: ViewerService, each: Sequence[bytes]) -> list[bytes]:
    """The same of many at a time."""
    telling = [ensureDeferred(told(reactor, service, data)) for data in each]
    answers: list[bytes] = await gatherResults(telling)
    return answers


def statusOf(answer: bytes) -> int:
    """The status code of an answer that is the only one; 0 if there is none at all."""
    if not answer:
        return 0
    found = ANSWER.match(answer)
    assert found is not None, answer
    assert answer.count(b"HTTP/1.") == 1, answer
    return int(found[1])


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# Requests in requests

INNER = f"{GET}\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
TRAILERS = "X: y\r\n" * 9999
SMUGGLING = [
    f"POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n{INNER}",
    f"POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n{INNER}",
    f"POST / HTTP/1.1\r\nContent-Length: {len(INNER)}\r\n{CHUNKED}\r\n0\r\n\r\n{INNER}",
    f"POST / HTTP/1.1\r\n{CHUNKED}Content-Length: 4\r\n\r\n5c\r\n{INNER}",
    f"POST / HTTP/1.1\r\n{CHUNKED}Transfer-Encoding: identity\r\n\r\n0\r\n\r\n{INNER}",
    f"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{INNER}",
    f"POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n{INNER}",
    f"POST / HTTP/1.1\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{INNER}",
    f"POST / HTTP/1.1\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{INNER}",
    f"POST / HTTP/1.1\r\nX: y\nContent-Length: 0\r\n\r\n{INNER}",
    f"POST / HTTP/1.1\nContent-Length: 0\n\n{INNER}",
    f"POST / HTTP/1.1\r\nContent-Length: +0\r\n\r\n{INNER}",
    f"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n{INNER}",
    f"POST / HTTP/1.1\r\nContent-Length: 0x0\r\n\r\n{INNER}",
    f"POST / HTTP/1.1\r\nContent-Length: 0_0\r\n\r\n{INNER}",
    f"POST / HTTP/1.1\r\nContent-Length: \r\n\r\n{INNER}",
    f"POST / HTTP/1.1\r\n{CHUNKED}\r\n-1\r\n{INNER}",
    f"POST / HTTP/1.1\r\n{CHUNKED}\r\n0x0\r\n\r\n{INNER}",
    f"POST / HTTP/1.1\r\n{CHUNKED}\r\n0;{'a' * 9000}\r\n\r\n{INNER}",
    f"POST / HTTP/1.1\r\n{CHUNKED}\r\n{'f' * 99}\r\n{INNER}",
    f"POST / HTTP/1.1\r\n{CHUNKED}\r\n0\r\n{TRAILERS}\r\n{INNER}",
    f"HEAD /unknown HTTP/1.1\r\nContent-Length: 0\r\n\r\n{INNER}",
    f"GET /unknown HTTP/1.1\r\nConnection: keep-alive\r\n\r\n{INNER}",
    f"GET /unknown HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n{INNER}",
    f"GET /unknown HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n{INNER}",
    f"\r\n\r\nGET /unknown HTTP/1.1\r\n\r\n{INNER}",
]


@pytest_twisted.ensureDeferred
async def test_requestsInRequestsAreNotServed(reactor: Any) -> None:
    """However lengths are given, a connection gets one answer, and what follows gets none."""
    async with besideAViewer(reactor) as service:
        sent = [each.encode("latin-1") for each in SMUGGLING]
        for data, answer in zip(sent, await toldAll(reactor, service, sent), strict=True):
            assert statusOf(answer) in (0, 400, 404, 405), (data, answer)
        assert service.status().totals.viewers == 1


# Paths

TRICKS = [
    ("/udp/%32%33%39.78.0.1:5077", 403),
    ("/udp/%32%33%39%2e%37%38%2e0.1%3a5077", 403),
    ("/udp/239.78.0.1:5077?239.77.0.1:5077", 403),
    ("/udp/239.78.0.1:5077#239.77.0.1:5077", 403),
    ("/udp/239.78.0.1:5077;239.77.0.1:5077", 403),
    ("/udp/239.78.0.1:5077%00239.77.0.1:5077", 403),
    ("/udp/239.77.0.1:5077%00", 403),
    ("/udp/%00239.77.0.1:5077", 403),
    ("/udp/239.77.0.1@239.78.0.1:5077", 403),
    ("/udp/239.78.0.1@239.77.0.1:5077", 403),
    ("/udp/0.0.0.0@239.77.0.1:5077", 403),
    ("/udp/10.0.0.1@10.0.0.2@239.77.0.1:5077", 403),
    ("/udp/[ff15::77]@239.77.0.1:5077", 403),
    ("/udp/239.078.0.1:5077", 403),
    ("/udp/239.77.0.01:5077", 403),
    ("/udp/0357.77.0.1:5077", 403),
    ("/udp/0xef.77.0.1:5077", 403),
    ("/udp/4014866433:5077", 403),
    ("/udp/239.77.1:5077", 403),
    ("/udp/239.77.0.1.:5077", 403),
    ("/udp/239.77.0.256:5077", 403),
    ("/udp/239.77.0.1", 403),
    ("/udp/239.77.0.1:", 403),
    ("/udp/239.77.0.1:0", 403),
    ("/udp/239.77.0.1:-1", 403),
    ("/udp/239.77.0.1:65536", 403),
    ("/udp/239.77.0.1:+5077", 403),
    ("/udp/239.77.0.1:%2b5077", 403),
    ("/udp/+239.77.0.1:5077", 403),
    ("/udp/239.77.0.1:%205077", 403),
    ("/udp/239.77.0.1:5077%20", 403),
    ("/udp/239.77.0.1:50_77", 403),
    ("/udp/239.77.0.1:5e3", 403),
    ("/udp/239.77.0.1:5077.0", 403),
    ("/udp/239.77.0.1:" + "9" * 180, 403),
    ("/udp/239.77.0.1:" + "9" * 9000, 403),
    ("/udp/239.77.0.1:%EF%BC%95%EF%BC%90%EF%BC%97%EF%BC%97", 403),
    ("/udp/239%E3%80%8277%E3%80%820%E3%80%821:5077", 403),
    ("/udp/239.77.0.1:5077%0a", 403),
    ("/udp/239.77.0.1:5077%0d%0aSet-Cookie:%20x=y", 403),
    ("/udp/[::ffff:239.78.0.1]:5077", 403),
    ("/udp/[::ffff:ef4d:1]:5077", 403),
    ("/udp/[::239.77.0.1]:5077", 403),
    ("/udp/[64:ff9b::ef4d:1]:5077", 403),
    ("/udp/[2002:ef4d:1::]:5077", 403),
    ("/udp/[239.78.0.1]:5077", 403),
    ("/udp/[ff02::1]:5077", 403),
    ("/udp/[ff02::1%25lo]:5077", 403),
    ("/udp/[ff02::1%lo]:5077", 403),
    ("/udp/[[ff02::1]]:5077", 403),
    ("/udp/localhost:5077", 403),
    ("/udp/127.0.0.1:5077", 403),
    ("/udp/255.255.255.255:5077", 403),
    ("/udp/224.0.0.1:5077", 403),
    ("/udp/@239.78.0.1:5077", 403),
    ("/udp/@:5077", 403),
    ("/udp/:", 403),
    ("/udp/..", 403),
    ("/udp/%2e%2e", 403),
    ("/udp/%", 403),
    ("/udp/%zz", 403),
    ("/udp/%c0%ae%c0%ae", 403),
    ("/udp//239.77.0.1:5077", 404),
    ("//udp/239.77.0.1:5077", 404),
    ("///udp/239.77.0.1:5077", 404),
    ("/./udp/239.77.0.1:5077", 404),
    ("/udp/./239.77.0.1:5077", 404),
    ("/udp/../udp/239.77.0.1:5077", 404),
    ("/udp/239.77.0.1:5077/", 404),
    ("/udp/239.77.0.1:5077/.", 404),
    ("/udp/239.77.0.1:5077/..", 404),
    ("/udp/239.77.0.1:5077/../239.78.0.1:5077", 404),
    ("/%75dp%2f239.77.0.1:5077", 404),
    ("/udp%00/239.77.0.1:5077", 404),
    ("/udp%20/239.77.0.1:5077", 404),
    ("/uDp/239.77.0.1:5077", 404),
    ("/framed/239.77.0.1:5077", 404),
    ("/udp\\239.77.0.1:5077", 404),
    ("\\udp\\239.77.0.1:5077", 404),
    ("udp/239.78.0.1:5077", 404),
    ("*", 405),
    ("/" + "a" * 9000, 404),
    ("/" + "a/" * 4000, 404),
    ("/" + "%2e%2e/" * 1000 + "etc/passwd", 404),
    ("/?" + "a=b&" * 2000, 404),
    ("http://relay/udp/239.78.0.1:5077", 404),
    ("http://239.77.0.1:5077", 404),
    ("relay:80", 404),
]


@pytest_twisted.ensureDeferred
async def test_noTrickReachesAGroup(reactor: Any) -> None:
    """A path that does not say an allowed group, plainly and once encoded at most, gets none."""
    async with besideAViewer(reactor, headTime=10.0) as service:  # all get an answer
        sent = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path, _ in TRICKS]
        answers = await toldAll(reactor, service, sent)
        wrong = {
            path: (statusOf(answer), status)
            for (path, status), answer in zip(TRICKS, answers, strict=True)
            if statusOf(answer) != status
        }
        assert not wrong
        assert b"x=y" not in b"".join(answers).lower()
        assert not joined("239.78.0.1")


# Other protocols, and other forms of this one

OTHERS = [
    ("CONNECT 239.77.0.1:5077 HTTP/1.1\r\nHost: localhost\r\n\r\n", {405}),
    ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", {200}),  # RFC 9110 section 9.3.7
    (f"TRACE {ALLOWED} HTTP/1.1\r\nHost: localhost\r\n\r\n", {405}),
    (f"DELETE {ALLOWED} HTTP/1.1\r\n\r\n", {405}),
    (f"{'A' * 9000} {ALLOWED} HTTP/1.1\r\n\r\n", {405}),
    (f"GET {ALLOWED}\r\n\r\n", {0, 400}),  # HTTP/0.9
    (f"GET {ALLOWED} HTTP/0.9\r\n\r\n", {0, 400, 505}),
    (f"GET {ALLOWED} HTTP/2.0\r\n\r\n", {0, 400, 505}),
    (f"GET {ALLOWED} HTTP/1.1 x\r\n\r\n", {0, 400}),
    (f"GET  {ALLOWED}  HTTP/1.1\r\n\r\n", {0, 400}),
    (f"GET\t{ALLOWED}\tHTTP/1.1\r\n\r\n", {0, 400}),
    (f"GET {ALLOWED} http/1.1\r\n\r\n", {0, 400}),
    (f"GET {ALLOWED} HTTP/1.1\rHost: localhost\r\r", {0, 400}),
    (f" {GET}\r\n", {0, 400, 405}),
    (f"{GET}no colon\r\n\r\n", {400}),
    (f"{GET}: nothing\r\n\r\n", {400}),
    (f"{GET}X\0: y\r\n\r\n", {400}),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\4\0\0\0\0\0", {0, 400, 405, 505}),
    ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\xaa" * 500, {0, 400}),
    ("\x80\x2e\x01\x00\x02" + "\0" * 41, {0, 400}),  # SSL 2
    ("SSH-2.0-OpenSSH_9.6\r\n", {0, 400}),
    ("OPTIONS rtsp://x/ RTSP/1.0\r\nCSeq: 1\r\n\r\n", {0, 400, 405, 505}),
    ("REGISTER sip:x SIP/2.0\r\n\r\n", {0, 400, 405, 505}),
    ("\x05\x01\x00", {0, 400}),  # SOCKS
    ("\0" * 5000, {0, 400}),
    ("\r\n" * 5000, {0, 400}),
    ("", {0}),
]


@pytest_twisted.ensureDeferred
async def test_otherProtocolsAreTurnedAway(reactor: Any) -> None:
    """What is no request of HTTP/1, or none for a stream, gets an error or no answer at all."""
    async with besideAViewer(reactor) as service:
        sent = [data.encode("latin-1") for data, _ in OTHERS]
        answers = await toldAll(reactor, service, sent)
        wrong = {
            data[:80]: answer[:80]
            for (data, statuses), answer in zip(OTHERS, answers, strict=True)
            if statusOf(answer) not in statuses
        }
        assert not wrong


# Anything

METHODS = st.sampled_from(["GET", "HEAD", "POST", "get", "CONNECT", "", "G\0T"]) | st.text(
    max_size=8
)
TARGETS = st.text(max_size=60) | st.builds(
    "{}{}{}".format,
    st.sampled_from(["/udp/", "/rtp/", "//", "/", "http://x/udp/", "/udp/%32%33%39"]),
    st.text("0123456789.:@[]%/?&=;#+abcdef\0\\ ", max_size=40),
    st.sampled_from(["", ":5077", "239.78.0.1:5077", "?token=x", "/.."]),
)
VERSIONS = st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.1 ", ""])
HEADERS = st.tuples(
    st.sampled_from(
        ["Content-Length", "Transfer-Encoding", "Authorization", "Range", "Host", "Cookie"]
    )
    | st.text(max_size=12),
    st.sampled_from(["0", "5", "-1", "chunked", "Basic !", "Bearer x", "bytes=0-", "9" * 30])
    | st.text(max_size=30),
).map(": ".join)
ENDS = st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r", "\0", ""])


@frozen
class Request:
    """A request in which anything may be wrong."""

    method: str
    target: str
    version: str
    headers: list[str]
    end: str
    body: bytes

    @property
    def data(self) -> bytes:
        """As it is sent."""
        lines = [f"{self.method} {self.target} {self.version}", *self.headers, "", ""]
        return self.end.join(lines).encode("utf-8", "surrogatepass") + self.body


REQUESTS = st.builds(
    Request, METHODS, TARGETS, VERSIONS, st.lists(HEADERS, max_size=6), ENDS, st.binary(max_size=60)
).map(lambda each: each.data)


def isForTheAllowed(data: bytes) -> bool:
    """Whether a request might be one for a group that is allowed."""
    return b"239.77" in data or b"%3" in data


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(REQUESTS | st.binary(max_size=200), min_size=20, max_size=40))
@example([b"\0", b"\r\n", b"GET", b"GET / HTTP/1.1\r\n", b"\xff" * 100])
@example([b"GET /\xff HTTP/1.1\r\n\r\n", b"GET /%ff%fe HTTP/1.1\r\nHost: \xff\r\n\r\n"])
@example([b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n"])
@example([b"GET / HTTP/1.1\r\nAuthorization: Basic " + b"\xff" * 9 + b"\r\n\r\n"])
@example([b"GET /udp/[%5B]:1 HTTP/1.1\r\n\r\n", b"GET /udp/[:1 HTTP/1.1\r\n\r\n"])
@pytest_twisted.ensureDeferred
async def test_anyRequestGetsAnAnswerOrNone(reactor: Any, requests: list[bytes]) -> None:
    """Random and nearly right requests, many at a time: an error each, or the end."""
    async with besideAViewer(reactor, headTime=0.05) as service:
        sent = [each for each in requests if not isForTheAllowed(each)]
        for data, answer in zip(sent, await toldAll(reactor, service, sent), strict=True):
            assert statusOf(answer) in (0, 400, 403, 404, 405, 421, 501, 505), (data, answer)


# Floods

FLOODS = {
    "line": (b"GET /", b"a" * 65536),
    "header": (b"GET / HTTP/1.1\r\nX: ", b"y" * 65536),
    "headers": (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 8192),
    "body": (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", bytes(65536)),
    "chunks": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 8192),
    "chunk": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", bytes(65536)),
    "size": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"0" * 65536),
    "extension": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 65536),
    "trailers": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 8192),
    "requests": (b"", b"GET / HTTP/1.1\r\n\r\n" * 4096),
    "empty lines": (b"", b"\r\n" * 32768),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
@pytest_twisted.ensureDeferred
async def test_floodsFillNothing(reactor: Any, flood: tuple[bytes, bytes]) -> None:
    """Ten connections that send without end are cut off in time, and are kept nowhere."""
    first, more = flood
    async with besideAViewer(reactor, headTime=0.4) as service:
        with ExitStack() as opened:
            address = (HOST, portOf(service))
            socks = [opened.enter_context(socket.create_connection(address)) for _ in range(10)]
            for sock in socks:
                sock.sendall(first)
                sock.setblocking(False)
            before, deadline = resident(), reactor.seconds() + 10
            while socks:
                assert reactor.seconds() < deadline
                socks = [sock for sock in socks if not isCutOff(sock, more)]
                await deferLater(reactor, 0.005)
            # The most is 1 MB each: 64 KiB of trailers, line by line as Twisted keeps them.
            assert resident() - before < 16 * MEGABYTE


def isCutOff(sock: socket.socket, data: bytes) -> bool:
    """Send some more; whether there is nobody any more who takes it."""
    try:
        sock.send(data)
    except BlockingIOError:
        pass
    except OSError:
        return True
    return False


@pytest.mark.parametrize(
    "data",
    [b"", b"G", b"GET / HTTP/1.1\r\nX: y\r\n", b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n"],
    ids=["nothing", "a byte", "headers", "a body"],
)
@pytest_twisted.ensureDeferred
async def test_slowRequestsHoldNothingUp(reactor: Any, data: bytes) -> None:
    """Of many that dribble only so many are heard, each for so long, and viewers still come."""
    async with besideAViewer(reactor, headTime=0.3, connections=30) as service:
        before = resident()
        clients = [await connect(reactor, service) for _ in range(100)]
        for client in clients:
            client.transport.write(data)  # type: ignore[union-attr]
        while not all(client.isOver for client in clients):
            assert len(service._site.places) <= 30
            for client in clients:
                if not client.isOver:
                    client.transport.write(b"X")  # type: ignore[union-attr]
            await deferLater(reactor, 0.01)
        refused = service.status().refused
        assert refused.get("connections", 0) + refused.get("slow", 0) == 100
        assert resident() - before < 8 * MEGABYTE
        await soon(reactor, lambda: len(service._site.opened) == 1, "one is left")
        client = await watch(reactor, service)
        await client.close(reactor)
        await soon(reactor, lambda: service.status().viewers == 1, "it has gone")


@pytest_twisted.ensureDeferred
async def test_whoHasGoneIsNotSlowAsWell(reactor: Any) -> None:
    """Once a connection has had to make room for others, its time for a request is no matter."""
    async with serving(reactor) as service:
        client = await connect(reactor, service)
        await soon(reactor, lambda: len(service._site.opened) == 1, "it is there")
        [connection] = service._site.opened
        deadlines = [call for call in reactor.getDelayedCalls() if call.func == connection._tooLate]
        connection.end()
        assert [call.active() for call in deadlines] == [False]
        await client.until(reactor, lambda: client.isOver)


# Those that end without a word


@pytest.mark.parametrize("isTLS", [False, True], ids=["plain", "TLS"])
@pytest_twisted.ensureDeferred
async def test_viewersThatResetCostOthersNothing(reactor: Any, tmp_path: Path, isTLS: bool) -> None:
    """Connections that are reset at any time, behind or not, leave the others their bytes."""
    settings = {"endpoints": (ON_LOOPBACK, tlsEndpoint(tmp_path)), "sendBuffer": 8192}
    async with besideAViewer(reactor, burst=20, blockTime=0.001, **settings) as service:
        endpoint: Any = HostnameEndpoint(reactor, HOST, portOf(service, int(isTLS)))
        if isTLS:
            endpoint = wrapClientTLS(clientTLS(), endpoint)
        for number in range(40):
            client: Client = await connectProtocol(endpoint, Client())
            transport: Any = client.transport
            transport.write(f"{GET}\r\n".encode())
            await client.head(reactor)
            if number % 2:
                transport.pauseProducing()
            await deferLater(reactor, number / 500)
            transport.abortConnection()
            await soon(reactor, lambda: service.status().viewers == 1, "it has gone")
