"""What passes a route is recorded, and nothing waits for the disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from zope.interface.verify import verifyObject

from tests.relay.recording.captures import tshark
from tests.relay.recording.test_files import names
from tests.relay.support import Collector, freePort, loggedLines, runOf, send, until, url
from txgroupsock import Route
from txgroupsock.primitives.run import Run
from txgroupsock.relay.engine.status import endStatus
from txgroupsock.relay.interfaces import IRelayStage, IWarning
from txgroupsock.relay.recording import CaptureError, Keeping, Recorder, readDatagrams
from txgroupsock.relay.recording.disk import Disk

GROUP = ("232.1.1.1", 5004)


@asynccontextmanager
async def opened(recorder: Any) -> AsyncIterator[Collector]:
    """A stage that is open, and what it gives to; closed in the end."""
    collector = Collector()
    recorder.openStage(collector)
    try:
        yield collector
    finally:
        await recorder.closeStage()


def recordedIn(folder: Path) -> list[bytes]:
    """The payloads of all files of a folder, all of which are whole."""
    found = []
    for name in names(folder):
        capture = readDatagrams(folder / name)
        found += [each.payload for each in capture]
        assert capture.tear is None
        assert not capture.skipped
    return found


def recordedSoFar(folder: Path) -> list[bytes]:
    """The same while a file may just be begun, and still be empty, or be given its last name."""
    try:
        return recordedIn(folder)
    except (CaptureError, FileNotFoundError):
        return []


@pytest_twisted.ensureDeferred
async def test_itIsAStage(reactor: Any, tmp_path: Path) -> None:
    """It provides what routes and their status ask for."""
    recorder = Recorder(reactor, "news", GROUP, tmp_path)
    verifyObject(IRelayStage, recorder)
    verifyObject(IWarning, recorder)
    async with opened(recorder):
        status = endStatus(recorder)
        assert status.name == "Recorder"
        assert str(tmp_path) in status.state[0]
        assert status.warnings == ()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "239.1.2.3", "ff15::1234"])
@pytest_twisted.ensureDeferred
async def test_whatWasSentIsRecorded(reactor: Any, host: str, tmp_path: Path) -> None:
    """Through a route: payloads, senders, the input's address, and times of the day."""
    port = freePort()
    collector = Collector()
    isGroup = host not in ("127.0.0.1", "::1")
    incoming = url(host, port, "?interface=lo" if isGroup else "")
    recorder = Recorder(reactor, "news", (host, port), tmp_path)
    route = Route.fromURLs(reactor, [incoming], [collector], [recorder])
    began = time.time()
    route.openRoute()
    sent = [bytes([each]) * (each % 7 * 200) for each in range(100)]
    senders = [send(each, host, port) for each in sent]
    assert await collector.take(reactor, len(sent)) == sent
    await route.closeRoute()
    [path] = tmp_path.iterdir()
    assert path.suffix == ".pcap"
    found = list(readDatagrams(path))
    assert [each.payload for each in found] == sent
    assert [each.source for each in found] == senders
    assert {each.destination for each in found} == {(host, port)}
    times = [each.time / 1e9 for each in found]
    assert began - 0.1 <= times[0] <= times[-1] <= time.time() + 0.1
    assert times == sorted(times)
    assert recorder.recorded.datagrams == len(sent)
    assert recorder.recorded.bytes == sum(map(len, sent))
    assert recorder.counters.datagrams == len(sent)
    if shutil.which("tshark") is not None:
        fields = tshark(path, "udp.srcport", "_ws.expert.severity")
        assert [int(each[0]) for each in fields] == [port for _, port in senders]


@pytest_twisted.ensureDeferred
async def test_itIsInTheFileWithinASecond(reactor: Any, tmp_path: Path) -> None:
    """While nothing more comes, and the file goes on."""
    recorder = Recorder(reactor, "news", GROUP, tmp_path)
    async with opened(recorder):
        recorder.runReceived(runOf(b"one"))
        await until(reactor, lambda: recordedSoFar(tmp_path) == [b"one"])
        assert names(tmp_path)[0].endswith(".pcap.part")
        assert names(tmp_path)[0] in endStatus(recorder).state[0]
    assert names(tmp_path)[0].endswith(".pcap")


