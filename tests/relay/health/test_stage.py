"""The stage that looks at what passes: it changes nothing, and tells what is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.relay.health.support import rtp, runOf
from tests.relay.health.test_ts import datagramsOf, stream
from tests.relay.support import Collector, freePort, loggedLines, send, until
from txgroupsock import Route, Run
from txgroupsock.interfaces import IRunReceiver
from txgroupsock.relay.engine.status import endStatus
from txgroupsock.relay.health import Alarm, Health, Hook, Thresholds
from txgroupsock.relay.interfaces import IRelayStage, IWarning


@implementer(IRunReceiver)
@define
class Taking:
    """Keeps runs as they are."""

    runs: list[Run] = field(factory=list)

    def runReceived(self, run: Run) -> None:
        self.runs.append(run)


class Noting(Hook):
    """Notes alarms."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.alarms: list[Alarm] = []

    def tell(self, alarm: Alarm) -> None:
        self.alarms.append(alarm)


def opened(clock: Clock, *arguments: Any, **options: Any) -> tuple[Health, Taking]:
    """A stage that is open, and what it gives to."""
    health, taking = Health(clock, "news", *arguments, **options), Taking()
    health.openStage(taking)
    return health, taking


def test_itIsAStage() -> None:
    """It provides what routes and their status ask for."""
    health = Health(Clock(), "news")
    verifyObject(IRelayStage, health)
    verifyObject(IWarning, health)
    assert endStatus(health).name == "Health"


def test_runsPassUntouched() -> None:
    """Each run is given on itself, with its memory, and is counted."""
    clock = Clock()
    health, taking = opened(clock)
    runs = [runOf(datagramsOf(stream(70), isRTP=True)), runOf([b""]), runOf([b"x"] * 5)]
    before = [bytes(each.data) for each in runs]
    for each in runs:
        health.runReceived(each)
    assert all(given is each for given, each in zip(taking.runs, runs, strict=True))
    assert [bytes(each.data) for each in taking.runs] == before
    assert health.counters.datagrams == 16
    health.closeStage()
    assert clock.getDelayedCalls() == []


def test_figuresAreMeasuredEachInterval() -> None:
    """Until the first interval is over there are none; the status then is what JSON gets."""
    clock = Clock()
    clock.advance(1000)
    drops = [4]
    health, _ = opened(clock, interval=0.5, kernelDrops=lambda: drops[0])
    drops[0] += 3
    health.runReceived(runOf(datagramsOf(stream(700), isRTP=True), 1000.25))
    assert health.status().toJSON()["rtp"] is None
    clock.advance(0.5)
    figures = health.status()
    assert (figures.time, figures.stream.datagramRate) == (1000.5, 200.0)
    json = figures.toJSON()
    assert (json["rtp"]["received"], json["ts"]["packets"]) == (100, 700)
    assert (json["ts"]["carrier"], json["stream"]["kernelDrops"]) == ("RTP", 3)
    assert [each["name"] for each in json["alarms"]] == ["kernelDrops"]
    health.closeStage()


def test_partsCanBeLeftOut() -> None:
    """What is not to be looked at is not."""
    clock = Clock()
    health, _ = opened(clock, rtp=False, ts=False)
    health.runReceived(runOf(datagramsOf(stream(70), isRTP=True)))
    clock.advance(1)
    json = health.status().toJSON()
    assert (json["rtp"], json["ts"], json["stream"]["datagrams"]) == (None, None, 10)
    health.closeStage()


def test_alarmsAreToldOnce() -> None:
    """An alarm is a warning while it is raised, and a line of log, a call and a hook each when it
    is raised and when it is cleared.
    """
    clock = Clock()
    noting = Noting()
    health, _ = opened(clock, Thresholds(clearAfter=3.0), [noting])
    called: list[Alarm] = []
    health.alarmChanged = called.append
    sequence = iter(range(1000))
    with loggedLines() as lines:
        for second in range(12):
            if second == 2:
                next(sequence)
            numbers = [next(sequence) for _ in range(10)]
            health.runReceived(runOf([rtp(each) for each in numbers], clock.seconds() + 0.5))
            clock.advance(1)
            assert bool(health.warnings()) == (2 <= second < 6)
            if second == 2:
                [text] = health.warnings()
                assert text.startswith("1 of 11 RTP packets were lost; ")
    assert [each.isRaised for each in called] == [True, False]
    assert noting.alarms == called
    assert [each.split(":")[0] for each in lines] == ["news", "news"]
    assert lines[1].startswith("news: over after 4 s: 1 of 11 ")
    health.closeStage()


