"""Logs for programs: any event in one line of JSON, or with journald's priorities."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogEvent, LogLevel
from twisted.python.failure import Failure

from tests.relay.support import Twistd, freePort
from tests.relay.workers.test_twistd import TO, WORKER
from txgroupsock.relay import outlet
from txgroupsock.relay.logs import MOST_BYTES, Journal, JSONLines

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Nameless:
    """What cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no name")

    __repr__ = __str__


def written(observer: type[JSONLines | Journal], event: LogEvent) -> str:
    """What an observer writes."""
    stream = TextIOWrapper(BytesIO(), encoding="utf-8", newline="\n")
    observer(stream)(event)
    return stream.buffer.getvalue().decode()


def lineOf(event: LogEvent) -> dict[str, Any]:
    """The one line of JSON that an event becomes."""
    text = written(JSONLines, event)
    assert text.endswith("\n")
    assert len(text) <= MOST_BYTES
    assert len(text.splitlines()) == 1
    found: dict[str, Any] = json.loads(text)
    assert TIME.fullmatch(found["time"])
    return found


def failure(text: str = "it broke") -> Failure:
    """One with a traceback."""
    try:
        raise ValueError(text)
    except ValueError:
        return Failure()


def test_anEventIsOneObject() -> None:
    """Time in UTC, level, namespace and message."""
    event = {
        "log_time": 1795374000.25,
        "log_level": LogLevel.warn,
        "log_namespace": "a.b.C",
        "log_format": "{count} of\n{name!r}",
        "count": 3,
        "name": "ü",
    }
    assert lineOf(event) == {
        "time": "2026-11-22T19:00:00.250Z",
        "level": "warn",
        "namespace": "a.b.C",
        "message": "3 of\n'ü'",
    }
    assert lineOf({**event, "worker": 2})["worker"] == 2


def test_aFailureHasItsTraceback() -> None:
    """The traceback is one string."""
    line = lineOf({"log_format": "no", "log_failure": failure()})
    assert line["level"] == "critical"
    assert line["failure"].startswith("Traceback")
    assert "ValueError: it broke" in line["failure"]


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"log_format": "{x"},
        {"log_format": "{x}"},
        {"log_format": "{x}", "x": Nameless()},
        {"log_format": Nameless()},
        {"log_format": 3},
        {"log_time": "soon", "log_level": "loud", "log_namespace": Nameless()},
        {"log_time": float("nan")},
        {"log_time": 1e300},
        {"log_failure": 3},
        {"log_format": "no", "log_failure": failure(), "log_level": None},
        {"worker": "x"},
        {"message": ("legacy",), "isError": 0, "system": "-", "time": 1.0},
    ],
)
@pytest.mark.parametrize("observer", [JSONLines, Journal])
def test_nothingRaises(observer: type[JSONLines | Journal], event: LogEvent) -> None:
    """What cannot be formatted is logged all the same."""
    if observer is JSONLines:
        lineOf(event)
    assert written(observer, event).strip()


@given(st.text(), st.text(max_size=40), st.text(min_size=1))
def test_anyTextIsOneLine(message: str, namespace: str, trouble: str) -> None:
    """Whatever is logged comes back from JSON as it was."""
    event = {"log_format": "{text}", "text": message, "log_namespace": namespace}
    assert lineOf(event)["message"] == message
    lineOf({**event, "log_failure": failure(trouble)})


@pytest.mark.parametrize("letter", ["x", "ü", "\0", "😀", "\udc80"])
def test_aLineHasALimit(letter: str) -> None:
    """A message keeps its beginning, and a traceback its end."""
    long = letter * 100_000
    line = lineOf({"log_format": "{text}", "text": f"first {long}", "log_failure": failure(long)})
    assert line["message"].startswith("first ")
    assert line["message"].endswith("…")
    assert line["failure"].startswith("…")
    assert lineOf({"log_namespace": long})["namespace"] == long[:200]


def test_journaldGetsPriorities() -> None:
    """Each line has its priority, and none the time."""
    levels = ["debug", "info", "warn", "error", "critical"]
    for level, priority in zip(levels, (7, 6, 4, 3, 2), strict=True):
        event = {
            "log_level": LogLevel.lookupByName(level),
            "log_namespace": "a.B",
            "log_format": "one\n\ntwo",
        }
        assert written(Journal, event) == f"<{priority}>a.B: one\n<{priority}>two\n"
    event = {"log_format": "no", "log_failure": failure(), "worker": 2, "log_namespace": "a"}
    lines = written(Journal, event).splitlines()
    assert lines[0] == "<2>worker 2, a: no"
    assert lines[-1] == "<2>builtins.ValueError: it broke"
    assert all(each.startswith("<2>") for each in lines)
    assert written(Journal, {"log_format": "\udc80"}) == "<6>-: \\udc80\n"


