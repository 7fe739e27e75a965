"""All that is told of an input's health at one moment."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from txgroupsock.relay.health.alarms import Alarm
from txgroupsock.relay.health.rtp import RTPFigures
from txgroupsock.relay.health.stream import StreamFigures
from txgroupsock.relay.health.tsfigures import TSFigures


@frozen
class HealthFigures:
    """
    The health of an input.

    @ivar time: when it was measured, in seconds of the reactor's clock.
    @ivar rtp: L{None} if that is not looked at.
    @ivar ts: likewise.
    @ivar alarms: those that are raised.
    """

    time: float = 0.0
    stream: StreamFigures = field(factory=StreamFigures)
    rtp: RTPFigures | None = None
    ts: TSFigures | None = None
    alarms: tuple[Alarm, ...] = ()

    def toJSON(self) -> dict[str, Any]:
        """As docs/health.md has it; C{rtp} and C{ts} are C{None} if the stream has none, too."""
        return {
            "stream": self.stream.toJSON(),
            "rtp": self.rtp.toJSON() if self.rtp is not None and self.rtp.isRTP else None,
            "ts": self.ts.toJSON() if self.ts is not None and self.ts.isTS else None,
            "alarms": [each.toJSON() for each in self.alarms],
        }
