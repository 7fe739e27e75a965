"""Routes that change while several processes run them: real processes, real sockets."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve

from tests.relay.engine.test_change import NOWHERE, modelOf
from tests.relay.support import Listener, freePort, isAlive, loggedLines, send, until, url
from tests.relay.workers.test_relay import pidsOf, totals
from txgroupsock.relay.config.document import Configuration
from txgroupsock.relay.control.control import Control
from txgroupsock.relay.engine.model import RelayModel
from txgroupsock.relay.workers.relay import Workers

HOST = "127.0.0.1"
SOMEWHERE = "udp://127.0.0.1:8"


class Stream:
    """
    A route to a listener, and what passes it.

    @ivar route: what to make a model of.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        self.port, self.listener, self.sent = freePort(), Listener(reactor, HOST), 0
        self.name = name
        self.route = (url(HOST, self.port), [url(HOST, self.listener.port)], name)

    def to(self, *others: str, name: str = "") -> tuple[Any, ...]:
        """The same route with other outputs besides its own."""
        return (self.route[0], [*others, *self.route[1]], name or self.name)

    async def flows(self) -> None:
        """Send a datagram, and wait until it has come, once and after those before."""
        self.sent += 1
        send(b"%d" % self.sent, HOST, self.port)
        expected = [b"%d" % number for number in range(1, self.sent + 1)]
        assert await self.listener.payloads(self.sent) == expected


class Running:
    """
    A relay of two streams, with a worker for each.

    @ivar a: the first of them; C{b} is the other.
    """

    def __init__(self, reactor: Any) -> None:
        self.a, self.b = Stream(reactor, "a"), Stream(reactor, "b")
        self.relay = Workers(reactor, modelOf(self.a.route, self.b.route), 2)

    async def totals(self) -> dict[str, tuple[int, int]]:
        """Datagrams in and out of each route, in their order."""
        status = await self.relay.status()
        return dict(zip([each.name for each in status], totals(status), strict=True))

    async def changed(self, *routes: tuple[Any, ...]) -> str:
        """Change it; what came of it."""
        return str(await self.relay.change(modelOf(*routes)))

    def has(self, number: int) -> list[str]:
        """The names of the routes of a worker."""
        return [each.name for each in self.relay.workers[number - 1].share.routes]


@asynccontextmanager
async def running(reactor: Any) -> AsyncIterator[Running]:
    """A relay while it runs; in the end no process of it is left."""
    run = Running(reactor)
    with run.a.listener, run.b.listener:
        run.relay.openRelay()
        try:
            yield run
        finally:
            pids = pidsOf(run.relay)
            with loggedLines() as lines:
                await run.relay.closeRelay()
            assert not any(isAlive(each) for each in pids)
            assert [line for line in lines if "is killed" in line or "wrote" in line] == []


@contextmanager
def taken() -> Any:
    """A port that somebody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        yield sock.getsockname()[1]


def isFree(port: int) -> bool:
    """Whether nobody has a port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True


@pytest_twisted.ensureDeferred
async def test_whatIsInBothStaysInItsWorker(reactor: Any) -> None:
    """Routes that go on stay in their processes with their counters; status and counters are in
    the order of the new model, and say its names.
    """
    async with running(reactor) as run:
        a, b, pids = run.a, run.b, pidsOf(run.relay)
        await a.flows()
        await b.flows()
        new, third = freePort(), freePort()
        outcome = await run.relay.change(
            modelOf(
                (url(HOST, third), [NOWHERE], "d"),
                b.to(NOWHERE),
                (url(HOST, new), [NOWHERE], "c"),
                (*a.route[:2], "A"),
            )
        )
        assert str(outcome) == "1 unchanged, 1 changed, 2 opened"
        assert (outcome.unchanged, outcome.changed) == (("A",), ("b",))
        assert outcome.opened == ("d", "c")
        assert f"listening on {HOST} port {new}" in outcome.lines
        assert pidsOf(run.relay) == pids
        await a.flows()
        await b.flows()
        assert list(await run.totals()) == ["d", "b", "c", "A"]
        status = await run.relay.status()
        assert [status[1].outputs[1].counters.datagrams, status[3].input.counters.datagrams] == [
            2,
            2,
        ]
        assert [name for name, _ in run.relay.counters()] == ["d", "b", "c", "A"]
        assert [len(parts) for _, parts in run.relay.counters()] == [2, 3, 2, 2]
        # And back again; what goes says what it had counted.
        outcome = await run.relay.change(modelOf(a.route, b.route))
        assert str(outcome) == "1 unchanged, 1 changed, 2 closed"
        assert outcome.closed == ("d", "c")
        assert any(
            line.startswith(f"closed: in, listening on {HOST} port {new}: 0 datagrams")
            for line in outcome.lines
        )
        assert isFree(new)
        await a.flows()
        await b.flows()
        assert await run.totals() == {"a": (3, 3), "b": (3, 3)}
        assert await run.changed(a.route, b.route) == "2 unchanged"


