"""Outsiders share what there is of places and of lines of log, and nobody has all of it."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.logger import Logger

from tests.relay.support import loggedLines
from txgroupsock.relay.http.places import Places, mostFrom, originOf
from txgroupsock.relay.viewers.allowance import Allowance, Sayings


def test_theOldestOfTheOriginThatHasMostGoes() -> None:
    """Who holds many places loses them, and not who came once."""
    places: Places[str] = Places()
    places.take("lone", "10.0.0.1")
    for number in range(9):
        places.take(f"many {number}", "10.0.0.2")
    assert places.first(lambda _: True) == "many 0"
    assert places.first(lambda each: each == "lone") == "lone"
    assert places.first(lambda _: False) is None
    places.leave("many 0")
    places.leave("many 0")
    assert (len(places), places.takenFrom("10.0.0.2")) == (9, 8)
    assert places.first(lambda _: True) == "many 1"


@pytest.mark.parametrize(
    ("peer", "origin"),
    [
        (IPv4Address("TCP", "10.0.0.1", 5), "10.0.0.1"),
        (IPv4Address("TCP", "127.0.0.9", 5), ""),
        (IPv6Address("TCP", "2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::/64"),
        (IPv6Address("TCP", "fe80::1%eth0", 5), "fe80::/64"),
        (IPv6Address("TCP", "::ffff:10.0.0.1", 5), "10.0.0.1"),
        (IPv6Address("TCP", "::1", 5), ""),
        (UNIXAddress("/run/x"), ""),
    ],
)
def test_whereSomebodyIs(peer: object, origin: str) -> None:
    """An IPv4 address, a network of 64 bits, or this host."""
    assert originOf(peer) == origin


def test_thisHostMayHaveAllPlaces() -> None:
    """Behind a proxy all come from here; others leave some to others."""
    assert (mostFrom("", 64), mostFrom("10.0.0.1", 64), mostFrom("10.0.0.1", 1)) == (64, 57, 1)


def test_oneOriginMayDoItSoOften() -> None:
    """A bucket empties, and fills with time; that of another is its own, and few are remembered."""
    clock = Clock()
    allowance = Allowance(clock, 5, 10)
    assert [allowance.take("a") for _ in range(11)] == [True] * 10 + [False]
    assert allowance.take("b")
    clock.advance(0.2)
    assert [allowance.take("a") for _ in range(2)] == [True, False]
    for number in range(5000):
        allowance.take(str(number))
    assert len(allowance._buckets) <= 1024


def test_whatIsLeftOutOfTheLogIsCounted() -> None:
    """A flood is told once, how much of it was left out later, and others are heard meanwhile."""
    clock = Clock()
    sayings = Sayings(clock, Logger(), rate=1, burst=5)
    with loggedLines() as lines:
        for number in range(1000):
            sayings.info("10.0.0.1", "{number} came", number=number)
        sayings.info("10.0.0.2", "another came")
        clock.advance(1)
        sayings.info("10.0.0.1", "it came again")
    assert sayings.unsaid == 995
    assert len(lines) == 9
    assert sum("10.0.0.1 causes more lines" in each for each in lines) == 1
    assert any("995 lines like the next were left out" in each for each in lines)