def test_aStreamThatIsClosedIsNoError() -> None:
    """Nothing happens where nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1) as stream:
        try:
            JSONLines(stream)({"log_format": "x"})
        finally:
            os.dup2(null := os.open(os.devnull, os.O_WRONLY), writing)
            os.close(null)
    JSONLines(stream)({"log_format": "x"})


@pytest.mark.parametrize("observer", [JSONLines, Journal])
def test_nobodyWaitsForWhoDoesNotRead(observer: type[JSONLines | Journal]) -> None:
    """A terminal that is stopped keeps nobody: whole lines are lost, and how many is told."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as pipe, open(writing, "w") as stream:
        observe = observer(stream)
        number = 0
        while not observe._outlet._lost:
            observe({"log_format": "{number} {text}", "number": number, "text": "x" * 1000})
            number += 1
        for more in range(9):
            observe({"log_format": "lost {more}", "more": "y" * (300 + more) * 1000})
        os.set_blocking(reading, False)
        text = b""
        for _ in range(10):
            while chunk := pipe.read(1 << 16):
                text += chunk
            observe({"log_format": "again"})
        text += pipe.read(1 << 16)
    lines = [
        json.loads(line)["message"] if line[:1] == b"{" else line.decode().partition(": ")[2]
        for line in text.splitlines()
    ]
    assert [line.partition(" ")[0] for line in lines[: number - 1]] == [
        str(each) for each in range(number - 1)
    ]
    assert [line for line in lines[number - 1 :] if line != "again"] == [
        "here 10 messages are missing, which nobody has read in time"
    ]
    assert "again" in lines


def test_aSignalMayLogWhileALineIsWritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handler runs in the middle of that, and its line comes next."""
    reading, writing = os.pipe()
    with open(reading) as pipe, open(writing, "w") as stream:
        observe = Journal(stream)

        def write(descriptor: int, data: bytes) -> int:
            if b"first" in data:
                observe({"log_format": "second"})
            return os.write(descriptor, data)

        monkeypatch.setattr(outlet, "write", write)
        observe({"log_format": "first"})
        assert [pipe.readline(), pipe.readline()] == ["<6>-: first\n", "<6>-: second\n"]


def test_whoReadsSlowlyMissesNothing() -> None:
    """What is more than a pipe has room for is written as it is read."""
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe, ThreadPoolExecutor() as threads:
        with open(writing, "w") as stream:
            text = threads.submit(pipe.read)
            for number in range(1000):
                JSONLines(stream)({"log_format": f"{number} " + "x" * 1000})
        lines = text.result().splitlines()
    assert [int(json.loads(line)["message"].split()[0]) for line in lines] == list(range(1000))


# twistd as a process


def options(observer: str) -> tuple[str, ...]:
    """The options of twistd."""
    return ("-n", f"--logger=txgroupsock.relay.logs.{observer}")


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(re.findall("SigCgt:\t(.*)", status)[0], 16) >> (number - 1) & 1)


def test_twistdLogsJSON(tmp_path: Path) -> None:
    """All that twistd prints is JSON, also the counters on SIGUSR1; --logfile is ignored."""
    port, log = freePort(), tmp_path / "relay.log"
    more = (*options("jsonLines"), f"--logfile={log}")
    with Twistd(tmp_path, f"--from=udp://127.0.0.1:{port}", TO, options=more) as relay:
        relay.waitFor("sending to")
        while not catches(relay.pid, signal.SIGUSR1):
            time.sleep(0.01)
        relay.signal(signal.SIGUSR1)
        relay.waitFor(r"in, listening[^\n]*\n")
        relay.signal(signal.SIGTERM)
        assert relay.end() == -signal.SIGTERM
        lines = [json.loads(line) for line in relay.text.splitlines()]
    assert all({"time", "level", "namespace", "message"} <= line.keys() for line in lines)
    assert lines[-1]["message"] == "Server Shut Down."
    messages = [line["message"] for line in lines if "service" in line["namespace"]]
    assert messages[0] == f"listening on 127.0.0.1 port {port}"
    assert not log.exists()


def test_whyItDoesNotStartIsJSON(tmp_path: Path) -> None:
    """The line that says so is an error, in JSON."""
    arguments = ["--from=udp://127.0.0.1:5000", "--to=udp://239.1.1.1:5001?interface=nope0"]
    with Twistd(tmp_path, *arguments, options=options("jsonLines")) as relay:
        assert relay.end() == 1
        [line] = [json.loads(line) for line in relay.text.splitlines() if "nope0" in line]
    assert line["level"] == "error"
    assert line["message"].startswith("groupsock-relay: cannot find the interface nope0: ")


def test_workersHaveTheirNumber(tmp_path: Path) -> None:
    """What a worker logs has its number."""
    arguments = [f"--from=udp://127.0.0.1:{freePort()}", TO]
    arguments += ["--workers=2", f"--from=udp://127.0.0.1:{freePort()}", TO]
    for observer, found in (("jsonLines", '"worker": [12]'), ("journal", "<4>worker [12], ")):
        with Twistd(tmp_path, *arguments, options=options(observer)) as relay:
            worker = int(relay.waitFor(WORKER.format(1))[1])
            relay.waitFor("worker 2 is process")
            writes(worker)
            relay.waitFor(found)
            relay.signal(signal.SIGTERM)
            relay.end()


def writes(worker: int) -> None:
    """Have a worker log something: what comes to it as a message is none."""
    with open(f"/proc/{worker}/fd/0", "wb") as pipe:
        pipe.write(b"nonsense\r\n")


def test_twistdLogsForJournald(tmp_path: Path) -> None:
    """Every line has its priority."""
    arguments = [f"--from=udp://127.0.0.1:{freePort()}", TO]
    with Twistd(tmp_path, *arguments, options=options("journal")) as relay:
        relay.waitFor("sending to 127.0.0.1 port 9\n")
        relay.signal(signal.SIGTERM)
        relay.end()
    for line in relay.text.splitlines():
        assert re.match(r"<6>(-|twisted\.|txgroupsock\.)", line), line


def test_theFactoriesNeedNoReactor() -> None:
    """They can be called before there is a reactor, as twistd does."""
    program = (
        "import sys\nfrom txgroupsock.relay import logs\nlogs.journal()\nlogs.jsonLines()\n"
        "assert 'twisted.internet.reactor' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
