"""The routes of one relay in several processes, seen from the process that has started them."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from zope.interface.verify import verifyObject

from tests.relay.support import (
    SECONDS,
    Listener,
    freePort,
    isAlive,
    loggedLines,
    send,
    until,
)
from txgroupsock.relay.app.service import RelayService
from txgroupsock.relay.engine.interfaces import IRelay
from txgroupsock.relay.engine.model import RelayModel, RouteModel
from txgroupsock.relay.engine.relay import Relay
from txgroupsock.relay.errors import StartError
from txgroupsock.relay.status import RouteStatus
from txgroupsock.relay.workers import process as workerprocess
from txgroupsock.relay.workers import relay as workers
from txgroupsock.relay.workers import supervisor
from txgroupsock.relay.workers.assignment import Share
from txgroupsock.relay.workers.relay import Workers
from txgroupsock.relay.workers.supervisor import Worker


def pidsOf(relay: Workers) -> list[int]:
    """The processes of its workers."""
    return [each.process.pid for each in relay.workers if each.process is not None]


def totals(routes: list[RouteStatus]) -> list[tuple[int, int]]:
    """Datagrams in and out of each route."""
    return [(each.input.counters.datagrams, each.outputs[0].counters.datagrams) for each in routes]


JUNK = b"""{"kind": "status"}
{"kind": "status", "number": 77}
{"kind": "piece", "piece": []}
{"kind": "piece", "piece": {"ends": []}}
{"kind": "piece", "piece": {"ends": [5], "name": ""}}
{"kind": "some", "counters": [[]]}
{"kind": "some", "counters": [[1, 2, 3], 4]}
{"kind": "counts", "turn": "soon"}
{"kind": "ready", "reactor": 5}
{"kind": "log", "level": "loud", "namespace": "", "time": 1, "text": ""}
{"kind": "log", "level": "warn", "namespace": "", "time": "soon", "text": ""}
{"kind": "open", "reactor": 5, "routes": 6}
{"kind": "run", "groups": 1, "gids": 2, "uids": 3}
{"kind": "change", "number": 78, "routes": 7}
{"kind": "commit", "number": 79}
{"kind": "abandon", "number": 80}
{"kind": "prepared", "number": 81}
{"kind": "refused", "number": [], "problem": ""}
{"kind": "committed"}
{"kind": "changed", "number": 82, "lines": 8}
{"kind": "kept"}
{"kind": "no"}

