"""Loops through other relays, simulated, and one with sockets."""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.relay.loops import RELAY, SOURCE, Sender, Simulation, Way, runsOf
from tests.relay.support import loggedLines
from txgroupsock.primitives.run import Run
from txgroupsock.relay.echo import EchoGuard
from txgroupsock.relay.trial import Backlog

Send = Callable[[int], Iterable[tuple[Sender, bytes]]]
OTHER_RELAY: Sender = ("10.0.0.3", 40001)
NULL = b"\xff" * 188


def stream(every: int = 1, count: int = 1, sender: Sender = SOURCE) -> Send:
    """So many datagrams, all different, every so many milliseconds."""

    def send(number: int) -> list[tuple[Sender, bytes]]:
        if number % every:
            return []
        return [(sender, f"{sender} {number} {index}".encode()) for index in range(count)]

    return send


def constant(every: int = 1, sender: Sender = SOURCE, content: bytes = NULL) -> Send:
    """The same datagram every so many milliseconds."""
    return lambda number: [] if number % every else [(sender, content)]


def together(*sends: Send) -> Send:
    """All that several send."""
    return lambda number: [each for send in sends for each in send(number)]


def host(number: int) -> Sender:
    """One of many hosts."""
    return (f"10.1.0.{number}", 8125)


# --- Loops ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ways", "send"),
    [
        pytest.param([Way()], stream(), id="a stream"),
        pytest.param([Way()], stream(count=20), id="saturated"),
        pytest.param([Way(delay=0.02, room=5000)], stream(count=20), id="saturated and slow"),
        pytest.param([Way(jitter=0.001)], stream(), id="jitter"),
        pytest.param([Way(delay=0.1)], stream(), id="a long way"),
        pytest.param([Way(delay=0.02)], stream(every=100), id="ten a second"),
        pytest.param([Way(loss=0.1)], stream(), id="loss"),
        pytest.param([Way(), Way(OTHER_RELAY, delay=0.003)], stream(), id="two relays"),
        pytest.param([Way(), Way(delay=0.003)], stream(), id="a relay that sends twice"),
        pytest.param(
            [Way(delay=0.003)],
            together(stream(), stream(count=3, sender=host(1))),
            id="several sources",
        ),
        pytest.param(
            [Way(delay=0.003)],
            together(stream(), constant(every=2)),
            id="a stream with null packets",
        ),
    ],
)
def test_aLoopIsStopped(ways: list[Way], send: Send) -> None:
    """A loop is stopped within about two seconds; from then on all that true senders send is
    relayed, once, and each relay that is part of the loop is named.
    """
    simulation = Simulation([*map(copyOf, ways)])
    with loggedLines() as lines:
        simulation.run(3, send)
        assert set(simulation.guard.echoes) == {way.sender for way in ways}
        sent, relayed = len(simulation.sent), len(simulation.relayed)
        simulation.run(5, send)
    after = simulation.relayed[relayed:]
    assert [(sender, data) for _, sender, data in after] == simulation.sent[sent:]
    assert len([line for line in lines if "comes back to it from" in line]) == len(
        {way.sender for way in ways}
    )
    assertAllCounted(simulation)
    simulation.guard.close()


def copyOf(way: Way) -> Way:
    """A way of its own for each run of a test."""
    return Way(way.sender, way.delay, way.jitter, way.loss, way.rate, way.room)


def assertAllCounted(simulation: Simulation) -> None:
    """What arrived was relayed or counted as dropped, but for what is held."""
    held = sum(map(len, simulation.guard._backlog._runs))
    dropped = simulation.counters.dropped["loop"]
    assert simulation.arrived == len(simulation.relayed) + dropped + held


