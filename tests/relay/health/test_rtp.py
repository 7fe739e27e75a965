"""RTP against the algorithms that RFC 3550 itself prints."""

from __future__ import annotations

from attrs import define
from hypothesis import given
from hypothesis import strategies as st

from tests.relay.health.support import rtp, runOf, runsOf
from txgroupsock.relay.health.rtp import RTPFigures, RTPHealth

MAX_DROPOUT, MAX_MISORDER, MIN_SEQUENTIAL, RTP_SEQ_MOD = 3000, 100, 2, 1 << 16


@define
class Reference:
    """
    Appendix A.1, A.3 and A.8 as printed.

    Marked with (*) is what is otherwise here: the first of the two packets that make a source
    known is counted, and so is what was sent before it and came later.
    """

    max_seq: int = 0
    cycles: int = 0
    base_seq: int = 0
    bad_seq: int = RTP_SEQ_MOD + 1
    probation: int = MIN_SEQUENTIAL
    received: int = 0
    expectedBefore: int = 0
    receivedBefore: int = 0
    restarts: int = 0
    transit: float | None = None
    jitter: float = 0.0
    isFirst: bool = True

    def init_seq(self, seq: int) -> None:
        self.base_seq = seq - 1  # (*)
        self.max_seq = seq
        self.bad_seq = RTP_SEQ_MOD + 1
        self.cycles = 0
        self.received = 1  # (*)

    def update_seq(self, seq: int) -> bool:
        if self.isFirst:
            self.isFirst = False
            self.max_seq = seq - 1
        udelta = (seq - self.max_seq) % RTP_SEQ_MOD
        if self.probation:
            if seq == (self.max_seq + 1) % RTP_SEQ_MOD:
                self.probation -= 1
                self.max_seq = seq
                if self.probation == 0:
                    self.init_seq(seq)
                    self.received += 1
                    return True
            else:
                self.probation = MIN_SEQUENTIAL - 1
                self.max_seq = seq
            return False
        if udelta < MAX_DROPOUT:
            if seq < self.max_seq:
                self.cycles += RTP_SEQ_MOD
            self.max_seq = seq
        elif udelta <= RTP_SEQ_MOD - MAX_MISORDER:
            if seq == self.bad_seq:
                self.expectedBefore += self.expected
                self.receivedBefore += self.received
                self.restarts += 1
                self.init_seq(seq)
            else:
                self.bad_seq = (seq + 1) & (RTP_SEQ_MOD - 1)
                return False
        else:
            late = self.extended - (RTP_SEQ_MOD - udelta)
            self.base_seq = min(self.base_seq, late)  # (*)
        self.received += 1
        return True

    @property
    def extended(self) -> int:
        return self.cycles + self.max_seq

    @property
    def expected(self) -> int:
        return self.extended - self.base_seq + 1

    @property
    def lost(self) -> int:
        return self.expectedBefore + self.expected - self.receivedBefore - self.received

    def timed(self, arrival: float, timestamp: float) -> None:
        """@param timestamp: in seconds, like the arrival."""
        transit = arrival - timestamp
        if self.transit is not None:
            self.jitter += (abs(transit - self.transit) - self.jitter) / 16
        self.transit = transit


steps = st.lists(
    st.one_of(
        st.tuples(st.just("next"), st.integers(1, 300)),
        st.tuples(st.just("lose"), st.integers(1, 30)),
        st.tuples(st.just("lose"), st.integers(2900, 3100)),
        st.tuples(st.just("late"), st.integers(1, 120)),
        st.tuples(st.just("again"), st.integers(0, 120)),
        st.tuples(st.just("jump"), st.integers(0, 65535)),
    ),
    max_size=30,
)


