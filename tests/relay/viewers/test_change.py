"""A service becomes what another model says, and whoever may go on watching notices nothing."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater

from tests.conftest import openDescriptors, resourcesHeld
from tests.relay.support import SECONDS, loggedLines, until
from tests.relay.viewers.support import (
    GROUPS,
    HOST,
    ON_LOOPBACK,
    PATH,
    Client,
    Stream,
    connect,
    joined,
    numbersIn,
    request,
    serving,
    soon,
    stream,
    watch,
)
from tests.relay.viewers.test_channel import SOON, bench
from txgroupsock import GroupsockReactor, Route
from txgroupsock.relay.engine.inputs import SharedInputs
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.turns import Turns
from txgroupsock.relay.viewers import (
    Access,
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
MODEL = ViewersModel(
    (ON_LOOPBACK,), AllowList.parse(GROUPS), {"news": NEWS}, limits=Limits(lingerTime=0.0)
)
NOTHING = ViewersModel(endpoints=())


async def change(service: ViewerService, model: ViewersModel) -> None:
    """Have a service be what a model says."""
    prepared = await service.prepare(model)
    await prepared.commit()


async def statusOf(reactor: Any, service: ViewerService, path: bytes, *headers: bytes) -> int:
    """The status code that HEAD gets."""
    client = await request(reactor, service, path, *headers, method=b"HEAD")
    return int((await client.answer(reactor)).split(b" ")[1])


def freeTCPPort() -> int:
    """A TCP port that nobody has now."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


async def isTaken(reactor: Any, port: int, host: str = HOST) -> bool:
    """Whether somebody listens there, as a client finds out."""
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.connect_ex((host, port))
        await deferLater(reactor, 0.02)
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


# What stays


@pytest_twisted.ensureDeferred
async def test_whoMayGoOnLosesNothing(reactor: Any, stream: Stream) -> None:
    """Through many changes of everything else viewers get each byte, on the ports they were on."""
    byTCP = TCPModel(ON_LOOPBACK, NEWS)
    framed = TCPModel(ON_LOOPBACK, evolve(NEWS, form=Form.FRAMED))
    one = evolve(MODEL, tcp=(byTCP,))
    others = (
        evolve(one, allowed=AllowList(), access=Access(("secret-7",)), tcp=(framed, byTCP)),
        evolve(one, endpoints=(), named={"x": NEWS}, limits=Limits(blockTime=0.01, backlog=0)),
        evolve(one, endpoints=(ON_LOOPBACK, ON_LOOPBACK), named={}),
    )
    async with serving(reactor, one) as service:
        ports = [each._port for each in service._listenings]
        client, named, plain = (
            await watch(reactor, service),
            await watch(reactor, service, b"/news"),
            await connect(reactor, service, 1),
        )
        await soon(reactor, lambda: service.status().viewers == 3, "all watch")
        channel = service._channels._opened[NEWS]
        for number in range(60):
            stream.send(20)
            await change(service, (*others, one)[number % 4])
            await deferLater(reactor, 0.002)
        size = len(stream.sent)
        assert await client.bodyOf(reactor, size) == stream.sent
        assert await named.bodyOf(reactor, size) == stream.sent
        await plain.until(reactor, lambda: len(plain.data) >= size)
        assert plain.data == stream.sent
        assert service._channels._opened == {NEWS: channel}
        assert service._listenings[1]._port is ports[1]
        assert service.status().totals.skips == 0
        assert (service.status().totals.channels, service.status().totals.viewers) == (1, 3)


@pytest_twisted.ensureDeferred
async def test_portsInBothStayOpen(reactor: Any) -> None:
    """An endpoint that both models have is the same port, wherever it is in the list."""
    byTCP = TCPModel(ON_LOOPBACK, NEWS)
    framed = TCPModel(ON_LOOPBACK, evolve(NEWS, form=Form.FRAMED))
    async with serving(reactor, evolve(MODEL, tcp=(byTCP, framed))) as service:
        http, first, second = service.status().listening
        await change(service, evolve(MODEL, endpoints=(ON_LOOPBACK,) * 2, tcp=(framed, byTCP)))
        now = service.status().listening
        assert (now[0], now[2], now[3]) == (http, second, first)
        await change(service, evolve(MODEL, endpoints=(), tcp=(framed,)))
        assert service.status().listening == (second,)


