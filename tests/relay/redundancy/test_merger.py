"""One stream from several legs, without any I/O."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.relay.redundancy.support import numbersIn, rtp, rtpRun, run, spoil
from txgroupsock.primitives.run import Run
from txgroupsock.relay.redundancy import RTP, Merger, SequenceField

WINDOW = 0.1


class Legs:
    """A merger of RTP that is given runs at set times, and what it gave on, with when."""

    def __init__(self, count: int = 2, **options: Any) -> None:
        self.merger = Merger(count, RTP(), WINDOW, **options)
        self.given: list[tuple[float, int]] = []
        self.now = 0.0

    def take(self, leg: int, taken: Run, at: float | None = None) -> list[int]:
        """Let time pass, and give a run to a leg, whose memory then changes."""
        if at is not None:
            self.until(at)
        return self._given(self.merger.take(leg, taken, self.now), taken)

    def until(self, at: float) -> None:
        """Let time pass."""
        while (deadline := self.merger.deadline) is not None and deadline <= at:
            assert deadline >= self.now
            self.now = deadline
            self._given(self.merger.due(deadline))
            assert self.merger.deadline != deadline, "it would be called for ever"
        self.now = at

    def _given(self, runs: Sequence[Run], lent: Run | None = None) -> list[int]:
        for each in runs:
            assert all(len(one) == each.segmentSize for one in list(each)[:-1])
            assert len(each) <= 64
        numbers = numbersIn(runs)
        self.given += [(self.now, each) for each in numbers]
        if lent is not None:
            spoil(lent)
        return numbers

    @property
    def numbers(self) -> list[int]:
        return [number for _, number in self.given]


@pytest.fixture
def legs() -> Legs:
    """Two of them."""
    return Legs()


def test_whatIsInOrderGoesOnWhereItLies(legs: Legs) -> None:
    """A run of which all is new and nothing is missing is given on itself; its copy is not."""
    for first in range(0, 300, 10):
        taken = rtpRun(range(first, first + 10))
        assert legs.merger.take(0, taken, 0.0) == [taken]
        assert legs.merger.take(1, rtpRun(range(first, first + 10)), 0.0) == []
    assert legs.merger.holding == 0


def test_aGapIsFilledByTheOtherLeg(legs: Legs) -> None:
    """What comes after a gap waits until the other leg has brought what is missing."""
    assert legs.take(0, rtpRun([0, 1, 4, 5])) == [0, 1]
    assert legs.take(1, rtpRun([0, 1, 2]), 0.05) == [2]
    assert legs.take(1, rtpRun([3, 4, 5]), 0.08) == [3, 4, 5]
    assert legs.merger.holding == legs.merger.lost == 0
    assert legs.merger.deadline is None


def test_aGapIsGivenUpAfterTheWindow(legs: Legs) -> None:
    """What no leg brings within the window is lost; what comes later still is late."""
    legs.take(0, rtpRun([0, 2]))
    legs.take(0, rtpRun([4]), 0.03)
    legs.take(1, rtpRun([4, 5]), 0.06)
    legs.until(1.0)
    assert legs.given == [(0.0, 0), (0.1, 2), (0.13, 4), (0.13, 5)]
    assert legs.merger.lost == 2
    assert legs.take(1, rtpRun([1, 2, 3])) == []
    assert [each.late for each in legs.merger.status(1.0)] == [0, 2]


@settings(max_examples=300)
@given(data=st.data())
def test_itIsTheUnionInOrder(data: Any) -> None:
    """
    Whatever each leg loses, doubles and reorders within the window, the output is all that any
    of them had, once and in order; what is missing in it is counted.
    """
    total = data.draw(st.integers(1, 150))
    start = data.draw(st.sampled_from([0, 65400, 32760, 2**20]))
    events: list[tuple[float, int, list[int]]] = [(-0.001, 0, [start])]
    brought = {0}
    for leg in range(data.draw(st.integers(1, 3))):
        lost = data.draw(st.sets(st.integers(1, total), max_size=total))
        skew = 0.0 if leg == 0 else data.draw(st.floats(0.001, 0.05))
        has = [each for each in range(leg == 0, total) if each not in lost]
        jitter = data.draw(st.lists(st.integers(0, 8), min_size=len(has), max_size=len(has)))
        twice = data.draw(st.sets(st.sampled_from(has or [0]), max_size=5))
        came = sorted(
            [(number + late, number) for number, late in zip(has, jitter, strict=True)]
            + [(number + 9, number) for number in twice if number in has]
        )
        brought.update(has)
        while came:
            size = data.draw(st.integers(1, 20))
            batch, came = came[:size], came[size:]
            events.append((batch[-1][0] / 1000 + skew, leg, [start + each for _, each in batch]))
    legs = Legs(3)
    for at, leg, numbers in sorted(events):
        legs.take(leg, rtpRun(numbers), at)
    legs.until(10.0)
    assert legs.numbers == [start + each for each in sorted(brought)]
    assert legs.merger.lost == max(brought) + 1 - len(brought)
    assert legs.merger.holding == 0
    assert legs.merger.strays == legs.merger.restarts == 0
    assert sum(each.used for each in legs.merger.legs) == len(brought)


@given(data=st.data())
def test_whateverComesItNeverStopsNorGoesBack(data: Any) -> None:
    """
    Runs of any numbers, streams and legs give nothing twice between restarts, are never held
    longer than a few windows, and leave nothing behind that grows.
    """
    limit = 64
    legs = Legs(2, limit=limit)
    number = st.sampled_from([0, 5, 30, 100, 400, 20000, 40000, 65530]) | st.integers(0, 65535)
    steps = st.lists(
        st.tuples(
            st.integers(0, 1),
            number,
            st.integers(1, 20),
            st.sampled_from([1, 2]),
            st.floats(0, 0.2),
        ),
        max_size=40,
    )
    came = 0
    for leg, first, count, ssrc, pause in data.draw(steps):
        legs.take(leg, rtpRun(range(first, first + count), ssrc), legs.now + pause)
        came += count
        assert legs.merger.holding <= 2 * limit + 20
        assert len(legs.given) <= came
    # Then one leg brings a sound stream: it is given on, all but what comes in a window.
    began = legs.now + 0.5
    for each in range(100):
        legs.take(0, rtpRun([50000 + each], ssrc=9), began + each / 100)
    legs.until(began + 10)
    assert legs.numbers[-85:] == list(range(50015, 50100))
    assert legs.merger.holding == 0


def test_aLegIsCutAndRestoredTenTimes(legs: Legs) -> None:
    """Nothing is lost while the other leg goes on, even if the one cut comes back cycles later."""
    rate, cut = 100_000, 70_000  # datagrams, more than there are numbers
    skew, sent = 8_000, 0
    pending: list[tuple[float, int, Run]] = []
    for time in range(10):
        for leg in (0, 1):
            for first in range(sent, sent + cut + 10_000, 1000):
                isCut = leg == time % 2 and first < sent + cut
                if not isCut:
                    at = (first + skew * leg) / rate
                    pending.append((at, leg, rtpRun(range(first, first + 1000), size=20)))
        sent += cut + 10_000
    for at, leg, taken in sorted(pending, key=lambda each: each[:2]):
        legs.merger.due(at)
        for one in legs.merger.take(leg, taken, at):
            legs.given += [(at, each) for each in numbersIn([one])]
    assert legs.numbers == list(range(sent))
    status = legs.merger.status(sent / rate)
    assert legs.merger.lost == legs.merger.restarts == legs.merger.strays == 0
    assert [each.lost for each in status] == [4 * cut, 5 * cut - skew * 0]
    assert status[1].skew.most == pytest.approx(skew / rate, abs=0.011)


def test_aSenderThatBeginsAnewIsFollowed(legs: Legs) -> None:
    """When both legs go over to other numbers, or another SSRC, all of the new stream is given on
    at once; what the slower leg still brings of the old one is not mixed in.
    """
    for ssrc, first in ((7, 0), (7, 30_000), (8, 100), (8, 60)):
        began = legs.now + 0.02
        for each in range(50):
            legs.take(
                0,
                rtpRun([1000 * first + each if ssrc == 7 and not first else first + each], ssrc),
                began + each / 1000,
            )
        for each in range(50):
            legs.take(1, rtpRun([first + each], ssrc), began + 0.06 + each / 1000)
    expected = [first + each for first in (0, 30_000, 100) for each in range(50)]
    assert legs.numbers[:150] == expected


@pytest.mark.parametrize("jump", [-40_000, -20_000, -500, 20_000, 40_000, 65_000])
def test_afterAPauseTheStreamGoesOnAnywhere(legs: Legs, jump: int) -> None:
    """With one leg alone, and after a pause, no datagram but those of a window waits; none is
    taken for old.
    """
    for each in range(100):
        legs.take(0, rtpRun([70_000 + each]), each / 1000)
    for each in range(500):
        legs.take(0, rtpRun([70_000 + jump + each]), 1.0 + each / 1000)
    legs.until(3.0)
    assert legs.numbers[100:] == [70_000 + jump + each for each in range(500)]


def test_aLegThatGoesAstrayIsNotFollowed(legs: Legs) -> None:
    """While the other leg goes on, a leg that goes elsewhere changes nothing, and is counted."""
    for each in range(1000):
        elsewhere = rtpRun([each], 8) if 200 <= each < 700 else rtpRun([each])
        legs.take(0, elsewhere, each / 1000)
        legs.take(1, rtpRun([each]), each / 1000)
    legs.until(5.0)
    assert legs.numbers == list(range(1000))
    assert legs.merger.strays == legs.merger.legs[0].strays == 500
    assert legs.merger.holding == 0


def test_theLegThatWentAstrayIsFollowedWhenItIsTheLast(legs: Legs) -> None:
    """Once nothing more comes of the stream given on, for a window, the other one is."""
    for each in range(1000):
        if each < 500:
            legs.take(0, rtpRun([each]), each / 1000)
        legs.take(1, rtpRun([each], 8), each / 1000)
    assert legs.numbers[:500] == list(range(500))
    assert 595 <= legs.numbers[500] <= 602
    assert legs.numbers[500:] == list(range(legs.numbers[500], 1000))
    assert legs.merger.restarts == 1


def test_oneDatagramAloneIsNotFollowed(legs: Legs) -> None:
    """A damaged sequence number does not move the stream."""
    for each in range(50):
        legs.take(0, rtpRun([each]), each / 1000)
    legs.take(0, rtpRun([40_000]), 0.05)
    legs.take(0, rtpRun([40_000], 8), 0.05)
    for each in range(50, 500):
        legs.take(0, rtpRun([each]), each / 1000)
    legs.until(1.0)
    assert legs.numbers == list(range(500))
    assert legs.merger.strays == 2


def test_noMoreIsHeldThanTheLimit() -> None:
    """When too much waits, what is missing is given up, and counted as overflowed too."""
    legs = Legs(limit=100)
    legs.take(0, rtpRun([0]))
    for first in range(2, 402, 10):
        legs.take(0, rtpRun(range(first, first + 10)))
        assert legs.merger.holding <= 100
    assert legs.numbers == [0, *range(2, 402)]
    assert (legs.merger.lost, legs.merger.overflowed) == (1, 1)


def test_whatHasNoNumberIsCounted(legs: Legs) -> None:
    """What is no RTP is not given on."""
    assert legs.take(0, run(rtp(0), bytes(40), rtp(1))) == [0, 1]
    assert legs.merger.unnumbered == 1


@pytest.mark.parametrize("width", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("order", ["big", "little"])
def test_numbersOfAnyWidthBeginAnew(width: int, order: Any) -> None:
    """A stream goes on over the end of its numbers, on both legs, whatever their width."""
    modulus = 1 << 8 * width
    merger = Merger(2, SequenceField(3, width, order), WINDOW)
    given: list[bytes] = []
    sent = [
        b"abc" + ((modulus - 300 + each) % modulus).to_bytes(width, order) for each in range(900)
    ]
    lost: list[Callable[[int], bool]] = [lambda each: each % 7 == 3, lambda each: each % 7 == 5]
    for first in range(0, 900, 9):
        for leg in (0, 1):
            batch = [
                sent[each] for each in range(first, first + 9) if not lost[leg](each) or not each
            ]
            for out in merger.take(leg, run(*batch), first / 1000):
                given += [bytes(each) for each in out]
    assert given == sent
    assert merger.lost == 0


def test_eachLegSaysWhatItLacked(legs: Legs) -> None:
    """Loss, skew, duplicates and silence are told for each leg."""
    for each in range(1000):
        if each % 5:
            legs.take(0, rtpRun([each]), each / 1000)
        if each >= 80:
            legs.take(1, rtpRun([each - 80, each - 80]), each / 1000)
    one, other = legs.merger.status(3.0)
    assert (one.received, one.used, one.lost, one.duplicates) == (800, 800, 199, 0)
    assert (other.received, other.lost, other.duplicates) == (920, 0, 920)
    assert one.lossRate == pytest.approx(0.2, abs=0.01)
    assert other.lossRate == 0
    assert other.skew.mean == pytest.approx(0.08, abs=0.002)
    assert one.skew.most == 0
    assert other.silence == pytest.approx(3.0 - 0.999)
    assert "mean 79" in str(other) or "mean 80" in str(other)


def test_aWindowIsAStretchOfTime() -> None:
    """A window of no length is refused."""
    with pytest.raises(ValueError, match="the window is 0 s; it must be more than 0"):
        Merger(2, RTP(), 0)


def test_aDamagedNumberAheadCostsNothingElse(legs: Legs) -> None:
    """A single number far ahead is waited for, given up and left: all others are given on."""
    for each in range(500):
        for leg in (0, 1):
            legs.take(leg, rtpRun([each]), each / 1000)
        if each == 50:
            legs.take(0, rtpRun([20_000]))
    legs.until(1.0)
    assert [each for each in legs.numbers if each != 20_000] == list(range(500))
    assert legs.merger.restarts == 1


def ofType(kind: int, number: int, ssrc: int = 7) -> bytes:
    """An RTP packet of another payload type."""
    packet = bytearray(rtp(number, ssrc))
    packet[1] = kind
    return bytes(packet)


def test_whatIsNotOfTheStreamDoesNotGetIntoIt() -> None:
    """Reports, and error correction with numbers of its own, are none of the stream's datagrams."""
    legs = Legs()
    for number in range(0, 1000, 10):
        for leg in (0, 1):
            report = bytes.fromhex("81c90007") + bytes(4) + struct.pack("!I", 7) + bytes(20)
            legs.take(leg, rtpRun(range(number, number + 10)), number / 1000)
            legs.take(leg, run(report))
            for block in range(2):
                legs.take(leg, run(ofType(127, number // 5 + 300 + block)))
                legs.take(leg, run(ofType(97, number // 5 + block, ssrc=0)))
    assert legs.numbers == list(range(1000))
    assert legs.merger.unnumbered == 200
    assert legs.merger.strays + legs.merger.holding == 800
    assert legs.merger.lost == legs.merger.restarts == 0


def test_whatCameFirstNeedNotBeTheStream() -> None:
    """Where error correction was heard first, the stream is given on from the next window on."""
    legs = Legs()
    for number in range(1000):
        if not number % 10:
            legs.take(0, run(ofType(127, 5000 + number // 10, ssrc=3)), number / 1000)
        legs.take(0, rtpRun([number]), number / 1000)
    assert [each for each in legs.numbers if each < 5000] == list(range(1000))
    assert legs.merger.restarts == 1


def test_payloadTypesMayTakeTurns() -> None:
    """Packets of several payload types that are numbered together are one stream."""
    legs = Legs()
    for number in range(500):
        kind = 101 if number % 50 > 40 else 8 if number < 300 else 9
        for leg in (0, 1):
            if number % 7 != leg:
                legs.take(leg, run(ofType(kind, number)), number / 1000 + leg / 3000)
    legs.until(9)
    assert legs.numbers == list(range(500))
    assert legs.merger.lost == 0


@pytest.mark.parametrize("limit", [1, 3, 40])
def test_aRunMayBeLargerThanTheLimit(limit: int) -> None:
    """A stream that begins anew is followed, and given on, in runs of any size."""
    legs = Legs(limit=limit)
    for start in (0, 30000, 5000):
        for number in range(start, start + 6400, 64):
            at = legs.now + 0.01
            legs.take(0, rtpRun(range(number, number + 64)), at)
            legs.take(1, rtpRun(range(number + 100, number + 164)), at)
        legs.until(legs.now + 1)
    assert legs.merger.restarts >= 2
    assert legs.numbers[-64:] == list(range(11336, 11400)) or legs.numbers[-1] >= 11399
    assert legs.merger.holding == 0


def madeUp(count: int, ssrc: int) -> list[Run]:
    """Packets with sequence numbers at random."""
    random = Random(5)
    return [rtpRun([random.randrange(65536)], ssrc, 1328) for _ in range(count)]


@pytest.mark.parametrize("ssrc", [7, 8])
def test_whatIsMadeUpIsNotKept(ssrc: int) -> None:
    """However many sequence numbers are made up, what is kept and searched has a bound."""
    merger = Merger(2, RTP(), 10.0)
    merger.take(0, rtpRun([0]), 0.0)
    given = 1
    runs = madeUp(20000, ssrc)
    for number, each in enumerate(runs):
        now = number / 2500
        given += sum(map(len, merger.take(1, each, now)))
        if (deadline := merger.deadline) is not None and deadline <= now:
            given += sum(map(len, merger.due(now)))
        assert merger.holding <= 16384 + 1
        assert merger.bytes <= 16384 * 768 * 5 // 4 + 2 * 1328
    assert len(merger.legs[1]._missing) <= 257
    given += sum(map(len, merger.flush(9.0)))
    assert given <= len(runs) + 1


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.integers(0, 65535),
            st.integers(1, 5),
            st.integers(7, 8),
            st.floats(0, 0.2),
        ),
        max_size=80,
    ),
    st.integers(1, 20),
)
def test_countsAddUpWhateverComes(sent: list[tuple[int, int, int, int, float]], limit: int) -> None:
    """What came was given on, had come before, was late or a stray; or is held."""
    legs = Legs(limit=limit)
    came = 0
    for leg, first, count, ssrc, wait in sent:
        numbers = range(first, first + count)
        legs.take(leg, rtpRun(numbers, ssrc), legs.now + wait)
        came += count
        assert legs.merger.holding <= 2 * limit + 5
    legs.until(legs.now + 1)
    legs._given(legs.merger.flush(legs.now))
    merger = legs.merger
    assert sum(each.used for each in merger.legs) == len(legs.numbers)
    kept = merger.holding
    assert merger.strays + len(legs.numbers) + kept <= came
    assert sum(each.received + each.duplicates + each.strays for each in merger.legs) + kept == came
