"""Datagrams are played at their times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from txgroupsock.primitives.run import Run
from txgroupsock.teststream.player import Player, TimedSource
from txgroupsock.teststream.stream import TestStream


class Heard:
    """What a player has given, and when."""

    def __init__(self, clock: Any) -> None:
        self.times: list[float] = []
        self.payloads: list[bytes] = []
        self.runs: list[int] = []
        self._clock = clock

    def __call__(self, run: Run) -> None:
        self.runs.append(len(run))
        for each in run:
            self.times.append(self._clock.seconds())
            self.payloads.append(bytes(each))


def advance(clock: Clock, seconds: float) -> None:
    """Let time pass, stopping at each delayed call, as a reactor that is never late would."""
    end = clock.seconds() + seconds
    while calls := [each for each in clock.getDelayedCalls() if each.getTime() <= end]:
        clock.advance(max(0.0, min(each.getTime() for each in calls) - clock.seconds()))
    clock.advance(end - clock.seconds())


def test_timesAreKept() -> None:
    """Each datagram is given at its time, counted from the start, and then it has ended."""
    clock = Clock()
    clock.advance(1000)
    heard = Heard(clock)
    times = [0.0, 0.25, 0.25, 1.5]
    source = TimedSource(iter([(each, b"%d" % number) for number, each in enumerate(times)]))
    player = Player(clock, source, heard)
    ended = player.start()
    advance(clock, 1.0)
    assert not ended.called
    advance(clock, 1.0)
    assert ended.called
    assert [each - 1000 for each in heard.times] == pytest.approx(times)
    assert heard.payloads == [b"0", b"1", b"2", b"3"]
    assert heard.runs == [1, 2, 1]
    assert (player.datagrams, player.bytes) == (4, 4)
    assert not clock.getDelayedCalls()


def test_aSpeedMakesItFaster() -> None:
    """At a speed of 10, ten seconds take one."""
    clock = Clock()
    heard = Heard(clock)
    player = Player(clock, TimedSource(iter([(0.0, b""), (5.0, b"a"), (10.0, b"b")])), heard, 10)
    player.start()
    advance(clock, 2.0)
    assert heard.times == pytest.approx([0, 0.5, 1.0])


def test_anHourKeepsItsTimes() -> None:
    """Over an hour of datagrams at uneven times, none is given more than a millisecond late."""
    clock = Clock()
    heard = Heard(clock)

    def recorded() -> Iterator[tuple[float, bytes]]:
        at = 0.0
        for number in range(36_000):
            yield at, b"%d" % number
            at += 0.1 * (1 + (number * 7919 % 100 - 50) / 100)

    expected = [at for at, _ in recorded()]
    assert expected[-1] == pytest.approx(3600, rel=0.01)
    player = Player(clock, TimedSource(recorded()), heard)
    ended = player.start()
    advance(clock, 4000)
    assert ended.called
    assert max(abs(a - b) for a, b in zip(heard.times, expected, strict=True)) < 0.001


def test_theRateOfATestStreamIsKept() -> None:
    """So many datagrams a second are given, evenly, in runs that grow with the rate."""
    for rate, most in ((100.0, 1), (200_000.0, 64)):
        clock = Clock()
        heard = Heard(clock)
        player = Player(clock, TestStream(rate, size=40), heard)
        player.start()
        advance(clock, 0.5)
        player.stop()
        assert len(heard.times) == pytest.approx(rate / 2, rel=0.01, abs=1)
        assert max(heard.runs) == most
        gaps = [b - a for a, b in zip(heard.times, heard.times[1:], strict=False)]
        assert max(gaps) < max(1.01 / rate, 0.0011)


def test_heldUpItCatchesUpWithoutABurst() -> None:
    """After a pause of a second, what is due goes at twice the pace, until it is on time again."""
    clock = Clock()
    heard = Heard(clock)
    player = Player(clock, TestStream(1000.0, size=40), heard)
    player.start()
    advance(clock, 1.0)
    before = len(heard.times)
    clock.advance(1.0)  # at one go: nothing is called meanwhile
    assert len(heard.times) - before <= 6
    advance(clock, 0.5)
    assert len(heard.times) - before == pytest.approx(1000, rel=0.1)
    advance(clock, 1.5)
    player.stop()
    assert len(heard.times) == pytest.approx(4000, rel=0.01)
    assert player.lateness.most == pytest.approx(1e9, rel=0.01)


@given(st.lists(st.integers(0, 5) | st.integers(1300, 1320), max_size=200))
def test_runsHoldWhatCame(sizes: list[int]) -> None:
    """Payloads of any sizes are given in order, cut where they were, at most 64 to a run."""
    payloads = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    source = TimedSource(iter([(0.0, each) for each in payloads]))
    taken: list[bytes] = []
    for data, size in source.take(0.0):
        run = Run(data, size, ("", 0), 0.0)
        assert len(run) <= 64
        assert len(data) <= 65507
        taken += [bytes(each) for each in run]
    assert taken == payloads
    assert source.nextAt is None


def test_whatASourceRaisesEndsIt() -> None:
    """An error of the source is that of the player, which gives nothing more."""
    clock = Clock()

    def failing() -> Iterator[tuple[float, bytes]]:
        yield 0.0, b"a"
        yield 1.0, b"b"
        raise OSError(5, "the disk is gone")

    heard = Heard(clock)
    failures: list[Any] = []
    Player(clock, TimedSource(failing()), heard).start().addErrback(failures.append)
    advance(clock, 5)
    assert failures[0].check(OSError)
    assert heard.payloads == [b"a"]
    assert not clock.getDelayedCalls()


def test_stoppedItGivesNothingMore() -> None:
    """To stop fires what start returned; to stop once more is no error."""
    clock = Clock()
    heard = Heard(clock)
    player = Player(clock, TestStream(), heard)
    ended = player.start()
    advance(clock, 0.1)
    player.stop()
    player.stop()
    before = len(heard.times)
    assert ended.called
    advance(clock, 1)
    assert len(heard.times) == before


@pytest_twisted.ensureDeferred
async def test_onTheReactorItIsLessThanAMillisecondLate(reactor: Any) -> None:
    """At the median, and than what the reactor calls at the same uneven times."""
    heard = Heard(reactor)
    times = [number * 0.01 + number % 7 * 0.001 for number in range(50)]
    late: list[float] = []

    def noteLateness(due: float) -> None:
        late.append(reactor.seconds() - due)

    for each in times:
        reactor.callLater(each, noteLateness, reactor.seconds() + each)
    player = Player(reactor, TimedSource(iter([(each, b"") for each in times])), heard)
    await player.start()
    assert len(heard.times) == 50
    assert 0 <= player.lateness.quantile(0.5) < 1e6 + 1e9 * sorted(late)[len(late) // 2]