@pytest_twisted.ensureDeferred
async def test_aWorkerKilledAfterwardsHasTheNewRoutes(reactor: Any) -> None:
    """A worker that is killed after a change is back with its new routes, and goes on counting
    all that its routes ever counted, whatever they are called and wherever they stand.
    """
    async with running(reactor) as run:
        a, b, new = run.a, run.b, Stream(reactor, "c")

        async def killFirst() -> None:
            await run.totals()
            [pid, *_] = pidsOf(run.relay)
            with loggedLines() as lines:
                os.kill(pid, signal.SIGKILL)
                await until(reactor, lambda: any("worker 1 is process" in each for each in lines))

        with new.listener:
            await a.flows()
            await killFirst()
            await a.flows()
            assert await run.totals() == {"a": (2, 2), "b": (0, 0)}
            await run.changed(b.to(NOWHERE), new.route, a.to(NOWHERE, name="A"))
            assert (run.has(1), run.has(2)) == (["c", "A"], ["b"])
            await a.flows()
            await new.flows()
            status = await run.relay.status()
            counts = [[end.counters.datagrams for end in each.ends] for each in status]
            # What is new of a route counts from then on.
            assert counts == [[0, 0, 0], [1, 1], [3, 1, 3]]
            await killFirst()
            await a.flows()
            await new.flows()
            await b.flows()
            status = await run.relay.status()
            counts = [[end.counters.datagrams for end in each.ends] for each in status]
            assert counts == [[1, 1, 1], [2, 2], [4, 2, 4]]
            assert [each.name for each in status] == ["b", "c", "A"]


@pytest_twisted.ensureDeferred
async def test_aWorkerMayHaveNoRoutes(reactor: Any) -> None:
    """A worker that loses all its routes waits for others, and may even die meanwhile."""
    async with running(reactor) as run:
        a, b = run.a, run.b
        assert await run.changed(b.route) == "1 unchanged, 1 closed"
        assert await run.totals() == {"b": (0, 0)}
        with loggedLines() as lines:
            os.kill(pidsOf(run.relay)[0], signal.SIGKILL)
            await until(reactor, lambda: any("worker 1 is process" in line for line in lines))
        assert any(line.endswith("0.1 s; it has no routes") for line in lines)
        assert await run.changed(b.route, a.route) == "1 unchanged, 1 opened"
        assert (run.has(1), run.has(2)) == (["a"], ["b"])
        await a.flows()
        await b.flows()
        assert await run.totals() == {"b": (1, 1), "a": (1, 1)}
        assert await run.changed() == "2 closed"
        assert await run.relay.status() == []


