"""What a stream is, is found out from what arrives."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from tests.tools.support import constantTS
from txgroupsock.interfaces import IRunReceiver
from txgroupsock.primitives.run import Run
from txgroupsock.teststream.stream import TestStream
from txgroupsock.tools.recognition import Recognition
from txgroupsock.tools.recording import inRTP

SENDER = ("127.0.0.1", 5)


def recognised(*datagrams: bytes, gap: float = 0.01) -> Recognition:
    """What is known after these have come, each as a run of its own."""
    found = Recognition(100.0)
    for number, each in enumerate(datagrams):
        found.runReceived(Run(memoryview(each), len(each), SENDER, 100 + gap * number))
    found.line(100 + gap * len(datagrams), 0)
    return found


def numbered(count: int, total: int = 0) -> list[bytes]:
    """Of one test stream."""
    stream = TestStream(1000.0, 60, total)
    made = b"".join(bytes(data) for data, _ in stream.take(count / 1000 - 0.0005))
    return [made[at : at + 60] for at in range(0, len(made), 60)]


def test_nothingIsNothing() -> None:
    """Until something comes there is no kind, and no figure is made up."""
    found = recognised()
    assert found.kind is None
    assert found.line(101.0, 0) == "nothing has come yet"
    result = found.toJSON(0)
    assert (result["datagrams"], result["datagramRate"], result["bitRate"]) == (0, None, None)


def test_aTestStreamIsRecognised() -> None:
    """It is, from its first datagram on, which is the first that counts."""
    datagrams = numbered(10)
    found = recognised(*datagrams[3:6], *datagrams[7:])
    assert found.kind == "test"
    [receiver] = found.streams.values()
    assert (receiver.first, receiver.received, found.lost) == (3, 6, 1)
    assert "lost 1, reordered 0, duplicates 0, latency " in found.line(101.0, 0)
    assert not found.isAll


def test_theEndOfAllStreamsIsTheEnd() -> None:
    """Only when every stream is complete, and nothing else came, nothing more is to come."""
    one, other = numbered(3, 3), numbered(4, 4)
    assert recognised(*one).isAll
    assert not recognised(*one, other[0]).isAll
    assert recognised(*one, *other).isAll
    assert not recognised(*one, b"something else").isAll


def test_streamsInOneRunAreToldApart() -> None:
    """A relay sends several streams from one address, and so they may come in one run."""
    one, other = numbered(4, 4), numbered(4, 4)
    mixed = [each for pair in zip(one, other, strict=True) for each in pair]
    found = Recognition(0.0)
    data = b"".join([*mixed, b"x" * 60])
    found.runReceived(Run(memoryview(data), 60, SENDER, 1.0))
    assert [each.received for each in found.streams.values()] == [4, 4]
    assert found.lost == 0
    assert found.toJSON(0)["others"] == 1


def test_atMostSixteenStreamsAreFollowed() -> None:
    """Whoever makes up names of streams takes up no more than that."""
    found = recognised(*(numbered(1)[0] for _ in range(20)))
    assert len(found.streams) == 16
    assert found.toJSON(0)["others"] == 4


def test_RTPIsRecognised() -> None:
    """Its loss, order and jitter are told, and of the transport stream in it what there is."""
    ts = constantTS(700, 1e6)
    timed = [(at / 1316 * 0.01, ts[at : at + 1316]) for at in range(0, len(ts), 1316)]
    packets = [packet for _, packet in inRTP(iter(timed), 1, 2, 3)]
    found = recognised(*packets[:50], *packets[52:])
    assert found.kind == "RTP"
    assert found.lost == 2
    result = found.toJSON(7)
    assert (result["rtp"]["lost"], result["kernelDrops"]) == (2, 7)
    assert result["ts"]["carrier"] == "RTP"
    assert "RTP: 98 datagrams" in found.line(102.0, 3)
    assert "3 dropped here" in found.line(103.0, 3)


def test_aTransportStreamIsRecognised() -> None:
    """On UDP alone, what is lost shows as breaks in its continuity."""
    ts = constantTS(700, 1e6)
    datagrams = [ts[at : at + 1316] for at in range(0, len(ts), 1316)]
    assert recognised(*datagrams).kind == "TS"
    assert recognised(*datagrams).lost == 0
    found = recognised(*datagrams[:50], *datagrams[51:])
    assert found.lost >= 1
    assert found.toJSON(0)["rtp"] is None


def test_anythingElseIsUDP() -> None:
    """Of what is none of these, it is told how much comes."""
    found = recognised(*[b"x" * 100] * 101)
    assert (found.kind, found.lost) == ("UDP", 0)
    result = found.toJSON(0)
    assert result["datagramRate"] == pytest.approx(100)
    assert result["bitRate"] == pytest.approx(80_000)


@given(st.lists(st.binary(max_size=60) | st.binary(max_size=60).map(b"txgs".__add__), max_size=9))
def test_anythingIsSurvived(datagrams: list[bytes]) -> None:
    """Nothing that comes raises, and all of it is counted."""
    found = recognised(*datagrams)
    assert found.toJSON(0)["datagrams"] == len(datagrams)


def test_aHeaderAloneIsAStreamToo() -> None:
    """The smallest datagram of a test stream is its header."""
    header = struct.pack("!4s8sQQQ", b"txgs", b"12345678", 0, 0, 0)
    assert recognised(header).kind == "test"


def test_itIsARunReceiver() -> None:
    """It provides IRunReceiver."""
    verifyObject(IRunReceiver, Recognition(0.0))