@pytest.mark.parametrize("delay", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("every", [1, 20])
def test_aLoopOfOneContentIsStopped(delay: float, every: int) -> None:
    """A loop is found even if all datagrams are equal: each true one is relayed once."""
    simulation = Simulation([Way(delay=delay)])
    simulation.run(5, constant(every=every))
    assert simulation.guard.echoes == [RELAY]
    sent, relayed = len(simulation.sent), len(simulation.relayed)
    simulation.run(5, constant(every=every))
    assert len(simulation.relayed) - relayed == len(simulation.sent) - sent
    simulation.guard.close()


def test_aLoopWithHeavyLossIsStoppedInTime() -> None:
    """Where a third gets lost, a loop may take a few seconds to be found, or a second trial."""
    simulation = Simulation([Way(delay=0.005, loss=0.3)])
    simulation.run(15, stream())
    assert simulation.guard.echoes == [RELAY]
    simulation.guard.close()


def test_rareDatagramsAreStoppedTooInTime() -> None:
    """One datagram a second goes round as often as any; it takes a few seconds to see that."""
    simulation = Simulation([Way(delay=0.005)])
    simulation.run(6, stream(every=1000))
    assert simulation.guard.echoes == [RELAY]
    simulation.guard.close()


def test_aLoopThatBeginsLaterIsStopped() -> None:
    """After any time without a loop, one is stopped as fast."""
    simulation = Simulation([Way(isOpen=False)])
    simulation.run(20, stream())
    simulation.ways[0].isOpen = True
    simulation.run(2.5, stream())
    assert simulation.guard.echoes == [RELAY]
    simulation.guard.close()


def test_aLoopIsOverWhenNothingComesBack() -> None:
    """Ten seconds after the last copy the state ends, with its memory and timer, and the log
    has how it began, a line in ten seconds, and the end.
    """
    simulation = Simulation([Way()])
    with loggedLines() as lines:
        simulation.run(30, stream())
        simulation.ways[0].isOpen = False
        simulation.run(9, stream())
        assert simulation.guard.echoes == [RELAY]
        simulation.run(3, stream())
    assert simulation.guard.echoes == []
    assert simulation.guard._relayed is None
    assert not simulation.clock.getDelayedCalls()
    assert simulation.guard._only == SOURCE
    assert len(lines) == 2 + 3
    assert lines[0].startswith(
        "loop: what input receives and relays comes back to it from 10.0.0.2"
    )
    assert all("more datagrams that came back" in line for line in lines[1:-1])
    dropped = simulation.counters.dropped["loop"]
    assert lines[-1].endswith(f"since nothing came back for a while ({dropped:,} were dropped)")


def test_whatIsNewFromTheOtherRelayPasses() -> None:
    """Between two sites, a relay that sends our datagrams back also brings the other site's, and
    those are relayed, in order, none lost and from then on each once.
    """
    simulation = Simulation([Way(delay=0.005)])
    there = together(stream(), stream(sender=RELAY, count=2))
    simulation.run(3, there)
    assert simulation.guard.echoes == [RELAY]
    sent, relayed = len(simulation.sent), len(simulation.relayed)
    simulation.run(3, there)
    simulation.ways[0].isOpen = False
    simulation.run(0.1)
    assert simulation.copies().keys() == {data for _, data in simulation.sent}
    after = [data for _, sender, data in simulation.relayed[relayed:] if sender == RELAY]
    assert after == [data for sender, data in simulation.sent[sent:] if sender == RELAY]
    simulation.guard.close()


# --- What is no loop -----------------------------------------------------------------------------


def assertHarmless(simulation: Simulation) -> None:
    """Everything was relayed once, each sender's in order, and nobody was accused."""
    assert simulation.counters.dropped.total() == 0
    assert len(simulation.relayed) == len(simulation.sent)
    for sender in {sender for sender, _ in simulation.sent}:
        assert simulation.of(sender) == simulation.sentBy(sender)


def atRandom(senders: int, contents: int, rate: float, chance: random.Random) -> Send:
    """Hosts that send some contents at random, so many in a second each."""

    def send(_: int) -> list[tuple[Sender, bytes]]:
        return [
            (host(number), b"count%d:1|c" % chance.randrange(contents))
            for number in range(senders)
            if chance.random() < rate / 1000
        ]

    return send


@pytest.mark.parametrize("contents", [1, 3, 10])
@pytest.mark.parametrize(("senders", "rate"), [(2, 10), (2, 200), (50, 2), (50, 20)])
def test_equalDatagramsOfManyAreRelayed(senders: int, rate: float, contents: int) -> None:
    """Hosts that count the same things (statsd) send equal datagrams, and all are relayed."""
    simulation = Simulation()
    simulation.run(20, atRandom(senders, contents, rate, simulation.chance))
    simulation.run(3)
    assertHarmless(simulation)


@given(
    periods=st.lists(st.integers(3, 500), min_size=2, max_size=6),
    contents=st.integers(1, 10),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25)
def test_regularDatagramsAreRelayed(periods: list[int], contents: int, seed: int) -> None:
    """Heartbeats of any periods, equal or not, are all relayed."""
    counts: Counter[int] = Counter()

    def send(now: int) -> list[tuple[Sender, bytes]]:
        due = [number for number, period in enumerate(periods) if now % period == 0]
        counts.update(due)
        return [(host(each), b"beat%d" % (counts[each] % contents)) for each in due]

    simulation = Simulation(seed=seed)
    simulation.run(10, send)
    simulation.run(3)
    assertHarmless(simulation)


@pytest.mark.parametrize("lag", [0, 1, 10, 100])
@pytest.mark.parametrize("nulls", [0, 0.3, 0.9, 1])
def test_redundantSendersAreRelayed(lag: int, nulls: float) -> None:
    """Two hosts that send the same stream, one behind the other, are both relayed; so they are
    if some of it, or all, are null packets.
    """

    @functools.cache
    def payload(number: int) -> bytes:
        return NULL if random.Random(number).random() < nulls else b"%d" % number

    simulation = Simulation()
    simulation.run(10, lambda now: [(SOURCE, payload(now)), (host(1), payload(max(0, now - lag)))])
    simulation.run(3)
    assertHarmless(simulation)


def test_aBurstIsOnlyDelayed() -> None:
    """A host that repeats what another sent, a lot and then no more, gets all of it relayed."""
    simulation = Simulation()

    def send(now: int) -> list[tuple[Sender, bytes]]:
        repeated = [(host(1), b"%d" % (now // 100))] * 3 if now < 700 else []
        return [(SOURCE, b"%d" % (now // 100)), *repeated] if now % 20 == 0 else []

    simulation.run(10, send)
    assertHarmless(simulation)
    assert host(1) in simulation.guard._trusted


def test_anInnocentSenderIsNotSuspectedAgainSoon() -> None:
    """Who was found innocent is left alone, each time for twice as long; and what he sent in
    trial is relayed within a second or so.
    """
    simulation = Simulation()
    trials = []
    late: list[float] = []

    def send(now: int) -> Iterable[tuple[Sender, bytes]]:
        if simulation.guard._trial is not None and simulation.guard._trial not in trials:
            trials.append(simulation.guard._trial)
            late.append(now / 1000)
        return together(constant(every=500), constant(every=30, sender=host(1)))(now)

    simulation.run(60, send)
    gaps = [after - before for before, after in pairwise(late)]
    assert 2 <= len([gap for gap in gaps if gap > 4]) <= 5
    simulation.run(3)
    assertHarmless(simulation)


def test_aFastStreamIsNotHeldForLong() -> None:
    """When more is held than there is room for, all of it is relayed at once, in order."""
    simulation = Simulation()
    simulation.guard._backlog.most = 100_000  # type: ignore[misc]
    send = together(constant(every=100), constant(every=1, sender=host(1)))
    simulation.run(2, send)
    assert simulation.guard._backlog.size <= 100_500
    simulation.run(3)
    assertHarmless(simulation)


def test_anEchoThatIsNoneIsAcquitted() -> None:
    """Should a sender be taken for an echo by mistake, that ends as soon as it sends more than
    was relayed to it.
    """
    simulation = Simulation()
    send = together(constant(every=200), constant(every=10, sender=host(1)))
    while simulation.guard._trial is None:
        simulation.run(0.1, send)
    with loggedLines() as lines:
        simulation.guard._finish([host(1)])
        simulation.run(5, send)
    assert simulation.guard.echoes == []
    assert "it sends more than was relayed to it, so this is no loop" in lines[-1]
    simulation.guard.close()


def test_oneSenderCostsNothing() -> None:
    """While one sender sends, nothing is copied, remembered or timed."""
    simulation = Simulation()
    simulation.run(1, stream())
    guard = simulation.guard
    assert guard._only == SOURCE
    baits = list(guard._watch._baits)
    simulation.run(5, stream(count=10))
    assert list(guard._watch._baits) == baits
    assert not simulation.clock.getDelayedCalls()


def test_baitsAreFew() -> None:
    """However much arrives, five datagrams a second are copied to compare others with."""
    simulation = Simulation()
    watch = simulation.guard._watch
    taken: set[float] = set()

    def send(_: int) -> list[tuple[Sender, bytes]]:
        taken.update(bait.taken for bait in watch._baits)
        return [(SOURCE, b"a"), (host(1), b"b")] * 10

    simulation.run(1.9, send)
    assert len(taken) <= 11


def test_aClockThatIsSetBackBlindsNothing() -> None:
    """Baits are taken in time again after the clock has been set back."""
    simulation = Simulation()
    simulation.run(1, together(stream(), stream(sender=host(1))))
    simulation.clock.rightNow -= 3600
    simulation.ways = [Way()]
    simulation.run(3, together(stream(), stream(sender=host(1))))
    assert simulation.guard.echoes == [RELAY]
    simulation.guard.close()


@pytest.mark.parametrize("copies", [1, 3])
def test_madeUpSendersNeedNoMemory(copies: int) -> None:
    """Any number of made-up senders takes no more than a bounded amount of memory."""
    simulation = Simulation()
    guard = simulation.guard
    for _ in range(20):
        simulation.run(
            0.1,
            lambda now: [
                ((f"10.1.{now}.{index}", 1), b"x") for index in range(50) for _ in range(copies)
            ],
        )
        assert len(guard._watch._seen) <= guard._watch.mostSenders
        assert all(len(bait.copies) <= guard._watch.mostSenders for bait in guard._watch._baits)
        assert len(guard._trusted) <= EchoGuard.mostTrusted
        assert len(guard._held) <= 10 * guard._watch.mostSenders
    simulation.run(3)
    assert Counter(simulation.sent) == Counter(
        (sender, data) for _, sender, data in simulation.relayed
    )


def test_closingPassesOnWhatIsHeld() -> None:
    """When an input closes in the middle of a trial, what is held is relayed, and no timer is
    left.
    """
    simulation = Simulation([Way(delay=0.01)])
    while simulation.guard._trial is None or not len(simulation.guard._backlog):
        simulation.run(0.02, stream())
    simulation.guard.close()
    simulation.guard.close()
    assert not simulation.clock.getDelayedCalls()
    assert len(simulation.relayed) == simulation.arrived


def test_whatRaisesStopsNothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """If what it forwards to fails while held runs are relayed, the others still are, in time."""
    simulation = Simulation()
    guard = simulation.guard
    send = together(constant(every=100), constant(every=10, sender=host(1)))
    while guard._trial is None:
        simulation.run(0.05, send)
    failures = 0

    def fail(run: Run) -> None:
        nonlocal failures
        failures += 1
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(guard, "_forward", fail)
    while guard._held:
        try:
            simulation.clock.advance(0.005)
        except RuntimeError:
            assert failures
    assert failures >= 3
    assert not len(guard._backlog)
    guard.close()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([SOURCE, RELAY, OTHER_RELAY]),
            st.sampled_from([b"", b"a", b"b", b"cc"]),
            st.sampled_from([0.0, 0.001, 0.1, 0.5, 3.0]),
        ),
        max_size=200,
    )
)
def test_nothingIsLostWithoutALoop(sent: list[tuple[Sender, bytes, float]]) -> None:
    """Whatever arrives, from whom and when: if nothing goes round, each sender's datagrams are
    all relayed, in order, or were relayed lately.
    """
    simulation = Simulation()
    for sender, data, pause in sent:
        simulation.clock.pump([0.005] * round(pause / 0.005))
        now = simulation.clock.seconds()
        for run in runsOf([(sender, data)], now):
            simulation.guard.admit(run)
    simulation.guard.close()
    dropped = simulation.counters.dropped["loop"]
    assert len(simulation.relayed) + dropped == len(sent)
    if not dropped:
        for sender in (SOURCE, RELAY, OTHER_RELAY):
            assert simulation.of(sender) == [data for each, data, _ in sent if each == sender]


def test_aBacklogIsOrderedAndCounted() -> None:
    """Runs come out of a backlog as they went in, copied, and its size with them."""
    backlog = Backlog()
    data = bytearray(b"abc")
    backlog.append(Run(memoryview(data), 1, SOURCE, 0.0))
    data[:] = b"xyz"
    backlog.append(Run(memoryview(data), 1, SOURCE, 1.0))
    assert len(backlog) == 2
    assert [bytes(run.data) for run in backlog.first(5)] == [b"abc", b"xyz"]
    assert [bytes(backlog.pop().data) for _ in range(2)] == [b"abc", b"xyz"]
    assert backlog.size == 0