def test_whoIsToldMayFail() -> None:
    """What a listener raises is logged, and measuring goes on."""
    clock = Clock()
    health, _ = opened(clock)

    def fail(_: Alarm) -> None:
        raise RuntimeError("broken on purpose")

    health.alarmChanged = fail
    with loggedLines() as lines:
        clock.advance(1.5)
        clock.advance(1.5)
    assert "news: who was told of an alarm failed" in lines
    assert health.status().stream.silence == 3.0
    health.closeStage()


class Broken(Hook):
    """Cannot even be told."""

    def tell(self, alarm: Alarm) -> None:
        raise RuntimeError("broken on purpose")


def test_aHookThatRaisesEndsNothing() -> None:
    """The other hooks are told, and health is looked at on and on; closing works, too."""
    clock = Clock()
    noting = Noting()
    health, _ = opened(clock, None, [Broken(clock), noting])
    with loggedLines() as lines:
        clock.advance(1.5)
        clock.advance(1.5)
        assert health.status().stream.silence == 3.0
        health.closeStage()
    assert [each.isRaised for each in noting.alarms] == [True, False]
    assert lines.count("news: who was told of an alarm failed") == 2


def test_lookingNeverStopsTheStream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should looking at it raise, that is logged once, and every run still passes."""
    clock = Clock()
    health, taking = opened(clock)
    monkeypatch.setattr(health._rtp, "take", None)
    with loggedLines() as lines:
        for _ in range(3):
            health.runReceived(runOf([b"x"]))
        clock.advance(2)
    assert lines == ["news: its health is looked at no longer"]
    assert len(taking.runs) == 3
    health.closeStage()


@pytest_twisted.ensureDeferred
async def test_theExampleOfTheDocumentationWorks(reactor: Any) -> None:
    """The route of docs/health.md opens, and its JSON has the keys that the page names."""
    page = (Path(__file__).parents[3] / "docs" / "health.md").read_text("utf-8")
    [block] = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(block.replace("127.0.0.1:5004", f"127.0.0.1:{freePort()}"), names)
    names["route"].openRoute()
    await names["route"].closeRoute()
    names["pager"].close()
    clock = Clock()
    health, _ = opened(clock)
    health.runReceived(runOf(datagramsOf(stream(70), isRTP=True)))
    clock.advance(1)
    json = health.status().toJSON()
    for part in ("stream", "rtp", "ts"):
        table = page[page.index(f"**`{part}`**") :].split("\n\n**", 1)[0]
        assert set(json[part]) <= set(re.findall(r"`(\w+)`", table)), part
    health.closeStage()


def test_whoCountsDropsMayFail() -> None:
    """Should measuring raise, that is logged once too."""
    clock = Clock()
    counts = [0]
    health, taking = opened(clock, kernelDrops=counts.pop)
    with loggedLines() as lines:
        clock.pump([1, 1, 1])
        health.runReceived(runOf([b"x"]))
    assert lines == ["news: its health is looked at no longer"]
    assert len(taking.runs) == 1
    health.closeStage()


def test_anIntervalLasts() -> None:
    """No interval is a mistake."""
    with pytest.raises(ValueError, match="more than 0 s, not 0"):
        Health(Clock(), "news", interval=0)


@pytest_twisted.ensureDeferred
async def test_aRouteHasIt(reactor: Any) -> None:
    """In a route it sees what comes by the network, and its alarm is among the route's warnings."""
    port = freePort()
    collector = Collector()
    health = Health(reactor, "news", Thresholds(silence=0.2), interval=0.05)
    route = Route.fromURLs(reactor, [f"udp://127.0.0.1:{port}"], [collector], [health])
    route.openRoute()
    packets = [rtp(each) for each in (1, 2, 3, 5, 5, 6)]
    for each in packets:
        send(each, "127.0.0.1", port)
    assert await collector.take(reactor, 6) == packets
    await until(reactor, lambda: health.status().rtp and health.status().stream.datagrams == 6)
    figures = health.status().rtp
    assert figures is not None
    assert (figures.lost, figures.duplicates, figures.received) == (1, 1, 5)
    await until(reactor, lambda: any("nothing has come" in each for each in health.warnings()))
    [stage] = route.status().stages
    assert any("nothing has come" in each for each in stage.warnings)
    await route.closeRoute()
