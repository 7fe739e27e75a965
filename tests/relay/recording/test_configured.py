"""A configuration file says which routes are recorded, and a reload keeps what is the same."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from jsonschema import Draft7Validator

from tests.relay.control.test_reload import Stream, running
from tests.relay.recording.test_files import names
from tests.relay.recording.test_recorder import recordedIn, recordedSoFar
from tests.relay.support import SECONDS, Listener, Twistd, freePort, send, until, url
from txgroupsock.relay.config.file import ConfigurationError, parseConfiguration
from txgroupsock.relay.config.schema import schema
from txgroupsock.relay.config.summary import summary
from txgroupsock.relay.config.toml import loads
from txgroupsock.relay.engine.model import RouteModel
from txgroupsock.relay.recording import readDatagrams
from txgroupsock.relay.recording.files import needFolder
from txgroupsock.relay.recording.model import RecordingModel

HOST = "127.0.0.1"
FROM = "udp://239.1.1.1:5000"


def fileOf(
    record: str, *, source: str = FROM, to: str = "", name: str = "news", health: str = ""
) -> str:
    """A file with one route."""
    more = (f"to = {to!r}\n" if to else "") + (f"health = {health}\n" if health else "")
    return f"[[route]]\nname = {name!r}\nfrom = {source!r}\n{more}[route.record]\n{record}\n"


def test_everyKeyIsTaken() -> None:
    """What it says is what is done; each has a usual value."""
    text = fileOf(
        "folder = '/x'\nsize = '10MiB'\nage = '1d'\nfiles = 3\ntotal = '1TiB'\n"
        "last = '30s'\nafter = '0s'\nmemory = '1GiB'\npause = '1h'",
        health="true",
    )
    [route] = parseConfiguration(text, "f").relay.routes
    expected = RecordingModel("/x", 10 * 2**20, 86400, 3, 2**40, 30, 0, 2**30, 3600)
    assert route.record == expected
    Draft7Validator(schema()).validate(loads(text))
    assert RouteModel.fromJSON(json.loads(json.dumps(route.toJSON()))) == route
    [usual] = parseConfiguration(fileOf("folder = '/x'"), "f").relay.routes
    assert usual.record == RecordingModel("/x")


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ("size = '1MiB'", "4: route[1].record: folder is missing; it is a folder by its whole"),
        ("folder = 'x'", "5: route[1].record.folder: it is 'x', and should be a folder by its"),
        ("folder = 1", "5: route[1].record.folder: it is 1, and should be a folder"),
        ("folder = '/x'\nsize = '1k'", "6: route[1].record.size: 1k is not a size of 65536 bytes"),
        ("folder = '/x'\nage = '0s'", "6: route[1].record.age: 0s is not a time from 1 s"),
        ("folder = '/x'\nfiles = 0", "6: route[1].record.files: 0 is not a whole number from 1"),
        (
            "folder = '/x'\ntotal = '99MiB'",
            "6: route[1].record.total: 99MiB have no room for a file of 100MiB; give it more",
        ),
        ("folder = '/x'\nafter = '1s'", "6: route[1].record.after: it is for what is written upon"),
        ("folder = '/x'\nlast = '1s'", "6: route[1].record.last: it is written when an alarm is"),
        ("folder = '/x'\nlatest = '1s'", "6: route[1].record.latest: there is no such key"),
    ],
)
def test_whatIsWrongIsSaid(record: str, problem: str) -> None:
    """With the line, the key and the remedy, and nothing else."""
    with pytest.raises(ConfigurationError) as caught:
        parseConfiguration(fileOf(record), "relay.toml")
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"relay.toml:{problem}")


def test_aTableIsNeeded() -> None:
    """A folder alone is not enough to know what is meant."""
    with pytest.raises(ConfigurationError, match="should be a table"):
        parseConfiguration(f"[[route]]\nfrom = '{FROM}'\nrecord = '/x'", "relay.toml")


def test_itIsInTheSummary() -> None:
    """Also of a route that goes nowhere else."""
    [one, other] = [
        summary(parseConfiguration(fileOf(f"folder = '/x'{more}", health="true"), "f"))[-1]
        for more in ("", "\ntotal = '1GiB'\nlast = '30s'")
    ]
    assert one == ("  recorded: all of it, to /x: 24 files of 104,857,600 bytes or 3600 s at most")
    assert "recorded: upon an alarm, the last 30 s, to /x: 24 files" in other
    assert other.endswith(", 1,073,741,824 bytes in all")


@pytest_twisted.ensureDeferred
async def test_anUnchangedRouteGoesOnRecording(reactor: Any, tmp_path: Path) -> None:
    """A reload, also one that changes its outputs, neither loses a datagram nor ends the file."""
    folder = tmp_path / "folder"
    folder.mkdir()
    port, path = freePort(), tmp_path / "relay.toml"
    record, source = f"folder = '{folder}'", url(HOST, port)
    with Listener(reactor, HOST) as one, Listener(reactor, HOST) as other:
        path.write_text(fileOf(record, source=source, to=url(HOST, one.port)))
        sent = []
        async with running(reactor, path) as service:
            for turn, listener in enumerate([one, other, other]):
                path.write_text(fileOf(record, source=source, to=url(HOST, listener.port)))
                await service.reload()
                for each in range(20):
                    sent.append(b"%d %d" % (turn, each))
                    send(sent[-1], HOST, port)
                await listener.payloads(20 * max(1, turn))
    assert len(names(folder)) == 1
    assert recordedIn(folder) == sent


@pytest_twisted.ensureDeferred
async def test_aRouteIsRecordedOtherwise(reactor: Any, tmp_path: Path) -> None:
    """From the next run on, without one that is in no file or in two."""
    port, path = freePort(), tmp_path / "relay.toml"
    folders = [tmp_path / each for each in ("one", "two")]
    for each in folders:
        each.mkdir()
    source = url(HOST, port)
    with Listener(reactor, HOST) as listener:
        to = url(HOST, listener.port)
        path.write_text(f"[[route]]\nname = 'news'\nfrom = '{source}'\nto = '{to}'\n")
        async with running(reactor, path) as service:
            sent = []
            for number, folder in enumerate([None, *folders, None], 1):
                record = f"[route.record]\nfolder = '{folder}'\n" if folder else ""
                text = f"[[route]]\nname = 'news'\nfrom = '{source}'\nto = '{to}'\n{record}"
                path.write_text(text)
                outcome = await service.reload()
                assert outcome.changed == (() if number == 1 else ("news",))
                sent.append([b"%d %d" % (number, each) for each in range(20)])
                for payload in sent[-1]:
                    send(payload, HOST, port)
                await listener.payloads(20 * number)
    assert [recordedIn(each) for each in folders] == sent[1:3]
    assert not [each for folder in folders for each in names(folder) if each.endswith(".part")]


@pytest_twisted.ensureDeferred
async def test_aFolderThatIsNotThereFailsTheReload(reactor: Any, tmp_path: Path) -> None:
    """All is as it was before, and the relay says what to do."""
    path = tmp_path / "relay.toml"
    good = fileOf(f"folder = '{tmp_path}'", source=url(HOST, freePort()))
    path.write_text(good)
    async with running(reactor, path) as service:
        path.write_text(good.replace(f"{tmp_path}'", f"{tmp_path}/missing'"))
        with pytest.raises(OSError, match="there is no such folder; make it"):
            await service.reload()


@pytest_twisted.ensureDeferred
async def test_aFolderOnADiskThatHangsHoldsNothing(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change fails when its time is over, while the relay goes on; its end does not wait."""
    over, hanging = threading.Event(), str(tmp_path / "hanging")

    def stat(path: Any, **more: Any) -> os.stat_result:
        if str(path) == hanging:
            assert threading.current_thread() is not threading.main_thread()
            over.wait(SECONDS)
        return real(path, **more)

    real = os.stat
    monkeypatch.setattr(os, "stat", stat)
    path = tmp_path / "relay.toml"
    good = fileOf(f"folder = '{tmp_path}'", source=url(HOST, freePort()))
    path.write_text(good)
    async with running(reactor, path) as service:
        path.write_text(good.replace(f"{tmp_path}'", f"{hanging}'"))
        for module in ("engine.relay", "recording.files"):
            monkeypatch.setattr(f"txgroupsock.relay.{module}.FOLDER_TIME", 0.05)
        problem = rf"cannot record to {re.escape(hanging)}: it takes more than 0\.05 s"
        with pytest.raises(OSError, match=problem):
            await service.reload()
        with pytest.raises(OSError, match=problem):
            needFolder(Path(hanging))
        monkeypatch.setattr("txgroupsock.relay.engine.relay.FOLDER_TIME", SECONDS)
        reloading = service.reload()
        await until(reactor, lambda: service._control.relay._checking)  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="was closed before the change"):
        await reloading
    over.set()


