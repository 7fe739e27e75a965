"""A clock that nobody sets, beside a reactor whose clock is the time of day."""

from __future__ import annotations

import errno
import subprocess
import sys
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.base import ReactorBase
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.relay.support import loggedLines, until
from txgroupsock import GroupsockReactor
from txgroupsock.ports import clock as module
from txgroupsock.ports.clock import (
    LaterTicks,
    SteadyReactor,
    TimerTicks,
    exact,
    isSteady,
    makeSteady,
    steady,
    ticksOf,
    unwrapped,
)


@implementer(IReactorFDSet, IReactorTime)
class Stock(ReactorBase):
    """A reactor as Twisted has them, that does nothing by itself."""

    def installWaker(self) -> None:
        """Nobody wakes it up."""

    def addReader(self, reader: Any) -> None:
        """Nothing is watched."""

    addWriter = removeReader = removeWriter = addReader  # type: ignore[assignment]


@pytest.fixture(name="clock")
def fixtureClock(reactor: Any) -> Any:
    """A clock beside the running reactor."""
    return SteadyReactor(reactor)


def none() -> None:
    """In the place of a timer: there is none."""
    raise OSError(errno.EMFILE, "no descriptors")


def isIdle(clock: Any) -> bool:
    """Whether it has given everything back."""
    return clock._alarm is None and not clock._calls and clock._alive == 0


@pytest_twisted.ensureDeferred
async def test_callsAreMadeWhenTheyAreDue(clock: Any, reactor: Any) -> None:
    """They come in the order of their times, with their arguments; then nothing is held."""
    made: list[Any] = []
    began = clock.seconds()
    calls = {
        "c": clock.callLater(0.02, made.append, "c"),
        "a": clock.callLater(0, made.append, "a"),
        "b": clock.callLater(0.01, lambda *, word: made.append(word), word="b"),
    }
    times = {word: call.getTime() for word, call in calls.items()}  # as far apart as it may be
    await deferLater(clock, 0.03)
    assert made == sorted(times, key=times.__getitem__)
    assert clock.seconds() - began >= 0.03
    await until(reactor, lambda: isIdle(clock))


def test_aCallCanBeCancelled(clock: Any) -> None:
    """As Twisted's own can; with the last one everything is given back."""
    one, other = clock.callLater(60, print), clock.callLater(61, print)
    assert verifyObject(IDelayedCall, one)
    assert set(clock.getDelayedCalls()) >= {one, other}
    one.cancel()
    assert not one.active()
    assert one not in clock.getDelayedCalls()
    with pytest.raises(AlreadyCancelled):
        one.cancel()
    assert not isIdle(clock)
    other.cancel()
    assert isIdle(clock)


@pytest_twisted.ensureDeferred
async def test_aCallCanBeMoved(clock: Any, reactor: Any) -> None:
    """It is made once, at the time it was last given, be that sooner or later."""
    made: list[str] = []
    sooner = clock.callLater(60, made.append, "sooner")
    later = clock.callLater(0.001, made.append, "later")
    there = clock.callLater(0.001, made.append, "there and back")
    began = clock.seconds()
    sooner.reset(0.01)
    later.reset(0.02)
    there.delay(60)
    there.delay(-59.96)
    await deferLater(clock, 0.005)
    assert made == []
    await until(clock, lambda: len(made) == 3)
    assert clock.seconds() - began >= 0.04
    assert made == ["sooner", "later", "there and back"]
    with pytest.raises(AlreadyCalled):
        later.reset(1)
    await until(reactor, lambda: isIdle(clock))


@pytest_twisted.ensureDeferred
async def test_oneThatFailsHindersNoOther(clock: Any) -> None:
    """What a call raises is logged, and the next one is made."""
    made: list[str] = []
    clock.callLater(0, lambda: 1 / 0)
    clock.callLater(0, made.append, "next")
    with loggedLines() as lines:
        await until(clock, lambda: made)
    assert any("failed when its time had come" in line for line in lines)


@pytest_twisted.ensureDeferred
async def test_aCallMayTurnTheReactor(clock: Any, reactor: Any, reactorName: str) -> None:
    """Others are made meanwhile, also those that were due with it."""
    if reactorName in ("asyncio", "uvloop"):
        pytest.skip("an event loop of asyncio's cannot be turned from within")
    made: list[str] = []

    def turn() -> None:
        while len(made) < 2:
            reactor.iterate(0.01)
        made.append("first")

    clock.callLater(0, turn)
    clock.callLater(0, made.append, "second")
    clock.callLater(0.01, made.append, "third")
    await until(clock, lambda: len(made) == 3)
    assert made == ["second", "third", "first"]


@pytest_twisted.ensureDeferred
async def test_aLoopGoesOnByIt(clock: Any, reactor: Any) -> None:
    """A L{LoopingCall} may have it for its clock."""
    times: list[float] = []
    looping = LoopingCall(lambda: times.append(clock.seconds()))
    looping.clock = clock
    looping.start(0.005)
    await until(clock, lambda: len(times) >= 4)
    looping.stop()
    await until(reactor, lambda: isIdle(clock))


