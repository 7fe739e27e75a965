"""Many times, and what is known of them."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txgroupsock.teststream.latencies import Latencies


def test_thereMayBeNone() -> None:
    """Without any time nothing is known, which is no error."""
    latencies = Latencies()
    assert str(latencies) == "latency unknown"
    assert latencies.toJSON() is None
    assert (latencies.mean, latencies.quantile(0.5)) == (0, 0)


def test_theTextHasMilliseconds() -> None:
    """Mean and maximum, in ms."""
    latencies = Latencies()
    latencies.add(1_000_000, 2)
    latencies.add(4_000_000)
    assert str(latencies) == "latency 2.00 ms (at most 4.00)"


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=200))
def test_quantilesAreRightToWithinASixtyFourth(times: list[int]) -> None:
    """Least, most and mean are exact; a quantile is one of the times, or next to it."""
    latencies = Latencies()
    for each in times:
        latencies.add(each)
    assert (latencies.least, latencies.most) == (min(times), max(times))
    assert latencies.mean == pytest.approx(statistics.fmean(times), abs=1)
    for share in (0.5, 0.99):
        ordered = sorted(times)
        rank = min(len(ordered) - 1, max(0, int(-(-share * len(ordered) // 1)) - 1))
        expected = ordered[rank]
        assert latencies.quantile(share) == pytest.approx(expected, rel=1 / 32, abs=1)


@given(st.lists(st.integers(-1000, 10**9)), st.lists(st.integers(-1000, 10**9)))
def test_sumsAreAsIfCountedAtOnce(some: list[int], others: list[int]) -> None:
    """To add those of another gives what all of them together would give."""
    one, other, every = Latencies(), Latencies(), Latencies()
    for each in some:
        one.add(each)
        every.add(each)
    for each in others:
        other.add(each)
        every.add(each)
    one.addAll(other)
    assert one.toJSON() == every.toJSON()


def test_whatItTakesUpIsBounded() -> None:
    """A hundred thousand different times are kept in less than a thousand counts."""
    latencies = Latencies()
    for each in range(0, 10**9, 10**4):
        latencies.add(each)
    assert latencies.count == 10**5
    assert len(latencies._alike) < 2000
