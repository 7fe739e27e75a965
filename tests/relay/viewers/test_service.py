"""Channels are opened for viewers and closed after them, and nothing of either is left."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.task import deferLater

from tests.relay.support import Listener, freePort, loggedLines, needMulticast, send
from tests.relay.viewers.support import (
    HOST,
    ON_LOOPBACK,
    PATH,
    Stream,
    connect,
    joined,
    numbersIn,
    portOf,
    request,
    serving,
    soon,
    stream,
    watch,
)
from txgroupsock import GroupsockReactor, Route
from txgroupsock.interfaces import IKeepAlive
from txgroupsock.relay.engine.inputs import SharedInputs
from txgroupsock.relay.errors import StartError
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.models.url import StreamURL
from txgroupsock.relay.viewers import (
    AllowList,
    Channel,
    Form,
    Limits,
    StreamModel,
    TCPModel,
    ViewerService,
    ViewersModel,
)

__all__ = ["stream"]

NEWS = StreamModel(InputModel.parse("udp://239.77.0.1:5077?interface=lo"))


# On demand


@pytest_twisted.ensureDeferred
async def test_joinedWhileWatched(reactor: Any, stream: Stream) -> None:
    """The first viewer's channel joins, all share that, and a while after the last it is left."""
    async with serving(reactor, lingerTime=0.2) as service:
        assert not joined()
        clients = [await watch(reactor, service) for _ in range(20)]
        assert joined() == 1
        stream.send(40)
        for client in clients:
            assert await client.bodyOf(reactor, len(stream.sent)) == stream.sent
        for client in clients:
            await client.close(reactor)
        await soon(reactor, lambda: not service.status().viewers, "all have gone")
        assert joined() == 1
        client = await watch(reactor, service)
        await deferLater(reactor, 0.3)
        assert joined() == 1
        await client.close(reactor)
        await soon(reactor, lambda: not joined(), "it is left")
        totals = service.status().totals
        assert (totals.channels, totals.viewers) == (1, 21)
        assert totals.bytes == 20 * len(stream.sent)
        assert service.status().channels == ()


@pytest_twisted.ensureDeferred
async def test_sourceSpecificIPv6AndRTP(reactor: Any) -> None:
    """A source, an IPv6 group and RTP are what they are in the path."""
    needMulticast("ff15::77")
    allowed = AllowList.parse(["239.77.0.0/16?interface=lo", "[ff15::/16]?interface=lo"])
    async with serving(reactor, allowed=allowed) as service:
        wrong = await watch(reactor, service, b"/udp/127.0.0.2@239.77.0.1:5077")
        right = await watch(reactor, service, b"/udp/127.0.0.1@239.77.0.1:5077")
        six = await watch(reactor, service, b"/udp/[ff15::77]:5077")
        rtp = await watch(reactor, service, b"/rtp/239.77.0.2:5077")
        names = {each.name for each in service.status().channels}
        assert "/rtp/239.77.0.2:5077" in names
        assert "/udp/[ff15::77]:5077" in names
        assert "/udp/127.0.0.1@239.77.0.1:5077" in names
        for group, client in (("239.77.0.1", right), ("ff15::77", six)):
            sending = Stream(group, 5077)
            sending.send(5)
            assert await client.bodyOf(reactor, len(sending.sent)) == sending.sent
            sending.close()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HOST))
        for number in range(5):
            header = struct.pack("!BBHII", 0x80, 33, number, 0, 1)
            sock.sendto(header + bytes([number]) * 188, ("239.77.0.2", 5077))
        sock.close()
        expected = b"".join(bytes([number]) * 188 for number in range(5))
        assert await rtp.bodyOf(reactor, len(expected)) == expected
        assert wrong.body == b""


