"""Transport stream files get their times from their PCRs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tools.support import ROUND, constantTS, tsPacket
from txgroupsock.tools import tsfile
from txgroupsock.tools.recording import SourceError, looped
from txgroupsock.tools.tsfile import DATAGRAM, TSFile


def played(path: Path, data: bytes) -> tuple[TSFile, list[tuple[float, bytes]]]:
    """A file with this content, and what is played of it."""
    path.write_bytes(data)
    recording = TSFile(str(path))
    return recording, list(recording)


@pytest.mark.parametrize("first", [0, 12345, ROUND - 27_000_000], ids=["zero", "some", "round"])
@pytest.mark.parametrize("every", [1, 7, 20, 133])
def test_aConstantRateIsKept(tmp_path: Path, first: int, every: int) -> None:
    """Each datagram has seven packets and its place's time, also when the clock goes round."""
    data = constantTS(4000, 3e6, every, first)
    recording, datagrams = played(tmp_path / "a.ts", data)
    assert b"".join(payload for _, payload in datagrams) == data
    assert {len(payload) for _, payload in datagrams[:-1]} == {DATAGRAM}
    for number, (seconds, _) in enumerate(datagrams):
        assert seconds == pytest.approx(number * DATAGRAM * 8 / 3e6, abs=1e-6)
    assert recording.length == pytest.approx(len(data) * 8 / 3e6, rel=1e-6)
    assert (recording.skipped, recording.discontinuities) == (0, 0)
    assert recording.progress == 1


def test_aRateMayChange(tmp_path: Path) -> None:
    """Between each two PCRs packets are spread evenly, whatever the rate is there."""
    packets, pcr = [], 0
    for number in range(400):
        isSlow = number // 40 % 2
        packets.append(tsPacket(256, number, pcr if number % 10 == 0 else None))
        pcr += 27_000 * (10 if isSlow else 2)  # 10 ms or 2 ms a packet
    expected, at = [], 0.0
    for number in range(400):
        if number % 7 == 0:
            expected.append(at)
        at += 0.010 if number // 40 % 2 else 0.002
    _, datagrams = played(tmp_path / "a.ts", b"".join(packets))
    assert [seconds * 1 for seconds, _ in datagrams[:-2]] == pytest.approx(expected[:-2])


@pytest.mark.parametrize("isTold", [True, False])
@pytest.mark.parametrize("second", [500_000_000_000, 27_000_000, 5])
def test_aDiscontinuityTakesNoTime(tmp_path: Path, isTold: bool, second: int) -> None:
    """A clock that jumps, told or not, leaves the rate as it was before."""
    one = constantTS(700, 3e6, 20, 1_000_000_000)
    two = bytearray(constantTS(700, 3e6, 20, second))
    if isTold:
        two[5] |= 0x80
    recording, datagrams = played(tmp_path / "a.ts", one + bytes(two))
    assert recording.discontinuities == 1
    for number, (seconds, _) in enumerate(datagrams):
        assert seconds == pytest.approx(number * DATAGRAM * 8 / 3e6, rel=1e-4, abs=1e-6)


def test_anotherPIDsClockIsTakenWhenOneEnds(tmp_path: Path) -> None:
    """Of two programs one clock counts; once it has ended, the other one does."""
    mixed = []
    for number in range(700):
        pcr = number * 27_000 if number % 10 == 0 else None
        mixed.append(tsPacket(256, number, pcr))
        mixed.append(tsPacket(512, number, None if pcr is None else pcr + 77_777_777))
    alone = constantTS(3000, 188 * 8 * 500, 10, 99, pid=512)  # half as fast
    recording, datagrams = played(tmp_path / "a.ts", b"".join(mixed) + alone)
    assert recording.discontinuities == 1
    assert datagrams[190][0] == pytest.approx(190 * 7 / 2000, rel=1e-3)
    assert recording.length == pytest.approx(0.7 + 3000 / 500, rel=0.05)


