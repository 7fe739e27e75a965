"""The last seconds are kept, and written when something has happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from zope.interface.verify import verifyObject

from tests.relay.recording.test_files import names
from tests.relay.recording.test_recorder import GROUP, opened, recordedIn
from tests.relay.support import SECONDS, Collector, freePort, loggedLines, runOf, send, until, url
from txgroupsock import Route
from txgroupsock.primitives.run import Run
from txgroupsock.relay.engine.status import endStatus
from txgroupsock.relay.health import Alarm, Health, Thresholds
from txgroupsock.relay.interfaces import IRelayStage, IWarning
from txgroupsock.relay.recording import DumpError, DumpHook, Keeping, Ring, readDatagrams
from txgroupsock.relay.recording.disk import Disk


def run(reactor: Any, data: bytes, age: float = 0.0) -> Run:
    """One datagram, that has come some seconds ago."""
    return Run(memoryview(data), len(data), ("192.0.2.1", 5000), reactor.seconds() - age)


def alarm(name: str = "silence", *, isRaised: bool = True) -> Alarm:
    """An alarm."""
    return Alarm("news", name, "text", None, None, 0.0, isRaised=isRaised)


async def fired(reactor: Any, written: Deferred[Path]) -> Path:
    """The file, as soon as it is there."""
    return await written.addTimeout(SECONDS, reactor)


@pytest_twisted.ensureDeferred
async def test_itIsAStage(reactor: Any, tmp_path: Path) -> None:
    """It provides what routes and their status ask for, and writes nothing by itself."""
    ring = Ring(reactor, "news", GROUP, tmp_path)
    verifyObject(IRelayStage, ring)
    verifyObject(IWarning, ring)
    async with opened(ring) as collector:
        ring.runReceived(runOf(b"one"))
        assert collector.payloads == [b"one"]
        assert endStatus(ring).state[0].startswith("keeping the last 0 s")
        assert endStatus(ring).warnings == ()
    assert names(tmp_path) == []


@pytest_twisted.ensureDeferred
async def test_theLastSecondsAreWritten(reactor: Any, tmp_path: Path) -> None:
    """Nothing older, each with its own time; the reason is in the name."""
    ring = Ring(reactor, "news", GROUP, tmp_path, before=10, after=0)
    async with opened(ring):
        for age in (12, 11, 9, 5, 1):
            ring.runReceived(run(reactor, b"%d" % age, age))
        path = await fired(reactor, ring.dump("silence"))
        assert path.name.endswith("Z-silence.pcap")
        found = list(readDatagrams(path))
        assert [each.payload for each in found] == [b"9", b"5", b"1"]
        ages = [found[-1].time / 1e9 - each.time / 1e9 + 1 for each in found]
        assert ages == [pytest.approx(each, abs=0.1) for each in (9, 5, 1)]
        assert ring.dumps == 1
    assert len(names(tmp_path)) == 1


@pytest_twisted.ensureDeferred
async def test_whatComesAfterwardsIsWrittenToo(reactor: Any, tmp_path: Path) -> None:
    """For as long as is wanted, and once."""
    ring = Ring(reactor, "news", GROUP, tmp_path, after=0.4)
    async with opened(ring):
        ring.runReceived(run(reactor, b"before"))
        written = ring.dump("test")
        ring.runReceived(run(reactor, b"after"))
        await deferLater(reactor, 0.3)
        ring.runReceived(run(reactor, b"later"))
        await fired(reactor, written)
        ring.runReceived(run(reactor, b"too late"))
    assert recordedIn(tmp_path) == [b"before", b"after", b"later"]


@pytest_twisted.ensureDeferred
async def test_closingCompletesIt(reactor: Any, tmp_path: Path) -> None:
    """What has come by then is in the file."""
    ring = Ring(reactor, "news", GROUP, tmp_path, after=60)
    async with opened(ring):
        written = ring.dump("test")
        ring.runReceived(run(reactor, b"after"))
    assert (await fired(reactor, written)).exists()
    assert recordedIn(tmp_path) == [b"after"]
    ring.runReceived(run(reactor, b"closed"))
    with pytest.raises(DumpError, match="not open"):
        await ring.dump("test")


@pytest_twisted.ensureDeferred
async def test_memoryIsBounded(reactor: Any, tmp_path: Path) -> None:
    """The newest are kept, those that are empty cost something too."""
    ring = Ring(reactor, "news", GROUP, tmp_path, after=0, memory=20_000)
    async with opened(ring):
        for _ in range(10_000):
            ring.runReceived(run(reactor, b""))
        assert len(ring._kept) == 100
        for each in range(100):
            ring.runReceived(run(reactor, bytes([each]) * 800))
        await fired(reactor, ring.dump("test"))
        assert recordedIn(tmp_path) == [bytes([each]) * 800 for each in range(80, 100)]
        ring.runReceived(run(reactor, bytes(30_000)))
        assert len(ring._kept) == 0


@pytest_twisted.ensureDeferred
async def test_oftenIsTooOften(reactor: Any, tmp_path: Path) -> None:
    """Neither while it is written, nor a short while after that."""
    ring = Ring(reactor, "news", GROUP, tmp_path, after=0.01, pause=0.5)
    async with opened(ring):
        ring.runReceived(run(reactor, b"one"))
        first = ring.dump("test")
        with pytest.raises(DumpError, match="are being written"):
            await ring.dump("test")
        await fired(reactor, first)
        with pytest.raises(DumpError, match="again in"):
            await ring.dump("test")
        await deferLater(reactor, 0.5)
        await fired(reactor, ring.dump("test"))
    assert len(names(tmp_path)) == 2


@pytest_twisted.ensureDeferred
async def test_nothingIsNotWritten(reactor: Any, tmp_path: Path) -> None:
    """If nothing has come, there is no file, and it says so; what comes then may be written."""
    ring = Ring(reactor, "news", GROUP, tmp_path, after=0)
    async with opened(ring):
        with pytest.raises(DumpError, match="nothing has come"):
            await ring.dump("test")
        ring.runReceived(run(reactor, b"one"))
        await fired(reactor, ring.dump("test"))
    assert len(names(tmp_path)) == 1


@pytest_twisted.ensureDeferred
async def test_whatCannotBeWrittenIsSaid(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to do about it; the next may be."""
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.setattr(Disk, "retryTime", 0.0)
    ring = Ring(reactor, "news", GROUP, folder, after=0, pause=0)
    async with opened(ring):
        ring.runReceived(run(reactor, b"one"))
        folder.rmdir()
        with pytest.raises(DumpError, match=r"\(ENOENT\); make the folder again"):
            await ring.dump("test")
        assert ring.warnings()
        folder.mkdir()
        await fired(reactor, ring.dump("test"))
        assert not ring.warnings()
    assert recordedIn(folder) == [b"one"]


