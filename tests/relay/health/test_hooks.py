"""Alarms are told to a command or a URL, in time, in order and without a shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tests.relay.support import SECONDS, Collector, freePort, isAlive, loggedLines, until
from txgroupsock.relay.health import (
    Alarm,
    CommandHook,
    Health,
    HealthModel,
    Hook,
    HookModel,
    SharedHooks,
    URLHook,
)


def alarm(number: int = 0, text: str = "packets were lost; look", **changes: Any) -> Alarm:
    """An alarm with a number as its value."""
    return Alarm("news", "rtpLoss", text, number, 0.0, 100.0, **changes)


def python(code: str) -> list[str]:
    """A command that runs some Python."""
    return [sys.executable, "-c", code]


def numbersIn(path: Path) -> list[int]:
    """The processes whose numbers have been written to a file, which may not be there yet."""
    return [int(each) for each in path.read_text().split()] if path.exists() else []


SLEEP = "import os, sys, time; print(os.getpid(), file=open(sys.argv[1], 'a')); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


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
    hook = CommandHook(reactor, [*python(SLEEP), str(path)], seconds=0.5)
    with loggedLines() as lines:
        hook.tell(alarm(0))
        hook.tell(alarm(1))
        await until(reactor, lambda: hook.dropped == 2)
    assert "it takes more than 0.5 s" in lines[0]
    assert not any(map(isAlive, numbersIn(path)))
    await hook.close()


@pytest_twisted.ensureDeferred
async def test_closingEndsWhatRuns(reactor: Any, tmp_path: Path) -> None:
    """A hook that is closed ends its command, drops what waits, and takes nothing more."""
    path = tmp_path / "pid"
    hook = CommandHook(reactor, [*python(SLEEP), str(path)])
    with loggedLines() as lines:
        hook.tell(alarm(0))
        hook.tell(alarm(1))
        await until(reactor, lambda: numbersIn(path))
        closed = hook.close()
        hook.tell(alarm(2))
        await closed.addTimeout(SECONDS, reactor)
        await hook.close()
    assert not any(map(isAlive, numbersIn(path)))
    assert hook.dropped == 3
    assert lines == []


@pytest.mark.parametrize("code", [SLEEP, STUBBORN])
@pytest_twisted.ensureDeferred
async def test_whatItHasStartedEndsWithIt(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """A signal goes to its whole group; who does not heed SIGTERM has SIGKILL soon after."""
    monkeypatch.setattr("txgroupsock.relay.health.command.GRACE", 0.1)
    path = tmp_path / "pids"
    parent = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {code!r}, sys.argv[1]])"
    )
    for first in (f"{parent}; {code}", parent + "; import time; time.sleep(60)"):
        path.unlink(missing_ok=True)
        hook = CommandHook(reactor, [*python(first), str(path)])
        hook.tell(alarm())
        count = first.count("getpid")
        await until(reactor, lambda count=count: len(numbersIn(path)) == count)  # type: ignore[misc]
        await hook.close().addTimeout(SECONDS, reactor)
        await until(reactor, lambda: not any(map(isAlive, numbersIn(path))))


@pytest_twisted.ensureDeferred
async def test_whatItLeavesRunningIsItsOwn(reactor: Any, tmp_path: Path) -> None:
    """A command that ends of itself has told; what it left behind, with its pipes, goes on."""
    path = tmp_path / "pid"
    code = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}, sys.argv[1]])"
    )
    hook = CommandHook(reactor, [*python(code), str(path)])
    hook.tell(alarm())
    await until(reactor, lambda: hook.told and numbersIn(path))
    await hook.close()
    [left] = numbersIn(path)
    assert isAlive(left)
    os.kill(left, signal.SIGKILL)


@pytest.mark.parametrize(("count", "said"), [(1, "1 alarm is not"), (2, "2 alarms are not")])
@pytest_twisted.ensureDeferred
async def test_whoIsNotNeededIsEndedSoon(
    reactor: Any, tmp_path: Path, count: int, said: str
) -> None:
    """What waits is told of yet, but not for long; the log says how many alarms were not."""
    path = tmp_path / "pid"
    shared = SharedHooks(reactor)
    model = HookModel((*python(SLEEP), str(path)))
    [hook] = shared.take(model)
    hook.lastSeconds = 0.2  # type: ignore[misc]
    for number in range(count):
        hook.tell(alarm(number))
    await until(reactor, lambda: numbersIn(path))
    with loggedLines() as lines:
        shared.giveBack(model)
        assert await shared.endedAfter("all").addTimeout(SECONDS, reactor) == "all"
    assert not any(map(isAlive, numbersIn(path)))
    [line] = lines
    assert f"is ended, as nobody needs it any more; {said} told of" in line
    assert await shared.endedAfter("all") == "all"


@pytest_twisted.ensureDeferred
async def test_aDiskThatHangsHoldsNothing(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program whose start does not end is given up, and the reactor turns meanwhile."""
    over = threading.Event()

    def hang(*_: object, **__: object) -> None:
        assert threading.current_thread() is not threading.main_thread()
        over.wait(SECONDS)
        raise OSError

    monkeypatch.setattr("txgroupsock.relay.health.hooks._ENDING", 0.05)
    monkeypatch.setattr(subprocess, "Popen", hang)
    hook = CommandHook(reactor, ["/mnt/program"], seconds=0.05)
    with loggedLines() as lines:
        hook.tell(alarm(0))
        hook.tell(alarm(1))
        await until(reactor, lambda: hook.dropped == 2)
        await hook.close()
    over.set()
    assert "it takes more than 0.05 s" in lines[0]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("'a\\x1b[31mb\\0\\r\\n\\u202ec'", "a [31mb | c"),
        ("'x' * 10_000_000", "x" * 500 + " …"),
        ("'x\\n' * 1_000_000", "x | x | x …"),
        ("'cannot post to http://anna:s3cret@host/x'", "cannot post to http://…@host/x"),
        ("'token ' + sys.argv[1] + ', ' + sys.argv[2][8:]", "token …, …"),
        ("''", ""),
    ],
)
@pytest_twisted.ensureDeferred
async def test_ofWhatItSaysLittleIsLogged(reactor: Any, code: str, said: str) -> None:
    """In one line, without what a terminal would obey, and without what might be a secret."""
    code = f"import sys; sys.stderr.buffer.write(({code}).encode()); sys.exit(3)"
    hook = CommandHook(reactor, [*python(code), "secret-7", "--token=s3cr3t!"])
    with loggedLines() as lines:
        hook.tell(alarm())
        await until(reactor, lambda: hook.dropped)
    [line] = lines
    ended = f"it ended with status 3: {said}" if said else "it ended with status 3"
    assert f"does not work: {ended}; this is said again only" in line
    await hook.close()