def sequenceOf(first: int, did: list[tuple[str, int]]) -> list[int]:
    """The sequence numbers that arrive; they go round where they have to."""
    sequence = [first, first + 1]
    at = first + 1
    for what, number in did:
        if what == "next":
            sequence += range(at + 1, at + number + 1)
            at += number
        elif what == "lose":
            at += number + 1
            sequence.append(at)
        elif what in {"late", "again"}:
            sequence.append(at - number)
        else:
            at = number
            sequence += [at, at + 1]
            at += 1
    return [each % RTP_SEQ_MOD for each in sequence]


@given(st.integers(0, 65535), steps, st.sampled_from([1, 2, 16, 64]), st.sampled_from([20, 21]))
def test_countsAreThoseOfTheRFC(
    first: int, did: list[tuple[str, int]], most: int, payload: int
) -> None:
    """However packets are lost, late, repeated or begun again, and whatever runs they come in,
    loss, sequence number and restarts are what appendix A.1 and A.3 give.
    """
    sequence = sequenceOf(first, did)
    reference = Reference()
    rejected = sum([not reference.update_seq(each) for each in sequence])
    health = RTPHealth()
    for run in runsOf([rtp(each, payload=bytes(payload)) for each in sequence], most):
        health.take(run)
    figures = health.measure()
    assert figures.isRTP
    assert figures.cumulativeLost == reference.lost
    assert figures.lost == figures.expected - figures.received
    assert figures.sequence is not None
    assert figures.sequence == reference.extended
    assert figures.restarts == reference.restarts
    # The one packet before a source is known, or starts again, is not taken off by the RFC.
    assert figures.rejected == rejected - 1
    assert figures.received + figures.duplicates == reference.received + reference.receivedBefore


@given(
    st.lists(st.tuples(st.integers(0, 30_000), st.integers(-5000, 20_000)), max_size=60),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 33, 10, 96]),
)
def test_jitterIsThatOfTheRFC(steps: list[tuple[int, int]], first: int, payloadType: int) -> None:
    """With each packet's arrival known, jitter is what appendix A.8 gives, by the clock of the
    payload type, also where timestamps go round.
    """
    rate = {0: 8000, 33: 90000, 10: 44100, 96: 90000}[payloadType]
    health, reference = RTPHealth(), Reference()
    arrival, timestamp, most = 1.7e9, first, 0.0
    for number, (pause, ticks) in enumerate([(0, 0), *steps]):
        arrival += pause / 1e6
        timestamp += ticks
        health.take(runOf([rtp(number, timestamp, payloadType=payloadType)], arrival))
        reference.timed(arrival, timestamp / rate)
        most = max(most, reference.jitter)
    figures = health.measure()
    assert abs(figures.jitter - reference.jitter * 1000) < 0.01  # float has 0.2 µs left there
    assert abs(figures.mostJitter - most * 1000) < 0.01
    assert figures.clockRate == (rate if steps else None)


def test_aRunHasOneArrival() -> None:
    """Jitter is measured from the last packet of one run to that of the next."""
    health = RTPHealth()
    for number in range(10):
        packets = [rtp(number * 10 + each, (number * 10 + each) * 900) for each in range(10)]
        health.take(runOf(packets, 5 + number * 0.1))
    assert health.measure().jitter < 1e-6


def test_jitterOfADynamicTypeHasTheClockThatIsGiven() -> None:
    """Clock rates can be named, also other ones than those of RFC 3551."""
    health = RTPHealth({97: 48_000})
    for number in range(5):
        health.take(runOf([rtp(number, number * 960, payloadType=97)], number * 0.02))
    figures = health.measure()
    assert (figures.payloadType, figures.clockRate) == (97, 48_000)
    assert figures.jitter < 1e-6


def test_lossReorderingAndDuplicatesAreToldApart() -> None:
    """Each is counted once, and what comes late is no longer lost."""
    health = RTPHealth()
    for each in (1, 2, 3, 5, 6, 4, 9, 9, 8, 8):
        health.take(runOf([rtp(each)]))
    figures = health.measure()
    assert (figures.expected, figures.received, figures.lost) == (9, 8, 1)
    assert (figures.reordered, figures.duplicates) == (2, 2)
    assert (figures.recentExpected, figures.recentLost) == (9, 1)
    health.take(runOf([rtp(7)]))
    figures = health.measure()
    assert (figures.lost, figures.recentLost, figures.recentLoss) == (0, 0, 0.0)


