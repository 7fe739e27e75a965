"""Routes whose inputs are made of several, as a relay has them, over loopback."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest_twisted
from attrs import define, field
from twisted.internet.task import deferLater

from tests.relay.redundancy.support import numberIn, rtp
from tests.relay.support import Listener, freePort, send, until, url
from txgroupsock.relay.config.file import parseConfiguration
from txgroupsock.relay.engine.model import RelayModel
from txgroupsock.relay.engine.redundantshare import RedundantShare
from txgroupsock.relay.engine.relay import Relay
from txgroupsock.relay.status import Outcome, Pieces

HOST = "127.0.0.1"


def modelOf(*routes: str) -> RelayModel:
    """The model of a file with these routes."""
    return parseConfiguration("".join(routes), "x.toml").relay


def routeOf(
    ports: Iterable[int], to: Iterable[int], how: str = "[route.merge]", name: str = "news"
) -> str:
    """A route of a file, with a leg for each port."""
    legs, outputs = [url(HOST, each) for each in ports], [url(HOST, each) for each in to]
    return (
        f"[[route]]\nname = {name!r}\nfrom = {json.dumps(legs)}\nto = {json.dumps(outputs)}\n"
        f"{how}\n"
    )


@define(eq=False)
class Stream:
    """
    A stream of RTP that is sent by several legs, of which each may lose some.

    @ivar sent: datagrams so far, each by one leg at least.
    """

    reactor: Any
    ports: list[int]
    sent: int = 0
    _chance: random.Random = field(factory=lambda: random.Random(5))

    async def send(
        self, count: int, choose: Callable[[random.Random], Iterable[int]] | None = None
    ) -> None:
        """
        Send so many.

        @param choose: by which of the legs the next goes; left out, by all.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for number in range(count):
                legs = range(len(self.ports)) if choose is None else choose(self._chance)
                for leg in legs:
                    sock.sendto(rtp(self.sent), (HOST, self.ports[leg]))
                self.sent += 1
                if number % 20 == 19:
                    await deferLater(self.reactor, 0)


def someLegs(chance: random.Random) -> tuple[int, ...]:
    """Both legs, or one of two, at random."""
    return chance.choices([(0, 1), (0,), (1,)], [6, 2, 2])[0]


@asynccontextmanager
async def running(reactor: Any, model: RelayModel) -> AsyncIterator[Relay]:
    """An open relay."""
    relay = Relay.of(reactor, model)
    relay.openRelay()
    try:
        yield relay
    finally:
        await relay.closeRelay()


def shareOf(relay: Relay, index: int = 0) -> RedundantShare:
    """The input of a route."""
    share = relay.routes[index].input
    assert isinstance(share, RedundantShare)
    return share


def socketsOf(relay: Relay) -> list[object]:
    """The sockets that the legs of the first route have."""
    return [each.input and each.input._port for each in shareOf(relay)._legs]


async def numbers(listener: Listener, count: int) -> list[int]:
    """The numbers of the first so many that came."""
    return [numberIn(each) for each in await listener.payloads(count)]


@pytest_twisted.ensureDeferred
async def test_whatEitherLegHasComesOutOnce(reactor: Any) -> None:
    """Each leg loses different datagrams, and the output has all of them, in order."""
    ports = [freePort(), freePort()]
    with Listener(reactor, HOST) as listener:
        model = modelOf(routeOf(ports, [listener.port]))
        async with running(reactor, model) as relay:
            stream = Stream(reactor, ports)
            await stream.send(1)
            await stream.send(999, someLegs)
            assert await numbers(listener, 1000) == list(range(1000))
            (status,) = relay.status()
            assert status.input.counters.datagrams == 1000
            assert status.outputs[0].counters.datagrams == 1000
            assert +status.input.counters.dropped == {}
            report = status.input.redundancy
            assert report is not None
            assert (report.kind, report.changes) == ("merge", 0)
            assert [each.name for each in report.legs] == [url(HOST, each) for each in ports]
            one, other = report.legs
            assert one.used + other.used == 1000
            for leg in (one, other):
                assert leg.lost is not None
                assert 100 < leg.lost <= 1000 - leg.counters.datagrams
                assert leg.buffer is not None
            pieces = Pieces()
            for piece in status.pieces():
                pieces.add(json.loads(json.dumps(piece)))
            assert pieces.taken() == [status]
            assert [line.partition(":")[0] for line in status.report()][1:3] == [
                f"leg 1, {url(HOST, ports[0])}".partition(":")[0],
                f"leg 2, {url(HOST, ports[1])}".partition(":")[0],
            ]
            assert len(listener.nowPayloads()) == 1000


