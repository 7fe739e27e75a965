"""A token is for routes: what hooks hold is shown to nobody, and files and posts are bounded."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory
from twisted.web.test.requesthelper import DummyChannel

from tests.relay.admin.running import ADMIN, HOST, NOWHERE, TOKEN, routeText, running
from tests.relay.support import freePort, url
from txgroupsock.relay.config.file import parseConfiguration
from txgroupsock.relay.config.summary import summary
from txgroupsock.relay.http.bounded import BoundedRequest
from txgroupsock.relay.http.listening import Listening
from txgroupsock.relay.secrecy import restored, shownTable, shownURL

SECRET = "s3cret"
HOOKS = (
    f"health = {{ url = 'http://u:{SECRET}@127.0.0.1:9/{SECRET}?t={SECRET}', "
    f"command = ['true', '{SECRET}'] }}"
)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://hooks.example/services/T0/B0/xyz", "https://hooks.example/…"),
        ("http://u:p@[::1]:9000/", "http://[::1]:9000/…"),
        ("http://10.0.0.1", "http://10.0.0.1"),
        ("http://10.0.0.1/?t=x", "http://10.0.0.1/…"),
        ("http://[", "…"),
    ],
)
def test_ofAURLOnlyWhereItLeadsIsShown(given: str, shown: str) -> None:
    """Neither name, password, path nor query."""
    assert shownURL(given) == shown


def test_whatIsSentBackAsItWasShownIsAsItWas() -> None:
    """A client that changes one key of a table does not lose the URL which it was not shown."""
    table = {"from": "udp://:1", "health": {"url": "http://h/x", "command": ["a", "b"], "ts": True}}
    shown = shownTable(table)
    assert shown["health"] == {"url": "http://h/…", "command": ["a", "…"], "ts": True}
    assert restored({**shown, "to": "x"}, table) == {**table, "to": "x"}
    other = {"health": {"url": "http://other/…"}}
    assert restored(other, table) == other
    assert restored({"health": True}, table) == {"health": True}


@pytest_twisted.ensureDeferred
async def test_secretsOfHooksAreNowhere(reactor: Any, tmp_path: Path) -> None:
    """Routes, the status, --check, mistakes and reprs have none of them; a change keeps them."""
    text = routeText(freePort(), more=f"name = 'news'\n{HOOKS}")
    async with running(reactor, tmp_path / "r.toml", text) as relay:
        for path in ("/api/routes", "/api/routes/news", "/api/status"):
            reply = await relay.ask(path)
            assert reply.status == 200
            assert SECRET.encode() not in reply.body
        table = (await relay.ask("/api/routes/news")).json
        table["to"] = [*table["to"], f"{NOWHERE}9"]
        assert (await relay.ask("/api/routes/news", "PUT", table, TOKEN)).status == 200
        [route] = relay.admin._control.configuration.relay.routes
        assert route.health is not None
        assert route.health.hooks.url.count(SECRET) == 3
        assert route.health.hooks.command == ("true", SECRET)
        assert SECRET not in repr(relay.admin._control.configuration)
    assert SECRET not in "\n".join(summary(parseConfiguration(ADMIN + text, "x")))
    for wrong in (HOOKS.replace("http:", "ftp:"), f"health = {{ command = '{SECRET}' }}"):
        with pytest.raises(ValueError, match="should be") as caught:
            parseConfiguration(routeText(1, more=wrong), "x")
        assert SECRET not in str(caught.value)


@pytest_twisted.ensureDeferred
async def test_filesAreMadeOnlyWhereTheFileSays(reactor: Any, tmp_path: Path) -> None:
    """A route of the API is recorded to a folder that is listed, whatever leads there."""
    allowed, other = tmp_path / "allowed", tmp_path / "other"
    for each in (allowed, other, allowed / "sub"):
        each.mkdir()
    os.symlink(other, allowed / "link")
    admin = f"{ADMIN}recordingFolders = ['{allowed}']\n"
    async with running(reactor, tmp_path / "r.toml", routeText(freePort()), admin) as relay:

        async def asked(folder: object) -> int:
            table = {
                "from": url(HOST, freePort()),
                "to": NOWHERE,
                "record": {"folder": str(folder)},
            }
            return (await relay.ask("/api/routes/new", "PUT", table, TOKEN)).status

        for folder in (other, allowed / "link", f"{allowed}/sub/../../other", "/", f"{allowed}x"):
            assert await asked(folder) == 403
        assert relay.admin._control.last is None, "what is refused is no failed change"
        for folder in ("recordings", f"{allowed}/\0"):
            assert await asked(folder) == 400
        assert await asked(allowed / "sub") == 201
        assert await asked(allowed) == 200
    async with running(reactor, tmp_path / "r.toml", routeText(freePort())) as relay:
        assert await asked(allowed) == 403


@pytest_twisted.ensureDeferred
async def test_alarmsArePostedWhereTheFileSaysOnly(reactor: Any, tmp_path: Path) -> None:
    """To hosts that are listed, with any port or the one that is; else it is 403."""
    admin = f"{ADMIN}hookHosts = ['alarms.example', '127.0.0.1:9']\n"
    async with running(reactor, tmp_path / "r.toml", routeText(freePort()), admin) as relay:

        async def asked(hook: str) -> int:
            table = {"from": url(HOST, freePort()), "to": NOWHERE, "health": {"url": hook}}
            return (await relay.ask("/api/routes/new", "PUT", table, TOKEN)).status

        for hook in ("http://127.0.0.1:8/", "http://evil.example/", "http://alarms.example@evil/x"):
            assert await asked(hook) == 403
        assert await asked("http://127.0.0.1:9/x") == 201
        assert await asked("https://ALARMS.example:8443/x") == 200


@pytest_twisted.ensureDeferred
async def test_aLocalSocketIsNotForEverybody(reactor: Any, tmp_path: Path) -> None:
    """A UNIX socket is for who runs the relay and for its group, unless its endpoint says so."""
    for more, mode in (("", 0o660), (":mode=600", 0o600), (":mode=666", 0o666)):
        path = tmp_path / f"socket{mode}"
        listening = Listening(reactor, f"unix:{path}{more}", Factory(), "")
        await listening.open()
        assert stat.S_IMODE(path.stat().st_mode) == mode
        await listening.close()


def test_aRequestIsLoggedWithoutItsQuery() -> None:
    """There may be a token in it."""
    request = BoundedRequest(DummyChannel(), False)  # type: ignore[no-untyped-call] # Twisted's
    request.method, request.uri = b"GET", b"/news?token=s3cret"
    assert "/news" in repr(request)
    assert SECRET not in repr(request)