@pytest_twisted.ensureDeferred
async def test_limits(reactor: Any) -> None:
    """Over a limit there is a 503 that says when to come again; nothing is opened for it."""
    async with serving(
        reactor, viewers=3, viewersPerChannel=2, channels=2, lingerTime=60.0
    ) as service:

        async def refused(path: bytes) -> bool:
            client = await request(reactor, service, path)
            answer = await client.answer(reactor)
            return answer.startswith(b"HTTP/1.1 503 ") and b"\r\nRetry-After: 5\r\n" in answer

        first = [await watch(reactor, service) for _ in range(2)]
        assert await refused(PATH)
        second = await watch(reactor, service, b"/udp/239.77.0.2:5077")
        assert await refused(b"/udp/239.77.0.2:5077")
        await first.pop().close(reactor)
        await soon(reactor, lambda: service.status().viewers == 2, "one has gone")
        assert await refused(b"/udp/239.77.0.3:5077")
        # A channel that nobody watches any more makes room for one that somebody wants.
        await second.close(reactor)
        await soon(reactor, lambda: service.status().viewers == 1, "another has gone")
        assert joined("239.77.0.2") == 1
        await watch(reactor, service, b"/udp/239.77.0.3:5077")
        assert joined("239.77.0.2") == 0
        assert service.status().refused == {"503": 3}


# Names, and routes of others


@pytest_twisted.ensureDeferred
async def test_namedStreamIsJoinedWhileWatched(reactor: Any, stream: Stream) -> None:
    """A name is another way to ask for a stream: one channel with its group, and no rule needed."""
    named = {"news": NEWS, "again": NEWS}
    async with serving(reactor, named=named, lingerTime=0.2) as service:
        assert not joined()
        paths = (b"/news", PATH, b"/again")
        clients = [await watch(reactor, service, path) for path in paths]
        assert joined() == 1
        stream.send(3)
        for client in clients:
            assert await client.bodyOf(reactor, len(stream.sent)) == stream.sent
        assert [each.name for each in service.status().channels] == [PATH.decode()]
        assert service.status().totals.channels == 1
        for client in clients:
            await client.close(reactor)
        await soon(reactor, lambda: not service.status().viewers, "all have gone")
        assert joined() == 1
        await soon(reactor, lambda: not joined(), "it is left")
        assert service.status().channels == ()


@pytest_twisted.ensureDeferred
async def test_namedStreamsThatNobodyElseMayAskFor(reactor: Any) -> None:
    """A stream with a name may be unicast, or come from one of several sources."""
    port = freePort()
    several = [f"udp://127.0.0.{number}@239.77.0.1:5077?interface=lo" for number in (1, 2, 3)]
    models = {
        "unicast": InputModel.parse(f"udp://{HOST}:{port}"),
        "several": InputModel.of([StreamURL.parse(each) for each in several]),
        "reversed": InputModel.of([StreamURL.parse(each) for each in reversed(several)]),
    }
    named = {name: StreamModel(each) for name, each in models.items()}
    async with serving(reactor, named=named, allowed=AllowList()) as service:
        clients = {name: await watch(reactor, service, f"/{name}".encode()) for name in named}
        assert len(service.status().channels) == 2
        send(b"to one" * 9, HOST, port)
        for source in ("127.0.0.1", "127.0.0.3", "127.0.0.4"):
            send(source.encode(), "239.77.0.1", 5077, source)
        assert await clients["unicast"].bodyOf(reactor, 54) == b"to one" * 9
        for name in ("several", "reversed"):
            assert await clients[name].bodyOf(reactor, 18) == b"127.0.0.1127.0.0.3"
        answer = await (await request(reactor, service, PATH)).answer(reactor)
        assert answer.startswith(b"HTTP/1.1 403 ")


@pytest_twisted.ensureDeferred
async def test_namedStreamThatCannotBeOpened(reactor: Any) -> None:
    """Who asks for it is told to come again, and the log says once what is wrong."""
    named = {"x": StreamModel(InputModel.parse("udp://192.0.2.1:5000"))}
    with loggedLines() as lines:
        async with serving(reactor, named=named) as service:
            for _ in range(3):
                answer = await (await request(reactor, service, b"/x")).answer(reactor)
                assert answer.startswith(b"HTTP/1.1 503 ")
    assert len([each for each in lines if "192.0.2.1" in each]) == 1


