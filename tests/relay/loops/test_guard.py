"""Loops through other relays, simulated, and one with sockets."""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.relay.loops.simulation import RELAY, SOURCE, Sender, Simulation, Way, runsOf
from tests.relay.support import loggedLines
from txgroupsock.primitives.run import Run
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.loops.guard import Crowd, EchoGuard

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
        pytest.param([Way(rate=50)], stream(count=10), id="saturated"),
        pytest.param(
            [Way(delay=0.02, rate=50, room=2000)], stream(count=10), id="saturated and slow"
        ),
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
    """A loop is stopped within a few seconds; from then on all that true senders send is relayed,
    once, and each relay that is part of the loop is named.
    """
    simulation = Simulation([*map(copyOf, ways)], capacity=80)
    with loggedLines() as lines:
        simulation.run(4, send)
        assert set(simulation.guard.echoes) == {way.sender for way in ways}
        sent, relayed = len(simulation.sent), len(simulation.relayed)
        simulation.run(2, send)
    after = simulation.relayed[relayed:]
    assert [(sender, data) for _, sender, data in after] == simulation.sent[sent:]
    assert len([line for line in lines if "comes back to it from" in line]) == len(
        {way.sender for way in ways}
    )
    assertAllCounted(simulation)


def copyOf(way: Way) -> Way:
    """A way of its own for each run of a test."""
    return Way(way.sender, way.delay, way.jitter, way.loss, way.rate, way.room)


def assertAllCounted(simulation: Simulation) -> None:
    """What arrived was relayed or counted as dropped."""
    dropped = simulation.counters.dropped["loop"]
    assert simulation.arrived == len(simulation.relayed) + dropped


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


def test_aLoopWithHeavyLossIsStoppedInTime() -> None:
    """Where a third gets lost, a loop may take some seconds to be found."""
    simulation = Simulation([Way(delay=0.005, loss=0.3)])
    simulation.run(15, stream())
    assert simulation.guard.echoes == [RELAY]


def test_rareDatagramsAreStoppedTooInTime() -> None:
    """One datagram a second goes round as often as any; it takes a few seconds to see that."""
    simulation = Simulation([Way(delay=0.005)])
    simulation.run(6, stream(every=1000))
    assert simulation.guard.echoes == [RELAY]


def test_aLoopThatBeginsLaterIsStopped() -> None:
    """After any time without a loop, one is stopped as fast."""
    simulation = Simulation([Way(isOpen=False)])
    simulation.run(20, stream())
    simulation.ways[0].isOpen = True
    simulation.run(2.5, stream())
    assert simulation.guard.echoes == [RELAY]


def test_aLoopIsOverWhenNothingComesBack() -> None:
    """Ten seconds after the last copy the state ends, and with the next minute its memory; the
    log has how it began, a line in ten seconds, and the end.
    """
    simulation = Simulation([Way()])
    with loggedLines() as lines:
        simulation.run(30, stream(every=10))
        simulation.ways[0].isOpen = False
        simulation.run(9, stream(every=10))
        assert simulation.guard.echoes == [RELAY]
        simulation.run(3, stream(every=10))
    assert simulation.guard.echoes == []
    assert len(lines) == 2 + 3
    assert lines[0].startswith(
        "loop: what input receives and relays comes back to it from 10.0.0.2"
    )
    assert all("more datagrams that came back" in line for line in lines[1:-1])
    dropped = simulation.counters.dropped["loop"]
    assert lines[-1].endswith(
        f"since nothing came back for a while; {dropped:,} datagrams were dropped"
    )
    simulation.run(50, stream(every=100))
    assert simulation.guard._crowd is None


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
    simulation.run(10, atRandom(senders, contents, rate, simulation.chance))
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
    simulation.run(5, send)
    simulation.run(1)
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