@pytest_twisted.ensureDeferred
async def test_workersAreStartedWhenThereIsWorkForThem(reactor: Any, monkeypatch: Any) -> None:
    """Up to the number that was asked for, workers are started for new routes; if the change is
    refused, these end.
    """
    a, b, c = (Stream(reactor, each) for each in "abc")
    relay = Workers(reactor, modelOf(), 2)
    with a.listener, b.listener, c.listener:
        assert relay.openRelay() == []
        try:
            assert str(await relay.change(modelOf(a.route))) == "1 opened"
            assert len(pidsOf(relay)) == 1
            with taken() as port, pytest.raises(OSError, match="cannot bind to"):
                await relay.change(modelOf(a.route, (url(HOST, port), [NOWHERE])))
            assert len(relay.workers) == 1
            with monkeypatch.context() as patch:
                patch.setattr("txgroupsock.relay.workers.process._PROGRAM", "import no_such_module")
                with pytest.raises(ConnectionError, match="worker 2 is not running: it exited wi"):
                    await relay.change(modelOf(a.route, b.route))
            assert len(relay.workers) == 1
            assert str(await relay.change(modelOf(b.route, c.route, a.route))) == (
                "1 unchanged, 2 opened"
            )
            assert len(set(pidsOf(relay))) == 2
            for each in (a, b, c):
                await each.flows()
            assert totals(await relay.status()) == [(1, 1)] * 3
        finally:
            await relay.closeRelay()


@pytest_twisted.ensureDeferred
async def test_aPortThatIsGivenUpCanBeTaken(reactor: Any) -> None:
    """A new input may need the port of one that goes: its worker closes that first, and opens it
    again if another worker cannot open what it has to.
    """
    async with running(reactor) as run:
        a, b, port = run.a, run.b, freePort()
        await a.flows()
        for source in (f"udp://:{port}", url(HOST, port)):
            moving = (source, a.route[1], source)
            other = ("udp://192.0.2.1:5000", [NOWHERE])
            with pytest.raises(OSError, match=r"192\.0\.2\.1"):
                await run.changed(moving, b.to(SOMEWHERE), other)
            await a.flows()
            assert await run.changed(moving, b.route) == "1 unchanged, 1 opened, 1 closed"
            a.port = port
            await a.flows()
            assert run.has(2) == ["b"]


@pytest_twisted.ensureDeferred
async def test_oneChangeIsMadeAfterAnother(reactor: Any) -> None:
    """Changes that are asked for at once are all made, in order."""
    async with running(reactor) as run:
        ports = [freePort() for _ in range(5)]
        changes = [
            run.relay.change(modelOf(run.b.route, (url(HOST, each), [NOWHERE], "new"), run.a.route))
            for each in ports
        ]
        assert [str(await each) for each in changes] == [
            "2 unchanged, 1 opened",
            *["2 unchanged, 1 changed"] * 4,
        ]
        assert [isFree(each) for each in ports] == [True] * 4 + [False]
        await run.a.flows()
        assert await run.totals() == {"b": (0, 0), "new": (0, 0), "a": (1, 1)}


@pytest_twisted.ensureDeferred
async def test_controlTakesWorkersOver(reactor: Any) -> None:
    """What the API and a reload do is done with workers as with one process, and logged so."""
    async with running(reactor) as run:
        a, b = run.a, run.b
        model = modelOf(a.route, b.route)
        configuration = Configuration(relay=evolve(model, workers=2))
        control = Control(reactor, configuration, run.relay)

        def to(model: RelayModel) -> Callable[[], Configuration]:
            return lambda: evolve(configuration, relay=evolve(model, workers=2))

        new = (url(HOST, freePort()), [NOWHERE], "new")
        with loggedLines() as lines:
            outcome = await control.change("POST", to(modelOf(new, a.route, b.route)))
        assert lines[-1] == "POST was applied: 2 unchanged, 1 opened"
        assert outcome.opened == ("new",)
        assert [each.name for each in control.configuration.relay.routes] == ["new", "a", "b"]
        for other, error in (
            ((a.route[0], [NOWHERE], "b"), RuntimeError),
            (("udp://192.0.2.1:5000", [NOWHERE], "b"), OSError),
        ):
            with loggedLines() as lines, pytest.raises(error):
                await control.change("PUT", to(modelOf(a.route, other)))
            assert lines[-1] == "PUT was rejected; the running configuration is unchanged"
            assert control.last is not None
            assert not control.last.isDone
        assert list(await run.totals()) == ["new", "a", "b"]