@pytest_twisted.ensureDeferred
async def test_aLegMayBeTheInputOfAnotherRoute(reactor: Any) -> None:
    """It is received once, and each route has all of it."""
    ports = [freePort(), freePort()]
    with Listener(reactor, HOST) as listener, Listener(reactor, HOST) as plain:
        model = modelOf(
            routeOf(ports, [listener.port]), routeOf(ports[:1], [plain.port], "", "plain")
        )
        async with running(reactor, model) as relay:
            await Stream(reactor, ports).send(100)
            assert await numbers(plain, 100) == await numbers(listener, 100)
            ends = [each.status().input.counters.datagrams for each in relay.routes]
            assert ends == [100, 100]


async def changed(relay: Relay, *routes: str) -> Outcome:
    """What became of a change to these routes."""
    return await relay.change(modelOf(*routes))


@pytest_twisted.ensureDeferred
async def test_aReloadKeepsWhatIsTheSame(reactor: Any) -> None:
    """A merged route that is in both stays as it is; with other outputs, its input does."""
    ports, other = [freePort(), freePort()], freePort()
    with Listener(reactor, HOST) as listener:
        text = routeOf(ports, [listener.port])
        async with running(reactor, modelOf(text)) as relay:
            share, sockets, stream = shareOf(relay), socketsOf(relay), Stream(reactor, ports)
            await stream.send(100, lambda _: [stream.sent % 2])
            outcome = await changed(relay, text, routeOf([freePort()], [9], "", "plain"))
            assert str(outcome) == "1 unchanged, 1 opened"
            await stream.send(100, lambda _: [stream.sent % 2])
            outcome = await changed(relay, routeOf(ports, [listener.port, other]))
            assert str(outcome) == "1 changed, 1 closed"
            assert not any("leg" in line for line in outcome.lines)
            assert (shareOf(relay), socketsOf(relay)) == (share, sockets)
            await stream.send(100, lambda _: [stream.sent % 2])
            assert await numbers(listener, 300) == list(range(300))
            assert share.counters.datagrams == 300


@pytest_twisted.ensureDeferred
async def test_otherLegsGoOnWhereTheFormerWere(reactor: Any) -> None:
    """
    A merge whose legs change, or whose window does, keeps the sockets of those that stay, loses
    nothing and doubles nothing, not even what is held behind a gap or comes late by another leg;
    what it counted it has still.
    """
    a, b, c = freePort(), freePort(), freePort()
    with Listener(reactor, HOST) as listener:
        how = "[route.merge]\nwindow = '5s'\nsilence = '9s'"
        async with running(reactor, modelOf(routeOf([a, b], [listener.port], how))) as relay:
            sockets, stream = socketsOf(relay), Stream(reactor, [a, b, c])
            await stream.send(100, lambda _: (0, 1))
            stream.sent += 1  # 100 is missing until the end
            await stream.send(99, lambda _: (0,))
            await until(reactor, lambda: shareOf(relay).report().legs[0].counters.datagrams == 199)
            wanted = routeOf([c, a], [listener.port], how.replace("5s", "6s"))
            outcome = await changed(relay, wanted)
            assert str(outcome) == "1 changed"
            assert socketsOf(relay)[1] is sockets[0]
            stream.sent = 100
            await stream.send(100, lambda _: (2,))
            await stream.send(100, lambda _: (0, 2))
            assert await numbers(listener, 300) == list(range(300))
            await until(reactor, lambda: shareOf(relay).report().legs[1].counters.datagrams == 299)
            (status,) = relay.status()
            assert status.input.counters.datagrams == status.outputs[0].counters.datagrams == 300
            assert +status.input.counters.dropped == {}
            report = status.input.redundancy
            assert report is not None
            assert report.legs[1].used >= 99  # all that it alone had before, at least
            assert len(listener.nowPayloads()) == 300


