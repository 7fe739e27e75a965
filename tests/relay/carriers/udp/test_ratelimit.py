"""How much a limited output lets through: never more than its rate, and not much less."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txgroupsock.primitives.run import Run
from txgroupsock.relay.carriers.udp.ratelimit import BURST, RateLimit

LARGEST = 65535

# Seconds since the run before, size of its datagrams, how many, and size of the last one.
RUNS = st.lists(
    st.tuples(
        st.one_of(st.just(0.0), st.floats(0, 0.01), st.floats(0, 5)),
        st.one_of(st.sampled_from([0, 1, 188, 1316, 9000, LARGEST]), st.integers(1, LARGEST)),
        st.integers(1, 64),
        st.integers(1, LARGEST),
    ),
    max_size=60,
)


def runOf(arrival: float, size: int, count: int = 1, last: int | None = None) -> Run:
    """A run of so many datagrams, of which the last has another size."""
    length = 0 if not size else (count - 1) * size + min(size, last or size)
    return Run(memoryview(bytes(length)), size, ("", 0), arrival)


def bucketOf(rate: float) -> float:
    """Bytes that may be sent at once after a pause."""
    return max(rate / 8 * BURST, LARGEST)


@given(rate=st.one_of(st.sampled_from([1e3, 1e6, 2e7, 1e9, 1e12]), st.floats(1e3, 1e12)), runs=RUNS)
def test_neverMoreThanTheRateAndOneBucket(
    rate: float, runs: list[tuple[float, int, int, int]]
) -> None:
    """From any run to any later one, what passed is at most the rate times that and one bucket."""
    limit = RateLimit(rate)
    now = 1e9
    passed: list[tuple[float, int]] = []
    for pause, size, count, last in runs:
        now += pause
        run = runOf(now, size, count, last)
        allowed = limit.allowed(run)
        assert 0 <= allowed <= len(run)
        through = len(run.data[: allowed * size])
        passed.append((now, through))
    bucket = bucketOf(rate)
    for first, (begin, _) in enumerate(passed):
        total = 0
        for end, through in passed[first:]:
            total += through
            most = rate / 8 * (end - begin) + bucket
            assert total <= most * (1 + 1e-9) + rate * 1e-6  # the clock of 2001 has 1e-7 s


@given(rate=st.floats(1e3, 1e12), size=st.integers(0, LARGEST))
def test_aDatagramOfAnySizePassesAFullBucket(rate: float, size: int) -> None:
    """However low the rate, the first datagram passes, and another one once the bucket is full."""
    limit = RateLimit(rate)
    assert limit.allowed(runOf(0.0, size)) == 1
    untilFull = bucketOf(rate) * 8 / rate * (1 + 1e-9)  # whatever way the division is rounded
    assert limit.allowed(runOf(untilFull, size)) == 1


def test_aSteadyStreamUnderTheRatePasses() -> None:
    """A stream at the rate loses nothing, and one at twice the rate loses half."""
    size, rate = 1250, 1e6  # a hundred a second
    for factor, wanted in ((1, 3000), (2, 3000)):
        limit = RateLimit(rate)
        for _ in range(2):  # the bucket that it begins with
            limit.allowed(runOf(0.0, 32750))
        count = sum(
            limit.allowed(runOf((number + 1) / (100 * factor), size))
            for number in range(3000 * factor)
        )
        assert abs(count - wanted) <= 1


def test_theBeginningOfARunPasses() -> None:
    """Of a run that is too much the first datagrams pass, whole, as many as there is room for."""
    limit = RateLimit(1e3)
    assert limit.allowed(runOf(0.0, 10000, 7)) == 6
    assert limit.allowed(runOf(0.0, 5535, 2)) == 1
    assert limit.allowed(runOf(0.0, 1)) == 0
    assert limit.allowed(runOf(0.0, 0)) == 1  # an empty one is nothing


def test_aShorterLastDatagramCountsWithItsSize() -> None:
    """A run fits if its bytes do, though not if its last datagram were as large as the others."""
    limit = RateLimit(1e3)
    assert limit.allowed(runOf(0.0, 16000, 5, 1535)) == 5
    assert limit.allowed(runOf(0.0, 1)) == 0


@pytest.mark.parametrize("back", [0.001, 3600.0])
def test_timeThatGoesBackIsNoReasonToStop(back: float) -> None:
    """When the clock is set back it goes on from there at the rate, with nothing given away."""
    limit = RateLimit(8e3)  # 1,000 bytes a second
    limit.allowed(runOf(10000.0, LARGEST))
    assert limit.allowed(runOf(10000.0 - back, 1)) == 0
    assert limit.allowed(runOf(10001.0 - back, 100, 20)) == 10
