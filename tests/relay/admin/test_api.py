"""Routes that are looked at, added, changed and removed by HTTP while the relay runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.conftest import openDescriptors
from tests.relay.admin.running import HOST, NOWHERE, TOKEN, routeText, running
from tests.relay.support import Listener, freePort, loggedLines, send, url


@pytest_twisted.ensureDeferred
async def test_aRouteIsAdded(reactor: Any, tmp_path: Path) -> None:
    """A route that is added relays, is listed, and does not touch those that were there."""
    first, second = freePort(), freePort()
    with Listener(reactor, HOST) as one, Listener(reactor, HOST) as other:
        text = routeText(first, url(HOST, one.port))
        async with running(reactor, tmp_path / "relay.toml", text) as relay:
            send(b"before", HOST, first)
            table = {"name": "new", "from": url(HOST, second), "to": [url(HOST, other.port)]}
            reply = await relay.ask("/api/routes", "POST", table, TOKEN)
            assert reply.status == 201
            assert reply.json == {"unchanged": 1, "changed": [], "opened": ["new"], "closed": []}
            send(b"after", HOST, first)
            send(b"new", HOST, second)
            assert await one.payloads(2) == [b"before", b"after"]
            assert await other.payloads(1) == [b"new"]
            assert (await relay.ask("/api/routes/new")).json == table
            names = [each["name"] for each in (await relay.ask("/api/routes")).json["routes"]]
            assert names == [url(HOST, first), "new"]


@pytest_twisted.ensureDeferred
async def test_aRouteIsReplaced(reactor: Any, tmp_path: Path) -> None:
    """PUT has a route be another, or makes it; its input goes on if that stays the same."""
    port = freePort()
    with Listener(reactor, HOST) as one, Listener(reactor, HOST) as other:
        text = routeText(port, url(HOST, one.port), more="name = 'news'")
        async with running(reactor, tmp_path / "relay.toml", text) as relay:
            table = {"from": url(HOST, port), "to": url(HOST, other.port)}
            reply = await relay.ask("/api/routes/news", "PUT", table, TOKEN)
            assert (reply.status, reply.json["changed"]) == (200, ["news"])
            send(b"x", HOST, port)
            assert await other.payloads(1) == [b"x"]
            assert one.nowPayloads() == []
            table = {"from": url(HOST, freePort()), "to": NOWHERE}
            reply = await relay.ask("/api/routes/a%2Fb c".replace(" ", "%20"), "PUT", table, TOKEN)
            assert (reply.status, reply.json["opened"]) == (201, ["a/b c"])
            assert (await relay.ask("/api/routes/a/b%20c")).json["to"] == NOWHERE


@pytest_twisted.ensureDeferred
async def test_healthOfARoute(reactor: Any, tmp_path: Path) -> None:
    """It is changed like all of a route, but for commands, which only the file has."""
    port = freePort()
    mine = ["logger", "-t", "news"]
    more = f"name = 'news'\nhealth = {{ command = {json.dumps(mine)} }}"
    text = routeText(port, NOWHERE, more=more)
    async with running(reactor, tmp_path / "relay.toml", text) as relay:
        table = (await relay.ask("/api/routes/news")).json
        table["health"]["silence"] = "5s"
        reply = await relay.ask("/api/routes/news", "PUT", table, TOKEN)
        assert (reply.status, reply.json["changed"]) == (200, ["news"])
        other = {**table, "health": {"command": ["touch", str(tmp_path / "x")]}}
        new = {**other, "name": "new", "from": url(HOST, freePort())}
        for path, method, body in [
            ("/api/routes/news", "PUT", other),
            ("/api/routes/new", "PUT", new),
            ("/api/routes", "POST", new),
        ]:
            reply = await relay.ask(path, method, body, TOKEN)
            assert reply.status == 403
            assert "in the configuration file only" in reply.json["error"]
        wrong = {**table, "health": {"silence": 5}}
        reply = await relay.ask("/api/routes/news", "PUT", wrong, TOKEN)
        assert (reply.status, reply.json["problems"][0]["key"]) == (400, "route[1].health.silence")
        status = (await relay.ask("/api/status")).json
        assert status["routes"][0]["health"]["alarms"] == []
        off = {**table, "health": False}
        assert (await relay.ask("/api/routes/news", "PUT", off, TOKEN)).status == 200
        status = (await relay.ask("/api/status")).json
        assert status["routes"][0]["health"] is None


@pytest_twisted.ensureDeferred
async def test_aRouteIsRemoved(reactor: Any, tmp_path: Path) -> None:
    """DELETE closes a route and gives back all it had; the last one may go, too."""
    ports = freePort(), freePort()
    text = routeText(ports[0]) + routeText(ports[1], more="enabled = false\nname = 'off'")
    async with running(reactor, tmp_path / "relay.toml", text) as relay:
        path = f"/api/routes/{url(HOST, ports[0])}"
        assert (await relay.ask(path)).status == 200
        before = set(openDescriptors())
        assert (await relay.ask(path, "DELETE", token=TOKEN)).json["closed"] == [
            url(HOST, ports[0])
        ]
        assert len(before - set(openDescriptors())) == 2
        assert (await relay.ask(path)).status == 404
        assert (await relay.ask(path, "DELETE", token=TOKEN)).status == 404
        assert (await relay.ask("/api/routes/off", "DELETE", token=TOKEN)).status == 200
        assert (await relay.ask("/api/routes")).json == {"routes": []}
        assert (await relay.ask("/api/status")).json["routes"] == []
        table = {"from": url(HOST, ports[0]), "to": NOWHERE}
        assert (await relay.ask("/api/routes", "POST", table, TOKEN)).status == 201


@pytest_twisted.ensureDeferred
async def test_whatIsWrongChangesNothing(reactor: Any, tmp_path: Path) -> None:
    """A change that is wrong, or cannot be made, is refused with every reason, and all stays."""
    port, taken = freePort(), freePort()
    with Listener(reactor, HOST, taken):
        async with running(
            reactor, tmp_path / "relay.toml", routeText(port, more="name = 'news'")
        ) as relay:
            before = (await relay.ask("/api/routes")).body
            table = {"from": "udp://x:5", "to": "udp://10.0.0.1", "form": 1}
            reply = await relay.ask("/api/routes/bad", "PUT", table, TOKEN)
            assert reply.status == 400
            assert [each["key"] for each in reply.json["problems"]] == [
                "route[2].form",
                "route[2].from",
                "route[2].to",
            ]
            assert "did you mean from?" in reply.json["error"]
            table = {"name": "news", "from": url(HOST, freePort()), "to": NOWHERE}
            reply = await relay.ask("/api/routes", "POST", table, TOKEN)
            assert reply.status == 409
            assert "PUT replaces it" in reply.json["error"]
            table = {"from": url(HOST, taken), "to": NOWHERE}
            reply = await relay.ask("/api/routes/bad", "PUT", table, TOKEN)
            assert reply.status == 409
            assert f"cannot bind to {HOST}:{taken}" in reply.json["error"]
            status = (await relay.ask("/api/status")).json
            assert not status["change"]["isDone"]
            assert f"the change of bad by {HOST} was rejected" in status["change"]["text"]
            assert (await relay.ask("/api/routes")).body == before
            assert [each["name"] for each in status["routes"]] == ["news"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"\xff",
        b"[" * 100_000,
        b'{"from": ' + b"9" * 5000 + b"}",
        b'{"name": {}, "from": null, "to": [[]], "enabled": "no"}',
        json.dumps({"name": "x" * 1000, "from": "udp://\ud800:5", "to": "\x00"}).encode(),
        b'{"a": 1, "a": NaN}',
        rb'{"from": "udp://239.1.1.1:7000", "to": "udp://10.0.0.1:9?interface=\udcff"}',
        rb'{"from": "udp://239.1.1.1:7000", "to": [["\ud800"]]}',
        rb'{"\udfff": 1}',
    ],
)
@pytest_twisted.ensureDeferred
async def test_junkIsRefused(reactor: Any, tmp_path: Path, body: bytes) -> None:
    """A body that is no route gets 400 with the reason, and nothing is changed or traced back."""
    async with running(reactor, tmp_path / "relay.toml", routeText(freePort())) as relay:
        with loggedLines() as lines:
            for method, path in (("POST", "/api/routes"), ("PUT", "/api/routes/new")):
                reply = await relay.ask(path, method, body, TOKEN)
                assert reply.status == 400
                assert reply.json["error"].startswith("Bad Request: ")
        assert not any("Traceback" in each for each in lines)
        assert len((await relay.ask("/api/routes")).json["routes"]) == 1


@pytest_twisted.ensureDeferred
async def test_whateverABodyIsSaidToBeTheReasonIsJSON(reactor: Any, tmp_path: Path) -> None:
    """A form, as curl -F sends it, a wrong one too, is refused with an error that says why; JSON
    is taken whatever it is said to be.
    """
    table = {"name": "new", "from": url(HOST, freePort()), "to": NOWHERE}
    async with running(reactor, tmp_path / "relay.toml", routeText(freePort())) as relay:
        for kind in ("multipart/form-data; boundary=x", "multipart/form-data", "/"):
            say = {"Content-Type": kind}
            for body in (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n', b"x"):
                reply = await relay.ask("/api/routes", "POST", body, TOKEN, **say)
                assert reply.status == 400
                assert reply.json["error"].startswith("Bad Request: the body is not JSON")
            assert (await relay.ask("/api/routes", "POST", table, TOKEN, **say)).status == 201
            assert (await relay.ask("/api/routes/new", "DELETE", token=TOKEN)).status == 200


@pytest_twisted.ensureDeferred
async def test_ofVeryManyMistakesTheFirstAreTold(reactor: Any, tmp_path: Path) -> None:
    """The log and the answer have 100 of 60,000, and a last line that says so."""
    table = {"from": url(HOST, freePort()), "to": [1] * 60_000}
    async with running(reactor, tmp_path / "relay.toml", routeText(freePort())) as relay:
        with loggedLines() as lines:
            reply = await relay.ask("/api/routes", "POST", table, TOKEN)
        problems = reply.json["problems"]
        assert [each["key"] for each in problems[-2:]] == ["route[2].to[100]", ""]
        assert problems[-1]["text"].startswith("more than these 100 things are wrong")
        assert sum("it is a whole number" in each for each in lines) == 100
        assert sum("more than these 100" in each for each in lines) == 1


@pytest_twisted.ensureDeferred
async def test_nothingAtAllIsCalledNull(reactor: Any, tmp_path: Path) -> None:
    """JSON has null, which no key may be; it is called that."""
    table = {"from": url(HOST, freePort()), "to": NOWHERE, "enabled": None}
    async with running(reactor, tmp_path / "relay.toml", routeText(freePort())) as relay:
        reply = await relay.ask("/api/routes", "POST", table, TOKEN)
        assert reply.json["problems"] == [
            {"key": "route[2].enabled", "text": "it is null, and should be true or false"}
        ]


@pytest_twisted.ensureDeferred
async def test_aKeyThatIsThereTwiceIsRefused(reactor: Any, tmp_path: Path) -> None:
    """Wherever it stands in the body it is named, as in the file; nothing is changed."""
    source = url(HOST, freePort())
    async with running(reactor, tmp_path / "relay.toml", routeText(freePort())) as relay:
        for body, key in (
            (f'{{"from": "{source}", "to": "{NOWHERE}", "to": "udp://10.0.0.1:9"}}', "to"),
            (f'{{"from": "{source}", "to": "{NOWHERE}", "health": {{"ts": 1, "ts": 2}}}}', "ts"),
        ):
            for method, path in (("POST", "/api/routes"), ("PUT", "/api/routes/new")):
                reply = await relay.ask(path, method, body.encode(), TOKEN)
                assert reply.status == 400
                assert f"the key '{key}' is there twice" in reply.json["error"]
        reply = await relay.ask("/api/doctor", "POST", b'{"route": "a", "route": "b"}', TOKEN)
        assert reply.status == 400
        assert "the key 'route' is there twice" in reply.json["error"]
        assert len((await relay.ask("/api/routes")).json["routes"]) == 1


@pytest_twisted.ensureDeferred
async def test_theFileIsReadAgain(reactor: Any, tmp_path: Path) -> None:
    """A reload goes over to the file, whatever was changed before; a wrong one changes nothing."""
    path, port = tmp_path / "relay.toml", freePort()
    async with running(reactor, path, routeText(port, more="name = 'news'")) as relay:
        table = {"from": url(HOST, freePort()), "to": NOWHERE}
        assert (await relay.ask("/api/routes/new", "PUT", table, TOKEN)).status == 201
        reply = await relay.ask("/api/reload", "POST", token=TOKEN)
        assert reply.json == {"unchanged": 1, "changed": [], "opened": [], "closed": ["new"]}
        right = path.read_text()
        path.write_text(right + "[[route]]\n")
        reply = await relay.ask("/api/reload", "POST", token=TOKEN)
        assert reply.status == 400
        assert reply.json["problems"][0]["key"] == "route[2]"
        path.write_text(right)
        assert (await relay.ask("/api/reload", "POST", token=TOKEN)).json["unchanged"] == 1
        assert (await relay.ask("/api/status")).json["change"]["isDone"]
