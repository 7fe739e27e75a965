"""Work in threads that nobody waits for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from tests.relay.support import SECONDS
from txgroupsock.relay import threads
from txgroupsock.relay.threads import Threads, TookTooLong, TooMuchWaits, within


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What work waits for."""
    made = threading.Event()
    yield made
    made.set()


@pytest_twisted.ensureDeferred
async def test_whatIsDoneIsToldInTheReactorsThread(reactor: Any) -> None:
    """What it returns or raises; it was done in a thread that the process does not wait for."""
    here = threading.current_thread()
    worker = await Threads(reactor).run(threading.current_thread)
    assert worker is not here
    assert worker.daemon
    assert threading.current_thread() is here
    with pytest.raises(ZeroDivisionError):
        await Threads(reactor).run(lambda: 1 // 0)


@pytest_twisted.ensureDeferred
async def test_onlySoManyRunAtATime(reactor: Any, gate: threading.Event) -> None:
    """The others wait their turn."""
    pool = Threads(reactor, most=2)
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        gate.wait(SECONDS)
        return number

    done = [pool.run(partial(work, number)) for number in range(5)]
    while len(begun) < 2:
        await turned(reactor)
    assert set(begun) == {0, 1}
    gate.set()
    assert await gatherResults(done) == [0, 1, 2, 3, 4]


@pytest_twisted.ensureDeferred
async def test_whatIsCancelledIsNotBegun(reactor: Any, gate: threading.Event) -> None:
    """What has been begun goes on, and what comes of it is of no interest."""
    pool = Threads(reactor, most=1)
    begun: list[str] = []
    first = pool.run(lambda: gate.wait(SECONDS))
    second, third = pool.run(lambda: begun.append("second")), pool.run(lambda: begun.append("3"))
    for each in (first, second):
        each.cancel()
        with pytest.raises(CancelledError):
            await each
    gate.set()
    await third
    assert begun == ["3"]


@pytest_twisted.ensureDeferred
async def test_whatTakesTooLongIsGivenUp(
    reactor: Any, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asked is told so, whether it was begun or not, and others have its place, as long as not
    too much hangs; what comes of it later does not matter.
    """
    monkeypatch.setattr(threads, "_MOST_HANGING", 2)
    pool = Threads(reactor, most=1)
    for _ in range(2):
        with pytest.raises(TookTooLong, match=r"more than 0\.01 s; look for a disk that hangs"):
            await pool.run(lambda: gate.wait(SECONDS), 0.01)
        assert await pool.run(lambda: 7, SECONDS) == 7
    for work in (lambda: gate.wait(SECONDS), lambda: True):
        with pytest.raises(TookTooLong):
            await pool.run(work, 0.01)
    gate.set()
    assert await pool.run(lambda: 7, SECONDS) == 7
    assert not [
        each for each in reactor.getDelayedCalls() if each.getTime() > reactor.seconds() + 1
    ]


def test_withoutAReactorOneWaitsOnlySoLong(gate: threading.Event) -> None:
    """What it returns or raises is for who waits; what takes too long is given up."""
    assert within(SECONDS, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(SECONDS, lambda: 1 // 0)
    with pytest.raises(TookTooLong):
        within(0.01, lambda: gate.wait(SECONDS))


@pytest_twisted.ensureDeferred
async def test_withoutAThreadItFails(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that gives none, or too many that wait, is an error and not a silence."""

    def fail(_: object) -> None:
        raise RuntimeError("can't start new thread")

    pool = Threads(reactor)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="new thread"):
            await pool.run(print)
        patched.setattr(threads, "_MOST_WAITING", 0)
        with pytest.raises(TooMuchWaits):
            await pool.run(print)
    assert await pool.run(lambda: 7) == 7


def turned(reactor: Any) -> Deferred[None]:
    """Fires when the reactor has turned."""
    done: Deferred[None] = Deferred()
    reactor.callLater(0.001, done.callback, None)
    return done
