"""From a reactor's clock to the time of day."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from txgroupsock.ports.clock import steady


class WallClock:
    """
    How far a reactor's clock is from 1970, now: the time of day may be set.

    @cvar tolerance: seconds that both may go apart, so that times in a file are as even as those
        of the reactor; if the time of day is set by more, that is followed.
    @ivar offset: seconds to add to a time of the reactor.
    """

    tolerance: ClassVar[float] = 0.01

    def __init__(self, reactor: Any) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self.offset = 0.0
        self._reactor = steady(reactor)

    def adjust(self) -> None:
        """Follow the time of day; to be called now and then."""
        offset = time.time() - self._reactor.seconds()  # noqa: TID251 - for files
        if abs(offset - self.offset) > self.tolerance:
            self.offset = offset