@pytest_twisted.ensureDeferred
async def test_portMayGiveAnotherStream(reactor: Any, stream: Stream) -> None:
    """A TCP endpoint whose stream changes stays open, and gives the other to who comes then."""
    named = {"news": NEWS, "framed": evolve(NEWS, form=Form.FRAMED)}
    model = evolve(MODEL, named=named, tcp=(TCPModel(ON_LOOPBACK, "news"),))
    async with serving(reactor, model) as service:
        before = service.status().listening
        plain = await connect(reactor, service, 1)
        await soon(reactor, lambda: service.status().viewers == 1, "one watches")
        await change(service, evolve(model, tcp=(TCPModel(ON_LOOPBACK, "framed"),)))
        assert service.status().listening == before
        framed = await connect(reactor, service, 1)
        await soon(reactor, lambda: service.status().viewers == 2, "both watch")
        stream.send(2)
        await framed.until(reactor, lambda: len(framed.data) >= 2 * 1318)
        assert framed.data[:2] == (1316).to_bytes(2, "big")
        await plain.until(reactor, lambda: len(plain.data) >= 2 * 1316)
        assert plain.data == stream.sent


# What changes


@pytest_twisted.ensureDeferred
async def test_newRequestsMeetNewConditions(reactor: Any) -> None:
    """Rules, names and access are those of the new model, all at once."""
    other = StreamModel(InputModel.parse("udp://239.77.0.2:5077?interface=lo"))
    model = evolve(
        MODEL,
        allowed=AllowList.parse(["239.77.0.3?interface=lo"]),
        named={"sports": other},
        access=Access(("secret-7",)),
    )
    token = b"Authorization: Bearer secret-7"
    async with serving(reactor, MODEL) as service:
        prepared = await service.prepare(model)
        assert await statusOf(reactor, service, b"/news") == 200
        closed = prepared.commit()
        assert service.model == model
        assert await statusOf(reactor, service, b"/sports") == 401
        assert await statusOf(reactor, service, b"/sports", token) == 200
        assert await statusOf(reactor, service, b"/news", token) == 404
        assert await statusOf(reactor, service, PATH, token) == 403
        assert await statusOf(reactor, service, b"/udp/239.77.0.3:5077", token) == 200
        await closed


@pytest_twisted.ensureDeferred
async def test_whatNobodyMayAskForIsClosed(reactor: Any, stream: Stream) -> None:
    """Its viewers are sent away, its group is left, and the log says so; others go on."""
    with loggedLines() as lines:
        async with serving(reactor, MODEL) as service:
            gone = await watch(reactor, service, b"/udp/239.77.0.2:5077")
            specific = await watch(reactor, service, b"/udp/127.0.0.1@232.77.0.2:5077")
            stays = await watch(reactor, service)
            await change(service, evolve(MODEL, allowed=AllowList()))
            for client in (gone, specific):
                assert await client.answer(reactor)
            assert not joined("239.77.0.2")
            assert not joined("232.77.0.2")
            stream.send(3)
            assert await stays.bodyOf(reactor, len(stream.sent)) == stream.sent
            assert [each.name for each in service.status().channels] == [PATH.decode()]
            totals = service.status().totals
            assert (totals.channels, totals.viewers) == (3, 3)
    assert "/udp/239.77.0.2:5077 is no longer offered" in "\n".join(lines)


@pytest_twisted.ensureDeferred
async def test_whereAGroupIsJoinedMayChange(reactor: Any) -> None:
    """A channel that is no longer joined where it was is another one now."""
    allowed = AllowList.parse(["239.77.0.0/16"])
    async with serving(reactor, evolve(MODEL, named={})) as service:
        client = await watch(reactor, service)
        await change(service, evolve(MODEL, named={}, allowed=allowed))
        assert await client.answer(reactor)
        assert not joined()


@pytest_twisted.ensureDeferred
async def test_channelOfARouteThatIsNoLongerOffered(reactor: Any, stream: Stream) -> None:
    """It goes on without viewers, and what they got stays counted."""
    channel = Channel(reactor, "mine")
    route = Route(SharedInputs(GroupsockReactor(reactor)).share(NEWS.input), [channel])
    route.openRoute()
    model = evolve(MODEL, named={"mine": channel, "again": channel})
    async with serving(reactor, model) as service:
        client = await watch(reactor, service, b"/mine")
        stream.send(3)
        assert await client.bodyOf(reactor, len(stream.sent)) == stream.sent
        await change(service, MODEL)
        assert await client.answer(reactor)
        assert service.status().channels == ()
        await change(service, model)
        assert len(service.status().channels) == 1
        assert service.status().totals.bytes == len(stream.sent)
    await route.closeRoute()


