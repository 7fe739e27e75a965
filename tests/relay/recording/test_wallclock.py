"""From a clock that counts from anywhere to the time of day, which may be set."""

from __future__ import annotations

import time

import pytest
from twisted.internet.task import Clock

from txgroupsock.relay.recording.wallclock import WallClock


def test_itFollowsWhenTheTimeOfDayIsSet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back or ahead; by less than its tolerance, times in a file stay even."""
    reactor = Clock()
    reactor.advance(10)
    wall = WallClock(reactor)
    for now, offset in ((1010.0, 1000), (1010.005, 1000), (-2590.0, -2600), (2e9, 2e9 - 10)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        wall.adjust()
        assert wall.offset == offset
