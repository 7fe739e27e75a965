"""How a route is to be recorded, checked; nothing is opened here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import frozen

from txgroupsock.primitives.arguments import typed
from txgroupsock.relay.recording.files import USUAL_AGE, USUAL_FILES, USUAL_SIZE, Keeping
from txgroupsock.relay.recording.recorded import Address
from txgroupsock.relay.recording.recorder import Recorder
from txgroupsock.relay.recording.ring import USUAL_AFTER, USUAL_MEMORY, USUAL_PAUSE, Ring

Recording = Recorder | Ring
"""What records a route."""


@frozen(field_transformer=typed)
class RecordingModel:
    """
    Files that a route is recorded to: all the time, or the last seconds upon an alarm.

    @ivar folder: where.
    @ivar size: see L{Keeping}, as for C{age}, C{files} and C{total}.
    @ivar last: seconds to keep in memory and to write only upon an alarm; L{None} for all the time.
    @ivar after: seconds to go on writing then; see L{Ring}, as for C{memory} and C{pause}.
    """

    folder: str
    size: int = USUAL_SIZE
    age: float = USUAL_AGE
    files: int = USUAL_FILES
    total: int | None = None
    last: float | None = None
    after: float = USUAL_AFTER
    memory: int = USUAL_MEMORY
    pause: float = USUAL_PAUSE

    @property
    def partName(self) -> str:
        """What the part of the route that records is called in its status."""
        return (Recorder if self.last is None else Ring).__name__

    def recording(self, reactor: Any, name: str, destination: Address) -> Recording:
        """What records a route of that name, not open yet."""
        keeping = Keeping(self.size, self.age, self.files, self.total)
        if self.last is None:
            return Recorder(reactor, name, destination, Path(self.folder), keeping)
        return Ring(
            reactor,
            name,
            destination,
            Path(self.folder),
            keeping,
            before=self.last,
            after=self.after,
            memory=self.memory,
            pause=self.pause,
        )

    def __str__(self) -> str:
        files = f"{self.files} files of {self.size:,} bytes or {self.age:g} s at most"
        if self.total is not None:
            files += f", {self.total:,} bytes in all"
        what = "all of it" if self.last is None else f"upon an alarm, the last {self.last:g} s"
        return f"{what}, to {self.folder}: {files}"
