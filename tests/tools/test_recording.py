"""What is played again: captures and files, in RTP, in loops and in part."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from tests.teststream.test_player import Heard, advance
from tests.tools.support import capturedPacket, pcap
from txgroupsock.teststream.player import Player, TimedSource
from txgroupsock.tools.recording import (
    ConstantRate,
    Replay,
    SourceError,
    inRTP,
    limited,
    looped,
)


def capture(path: Path, data: bytes) -> str:
    """Path of a capture file."""
    path.write_bytes(data)
    return str(path)


def test_aCaptureIsReplayedWithItsTimes(tmp_path: Path) -> None:
    """Times are counted from the first datagram, to the nanosecond."""
    times = [0.25, 0.250000001, 0.5, 3.75]
    path = capture(tmp_path / "a.pcap", pcap((each, b"%f" % each) for each in times))
    recording = Replay((path,))
    datagrams = list(recording)
    assert [seconds for seconds, _ in datagrams] == pytest.approx([0, 1e-9, 0.25, 3.5], abs=1e-12)
    assert [payload for _, payload in datagrams] == [b"%f" % each for each in times]
    assert recording.flow == ("239.1.1.1", 5000)


def test_longGapsCanBeCutDown(tmp_path: Path) -> None:
    """Pauses longer than the longest are as long as that, and a clock set back is no pause."""
    path = capture(tmp_path / "a.pcap", pcap((each, b"") for each in (0, 1, 100, 50, 51)))
    assert [each for each, _ in Replay((path,))] == [0, 1, 100, 100, 101]
    assert [each for each, _ in Replay((path,), longestGap=2.0)] == [0, 1, 3, 3, 4]


def test_oneFlowIsReplayed(tmp_path: Path) -> None:
    """That of the first datagram, or the chosen one; what went elsewhere is counted."""
    data = pcap([(0, b"a")]) + b"".join(
        capturedPacket(at, payload, ("239.1.1.2", 6000)) for at, payload in ((1, b"b"), (3, b"c"))
    )
    path = capture(tmp_path / "a.pcap", data)
    recording = Replay((path,))
    assert list(recording) == [(0.0, b"a")]
    assert recording.others == 2
    assert list(Replay((path,), ("239.1.1.2", 6000))) == [(0.0, b"b"), (2.0, b"c")]
    with pytest.raises(SourceError, match=r"no datagram to 10\.0\.0\.9 port 5, but 3 others"):
        list(Replay((path,), ("10.0.0.9", 5)))


def test_filesFollowEachOther(tmp_path: Path) -> None:
    """A recording in several files is one, with the times between them, and each may be torn."""
    one = capture(tmp_path / "a.pcap", pcap((each, b"%d" % each) for each in (0, 1, 2))[:-1])
    two = capture(tmp_path / "b.pcap", pcap((each, b"%d" % each) for each in (5, 6)))
    recording = Replay((one, two))
    assert list(recording) == [(0, b"0"), (1, b"1"), (5, b"5"), (6, b"6")]
    assert recording.tear is not None
    assert "a.pcap" in recording.tear


def test_aTornCaptureIsReplayedUpToTheTear(tmp_path: Path) -> None:
    """What is before the tear is played, and where it is can be told."""
    data = pcap((each, b"x" * 100) for each in range(10))
    path = capture(tmp_path / "a.pcap", data[:-50])
    recording = Replay((path,))
    assert len(list(recording)) == 9
    assert recording.tear is not None
    assert "ends within a record" in recording.tear


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "a.pcap"), (b"not a capture at all, this", "a.pcap"), (pcap([]), "has no UDP datagram")],
    ids=["empty", "other", "nothing"],
)
def test_whatIsNoCaptureIsSaid(tmp_path: Path, data: bytes, said: str) -> None:
    """An error names the file and what is wrong."""
    with pytest.raises(SourceError, match=said):
        list(Replay((capture(tmp_path / "a.pcap", data),)))


def test_aRecordedHourIsReplayedInTime(tmp_path: Path) -> None:
    """Of an hour of uneven times, read from a file, each is kept to within a millisecond."""
    steps = (0.1 * (1 + (each * 7919 % 200 - 100) / 101) for each in range(36_000))
    times = list(itertools.accumulate(steps))
    expected = [each - times[0] for each in times]
    assert expected[-1] == pytest.approx(3600, rel=0.01)
    path = capture(tmp_path / "a.pcap", pcap((each, b"%d" % int(each)) for each in times))
    for speed in (1.0, 60.0):
        clock = Clock()
        heard = Heard(clock)
        ended = Player(clock, TimedSource(iter(Replay((path,)))), heard, speed).start()
        advance(clock, 3700 / speed)
        assert ended.called
        errors = [abs(a - b / speed) for a, b in zip(heard.times, expected, strict=True)]
        assert max(errors) < 0.001


def test_aLoopGoesOnAsItWas(tmp_path: Path) -> None:
    """The first follows the last after as long as the others follow each other."""
    path = capture(tmp_path / "a.pcap", pcap((each, b"%d" % each) for each in (5, 6, 7)))
    datagrams = list(itertools.islice(looped(Replay((path,))), 7))
    assert datagrams == [(float(each), b"%d" % (5 + each % 3)) for each in range(7)]


def test_whatTakesNoTimeIsNotLooped(tmp_path: Path) -> None:
    """One datagram in a loop would be a flood."""
    path = capture(tmp_path / "a.pcap", pcap([(5, b"x")]))
    with pytest.raises(SourceError, match="leave out --loop"):
        list(looped(Replay((path,))))


def test_anythingIsPlayedAtARate(tmp_path: Path) -> None:
    """A file of anything is cut into datagrams that are due at a bit rate."""
    path = tmp_path / "a"
    path.write_bytes(bytes(range(250)))
    recording = ConstantRate(str(path), 8000.0, 100)
    assert [(at, len(payload)) for at, payload in recording] == [(0, 100), (0.1, 100), (0.2, 50)]
    assert (recording.length, recording.progress) == (0.25, 1)
    path.write_bytes(b"")
    with pytest.raises(SourceError, match="is empty"):
        list(recording)
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        list(ConstantRate(str(tmp_path / "b"), 8000.0))


def test_itEndsWhereItIsToldTo() -> None:
    """After so many datagrams, or when so many seconds are over."""
    datagrams = [(each / 10, b"%d" % each) for each in range(10)]
    assert list(limited(iter(datagrams), 3, None)) == datagrams[:3]
    assert list(limited(iter(datagrams), None, 0.5)) == datagrams[:5]
    assert list(limited(iter(datagrams), 3, 0.2)) == datagrams[:2]
    assert list(limited(iter(datagrams), None, None)) == datagrams


def test_RTPHasItsTime() -> None:
    """Payload type 33, numbers in sequence that go round, a timestamp of 90 kHz that goes round."""
    start = 0xFFFFFFFF - 45_000
    packets = list(inRTP(iter([(each / 2, b"G" * 188) for each in range(4)]), 7, 65534, start))
    for number, (seconds, packet) in enumerate(packets):
        assert seconds == number / 2
        assert packet[12:] == b"G" * 188
        first, second, sequence, timestamp, ssrc = struct.unpack("!BBHII", packet[:12])
        assert (first, second, ssrc) == (0x80, 33, 7)
        assert sequence == (65534 + number) % 65536
        assert timestamp == (start + number * 45_000) % 2**32
