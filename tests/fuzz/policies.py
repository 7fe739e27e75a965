"""Targets: what decides over datagrams."""

from __future__ import annotations

from collections import Counter

from twisted.internet.task import Clock
from zope.interface import implementer

from tests.fuzz.pieces import Pieces
from txgroupsock import Run, Stage
from txgroupsock.interfaces import IRunReceiver
from txgroupsock.relay.health import Health
from txgroupsock.relay.redundancy.boundary import RTPFrame, TransportStreamUnit
from txgroupsock.relay.redundancy.failover import Failover, Policy
from txgroupsock.relay.redundancy.merger import Merger
from txgroupsock.relay.redundancy.sequencing import RTP, SequenceField
from txgroupsock.relay.viewers.stages import AlignTS, Frame, StripRTP


@implementer(IRunReceiver)
class _Taking:
    """Counts what it is given."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    def runReceived(self, run: Run) -> None:
        self.given += [bytes(datagram) for datagram in run]


def _passed(data: bytes, stage: Stage) -> list[bytes]:
    """What a stage gives of runs; the counts of it add up."""
    taking, came = _Taking(), 0
    stage.openStage(taking)
    for run in Pieces(data).runs():
        stage.runReceived(run)
        came += len(run)
    counters = stage.counters
    assert counters.datagrams == len(taking.given)
    assert counters.bytes == sum(map(len, taking.given))
    assert counters.datagrams + counters.dropped.total() == came
    return taking.given


def stripRTP(data: bytes) -> None:
    """What came has gone out without its head, or is counted; no more is remembered than 16."""
    stage = StripRTP()
    assert all(_passed(data, stage))
    assert len(stage._prevailing._rivals) <= 16


def alignTS(data: bytes) -> None:
    """What came has gone out as it was, or is counted."""
    stage = AlignTS()
    given = Counter(_passed(data, stage))
    assert not given - Counter(bytes(each) for run in Pieces(data).runs() for each in run)


def framed(data: bytes) -> None:
    """Frames can be told apart again."""
    for frame in _passed(data, Frame()):
        assert int.from_bytes(frame[:2], "big") == len(frame) - 2


def healthStage(data: bytes) -> None:
    """All goes on as it was, and looking at it never ends."""
    clock = Clock()
    stage = Health(clock, "fuzz")
    assert _passed(data, stage) == [bytes(each) for run in Pieces(data).runs() for each in run]
    clock.advance(1)
    clock.advance(5)
    assert stage._isLooking
    stage.status().toJSON()
    stage.closeStage()


def merge(data: bytes) -> None:
    """Each datagram goes on once at most, and the rest is counted; what is held has a bound."""
    pieces = Pieces(data)
    limit, window = pieces.number(20) + 1, (pieces.number(4) + 1) / 20
    way = SequenceField(3, 1) if pieces.number(4) == 0 else RTP()
    merger = Merger(2, way, window, limit)
    most, came = merger._limit, Counter[bytes]()
    given: Counter[bytes] = Counter()
    for run in pieces.runs():
        while (deadline := merger.deadline) is not None and deadline <= pieces.now:
            given.update(bytes(each) for one in merger.due(deadline) for each in one)
            assert merger.deadline is None or merger.deadline > deadline
        came.update(bytes(each) for each in run)
        out = merger.take(pieces.number(2), run, pieces.now)
        given.update(bytes(each) for one in out for each in one)
        assert merger.holding <= 2 * most + len(run)
        assert all(len(leg._missing) <= 257 for leg in merger.legs)
    given.update(bytes(each) for one in merger.flush(pieces.now) for each in one)
    assert not given - came
    legs = merger.legs
    counted = sum(leg.received + leg.duplicates + leg.strays for leg in legs)
    assert counted + merger.holding + merger.unnumbered == came.total()
    assert sum(leg.used for leg in legs) == given.total()


def failover(data: bytes) -> None:
    """Only what came on the leg that is given on goes on, and one is always chosen."""
    pieces = Pieces(data)
    boundary = (None, RTPFrame(), TransportStreamUnit())[pieces.number(3)]
    lossRate = 0.1 if pieces.number(2) else None
    policy = Policy(0.2, lossRate, RTP(), 0.5, boundary, 0.1)
    legs = Failover(3, policy, 0.0)
    passed = came = 0
    for run in pieces.runs():
        leg = pieces.number(3)
        out = legs.take(leg, run, pieces.now)
        came += len(run)
        if out is not None:
            passed += len(out)
            assert legs.active == leg
            assert bytes(run.data).endswith(bytes(out.data))
        assert 0 <= legs.active < 3
        assert all(0 <= each.lossRate <= 1 for each in legs.legs)
    assert sum(each.received for each in legs.legs) == came
    assert sum(each.passed for each in legs.legs) == passed
