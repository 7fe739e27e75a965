"""What a relay counts, and how it says so."""

from __future__ import annotations

import errno
from collections import Counter

import pytest

from txgroupsock.relay.counters import Counters, bitRate, errnoName


def test_datagramsAndBytesAreCounted() -> None:
    """Each datagram that passed counts once, with the bytes of its payload; an empty one too."""
    counters = Counters()
    for size in (1316, 0, 4):
        counters.passed(1, size)
    assert (counters.datagrams, counters.bytes) == (3, 1320)


@pytest.mark.parametrize(
    ("number", "name"),
    [(errno.ENETUNREACH, "ENETUNREACH"), (None, "unknown"), (0, "unknown"), (99999, "unknown")],
)
def test_anErrnoHasAName(number: int | None, name: str) -> None:
    """Datagrams lost to an errno count under its name; what has none is unknown."""
    assert errnoName(number) == name


def test_countsAreAddedAndSubtracted() -> None:
    """What was counted since, added to what had been, is what is there now, reason by reason."""
    before = Counters(1, 10, Counter({"kernel": 1}))
    now = Counters(3, 40, Counter({"kernel": 1, "EPERM": 2}))
    assert now.since(before) == Counters(2, 30, Counter({"EPERM": 2}))
    assert before.plus(now.since(before)) == now


def test_aCopyDoesNotChange() -> None:
    """A copy keeps the counts of its moment, reasons included."""
    counters = Counters()
    counters.passed(1, 10)
    counters.dropped["EPERM"] += 1
    copy = counters.copy()
    counters.passed(1, 10)
    counters.dropped["EPERM"] += 1
    assert str(copy) == "1 datagrams, 10 bytes, 1 dropped (EPERM 1)"
    assert str(counters) == "2 datagrams, 20 bytes, 2 dropped (EPERM 2)"


def test_theTextHasEveryReasonThatOccurred() -> None:
    """The line has thousands apart, and the reasons in order; those that never occurred are not
    there.
    """
    counters = Counters(50000, 65800000)
    counters.dropped.update({"truncated": 0, "kernel": 1200, "ENOBUFS": 3})
    assert str(counters) == (
        "50,000 datagrams, 65,800,000 bytes, 1,203 dropped (ENOBUFS 3, kernel 1,200)"
    )


def test_nothingDroppedHasNoReasons() -> None:
    """Without drops there are no brackets."""
    assert str(Counters()) == "0 datagrams, 0 bytes, 0 dropped"


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        (0, "0.0 bit/s"),
        (999, "999.0 bit/s"),
        (1000, "1.0 kbit/s"),
        (10_528_000, "10.5 Mbit/s"),
        (2_500_000_000, "2.50 Gbit/s"),
        (3_000_000_000_000, "3000.00 Gbit/s"),
    ],
)
def test_bitRatesHaveAUnitForPeople(bits: float, text: str) -> None:
    """A bit rate is given in the largest unit that leaves it at least 1."""
    assert bitRate(bits) == text
