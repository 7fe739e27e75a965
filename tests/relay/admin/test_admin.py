"""Who is answered by the service for operators, and who is not."""

from __future__ import annotations

import base64
import random
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.conftest import openDescriptors
from tests.relay.admin.running import ADMIN, HOST, TOKEN, Reply, routeText, running
from tests.relay.support import freePort, loggedLines, until
from txgroupsock.relay.status import Outcome

USERS = ADMIN + '[admin.users]\nanna = "pass:word"\n'
BASIC = "Basic " + base64.b64encode(b"anna:pass:word").decode()


@pytest_twisted.ensureDeferred
async def test_everybodyMayLookAndNobodyChange(reactor: Any, tmp_path: Path) -> None:
    """Without tokens and users everybody may look who can connect, and nobody may change."""
    admin = ADMIN.replace("tokens", "# tokens")
    async with running(reactor, tmp_path / "r.toml", routeText(freePort()), admin) as relay:
        assert (await relay.ask("/api/status")).status == 200
        for token in ("", TOKEN):
            reply = await relay.ask("/api/reload", "POST", token=token)
            assert reply.status == 403
            assert "[admin] tokens" in reply.json["error"]


@pytest_twisted.ensureDeferred
async def test_changesNeedAToken(reactor: Any, tmp_path: Path) -> None:
    """With tokens nothing is changed without one of them, and a query is no place for it."""
    async with running(reactor, tmp_path / "r.toml", routeText(freePort())) as relay:
        for token in ("", "x", TOKEN[:-1], TOKEN + "x"):
            reply = await relay.ask("/api/reload", "POST", token=token)
            assert (reply.status, reply.headers["www-authenticate"][:6]) == (401, "Bearer")
        assert (await relay.ask(f"/api/reload?token={TOKEN}", "POST")).status == 401
        assert (await relay.ask("/api/reload", "POST", token=TOKEN)).status == 200


@pytest_twisted.ensureDeferred
async def test_usersKeepOthersOut(reactor: Any, tmp_path: Path) -> None:
    """With users, only they and who has a token may look; users may not change anything."""
    async with running(reactor, tmp_path / "r.toml", routeText(freePort()), USERS) as relay:
        for path in ("/", "/api/status", "/api/events", "/api/routes", "/nothing"):
            reply = await relay.ask(path)
            assert reply.status == 401
            assert reply.headers["www-authenticate"].startswith("Basic ")
        assert (await relay.ask("/api/status", Authorization=BASIC)).status == 200
        assert (await relay.ask("/api/status", token=TOKEN)).status == 200
        wrong = "Basic " + base64.b64encode(b"anna:password").decode()
        assert (await relay.ask("/api/status", Authorization=wrong)).status == 401
        assert (await relay.ask("/api/reload", "POST", Authorization=BASIC)).status == 401
        for path in ("/healthz", "/readyz"):
            assert (await relay.ask(path)).status == 200


@pytest_twisted.ensureDeferred
async def test_aReloadChangesWhoMay(reactor: Any, tmp_path: Path) -> None:
    """Tokens and users of a file that is read again hold from then on."""
    path = tmp_path / "r.toml"
    async with running(reactor, path, routeText(freePort())) as relay:
        path.write_text(path.read_text().replace(TOKEN, "another-token"))
        assert (await relay.ask("/api/reload", "POST", token=TOKEN)).status == 200
        assert (await relay.ask("/api/reload", "POST", token=TOKEN)).status == 401
        assert (await relay.ask("/api/reload", "POST", token="another-token")).status == 200


@pytest_twisted.ensureDeferred
async def test_noOtherHostsPageGetsIn(reactor: Any, tmp_path: Path) -> None:
    """On loopback, who asks for another host's name is told so: a page may have led it here."""
    async with running(reactor, tmp_path / "r.toml", routeText(freePort())) as relay:
        for host in (
            "localhost",
            f"localhost:{relay.port}",
            "127.0.0.1",
            "[::1]:8",
            "a.localhost.",
        ):
            assert (await relay.ask("/api/status", host=host)).status == 200
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil"):
            assert (await relay.ask("/api/status", host=host)).status == 421
    async with running(reactor, tmp_path / "r.toml", routeText(freePort()), USERS) as relay:
        reply = await relay.ask("/api/status", host="relay.example", Authorization=BASIC)
        assert reply.status == 200


@pytest_twisted.ensureDeferred
async def test_healthAndReadiness(reactor: Any, tmp_path: Path) -> None:
    """/healthz says that it runs, /readyz that every route has its input open, or which has not."""
    text = routeText(freePort(), more="name = 'news'")
    async with running(reactor, tmp_path / "r.toml", text) as relay:
        for path in ("/healthz", "/readyz"):
            reply = await relay.ask(path)
            assert (reply.status, reply.body) == (200, b"ok\n")
        found: Any = relay.relay.relay
        [route] = found.routes
        await route.input.closeInput()
        relay.monitor._changed(Outcome())  # else what was found is told again for a moment
        reply = await relay.ask("/readyz")
        assert (reply.status, reply.body) == (503, b"news: its input is closed\n")
        assert not (await relay.ask("/api/status")).json["isReady"]
        assert (await relay.ask("/healthz")).status == 200


