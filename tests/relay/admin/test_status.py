"""What the API says of a relay, against what it really does."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.conftest import REACTOR
from tests.relay.admin.running import HOST, NOWHERE, Running, routeText, running
from tests.relay.support import Listener, freePort, send, until, url
from tests.relay.viewers.support import Client
from txgroupsock import __version__
from txgroupsock.relay.admin.events import EventStreams
from txgroupsock.relay.engine.status import endStatus
from txgroupsock.relay.status import EndStatus
from txgroupsock.relay.turns import PIECE, Turns


async def looked(relay: Running, times: int = 1) -> None:
    """Wait until the counters have been looked at so many times more."""
    seen: list[None] = []

    def look() -> None:
        seen.append(None)

    relay.monitor.looked.append(look)
    await until(relay.reactor, lambda: len(seen) >= times)
    relay.monitor.looked.remove(look)


async def heard(reactor: Any, client: Client) -> None:
    """Wait for an event."""
    await client.until(reactor, lambda: b"event: status" in client.data)


@pytest_twisted.ensureDeferred
async def test_theStatusIsWhatTheRelayDid(reactor: Any, tmp_path: Path) -> None:
    """Each part of each route has what it counted, what is open and how fast it went."""
    port = freePort()
    with Listener(reactor, HOST) as listener:
        to = url(HOST, listener.port)
        text = routeText(port, to, f"{NOWHERE}?rate=1k", more="name = 'news'")
        text += routeText(freePort(), more="name = 'off'\nenabled = false")
        async with running(reactor, tmp_path / "r.toml", text) as relay:
            await looked(relay)
            for _ in range(50):
                send(bytes(1316), HOST, port)
            await listener.take(50)
            await looked(relay)
            status = (await relay.ask("/api/status")).json
            assert (status["version"], status["isReady"]) == (__version__, True)
            assert abs(status["time"] - time.time()) < 60
            assert 0 < status["uptime"] < 60
            assert (status["change"], status["viewers"]) == (None, None)
            news, off = status["routes"]
            incoming, [first, second] = news["input"], news["outputs"]
            assert incoming["name"] == url(HOST, port)
            assert incoming["state"] == [f"listening on {HOST} port {port}"]
            assert (incoming["datagrams"], incoming["bytes"]) == (50, 50 * 1316)
            assert incoming["dropped"] == {}
            assert incoming["buffer"]["requested"] == 4 * 1024 * 1024
            assert (first["name"], first["datagrams"], first["dropped"]) == (to, 50, {})
            assert second["datagrams"] + second["dropped"]["rate"] == 50
            assert 20 < incoming["rate"]["datagrams"] <= 60
            bits = 8 * 1316 * incoming["rate"]["datagrams"]
            assert incoming["rate"]["bits"] == pytest.approx(bits, rel=1e-3)
            assert second["rate"]["dropped"] > 0
            assert (off["name"], off["isEnabled"], off["input"]["state"]) == ("off", False, [])
            history = (await relay.ask("/api/history")).json
            assert list(history["routes"]) == ["news"]
            series = history["routes"]["news"]
            assert max(series["datagrams"]) > 20
            assert max(series["bits"]) > 20 * 8 * 1316
            assert max(series["dropped"]) > 0
            assert len(series["bits"]) == len(series["datagrams"]) == len(series["dropped"])


@pytest_twisted.ensureDeferred
async def test_eventsAreTheStatusAgainAndAgain(reactor: Any, tmp_path: Path) -> None:
    """A listener gets the status at once and then each second, until it goes."""
    async with running(reactor, tmp_path / "r.toml", routeText(freePort())) as relay:
        client = await relay.say(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await client.head(reactor)
        assert b"Content-Type: text/event-stream" in head
        await client.until(reactor, lambda: client.data.count(b"event: status\n") == 3)
        events = relay.admin._resource.events
        assert len(events._listeners) == 1
        documents = [
            json.loads(line[6:])
            for line in client.body.replace(b"\r\n", b"\n").split(b"\n")
            if line.startswith(b"data: {") and line.endswith(b"}")
        ]
        assert [list(each) for each in documents[1:]] == [list(documents[0])] * 2
        assert documents[2]["time"] > documents[1]["time"] + 0.5
        await client.close(reactor)
        await until(reactor, lambda: not events._listeners)
        assert relay.monitor.looked == []


@pytest_twisted.ensureDeferred
async def test_fortyWhoAskAtOnceGetOneAnswer(reactor: Any, tmp_path: Path) -> None:
    """What many ask for is made once, and the longest turn of the reactor is in it."""
    text = "".join(routeText(freePort()) for _ in range(50))
    async with running(reactor, tmp_path / "r.toml", text) as relay:
        made: list[None] = []
        running_ = relay.monitor._running

        async def counted() -> Any:
            made.append(None)
            return await running_()

        relay.monitor._running = counted  # type: ignore[method-assign]
        replies = await gatherResults(
            [Deferred.fromCoroutine(relay.ask("/api/status")) for _ in range(40)]
        )
        assert {each.status for each in replies} == {200}
        assert len(made) < 10
        assert {len(each.json["routes"]) for each in replies} == {50}
        assert 0 <= replies[0].json["reactor"]["longestTurn"] < 60


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("path", ["/api/status", "/metrics"])
async def test_aRouteWithManyOutputsIsLookedAtInManyTurns(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Of a hundred outputs of one route a turn of the reactor has to do with a few."""
    outputs = [url(HOST, 9000 + number) for number in range(100)]
    looked: list[int] = [0]
    lookAt, turn = endStatus, Turns._turn

    def looking(*args: Any) -> EndStatus:
        looked[-1] += 1
        return lookAt(*args)

    def turning(turns: Turns) -> None:
        looked.append(0)
        turn(turns)

    async with running(reactor, tmp_path / "r.toml", routeText(freePort(), *outputs)) as relay:
        monkeypatch.setattr(Turns, "most", 0.0)
        monkeypatch.setattr(Turns, "_turn", turning)
        monkeypatch.setattr("txgroupsock.relay.engine.status.endStatus", looking)
        answer = await relay.ask(path)
        assert all(str(9000 + number).encode() in answer.body for number in range(100))
        assert sum(looked) >= 101
        assert max(looked) <= PIECE