def test_whatIsInNoPacketIsSkipped(tmp_path: Path) -> None:
    """Bytes before, between and behind packets are left out and counted; packets stay whole."""
    data = constantTS(3000, 3e6)
    middle = 188 * 1400
    torn = b"x" * 100 + data[:middle] + b"y" * 333 + data[middle:] + b"G" + b"z" * 50
    recording, datagrams = played(tmp_path / "a.ts", torn)
    assert b"".join(payload for _, payload in datagrams) == data
    assert recording.skipped == 100 + 333 + 51


def test_aFileIsReadInPieces(tmp_path: Path) -> None:
    """A large file has been read but for a little when its first datagrams are played."""
    path = tmp_path / "a.ts"
    path.write_bytes(constantTS(40_000, 3e6))
    recording = TSFile(str(path))
    datagrams = iter(recording)
    for _ in range(100):
        next(datagrams)
    assert recording.progress is not None
    assert recording.progress < 0.1


def test_aLoopGoesOnInTime(tmp_path: Path) -> None:
    """Played again and again, its end is followed by its beginning as if it went on."""
    path = tmp_path / "a.ts"
    path.write_bytes(constantTS(700, 3e6))
    datagrams = looped(TSFile(str(path)))
    times = [next(datagrams)[0] for _ in range(350)]
    assert times == pytest.approx([each * DATAGRAM * 8 / 3e6 for each in range(350)], rel=1e-5)


def failing(what: str) -> Callable[[Path], bytes]:
    """Content of a file that cannot be played."""
    return {
        "empty": lambda _: b"",
        "text": lambda _: bytes(range(256)) * 1000,
        "short": lambda _: b"G",
        "no clock": lambda _: b"".join(tsPacket(256, each) for each in range(100)),
        "one PCR": lambda _: tsPacket(256, 0, 5) + tsPacket(256, 1) * 50,
        "M2TS": lambda _: b"".join(b"\0\0\0\0" + tsPacket(256, each) for each in range(50)),
        "204": lambda _: b"".join(tsPacket(256, each) + b"\0" * 16 for each in range(50)),
    }[what]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("empty", "is empty"),
        ("text", "is no MPEG transport stream: give --rate, such as 5M"),
        ("short", "has no clock"),
        ("no clock", "has no clock (two PCRs that follow each other), so its rate is unknown"),
        ("one PCR", "at a constant bit rate"),
        ("M2TS", "has packets of 192 bytes, with a time before each (M2TS), not 188; 'ffmpeg -i"),
        ("204", "has packets of 204 bytes"),
    ],
)
def test_whatCannotBePlayedIsSaid(tmp_path: Path, what: str, said: str) -> None:
    """The error names the file, what is wrong with it, and what to do."""
    path = tmp_path / "a.ts"
    path.write_bytes(failing(what)(path))
    with pytest.raises(SourceError) as caught:
        list(TSFile(str(path)))
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_aFileThatIsNotThereIsSaid(tmp_path: Path) -> None:
    """So is one that cannot be opened, with the reason."""
    for path in (tmp_path / "nothing.ts", tmp_path):
        with pytest.raises(SourceError, match=r"cannot be read: (No such file|Is a directory)"):
            list(TSFile(str(path)))


def test_noClockForLongIsGivenUp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without PCRs is not read to its end, and a clock that ends leaves the rate."""
    monkeypatch.setattr(tsfile, "_MOST", 500_000)
    path = tmp_path / "a.ts"
    silent = b"".join(tsPacket(256, each) for each in range(10_000))
    path.write_bytes(silent)
    recording = TSFile(str(path))
    with pytest.raises(SourceError, match="has no clock"):
        list(recording)
    assert recording.progress is not None
    assert recording.progress < 0.5
    data = constantTS(700, 3e6) + silent
    recording, datagrams = played(path, data)
    assert recording.length == pytest.approx(len(data) * 8 / 3e6, rel=1e-5)
    assert b"".join(payload for _, payload in datagrams) == data