[]
"""


class Running:
    """
    A relay of so many routes, each to a listener, with as many workers.

    @ivar ports: what the routes listen on.
    @ivar listeners: where they send.
    """

    def __init__(self, reactor: Any, routes: int, count: int) -> None:
        self.reactor = reactor
        self.ports = [freePort() for _ in range(routes)]
        self._open = ExitStack()
        self.listeners = [
            self._open.enter_context(Listener(reactor, "127.0.0.1")) for _ in self.ports
        ]
        model = RelayModel.of(
            [
                ([f"udp://127.0.0.1:{port}"], [f"udp://127.0.0.1:{listener.port}"])
                for port, listener in zip(self.ports, self.listeners, strict=True)
            ]
        )
        self.relay = Workers(reactor, model, count)
        self.service = RelayService(reactor, self.relay)
        self.sent = [0] * routes

    def send(self, route: int) -> None:
        """Send a route a datagram."""
        self.sent[route] += 1
        send(b"%d" % self.sent[route], "127.0.0.1", self.ports[route])

    async def relayed(self, route: int) -> None:
        """Wait until all that was sent to a route has come out, all of it and in order."""
        expected = [b"%d" % number for number in range(1, self.sent[route] + 1)]
        assert await self.listeners[route].payloads(self.sent[route]) == expected

    async def status(self) -> list[RouteStatus]:
        """What is known of the routes."""
        return await self.service.status()

    def close(self) -> None:
        """Close the listeners."""
        self._open.close()


@asynccontextmanager
async def running(reactor: Any, routes: int = 2, count: int = 2) -> AsyncIterator[Running]:
    """A relay with workers while it runs; in the end no process of it is left."""
    made = Running(reactor, routes, count)
    try:
        made.service.privilegedStartService()
        made.service.startService()
        try:
            yield made
        finally:
            pids = pidsOf(made.relay)
            with loggedLines() as lines:
                await made.service.stopService()
            assert not any(isAlive(each) for each in pids)
            assert [line for line in lines if "is killed" in line or "wrote" in line] == []
    finally:
        made.close()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process while it does not answer."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if isAlive(pid):
            os.kill(pid, signal.SIGCONT)


def test_bothKindsOfRelayAreRelays(reactor: Any) -> None:
    """A service, or a page, needs not know how many processes there are."""
    model = RelayModel.of([(["udp://:5000"], ["udp://10.0.0.1:5000"])])
    verifyObject(IRelay, Workers(reactor, model, 2))
    verifyObject(IRelay, Relay.of(reactor, model))


@pytest_twisted.ensureDeferred
async def test_theCountersAreThoseOfAllWorkers(reactor: Any) -> None:
    """What every worker relays is counted, and told route by route in their order."""
    async with running(reactor, routes=3) as run:
        assert len(pidsOf(run.relay)) == 2
        for route in (0, 1, 1, 2, 2, 2):
            run.send(route)
        for route in (0, 1, 2):
            await run.relayed(route)
        routes = await run.status()
        assert totals(routes) == [(1, 1), (2, 2), (3, 3)]
        counted = [[part.datagrams for part in parts] for _, parts in run.relay.counters()]
        assert counted == [[1, 1], [2, 2], [3, 3]]
        assert [each.input.state for each in routes] == [
            (f"listening on 127.0.0.1 port {port}",) for port in run.ports
        ]
        with loggedLines() as lines:
            await run.service.stopService()
        reported = [line for line in lines if line.startswith(("in, ", "out, "))]
        assert reported == [line for route in routes for line in route.report()]
        run.service.startService()  # for the end, and another time


@pytest_twisted.ensureDeferred
async def test_itCanBeStartedAgain(reactor: Any) -> None:
    """A stopped relay can be started again, with other processes, and goes on counting."""
    async with running(reactor) as run:
        run.send(0)
        await run.relayed(0)
        before = pidsOf(run.relay)
        await run.service.stopService()
        run.service.startService()
        assert not set(before) & set(pidsOf(run.relay))
        run.send(0)
        await run.relayed(0)
        assert totals(await run.status()) == [(2, 2), (0, 0)]


@pytest_twisted.ensureDeferred
async def test_aKilledWorkerIsStartedAgain(reactor: Any) -> None:
    """A worker that is killed is back soon; the stream of the other loses nothing meanwhile, and
    no total goes backward.
    """
    async with running(reactor) as run:
        for _ in range(5):
            run.send(0)
        await run.relayed(0)
        assert totals(await run.status())[0] == (5, 5)
        killed, other = pidsOf(run.relay)
        seen = [(0, 0)]
        with loggedLines() as lines:
            os.kill(killed, signal.SIGKILL)
            worker = run.relay.workers[0]
            while (
                worker.process is None or not worker.process.isReady or killed == worker.process.pid
            ):
                run.send(1)
                seen.append(totals(await run.status())[0])
                await deferLater(reactor, 0.002)
            run.send(1)
            await run.relayed(1)
        assert (
            f"worker 1 (process {killed}) was ended by SIGKILL; it is started again in 0.1 s; "
            f"it has the routes from udp://127.0.0.1:{run.ports[0]}" in lines
        )
        assert any(line.startswith("worker 1 is process ") for line in lines)
        assert pidsOf(run.relay)[1] == other
        assert seen == sorted(seen)
        # The new one has its routes open, and goes on counting.
        run.send(0)
        await run.listeners[0].take(6)
        assert totals(await run.status()) == [(6, 6), (run.sent[1], run.sent[1])]


@pytest_twisted.ensureDeferred
async def test_countersAreKeptWithoutBeingAskedFor(reactor: Any, monkeypatch: Any) -> None:
    """What a worker had counted at its last report, which it gives regularly, is still there when
    it has died without another word; the route then says why it stands still.
    """
    monkeypatch.setattr(workers, "COUNTING", 0.05)
    monkeypatch.setattr(Worker, "firstDelay", 60.0)
    async with running(reactor) as run:
        worker = run.relay.workers[0]
        run.send(0)
        await run.relayed(0)
        await until(reactor, lambda: worker.known[0].input.counters.datagrams)
        os.kill(pidsOf(run.relay)[0], signal.SIGSEGV)
        await until(reactor, lambda: worker.process is None)
        [route, _] = await run.status()
        assert totals([route]) == [(1, 1)]
        assert route.input.warnings == ("worker 1 is not running: it was ended by SIGSEGV",)
        assert route.report()[0].startswith(f"in, udp://127.0.0.1:{run.ports[0]}, closed: 1 ")


@pytest_twisted.ensureDeferred
async def test_aWorkerThatEndsByItselfSaysHowFarItCame(reactor: Any) -> None:
    """On SIGTERM, as systemd sends it to all of a service, a worker gives its last counters."""
    async with running(reactor) as run:
        run.send(0)
        await run.relayed(0)
        [pid, _] = pidsOf(run.relay)
        with loggedLines() as lines:
            os.kill(pid, signal.SIGTERM)
            await until(reactor, lambda: run.relay.workers[0].process is None)
        assert any("exited with status 0; it is started again" in line for line in lines)
        assert totals(await run.status())[0] == (1, 1)


@pytest_twisted.ensureDeferred
async def test_whoDoesNotAnswerHoldsNothingUp(reactor: Any, monkeypatch: Any) -> None:
    """A worker that does not answer delays a status for a moment only, and is killed in the end;
    the other's last counters are told nevertheless.
    """
    monkeypatch.setattr(supervisor, "ANSWERING", 0.1)
    monkeypatch.setattr(supervisor, "_LATE", 0.2)
    monkeypatch.setattr(workers, "COUNTING", 0.05)
    monkeypatch.setattr(workerprocess, "STOP_PATIENCE", 0.2)
    async with running(reactor) as run:
        [pid, _] = pidsOf(run.relay)
        with stopped(pid), loggedLines() as lines:
            run.send(1)
            await run.relayed(1)
            assert totals(await run.status()) == [(0, 0), (1, 1)]
            await until(
                reactor, lambda: any("its routes may stand still" in line for line in lines)
            )
            found = await run.status()
            assert totals(found) == [(0, 0), (1, 1)]
            assert "worker 1 has not answered" in found[0].input.warnings[0]
            assert [bool(each.input.state) for each in found] == [False, True]
            await run.service.stopService()
            assert "worker 1 did not end within 0.2 s and is killed" in lines
            assert sum(line.startswith("in, ") for line in lines) == 2
            assert not isAlive(pid)


@pytest_twisted.ensureDeferred
async def test_aWorkerThatHangsIsStartedAgain(reactor: Any, monkeypatch: Any) -> None:
    """One that stands still is killed after a while, and its successor relays and counts on."""
    monkeypatch.setattr(supervisor, "_LATE", 0.2)
    monkeypatch.setattr(Worker, "patience", 0.5)
    monkeypatch.setattr(workers, "COUNTING", 0.05)
    async with running(reactor) as run:
        run.send(0)
        await run.relayed(0)
        await run.status()
        pid = pidsOf(run.relay)[0]
        worker = run.relay.workers[0]
        with loggedLines() as lines:
            os.kill(pid, signal.SIGSTOP)
            await until(reactor, lambda: worker.starts == 2 and worker.isReady)
        assert (worker.hangs, isAlive(pid)) == (1, False)
        assert any("and is killed" in line for line in lines)
        assert not worker.isLate
        await until(reactor, lambda: worker.longestTurn > 0)
        run.send(0)
        await run.relayed(0)
        assert totals(await run.status())[0] == (2, 2)


@pytest_twisted.ensureDeferred
async def test_aWorkerThatCannotOpenItsRoutesAgainTriesOn(reactor: Any, monkeypatch: Any) -> None:
    """Where a port is taken meanwhile, or a right given up, the log says so, with what to do; as
    soon as the port is free again the worker has it.
    """
    monkeypatch.setattr(Worker, "longestDelay", 0.2)
    async with running(reactor) as run:
        worker = run.relay.workers[0]
        run.send(0)
        await run.relayed(0)
        await run.status()
        worker._user += 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, loggedLines() as lines:
            os.kill(pidsOf(run.relay)[0], signal.SIGKILL)
            await until(reactor, lambda: worker.process is None)
            sock.bind(("127.0.0.1", run.ports[0]))
            start = "worker 1 could not be started again: cannot bind to 127.0.0.1:"
            await until(reactor, lambda: sum(line.startswith(start) for line in lines) == 2)
            [line, *_] = [line for line in lines if line.startswith(start)]
            assert "Address already in use" in line
            assert "given up since: start the whole relay again" in line
            assert "CAP_NET_BIND_SERVICE" in line
        with loggedLines() as lines:
            await until(reactor, lambda: any("worker 1 is process" in line for line in lines))
        run.send(0)
        await run.relayed(0)
        assert totals(await run.status())[0] == (2, 2)


@pytest_twisted.ensureDeferred
async def test_itCanBeStoppedWhileAWorkerStarts(reactor: Any, monkeypatch: Any) -> None:
    """Stopping ends a worker that is just being started again, or is about to be."""
    async with running(reactor) as run:
        [worker, other] = run.relay.workers
        for each in pidsOf(run.relay):
            os.kill(each, signal.SIGKILL)
        monkeypatch.setattr(Worker, "firstDelay", 60.0)
        await until(reactor, lambda: worker.process is None and other.process is None)
        await until(reactor, lambda: worker.process is not None)
        assert worker.process is not None
        assert not worker.process.isReady


@pytest_twisted.ensureDeferred
async def test_junkOnThePipesDoesNoHarm(reactor: Any) -> None:
    """What a worker prints that is no message is logged, and so is what it is told; both go on."""
    async with running(reactor) as run:
        [pid, _] = pidsOf(run.relay)
        with loggedLines() as lines:
            for number in (0, 1):
                with open(f"/proc/{pid}/fd/{number}", "wb") as pipe:
                    pipe.write(b"Segment\xffation\n" + JUNK)
            await until(
                reactor, lambda: any(line.startswith("worker 1 wrote: []") for line in lines)
            )
            await until(
                reactor, lambda: any("says 2 bytes that are no message" in line for line in lines)
            )
        assert "worker 1 wrote: Segment\ufffdation" in lines
        run.send(0)
        await run.relayed(0)
        assert totals(await run.status())[0] == (1, 1)
        assert pidsOf(run.relay)[0] == pid


@pytest_twisted.ensureDeferred
async def test_aLineWithoutAnEndIsBounded(reactor: Any, monkeypatch: Any) -> None:
    """A worker that writes a line without an end is killed, and started again."""
    async with running(reactor) as run:
        [pid, _] = pidsOf(run.relay)
        monkeypatch.setattr(workerprocess.WorkerProcess, "MAX_LENGTH", 5000)
        with loggedLines() as lines:
            with open(f"/proc/{pid}/fd/1", "wb") as pipe:
                pipe.write(b"x" * 5001)
            await until(reactor, lambda: not isAlive(pid))
            monkeypatch.undo()
            await until(reactor, lambda: any("ended by SIGKILL" in line for line in lines))
        assert "worker 1 wrote a line of over 5,000 bytes and is killed" in lines


@pytest_twisted.ensureDeferred
async def test_whatAWorkerLogsIsLogged(reactor: Any) -> None:
    """A line that a worker logs appears here with its level and the number of the worker."""
    events: list[dict[str, Any]] = []
    model = RelayModel.of([(["udp://:5000"], ["udp://no.such.host.invalid:5000"])])
    relay = Workers(reactor, model, 2)
    told: Deferred[None] = Deferred()

    def observe(event: dict[str, Any]) -> None:
        if "cannot find the address of" in event.get("text", "") and not told.called:
            events.append(event)
            told.callback(None)

    Worker._log.observer.addObserver(observe)  # type: ignore[attr-defined]
    try:
        relay.openRelay()
        await told.addTimeout(SECONDS, reactor)
    finally:
        Worker._log.observer.removeObserver(observe)  # type: ignore[attr-defined]
        await relay.closeRelay()
    [event] = events
    assert event["log_level"].name == "warn"
    assert (
        event["log_system"] == "worker 1, txgroupsock.relay.carriers.udp.hostlookup.HostLookup#warn"
    )
    assert event["text"].startswith("cannot find the address of no.such.host.invalid: check")


@pytest_twisted.ensureDeferred
async def test_aMistakeInARouteIsAStartError(reactor: Any) -> None:
    """A route that cannot be opened raises the one line that it would without workers, and no
    process is left of any worker.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        model = RelayModel.of(
            [
                ([f"udp://127.0.0.1:{freePort()}"], ["udp://127.0.0.1:9"]),
                ([f"udp://127.0.0.1:{port}"], ["udp://127.0.0.1:9"]),
            ]
        )
        relay = Workers(reactor, model, 2)
        with pytest.raises(StartError) as alone:
            RelayService(reactor, Relay.of(reactor, model)).privilegedStartService()
        await deferLater(reactor, 0)  # the port that it did open is closed by then
        with pytest.raises(StartError) as caught:
            RelayService(reactor, relay).privilegedStartService()
    assert str(caught.value) == str(alone.value)
    assert f"cannot bind to 127.0.0.1:{port}: Address already in use" in str(caught.value)
    assert pidsOf(relay) == []


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("import no_such_module", "worker 1 ended before it was ready: ModuleNotFoundError: "),
        ("", "worker 1 ended before it was ready"),
        ("import time; time.sleep(60)", "worker processes did not open their routes within 0.5 s"),
    ],
)
def test_aWorkerThatCannotRunIsAnError(
    reactor: Any, monkeypatch: Any, program: str, problem: str
) -> None:
    """A worker that does not even run is an error that says what it printed last."""
    monkeypatch.setattr(workerprocess, "_PROGRAM", program)
    monkeypatch.setattr(workers, "START_PATIENCE", 0.5 if "sleep" in program else SECONDS)
    relay = Workers(reactor, RelayModel.of([(["udp://:5000"], ["udp://127.0.0.1:9"])]), 1)
    with pytest.raises(OSError, match=problem):
        relay.openRelay()


