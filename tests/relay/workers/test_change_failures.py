"""Changes of routes in several processes that are refused, or during which something ends."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.relay.engine.test_change import NOWHERE, modelOf
from tests.relay.support import freePort, isAlive, loggedLines, send, until, url
from tests.relay.workers.test_change import HOST, SOMEWHERE, Stream, isFree, running, taken
from tests.relay.workers.test_relay import pidsOf, stopped
from txgroupsock.relay.workers import supervisor
from txgroupsock.relay.workers.relay import Workers
from txgroupsock.relay.workers.supervisor import Worker


def beforeCommitting(worker: Worker, act: Callable[[], object]) -> None:
    """Do something when all workers have agreed, and this one is about to be told."""
    commit = worker.commit

    def actAndCommit() -> Deferred[list[str]]:
        act()
        return commit()

    worker.commit = actAndCommit  # type: ignore[method-assign]


@pytest_twisted.ensureDeferred
async def test_aRefusedChangeLeavesAllWorkersAsTheyWere(reactor: Any) -> None:
    """If one worker cannot open what is new, no other has closed anything either, and what they
    have opened is closed.
    """
    async with running(reactor) as run:
        a, b, new = run.a, run.b, freePort()
        await a.flows()
        await b.flows()
        # The one worker is to open another input, and the other to open what it cannot.
        with taken() as port, pytest.raises(OSError, match=rf":{port}: Address already in use"):
            await run.changed(
                (url(HOST, new), [NOWHERE], "a"),
                b.to(NOWHERE),
                (url(HOST, port), [NOWHERE], "c"),
            )
        assert isFree(new)
        await a.flows()
        await b.flows()
        assert await run.totals() == {"a": (2, 2), "b": (2, 2)}
        # The same can be done when there is nothing in the way any more.
        assert await run.changed(a.route, b.route, (url(HOST, port), [NOWHERE], "c"))


@pytest_twisted.ensureDeferred
async def test_aWorkerThatDiesBeforeItHasAgreedUndoesTheChange(reactor: Any) -> None:
    """If it dies before it has said that it can, all is as before, and its successor has the old
    routes.
    """
    async with running(reactor) as run:
        a, b, new = run.a, run.b, freePort()
        [pid, other] = pidsOf(run.relay)
        os.kill(pid, signal.SIGSTOP)
        changing = run.relay.change(modelOf(a.to(NOWHERE), b.to(SOMEWHERE)))
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ConnectionError, match="worker 1 was ended by SIGKILL"):
            await changing
        with loggedLines() as lines:
            await until(reactor, lambda: any("worker 1 is process" in line for line in lines))
        await a.flows()
        await b.flows()
        assert [len(parts) for _, parts in run.relay.counters()] == [2, 2]
        assert pidsOf(run.relay)[1] == other
        assert await run.changed(a.route, (url(HOST, new), [NOWHERE], "b")) == (
            "1 unchanged, 1 changed"
        )


@pytest.mark.parametrize("number", [1, 2])
@pytest_twisted.ensureDeferred
async def test_aWorkerThatDiesOnceAllHaveAgreedIsFollowedByTheNewRoutes(
    reactor: Any, number: int
) -> None:
    """If it dies when the change is decided, its successor has the new routes, and counts on."""
    async with running(reactor) as run:
        a, b = run.a, run.b
        await a.flows()
        await b.flows()
        await run.totals()
        worker = run.relay.workers[number - 1]
        pid = pidsOf(run.relay)[number - 1]
        beforeCommitting(worker, lambda: os.kill(pid, signal.SIGKILL))
        with loggedLines() as lines:
            outcome = await run.changed(b.to(NOWHERE), a.to(SOMEWHERE))
            assert outcome == "2 changed"
            await until(
                reactor, lambda: any(f"worker {number} is process" in line for line in lines)
            )
        await a.flows()
        await b.flows()
        assert [len(parts) for _, parts in run.relay.counters()] == [3, 3]
        status = await run.relay.status()
        assert [each.name for each in status] == ["b", "a"]
        assert [[end.counters.datagrams for end in each.ends] for each in status] == [[2, 1, 2]] * 2


@pytest_twisted.ensureDeferred
async def test_aWorkerThatDiesBetweenIsFollowedByWhatIsDecided(reactor: Any) -> None:
    """One that has agreed, and is gone when the others have, is started with what is decided: the
    new routes here, for the others have agreed too.
    """
    async with running(reactor) as run:
        a, b = run.a, run.b
        [first, second] = pidsOf(run.relay)
        with stopped(second):
            changing = run.relay.change(modelOf(a.to(NOWHERE), b.to(NOWHERE)))
            worker = run.relay.workers[0]
            await until(reactor, lambda: worker._isAsked and not worker.process._answers)  # type: ignore[union-attr]
            os.kill(first, signal.SIGKILL)
            await until(reactor, lambda: worker.process is None)
            assert run.relay._changing.locked
        with loggedLines() as lines:
            assert str(await changing) == "2 changed"
            await until(reactor, lambda: any("worker 1 is process" in line for line in lines))
        await a.flows()
        assert [len(parts) for _, parts in run.relay.counters()] == [3, 3]


@pytest_twisted.ensureDeferred
async def test_aWorkerThatCannotStartIsMendedByAChange(reactor: Any) -> None:
    """A worker whose port is taken while it is down gets another by a change, and starts."""
    async with running(reactor) as run:
        a, b = run.a, run.b
        await a.flows()
        await run.totals()
        worker = run.relay.workers[0]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, loggedLines() as lines:
            os.kill(pidsOf(run.relay)[0], signal.SIGKILL)
            await until(reactor, lambda: worker.process is None)
            sock.bind((HOST, a.port))
            await until(reactor, lambda: any("could not be started again" in e for e in lines))
            a.port = freePort()
            moved = (url(HOST, a.port), a.route[1], "a")
            assert await run.changed(moved, b.route) == "1 unchanged, 1 changed"
            await until(reactor, lambda: worker.process is not None and worker.process.isReady)
            await a.flows()
        assert await run.totals() == {"a": (2, 2), "b": (0, 0)}


@pytest_twisted.ensureDeferred
async def test_aWorkerThatDoesNotAnswerRefusesTheChange(reactor: Any, monkeypatch: Any) -> None:
    """A change waits for a worker only so long; when that goes on it is as it was, too."""
    monkeypatch.setattr(supervisor, "CHANGING", 0.2)
    monkeypatch.setattr(supervisor, "ANSWERING", 0.2)
    async with running(reactor) as run:
        a, b, new = run.a, run.b, freePort()
        with stopped(pidsOf(run.relay)[0]):
            with pytest.raises(TimeoutError, match=r"worker 1 has not answered for 0\.2 s"):
                await run.changed((url(HOST, new), a.route[1], "a"), b.to(NOWHERE))
            await b.flows()
        monkeypatch.undo()
        await a.flows()
        assert await run.totals() == {"a": (1, 1), "b": (1, 1)}  # after what it was told before
        await until(reactor, lambda: isFree(new))
        assert await run.changed(a.to(NOWHERE), b.to(NOWHERE)) == "2 changed"
        await a.flows()


@pytest_twisted.ensureDeferred
async def test_noMoreProcessesIsARefusal(reactor: Any, monkeypatch: Any) -> None:
    """Where the system has no more processes, a change that needs one is refused."""
    a, b = (Stream(reactor, each) for each in "ab")
    relay = Workers(reactor, modelOf(a.route), 2)
    with a.listener, b.listener:
        relay.openRelay()
        try:
            with monkeypatch.context() as patch:
                patch.setattr(Worker, "start", _noProcess)
                with pytest.raises(BlockingIOError):
                    await relay.change(modelOf(a.route, b.route))
            await a.flows()
            assert str(await relay.change(modelOf(a.route, b.route))) == "1 unchanged, 1 opened"
        finally:
            await relay.closeRelay()


def _noProcess(_: Worker) -> None:
    raise BlockingIOError("no more processes")


@pytest_twisted.ensureDeferred
async def test_whatOneWorkerAloneCouldDoIsRefused(reactor: Any) -> None:
    """Where routes of two workers would get the same unicast input, the error says so; a group
    they may both receive.
    """
    async with running(reactor) as run:
        a, b, port = run.a, run.b, freePort()
        one = (a.route[0], b.route[1], "b")
        with pytest.raises(RuntimeError, match="the routes a and b would both receive"):
            await run.changed(a.route, one)
        await a.flows()
        await b.flows()
        group = f"udp://239.7.6.9:{port}?interface=lo"
        assert await run.changed((group, a.route[1], "a"), (group, b.route[1], "b")) == "2 changed"
        for number in range(2, 5):
            send(b"%d" % number, "239.7.6.9", port)
            for each in (a, b):
                assert (await each.listener.payloads(number))[-1] == b"%d" % number


@pytest.mark.parametrize("isAgreed", [False, True], ids=["asking", "committing"])
@pytest_twisted.ensureDeferred
async def test_itCanBeClosedWhileItChanges(reactor: Any, isAgreed: bool) -> None:
    """Closing gives back what was open and what was being opened; the change fails, or was made."""
    async with running(reactor) as run:
        await run.a.flows()
        new, closing = freePort(), []
        changing = run.relay.change(
            modelOf(run.b.to(NOWHERE), (url(HOST, new), [NOWHERE]), run.a.to(NOWHERE))
        )
        if isAgreed:
            last = run.relay.workers[1]
            told = Deferred[None]()
            commit = last.commit

            def commitAndClose() -> Deferred[list[str]]:
                committed = commit()
                closing.append(run.relay.closeRelay())
                told.callback(None)
                return committed

            last.commit = commitAndClose  # type: ignore[method-assign]
            await told
            assert str(await changing) == "2 changed, 1 opened"
        else:
            closing.append(run.relay.closeRelay())
            with pytest.raises(RuntimeError, match="not open"):
                await changing
        names = [each.name for each in await closing[0]]
        assert names == (["b", url(HOST, new), "a"] if isAgreed else ["a", "b"])
        assert isFree(new)
        assert isFree(run.a.port)
        with pytest.raises(RuntimeError, match="not open"):
            await run.relay.change(modelOf())


@pytest_twisted.ensureDeferred
async def test_itCanBeClosedWhileAWorkerIsStarted(reactor: Any) -> None:
    """A worker that is being started for a change, which is closed and given up, ends for both."""
    a, b = (Stream(reactor, each) for each in "ab")
    relay = Workers(reactor, modelOf(a.route), 2)
    with a.listener, b.listener:
        relay.openRelay()
        changing = relay.change(modelOf(a.route, b.route))
        pids = pidsOf(relay)
        assert len(pids) == 2
        [_, second] = relay.workers
        ended: list[Deferred[Any]] = [second.stop(), relay.closeRelay(), second.stop()]
        with pytest.raises(RuntimeError, match="not open"):
            await changing
        assert [len(await each) for each in ended] == [0, 1, 0]
        assert not any(isAlive(each) for each in pids)


@pytest_twisted.ensureDeferred
async def test_aWorkerThatFailsToGoOverIsKilled(reactor: Any) -> None:
    """If a worker cannot do what it has agreed to, nobody knows what it relays: its successor has
    the new routes.
    """
    async with running(reactor) as run:
        [worker, _] = run.relay.workers
        assert worker.process is not None
        process = worker.process

        def refuse() -> None:
            process.commitChange = _failing  # type: ignore[method-assign]

        beforeCommitting(worker, refuse)
        with loggedLines() as lines:
            await run.changed(run.a.to(NOWHERE), run.b.route)
            await until(reactor, lambda: any("worker 1 is process" in line for line in lines))
        assert "worker 1 could not go over to its new routes and is killed: odd" in lines
        await run.a.flows()
        assert [len(parts) for _, parts in run.relay.counters()] == [3, 2]


def _failing() -> Deferred[list[str]]:
    failing: Deferred[list[str]] = Deferred()
    failing.errback(OSError("odd"))
    return failing
