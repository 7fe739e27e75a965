"""The rows: what is measured of whom, and how."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from attrs import evolve, frozen

from harness.contenders import Contender, Route
from harness.links import GROUP_IN, GROUP_OUT, PORT_IN, PORT_OUT, UNICAST_OUT, following
from harness.measure import Bench, Load, Outcome, RelayFailed, Running
from harness.processes import Usage, residentBytes

LOSSLESS = 0.001
PROMPT = 100_000  # microseconds; what is later than that was in a buffer that was filling up
STEPS = 9
JOIN_SECONDS = 120.0

Figures = dict[str, float]


@frozen
class Row:
    """
    What contenders are compared in.

    @ivar name: what it is chosen by: a number, which several may share, and a letter.
    @ivar kind: one of L{MEASURE}.
    @ivar options: of the inputs' URLs of this relay: a contender each.
    @ivar rate: datagrams a second in, on all channels together.
    @ivar against: kinds or names of the others.
    @ivar offload: whether links and destinations take trains (UDP_SEGMENT) whole.
    """

    name: str
    title: str
    kind: str
    options: tuple[str, ...]
    rate: float = 0
    destinations: int = 1
    channels: int = 1
    train: int = 1
    against: tuple[str, ...] = ("peer", "floor")
    offload: bool = True

    def meets(self, contender: Contender) -> bool:
        """Whether another project's relay, or one in C, can take part."""
        chosen = contender.kind in self.against or contender.name in self.against
        return chosen and (contender.fansOut or self.destinations == 1)

    def routes(self) -> list[Route]:
        """What each contender relays."""
        if self.kind == "idle":
            return [
                Route(following(GROUP_IN, number), 10000 + number, ((UNICAST_OUT, 10000 + number),))
                for number in range(self.channels)
            ]
        if self.channels > 1:
            return [
                Route(
                    following(GROUP_IN, number),
                    PORT_IN,
                    ((following(UNICAST_OUT, number), PORT_OUT),),
                )
                for number in range(self.channels)
            ]
        if self.destinations == 1:
            return [Route(GROUP_IN, PORT_IN, ((GROUP_OUT, PORT_OUT),))]
        targets = [(following(UNICAST_OUT, each), PORT_OUT) for each in range(self.destinations)]
        return [Route(GROUP_IN, PORT_IN, tuple(targets))]


DEFAULT, LATENCY, PROMPTLY = "", "&latency=5ms", "&latency=0"

_ROWS = [
    Row("1a", "1 → 1 multicast, 50,000/s", "cost", (DEFAULT, LATENCY), 50_000),
    Row("1b", "1 → 1 multicast, 50,000/s", "cost", (DEFAULT,), 50_000, offload=False),
    Row("2a", "1 → 10 unicast, 20,000/s in", "cost", (DEFAULT,), 20_000, 10),
    Row("2b", "1 → 10 unicast, 20,000/s in", "cost", (DEFAULT,), 20_000, 10, offload=False),
    Row("2c", "1 → 100 unicast, 5,000/s in", "cost", (DEFAULT, LATENCY), 5_000, 100),
    Row("2d", "1 → 100 unicast, 5,000/s in", "cost", (DEFAULT, LATENCY), 5_000, 100, offload=False),
    Row("3a", "Highest output rate, 1 → 10 unicast", "highest", (DEFAULT,), 600_000, 10),
    Row("3b", "Highest output rate, 1 → 100 unicast", "highest", (DEFAULT, LATENCY), 60_000, 100),
    Row("4", "1 → 1 multicast, 500,000/s in trains of 16", "cost", (DEFAULT,), 500_000, train=16),
    Row(
        *("5", "Latency added to 1 → 1 multicast, 10,000/s", "latency"),
        *((DEFAULT, PROMPTLY), 10_000),
        against=("C loop",),
    ),
    Row(
        *("6a", "1 → 1 multicast, 1,000/s", "cost", (DEFAULT, LATENCY), 1_000),
        against=("C loop",),
    ),
    Row(
        *("6b", "100 channels of 1,000/s, one process each in C", "cost"),
        *((DEFAULT, LATENCY), 100_000),
        channels=100,
        against=("C loop",),
    ),
    Row("7", "Idle, 1,000 routes", "idle", (DEFAULT,), channels=1000, against=()),
]
NAMES = [row.name for row in _ROWS]


def rows(names: Sequence[str], rate: float | None) -> list[Row]:
    """
    The rows of these names or numbers, with another rate where one is given.

    @raise LookupError: there is none of a name.
    """
    for name in names:
        if not any(_isMeant(name, row) for row in _ROWS):
            raise LookupError(f"no row {name}; there are {', '.join(NAMES)}")
    chosen = [row for row in _ROWS if any(_isMeant(name, row) for name in names)]
    if rate is None:
        return chosen
    return [
        evolve(row, rate=rate, title=f"{row.title} (here {rate:,.0f}/s)") if row.rate else row
        for row in chosen
    ]