def test_aSystemWithoutProcessesIsAnError(reactor: Any, monkeypatch: Any) -> None:
    """Where no further process can be had, that is the error, and no descriptor is left open."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(reactor, "spawnProcess", refuse)
    relay = Workers(reactor, RelayModel.of([(["udp://:5000"], ["udp://127.0.0.1:9"])]), 1)
    with pytest.raises(BlockingIOError):
        relay.openRelay()


# How long to wait before the next one


class NoProcess:
    """A process that cannot be started, or dies at once."""

    pid = 4711
    isOnReactor = True
    problem = ""
    reactor = ""
    isReady = True

    def openRoutes(self, _: object) -> None:
        """See L{WorkerProcess}."""

    def runOn(self, _: object) -> None:
        """See L{WorkerProcess}."""

    def runRoutes(self) -> None:
        """See L{WorkerProcess}."""


class Mortal(Worker):
    """A worker without processes."""

    def __init__(self, clock: Clock) -> None:
        route = RouteModel.of(["udp://:5000"], ["udp://127.0.0.1:9"])
        super().__init__(clock, 1, Share((route,), (0,)))
        self.started: list[float] = []

    def _newProcess(self) -> Any:
        self.started.append(self._reactor.seconds())
        self.process = NoProcess()  # type: ignore[assignment]
        return self.process


def test_aWorkerThatKeepsDyingIsStartedMoreAndMoreSeldom() -> None:
    """It is started again after 0.1 s, then after twice as long each time, up to 30 s; once one
    has been up for a while, after 0.1 s again.
    """
    clock = Clock()
    worker = Mortal(clock)
    worker.begin()
    delays = []
    for _ in range(12):
        worker._readySince = clock.seconds()
        worker._ended("exited with status 1")
        before = len(worker.started)
        start = clock.seconds()
        while len(worker.started) == before:
            clock.advance(0.0125)  # of which floating point adds up any number exactly
        delays.append(round(clock.seconds() - start, 1))
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30]
    worker._readySince = clock.seconds()
    clock.advance(worker.steady)
    worker._ended("exited with status 1")
    before = len(worker.started)
    clock.advance(0.1)
    assert len(worker.started) == before + 1