@pytest_twisted.ensureDeferred
async def test_aCommandNeedNotRead(reactor: Any) -> None:
    """One that closes its input, or does not look at it, has told all the same."""
    hook = CommandHook(reactor, python("import os; os.close(0)"))
    text = "x" * 200_000  # more than a pipe holds, and more than an environment
    hook.tell(alarm())
    hook.tell(alarm(text=text))
    await until(reactor, lambda: hook.told + hook.dropped == 2)
    assert hook.told == 1
    await hook.close()


@pytest_twisted.ensureDeferred
async def test_aCommandThatIsNotThere(reactor: Any) -> None:
    """It is a failure like any other."""
    hook = CommandHook(reactor, ["/nowhere/to/be/found"])
    with loggedLines() as lines:
        hook.tell(alarm())
        await until(reactor, lambda: hook.dropped)
    assert "/nowhere/to/be/found for alarms does not work: it cannot be run: No such" in lines[0]
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


@pytest.mark.parametrize(
    ("scheme", "answer", "said"),
    [
        ("https", b"HTTP/1.1 400 Bad Request\r\n\r\n", "there is no TLS at this port"),
        ("https", b"", "it closed the connection without an answer"),
        ("http", b"", "it closed the connection without an answer"),
        ("http", b"\x15\x03\x01\0\x02\x02\x46", "closed the connection without an answer"),
        ("http", b"SSH-2.0-server\r\n", "what it answers is not HTTP"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_whyAURLFailsIsSaidInWords(
    reactor: Any, scheme: str, answer: bytes, said: str
) -> None:
    """It is no list of failures, and connecting says nothing by itself."""

    class Answering(Protocol):
        transport: Any

        def dataReceived(self, _: bytes) -> None:
            self.transport.write(answer)
            self.transport.loseConnection()

    port = reactor.listenTCP(0, Factory.forProtocol(Answering), interface="127.0.0.1")
    hook = URLHook(reactor, f"{scheme}://127.0.0.1:{port.getHost().port}/x")
    with loggedLines() as lines:
        hook.tell(alarm())
        await until(reactor, lambda: hook.dropped)
    await hook.close()
    await port.stopListening()
    [line] = [each for each in lines if "Answering" not in each and "Factory starting" not in each]
    assert said in line
    assert "Failure" not in line
    assert "[" not in line


def test_aHookSaysWhoseItIs() -> None:
    """Of some routes the names, of many how many more; those of now, also when it has ended."""
    shared = SharedHooks(Clock())
    model = HookModel(("sh", "-c", "x"), "http://127.0.0.1:9/")
    command, url = shared.take(model, "news")
    assert repr(command) == "the command sh for alarms of news"
    assert repr(url) == "http://127.0.0.1:9/ for alarms of news"
    for name in ("sport", "weather", "music", "arts"):
        shared.take(model, name)
    assert repr(command) == "the command sh for alarms of arts, music, news and 2 more"
    for name in ("news", "music", "arts", "sport", "weather"):
        shared.giveBack(model, name)
    assert repr(command) == "the command sh for alarms of weather"


def test_aStageThatHasAnotherNameHasItsHooksSaySo() -> None:
    """The hooks are the same, and so are their alarms that wait."""
    clock = Clock()
    model = HealthModel(hooks=HookModel(("sh",)))
    health = Health.of(clock, "news", model, SharedHooks(clock))
    health.openStage(Collector())
    [hook] = health._hooks
    health.adapt("sport", model)
    assert health._hooks == (hook,)
    assert repr(hook) == "the command sh for alarms of sport"
    health.closeStage()


def test_mistakesAreSaidAtOnce() -> None:
    """A command is a list, a URL is one of HTTP, and time passes."""
    with pytest.raises(TypeError, match="command is 'logger -t news', a str"):
        CommandHook(Clock(), "logger -t news")
    for command in ([], [""]):
        with pytest.raises(ValueError, match="a list of a program and its arguments"):
            CommandHook(Clock(), command)
    with pytest.raises(ValueError, match="begins with http"):
        URLHook(Clock(), "ftp://example.org/")
    with pytest.raises(ValueError, match="more than 0 s"):
        Hook(Clock(), 0)
