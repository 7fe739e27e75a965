"""RTP is taken off, and frames are put on, for whole runs and for single datagrams alike."""

from __future__ import annotations

import struct
from random import Random

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from zope.interface import implementer
from zope.interface.verify import verifyObject

from txgroupsock import Run, Stage
from txgroupsock.interfaces import IRunReceiver
from txgroupsock.packets.rtp import payloadOf
from txgroupsock.relay.interfaces import IRelayStage
from txgroupsock.relay.viewers.stages import AlignTS, Frame, StripRTP


@implementer(IRunReceiver)
@define
class Taking:
    """Keeps the datagrams of runs."""

    datagrams: list[bytes] = field(factory=list)

    def runReceived(self, run: Run) -> None:
        assert len(run) == len(list(run))
        self.datagrams += [bytes(each) for each in run]


def run(*datagrams: bytes, at: float = 1.0) -> Run:
    """Datagrams of one size, but the last."""
    return Run(memoryview(b"".join(datagrams)), len(datagrams[0]), ("192.0.2.1", 5000), at)


def through(stage: Stage, *runs: Run) -> list[bytes]:
    """What a stage makes of runs."""
    taking = Taking()
    stage.openStage(taking)
    for each in runs:
        stage.runReceived(each)
    return taking.datagrams


def rtp(
    payload: bytes,
    sequence: int = 0,
    sources: int = 0,
    extension: int = -1,
    padding: int = 0,
    kind: int = 33,
    ssrc: int = 0x1234,
) -> bytes:
    """An RTP packet; so many words of extension, so many bytes of padding."""
    first = 0x80 | sources | 0x10 * (extension >= 0) | 0x20 * (padding > 0)
    packet = struct.pack("!BBHII", first, 0x80 | kind, sequence, 90000, ssrc)
    packet += bytes(4 * sources)
    if extension >= 0:
        packet += struct.pack("!HH", 0xBEDE, extension) + bytes([7]) * 4 * extension
    return packet + payload + bytes([padding]) * padding


def test_theyAreStages() -> None:
    """All provide IRelayStage."""
    for stage in (StripRTP(), AlignTS(), Frame()):
        verifyObject(IRelayStage, stage)


def test_headersOfARunAreStripped() -> None:
    """Each datagram of a run loses its header, a shorter last one too."""
    stage = StripRTP()
    payloads = [bytes([n]) * 1316 for n in range(9)] + [b"last"]
    packets = [rtp(each, number) for number, each in enumerate(payloads)]
    assert through(stage, run(*packets)) == payloads
    assert stage.counters.datagrams == 10
    assert not stage.counters.dropped


@pytest.mark.parametrize("sources", [0, 1, 15])
@pytest.mark.parametrize("extension", [-1, 0, 3])
@pytest.mark.parametrize("padding", [0, 1, 200])
def test_everyFormOfHeader(sources: int, extension: int, padding: int) -> None:
    """Contributing sources, extension and padding go too (RFC 3550 section 5)."""
    packets = [rtp(bytes([n]) * 100, n, sources, extension, padding) for n in range(5)]
    assert through(StripRTP(), run(*packets)) == [bytes([n]) * 100 for n in range(5)]


def test_formsMayBeMixed() -> None:
    """Datagrams of one size with different headers keep their order."""
    packets = [rtp(b"a" * 104), rtp(b"b" * 100, sources=1), rtp(b"c" * 100, extension=0)]
    packets += [rtp(b"d" * 94, padding=10), rtp(b"e" * 104)]
    assert {len(each) for each in packets} == {116}
    expected = [b"a" * 104, b"b" * 100, b"c" * 100, b"d" * 94, b"e" * 104]
    assert through(StripRTP(), run(*packets)) == expected


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"\x80",
        b"\x80" * 11,
        b"\x47" + bytes(187),  # MPEG-TS as it is
        b"\x40" + bytes(100),  # version 1
        b"\x8f" + bytes(20),  # contributing sources that are not there
        b"\x90" + bytes(12),  # an extension that is not there
        b"\x90" + bytes(11) + b"\x00\x00\xff\xff" + bytes(100),
        b"\xa0" + bytes(40),  # no padding where some should be
        b"\xa0" + bytes(39) + b"\xff",  # more padding than packet
    ],
)
def test_whatIsNoRTPIsDropped(junk: bytes) -> None:
    """What cannot be an RTP packet is dropped and counted."""
    stage = StripRTP()
    assert through(stage, run(junk)) == []
    assert stage.counters.dropped == {"not RTP": 1}


