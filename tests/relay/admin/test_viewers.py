"""Viewers of a whole relay, as its configuration has them and its API shows and changes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest_twisted
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol

from tests.relay.admin.running import ADMIN, HOST, TOKEN, Running, running
from tests.relay.support import freePort, until
from tests.relay.viewers.support import Client, Stream, joined, numbersIn, stream
from txgroupsock.relay.viewers import ViewerService

__all__ = ["stream"]  # a fixture

GROUP = "udp://239.77.0.1:5077?interface=lo"
VIEWERS = f"""
[viewers]
listen = "tcp:0:interface={HOST}"
allow = "239.77.0.0/16?interface=lo"
limits = {{ lingerTime = "0", blockTime = "1ms" }}
"""
NEWS = f"[[route]]\nname = 'news'\nfrom = '{GROUP}'\nviewers = 'plain'\n"


def serviceOf(relay: Running) -> ViewerService:
    """The service for viewers of a relay."""
    [found] = [each for each in relay.service.services if isinstance(each, ViewerService)]
    return found


async def watch(relay: Running, path: str) -> Client:
    """Somebody who has asked for a stream."""
    port = int(serviceOf(relay).status().listening[0].rpartition(":")[2])
    endpoint = HostnameEndpoint(relay.reactor, HOST, port)
    client: Client = await connectProtocol(endpoint, Client())
    transport: Any = client.transport
    transport.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await client.head(relay.reactor)
    return client


async def flows(relay: Running, stream: Stream, *clients: Client) -> None:
    """Send until everybody has some more, with nothing missing in it."""
    for each in clients:
        wanted = len(each.body) + 3 * stream.size
        while len(each.body) < wanted:
            stream.send()
            await each.bodyOf(relay.reactor, len(each.body) + 1)
        numbers = numbersIn(each.body)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@pytest_twisted.ensureDeferred
async def test_aRouteIsWatchedByItsName(reactor: Any, tmp_path: Path, stream: Stream) -> None:
    """A route with viewers is joined while somebody watches, by name or group, and is shown."""
    async with running(reactor, tmp_path / "r.toml", NEWS, ADMIN + VIEWERS) as relay:
        assert not joined("239.77.0.1")
        one, other = await watch(relay, "/news"), await watch(relay, "/udp/239.77.0.1:5077")
        assert joined("239.77.0.1")
        await flows(relay, stream, one, other)
        viewers = (await relay.ask("/api/status")).json["viewers"]
        assert viewers["watching"] == 2
        assert viewers["streams"] == [{"path": "/news", "name": "/udp/239.77.0.1:5077"}]
        [channel] = viewers["channels"]
        assert channel["name"] == "/udp/239.77.0.1:5077"
        assert set(channel["rate"]) == {"datagrams", "bits", "dropped"}
        assert len(channel["viewers"]) == 2
        metrics = (await relay.ask("/metrics")).body
        assert b"\ngroupsock_viewers_watching 2" in metrics
        for each in (one, other):
            await each.close(reactor)
        await until(reactor, lambda: not joined("239.77.0.1"))


@pytest_twisted.ensureDeferred
async def test_aReloadLosesNoViewer(reactor: Any, tmp_path: Path, stream: Stream) -> None:
    """Who watches what stays loses nothing by a reload, and who watches what goes is closed."""
    path = tmp_path / "r.toml"
    film = NEWS.replace("news", "film").replace("239.77.0.1", "239.77.0.2")
    text = NEWS + film.replace("?interface", "?interface")
    async with running(reactor, path, text, ADMIN + VIEWERS.replace("allow", "# allow")) as relay:
        stays, goes = await watch(relay, "/news"), await watch(relay, "/film")
        await flows(relay, stream, stays)
        path.write_text(path.read_text().replace(film, film.replace("'film'", "'movie'")))
        assert (await relay.ask("/api/reload", "POST", token=TOKEN)).status == 200
        await flows(relay, stream, stays)
        assert not goes.isOver  # it is the same stream, under another name
        path.write_text(path.read_text().replace(film.replace("'film'", "'movie'"), ""))
        assert (await relay.ask("/api/reload", "POST", token=TOKEN)).status == 200
        await goes.until(reactor, lambda: goes.isOver)
        await flows(relay, stream, stays)
        assert b" 404 " in await (await watch(relay, "/film")).answer(reactor)
        assert (await relay.ask("/api/routes/news", "DELETE", token=TOKEN)).status == 200
        await stays.until(reactor, lambda: stays.isOver)
        table = {"from": GROUP, "viewers": "plain"}
        assert (await relay.ask("/api/routes/news", "PUT", table, TOKEN)).status == 201
        again = await watch(relay, "/news")
        await flows(relay, stream, again)
        await again.close(reactor)


@pytest_twisted.ensureDeferred
async def test_allOrNothing(reactor: Any, tmp_path: Path, stream: Stream) -> None:
    """If a route cannot be opened viewers keep theirs, and routes if an endpoint cannot."""
    path, port = tmp_path / "r.toml", freePort()
    async with running(reactor, path, NEWS, ADMIN + VIEWERS) as relay:
        client = await watch(relay, "/news")
        await flows(relay, stream, client)
        right = path.read_text()
        nowhere = "[[route]]\nfrom = 'udp://192.0.2.77:5'\nto = 'udp://127.0.0.1:9'\n"
        path.write_text(right.replace(NEWS, nowhere))
        assert (await relay.ask("/api/reload", "POST", token=TOKEN)).status == 409
        await flows(relay, stream, client)
        route = f"[[route]]\nfrom = 'udp://127.0.0.1:{port}'\nto = 'udp://127.0.0.1:9'\n"
        elsewhere = f'listen = ["tcp:0:interface={HOST}", "tcp:1:interface=192.0.2.77"]\n'
        wrong = right.replace(f'listen = "tcp:0:interface={HOST}"\nallow', f"{elsewhere}allow")
        assert wrong != right
        path.write_text(wrong + route)
        reply = await relay.ask("/api/reload", "POST", token=TOKEN)
        assert reply.status == 409
        assert "cannot listen on tcp:1:interface=192.0.2.77" in reply.json["error"]
        assert (await relay.ask("/api/status")).json["routes"] == []
        await flows(relay, stream, client)
        await client.close(reactor)


@pytest_twisted.ensureDeferred
async def test_viewersComeAndGoWithAReload(reactor: Any, tmp_path: Path, stream: Stream) -> None:
    """A file that begins to serve viewers does so at once, and stops as soon as it says so."""
    path = tmp_path / "r.toml"
    async with running(reactor, path, "") as relay:
        assert (await relay.ask("/api/status")).json["viewers"] is None
        path.write_text(ADMIN + VIEWERS + NEWS)
        assert (await relay.ask("/api/reload", "POST", token=TOKEN)).status == 200
        client = await watch(relay, "/news")
        await flows(relay, stream, client)
        path.write_text(ADMIN)
        assert (await relay.ask("/api/reload", "POST", token=TOKEN)).status == 200
        await client.until(reactor, lambda: client.isOver)
        assert (await relay.ask("/api/status")).json["viewers"] is None
        assert serviceOf(relay).status().listening == ()
