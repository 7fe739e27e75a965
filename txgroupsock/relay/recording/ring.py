"""A stage that keeps the last seconds in memory, and writes them when something has happened."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.ports.clock import callOff, steady
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.run import Run
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.health.alarms import Alarm
from txgroupsock.relay.health.hooks import Hook
from txgroupsock.relay.interfaces import IWarning
from txgroupsock.relay.recording.disk import ENTRY, Disk
from txgroupsock.relay.recording.files import Files, Keeping, needFolder
from txgroupsock.relay.recording.pcapfile import Framer, Held
from txgroupsock.relay.recording.recorded import Address
from txgroupsock.relay.recording.wallclock import WallClock
from txgroupsock.relay.stage import Stage

USUAL_AFTER: Final = 5.0  # seconds
USUAL_MEMORY: Final = 64 * 2**20  # bytes
USUAL_PAUSE: Final = 60.0  # seconds


class DumpError(Exception):
    """The last seconds are not written; the text says why."""


@implementer(IWarning)
class Ring(Stage):
    """
    Gives every run on as it is, and keeps a copy for a while.

    @cvar interval: seconds after which runs are handed to the disk, while it is written.
    @ivar dumps: how many times it has been written.
    """

    interval: ClassVar[float] = 0.25

    _log = Logger()

    @checked
    def __init__(
        self,
        reactor: Any,
        name: str,
        destination: Address,
        folder: Path,
        keeping: Keeping | None = None,
        *,
        before: float = 30.0,
        after: float = USUAL_AFTER,
        memory: int = USUAL_MEMORY,
        pause: float = USUAL_PAUSE,
    ) -> None:
        """
        @param reactor: as for L{Recorder <txgroupsock.relay.recording.Recorder>}, as are C{name},
            C{destination} and C{folder}.
        @param keeping: left out, 24 files of up to 100 MB each.
        @param before: seconds to keep.
        @param after: seconds to go on writing, from when it was asked for.
        @param memory: bytes to keep, at most; of more than that, the newest.
        @param pause: seconds from one time that it is written to the next, at least.
        """
        super().__init__()
        if before <= 0 or after < 0 or memory < 1 or pause < 0:
            raise ValueError("before and memory are more than 0, after and pause 0 or more")
        self.name, self.folder = name, folder
        self.dumps = 0
        self._reactor = reactor = steady(reactor)
        self._before, self._after, self._memory, self._pause = before, after, memory, pause
        self._disk = Disk(
            reactor,
            Files(folder, name, keeping or Keeping(), hasReason=True),
            Framer(destination),
            f"the alarm recording of {name}",
        )
        self._clock = WallClock(reactor)
        self._kept: deque[Held] = deque()
        self._size = 0
        self._askedAt = self._mayAt = float("-inf")
        self._reason = ""  # of what is being written
        self._written: Deferred[Path] | None = None
        self._end: IDelayedCall | None = None
        self._batch: list[Held] = []
        self._isOpen = False
        self._handing = LoopingCall(self._hand)
        self._handing.clock = reactor

    @property
    def recorded(self) -> Counters:
        """What has been written, and what has not: C{"slow"}, or an errno's name."""
        return self._disk.counters

    def openStage(self, receiver: IRunReceiver) -> None:
        """
        See L{IRelayStage}.

        @raise OSError: files cannot be made in the folder; it says why, and what to do.
        """
        needFolder(self.folder)
        super().openStage(receiver)
        self._disk.open()
        self._isOpen = True

    def closeStage(self) -> Deferred[None]:
        """See L{IRelayStage}; what is begun is completed."""
        super().closeStage()
        self._isOpen = False
        self._finish()
        self._kept.clear()
        self._size = 0
        return self._disk.close()

    def runReceived(self, run: Run) -> None:
        """Take a run."""
        self.give(run)  # first: outputs do not wait for this
        if not self._isOpen:
            return
        held = (bytes(run.data), run.segmentSize, run.sender, run.arrival)
        self._kept.append(held)
        self._size += len(held[0]) + ENTRY
        self._forget(run.arrival)
        if self._end is not None:
            self._batch.append(held)

    def _forget(self, now: float) -> None:
        """Keep no more than is to be kept."""
        kept, oldest = self._kept, now - self._before
        while kept and (kept[0][3] < oldest or self._size > self._memory):
            self._size -= len(kept.popleft()[0]) + ENTRY

    @checked
    def dump(self, reason: str) -> Deferred[Path]:
        """
        Write what is kept, and what comes in the next seconds.

        @param reason: a word for the name of the file.
        @return: fires with the file when it is complete; fails with L{DumpError} if it is not
            written: it was a short while ago, or it cannot be, or nothing has come.
        """
        now = self._reactor.seconds()
        if not self._isOpen:
            return fail(DumpError(f"{self.name} is not open, so nothing of it is kept"))
        if self._written is not None:
            return fail(DumpError(f"the last seconds of {self.name} are being written"))
        if now < self._mayAt:
            wait = self._mayAt - now
            return fail(
                DumpError(
                    f"the last seconds of {self.name} were written a short while ago; they may "
                    f"be again in {wait:.0f} s"
                )
            )
        self._askedAt = now
        self._reason = reason or "dump"
        self._clock.adjust()
        self._forget(now)
        # They stay in memory in any case; and there may be a lot of them for one turn.
        self._disk.put(list(self._kept), 0, self._clock.offset, self._reason)
        written: Deferred[Path] = Deferred()
        self._written = written
        if self._after:
            self._end = self._reactor.callLater(self._after, self._finish)
            self._handing.start(self.interval, now=False)
        else:
            self._finish()
        return written

    def alarmChanged(self, alarm: Alarm) -> Deferred[bool]:
        """Write it when an alarm is raised; fires, when that is over, with whether it was."""
        if not alarm.isRaised:
            return succeed(False)

        def refused(failure: Failure) -> bool:
            failure.trap(DumpError)
            self._log.info("{why}", why=failure.getErrorMessage())
            return False

        return self.dump(alarm.name).addCallbacks(lambda _: True, refused)

    def describe(self) -> list[str]:
        """What is kept and written, for people."""
        kept = self._kept
        seconds = kept[-1][3] - kept[0][3] if kept else 0.0
        return [
            f"keeping the last {seconds:.0f} s, {self._size:,} bytes",
            f"written {self.dumps} times to {self.folder}: {self.recorded}",
        ]

    def warnings(self) -> list[str]:
        """What hinders it."""
        return self._disk.warnings()

    def _hand(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            self._clock.adjust()
            size = sum(len(each[0]) + ENTRY for each in batch)
            self._disk.put(batch, size, self._clock.offset, self._reason)

    def _finish(self) -> None:
        """Enough has come after it was asked for."""
        end, self._end = self._end, None
        callOff(end)
        if self._handing.running:
            self._handing.stop()
        written = self._written
        if written is None:
            return
        self._hand()

        def done(path: Path | None) -> None:
            self._written = None
            if path is None:
                why = self._disk.trouble or "nothing has come"
                written.errback(
                    DumpError(f"the last seconds of {self.name} are not written: {why}")
                )
                return
            self.dumps += 1
            self._mayAt = self._askedAt + self._pause
            self._log.info("{name}: recorded to {path}", name=self.name, path=path)
            written.callback(path)

        self._disk.finish(done)


class DumpHook(Hook):
    """
    Has what is kept written when an alarm is raised, for L{Health
    <txgroupsock.relay.health.Health>}'s C{hooks}.
    """

    @checked
    def __init__(self, reactor: Any, ring: Ring) -> None:
        """@param ring: the stage that keeps it, in the route that the alarms are of."""
        super().__init__(reactor)
        self._ring = ring

    def __repr__(self) -> str:
        return f"the recording of {self._ring.name} for alarms"

    def tell(self, alarm: Alarm) -> None:
        """See L{Hook}: nothing waits; what comes while another is written is in that, too."""
        if alarm.isRaised and not self._isClosed:
            self._ring.alarmChanged(alarm).addCallback(self._done)

    def _done(self, isWritten: bool) -> None:  # noqa: FBT001 - what a Deferred fires with
        self.told += isWritten
        self.dropped += not isWritten