@pytest_twisted.ensureDeferred
async def test_thereIsRoomForSoManyListeners(reactor: Any, tmp_path: Path) -> None:
    """Listeners above the number get 503, and all of them are told when the relay ends."""
    async with running(reactor, tmp_path / "r.toml", routeText(freePort())) as relay:
        ask = b"GET /api/events HTTP/1.1\r\n\r\n"
        clients = [await relay.say(ask) for _ in range(EventStreams.most)]
        for each in clients:
            await heard(reactor, each)
        reply = await relay.ask("/api/events")
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        await clients.pop().close(reactor)
        await until(
            reactor, lambda: len(relay.admin._resource.events._listeners) < len(clients) + 1
        )
        clients.append(await relay.say(ask))
        await heard(reactor, clients[-1])
    for each in clients:
        await each.answer(reactor)


@pytest_twisted.ensureDeferred
async def test_aListenerThatTakesNothingMissesSome(reactor: Any, tmp_path: Path) -> None:
    """Nothing piles up for a listener that does not read; it goes on when it reads again."""
    text = "".join(routeText(freePort(), more=f"name = '{'x' * 190}{i}'") for i in range(40))
    async with running(reactor, tmp_path / "r.toml", text) as relay:
        client = await relay.say(b"GET /api/events HTTP/1.1\r\n\r\n")
        await client.head(reactor)
        client.transport.pauseProducing()  # type: ignore[union-attr]
        [listener] = relay.admin._resource.events._listeners
        while not listener._isBusy:
            relay.admin._resource.events._send()
            await deferLater(reactor, 0)
        transport: Any = relay.admin._site.opened.copy().pop().transport
        size = len(transport._tempDataBuffer) + len(transport.dataBuffer)
        for _ in range(10):
            relay.admin._resource.events._send()
        assert len(transport._tempDataBuffer) + len(transport.dataBuffer) == size
        already = client.data.count(b"event: status\n")
        client.transport.resumeProducing()  # type: ignore[union-attr]
        await client.until(reactor, lambda: client.data.count(b"event: status\n") > already + 2)


