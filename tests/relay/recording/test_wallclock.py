"""From a clock that counts from anywhere to the time of day, which may be set."""

from __future__ import annotations

import time

import pytest
from twisted.internet.task import Clock

from txgroupsock.relay.recording.wallclock import WallClock


def test_itFollowsWhenTheTimeOfDayIsSet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back or ahead; by less than its tolerance, times in a file stay even."""
    reactor, now = Clock(), 1e9
    monkeypatch.setattr(time, "time", lambda: now)
    wall = WallClock(reactor)
    wall.adjust()
    assert reactor.seconds() + wall.offset == now
    reactor.advance(10)
    for now, offset in ((1e9 + 10.005, 1e9), (1e9 - 3590, 1e9 - 3600), (2e9 + 10, 2e9)):
        wall.adjust()
        assert wall.offset == offset
