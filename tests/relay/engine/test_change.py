"""From one set of routes to another while datagrams flow: real sockets on loopback."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import deferLater

from tests.relay.support import Listener, freePort, send, url
from txgroupsock.ports.udp import RUN_LATENCY
from txgroupsock.relay.engine.inputs import InputShare
from txgroupsock.relay.engine.model import RelayModel, RouteRequest
from txgroupsock.relay.engine.relay import Relay
from txgroupsock.relay.engine.route import Route
from txgroupsock.relay.status import Outcome
from txgroupsock.relay.turns import Turns

HOST = "127.0.0.1"
NOWHERE = "udp://127.0.0.1:9"


def modelOf(*routes: tuple[Any, ...]) -> RelayModel:
    """Routes of a URL or several, several URLs, and perhaps a name."""
    requests = []
    for source, targets, *more in routes:
        sources = [source] if isinstance(source, str) else source
        requests.append(RouteRequest(sources, targets, *more))
    return RelayModel.of(requests)


@asynccontextmanager
async def relaying(reactor: Any, *routes: tuple[Any, ...]) -> AsyncIterator[Relay]:
    """An open relay."""
    relay = Relay.of(reactor, modelOf(*routes))
    relay.openRelay()
    try:
        yield relay
    finally:
        await relay.closeRelay()


def socketOf(route: Route) -> int:
    """What tells the socket of a route's input from any other."""
    incoming = route.input
    assert isinstance(incoming, InputShare)
    assert incoming._shared is not None
    assert incoming._shared.input._port is not None
    return id(incoming._shared.input._port.socket)


def reports(relay: Relay) -> list[list[str]]:
    """The reports of the routes, shorn of buffers."""
    return [[line.partition(";")[0] for line in each.report()] for each in relay.status()]


@pytest_twisted.ensureDeferred
async def test_whatIsInBothStays(reactor: Any) -> None:
    """A route that is in both models keeps its sockets and its counters; others come and go."""
    port, other = freePort(), freePort()
    with Listener(reactor, HOST) as listener:
        kept = (url(HOST, port), [url(HOST, listener.port)])
        async with relaying(reactor, kept, (url(HOST, other), [NOWHERE])) as relay:
            send(b"one", HOST, port)
            await listener.take(1)
            [route, _] = relay.routes
            before = (socketOf(route), route.outputs)
            third = freePort()
            outcome = await relay.change(modelOf((url(HOST, third), [NOWHERE]), kept))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind((HOST, other))  # given back by now
            assert outcome == Outcome(
                (url(HOST, port),), (), (url(HOST, third),), (url(HOST, other),), outcome.lines
            )
            assert outcome.lines == (
                f"listening on {HOST} port {third}",
                f"sending to {HOST} port 9",
                *(line for line in outcome.lines if line.startswith("closed: ")),
            )
            assert relay.routes[1] is route
            assert (socketOf(route), route.outputs) == before
            send(b"two", HOST, port)
            await listener.take(2)
            assert route.input.counters.datagrams == route.outputs[0].counters.datagrams == 2


@pytest_twisted.ensureDeferred
async def test_anInputStaysWhileOutputsChange(reactor: Any) -> None:
    """The input stays open, and so do outputs that are in both; they are in the order of the new
    model, and those that go say what they had counted.
    """
    port = freePort()
    with Listener(reactor, HOST) as one, Listener(reactor, HOST) as two:
        urls = [url(HOST, one.port), url(HOST, two.port)]
        async with relaying(reactor, (url(HOST, port), [NOWHERE, urls[0]])) as relay:
            [route] = relay.routes
            send(b"one", HOST, port)
            await one.take(1)
            before, kept, gone = socketOf(route), route.outputs[1], route.outputs[0]
            outcome = await relay.change(modelOf((url(HOST, port), urls[::-1], "news")))
            assert (str(outcome), outcome.changed) == ("1 changed", ("news",))
            assert outcome.lines[0] == f"sending to {HOST} port {two.port}"
            assert outcome.lines[1].startswith(
                f"closed: out, sending to {HOST} port 9: 1 datagrams, 3 bytes, 0 dropped"
            )
            assert relay.routes == (route,)
            assert (socketOf(route), route.outputs[1], route.name) == (before, kept, "news")
            assert gone.describe() == []
            send(b"two", HOST, port)
            assert await one.payloads(2) == [b"one", b"two"]
            assert await two.payloads(1) == [b"two"]
            assert kept.counters.datagrams == route.input.counters.datagrams == 2