def test_whatIsCancelledIsForgotten(clock: Any) -> None:
    """Calls that are given up, or moved, again and again take no memory."""
    alive = clock.callLater(60, print)
    for _ in range(10_000):
        clock.callLater(30, print).cancel()
    for _ in range(10_000):
        alive.reset(alive.getTime() - clock.seconds() - 0.001)
    assert len(clock._calls) < 100
    alive.cancel()


@pytest_twisted.ensureDeferred
async def test_withoutDescriptorsTheReactorsOwnClockHasToDo(
    clock: Any, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no descriptor is left, calls are made all the same."""
    monkeypatch.setattr(module, "TimerDescriptor", none)
    made: list[str] = []
    clock.callLater(60, made.append, "never").reset(0)
    clock.callLater(0.01, made.append, "later")
    await until(clock, lambda: len(made) == 2)
    await until(reactor, lambda: isIdle(clock))


@pytest.mark.parametrize("delay", [-1, float("nan")])
def test_noTimeIsRefused(clock: Any, delay: float) -> None:
    """A delay is a number of seconds, 0 or more."""
    with pytest.raises(ValueError, match="not a number of seconds"):
        clock.callLater(delay, print)
    assert isIdle(clock)


def test_whatIsSteadyStaysAsItIs() -> None:
    """A test's clock is used as it is; what has the time of day gets another beside it, once."""
    for fake in (Clock(), MemoryReactorClock()):
        assert steady(fake) is exact(fake) is fake
    stock = Stock()
    assert not isSteady(stock)
    beside = steady(stock)
    assert isinstance(beside, SteadyReactor)
    assert beside.wrapped is stock
    assert steady(beside) is beside
    assert isinstance(exact(beside), SteadyReactor)
    assert IReactorFDSet.providedBy(beside)
    ours = GroupsockReactor(stock)
    assert not isSteady(ours)
    assert steady(ours) is steady(ours) is ours.steadied
    assert GroupsockReactor(ours.steadied).sharedByPorts is ours.sharedByPorts


def test_aReactorOfOursIsMadeSteady() -> None:
    """What was to be called keeps its distance, and can be moved; a second time changes nothing."""
    stock = Stock()
    before = stock.seconds()
    call, moved = stock.callLater(10, print), stock.callLater(10, print)
    makeSteady(stock)
    makeSteady(stock)
    assert isSteady(stock)
    assert steady(stock) is stock
    assert 0 <= stock.seconds() - before < 1, "it goes on"
    assert 9 < call.getTime() - stock.seconds() <= 10
    moved.reset(5)
    assert 4 < moved.getTime() - stock.seconds() <= 5
    assert 0 < (stock.timeout() or 0) <= 5


RUNNING = """
import sys
from importlib import import_module

import_module(f"twisted.internet.{sys.argv[1]}reactor").install()
from twisted.internet import reactor
from txgroupsock.ports.clock import isSteady, makeSteady

times = []

def again():
    times.append(reactor.seconds())
    if len(times) == 10:
        reactor.stop()
    else:
        reactor.callLater(0.01, again)

def begin():
    makeSteady(reactor)
    assert isSteady(reactor)
    again()

reactor.callLater(0, begin)
reactor.run()
assert times[9] - times[0] >= 0.09, times
"""


@pytest.mark.parametrize("name", ["select", "asyncio"])
def test_aReactorThatRunsIsMadeSteadyToo(name: str) -> None:
    """By a call that it makes: what is to be called later is, and nothing is due at once."""
    command = [sys.executable, "-W", "ignore", "-c", RUNNING, name]
    subprocess.run(command, check=True, timeout=30)


def test_aTestsClockIsNotMadeSteady() -> None:
    """It is left alone."""
    fake = Clock()
    makeSteady(fake)
    assert fake.seconds() == 0


@pytest.mark.parametrize("kind", ["beside", "without descriptors", "its own"])
@pytest_twisted.ensureDeferred
async def test_ticksGoOnUntilTheyAreStopped(
    clock: Any, reactor: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A tick follows another, the next one at once if that is asked for, and none after the end."""
    times: list[float] = []
    if kind == "without descriptors":
        monkeypatch.setattr(module, "TimerDescriptor", none)
    given = reactor if kind == "its own" else clock
    ticks = ticksOf(given, 0.002, lambda: times.append(given.seconds()))
    assert isinstance(ticks, TimerTicks if kind == "beside" else LaterTicks)
    began = given.seconds()
    await until(reactor, lambda: len(times) >= 5)
    assert times[4] - began >= 5 * 0.0019
    ticks.stop()
    ticks.stop()
    ticks.soon()
    count = len(times)
    await deferLater(reactor, 0.005)
    assert len(times) == count
    slow = ticksOf(given, 60, lambda: times.append(given.seconds()))
    slow.soon()
    await until(reactor, lambda: len(times) > count)
    slow.stop()
    await until(reactor, lambda: isIdle(clock))


def test_ticksOfAGroupsockReactorTakeItsTimer(reactor: Any) -> None:
    """What is around it does not matter."""
    ours = GroupsockReactor(SteadyReactor(reactor))
    ticks = ticksOf(ours, 60, print)
    assert isinstance(ticks, TimerTicks)
    assert unwrapped(ours) is reactor
    ticks.stop()