def test_aBurstIsRelayed() -> None:
    """A host that repeats what another sent, a lot and then no more, gets all of it relayed."""
    simulation = Simulation()

    def send(now: int) -> list[tuple[Sender, bytes]]:
        repeated = [(host(1), b"%d" % (now // 100))] * 3 if now < 700 else []
        return [(SOURCE, b"%d" % (now // 100)), *repeated] if now % 20 == 0 else []

    simulation.run(10, send)
    assertHarmless(simulation)


@pytest.mark.parametrize("first", [SOURCE, host(1)])
@pytest.mark.parametrize("every", [1, 30])
def test_whoRepeatsOneDatagramOftenerThanAnotherIsRelayed(every: int, first: Sender) -> None:
    """Equal datagrams of two hosts, of which one sends many times as often, are all relayed,
    whoever begins.
    """
    simulation = Simulation()
    rare, often = constant(every=500), constant(every=every, sender=host(1))
    simulation.run(2, rare if first == SOURCE else often)
    simulation.run(30, together(rare, often))
    assertHarmless(simulation)


def test_aSetOfDatagramsIsRepeatedAtAnyRate() -> None:
    """Two hosts that send the same hundred metrics, one once in ten seconds, one ten times a
    second and only after the other has begun, lose none.
    """
    simulation = Simulation()

    def metrics(sender: Sender) -> list[tuple[Sender, bytes]]:
        return [(sender, b"metric%d:1|c" % number) for number in range(100)]

    def send(now: int) -> list[tuple[Sender, bytes]]:
        sent = metrics(SOURCE) if now % 10_000 == 100 else []
        return sent + (metrics(host(1)) if now > 1000 and now % 100 == 0 else [])

    simulation.run(30, send)
    assertHarmless(simulation)


def test_manyRedundantSendersAreRelayed() -> None:
    """A fast stream from several hosts, in long runs, with pauses and delays, is all relayed."""
    simulation = Simulation(capacity=400)

    def send(now: int) -> list[tuple[Sender, bytes]]:
        def burst(sender: Sender, when: int) -> list[tuple[Sender, bytes]]:
            return [
                (sender, b"%d %d" % (when, number))
                for number in range(10 if 100 < when % 2000 < 1500 else 0)
            ]

        return [each for lag in range(3) for each in burst(host(lag), now - 700 * lag)]

    simulation.run(4, send)
    simulation.run(1)
    assertHarmless(simulation)


def test_anEchoThatIsNoneIsAcquitted() -> None:
    """A sender that is taken for an echo, since it repeats thousands of times a second what
    another sent first, is relayed again within seconds: it sends more than was relayed to it.
    """
    simulation = Simulation()
    simulation.run(1, together(constant(every=100), stream()))
    fast = together(*[constant(every=1, sender=host(1))] * 4)
    with loggedLines() as lines:
        simulation.run(8, together(constant(every=100), fast))
        assert simulation.guard.echoes == []
        dropped = simulation.counters.dropped["loop"]
        simulation.run(30, together(constant(every=100), fast))
    assert len(lines) == 2
    assert "it sends more than was relayed to it, so it is no loop" in lines[-1]
    assert 0 < simulation.counters.dropped["loop"] == dropped
    assertAllCounted(simulation)


# --- What bounds a loop that is not known yet ----------------------------------------------------


@pytest.mark.parametrize("every", [1, 10, 100])
@pytest.mark.parametrize("isConstant", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_aLoopIsBoundedHoweverIrregular(every: int, isConstant: bool, seed: int) -> None:
    """A loop through a busy host, where a round takes up to 25 ms more or less, is bounded from
    the beginning: what is relayed of it in any second is a few times what comes in, or 1,500
    datagrams; and it is cut within seconds.
    """
    simulation = Simulation([Way(delay=0.0002, jitter=0.025)], seed=seed)
    send = constant(every) if isConstant else stream(every)
    for _ in range(8):
        relayed = len(simulation.relayed)
        simulation.run(1, send)
        most = max(Crowd.least, (1 + Crowd.factor) * 1000 // every)
        assert len(simulation.relayed) - relayed <= most + 2 * 1000 // every + 100
    assert simulation.guard.echoes == [RELAY]
    sent, relayed = len(simulation.sent), len(simulation.relayed)
    simulation.run(3, send)
    assert len(simulation.relayed) - relayed <= len(simulation.sent) - sent + 1
    assertAllCounted(simulation)


@pytest.mark.parametrize("delay", [0.0, 1.0])
def test_aLoopThatLosesHalfIsBounded(delay: float) -> None:
    """Of a loop that loses half of everything in each round, each datagram comes twice."""
    simulation = Simulation([Way(delay=delay, loss=0.5)])
    simulation.run(8, stream(every=2))
    assert len(simulation.relayed) <= 2.2 * len(simulation.sent)


# --- What it costs -------------------------------------------------------------------------------


def test_oneSenderCostsNothing() -> None:
    """While one sender sends, nothing is copied or remembered."""
    simulation = Simulation()
    simulation.run(1, stream(count=10))
    guard = simulation.guard
    assert guard._only == SOURCE
    assert guard._crowd is None


def test_fewOfALongRunAreLookedAt() -> None:
    """However long the runs of several senders, eight datagrams of each are looked at."""
    guard = EchoGuard(Counters(), "input")
    for number in range(100):
        data = b"".join(b"%08d" % (50 * number + index) for index in range(50))
        guard.newOf(Run(memoryview(data), 8, host(number % 2), number / 1000))
    assert guard._crowd is not None
    assert len(guard._crowd._young) <= 100 * Crowd.sampled


@pytest.mark.parametrize("content", [b"x", None])
def test_aFloodOfSendersNeedsNoMemory(content: bytes | None) -> None:
    """Any number of senders, of one datagram or of any number of them, is relayed, and what is
    remembered of them has a limit.
    """
    guard, relayed = EchoGuard(Counters(), "input"), 0
    for number in range(100_000):
        data = content or b"%d" % number
        sender = (f"10.1.{number % 90}.{number % 250}", number % 60_000)
        relayed += len(guard.newOf(Run(memoryview(data), len(data), sender, number / 40_000)))
    assert relayed == 100_000
    crowd = guard._crowd
    assert crowd is not None
    assert len(crowd._young) + len(crowd._old) <= 2 * Crowd.contents
    assert len(crowd._baits) <= Crowd.mostBaits
    assert len(crowd._strikes) <= Crowd.mostSuspects
    assert len(crowd._counts) <= Crowd.slots
    assert all(len(bait.counts) <= Crowd.slots for bait in crowd._baits.values())


def test_echoesAreFew() -> None:
    """However many senders repeat what others send, a limited number is kept and logged."""
    guard = EchoGuard(Counters(), "input", lambda: 0.0)
    with loggedLines() as lines:
        for number in range(3 * 60):
            for sender in [SOURCE, *[host(number // 3)] * Crowd.mostCopies]:
                data = b"%d" % number
                guard.newOf(Run(memoryview(data), len(data), sender, number / 100))
    assert len(guard.echoes) == Crowd.mostEchoes
    assert len(lines) == Crowd.mostEchoes


def test_aClockThatIsSetBackBlindsNothing() -> None:
    """A loop is found in time after the clock has been set back, too."""
    simulation = Simulation()
    simulation.run(1, together(stream(), stream(sender=host(1))))
    simulation.clock.rightNow -= 3600
    simulation.ways = [Way()]
    simulation.run(3, together(stream(), stream(sender=host(1))))
    assert simulation.guard.echoes == [RELAY]


def test_closingForgetsAll() -> None:
    """An input that is closed knows no loop, and begins anew when it is opened."""
    simulation = Simulation([Way(delay=0.01)])
    simulation.run(2, stream())
    assert simulation.guard.echoes
    simulation.guard.close()
    simulation.guard.close()
    assert not simulation.guard.echoes
    simulation.run(1, stream())
    assert simulation.guard.echoes


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
    """Whatever arrives, from whom and when: each sender's datagrams are all relayed, in order, or
    were relayed lately, and counted.
    """
    simulation = Simulation()
    for sender, data, pause in sent:
        simulation.clock.advance(pause)
        for run in runsOf([(sender, data)], simulation.clock.seconds()):
            simulation.admit(run)
    dropped = simulation.counters.dropped["loop"]
    assert len(simulation.relayed) + dropped == len(sent)
    if not dropped:
        for sender in (SOURCE, RELAY, OTHER_RELAY):
            assert simulation.of(sender) == [data for each, data, _ in sent if each == sender]