@pytest_twisted.ensureDeferred
async def test_limitsMayChange(reactor: Any, stream: Stream) -> None:
    """Those of channels hold for channels that are open, too; nobody is sent away by others."""
    limits = Limits(lingerTime=60.0, stallTime=60.0, blockTime=1.0, sendBuffer=8192)
    async with serving(reactor, evolve(MODEL, limits=limits)) as service:
        client, paused = await watch(reactor, service), await watch(reactor, service)
        other = await watch(reactor, service, b"/udp/239.77.0.2:5077")
        await other.close(reactor)
        await soon(reactor, lambda: service.status().viewers == 2, "one has gone")
        paused.transport.pauseProducing()  # type: ignore[union-attr]
        lower = evolve(limits, lingerTime=0.01, stallTime=0.2, blockTime=0.001, viewers=1)
        await change(service, evolve(MODEL, limits=evolve(lower, backlog=10 * 1316)))
        await soon(reactor, lambda: not joined("239.77.0.2"), "it is left")
        for _ in range(100):
            stream.send(40)
            await deferLater(reactor, 0.002)
        assert await client.bodyOf(reactor, len(stream.sent)) == stream.sent
        (channel,) = service.status().channels
        assert channel.backlog <= 10 * 1316
        await soon(reactor, lambda: service.status().totals.stalled == 1, "it took nothing")
        assert await statusOf(reactor, service, b"/news") == 200
        answer = await (await request(reactor, service, b"/news")).answer(reactor)
        assert answer.startswith(b"HTTP/1.1 503 ")
        await paused.close(reactor)


@pytest_twisted.ensureDeferred
async def test_backlogIsShortenedAtOnce(reactor: Any) -> None:
    """What is kept for those that are behind becomes less as soon as less is wanted."""
    async with bench(reactor) as made:
        slow = await made.connect(isPaused=True)
        await made.feedSlowly(60)
        assert made.channel.status().backlog > 100_000
        made.channel.setLimits(evolve(SOON, backlog=50_000))
        assert made.channel.status().backlog <= 50_000
        slow.transport.resumeProducing()  # type: ignore[union-attr]
        await soon(reactor, lambda: not made.channel.status().backlog, "it has skipped the rest")
        made.feed(1)
        numbers = await made.numbers(slow, made.fed - 1)
        assert numbers == sorted(numbers)
        assert made.channel.status().skips == 1


# What is opened


@asynccontextmanager
async def waiting(reactor: Any, port: int) -> AsyncIterator[socket.socket]:
    """A connection to a port, and whatever it is sent."""
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.connect_ex((HOST, port))
        sock.settimeout(0)
        await deferLater(reactor, 0.02)
        yield sock


@pytest_twisted.ensureDeferred
async def test_newEndpointLetsNobodyInBeforeItHolds(reactor: Any) -> None:
    """Who connects before the change is made waits, and is then answered by the new rules."""
    port = freeTCPPort()
    endpoints = (*MODEL.endpoints, f"tcp:{port}:interface={HOST}")
    async with serving(reactor, MODEL) as service:
        model = evolve(MODEL, endpoints=endpoints, access=Access(("secret-7",)))
        prepared = await service.prepare(model)
        assert len(service.status().listening) == 1
        async with waiting(reactor, port) as sock:
            sock.sendall(b"HEAD /news HTTP/1.1\r\n\r\n")
            await deferLater(reactor, 0.05)
            with pytest.raises(BlockingIOError):
                sock.recv(100)
            await prepared.commit()
            assert service.status().listening[1] == f"{HOST}:{port}"
            await deferLater(reactor, 0.05)
            assert sock.recv(100).startswith(b"HTTP/1.1 401 ")