@pytest_twisted.ensureDeferred
async def test_inputIsSharedWithRoutes(reactor: Any, stream: Stream) -> None:
    """A group that a route of the process has joined is joined once, and reaches both."""
    inputs = SharedInputs(GroupsockReactor(reactor))
    port = freePort()
    with Listener(reactor, HOST, port) as listener:
        outputs = Route.fromURLs(reactor, ["udp://:9"], [f"udp://{HOST}:{port}"]).outputs
        route = Route(inputs.share(NEWS.input), outputs)
        route.openRoute()
        model = ViewersModel((ON_LOOPBACK,), AllowList.parse(["239.77.0.1?interface=lo"]))
        service = ViewerService(reactor, model, inputs)
        service.startService()
        client = await watch(reactor, service)
        assert joined() == 1
        stream.send(20)
        assert await client.bodyOf(reactor, len(stream.sent)) == stream.sent
        assert b"".join(await listener.payloads(20)) == stream.sent
        await service.stopService()
        assert joined() == 1
        await route.closeRoute()
        assert joined() == 0


@pytest_twisted.ensureDeferred
async def test_channelOfARouteHasAName(reactor: Any, stream: Stream) -> None:
    """A channel that is one of a route's outputs is offered, and goes on without the service."""
    channel = Channel(reactor, "mine")
    inputs = SharedInputs(GroupsockReactor(reactor))
    route = Route(inputs.share(NEWS.input), [channel])
    route.openRoute()
    assert "viewers of mine" in route.status().describe()
    async with serving(reactor, named={"mine": channel}) as service:
        client = await watch(reactor, service, b"/mine")
        stream.send(3)
        assert await client.bodyOf(reactor, len(stream.sent)) == stream.sent
    assert client.isOver or await client.answer(reactor)
    assert joined() == 1
    stream.send(3)
    await soon(reactor, lambda: channel.counters.datagrams == 6, "it goes on")
    await route.closeRoute()


# TCP


@pytest_twisted.ensureDeferred
async def test_streamByTCP(reactor: Any, stream: Stream) -> None:
    """Who connects gets a stream at once: as it is, by name, or in frames; with keep-alive."""
    tcp = (
        TCPModel(ON_LOOPBACK, NEWS),
        TCPModel(ON_LOOPBACK, "news"),
        TCPModel(ON_LOOPBACK, evolve(NEWS, form=Form.FRAMED)),
    )
    async with serving(reactor, endpoints=(), tcp=tcp, named={"news": NEWS}) as service:
        clients = [await connect(reactor, service, index) for index in range(3)]
        for client in clients[:2]:
            client.transport.write(b"whatever")  # type: ignore[union-attr]
        await soon(reactor, lambda: service.status().viewers == 3, "all watch")
        assert joined() == 1
        (viewer,) = [each for each in reactor.getReaders() if isViewerOf(each, portOf(service))]
        assert IKeepAlive(viewer).getKeepAlive() is not None
        stream.send(40)
        for client in clients[:2]:
            await client.until(reactor, lambda c=client: len(c.data) >= len(stream.sent))  # type: ignore[misc]
            assert client.data == stream.sent
        framed = clients[2]
        await framed.until(reactor, lambda: len(framed.data) >= 40 * 1318)
        datagrams = [bytes(framed.data[at : at + 1318]) for at in range(0, 40 * 1318, 1318)]
        assert {each[:2] for each in datagrams} == {struct.pack("!H", 1316)}
        assert numbersIn(b"".join(each[2:] for each in datagrams)) == list(range(40))


def isViewerOf(reader: Any, port: int) -> bool:
    """Whether it is this end of a connection to a port."""
    return ITCPTransport.providedBy(reader) and reader.getHost().port == port