def test_packetsWithoutPayloadAreNothing() -> None:
    """A header alone adds nothing to a stream, and is counted."""
    stage = StripRTP()
    assert through(stage, run(rtp(b""), rtp(b"")), run(rtp(b"x"), rtp(b""))) == [b"x"]
    assert stage.counters.dropped == {"empty": 3}


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(rtp, st.binary(max_size=28), kind=st.sampled_from([33, 72]), ssrc=st.just(7)),
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 40),
)
def test_runsAndSingleDatagramsAgree(bodies: list[bytes], size: int) -> None:
    """Whatever comes, a run gives what its datagrams give one by one, and counts add up."""
    datagrams = [each.ljust(size + 1, b"\x80")[: size + 1] for each in bodies]
    for make in (StripRTP, AlignTS):
        together, single = make(), make()
        given = through(together, run(*datagrams))
        assert given == through(single, *map(run, datagrams))
        counters = together.counters
        assert counters == single.counters
        assert counters.datagrams + counters.dropped.total() == len(datagrams)
        payloads = [payloadOf(memoryview(each)) for each in datagrams]
        assert make is AlignTS or set(given) <= {bytes(each) for each in payloads if each}


SR = bytes.fromhex("80c80006") + bytes(24)
"""A sender report of RTCP (RFC 3550 section 6.4.1)."""


def packets(number: int = 7, content: int = 0) -> bytes:
    """Packets of a transport stream."""
    return (b"\x47\x01\x00\x10" + bytes([content]) * 184) * number


def isAligned(datagrams: list[bytes]) -> bool:
    """Whether a stream of bytes has its sync bytes where they belong."""
    whole = b"".join(datagrams)
    return not len(whole) % 188 and set(whole[::188]) == {0x47}


@pytest.mark.parametrize(
    ("beside", "reason"),
    [
        (SR, "RTCP"),
        (rtp(bytes(1329), 500, kind=127, ssrc=0), "other stream"),
        (rtp(bytes(1329), 500, kind=97), "other stream"),
        (rtp(bytes(1316), 500, ssrc=99), "other stream"),
        (rtp(packets(3) + b"x"), "not TS"),
        (rtp(bytes(1316)), "not TS"),
        (b"hello", "not RTP"),
    ],
)
@pytest.mark.parametrize("isFirst", [False, True])
def test_whatComesBesideAStreamInRTPIsLeftOut(beside: bytes, reason: str, isFirst: bool) -> None:
    """Reports, error correction and stray datagrams never shift a transport stream."""
    stage = StripRTP()
    runs = [run(rtp(packets(content=n % 256), n), at=n / 200) for n in range(300)]
    others = [run(beside, at=n / 200) for n in range(300)]
    pairs = [each for pair in zip(runs, others, strict=True) for each in pair[:: 1 - 2 * isFirst]]
    given = through(stage, *pairs)
    if given[0] != packets():
        assert isFirst  # the first to come is taken for the stream
        given = given[1:]
    assert given[:50] == [packets(content=n) for n in range(50)]
    assert len(given) == 300
    assert isAligned(given)
    assert stage.counters.dropped[reason] >= 299
    assert stage.counters.datagrams + stage.counters.dropped.total() == 600


def test_anotherTransportStreamBesideOneInRTPIsLeftOut() -> None:
    """Of two streams of the same rate the first to come is given on."""
    runs = [run(rtp(packets(), n, ssrc=n % 2), at=n / 200) for n in range(300)]
    stage = StripRTP()
    assert len(through(stage, *runs)) == 150
    assert stage.counters.dropped == {"other stream": 150}


@pytest.mark.parametrize("kind", [33, 97])
@pytest.mark.parametrize("isTS", [True, False])
@pytest.mark.parametrize("areBeside", [0, 3])
def test_aSenderThatBeginsAnewIsFollowed(kind: int, isTS: bool, areBeside: int) -> None:
    """Another SSRC or payload type is followed within a second, whatever comes beside it."""
    stage = StripRTP()
    body = packets(content=1) if isTS else b"frame"
    before = [run(rtp(body, n), at=n / 100) for n in range(200)]
    after = [
        run(each, at=2 + n / 100)
        for n in range(200)
        for each in (
            rtp(b"later" if not isTS else packets(content=2), n, kind=kind, ssrc=kind),
            *(rtp(b"noise", n, ssrc=1000 + 3 * n + other) for other in range(areBeside)),
        )
    ]
    given = through(stage, *before, *after)
    assert given[:200] == [body] * 200
    later = b"later" if not isTS else packets(content=2)
    assert set(given[200:]) == {later}
    assert len(given) >= 300


