"""RTP is taken off, and frames are put on, for whole runs and for single datagrams alike."""

from __future__ import annotations

import struct

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from zope.interface import implementer
from zope.interface.verify import verifyObject

from txgroupsock import Run, Stage
from txgroupsock.interfaces import IRelayStage, IRunReceiver
from txgroupsock.relay.rtp import payloadOf
from txgroupsock.relay.viewers.stages import Frame, StripRTP


@implementer(IRunReceiver)
@define
class Taking:
    """Keeps the datagrams of runs."""

    datagrams: list[bytes] = field(factory=list)

    def runReceived(self, run: Run) -> None:
        assert len(run) == len(list(run))
        self.datagrams += [bytes(each) for each in run]


def run(*datagrams: bytes) -> Run:
    """Datagrams of one size, but the last."""
    return Run(memoryview(b"".join(datagrams)), len(datagrams[0]), ("192.0.2.1", 5000), 1.0)


def through(stage: Stage, *runs: Run) -> list[bytes]:
    """What a stage makes of runs."""
    taking = Taking()
    stage.openStage(taking)
    for each in runs:
        stage.runReceived(each)
    return taking.datagrams


def rtp(
    payload: bytes, sequence: int = 0, sources: int = 0, extension: int = -1, padding: int = 0
) -> bytes:
    """An RTP packet; so many words of extension, so many bytes of padding."""
    first = 0x80 | sources | 0x10 * (extension >= 0) | 0x20 * (padding > 0)
    packet = struct.pack("!BBHII", first, 0xA1, sequence, 90000, 0x1234) + bytes(4 * sources)
    if extension >= 0:
        packet += struct.pack("!HH", 0xBEDE, extension) + bytes([7]) * 4 * extension
    return packet + payload + bytes([padding]) * padding


def test_theyAreStages() -> None:
    """Both provide IRelayStage."""
    for stage in (StripRTP(), Frame()):
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


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8), st.integers(0, 40))
def test_runsAndSingleDatagramsAgree(bodies: list[bytes], size: int) -> None:
    """Whatever comes, a run gives what its datagrams give one by one, and counts add up."""
    datagrams = [each.ljust(size + 1, b"\x80")[: size + 1] for each in bodies]
    stage = StripRTP()
    expected = [payloadOf(memoryview(each)) for each in datagrams]
    assert through(stage, run(*datagrams)) == [bytes(each) for each in expected if each]
    assert stage.counters.datagrams + stage.counters.dropped.total() == len(datagrams)


def test_framesTellDatagramsApart() -> None:
    """Each datagram comes after its length, an empty one too (RFC 4571)."""
    framed = through(Frame(), run(b"abc", b"def", b"g"), run(b""), run(bytes(65507)))
    assert framed == [b"\0\3abc", b"\0\3def", b"\0\1g", b"\0\0", b"\xff\xe3" + bytes(65507)]
