"""Files follow each other by size and age, and the oldest go."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
from pathlib import Path

import pytest

from tests.relay.recording.test_pcapfile import GROUP4, TIME, hold
from txgroupsock.relay.recording.files import Files, Keeping, checkFolder, plainName
from txgroupsock.relay.recording.pcapfile import FILE_START, Framer
from txgroupsock.relay.recording.reader import readDatagrams

RECORD = Framer(GROUP4).records(hold(bytes(956)))
assert len(RECORD) == 1000


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(each.name for each in folder.iterdir())


def countIn(folder: Path) -> list[int]:
    """How many datagrams are in each of its files, all of which are whole."""
    counts = []
    for name in names(folder):
        capture = readDatagrams(folder / name)
        counts.append(sum(1 for _ in capture))
        assert capture.tear is None
    return counts


def test_aFileIsCalledByRouteAndTime(tmp_path: Path) -> None:
    """UTC with milliseconds, and .part until it is complete; others may not read it."""
    files = Files(tmp_path, "news", Keeping())
    assert names(tmp_path) == []
    old = os.umask(0)
    try:
        files.write([RECORD], TIME)
    finally:
        os.umask(old)
    assert names(tmp_path) == ["news-20270115T080000.250Z.pcap.part"]
    assert files.path == tmp_path / names(tmp_path)[0]
    assert stat.S_IMODE(files.path.stat().st_mode) == 0o640
    assert countIn(tmp_path) == [1]
    files.finish()
    assert names(tmp_path) == ["news-20270115T080000.250Z.pcap"]
    assert files.finished == tmp_path / names(tmp_path)[0]


def test_aFullFileIsFollowedByAnother(tmp_path: Path) -> None:
    """None is larger than it may be, also if several follow each other in a millisecond."""
    files = Files(tmp_path, "news", Keeping(size=3100))
    files.write([RECORD] * 7, TIME)
    files.finish()
    assert countIn(tmp_path) == [3, 3, 1]
    assert max(each.stat().st_size for each in tmp_path.iterdir()) <= 3100
    assert files.written == 7


def test_aRunThatIsLargerThanAFileIsWritten(tmp_path: Path) -> None:
    """Each to a file of its own."""
    files = Files(tmp_path, "news", Keeping(size=100))
    files.write([RECORD] * 2, TIME)
    files.finish()
    assert countIn(tmp_path) == [1, 1]


def test_anOldFileIsFollowedByAnother(tmp_path: Path) -> None:
    """By what comes then; nothing that comes does not make one."""
    files = Files(tmp_path, "news", Keeping(age=60))
    files.write([RECORD], TIME)
    files.write([RECORD], TIME + 59)
    files.tick(TIME + 59.9)
    assert files.path is not None
    files.tick(TIME + 60)
    files.tick(TIME + 200)
    assert files.path is None
    assert countIn(tmp_path) == [2]
    files.write([RECORD], TIME + 201)
    files.write([RECORD], TIME + 100)  # the clock was set back
    files.finish()
    assert countIn(tmp_path) == [2, 1, 1]


@pytest.mark.parametrize(
    ("keeping", "left"),
    [
        (Keeping(size=1100, files=3), 3),
        (Keeping(size=1100, files=1), 1),
        (Keeping(size=1100, files=10, total=4200), 4),
    ],
)
def test_theOldestGo(keeping: Keeping, left: int, tmp_path: Path) -> None:
    """There are never more, nor more bytes; only what it has named itself is deleted."""
    others = ["news.pcap", "news-x-20270115T080000.250Z.pcap", "news-20270115T080000.250Z-a.pcap"]
    for each in others:
        (tmp_path / each).write_bytes(b"")
    (tmp_path / "news-20000101T000000.000Z.pcap").mkdir()
    files = Files(tmp_path, "news", keeping)
    for second in range(6):
        files.write([RECORD], TIME + second + 1)
        found = [name for name in names(tmp_path) if name.startswith("news-20270115T08000")]
        assert len(set(found) - set(others)) == min(second + 1, left)
    files.finish()
    assert set(others) < set(names(tmp_path))
    last = max(set(names(tmp_path)) - set(others))
    assert last == "news-20270115T080006.250Z.pcap"


def test_aReasonIsInTheName(tmp_path: Path) -> None:
    """And such files are not those of a route that has none."""
    files = Files(tmp_path, "news", Keeping(files=1), hasReason=True)
    plain = Files(tmp_path, "news", Keeping(files=1))
    for each in range(2):
        files.write([RECORD], TIME + each, "Silence of 5 s")
        files.finish()
        plain.write([RECORD], TIME + each)
        plain.finish()
    found = ["news-20270115T080001.250Z-silence_of_5_s.pcap", "news-20270115T080001.250Z.pcap"]
    assert names(tmp_path) == found


def test_whatAProcessLeftIsAdopted(tmp_path: Path) -> None:
    """Its file is as complete as it will get; what somebody writes, or has just made, is left."""
    left, written = "news-20270115T080000.250Z.pcap.part", "news-20270115T080001.250Z.pcap.part"
    made = "news-20270115T080002.250Z.pcap.part"
    for each in left, written, "other-20270115T080001.250Z.pcap.part":
        (tmp_path / each).write_bytes(FILE_START)
    (tmp_path / made).touch()
    with (tmp_path / written).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        Files(tmp_path, "news", Keeping()).adopt()
    assert names(tmp_path) == [
        "news-20270115T080000.250Z.pcap",
        written,
        made,
        "other-20270115T080001.250Z.pcap.part",
    ]


def test_aFileThatWasDeletedIsBegunAgain(tmp_path: Path) -> None:
    """What comes then is not written to where nobody can read it."""
    files = Files(tmp_path, "news", Keeping())
    files.write([RECORD], TIME)
    assert files.path is not None
    files.path.unlink()
    files.write([RECORD], TIME + 1)
    assert countIn(tmp_path) == [1]
    files.finish()


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("news", "news"),
        ("News_2.hd", "News_2.hd"),
        ("udp://232.1.1.1:5004", "udp_232.1.1.1_5004-.{8}"),
        ("../../etc/passwd", "etc_passwd-.{8}"),
        (".", "route-.{8}"),
        ("x" * 200, "x{60}-.{8}"),
        ("ä\udc80", "route-.{8}"),
    ],
)
def test_anyNameMakesOneForAFile(name: str, plain: str) -> None:
    """Nothing in it leads out of the folder."""
    assert re.fullmatch(plain, plainName(name)), plainName(name)


def test_differentNamesMakeDifferentOnes() -> None:
    """Also if what is left of them is the same."""
    assert len({plainName(each) for each in ("a b", "a/b", "a_b", "a?b")}) == 4


def test_aFolderThatIsNotThereIsAnError(tmp_path: Path) -> None:
    """It says so, and what to do; a file is none."""
    with pytest.raises(OSError, match="there is no such folder; make it"):
        checkFolder(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="that is no folder; give one"):
        checkFolder(tmp_path / "file")
    checkFolder(tmp_path)


@pytest.mark.parametrize("folder", ["", "inner"])
def test_aFolderOfOthersIsAnError(folder: str) -> None:
    """It says who may not write there, also where not even the folder can be seen."""
    if os.geteuid():
        pytest.skip("only root can be somebody else")
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o700 if folder else 0o755)
        (Path(name) / "inner").mkdir()
        os.seteuid(65534)
        try:
            with pytest.raises(PermissionError, match="user 65534, whom the relay runs as, may"):
                checkFolder(Path(name) / folder)
        finally:
            os.seteuid(0)


def test_aFolderForReadingIsAnError() -> None:
    """Such as a disk that was mounted so."""
    if not os.statvfs("/sys").f_flag & os.ST_RDONLY:
        pytest.skip("nothing here is mounted for reading only")
    with pytest.raises(OSError, match="mount it for writing"):
        checkFolder(Path("/sys"))


@pytest.mark.parametrize("wrong", [{"size": 0}, {"age": 0}, {"files": 0}, {"total": 99}])
def test_keepingNothingIsAnError(wrong: dict[str, int]) -> None:
    """There is room for one file, at least."""
    with pytest.raises(ValueError, match=r"more than 0|no room"):
        Keeping(**wrong)


def test_aClockThatWasWrongCostsNoNewFile(tmp_path: Path) -> None:
    """What was written last is never deleted first, also after a time when the clock was ahead."""
    year = 365 * 86400
    early = Files(tmp_path, "news", Keeping(files=3))
    for now in (TIME + year, TIME, TIME + 1):
        early.write([RECORD], now)
        early.finish()
    first, second, ahead = names(tmp_path)
    early.write([RECORD], TIME + 2)
    early.finish()
    assert ahead not in names(tmp_path)
    assert names(tmp_path)[:2] == [first, second]


def test_afterARestartWhatIsFromTheFutureGoesFirst(tmp_path: Path) -> None:
    """A file that a process before left with a time to come is taken for an old one."""
    for now in (TIME + 365 * 86400, TIME, TIME + 1):
        before = Files(tmp_path, "news", Keeping(files=9))
        before.write([RECORD], now)
        before.finish()
    left = names(tmp_path)
    files = Files(tmp_path, "news", Keeping(files=3))
    for second in range(2, 6):
        files.write([RECORD], TIME + second)
        files.finish()
        assert left[2] not in names(tmp_path)
        assert files.finished is not None
        assert files.finished.exists()
    assert len(names(tmp_path)) == 3