@pytest.mark.parametrize("first", ["both", "health", "record"])
@pytest_twisted.ensureDeferred
async def test_anAlarmHasTheLastSecondsWritten(reactor: Any, tmp_path: Path, first: str) -> None:
    """Of the route whose health it is about, whichever of the two a reload has added."""
    port, path, folder = freePort(), tmp_path / "relay.toml", tmp_path / "folder"
    folder.mkdir()
    record, source = f"folder = '{folder}'\nlast = '10s'\nafter = '0s'", url(HOST, port)
    both = fileOf(record, source=source, health="{ silence = '200ms' }")
    begins = {
        "both": both,
        "health": both.partition("[route.record]")[0] + "to = 'udp://127.0.0.1:9'\n",
        "record": fileOf(f"folder = '{folder}'", source=source),
    }
    path.write_text(begins[first])
    async with running(reactor, path) as service:
        path.write_text(both)
        await service.reload()
        send(b"one", HOST, port)
        await until(reactor, lambda: [each for each in names(folder) if "-silence" in each])
        await until(reactor, lambda: not [each for each in names(folder) if ".part" in each])
    [name] = [each for each in names(folder) if "-silence" in each]
    assert name.endswith("-silence.pcap")
    assert [each.payload for each in readDatagrams(folder / name)] == [b"one"]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--workers=2"]], ids=["one process", "two workers"])
