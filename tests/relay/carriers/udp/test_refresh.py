"""When memberships are refreshed, and for whom."""

from __future__ import annotations

from twisted.internet.task import Clock

from txgroupsock.relay.carriers.udp.refresh import Refreshing, Senders


class Group:
    """Something that may be heard, and the times at which it was refreshed."""

    def __init__(self, interval: float | None) -> None:
        self.clock = Clock()
        self.received = 0
        self.scheduled: list[float] = []
        self.onSilence: list[float] = []
        self.refreshing = Refreshing(self.clock, lambda: self.received, self._refresh, lambda: 1.0)
        self.refreshing.start(interval)

    def _refresh(self, *, mayLose: bool) -> None:
        (self.onSilence if mayLose else self.scheduled).append(self.clock.seconds())

    def passes(self, seconds: int, *, heard: bool = False) -> None:
        """Time goes by, with a datagram a second or none."""
        for _ in range(seconds):
            self.received += heard
            self.clock.pump([0.5, 0.5])


def test_aGroupThatFallsSilentIsRefreshedMoreAndMoreRarely() -> None:
    """After 5 s to 7.5 s, then after twice as long each time, once a minute in the end."""
    group = Group(None)
    group.passes(20, heard=True)
    assert group.onSilence == []
    group.passes(300)
    first, *others = group.onSilence
    assert 25 <= first <= 28
    gaps = [round(b - a) for a, b in zip(group.onSilence, others, strict=False)]
    assert gaps == [10, 20, 40, 60, 60, 60]
    assert group.scheduled == []


def test_aStreamThatIsBackStartsItAnew() -> None:
    """The next silence is as short as the first."""
    group = Group(None)
    for _ in range(3):
        group.passes(1, heard=True)
        group.passes(12)
    assert len(group.onSilence) == 3


def test_aGroupThatWasNeverHeardIsLeftAlone() -> None:
    """There may be no source yet; whoever has one starts it."""
    group = Group(None)
    group.passes(100)
    assert group.onSilence == []


def test_aScheduleIsKept() -> None:
    """Whether something is heard or not."""
    group = Group(30)
    group.passes(95, heard=True)
    assert group.scheduled == [30, 60, 90]
    assert group.onSilence == []


def test_groupsAreNotRefreshedAllAtOnce() -> None:
    """Each begins at a time of its own within the first interval."""
    clock, times = Clock(), set()
    for _ in range(50):
        Refreshing(clock, lambda: 0, lambda **_: times.add(clock.seconds())).start(30)
    clock.pump([0.1] * 301)
    assert len(times) > 20


def test_zeroIsNever() -> None:
    """Neither on silence nor on a schedule, and without a timer."""
    group = Group(0)
    assert group.clock.getDelayedCalls() == []
    group.passes(100)
    assert group.onSilence == group.scheduled == []


def test_itCanBeChangedAndStopped() -> None:
    """No timer is left."""
    group = Group(30)
    group.refreshing.start(10)
    group.passes(25, heard=True)
    assert group.scheduled == [10, 20]
    group.refreshing.stop()
    assert group.clock.getDelayedCalls() == []


def test_theLatestSendersAreKnown() -> None:
    """The latest first, and of a host that makes up senders only so many."""
    senders = Senders()
    for number in range(1000):
        senders.heard(f"10.0.{number // 250}.{number % 250}", number)
    senders.heard("10.0.0.1", 1001)
    latest = senders.latest()
    assert latest[:2] == ["10.0.0.1", "10.0.3.249"]
    assert len(latest) == Senders.most