@pytest_twisted.ensureDeferred
async def test_whatIsAbandonedLeavesNothing(reactor: Any) -> None:
    """All is as it was before, to the last descriptor; a second time changes nothing."""
    port = freeTCPPort()
    async with serving(reactor, MODEL) as service:
        before = resourcesHeld(reactor).keys()
        prepared = await service.prepare(
            evolve(MODEL, endpoints=(f"tcp:{port}:interface={HOST}",), named={})
        )
        assert await isTaken(reactor, port)
        await prepared.abandon()
        assert resourcesHeld(reactor).keys() == before
        assert not await isTaken(reactor, port)
        await prepared.abandon()
        await prepared.commit()
        assert service.model == MODEL
        assert await statusOf(reactor, service, b"/news") == 200


@pytest_twisted.ensureDeferred
async def test_whatCannotBeOpenedChangesNothing(reactor: Any) -> None:
    """It says which endpoint and why; what was opened before that is closed again."""
    port = freeTCPPort()
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        taken = f"tcp:{other.getsockname()[1]}:interface={HOST}"
        async with serving(reactor, MODEL) as service:
            before = resourcesHeld(reactor).keys()
            for wrong, problem in (
                (taken, f"cannot listen on {taken}: .*in use"),
                ("tcp:0:interface=192.0.2.1", "192.0.2.1"),
                ("nonesuch:1", "nonesuch"),
                ("ssl:0:privateKey=/nonesuch.pem", "nonesuch.pem"),
            ):
                model = evolve(MODEL, endpoints=(f"tcp:{port}:interface={HOST}", wrong), named={})
                with pytest.raises(OSError, match=problem):
                    await service.prepare(model)
                assert resourcesHeld(reactor).keys() == before
                assert service.model == MODEL
            assert await statusOf(reactor, service, b"/news") == 200


@pytest_twisted.ensureDeferred
async def test_samePortWithOtherOptions(reactor: Any, stream: Stream) -> None:
    """Its interface may change: the old one is closed for the new one, and viewers stay."""
    port = freeTCPPort()
    model = evolve(MODEL, endpoints=(f"tcp:{port}:interface={HOST}",))
    wider = evolve(model, endpoints=(f"tcp:{port}",), tcp=(TCPModel(ON_LOOPBACK, NEWS),))
    async with serving(reactor, model) as service:
        client = await watch(reactor, service)
        assert not await isTaken(reactor, port, "127.0.0.2")
        await change(service, wider)
        assert await isTaken(reactor, port, "127.0.0.2")
        assert service.status().listening[0] == f"0.0.0.0:{port}"
        prepared = await service.prepare(model)
        assert not await statusBy(reactor, port)
        await prepared.abandon()
        assert await statusBy(reactor, port) == 200
        with pytest.raises(OSError, match=r"192\.0\.2\.1"):
            await service.prepare(
                evolve(model, endpoints=(*model.endpoints, "tcp:0:interface=192.0.2.1"))
            )
        assert await isTaken(reactor, port, "127.0.0.2")
        stream.send(3)
        assert await client.bodyOf(reactor, len(stream.sent)) == stream.sent


async def statusBy(reactor: Any, port: int) -> int:
    """The status code that HEAD gets at a port; 0 if nobody answers."""
    async with waiting(reactor, port) as sock:
        sock.sendall(b"HEAD /news HTTP/1.1\r\n\r\n")
        await deferLater(reactor, 0.05)
        try:
            return int(sock.recv(100).split(b" ")[1])
        except BlockingIOError:
            return 0


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Disks and name servers give nothing before this is set; nobody waits long for them."""
    made = threading.Event()

    def wait(*_: object) -> list[Any]:
        assert threading.current_thread() is not threading.main_thread()
        assert made.wait(SECONDS)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    monkeypatch.setattr("txgroupsock.relay.http.certificates.contentOf", wait)
    monkeypatch.setattr("txgroupsock.relay.http.listening.PATIENCE", 0.05)
    others = set(threading.enumerate())
    yield made
    made.set()
    for thread in set(threading.enumerate()) - others:
        thread.join()


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp:0:interface=silent.test",
        r"keepalive:tcp\:0\:interface=silent.test",
        "ssl:0:privateKey=/mnt/key.pem",
    ],
)
@pytest_twisted.ensureDeferred
async def test_whatHangsHoldsNothing(
    reactor: Any, stream: Stream, hanging: threading.Event, endpoint: str
) -> None:
    """The reactor turns, the change fails when its time is over, and later ones are made."""
    async with serving(reactor, MODEL) as service:
        client = await watch(reactor, service)
        for _ in range(6):  # more than there are threads
            preparing = service.prepare(evolve(MODEL, endpoints=(ON_LOOPBACK, endpoint)))
            stream.send()
            assert await client.bodyOf(reactor, len(stream.sent)) == stream.sent
            with pytest.raises(OSError, match=r"takes more than 0\.05 s; look for a disk"):
                await preparing
        await change(service, evolve(MODEL, endpoints=(ON_LOOPBACK, ON_LOOPBACK)))
        assert len(service.status().listening) == 2


@pytest_twisted.ensureDeferred
async def test_theEndWaitsForNothingThatHangs(
    reactor: Any, hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that waits for a name server when its service is stopped is given up at once."""
    monkeypatch.setattr("txgroupsock.relay.http.listening.PATIENCE", SECONDS)
    async with serving(reactor, MODEL) as service:
        preparing = service.prepare(evolve(MODEL, endpoints=("tcp:0:interface=silent.test",)))
        await service.stopService()
        assert not hanging.is_set()
        with pytest.raises(OSError, match="its service has ended before that could be done"):
            await preparing