@pytest_twisted.ensureDeferred
async def test_fromOneInputToAMergeAndBack(reactor: Any) -> None:
    """The socket that both have stays; what a merge holds when it ends goes on, and is counted."""
    a, b = freePort(), freePort()
    with Listener(reactor, HOST) as listener:
        plain = routeOf([a], [listener.port], "")
        merged = routeOf([a, b], [listener.port], "[route.merge]\nwindow = '5s'\nsilence = '9s'")
        async with running(reactor, modelOf(plain)) as relay:
            stream = Stream(reactor, [a, b])
            await stream.send(100)
            await listener.take(100)
            assert str(await changed(relay, merged)) == "1 changed"
            await stream.send(1)  # whichever leg is read first, the merge begins here
            await stream.send(99, someLegs)
            await listener.take(200)
            stream.sent += 1
            await stream.send(50)
            await until(reactor, lambda: shareOf(relay)._input._merger.holding == 50)  # type: ignore[union-attr]
            assert str(await changed(relay, plain)) == "1 changed"
            await stream.send(49)
            expected = [*range(200), *range(201, 300)]
            assert await numbers(listener, 299) == expected
            (status,) = relay.status()
            assert status.input.counters.datagrams == status.outputs[0].counters.datagrams == 299
            assert +status.input.counters.dropped == {"lost": 1}
            assert status.input.redundancy is None


@pytest_twisted.ensureDeferred
async def test_aPortThatIsGivenUpForALeg(reactor: Any) -> None:
    """A leg that needs the port of what goes gets it as soon as that has gone."""
    a, b = freePort(), freePort()
    with Listener(reactor, HOST) as listener:
        anywhere = f"[[route]]\nname = 'old'\nfrom = 'udp://:{b}'\nto = 'udp://127.0.0.1:9'\n"
        async with running(reactor, modelOf(anywhere)) as relay:
            outcome = await changed(relay, routeOf([a, b], [listener.port]))
            assert str(outcome) == "1 opened, 1 closed"
            assert all(each.state for each in shareOf(relay).report().legs)
            await Stream(reactor, [a, b]).send(50, lambda _: (1,))
            assert await numbers(listener, 50) == list(range(50))


@pytest_twisted.ensureDeferred
async def test_aLegThatCannotBeOpenedIsAWarning(reactor: Any) -> None:
    """The route runs with the other, and says why."""
    a, b = freePort(), freePort()
    with Listener(reactor, HOST) as listener, Listener(reactor, HOST, b):
        async with running(reactor, modelOf(routeOf([a, b], [listener.port]))) as relay:
            await Stream(reactor, [a]).send(10)
            assert await numbers(listener, 10) == list(range(10))
            (status,) = relay.status()
            (warning,) = [each for each in status.input.warnings if "could not" in each]
            assert warning.startswith("leg 2 could not be opened")
            assert status.input.state == (f"leg 1: listening on {HOST} port {a}",)
            assert status.input.redundancy is not None
            assert status.input.redundancy.legs[1].state == ()


@pytest_twisted.ensureDeferred
async def test_noneOfTheLegsCanBeOpened(reactor: Any) -> None:
    """Then a change is refused, and all is as it was."""
    a, b = freePort(), freePort()
    with Listener(reactor, HOST, a), Listener(reactor, HOST, b):
        plain = routeOf([freePort()], [9], "", "plain")
        async with running(reactor, modelOf(plain)) as relay:
            try:
                await changed(relay, plain, routeOf([a, b], [9]))
            except OSError as error:
                assert str(a) in str(error)  # noqa: PT017 - it has to be one of these
            else:
                raise AssertionError("it was opened")
            assert [each.name for each in relay.routes] == ["plain"]


