"""A thread that writes what a reactor gives it, so that a slow disk delays nobody."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from txgroupsock.ports.clock import steady
from txgroupsock.relay.counters import Counters, errnoName
from txgroupsock.relay.recording.files import Files
from txgroupsock.relay.recording.pcapfile import Framer, Held

_REMEDIES = {
    "ENOSPC": "make room there, or keep less",
    "EDQUOT": "make room there, or keep less",
    "EACCES": "let the user write there whom the relay runs as",
    "EPERM": "let the user write there whom the relay runs as",
    "ENOENT": "make the folder again, or mount what has it",
    "EROFS": "mount it for writing",
}
ENTRY: Final = 200
"""Bytes of memory that a copy of a run takes, besides its data."""


_Job = tuple[Callable[[], None] | None, int]
"""What to do, L{None} to end; and the bytes that it has in memory."""


def countOf(held: Held) -> int:
    """How many datagrams a run has."""
    data, size, _, _ = held
    return -(-len(data) // size) if size else 1


class Disk:
    """
    Writes runs to files, in a thread of its own.

    What it has no room for in memory is dropped and counted, as is what cannot be written.

    @cvar mostWaiting: bytes of runs that wait to be written.
    @cvar closeTime: seconds that a disk has to take the last of them.
    @cvar retryTime: seconds after which it tries again what could not be written.
    @cvar slowTime: seconds for which it is told that the disk was too slow.
    @ivar trouble: why nothing is written now, with the remedy; C{""} if it is.
    @ivar counters: what has been written, and what has not: C{"slow"}, or an errno's name.
    """

    mostWaiting: ClassVar[int] = 32 * 1024 * 1024
    closeTime: ClassVar[float] = 5.0
    retryTime: ClassVar[float] = 1.0
    slowTime: ClassVar[float] = 10.0

    _log = Logger()

    def __init__(self, reactor: Any, files: Files, framer: Framer, label: str) -> None:
        """
        @param reactor: provides C{IReactorTime} and C{IReactorFromThreads}.
        @param label: what to call it in the log.
        """
        self.counters = Counters()
        self.trouble = ""
        self._reactor = steady(reactor)
        self._files, self._framer, self._label = files, framer, label
        self._jobs: deque[_Job] = deque()
        self._wakeUp = threading.Condition()
        self._waiting = 0  # bytes; those that are being written included
        self._isOpen = False
        self._why = ""  # errno's name
        self._retryAt = 0.0
        self._slowAt = float("-inf")
        self._thread: threading.Thread | None = None

    @property
    def path(self) -> Path | None:
        """The file that is being written."""
        return self._files.path

    def open(self) -> None:
        """Begin to write."""
        self._isOpen = True
        # Daemonic: a disk that hangs must not keep the process.
        self._thread = threading.Thread(target=self._run, name=self._label, daemon=True)
        self._thread.start()
        self._do(self._files.adopt)

    def put(self, runs: Sequence[Held], size: int, offset: float, reason: str = "") -> None:
        """
        Write runs when those before them are written.

        @param size: bytes of memory that nobody else has them in.
        @param offset: what to add to their times, to have seconds since 1970.
        @param reason: for the name of the file, if one is begun with them.
        """
        if self._isOpen and self._waiting + size <= self.mostWaiting:
            self._do(lambda: self._write(runs, offset, reason), size)
        else:
            self._drop(runs, "slow")
            if not self._isSlow():
                self._log.warn("{label}: {why}", label=self._label, why=self._slowness())
            self._slowAt = time.monotonic()

    def tick(self) -> None:
        """See whether the file is old enough; to be called now and then when nothing comes."""
        if self._isOpen and not self._jobs and self._files.path is not None:
            self._do(lambda: self._files.tick(time.time()))  # noqa: TID251 - files are of a time of day

    def finish(self, done: Callable[[Path | None], object] | None = None) -> None:
        """
        Complete the file when all before is written.

        @param done: called in the reactor's thread with the file that was completed last.
        """

        def finish() -> None:
            files = self._files
            isWritten = files.path is not None
            try:
                files.finish()
            except OSError:
                isWritten = False
                raise
            finally:
                if done is not None:
                    self._reactor.callFromThread(done, files.finished if isWritten else None)

        self._do(finish)

    def close(self) -> Deferred[None]:
        """Write what waits, complete the file and end; fires when that is done, or given up."""
        thread, self._thread = self._thread, None
        if thread is None:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        self._isOpen = False

        def end() -> None:
            if limit.active():
                limit.cancel()
                thread.join()
                ended.callback(None)

        def giveUp() -> None:
            self._log.warn(
                "{label}: the disk takes more than {seconds:g} s for the last of it; it is left",
                label=self._label,
                seconds=self.closeTime,
            )
            ended.callback(None)

        limit = self._reactor.callLater(self.closeTime, giveUp)
        self.finish(lambda _: end())
        self._do(None)
        return ended

    def warnings(self) -> list[str]:
        """What hinders it now."""
        if self.trouble:
            return [self.trouble]
        return [self._slowness()] if self._isSlow() else []

    def _isSlow(self) -> bool:
        return time.monotonic() - self._slowAt < self.slowTime

    def _slowness(self) -> str:
        return (
            f"the disk of {self._files.folder} is too slow: {self.counters.dropped['slow']:,} "
            "datagrams are not recorded so far; give it a faster one, or record fewer routes"
        )

    def _do(self, job: Callable[[], None] | None, size: int = 0) -> None:
        with self._wakeUp:
            self._jobs.append((job, size))
            self._waiting += size
            self._wakeUp.notify()

    def _drop(self, runs: Sequence[Held], reason: str) -> None:
        self.counters.dropped[reason] += sum(map(countOf, runs))

    # In the thread

    def _run(self) -> None:
        while True:
            with self._wakeUp:
                while not self._jobs:
                    self._wakeUp.wait()
                job, size = self._jobs.popleft()
            if job is None:
                return
            try:
                job()
            except OSError as error:
                self._failed(error)
            except Exception:  # noqa: BLE001 - the next may do better, and nobody else is told
                self._log.failure("{label}: recording failed", label=self._label)
            with self._wakeUp:
                self._waiting -= size

    def _write(self, runs: Sequence[Held], offset: float, reason: str) -> None:
        if self.trouble and time.monotonic() < self._retryAt:
            self._drop(runs, self._why)
            return
        files = self._files
        try:
            now = time.time()  # noqa: TID251 - files are of a time of day
            files.write(map(self._framer.records, runs, repeat(offset)), now, reason)
        except OSError as error:
            self._failed(error)
        except Exception:
            self._why = "error"
            raise
        else:
            self._succeeded()
        finally:
            for held in runs[: files.written]:
                self.counters.passed(countOf(held), len(held[0]))
            if files.written < len(runs):
                self._drop(runs[files.written :], self._why)

    def _succeeded(self) -> None:
        if self.trouble:
            self.trouble = ""
            self._log.info("{label}: it is recorded again", label=self._label)

    def _failed(self, error: OSError) -> None:
        isNew = not self.trouble
        self._why = name = errnoName(error.errno)
        self._retryAt = time.monotonic() + self.retryTime
        remedy = _REMEDIES.get(name, "see what is wrong with it")
        self.trouble = (
            f"nothing is recorded to {self._files.folder}: {error.strerror or error} ({name}); "
            f"{remedy}; recording then resumes"
        )
        if isNew:
            self._log.warn("{label}: {trouble}", label=self._label, trouble=self.trouble)
