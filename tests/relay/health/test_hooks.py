"""Alarms are told to a command or a URL, in time, in order and without a shell."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tests.relay.support import freePort, isAlive, loggedLines, until
from txgroupsock.relay.health import Alarm, CommandHook, Hook, URLHook


def alarm(number: int = 0, text: str = "packets were lost; look", **changes: Any) -> Alarm:
    """An alarm with a number as its value."""
    return Alarm("news", "rtpLoss", text, number, 0.0, 100.0, **changes)


def python(code: str) -> list[str]:
    """A command that runs some Python."""
    return [sys.executable, "-c", code]


async def untilReaped(reactor: Any, path: Path) -> None:
    """Wait until a process has ended whose number is in a file, and nobody looks for it."""
    await until(reactor, lambda: not isAlive(int(path.read_text())))
    await until(reactor, lambda: not any("_reap" in str(e) for e in reactor.getDelayedCalls()))


@pytest_twisted.ensureDeferred
async def test_aCommandGetsTheAlarm(reactor: Any, tmp_path: Path) -> None:
    """It has the alarm as JSON on its input, and in its environment; no shell reads anything."""
    path = tmp_path / "told"
    code = f"import os, sys; open({str(path)!r}, 'w').write(os.environ['GROUPSOCK_ALARM_TEXT']"
    code += " + '|' + os.environ['GROUPSOCK_ALARM_STATE'] + '|' + sys.stdin.read())"
    hook = CommandHook(reactor, python(code))
    text = "$(touch x); `id` \0 ü"
    hook.tell(alarm(1, text, isRaised=False))
    await until(reactor, lambda: hook.told)
    inEnvironment, state, given = path.read_text("utf-8").split("|")
    assert (inEnvironment, state) == (text.replace("\0", ""), "cleared")
    assert json.loads(given) == alarm(1, text, isRaised=False).toJSON()
    hook.close()


@pytest_twisted.ensureDeferred
async def test_commandsRunOneAfterTheOther(reactor: Any, tmp_path: Path) -> None:
    """Alarms are told of in order, one at a time; what does not fit into the queue is dropped."""
    path = tmp_path / "told"
    code = f"import os; open({str(path)!r}, 'a').write(os.environ['GROUPSOCK_ALARM_VALUE'] + ' ')"
    hook = CommandHook(reactor, python(code))
    hook.mostWaiting = 3  # type: ignore[misc]
    for number in range(6):
        hook.tell(alarm(number))
    await until(reactor, lambda: hook.told == 4)
    assert path.read_text() == "0 1 2 3 "
    assert hook.dropped == 2
    hook.close()


@pytest_twisted.ensureDeferred
async def test_aCommandThatFailsIsLoggedOnce(reactor: Any, tmp_path: Path) -> None:
    """With what it says; once more only after it has worked, which is said too."""
    path = tmp_path / "works"
    code = f"import os, sys; sys.exit(0 if os.path.exists({str(path)!r}) else 'no such pager')"
    hook = CommandHook(reactor, python(code))
    with loggedLines() as lines:
        for number in range(2):
            hook.tell(alarm(number))
        await until(reactor, lambda: hook.dropped == 2)
        path.touch()
        hook.tell(alarm(3))
        await until(reactor, lambda: hook.told == 1)
    assert len(lines) == 2
    assert "does not work: it ended with status 1: no such pager" in lines[0]
    assert lines[1].endswith("works again")
    hook.close()


@pytest_twisted.ensureDeferred
async def test_aCommandThatTakesTooLongIsKilled(reactor: Any, tmp_path: Path) -> None:
    """After its time it is killed, and the next alarm has its turn."""
    path = tmp_path / "pid"
    code = (
        f"import os, time; open({str(path)!r}, 'a').write(str(os.getpid()) + ' '); time.sleep(60)"
    )
    hook = CommandHook(reactor, python(code), seconds=0.5)
    with loggedLines() as lines:
        hook.tell(alarm())
        await until(reactor, lambda: hook.dropped == 1)
    assert "it takes more than 0.5 s" in lines[0]
    await untilReaped(reactor, path)
    hook.close()


@pytest_twisted.ensureDeferred
async def test_closingEndsWhatRuns(reactor: Any, tmp_path: Path) -> None:
    """A hook that is closed kills its command, drops what waits, and takes nothing more."""
    path = tmp_path / "pid"
    code = f"import os, time; open({str(path)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    hook = CommandHook(reactor, python(code))
    with loggedLines() as lines:
        hook.tell(alarm(0))
        hook.tell(alarm(1))
        await until(reactor, lambda: path.exists() and path.read_text())
        hook.close()
        hook.tell(alarm(2))
        await untilReaped(reactor, path)
    assert hook.dropped == 3
    assert lines == []


@pytest_twisted.ensureDeferred
async def test_aCommandThatIsNotThere(reactor: Any) -> None:
    """It is a failure like any other."""
    hook = CommandHook(reactor, ["/nowhere/to/be/found"])
    with loggedLines() as lines:
        hook.tell(alarm())
        await until(reactor, lambda: hook.dropped)
    assert "/nowhere/to/be/found for alarms does not work" in lines[0]
    hook.close()


class Told(Resource):
    """Takes what is posted, and answers as it is told to."""

    isLeaf = True

    def __init__(self, answer: Callable[[Request], Any]) -> None:
        Resource.__init__(self)
        self.answer = answer
        self.bodies: list[Any] = []

    def render_POST(self, request: Request) -> Any:
        assert request.content is not None
        assert request.getHeader("content-type") == "application/json"
        self.bodies.append(json.loads(request.content.read()))
        return self.answer(request)


@contextmanager
def serving(reactor: Any, answer: Callable[[Request], Any]) -> Iterator[tuple[Told, str]]:
    """A web server, and its URL."""
    told = Told(answer)
    port = reactor.listenTCP(0, Site(told), interface="127.0.0.1")
    try:
        yield told, f"http://127.0.0.1:{port.getHost().port}/alarms?of=news"
    finally:
        port.stopListening()


@pytest_twisted.ensureDeferred
async def test_aURLIsPostedTo(reactor: Any) -> None:
    """It gets each alarm as JSON; what it answers is not read, however much it is."""
    with serving(reactor, lambda _: b"x" * 1_000_000) as (told, url):
        hook = URLHook(reactor, url)
        for number in range(3):
            hook.tell(alarm(number))
        await until(reactor, lambda: hook.told == 3)
        assert told.bodies == [alarm(number).toJSON() for number in range(3)]
        hook.close()


@pytest_twisted.ensureDeferred
async def test_aURLMayHaveANameAndAPassword(reactor: Any) -> None:
    """They are given by basic authentication (RFC 7617), and neither they nor a token is logged."""
    seen: list[tuple[bytes, bytes, bytes]] = []

    def refuse(request: Request) -> bytes:
        seen.append((request.getUser(), request.getPassword(), request.uri))
        request.setResponseCode(401)
        return b""

    with serving(reactor, refuse) as (_, url), loggedLines() as lines:
        hook = URLHook(reactor, url.replace("://", "://anna:s3c%3Aret@") + "&token=s3cret")
        hook.tell(alarm())
        await until(reactor, lambda: hook.dropped)
    assert seen == [(b"anna", b"s3c:ret", b"/alarms?of=news&token=s3cret")]
    assert any("does not work: it answers with status 401" in each for each in lines)
    ours = [each for each in lines if '"POST ' not in each]  # which is the server's
    assert [each for each in (*ours, repr(hook)) if "s3c" in each or "anna" in each] == []


@pytest_twisted.ensureDeferred
async def test_aURLThatRefusesIsLoggedOnce(reactor: Any) -> None:
    """Another status than from 200 to 299 is a failure; so is nobody there."""

    def refuse(request: Request) -> bytes:
        request.setResponseCode(503)
        return b""

    with serving(reactor, refuse) as (_, url), loggedLines() as lines:
        hook = URLHook(reactor, url)
        hook.tell(alarm())
        hook.tell(alarm())
        await until(reactor, lambda: hook.dropped == 2)
        absent = URLHook(reactor, f"http://127.0.0.1:{freePort()}/")
        absent.tell(alarm())
        await until(reactor, lambda: absent.dropped)
    said = [each for each in lines if "does not work" in each]
    assert len(said) == 2
    assert "it answers with status 503" in said[0]
    assert "refused" in said[1]


@pytest_twisted.ensureDeferred
async def test_aURLThatHangsIsGivenUp(reactor: Any) -> None:
    """After its time the next alarm has its turn."""
    with serving(reactor, lambda _: NOT_DONE_YET) as (told, url), loggedLines() as lines:
        hook = URLHook(reactor, url, seconds=0.2)
        hook.tell(alarm(0))
        hook.tell(alarm(1))
        await until(reactor, lambda: hook.dropped == 2)
        assert len(told.bodies) == 2
    assert sum("it takes more than 0.2 s" in each for each in lines) == 1


def test_mistakesAreSaidAtOnce() -> None:
    """A command is a list, a URL is one of HTTP, and time passes."""
    for command in ("logger -t news", [], [""]):
        with pytest.raises(ValueError, match="a list of a program and its arguments"):
            CommandHook(Clock(), command)
    with pytest.raises(ValueError, match="begins with http"):
        URLHook(Clock(), "ftp://example.org/")
    with pytest.raises(ValueError, match="more than 0 s"):
        Hook(Clock(), 0)
