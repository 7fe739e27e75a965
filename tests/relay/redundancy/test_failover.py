"""One of several legs, by priority, without any I/O and as an input."""

from __future__ import annotations

import socket
from itertools import pairwise
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from tests.relay.redundancy.support import Leg, numberIn, rtp, rtpRun, run
from tests.relay.support import Collector, freePort, loggedLines, until
from txgroupsock import GroupsockReactor, Route
from txgroupsock.relay.carriers.udp.input import UDPInput
from txgroupsock.relay.interfaces import IRelayInput, IWarning
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.redundancy import RTP, FailoverInput, Policy, RTPFrame
from txgroupsock.relay.redundancy.failover import Failover


class Watched:
    """A failover input of two legs, and what it gave on: the SSRC of each packet."""

    def __init__(self, **policy: Any) -> None:
        self.clock = Clock()
        self.legs = [Leg(), Leg()]
        self.input = FailoverInput(self.clock, self.legs, Policy(**policy))
        self.collector = Collector()
        self.input.openInput(self.collector)
        self.number = 0

    def flow(
        self, seconds: float, *legs: int, losing: int = -1, ratio: int = 3, frame: int = 5
    ) -> list[int]:
        """Packets of both legs at 100 a second; the leg each of what was given on came from."""
        before = len(self.collector.payloads)
        for _ in range(round(seconds * 100)):
            for leg in legs:
                if leg != losing or self.number % ratio:
                    packet = rtp(self.number, ssrc=leg, timestamp=self.number // frame)
                    self.legs[leg].give(run(packet))
            self.number += 1
            self.clock.advance(0.01)
        return [each[11] for each in self.collector.payloads[before:]]

    def close(self) -> None:
        self.input.closeInput()
        assert self.clock.getDelayedCalls() == []


def test_itIsWhatItSays() -> None:
    """A failover input provides what a route and an operator ask of it."""
    made = FailoverInput(Clock(), [Leg(), Leg()])
    verifyObject(IRelayInput, made)
    verifyObject(IWarning, made)


def test_theFirstIsGivenOnWhileItIsThere() -> None:
    """What stands by is neither given on nor dropped."""
    watched = Watched()
    assert watched.flow(5, 0, 1) == [0] * 500
    assert str(watched.input.counters) == "500 datagrams, 20,000 bytes, 0 dropped"
    assert watched.input.warnings() == ["leg 1, a small buffer", "leg 2, a small buffer"]
    assert [each.partition(":")[0] for each in watched.input.describe()] == [
        "leg 1, active",
        "leg 2, standing by",
    ]
    watched.close()


def test_silenceIsFailedOver() -> None:
    """After the silence the second is given on, and the first again once good for long enough."""
    watched = Watched(silence=0.5, returnAfter=2)
    watched.flow(1, 0, 1)
    with loggedLines() as lines:
        given = watched.flow(3, 1)
    assert len(lines) == 1
    assert lines[0].endswith("goes over to leg 2: leg 1 is silent")
    assert 245 <= len(given) <= 255
    assert set(given) == {1}
    warnings = watched.input.warnings()
    assert "leg 2 is given on, since leg 1 is silent" in warnings
    assert "leg 1 has been silent for 3 s: look at its path" in warnings
    assert watched.flow(1.9, 0, 1) == [1] * 190
    assert watched.flow(0.5, 0, 1)[-35:] == [0] * 35
    assert watched.input.changes == 2
    watched.close()


def test_aFirstThatComesAndGoesIsNotReturnedTo() -> None:
    """Each silence begins the time anew for which the first has to be good."""
    watched = Watched(silence=0.5, returnAfter=2)
    watched.flow(1, 1)
    for _ in range(5):
        assert watched.flow(1.5, 0, 1) == [1] * 150
        assert watched.flow(0.6, 1) == [1] * 60
    assert watched.input.changes == 1
    watched.close()


def test_aFirstThatIsNeverHeardIsFailedOver() -> None:
    """The silence counts from when it was opened."""
    watched = Watched(silence=0.5)
    given = watched.flow(1, 1)
    assert 45 <= len(given) <= 55
    assert any("leg 1 has not been heard yet" in each for each in watched.input.warnings())
    watched.close()


def test_lossIsFailedOver() -> None:
    """A leg that loses more than the rate is left for one that does not, and kept if both do."""
    watched = Watched(lossRate=0.1, sequencing=RTP(), returnAfter=3)
    assert set(watched.flow(2, 0, 1)) == {0}
    assert set(watched.flow(3, 0, 1, losing=0, ratio=20)) == {0}
    given = watched.flow(3, 0, 1, losing=0)
    assert given[-80:] == [1] * 80
    assert any("leg 1 loses 33" in each for each in watched.input.warnings())
    assert watched.flow(5, 0, 1)[-80:] == [0] * 80
    watched.close()


def test_itGoesOverAtABoundary() -> None:
    """While the old leg delivers, it is given on until the new one begins a frame."""
    watched = Watched(lossRate=0.1, sequencing=RTP(), boundary=RTPFrame(), returnAfter=1)
    watched.flow(1.53, 0, 1)
    watched.flow(3, 0, 1, losing=0)
    numbers = [(each[11], numberIn(each)) for each in watched.collector.payloads]
    [first] = [
        number for (before, _), (leg, number) in pairwise(numbers) if (before, leg) == (0, 1)
    ]
    assert first % 5 == 0
    watched.close()


def test_aBoundaryIsNotWaitedForForEver() -> None:
    """Where no boundary comes, it goes over anywhere after the time set."""
    watched = Watched(silence=0.5, boundary=RTPFrame(), returnAfter=1, boundaryWait=0.5)
    watched.flow(1, 1, frame=10**9)
    assert watched.input.active == 1
    given = watched.flow(3, 0, 1, frame=10**9)
    assert 140 <= given.count(1) <= 160
    assert given == sorted(given, reverse=True)
    watched.close()


@given(data=st.data())
def test_whoeverDeliversAloneIsGivenOn(data: Any) -> None:
    """Whatever came before, only one leg is given on at a time, and the last that delivers is
    given on after the silence.
    """
    failover = Failover(3, Policy(silence=1.0, returnAfter=3.0), 0.0)
    now = 0.0
    pauses = st.tuples(st.floats(0, 2), st.integers(0, 2))
    for pause, leg in data.draw(st.lists(pauses, max_size=60)):
        if failover.deadline <= now + pause:
            failover.due(max(failover.deadline, now))
        now += pause
        passed = failover.take(leg, rtpRun([0]), now)
        assert (passed is not None) == (leg == failover.active)
    last = data.draw(st.integers(0, 2))
    taken = [failover.take(last, rtpRun([0]), now + each / 10) for each in range(1, 20)]
    assert None not in taken[11:]


@pytest_twisted.ensureDeferred
async def test_realSocketsFailOver(reactor: Any) -> None:
    """On loopback, a route goes on with the second port when nothing more comes to the first."""
    ports, collector = [freePort(), freePort()], Collector()
    sharing = GroupsockReactor(reactor)
    legs = [UDPInput(sharing, InputModel.parse(f"udp://127.0.0.1:{each}")) for each in ports]
    source = FailoverInput(reactor, legs, Policy(silence=0.2, returnAfter=0.2))
    route = Route(source, [collector])
    route.openRoute()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

        def send(*payloads: bytes) -> None:
            for payload, port in zip(payloads, ports, strict=False):
                if payload:
                    sender.sendto(payload, ("127.0.0.1", port))

        def has(last: bytes, *payloads: bytes) -> bool:
            send(*payloads)
            return collector.payloads[-1:] == [last]

        await until(reactor, lambda: has(b"a", b"a", b"b"))
        await until(reactor, lambda: has(b"b", b"", b"b"))
        await until(reactor, lambda: has(b"a", b"a", b"b"))
    assert source.changes == 2
    assert route.status().input.counters.datagrams == len(collector.payloads)
    await route.closeRoute()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"silence": 0}, "the silence is 0 s; it must be more than 0"),
        ({"lossRate": 2, "sequencing": RTP()}, "the loss rate is 2; it is between 0 and 1"),
        ({"lossRate": 0.1}, "a loss rate needs a sequencing"),
    ],
)
def test_whatCannotBeIsSaid(options: dict[str, Any], said: str) -> None:
    """A policy that there cannot be is a ValueError."""
    with pytest.raises(ValueError, match=said):
        Policy(**options)


@pytest.mark.parametrize("losing", [-1, 0])
@pytest.mark.parametrize("ssrc", [0, 9])
def test_lossIsThatOfTheStream(losing: int, ssrc: int) -> None:
    """Error correction and other streams beside one neither look like a loss nor hide one."""
    watched = Watched(lossRate=0.1, sequencing=RTP())
    for second in range(6):
        for number in range(100):
            watched.flow(0.01, 0, 1, losing=losing)
            beside = bytearray(rtp(second * 100 + number + 1500, ssrc))
            beside[1] = 127
            watched.legs[0].give(run(bytes(beside)))
    assert watched.input.active == (1 if losing == 0 else 0)
    watched.close()
