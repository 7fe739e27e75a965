"""From a reactor's clock to the time of day."""

from __future__ import annotations

import time
from typing import Any, ClassVar


class WallClock:
    """
    How far a reactor's clock is from 1970.

    Some reactors have the time of day, others the time since the machine was started.

    @cvar tolerance: seconds that both may go apart, so that times in a file are as even as those
        of the reactor; if the time of day is set by more, that is followed.
    @ivar offset: seconds to add to a time of the reactor; 0 if it has the time of day.
    """

    tolerance: ClassVar[float] = 0.01

    def __init__(self, reactor: Any) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self.offset = 0.0
        self._reactor = reactor

    def adjust(self) -> None:
        """Follow the time of day; to be called now and then."""
        offset = time.time() - self._reactor.seconds()
        if abs(offset - self.offset) > self.tolerance:
            self.offset = offset if abs(offset) > self.tolerance else 0.0