@pytest_twisted.ensureDeferred
async def test_theOldestGo(reactor: Any, tmp_path: Path) -> None:
    """There are no more files than are to be kept."""
    ring = Ring(reactor, "news", GROUP, tmp_path, Keeping(files=2), after=0, pause=0)
    async with opened(ring):
        for each in range(4):
            ring.runReceived(run(reactor, b"%d" % each))
            await fired(reactor, ring.dump(f"reason {each}"))
    assert [each.rpartition("-")[2] for each in names(tmp_path)] == [
        "reason_2.pcap",
        "reason_3.pcap",
    ]


@pytest_twisted.ensureDeferred
async def test_aHookHasItWritten(reactor: Any, tmp_path: Path) -> None:
    """When an alarm is raised, not when it is cleared; what is too soon is said and counted."""
    ring = Ring(reactor, "news", GROUP, tmp_path, after=0)
    hook = DumpHook(reactor, ring)
    with loggedLines() as lines:
        async with opened(ring):
            ring.runReceived(run(reactor, b"one"))
            hook.tell(alarm(isRaised=False))
            hook.tell(alarm("rtpLoss"))
            hook.tell(alarm())
            await until(reactor, lambda: hook.told)
            hook.close()
            hook.tell(alarm())
    assert (hook.told, hook.dropped) == (1, 1)
    assert "are being written" in "".join(lines)
    assert [each.rpartition("-")[2] for each in names(tmp_path)] == ["rtploss.pcap"]


@pytest_twisted.ensureDeferred
async def test_anAlarmOfARouteHasItWritten(reactor: Any, tmp_path: Path) -> None:
    """What came before a stream ended is in a file soon after."""
    port = freePort()
    collector = Collector()
    ring = Ring(reactor, "news", ("127.0.0.1", port), tmp_path, after=0)
    health = Health(
        reactor, "news", Thresholds(silence=0.3), [DumpHook(reactor, ring)], interval=0.05
    )
    route = Route.fromURLs(reactor, [url("127.0.0.1", port)], [collector], [ring, health])
    route.openRoute()
    sent = [b"%d" % each for each in range(10)]
    for each in sent:
        send(each, "127.0.0.1", port)
    assert await collector.take(reactor, len(sent)) == sent
    await until(reactor, lambda: ring.dumps)
    assert recordedIn(tmp_path) == sent
    await route.closeRoute()


@pytest.mark.parametrize("wrong", [{"before": 0}, {"after": -1}, {"memory": 0}, {"pause": -1}])
def test_keepingNothingIsAnError(wrong: dict[str, Any], tmp_path: Path) -> None:
    """It says what has to be more."""
    with pytest.raises(ValueError, match="more than 0"):
        Ring(None, "news", GROUP, tmp_path, **wrong)