@pytest.mark.parametrize("make", [StripRTP, AlignTS])
def test_ofWhatIsNoTransportStreamNothingIsLeftOut(make: type[Stage]) -> None:
    """Datagrams of any size and content go on, those that look like packets too."""
    stage = make()
    bodies = [bytes([n % 251]) * (n % 400 + 1) for n in range(1000)]
    bodies[100::50] = [packets() for _ in bodies[100::50]]
    bodies[101::50] = [bytes([0x47, n % 256]) * 94 for n, _ in enumerate(bodies[101::50])]
    wrap = rtp if make is StripRTP else lambda body, _: body
    runs = [run(wrap(each, n), at=n / 100) for n, each in enumerate(bodies)]
    assert through(stage, *runs) == bodies
    assert not stage.counters.dropped


@pytest.mark.parametrize("size", [188, 376])
def test_dataInDatagramsOfAPacketsSizeIsNoTransportStream(size: int) -> None:
    """Where sync bytes are where they should be by accident, nothing is left out."""
    stage = AlignTS()
    random = Random(3)
    bodies = [random.randbytes(size) for _ in range(5000)]
    assert through(stage, *(run(each, at=n / 1000) for n, each in enumerate(bodies))) == bodies


@pytest.mark.parametrize("isFirst", [False, True])
@pytest.mark.parametrize("number", [1, 7])
def test_whatComesBesideATransportStreamIsLeftOut(isFirst: bool, number: int) -> None:
    """A stray datagram does not shift a transport stream on UDP, however often it comes."""
    stage = AlignTS()
    good = [run(packets(number, n % 256), at=n / 500) for n in range(500)]
    stray = [run(b"stray" * 9, at=n / 500) for n in range(500)]
    pairs = [each for pair in zip(good, stray, strict=True) for each in pair[:: 1 - 2 * isFirst]]
    given = through(stage, *pairs)
    first = 1 if number == 7 else 5  # single packets are known for such by the fifth
    assert isAligned([each for each in given if each != b"stray" * 9])
    assert [each for each in given if each[0] == 0x47] == [
        packets(number, n % 256) for n in range(500)
    ]
    assert given.count(b"stray" * 9) <= first
    assert stage.counters.dropped["not TS"] >= 495


@pytest.mark.parametrize("every", [4, 5, 1000])
def test_straysAsLongAsPacketsCostNoneOfTheStream(every: int) -> None:
    """Where each datagram is one packet, one that is as long and none takes no other with it."""
    stage = AlignTS()
    good = [run(packets(1, n % 256), at=n / 500) for n in range(1000)]
    arriving = []
    for number, packet in enumerate(good):
        arriving += [run(bytes(188), at=number / 500)] * (number % every == every - 1)
        arriving.append(packet)
    given = through(stage, *arriving)
    assert given[-900:] == [packets(1, n % 256) for n in range(100, 1000)]


def test_whatComesAfterASilenceIsFollowedAtOnce() -> None:
    """A sender that begins anew after a pause waits for nobody."""
    before = [run(rtp(packets(), n), at=n / 100) for n in range(100)]
    after = [run(rtp(packets(), n, ssrc=9), at=5 + n / 100) for n in range(100)]
    given = through(StripRTP(), *before, *after)
    assert len(given) >= 100 + 98


def test_whatFollowsATransportStreamGoesOn() -> None:
    """Once a transport stream is over, something else may come to its address."""
    stage = AlignTS()
    before = [run(packets(), at=n / 100) for n in range(200)]
    after = [run(b"data", at=3 + n / 20) for n in range(100)]
    given = through(stage, *before, *after, run(*[b"more"] * 75, at=9))
    assert given[:200] == [packets()] * 200
    assert given[200:].count(b"data") >= 75
    assert given[-75:] == [b"more"] * 75


@given(
    st.lists(
        st.tuples(
            st.sampled_from([packets(), packets(1), SR, b"", b"x" * 188, rtp(packets()), b"\x47"]),
            st.floats(0, 2),
        ),
        max_size=60,
    )
)
def test_countsAddUpWhateverComes(sent: list[tuple[bytes, float]]) -> None:
    """What came in has gone out or is counted, whenever it came."""
    for stage in (AlignTS(), StripRTP()):
        given = through(stage, *(run(each, at=at) for each, at in sent))
        assert stage.counters.datagrams == len(given)
        assert len(given) + stage.counters.dropped.total() == len(sent)


def test_framesTellDatagramsApart() -> None:
    """Each datagram comes after its length, an empty one too (RFC 4571)."""
    framed = through(Frame(), run(b"abc", b"def", b"g"), run(b""), run(bytes(65507)))
    assert framed == [b"\0\3abc", b"\0\3def", b"\0\1g", b"\0\0", b"\xff\xe3" + bytes(65507)]
