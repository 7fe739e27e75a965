"""Files of a folder that are written one after the other, of which the oldest are deleted."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from attrs import frozen

from txgroupsock.primitives.arguments import typed
from txgroupsock.relay.recording.pcapfile import FILE_START
from txgroupsock.relay.threads import TookTooLong, within

PART = ".part"
"""What the name of a file ends with until it is complete."""

FOLDER_TIME = 5.0
"""Seconds that a disk may take to tell of a folder: less than a worker has for a change."""

USUAL_SIZE: Final = 100 * 2**20  # bytes
USUAL_AGE: Final = 3600.0  # seconds
USUAL_FILES: Final = 24

_HAS_EFFECTIVE = os.access in os.supports_effective_ids
_MODE = 0o640
# Bytes and runs that are written at once, at most: meanwhile another thread may run.
_PIECE, _RUNS = 1 << 18, 256
_STAMP = r"\d{8}T\d{6}\.\d{3}Z"
_PLAIN = re.compile("[A-Za-z0-9_][A-Za-z0-9._-]{0,79}")
_MOST_BYTES, _MOST_FILES = 2**63 - 1, 10**6


@frozen(field_transformer=typed)
class Keeping:
    """
    How files are divided, and how many are kept.

    @ivar size: bytes of a file, at most; a run is not divided.
    @ivar age: seconds after which the next is begun.
    @ivar files: how many there are, at most; the oldest is deleted before there is one more.
    @ivar total: bytes of them all, at most; L{None} leaves it to C{files}.
    """

    size: int = USUAL_SIZE
    age: float = USUAL_AGE
    files: int = USUAL_FILES
    total: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.size < 1 or self.age <= 0 or self.files < 1:
            raise ValueError(f"size, age and files are more than 0: {self}")
        if self.size > _MOST_BYTES or self.files > _MOST_FILES:
            wanted = f"{_MOST_BYTES:,} bytes and {_MOST_FILES:,} files"
            raise ValueError(f"there is room for {wanted} at most: {self}")
        if self.total is not None and self.total < self.size:
            raise ValueError(f"{self.total:,} bytes have no room for a file of {self.size:,}")


def plainName(name: str) -> str:
    """What a route's files are called: its name, if that can be; else one that no other has."""
    if _PLAIN.fullmatch(name):
        return name
    plain = re.sub("[^A-Za-z0-9_.]+", "_", name).strip("_.")[:60]
    return f"{plain or 'route'}-{zlib.crc32(name.encode('utf-8', 'replace')):08x}"


def checkFolder(folder: Path) -> None:
    """
    See whether files can be made in a folder.

    @raise OSError: they cannot; the text says why, and what to do.
    """
    number = 0
    try:
        if not stat.S_ISDIR(os.stat(folder).st_mode):
            number = errno.ENOTDIR
        elif not os.access(folder, os.W_OK | os.X_OK, effective_ids=_HAS_EFFECTIVE):
            number = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
    except OSError as error:
        number = error.errno or errno.EIO
    if not number:
        return
    remedies = {
        errno.ENOENT: "there is no such folder; make it, or mount what has it",
        errno.ENOTDIR: "that is no folder; give one",
        errno.EACCES: f"user {os.geteuid()}, whom the relay runs as, may not write there; chown "
        "it, or give another folder",
        errno.EROFS: "it is mounted for reading only; mount it for writing",
    }
    why = remedies.get(number, os.strerror(number))
    raise OSError(number, f"cannot record to {folder}: {why}")


def needFolder(folder: Path) -> None:
    """
    L{checkFolder}, and wait no longer than L{FOLDER_TIME} for its disk.

    @raise OSError: as there, or it takes longer.
    """
    try:
        within(FOLDER_TIME, lambda: checkFolder(folder))
    except TookTooLong as error:
        raise TookTooLong(f"cannot record to {folder}: {error}") from None