def test_recentLossIsThatOfTheInterval() -> None:
    """Its share is of what was sent since the last look."""
    health = RTPHealth()
    health.take(runOf([rtp(each) for each in range(10)]))
    health.measure()
    health.take(runOf([rtp(each) for each in (12, 13, 14, 15, 16, 17, 18, 19)]))
    figures = health.measure()
    assert (figures.recentExpected, figures.recentLost, figures.recentLoss) == (10, 2, 0.2)


def test_anotherSourceIsAChange() -> None:
    """A new SSRC counts from its second packet in sequence; each keeps its own numbers."""
    health = RTPHealth()
    health.take(runOf([rtp(each, ssrc=1) for each in range(20)]))
    health.take(runOf([rtp(500, ssrc=2)]))
    assert health.measure().ssrcChanges == 0
    health.take(runOf([rtp(each, ssrc=2) for each in range(501, 520)]))
    health.take(runOf([rtp(each, ssrc=1) for each in range(20, 40)]))
    figures = health.measure()
    assert (figures.ssrc, figures.ssrcChanges, figures.lost) == (1, 1, 0)
    assert (figures.received, figures.restarts, figures.rejected) == (60, 0, 0)


def test_sourcesInOneRunAreToldApart() -> None:
    """Packets of two sources may alternate."""
    health = RTPHealth()
    packets = [rtp(each, ssrc=ssrc) for each in range(32) for ssrc in (1, 2)]
    health.take(runOf(packets))
    figures = health.measure()
    assert (figures.received, figures.lost, figures.ssrcChanges) == (64, 0, 1)


def test_payloadTypesAreCompared() -> None:
    """A change counts, and a mark does not."""
    health = RTPHealth()
    packets = [rtp(each, isMarked=each % 3 == 0) for each in range(16)]
    packets += [rtp(each, payloadType=96) for each in range(16, 32)]
    for run in runsOf(packets, 16):
        health.take(run)
    figures = health.measure()
    assert (figures.payloadType, figures.payloadTypeChanges, figures.lost) == (96, 1, 0)


def test_floodsOfSourcesTakeNoMemory() -> None:
    """Of made-up sources at most 16 are kept, and the true one stays known."""
    health = RTPHealth()
    health.take(runOf([rtp(each, ssrc=7) for each in range(10)]))
    for each in range(5000):
        health.take(runOf([rtp(each, ssrc=1000 + each)]))
    for each in range(1000):
        health.take(runOf([rtp(5, ssrc=10_000 + each), rtp(6, ssrc=10_000 + each)]))
    assert len(health._sources) == 16
    health.take(runOf([rtp(each, ssrc=7) for each in range(10, 20)]))
    figures = health.measure()
    assert figures.lost == 0
    assert figures.received == 20 + 2000
    assert figures.rejected == 5000


def test_whatIsNoRTPIsCountedAsThat() -> None:
    """RTCP and other datagrams are no loss; without a source nothing is claimed."""
    health = RTPHealth()
    health.take(runOf([b""]))
    health.take(runOf([bytes(100)] * 9))
    health.take(runOf([bytes([0x80, 200]) + bytes(26)]))
    health.take(runOf([rtp(1)[:11]]))
    assert health.measure() == RTPFigures(notRTP=11, rtcp=1)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20))
def test_nothingThatComesRaises(datagrams: list[bytes]) -> None:
    """Whatever datagrams hold, they are counted."""
    health = RTPHealth()
    for run in runsOf([bytes([0x80 | each[0] if each else 0]) + each for each in datagrams], 8):
        health.take(run)
    figures = health.measure()
    assert figures.received + figures.rejected + figures.notRTP + figures.rtcp <= len(datagrams)