@pytest_twisted.ensureDeferred
async def test_anotherInputKeepsTheOutputs(reactor: Any) -> None:
    """A route of the same name may get another input; its outputs stay, and counts go on."""
    ports = freePort(), freePort()
    with Listener(reactor, HOST) as listener:
        to = [url(HOST, listener.port)]
        async with relaying(reactor, (url(HOST, ports[0]), to, "news")) as relay:
            [route] = relay.routes
            outputs = route.outputs
            send(b"one", HOST, ports[0])
            await listener.take(1)
            await relay.change(modelOf((url(HOST, ports[1]), to, "news")))
            send(b"lost", HOST, ports[0])
            send(b"two", HOST, ports[1])
            assert await listener.payloads(2) == [b"one", b"two"]
            assert relay.routes == (route,)
            assert route.outputs == outputs
            assert route.input.counters.datagrams == outputs[0].counters.datagrams == 2


@pytest_twisted.ensureDeferred
async def test_manyNewRoutesKeepNoStreamWaiting(
    reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs goes on between the openings of what is new, which has nothing of it."""
    monkeypatch.setattr(Turns, "most", 0.0)  # each of them has a turn of its own
    port, passed = freePort(), []
    with Listener(reactor, HOST) as listener:
        kept = (url(HOST, port), [url(HOST, listener.port)])
        async with relaying(reactor, kept) as relay:
            [output] = relay.routes[0].outputs
            news = [(url(HOST, freePort()), [NOWHERE]) for _ in range(20)]
            outcomes: list[Outcome] = []
            relay.change(modelOf(kept, *news)).addCallback(outcomes.append)
            while not outcomes:
                send(b"on", HOST, port)
                passed.append(output.counters.datagrams)
                await deferLater(reactor, 0.0)
            assert str(outcomes[0]) == "1 unchanged, 20 opened"
            assert len(set(passed)) >= 10, passed
            assert all(route.input.counters.datagrams == 0 for route in relay.routes[1:])


@pytest_twisted.ensureDeferred
async def test_aRelayMayBeClosedWhileMuchIsOpened(
    reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has been opened by then is closed again, and the change says why it has failed."""
    monkeypatch.setattr(Turns, "most", 0.0)
    ports = [freePort() for _ in range(20)]
    async with relaying(reactor, (url(HOST, freePort()), [NOWHERE])) as relay:
        changing = relay.change(modelOf(*((url(HOST, port), [NOWHERE]) for port in ports)))
        while not isTaken(ports[0]):
            await deferLater(reactor, 0.0)
        assert not isTaken(ports[-1])
        closing = relay.closeRelay()
        with pytest.raises(RuntimeError, match="the relay was closed before the change was made"):
            await changing
        await closing
        assert not any(map(isTaken, ports))


def isTaken(port: int) -> bool:
    """Whether a socket has it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((HOST, port))
        except OSError:
            return True
    return False


@pytest_twisted.ensureDeferred
async def test_aSharedInputOutlivesTheRouteThatOpenedIt(reactor: Any) -> None:
    """An input goes with the last route that uses it, whichever route opened it."""
    port = freePort()
    with Listener(reactor, HOST) as listener:
        source, to = url(HOST, port), [url(HOST, listener.port)]
        async with relaying(reactor, (source, [NOWHERE], "a"), (source, to, "b")) as relay:
            first = socketOf(relay.routes[0])
            await relay.change(modelOf((source, to, "b")))
            assert socketOf(relay.routes[0]) == first
            await relay.change(modelOf((source, [NOWHERE], "c"), (source, to, "d")))
            assert [socketOf(each) for each in relay.routes] == [first, first]
            send(b"x", HOST, port)
            assert await listener.payloads(1) == [b"x"]


@pytest_twisted.ensureDeferred
async def test_theLatencyChangesOnTheOpenInput(reactor: Any) -> None:
    """Another latency is no other input: the socket stays, and the smallest wish holds."""
    source = url(HOST, freePort())
    async with relaying(reactor, (f"{source}?latency=5ms", [NOWHERE], "a")) as relay:
        [route] = relay.routes
        before = socketOf(route)
        for options, expected in (("?latency=8ms", 0.008), ("", None), ("?latency=0", 0.0)):
            outcome = await relay.change(modelOf((source + options, [NOWHERE], "a")))
            assert str(outcome) == "1 changed"
            assert socketOf(route) == before
            assert isinstance(route.input, InputShare)
            assert route.input.model.latency == expected
            assert route.input._shared is not None
            assert route.input._shared.input.model.latency == expected
        assert RUN_LATENCY
        assert str(await relay.change(relay.model or modelOf())) == "1 unchanged"


@pytest_twisted.ensureDeferred
async def test_theOrderOfSourcesIsNoChange(reactor: Any) -> None:
    """The same sources in another order are the same input."""
    port = freePort()
    sources = [f"udp://127.0.0.{number}@232.7.1.1:{port}?interface=lo" for number in (1, 2, 3)]
    async with relaying(reactor, (sources, [NOWHERE])) as relay:
        outcome = await relay.change(modelOf((sources[::-1], [NOWHERE])))
        assert len(outcome.unchanged) == 1


@pytest_twisted.ensureDeferred
async def test_namesMayBeExchanged(reactor: Any) -> None:
    """Routes that exchange their names stay, each with the other's name."""
    one, two = (url(HOST, freePort()) for _ in range(2))
    async with relaying(reactor, (one, [NOWHERE], "a"), (two, [NOWHERE], "b")) as relay:
        before = [socketOf(each) for each in relay.routes]
        outcome = await relay.change(modelOf((one, [NOWHERE], "b"), (two, [NOWHERE], "a")))
        assert outcome.unchanged == ("b", "a")
        assert [socketOf(each) for each in relay.routes] == before
        assert [each.name for each in relay.routes] == ["b", "a"]


# Any change

GROUPS = [f"239.7.6.{number}" for number in range(1, 4)]


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(GROUPS),
                st.sets(st.integers(1, 4), min_size=1),
                st.sampled_from(["", "?latency=0"]),
            ),
            max_size=3,
            unique_by=lambda route: route[0],
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=30)
@pytest_twisted.ensureDeferred
async def test_anyModelIsReached(
    reactor: Any, plans: Sequence[Sequence[tuple[str, set[int], str]]]
) -> None:
    """Whatever models follow one another, the routes are those of each, and every input and
    output that is in two that follow each other is the same.
    """
    port = freePort()

    def model(plan: Sequence[tuple[str, set[int], str]]) -> RelayModel:
        return modelOf(
            *(
                (
                    url(group, port, f"?interface=lo{options.replace('?', '&')}"),
                    [url(HOST, 20000 + each) for each in outputs],
                )
                for group, outputs, options in plan
            )
        )

    async with AsyncExitStack() as stack:
        relay = await stack.enter_async_context(relaying(reactor))
        for plan in plans:
            sockets = {str(each.input): socketOf(each) for each in relay.routes}
            outputs = {
                (str(route.input), str(each)): each
                for route in relay.routes
                for each in route.outputs
            }
            wanted = model(plan)
            await relay.change(wanted)
            assert [each.name for each in relay.routes] == [each.name for each in wanted.routes]
            for route, asked in zip(relay.routes, wanted.routes, strict=True):
                assert isinstance(route.input, InputShare)
                assert route.input.model == asked.input
                assert socketOf(route) == sockets.get(str(route.input), socketOf(route))
                models = tuple(getattr(each, "model", None) for each in route.outputs)
                assert models == asked.outputs
                for each in route.outputs:
                    assert each is outputs.get((str(route.input), str(each)), each)
                    assert each.describe()