def _isMeant(name: str, row: Row) -> bool:
    return name in {row.name, row.name.rstrip("abcd")}


def measure(bench: Bench, row: Row, contender: Contender, seconds: float) -> Figures:
    """
    Start a contender, measure it once, and end it.

    @raise RelayFailed: it does not do what it should.
    @raise LookupError: a tool that the row needs is not there.
    """
    bench.links.offload(on=row.offload)
    with bench.started(contender, row.routes()) as running:
        if row.kind == "idle":
            return _idle(bench, running, row, seconds)
        load = Load(row.rate, seconds, row.train, row.channels)
        bench.awaitReady(running, load)
        checked = bench.check(running, load)
        figures = MEASURE[row.kind](bench, running, row, load)
        return {
            "complete": float(checked.complete),
            "checkedExpected": checked.expected,
            "checkedReceived": checked.received,
            **figures,
        }


def _plain(outcome: Outcome) -> Figures:
    return {
        "expected": outcome.expected,
        "received": outcome.received,
        "fewest": outcome.fewest,
        "lost": outcome.lost,
        "keptUp": outcome.keptUp,
        "offered": outcome.offered,
        "outRate": outcome.outRate,
        "latency50": outcome.latency50,
        "latency99": outcome.latency99,
        "sinkDropped": outcome.sinkDropped,
        "disturbance": outcome.disturbance,
        "share": outcome.cpu / outcome.seconds,
        "cost": outcome.cpu * 1e6 / max(1, outcome.received),
    }


def _cost(bench: Bench, running: Running, row: Row, load: Load) -> Figures:
    """CPU time for each datagram sent on, at a steady rate."""
    return _plain(bench.calmly(running, load, trains=row.offload))


def _latency(bench: Bench, running: Running, row: Row, load: Load) -> Figures:
    """What the relay adds to the time that the way without it takes."""
    direct = bench.calmly(Running(None, row.routes()), load, trains=False)
    relayed = bench.calmly(running, load, trains=False)
    return {
        **_plain(relayed),
        "disturbance": max(direct.disturbance, relayed.disturbance),
        "direct50": direct.latency50,
        "direct99": direct.latency99,
        "added50": relayed.latency50 - direct.latency50,
        "added99": relayed.latency99 - direct.latency99,
    }


def _highest(bench: Bench, running: Running, row: Row, load: Load) -> Figures:
    """The highest rate without loss: flood it, then go up or down from what it did then."""
    flood = bench.offer(running, evolve(load, seconds=min(1.0, load.seconds)), trains=row.offload)
    rate = min(flood.outRate / row.destinations, flood.offered)
    good: Outcome | None = None
    low = high = 0.0
    for _ in range(STEPS):
        step = _step(bench, running, row, evolve(load, rate=rate))
        if step.lost <= LOSSLESS and step.latency99 <= PROMPT:
            low = rate
            good = step
            if step.offered < 0.97 * rate:
                return {**_plain(step), "atLeast": True}
        else:
            high = rate
        if low and high and high / low < 1.04:
            break
        rate = (low + high) / 2 if low and high else rate * 1.1 if low else rate * 0.88
    if good is None:
        raise RelayFailed(f"it lost {flood.lost:.1%} of a flood, and some of all that was tried")
    return _plain(good)


def _step(bench: Bench, running: Running, row: Row, load: Load) -> Outcome:
    """Offer a load; again if what was lost may have been lost by accident."""
    step = bench.offer(running, load, trains=row.offload)
    if step.lost > LOSSLESS and (step.lost < 0.03 or step.disturbance > bench.calm):
        step = bench.offer(running, load, trains=row.offload)
    return step


def _idle(bench: Bench, running: Running, row: Row, seconds: float) -> Figures:
    """How long the start takes, and what doing nothing costs afterwards."""
    start = time.monotonic()
    while bench.links.groupsJoined() < row.channels:
        running.assertRuns()
        if time.monotonic() - start > JOIN_SECONDS:
            joined = bench.links.groupsJoined()
            raise RelayFailed(f"it joined {joined} groups in {JOIN_SECONDS:.0f} s")
        time.sleep(0.01)
    ready = time.monotonic()
    time.sleep(1)
    before = Usage.now(running.sessions, set())
    time.sleep(5 * seconds)
    after = Usage.now(running.sessions, set())
    running.assertRuns()
    return {
        "startSeconds": ready - start,
        "share": (after.ours - before.ours) * 1e-9 / (after.at - before.at),
        "resident": residentBytes(running.sessions),
        "disturbance": after.disturbance(before),
    }


MEASURE: dict[str, Callable[[Bench, Running, Row, Load], Figures]] = {
    "cost": _cost,
    "highest": _highest,
    "latency": _latency,
}
