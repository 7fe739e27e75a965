"""A stage that records what passes, to files that follow each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.ports.clock import steady
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.run import Run
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.interfaces import IWarning
from txgroupsock.relay.recording.disk import ENTRY, Disk
from txgroupsock.relay.recording.files import Files, Keeping, needFolder
from txgroupsock.relay.recording.pcapfile import Framer, Held
from txgroupsock.relay.recording.recorded import Address
from txgroupsock.relay.recording.wallclock import WallClock
from txgroupsock.relay.stage import Stage


@implementer(IWarning)
class Recorder(Stage):
    """
    Gives every run on as it is, and then has it written.

    Nothing waits for the disk: what that is too slow for is not recorded, and counted.

    @cvar interval: seconds after which runs are handed to the disk, at most.
    @cvar batch: bytes of runs that are handed to it sooner.
    """

    interval: ClassVar[float] = 0.25
    batch: ClassVar[int] = 256 * 1024

    @checked
    def __init__(
        self,
        reactor: Any,
        name: str,
        destination: Address,
        folder: Path,
        keeping: Keeping | None = None,
    ) -> None:
        """
        @param reactor: provides C{IReactorTime} and C{IReactorFromThreads}.
        @param name: of the route; the files are called after it.
        @param destination: of the datagrams: the address of the input.
        @param folder: where to make files; it has to be there.
        @param keeping: left out, L{Keeping}'s own.
        """
        super().__init__()
        reactor = steady(reactor)
        self.name, self.folder = name, folder
        self._keeping = keeping or Keeping()
        self._disk = Disk(
            reactor,
            Files(folder, name, self._keeping),
            Framer(destination),
            f"the recording of {name}",
        )
        self._clock = WallClock(reactor)
        self._batch: list[Held] = []
        self._size = 0
        self._handing = LoopingCall(self._tick)
        self._handing.clock = reactor
        self._isOpen = False

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
        self._clock.adjust()
        self._disk.open()
        self._isOpen = True
        self._handing.start(self.interval, now=False)

    def closeStage(self) -> Deferred[None]:
        """See L{IRelayStage}; the last file is complete."""
        super().closeStage()
        self._isOpen = False
        if self._handing.running:
            self._handing.stop()
        self._hand()
        return self._disk.close()

    def runReceived(self, run: Run) -> None:
        """Take a run."""
        self.give(run)  # first: outputs do not wait for this
        if self._isOpen:
            data = bytes(run.data)
            self._batch.append((data, run.segmentSize, run.sender, run.arrival))
            self._size += len(data) + ENTRY
            if self._size >= self.batch:
                self._hand()

    def describe(self) -> list[str]:
        """Where it records, for people."""
        path = self._disk.path
        return [f"recording to {path or self.folder}: {self.recorded}"]

    def warnings(self) -> list[str]:
        """What hinders it."""
        return self._disk.warnings()

    def _tick(self) -> None:
        self._clock.adjust()
        if self._batch:
            self._hand()
        else:
            self._disk.tick()

    def _hand(self) -> None:
        if self._batch:
            batch, size = self._batch, self._size
            self._batch, self._size = [], 0
            self._disk.put(batch, size, self._clock.offset)
