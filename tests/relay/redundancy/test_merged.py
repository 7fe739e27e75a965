"""A route of two legs, from real sockets on loopback to what it gives on."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock, deferLater
from zope.interface.verify import verifyObject

from tests.relay.redundancy.support import Leg, numberIn, rtp, rtpRun
from tests.relay.support import Collector, freePort, until
from txgroupsock import GroupsockReactor, Route
from txgroupsock.relay.carriers.udp.input import UDPInput
from txgroupsock.relay.interfaces import IRelayInput, IWarning
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.redundancy import MergedInput


def udpLegs(reactor: Any, ports: Sequence[int]) -> list[UDPInput]:
    """An input for each port of loopback."""
    return [UDPInput(reactor, InputModel.parse(f"udp://127.0.0.1:{port}")) for port in ports]


class Sender:
    """Sends the same RTP stream to some ports, each of which may lose what it will."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def close(self) -> None:
        self._socket.close()

    def send(self, number: int, *legs: int) -> None:
        for leg in legs:
            self._socket.sendto(rtp(number), ("127.0.0.1", self._ports[leg]))


@asynccontextmanager
async def merging(
    reactor: Any, window: float = 0.1
) -> AsyncIterator[tuple[Route, MergedInput, Sender, Collector]]:
    """An open route of two legs, and what sends to it."""
    ports, collector = [freePort(), freePort()], Collector()
    sharing = GroupsockReactor(reactor)
    merged = MergedInput(reactor, udpLegs(sharing, ports), window=window)
    route, sender = Route(merged, [collector]), Sender(ports)
    route.openRoute()
    try:
        yield route, merged, sender, collector
    finally:
        sender.close()
        await route.closeRoute()


def test_itIsWhatItSays(reactor: Any) -> None:
    """A merged input provides what a route and an operator ask of it."""
    merged = MergedInput(reactor, udpLegs(reactor, [5000, 5001]))
    verifyObject(IRelayInput, merged)
    verifyObject(IWarning, merged)


@pytest_twisted.ensureDeferred
async def test_twoLegsThatLoseMakeOneThatDoesNot(reactor: Any) -> None:
    """Two legs that each lose 20 %, never the same, one of them later, give all once, in order."""
    async with merging(reactor) as (route, merged, sender, collector):
        chance = random.Random(1)
        late: list[int] = []
        for number in range(2000):
            losing = chance.choice([0, 0, 1, 1, 2, 2, 2, 2, 2, 2]) if number else 2
            if losing != 0:
                sender.send(number, 0)
            if losing != 1:
                late.append(number)
            while late and late[0] < number - 100:
                sender.send(late.pop(0), 1)
            if number % 50 == 0:
                await deferLater(reactor, 0.002)
        for number in late:
            sender.send(number, 1)
        got = [numberIn(each) for each in await collector.take(reactor, 2000)]
        assert got == list(range(2000))
        counters = merged.counters
        assert (counters.datagrams, counters.dropped.total()) == (2000, 0)
        assert collector.counters.datagrams == counters.datagrams
        one, other = merged.legs()
        assert one.used + other.used == 2000
        assert 200 < one.lost < 600
        assert other.used > 200
        [first, second] = merged.describe()
        assert first.startswith("leg 1: listening on 127.0.0.1 port")
        assert "lost" in second
        assert any("leg 1 loses" in each for each in merged.warnings())
        assert route.status().input.counters.datagrams == 2000


@pytest_twisted.ensureDeferred
async def test_whatBothLoseIsCounted(reactor: Any) -> None:
    """What neither leg has is missing after the window, exactly that, and counted as lost."""
    async with merging(reactor, window=0.05) as (_, merged, sender, collector):
        missing = {5, 6, 7, 30, 77}
        for number in range(100):
            if number not in missing:
                sender.send(number, 0, 1)
        got = [numberIn(each) for each in await collector.take(reactor, 95)]
        assert got == [each for each in range(100) if each not in missing]
        assert +merged.counters.dropped == {"lost": 5}


