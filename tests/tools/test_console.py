"""What the tools show, and leave behind."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from txgroupsock.primitives.run import Run
from txgroupsock.relay.models.udp import InputModel, OutputModel
from txgroupsock.tools.console import Display, PlainLines, Result
from txgroupsock.tools.plan import SendPlan
from txgroupsock.tools.receiving import ReceivePlan, ReceiveService
from txgroupsock.tools.recording import ConstantRate, Replay
from txgroupsock.tools.sending import SendService
from txgroupsock.tools.tsfile import TSFile

DOCS = (Path(__file__).parents[2] / "docs/tools.md").read_text(encoding="utf-8")


class Terminal(io.StringIO):
    """Something that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def logged(namespace: str, level: Any, stream: io.StringIO, **event: Any) -> str:
    """What is written of an event."""
    observer = PlainLines(stream)
    verifyObject(ILogObserver, observer)
    Logger(namespace, observer=observer).emit(level, "it is {what}", what="so", **event)
    return stream.getvalue()


def test_whatTwistdSaysOfItselfIsLeftOut() -> None:
    """Of others only what goes wrong is shown, of ours everything, as plain lines."""
    assert logged("twisted.scripts", LogLevel.info, io.StringIO()) == ""
    assert logged("twisted.internet", LogLevel.warn, io.StringIO()) == "it is so\n"
    assert logged("txgroupsock.tools.x", LogLevel.info, io.StringIO()) == "it is so\n"
    assert logged("txgroupsock.tools.x", LogLevel.info, Terminal()) == "\r\x1b[Kit is so\n"


def test_aFailureHasItsTraceback() -> None:
    """What must not happen can be reported."""
    try:
        raise RuntimeError("why")
    except RuntimeError:
        text = logged("other", LogLevel.critical, io.StringIO(), log_failure=Failure())
    assert text.startswith("it is so\nTraceback")
    assert "RuntimeError: why" in text


def test_aClosedStreamIsNoError() -> None:
    """When nobody reads any more, that stops nothing."""
    stream = io.StringIO()
    stream.close()
    Display(Clock(), lambda: "x", None)
    clock = Clock()
    terminal = Terminal()
    display = Display(clock, lambda: "x", terminal)
    display.start()
    clock.advance(0.5)
    assert terminal.getvalue() == "\r\x1b[Kx"
    terminal.close()
    clock.advance(0.5)
    display.stop()
    display.stop()


def test_aResultIsOneObject(tmp_path: Path) -> None:
    """On the standard output or in a file, which has nothing but the last one."""
    out = io.StringIO()
    Result(None, out).write({"a": 1})
    assert json.loads(out.getvalue()) == {"a": 1}
    result = Result(str(tmp_path / "result"), out)
    result.check()
    for each in range(3):
        result.write({"a": each})
    assert json.loads((tmp_path / "result").read_text()) == {"a": 2}
    with pytest.raises(OSError, match="No such file"):
        Result(str(tmp_path / "no/folder"), out).check()


def keys(value: Any) -> set[str]:
    """Every name in a result."""
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def test_everyKeyIsDocumented(reactor: Any) -> None:
    """docs/tools.md names all that is in a result."""
    outputs = (OutputModel.parse("udp://127.0.0.1:5000"),)
    found: set[str] = set()
    for recording in (None, TSFile("/a"), ConstantRate("/a", 1e6), Replay(("/a",))):
        plan = SendPlan(outputs, recording)
        found |= keys(SendService(Clock(), plan, Result(None, io.StringIO())).toJSON())
    service = ReceiveService(
        reactor, ReceivePlan(InputModel.parse("udp://:5000")), Result(None, io.StringIO())
    )
    header = b"txgs" + bytes(32)
    service.recognition.runReceived(Run(memoryview(header), 36, ("127.0.0.1", 5), 1.0))
    found |= keys(service.toJSON())
    assert {"lateness", "tear", "kernelDrops", "jitter", "p99"} <= found
    assert found <= set(re.findall(r"`(\w+)`", DOCS))
