"""Long work is divided among turns of the reactor, and is done once for all who want it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from txgroupsock.relay.turns import PIECE, Shared, TurnMeter, Turns, atOnce, inPieces


class Busy(Clock):
    """A clock that goes on by a millisecond whenever it is looked at."""

    def seconds(self) -> float:
        """See C{IReactorTime}."""
        self.rightNow += 0.001
        return float(super().seconds())


def test_allWorkTogetherHasSoMuchOfATurn() -> None:
    """Ten who work share one turn's time, and each gets on."""
    clock = Busy()
    turns = Turns(clock)
    done: list[int] = []

    async def work(number: int) -> None:
        async for _ in turns.each(range(20)):
            done.append(number)  # noqa: PERF401 - it is looked at meanwhile

    for number in range(10):
        Deferred.fromCoroutine(work(number))
    delayed: Any = clock.getDelayedCalls()[0]
    turn, most = delayed.func, 0
    while len(done) < 200:
        before = len(done)
        turn()
        most = max(most, len(done) - before)
    assert most <= 3
    assert sorted(done[:10]) == list(range(10))
    turns.stop()


def test_workIsMadeAPieceAtATime() -> None:
    """What is made of many things is made of a few in a turn; or at once by who does not mind."""
    clock = Busy()
    turns = Turns(clock)
    made: list[int] = []

    def make(thing: int) -> int:
        made.append(thing)
        return -thing

    expected = [-thing for thing in range(100)]
    assert atOnce(inPieces(make, range(100))) == expected
    made.clear()
    making = Deferred.fromCoroutine(turns.made(inPieces(make, range(100))))
    most = 0
    while not making.called:
        before = len(made)
        clock.getDelayedCalls()[0].func()  # type: ignore[attr-defined]
        most = max(most, len(made) - before)
    assert making.result == expected
    assert most <= 3 * PIECE
    turns.stop()


def test_whatManyAskForIsMadeOnce() -> None:
    """Those who ask while it is made get the same, and so do those soon after; an error, too."""
    clock, making, made = Clock(), list[Deferred[int]](), 0

    async def make() -> int:
        making.append(Deferred())
        return await making[-1]

    shared = Shared(clock, make)
    asked = [shared.get() for _ in range(40)]
    assert len(making) == 1
    clock.advance(0.5)
    making[0].callback(7)
    assert [each.result for each in asked] == [7] * 40
    clock.advance(0.4)
    assert shared.get().result == 7
    shared.forget()
    failing = [shared.get(), shared.get()]
    making[1].errback(ValueError("no"))
    for each in failing:
        each.addErrback(lambda failure: failure.trap(ValueError))
    shared.get()
    assert (len(making), made) == (3, 0)


def test_theLongestTurnIsKnownForAWhile() -> None:
    """By how much a timer came late is how long a turn took; it is forgotten after a while."""
    clock = Clock()
    meter = TurnMeter(clock)
    meter.start()
    clock.advance(0)
    clock.advance(0.05)
    clock.advance(0.35)
    assert round(meter.longest, 3) == 0.3
    for _ in range(3000):
        clock.advance(0.05)
    assert meter.longest < 0.01
    meter.stop()
    assert not clock.getDelayedCalls()