@pytest_twisted.ensureDeferred
async def test_readinessNamesNothingToStrangers(reactor: Any, tmp_path: Path) -> None:
    """Who may not look hears how many routes are not ready, but not which."""
    text = routeText(freePort(), more="name = 'secret'")
    async with running(reactor, tmp_path / "r.toml", text, USERS) as relay:
        found: Any = relay.relay.relay
        await found.routes[0].input.closeInput()
        for host in ("localhost", "relay.example"):
            reply = await relay.ask("/readyz", host=host)
            assert (reply.status, reply.body) == (503, b"1 of what should run does not\n")
        reply = await relay.ask("/readyz", Authorization=BASIC)
        assert (reply.status, reply.body) == (503, b"secret: its input is closed\n")
    async with running(reactor, tmp_path / "r.toml", text) as relay:
        found = relay.relay.relay
        await found.routes[0].input.closeInput()
        reply = await relay.ask("/readyz", host="evil.example")
        assert (reply.status, b"secret" in reply.body) == (503, False)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/status", 405),
        ("PUT", "/api/routes", 405),
        ("DELETE", "/", 405),
        ("GET", "/api/reload", 405),
        ("BREW", "/api/status", 405),
        ("GET", "/nothing", 404),
        ("GET", "/api", 404),
        ("GET", "/api/routes/nothing", 404),
        ("GET", "/page/../../resource.py", 404),
        ("GET", "/..%2fresource.py", 404),
        ("GET", "/%00", 404),
        ("GET", "/index.html", 404),
        ("GET", "//api/status", 404),
        ("HEAD", "/api/status", 200),
        ("HEAD", "/api/events", 200),
    ],
)
@pytest_twisted.ensureDeferred
async def test_wrongRequests(
    reactor: Any, tmp_path: Path, method: str, path: str, status: int
) -> None:
    """What there is not, and what cannot be done with it, is answered as HTTP has it."""
    async with running(reactor, tmp_path / "r.toml", routeText(freePort())) as relay:
        reply = await relay.ask(path, method, token=TOKEN)
        assert reply.status == status
        assert reply.headers["server"] == "groupsock-relay"
        assert reply.headers["x-content-type-options"] == "nosniff"
        if status == 405:
            assert reply.headers["allow"]
        if method == "HEAD":
            assert reply.body == b""


@pytest_twisted.ensureDeferred
async def test_hostileBytesDisturbNobody(reactor: Any, tmp_path: Path) -> None:
    """Random bytes, floods and bodies of any size end in an answer or a close, and no traceback."""
    chance = random.Random(3)
    big = b"Content-Length: 99999999\r\n\r\n" + b"x" * 300_000
    tries = [
        *(chance.randbytes(chance.randrange(1, 3000)) for _ in range(40)),
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\xfe[::\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    ]
    async with running(reactor, tmp_path / "r.toml", routeText(freePort())) as relay:
        before = set(openDescriptors())
        with loggedLines() as lines:
            for data in tries:
                client = await relay.say(data)
                transport: Any = client.transport
                transport.loseWriteConnection()
                await client.answer(reactor)
            head = f"POST /api/routes HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
            client = await relay.say(head + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000)
            assert Reply.of(await client.answer(reactor)).status == 413
            chunked = b"Transfer-Encoding: chunked\r\n\r\n" + 40 * (
                b"2000\r\n" + b"x" * 8192 + b"\r\n"
            )
            client = await relay.say(head + chunked + b"0\r\n\r\n")
            assert Reply.of(await client.answer(reactor)).status == 413
            client = await relay.say(head + big)
            await client.close(reactor)
            assert (await relay.ask("/readyz")).status == 200
        assert not any("Traceback" in each for each in lines)
        await until(reactor, lambda: set(openDescriptors()) <= before)


@pytest_twisted.ensureDeferred
async def test_slowAndIdleConnectionsAreClosed(reactor: Any, tmp_path: Path) -> None:
    """A request that dribbles in is closed in time, and the oldest idle one for who asks."""
    async with running(reactor, tmp_path / "r.toml", routeText(freePort())) as relay:
        site = relay.admin._site
        site.headTime = 0.2
        slow = await relay.say(b"GET /api/status HTTP/1.1\r\n")
        await slow.until(reactor, lambda: slow.isOver)
        assert (bytes(slow.data), site.refused["slow"]) == (b"", 1)
        site.headTime, site.connections = 10.0, 3
        idle = [await relay.connect() for _ in range(3)]
        await until(reactor, lambda: len(site.opened) == 3)
        assert (await relay.ask("/healthz")).status == 200
        await idle[0].until(reactor, lambda: idle[0].isOver)
        assert not idle[1].isOver
        assert not idle[2].isOver
        for each in idle:
            await each.close(reactor)
        await until(reactor, lambda: not site.opened)
        assert (await relay.ask("/healthz")).status == 200
    assert HOST
