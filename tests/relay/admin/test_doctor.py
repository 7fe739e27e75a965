"""The doctor by HTTP, in a relay that runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from tests.relay.admin.running import HOST, TOKEN, routeText, running
from tests.relay.support import freePort, send, url

GROUP = "239.1.2.3"


@pytest_twisted.ensureDeferred
async def test_aStreamIsExaminedWhileTheRelayGoesOn(reactor: Any, tmp_path: Path) -> None:
    """It says what arrives and that nothing is wrong; meanwhile other requests are answered."""
    port = freePort()
    name = f"udp://{GROUP}:{port}?interface=lo"
    text = f"[[route]]\nname = 'news'\nfrom = '{name}'\nto = 'udp://{HOST}:9'\n"
    sending = LoopingCall(send, bytes(100), GROUP, port)
    async with running(reactor, tmp_path / "relay.toml", text) as relay:
        sending.start(0.02)
        try:
            body = {"url": name, "seconds": 0.5}
            examining = Deferred.fromCoroutine(relay.ask("/api/doctor", "POST", body, TOKEN))
            assert (await relay.ask("/healthz")).status == 200
            refused = await relay.ask("/api/doctor", "POST", {"route": "news"}, TOKEN)
            assert not examining.called
            reply = await examining
            body = {"route": "news", "seconds": 0.3}
            ofRoute = await relay.ask("/api/doctor", "POST", body, TOKEN)
        finally:
            sending.stop()
    assert refused.status == 409
    assert "another stream is being examined" in refused.json["error"]
    assert (reply.status, reply.json["isHealthy"]) == (200, True)
    [stream] = reply.json["streams"]
    assert stream["url"] == name
    assert "arrives from 127.0.0.1" in stream["seen"][0]
    assert [each["url"] for each in ofRoute.json["streams"]] == [name, "udp://127.0.0.1:9"]
    assert ofRoute.json["isHealthy"] is True


@pytest_twisted.ensureDeferred
async def test_aUnicastInputIsLookedAtFromOutside(reactor: Any, tmp_path: Path) -> None:
    """The relay has the port, and goes on receiving all that comes to it."""
    port = freePort()
    sending = LoopingCall(send, bytes(100), HOST, port)
    async with running(reactor, tmp_path / "relay.toml", routeText(port)) as relay:
        sending.start(0.02)
        try:
            body = {"url": url(HOST, port), "seconds": 0.3}
            reply = await relay.ask("/api/doctor", "POST", body, TOKEN)
        finally:
            sending.stop()
        status = (await relay.ask("/api/status")).json
    assert reply.json["findings"] == []
    first, *rest = reply.json["streams"][0]["seen"]
    assert f"a relay has port {port}" in first
    if "cannot be looked at" not in first:
        assert "arrives from 127.0.0.1" in rest[0]
    assert status["routes"][0]["input"]["dropped"] == {}


@pytest_twisted.ensureDeferred
async def test_aFaultIsToldWithItsRemedy(reactor: Any, tmp_path: Path) -> None:
    """A finding has all of its parts."""
    async with running(reactor, tmp_path / "relay.toml", routeText(freePort())) as relay:
        body = {"url": f"udp://{GROUP}:5000?interface=nowhere0"}
        reply = await relay.ask("/api/doctor", "POST", body, TOKEN)
    [finding] = reply.json["findings"]
    assert reply.json["isHealthy"] is False
    assert (finding["check"], finding["severity"]) == ("interface", "fault")
    assert finding["subject"] == body["url"]
    assert "not there" in finding["text"]
    assert "nowhere0" in finding["evidence"][0]
    assert "'ip address'" in finding["remedy"]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"{", 400, "the body is not JSON"),
        ([], 400, "the body is"),
        ({}, 400, "the body is"),
        ({"url": "udp://:5000", "route": "x"}, 400, "the body is"),
        ({"url": 5}, 400, "the body is"),
        ({"url": "udp://:5000", "second": 1}, 400, "unknown key 'second'"),
        ({"url": "udp://:0"}, 400, "port 0 is not a number from 1 to 65535"),
        ({"url": "udp://:5000", "seconds": 0}, 400, "seconds is a number above 0 and up to 10"),
        ({"url": "udp://:5000", "seconds": 11}, 400, "seconds is a number"),
        (b'{"url": "udp://:5000", "seconds": NaN}', 400, "seconds is a number"),
        ({"url": "udp://:5000", "seconds": 10**400}, 400, "seconds is a number"),
        ({"url": "udp://:5000", "seconds": True}, 400, "seconds is a number"),
        ({"route": "other"}, 404, "there is no route called 'other'"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_whatIsWrongIsSaid(
    reactor: Any, tmp_path: Path, body: Any, status: int, error: str
) -> None:
    """A body that names nothing is refused with the reason."""
    async with running(reactor, tmp_path / "relay.toml", routeText(freePort())) as relay:
        reply = await relay.ask("/api/doctor", "POST", body, TOKEN)
    assert reply.status == status
    assert error in reply.json["error"]


@pytest_twisted.ensureDeferred
async def test_onlyWhoMayChangeMayAsk(reactor: Any, tmp_path: Path) -> None:
    """It joins groups, so a token is needed; and it is asked with POST."""
    body = {"url": "udp://:5000"}
    async with running(reactor, tmp_path / "relay.toml", routeText(freePort())) as relay:
        assert (await relay.ask("/api/doctor", "POST", body)).status == 401
        assert (await relay.ask("/api/doctor", "POST", body, "wrong")).status == 401
        assert (await relay.ask("/api/doctor", token=TOKEN)).status == 405


@pytest_twisted.ensureDeferred
async def test_theEndOfTheRelayEndsAnExamination(reactor: Any, tmp_path: Path) -> None:
    """The process does not wait until all has been listened to."""
    async with running(reactor, tmp_path / "relay.toml", routeText(freePort())) as relay:
        body = {"url": f"udp://{GROUP}:{freePort()}?interface=lo", "seconds": 10}
        examining = Deferred.fromCoroutine(relay.ask("/api/doctor", "POST", body, TOKEN))
        examining.addErrback(lambda _: None)  # the connection is closed
        while not relay.admin._doctor._isBusy:
            await relay.ask("/healthz")
        began = time.monotonic()
        relay.admin._doctor.close()
        await examining
    assert time.monotonic() - began < 2.0