@pytest_twisted.ensureDeferred
async def test_aListenerThatNeverReadsLosesItsPlace(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes when its place is needed, and after a while in any case."""
    text = "".join(routeText(freePort(), more=f"name = '{'x' * 190}{i}'") for i in range(40))
    async with running(reactor, tmp_path / "r.toml", text) as relay:
        events = relay.admin._resource.events
        monkeypatch.setattr(EventStreams, "most", 1)
        monkeypatch.setattr(EventStreams, "patience", 0.0)

        async def stalled() -> Client:
            client = await relay.say(b"GET /api/events HTTP/1.1\r\n\r\n")
            client.transport.pauseProducing()  # type: ignore[union-attr]
            await until(reactor, lambda: bool(events._listeners))
            [listener] = events._listeners
            while not listener._isBusy or not listener._pouring.isPaused:
                events._made(bytes(1_000_000))
                await deferLater(reactor, 0.01)
            return client

        async def told(client: Client) -> None:
            client.transport.resumeProducing()  # type: ignore[union-attr]
            if REACTOR == "uvloop":  # Twisted's own client, once paused, is told of no reset there
                client.transport.abortConnection()  # type: ignore[union-attr]
            await client.until(reactor, lambda: client.isOver)

        first = await stalled()
        second = await relay.say(b"GET /api/events HTTP/1.1\r\n\r\n")
        await heard(reactor, second)
        await told(first)
        await second.close(reactor)
        await until(reactor, lambda: not events._listeners)
        third = await stalled()
        monkeypatch.setattr(EventStreams, "stallTime", 0.0)
        await until(reactor, lambda: not events._listeners)
        await told(third)


@pytest_twisted.ensureDeferred
async def test_metricsAreTheStatus(reactor: Any, tmp_path: Path) -> None:
    """Prometheus gets what the status has, in the format that it asks for."""
    port = freePort()
    text = routeText(port, more="name = 'news'")
    async with running(reactor, tmp_path / "r.toml", text) as relay:
        for _ in range(3):
            send(bytes(100), HOST, port)
        [route] = (await relay.ask("/api/status")).json["routes"]
        assert route["input"]["datagrams"] == 3
        reply = await relay.ask("/metrics")
        assert (reply.status, reply.headers["content-type"][:10]) == (200, "text/plain")
        lines = reply.body.decode().splitlines()
        assert 'groupsock_route_input_bytes_total{route="news"} 300' in lines
        assert any(each.startswith("process_cpu_seconds_total ") for each in lines)
        reply = await relay.ask("/metrics", Accept="application/openmetrics-text")
        assert reply.headers["content-type"].startswith("application/openmetrics-text")
        assert reply.body.endswith(b"# EOF\n")


@pytest_twisted.ensureDeferred
async def test_withoutItsLibraryThereAreNoMetrics(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where prometheus_client is not installed /metrics says what to install."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "txgroupsock.relay.admin.metrics", raising=False)
    monkeypatch.delattr("txgroupsock.relay.admin.metrics", raising=False)
    monkeypatch.delitem(sys.modules, "txgroupsock.relay.admin.families", raising=False)
    monkeypatch.delitem(sys.modules, "txgroupsock.relay.admin.exposition", raising=False)
    async with running(reactor, tmp_path / "r.toml", routeText(freePort())) as relay:
        reply = await relay.ask("/metrics")
        assert reply.status == 501
        assert "pip install 'txgroupsock[metrics]'" in reply.json["error"]