def test_aRelayRecords(options: list[str], tmp_path: Path) -> None:
    """What came out of it is in its files, across a reload; of a route that has no output, too."""
    folder, path = tmp_path / "folder", tmp_path / "relay.toml"
    folder.mkdir()
    stream, port = Stream(freePort(), rate=2000), freePort()
    record = f"folder = '{folder}'\nsize = '1MiB'"
    text = fileOf(record, source=url(*stream.target), to=stream.url)
    text += fileOf(record, source=url(HOST, port), name="quiet")
    path.write_text(text)
    with Twistd(tmp_path, "--config", str(path), *options) as relay:
        relay.waitFor("SIGHUP reads .* again\n")
        with stream.flowing():
            send(b"hello", HOST, port)
            path.write_text(text + f"[[route]]\nfrom = '{url(HOST, freePort())}'\nto = '{FROM}'\n")
            relay.signal(signal.SIGHUP)
            relay.waitFor("2 unchanged, 1 opened")
            deadline = time.monotonic() + SECONDS
            while len(stream.numbers) < 2000:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        relay.signal(signal.SIGTERM)
        relay.end()
    assert not [each for each in names(folder) if each.endswith(".part")]
    found: dict[str, list[bytes]] = {"news": [], "quiet": []}
    for name in names(folder):
        found[name.partition("-")[0]] += [each.payload for each in readDatagrams(folder / name)]
    assert found["quiet"] == [b"hello"]
    assert [int.from_bytes(each[:8], "big") for each in found["news"]] == stream.numbers
    assert len(names(folder)) >= 4


@pytest.mark.slow
def test_whatAKilledRelayLeftIsKept(tmp_path: Path) -> None:
    """The relay that is started next gives it its name, and goes on with another file."""
    folder, path, port = tmp_path / "folder", tmp_path / "relay.toml", freePort()
    folder.mkdir()
    path.write_text(fileOf(f"folder = '{folder}'", source=url(HOST, port)))
    for number, ending in enumerate([signal.SIGKILL, signal.SIGTERM], 1):
        with Twistd(tmp_path, "--config", str(path)) as relay:
            relay.waitFor("SIGHUP reads .* again\n")
            send(b"%d" % number, HOST, port)
            deadline = time.monotonic() + SECONDS
            while len(recordedSoFar(folder)) < number:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            relay.signal(ending)
            relay.end()
        (tmp_path / "twistd.pid").unlink(missing_ok=True)
        endings = [Path(each).suffix for each in names(folder)]
        assert endings == ([".part"] if number == 1 else [".pcap", ".pcap"])
    assert recordedIn(folder) == [b"1", b"2"]