@pytest_twisted.ensureDeferred
async def test_aFailoverGoesOver(reactor: Any) -> None:
    """A silent leg is left for the next, and other legs go on with the one that is given on."""
    a, b, c = freePort(), freePort(), freePort()
    how = "[route.failover]\nsilence = '100ms'\nreturn = '1min'"
    with Listener(reactor, HOST) as listener:
        async with running(reactor, modelOf(routeOf([a, b], [listener.port], how))) as relay:
            stream = Stream(reactor, [a, b])
            await stream.send(100)
            assert await numbers(listener, 100) == list(range(100))
            while shareOf(relay).report().changes == 0:
                await stream.send(1, lambda _: (1,))
                await deferLater(reactor, 0.005)
            report = shareOf(relay).report()
            assert (report.kind, [each.isActive for each in report.legs]) == (
                "failover",
                [False, True],
            )
            assert str(await changed(relay, routeOf([c, b], [listener.port], how))) == "1 changed"
            report = shareOf(relay).report()
            assert ([each.isActive for each in report.legs], report.changes) == ([False, True], 1)
            last = stream.sent
            await stream.send(50, lambda _: (1,))
            await until(reactor, lambda: numberIn(listener.arrivals[-1].data) == last + 49)
            got = [numberIn(each.data) for each in listener.arrivals]
            assert got[-50:] == list(range(last, last + 50))
            (status,) = relay.status()
            assert status.input.counters.datagrams == len(got)


@pytest_twisted.ensureDeferred
async def test_aRingThroughALegIsALoop(reactor: Any) -> None:
    """What a redundant route sends, and a leg of it hears by way of another route, is dropped."""
    a, b, c = freePort(), freePort(), freePort()

    def text(port: int, to: int, how: str, *more: int) -> str:
        # The configuration does not know what a host name means.
        return routeOf([port, *more], [to], how).replace(f"{HOST}:{to}", f"localhost:{to}")

    ring = text(a, c, "[route.failover]\nsilence = '100ms'\nreturn = '1min'", b)
    back = text(c, b, "").replace("news", "back")
    async with running(reactor, modelOf(ring, back)) as relay:

        def dropped() -> int:
            report = shareOf(relay).report()
            return report.legs[1].counters.dropped["loop"]

        stream = Stream(reactor, [a])
        await until(reactor, relay.routes[1].outputs[0].describe)
        while not dropped():
            await stream.send(5)
            await deferLater(reactor, 0.01)
        assert shareOf(relay).counters.datagrams <= stream.sent


@pytest_twisted.ensureDeferred
async def test_aLegMayHaveTwoSources(reactor: Any) -> None:
    """
    A leg that hears two senders of a group, of which either may bring a datagram or both, and a
    leg of another group, are one stream.
    """
    port = freePort()
    one, two = ("239.77.3.1", "239.77.3.2")
    legs: list[Any] = [
        [f"udp://{source}@{one}:{port}?interface=lo" for source in ("127.0.0.1", "127.0.0.2")],
        f"udp://127.0.0.1@{two}:{port}?interface=lo",
    ]
    senders = [("127.0.0.1", one), ("127.0.0.2", one), ("127.0.0.1", two)]
    chance = random.Random(8)
    with Listener(reactor, HOST) as listener:
        text = routeOf([], [listener.port]).replace("from = []", f"from = {json.dumps(legs)}")
        async with running(reactor, modelOf(text)) as relay:
            for number in range(600):
                chosen = senders if not number else chance.sample(senders, chance.randint(1, 3))
                for source, group in chosen:
                    send(rtp(number), group, port, source)
                send(rtp(number), one, port, "127.0.0.9")  # nobody wants to hear this one
                if number % 20 == 19:
                    await listener.take(number + 1)
            assert await numbers(listener, 600) == list(range(600))
            (status,) = relay.status()
            assert +status.input.counters.dropped == {}
            report = status.input.redundancy
            assert report is not None
            assert report.legs[0].duplicates
            assert report.legs[0].name == legs[0][0]


@pytest_twisted.ensureDeferred
async def test_twoSourcesOfAGroupMayBeTwoLegs(reactor: Any) -> None:
    """Each leg has what its own source sends, though both have the same group and port."""
    port, group = freePort(), "239.77.3.3"
    sources = ("127.0.0.1", "127.0.0.2")
    legs = [f"udp://{source}@{group}:{port}?interface=lo" for source in sources]
    with Listener(reactor, HOST) as listener:
        text = routeOf([], [listener.port]).replace("from = []", f"from = {json.dumps(legs)}")
        async with running(reactor, modelOf(text)) as relay:
            for number in range(100):
                for leg in {0: (0, 1), 1: (0,), 2: (1,)}[number % 3]:
                    send(rtp(number), group, port, sources[leg])
            assert await numbers(listener, 100) == list(range(100))
            counted = [each.counters.datagrams for each in shareOf(relay).report().legs]
            assert counted == [67, 67]