@pytest_twisted.ensureDeferred
async def test_viewersByTCPAreLimitedToo(reactor: Any) -> None:
    """A connection over the limit is closed, and counted under what there are too many of."""
    tcp = (TCPModel(ON_LOOPBACK, NEWS),)
    async with serving(reactor, endpoints=(), tcp=tcp, viewers=1) as service:
        await connect(reactor, service)
        await soon(reactor, lambda: service.status().viewers == 1, "one watches")
        second = await connect(reactor, service)
        await second.until(reactor, lambda: second.isOver)
        assert service.status().refused == {"viewers": 1}


# The service


@pytest_twisted.ensureDeferred
async def test_defaultsAreSafe(reactor: Any) -> None:
    """Nothing but loopback is listened on, and nothing is allowed."""
    model = ViewersModel()
    assert model.endpoints == ("tcp:8080:interface=127.0.0.1",)
    async with serving(reactor, evolve(model, endpoints=(ON_LOOPBACK,))) as service:
        answer = await (await request(reactor, service)).answer(reactor)
        assert answer.startswith(b"HTTP/1.1 403 ")


@pytest_twisted.ensureDeferred
async def test_itCanBeStoppedAndStarted(reactor: Any, stream: Stream) -> None:
    """Stopping ends viewers and idle connections, leaves groups; then it can be started again."""
    async with serving(reactor, named={"news": NEWS}) as service:
        client, idle = await watch(reactor, service), await connect(reactor, service)
        await service.stopService()
        await client.answer(reactor)
        await idle.answer(reactor)
        assert not joined()
        assert service.status().listening == ()
        service.startService()
        again = await watch(reactor, service, b"/news")
        stream.send(2)
        assert await again.bodyOf(reactor, len(stream.sent)) == stream.sent


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"endpoints": ("nonesuch:8080",)}, "nonesuch"),
        ({"endpoints": ("tcp:x",)}, "x"),
        ({"endpoints": (ON_LOOPBACK, "tcp:0:interface=192.0.2.1")}, "192.0.2.1"),
        ({"tcp": (TCPModel("ssl:0:privateKey=/nonesuch", NEWS),)}, "/nonesuch"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_whatCannotBeOpenedIsSaid(
    reactor: Any, changed: dict[str, Any], problem: str
) -> None:
    """It does not start, says why in one line, and leaves nothing open."""
    settings = {"endpoints": (ON_LOOPBACK,), "named": {"news": NEWS}, **changed}
    service = ViewerService(reactor, ViewersModel(**settings))
    with pytest.raises(StartError, match=problem):
        service.privilegedStartService()
    await soon(reactor, lambda: not joined(), "nothing is joined")
    assert service.status().listening == ()


@pytest.mark.parametrize("name", ["", "a/b", ".", ".."])
def test_namesHaveOnePart(name: str) -> None:
    """A name that no path could give is refused."""
    with pytest.raises(ValueError, match="cannot be a name"):
        ViewersModel(named={name: NEWS})


def test_streamByTCPHasToBeThere() -> None:
    """A port that would give a stream of a name that there is not is refused."""
    with pytest.raises(ValueError, match="no stream 'sports'"):
        ViewersModel(tcp=(TCPModel(ON_LOOPBACK, "sports"),), named={"news": NEWS})


@pytest.mark.parametrize("limit", ["viewers", "channels", "stallTime", "sendBuffer"])
def test_limitsAreChecked(limit: str) -> None:
    """A limit of nothing is refused."""
    wrong: dict[str, Any] = {limit: 0}
    with pytest.raises(ValueError, match=limit):
        Limits(**wrong)


@pytest_twisted.ensureDeferred
async def test_logSaysWhoWatches(reactor: Any) -> None:
    """A line for each join, and when a viewer comes and goes; no token in any of them."""
    with loggedLines() as lines:
        async with serving(reactor) as service:
            client = await watch(reactor, service, PATH + b"?token=secret")
            await client.close(reactor)
            await soon(reactor, lambda: not service.status().viewers, "it has gone")
    text = "\n".join(lines)
    assert "joined 239.77.0.1 on lo, port 5077" in text
    assert f"watches {PATH.decode()}" in text
    assert any(line.endswith(f"disconnected from {PATH.decode()}") for line in lines)
    assert "secret" not in text