class Files:
    """
    Records of one route, in files called C{NAME-20261122T233705.123Z[-reason].pcap}.

    Whatever is raised, each file is whole: what could only be written in part is taken back.
    Times are seconds since 1970, and given.  Nothing here is made to be called by two threads.

    @ivar folder: where they are.
    @ivar path: of the file that is being written; L{None} if none is.
    @ivar finished: the last that is complete.
    @ivar written: how many of the records that were last given to C{write} have been written.
    """

    def __init__(self, folder: Path, name: str, keeping: Keeping, *, hasReason: bool = False):
        """
        @param name: of the route.
        @param hasReason: whether these are the files that have a reason in their names; others
            are not these, and are never deleted.
        """
        self.path: Path | None = None
        self.finished: Path | None = None
        self.written = 0
        self.folder, self._name, self._keeping = folder, plainName(name), keeping
        reason = "-[a-z0-9_]+" if hasReason else ""
        self._own = re.compile(rf"{re.escape(self._name)}-{_STAMP}{reason}\.pcap(\.part)?")
        self._file = -1
        self._size = 0
        self._began = 0.0
        self._ours: list[Path] = []  # complete, in the order in which they were written

    def write(self, records: Iterable[bytes], now: float, reason: str = "") -> None:
        """
        Write records, to another file than before if that is due.

        @param reason: for the name, if a file is begun.
        @raise OSError: not all could be; C{written} says how many could.
        """
        self.written = 0
        self.tick(now)
        waiting: list[bytes] = []
        size = 0
        for each in records:
            there = (self._size or len(FILE_START)) + size
            isFull = there + len(each) > self._keeping.size and there > len(FILE_START)
            if isFull or size > _PIECE or len(waiting) >= _RUNS:
                self._append(waiting, now, reason)
                waiting, size = [], 0
                if isFull:
                    self.finish()
            waiting.append(each)
            size += len(each)
        self._append(waiting, now, reason)

    def tick(self, now: float) -> None:
        """Finish a file that is old enough; or from the future, if the clock was set back."""
        if self.path is None:
            return
        if not os.fstat(self._file).st_nlink:  # somebody has deleted it
            os.close(self._file)
            self.path, self._size = None, 0
        elif not 0 <= now - self._began < self._keeping.age:
            self.finish()

    def finish(self) -> None:
        """The file that is being written is complete."""
        if self.path is None:
            return
        path, self.path, self._size = self.path, None, 0
        self.finished = path.with_suffix("")
        try:
            # First: what nobody has locked is adopted.
            os.rename(path, self.finished)
            self._ours = [*self._ours[-self._keeping.files :], self.finished]
        finally:
            os.close(self._file)

    def adopt(self) -> None:
        """
        Complete the files of a process that ended before it could.

        @raise OSError: that is not possible.
        """
        for path in self._there():
            if path.suffix == PART and path != self.path:
                file = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
                try:
                    # Somebody writes it, or there are no locks here; or it has just been made.
                    isLeft = _isLocked(file) and os.fstat(file).st_size >= len(FILE_START)
                    if isLeft:
                        os.rename(path, path.with_suffix(""))
                finally:
                    os.close(file)

    def _append(self, records: Sequence[bytes], now: float, reason: str) -> None:
        if not records:
            return
        if self.path is None:
            self._begin(now, reason)
        view = memoryview(b"".join(records))
        written = 0
        try:
            while written < len(view):
                written += os.write(self._file, view[written:])
        except OSError:
            os.ftruncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
            raise
        self._size += written
        self.written += len(records)

    def _begin(self, now: float, reason: str) -> None:
        self._makeRoom(now)
        path = self._free(now, reason)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        try:
            _isLocked(file, waits=True)  # if not, nobody else can lock it, either
            if os.write(file, FILE_START) < len(FILE_START):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.close(file)
            os.unlink(path)
            raise
        self._file, self.path, self._began, self._size = file, path, now, len(FILE_START)

    def _free(self, now: float, reason: str) -> Path:
        """A name that nothing has, neither complete nor in part."""
        milliseconds = int(now * 1000)
        suffix = "-" + re.sub("[^a-z0-9_]+", "_", reason.lower())[:40] if reason else ""
        while True:
            path = self.folder / f"{self._name}-{_stamp(milliseconds)}{suffix}.pcap"
            part = path.with_name(path.name + PART)
            if not path.exists() and not part.exists():
                return part
            milliseconds += 1

    def _there(self) -> list[Path]:
        """Its files, the oldest first."""
        with os.scandir(self.folder) as found:
            names = [
                each.name
                for each in found
                if self._own.fullmatch(each.name) and each.is_file(follow_symlinks=False)
            ]
        return [self.folder / each for each in sorted(names)]

    def _makeRoom(self, now: float) -> None:
        """
        Delete the oldest, so that another may be begun.

        What this has written is newer than what was there, in the order in which it did, whatever
        the clock said; and a name from the future is from a time when the clock was wrong.
        """
        keeping = self._keeping
        ours = {path: number for number, path in enumerate(self._ours, 1)}
        start, today = len(self._name) + 1, _stamp(int(now * 1000))

        def age(path: Path) -> tuple[int, bool, str]:
            isFromThePast = path.name[start:][: len(today)] <= today
            return ours.get(path, 0), isFromThePast, path.name

        there = sorted((each for each in self._there() if each.suffix != PART), key=age)
        sizes = [(each, each.stat().st_size) for each in there]
        total = sum(size for _, size in sizes)
        most = None if keeping.total is None else keeping.total - keeping.size
        while sizes and (len(sizes) >= keeping.files or (most is not None and total > most)):
            path, size = sizes.pop(0)
            path.unlink(missing_ok=True)
            total -= size


def _stamp(milliseconds: int) -> str:
    """A time since 1970 as it stands in names, which are in the order of these."""
    when = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    return f"{when:%Y%m%dT%H%M%S}.{milliseconds % 1000:03}Z"


def _isLocked(file: int, *, waits: bool = False) -> bool:
    """Lock a file, until it is closed; whether that is possible."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
