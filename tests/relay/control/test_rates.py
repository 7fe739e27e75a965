"""How fast counters grow, and what is kept of that."""

from __future__ import annotations

from collections import Counter

import pytest

from txgroupsock.relay.control.rates import KEPT, History, Rate, Rates
from txgroupsock.relay.counters import Counters


def test_aRateIsWhatWasCountedASecond() -> None:
    """Datagrams, bits and drops are those since the look before, by the seconds between."""
    rates, incoming, outgoing = Rates(), Counters(), Counters()
    rates.sample([incoming, outgoing], 1.0)
    assert list(rates.parts) == [Rate(), Rate()]
    incoming.passed(10, 1000)
    outgoing.passed(8, 800)
    outgoing.dropped["ENOBUFS"] += 2
    rates.sample([incoming, outgoing], 2.0)
    assert list(rates.parts) == [Rate(5.0, 4000.0, 0.0), Rate(4.0, 3200.0, 1.0)]
    assert rates.history.series() == ([5.0], [4000.0], [1.0])


def test_otherCountersBeginAnew() -> None:
    """Parts that are others, more or fewer or counting from 0, have no rate at first."""
    rates = Rates()
    rates.sample([Counters(100, 1000, Counter())], 1.0)
    rates.sample([Counters(5, 50, Counter())], 1.0)
    assert list(rates.parts) == [Rate()]
    rates.sample([Counters(6, 60, Counter()), Counters(7, 70, Counter())], 1.0)
    assert list(rates.parts) == [Rate(), Rate()]
    rates.forget()
    rates.sample([Counters(60, 600, Counter()), Counters(70, 700, Counter())], 1.0)
    assert list(rates.parts) == [Rate(), Rate()]
    rates.sample([Counters(61, 601, Counter()), Counters(70, 700, Counter())], 0.0)
    assert list(rates.parts) == [Rate(), Rate()]


@pytest.mark.parametrize("count", [0, 1, KEPT - 1, KEPT, KEPT + 1, 3 * KEPT + 7])
def test_theNewestAreKept(count: int) -> None:
    """A history has the newest rates, in their order, and no more than it may."""
    history = History()
    for number in range(count):
        history.append(Rate(number, 8 * number, 0))
    datagrams, bits, _ = history.series()
    assert datagrams == [float(each) for each in range(max(0, count - KEPT), count)]
    assert bits == [8 * each for each in datagrams]