@pytest_twisted.ensureDeferred
async def test_whatHangsAtAStartIsWaitedForLater(reactor: Any, hanging: threading.Event) -> None:
    """Of a service that is started while the reactor turns, the other endpoints let people in."""
    model = evolve(MODEL, endpoints=("tcp:0:interface=silent.test", ON_LOOPBACK))
    with loggedLines() as lines:
        async with serving(reactor, model) as service:
            assert len(service.status().listening) == 1
            await until(reactor, lambda: any("takes more than 0.05 s" in each for each in lines))


@pytest_twisted.ensureDeferred
async def test_oldEndpointThatCannotBeOpenedAgain(
    reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If somebody else has got its port meanwhile, the log says so, and the others stay."""
    port = freeTCPPort()
    model = evolve(MODEL, endpoints=(f"tcp:{port}:interface={HOST}", ON_LOOPBACK))
    async with serving(reactor, model) as service:
        prepared = await service.prepare(evolve(model, endpoints=(f"tcp:{port}", ON_LOOPBACK)))

        def isTakenNow(*_: Any) -> None:
            raise CannotListenError(HOST, port, OSError(errno.EADDRINUSE, "Address in use"))

        monkeypatch.setattr("txgroupsock.relay.http.listening.serverEndpoint", isTakenNow)
        with loggedLines() as lines:
            await prepared.abandon()
        assert "could not be opened again: cannot listen on" in "".join(lines)
        assert len(service.status().listening) == 1
        assert await statusOf(reactor, service, b"/news") == 200


@pytest_twisted.ensureDeferred
async def test_pathOfAUNIXSocketWithOtherOptions(reactor: Any, tmp_path: Path) -> None:
    """So may the options of a UNIX socket, and of a lock that goes with it."""
    path = tmp_path / "viewers"
    model = evolve(MODEL, endpoints=(f"unix:{path}:mode=600",))
    async with serving(reactor, model) as service:
        await change(service, evolve(model, endpoints=(f"unix:{path}:mode=666",)))
        assert path.stat().st_mode & 0o777 == 0o666
        client: Client = await connectProtocol(UNIXClientEndpoint(reactor, str(path)), Client())
        client.transport.write(b"HEAD /news HTTP/1.1\r\n\r\n")  # type: ignore[union-attr]
        assert (await client.answer(reactor)).startswith(b"HTTP/1.1 200 ")


class OddEndpoint:
    """An endpoint of a kind that is no descriptor of the reactor, and may take its time."""

    def __init__(self) -> None:
        self.later: Deferred[OddEndpoint] = Deferred()
        self.isOpen = False

    def listen(self, _: Any) -> Deferred[OddEndpoint]:
        self.isOpen = True
        return self.later

    def stopListening(self) -> Deferred[None]:
        self.isOpen = False
        return succeed(None)

    def getHost(self) -> str:
        return "odd"


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> OddEndpoint:
    """What C{odd:} is."""
    made = OddEndpoint()

    def parse(reactor: Any, description: str) -> Any:
        return made if description == "odd:" else serverFromString(reactor, description)

    monkeypatch.setattr("txgroupsock.relay.http.listening.serverEndpoint", parse)
    return made


@pytest_twisted.ensureDeferred
async def test_whatCannotMakeAnybodyWaitIsRefused(reactor: Any, odd: OddEndpoint) -> None:
    """An endpoint that would let people in before the change is made is not added."""
    async with serving(reactor, MODEL) as service:
        preparing = service.prepare(evolve(MODEL, endpoints=("odd:",)))
        odd.later.callback(odd)
        with pytest.raises(OSError, match="at a start only"):
            await preparing
        assert not odd.isOpen
        assert len(service.status().listening) == 1


@pytest_twisted.ensureDeferred
async def test_endpointThatTakesItsTime(reactor: Any, odd: OddEndpoint) -> None:
    """At a start nobody waits for it; if all is over before it listens, it does not."""
    model = evolve(MODEL, endpoints=("odd:", ON_LOOPBACK))
    async with serving(reactor, model) as service:
        assert len(service.status().listening) == 1
        odd.later.callback(odd)
        assert service.status().listening[0] == "odd"
    assert not odd.isOpen
    odd.later = Deferred()
    async with serving(reactor, MODEL) as service:
        preparing = service.prepare(evolve(model, endpoints=("odd:",)))
        await service.stopService()
        odd.later.callback(odd)
        with pytest.raises(OSError, match="its service has ended before that could be done"):
            await preparing
    assert not odd.isOpen


# With nothing, and not open


@pytest_twisted.ensureDeferred
async def test_serviceOfNothingCostsNothing(reactor: Any, stream: Stream) -> None:
    """Without an endpoint nothing is opened; one can come, and go again with its viewers."""
    before = resourcesHeld(reactor).keys()
    service = ViewerService(reactor, NOTHING)
    service.privilegedStartService()
    assert resourcesHeld(reactor).keys() == before
    await change(service, MODEL)
    service.startService()
    client = await watch(reactor, service)
    idle = await connect(reactor, service)
    stream.send()
    assert await client.bodyOf(reactor, 1316) == stream.sent
    await change(service, NOTHING)
    await client.answer(reactor)
    assert numbersIn(client.body) == [0]
    assert not joined()
    await idle.answer(reactor)
    assert service.status().listening == ()
    assert service.status().channels == ()
    assert resourcesHeld(reactor).keys() == before
    await service.stopService()


@pytest_twisted.ensureDeferred
async def test_stoppingEndsAChange(reactor: Any) -> None:
    """A service that is stopped before a change is made has nothing open, and so it stays."""
    async with serving(reactor, MODEL) as service:
        before = set(openDescriptors())
        prepared = await service.prepare(evolve(MODEL, endpoints=(ON_LOOPBACK, ON_LOOPBACK)))
        await service.stopService()
        assert len(set(openDescriptors()) - before) == 0
        await prepared.commit()
        assert service.status().listening == ()
        service.startService()
        assert len(service.status().listening) == 1


@pytest_twisted.ensureDeferred
async def test_manyEndpointsAreOpenedInTurns(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have the reactor in between; a service that is stopped meanwhile has none of them."""
    monkeypatch.setattr(Turns, "most", 0.0)  # one endpoint a turn
    async with serving(reactor, MODEL) as service:
        before = set(openDescriptors())
        preparing = service.prepare(evolve(MODEL, endpoints=MODEL.endpoints * 4))
        assert len(set(openDescriptors()) - before) == 1
        await (await preparing).commit()
        assert len(service.status().listening) == 4
        preparing = service.prepare(evolve(MODEL, endpoints=MODEL.endpoints * 9))
        while len(set(openDescriptors()) - before) < 3 + 2:
            await deferLater(reactor, 0)
        await service.stopService()
        with pytest.raises(OSError, match="the service was stopped before that"):
            await preparing
    assert not set(openDescriptors()) - before


@pytest_twisted.ensureDeferred
async def test_oneChangeAtATime(reactor: Any) -> None:
    """A second change has to wait for the first, and any for the service to be open."""
    service = ViewerService(reactor, MODEL)
    with pytest.raises(RuntimeError, match="not open"):
        await service.prepare(NOTHING)
    async with serving(reactor, MODEL) as service:
        prepared = await service.prepare(MODEL)
        with pytest.raises(RuntimeError, match="another change"):
            await service.prepare(NOTHING)
        await prepared.commit()
        await change(service, NOTHING)