def test_nothingIsGivenUpUnread() -> None:
    """When the process is held up beyond the window, what lies in the sockets is read first; what
    is not there either is given up then.
    """
    clock, legs, collector = Clock(), [Leg(), Leg()], Collector()
    merged = MergedInput(clock, legs, window=0.05)
    merged.openInput(collector)
    legs[0].give(rtpRun([0, 2, 4]))
    clock.advance(0.3)
    legs[1].give(rtpRun([0, 1]))
    clock.advance(0.05)
    assert [numberIn(each) for each in collector.payloads] == [0, 1, 2, 4]
    assert +merged.counters.dropped == {"lost": 1}
    merged.closeInput()
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_whatIsHeldIsGivenOnAtTheEnd(reactor: Any) -> None:
    """When the input is closed, what waited goes on to the outputs; nothing is left on a clock."""
    async with merging(reactor, window=60.0) as (_, merged, sender, collector):
        sender.send(0, 0)
        sender.send(2, 0)
        await until(reactor, lambda: merged.legs()[0].received == 2)
        assert len(collector.payloads) == 1
    assert [numberIn(each) for each in collector.payloads] == [0, 2]


def test_aLegThatCannotBeOpenedIsTriedAgain() -> None:
    """One leg is enough to open; the other is a warning, until it can be opened as well."""
    clock, legs, collector = Clock(), [Leg(OSError("no such device")), Leg()], Collector()
    merged = MergedInput(clock, legs)
    merged.openInput(collector)
    assert "leg 1 could not be opened: no such device" in merged.warnings()
    assert [each[:5] for each in merged.describe()] == ["leg 2"]
    legs[1].give(rtpRun([1]))
    clock.advance(5)
    assert legs[0].receiver is None
    legs[0].failure = None
    clock.advance(5)
    legs[0].give(rtpRun([2]))
    assert [numberIn(each) for each in collector.payloads] == [1, 2]
    assert merged.warnings()[:2] == ["leg 1, a small buffer", "leg 2, a small buffer"]
    merged.closeInput()
    assert clock.getDelayedCalls() == []


def test_withoutAnyLegItDoesNotOpen() -> None:
    """What the first leg failed with is raised, and the second is not left open."""
    clock, legs = Clock(), [Leg(OSError("one")), Leg(OSError("other"))]
    with pytest.raises(OSError, match="one"):
        MergedInput(clock, legs).openInput(Collector())
    assert clock.getDelayedCalls() == []


def test_itCanBeClosedWhileALegIsTriedAgain() -> None:
    """A leg that was never opened is not closed; the input can be opened again."""
    clock, legs = Clock(), [Leg(OSError("gone")), Leg()]
    merged = MergedInput(clock, legs)
    for _ in range(2):
        merged.openInput(Collector())
        merged.closeInput()
        assert clock.getDelayedCalls() == []
        assert merged.warnings() == ["leg 1, a small buffer", "leg 2, a small buffer"]


def test_oneLegIsNoRedundancy() -> None:
    """Fewer than two legs are refused."""
    with pytest.raises(ValueError, match="at least two inputs, and here is 1"):
        MergedInput(Clock(), [Leg()])


def test_whatIsWrongWithALegIsSaid() -> None:
    """Silence, loss and skew near the window are told, each with what to do."""
    clock, legs = Clock(), [Leg(), Leg()]
    merged = MergedInput(clock, legs, window=0.1)
    merged.openInput(Collector())
    clock.advance(2)
    silent = [each for each in merged.warnings() if "has been silent for 2 s" in each]
    assert len(silent) == 2
    for number in range(500):
        legs[0].give(rtpRun([number]))
        if number >= 90 and number % 10:
            legs[1].give(rtpRun([number - 90]))
        clock.advance(0.001)
    [loss, skew] = [each for each in merged.warnings() if "buffer" not in each]
    assert loss == "leg 2 loses 9.8 % of the datagrams: look at its path"
    assert skew.startswith("leg 2 is up to 90.0 ms behind, and the window is 100 ms: enlarge it")
    clock.advance(1)
    for number in range(500, 510):
        legs[1].give(rtpRun([number]))
    [said] = [each for each in merged.warnings() if "silent" in each]
    assert said.startswith("leg 1 has been silent for 1 s")
    merged.closeInput()