@pytest_twisted.ensureDeferred
async def test_aFileIsCompletedByItsAge(reactor: Any, tmp_path: Path) -> None:
    """Also while nothing comes."""
    recorder = Recorder(reactor, "news", GROUP, tmp_path, Keeping(age=0.1))
    async with opened(recorder):
        recorder.runReceived(runOf(b"one"))
        await until(reactor, lambda: [each for each in names(tmp_path) if each.endswith(".pcap")])


@pytest_twisted.ensureDeferred
async def test_aSlowDiskDelaysNobody(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is too slow for is given on all the same, and counted."""
    monkeypatch.setattr(Disk, "mostWaiting", 400_000)
    monkeypatch.setattr(Recorder, "batch", 100_000)
    isFree = threading.Event()
    write = os.write  # no disk here is slow when it should be

    def slowly(file: int, data: Any) -> int:
        isFree.wait(20)
        return write(file, data)

    monkeypatch.setattr(Disk, "slowTime", 1.0)
    recorder = Recorder(reactor, "news", GROUP, tmp_path)
    async with opened(recorder) as collector:
        with monkeypatch.context() as patched:
            patched.setattr("txgroupsock.relay.recording.files.os.write", slowly)
            for _ in range(1000):
                recorder.runReceived(runOf(bytes(1000)))
            assert len(collector.payloads) == 1000
            dropped = recorder.recorded.dropped["slow"]
            assert 500 < dropped < 1000
            assert recorder.recorded.datagrams == 0
            [warning] = recorder.warnings()
            assert f"is too slow: {dropped:,} datagrams are not recorded so far" in warning
            isFree.set()
            await until(reactor, lambda: recorder.recorded.datagrams + dropped == 1000)
            await until(reactor, lambda: not recorder.warnings())
    assert len(recordedIn(tmp_path)) == 1000 - dropped
    assert recorder.counters.dropped.total() == 0


@pytest_twisted.ensureDeferred
async def test_aDiskThatHangsDoesNotKeepIt(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing gives up, and says so."""
    monkeypatch.setattr(Disk, "closeTime", 0.1)
    isFree = threading.Event()
    monkeypatch.setattr(
        "txgroupsock.relay.recording.files.Files.write", lambda *_: isFree.wait(20) and None
    )
    recorder = Recorder(reactor, "news", GROUP, tmp_path)
    with loggedLines() as lines:
        async with opened(recorder):
            recorder.runReceived(runOf(b"one"))
    assert "it is left" in lines[-1]
    thread = next(each for each in threading.enumerate() if "news" in each.name)
    isFree.set()
    await until(reactor, lambda: not thread.is_alive())


@pytest_twisted.ensureDeferred
async def test_aFolderThatGoesIsAWarning(reactor: Any, tmp_path: Path) -> None:
    """It says what to do, and is over when that is done."""
    folder = tmp_path / "folder"
    folder.mkdir()
    recorder = Recorder(reactor, "news", GROUP, folder)
    with loggedLines() as lines:
        async with opened(recorder):
            folder.rmdir()
            recorder.runReceived(runOf(b"lost"))
            await until(reactor, recorder.warnings)
            [warning] = recorder.warnings()
            assert "(ENOENT); make the folder again, or mount what has it" in warning
            folder.mkdir()

            def isRecorded() -> bool:
                recorder.runReceived(runOf(b"kept"))
                return not recorder.warnings()

            await until(reactor, isRecorded)
    assert len([each for each in lines if "nothing is recorded" in each]) == 1
    assert "it is recorded again" in "".join(lines)
    found = recordedIn(folder)
    assert set(found) == {b"kept"}
    assert recorder.recorded.datagrams == len(found)
    assert recorder.recorded.dropped["ENOENT"] >= 1
    assert recorder.counters.datagrams == len(found) + recorder.recorded.dropped.total()


@pytest_twisted.ensureDeferred
async def test_aFolderThatIsNotThereKeepsItFromOpening(reactor: Any, tmp_path: Path) -> None:
    """The route is not opened, and nothing stays open."""
    collector = Collector()
    recorder = Recorder(reactor, "news", GROUP, tmp_path / "missing")
    incoming = url("127.0.0.1", freePort())
    route = Route.fromURLs(reactor, [incoming], [collector], [recorder])
    with pytest.raises(FileNotFoundError, match="there is no such folder; make it"):
        route.openRoute()
    assert not collector.isOpen


@pytest_twisted.ensureDeferred
async def test_itCanBeOpenedAgain(reactor: Any, tmp_path: Path) -> None:
    """And goes on with another file."""
    recorder = Recorder(reactor, "news", GROUP, tmp_path)
    for each in b"one", b"two":
        async with opened(recorder):
            recorder.runReceived(runOf(each))
    assert recordedIn(tmp_path) == [b"one", b"two"]
    assert len(names(tmp_path)) == 2
    await recorder.closeStage()


@pytest_twisted.ensureDeferred
async def test_aLentBufferIsCopied(reactor: Any, tmp_path: Path) -> None:
    """What the port does with it afterwards is not recorded."""
    buffer = bytearray(b"onetwo")
    recorder = Recorder(reactor, "news", GROUP, tmp_path)
    async with opened(recorder):
        recorder.runReceived(Run(memoryview(buffer), 3, ("192.0.2.1", 1), reactor.seconds()))
        buffer[:] = b"xxxxxx"
    assert recordedIn(tmp_path) == [b"one", b"two"]


FULL = """
import json, os, sys, time
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from tests.relay.support import Collector, runOf
from txgroupsock.relay.recording import Keeping, Recorder

folder = Path(sys.argv[1])
filler = folder / "filler"

async def main():
    said = {}
    filler.write_bytes(bytes(500_000))
    recorder = Recorder(reactor, "news", ("232.1.1.1", 5004), folder, Keeping(size=300_000))
    recorder.openStage(Collector())
    sent = 0

    async def passing(condition):
        nonlocal sent
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline
            for _ in range(20):
                recorder.runReceived(runOf(*[sent.to_bytes(4, "big") * 300] * 3))
                sent += 3
            await deferLater(reactor, 0.05)

    await passing(recorder.warnings)
    said["warning"] = recorder.warnings()[0]
    full = recorder.recorded.datagrams
    filler.unlink()
    await passing(lambda: not recorder.warnings() and recorder.recorded.datagrams > full)
    await recorder.closeStage()
    said["sent"], said["recorded"] = sent, recorder.recorded.datagrams
    said["dropped"] = dict(recorder.recorded.dropped)
    print(json.dumps(said))

done = Deferred.fromCoroutine(main())
done.addErrback(lambda failure: print(failure.getTraceback()))
done.addBoth(lambda _: reactor.stop())
reactor.run()
"""


@pytest.mark.slow
def test_aFullDiskIsAWarning(tmp_path: Path) -> None:
    """A real one: every file on it is whole, and recording goes on when there is room again."""
    folder, kept = tmp_path / "disk", tmp_path / "kept"
    folder.mkdir()
    kept.mkdir()
    mount = f"mount -t tmpfs -o size=1m none {folder}"
    namespace = ["unshare", "--map-root-user", "-m"] if os.geteuid() else ["unshare", "-m"]
    try:
        subprocess.run([*namespace, "sh", "-c", mount], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    script = f"set -e; {mount}; {sys.executable} - {folder}; cp {folder}/*.pcap {kept}"
    done = subprocess.run(
        [*namespace, "sh", "-c", script],
        input=FULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert "(ENOSPC); make room there, or keep less" in said["warning"]
    assert set(said["dropped"]) == {"ENOSPC"}
    assert said["recorded"] + said["dropped"]["ENOSPC"] == said["sent"]
    assert len(recordedIn(kept)) == said["recorded"]
    assert not [each for each in names(kept) if not each.endswith(".pcap")]
