"""groupsock-top in a terminal, as somebody at it would see it."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.relay.admin.statuses import document, end, fullDocument, route
from tests.tools.top.support import Terminal, running, serving

pytest.importorskip("curses", reason="there is no curses here")


def rated(name: str, bits: float) -> dict[str, Any]:
    """A route with this rate."""
    rate = {"datagrams": 1.0, "bits": bits, "dropped": 0.0}
    return route(name, 1, input=end("in", rate=rate))


def assertRestored(terminal: Terminal, status: int) -> None:
    """The program has ended with this status, and the terminal is as it was."""
    said = terminal.raw.decode().rpartition("status ")[2]
    assert said.startswith(f"{status}\r\n"), said
    assert " icanon " in said
    assert " echo " in said
    assert terminal.screen.cursor.hidden is False
    assert "Traceback" not in terminal.raw.decode()


async def quitting(terminal: Terminal, keys: str = "q", status: int = 0) -> None:
    """Press keys that end it."""
    terminal.type(keys)
    await terminal.ended
    assertRestored(terminal, status)


def pidOf(terminal: Terminal) -> int:
    """
    The process of groupsock-top, which the shell of the terminal has started.

    Skips the test on systems that do not say.
    """
    if not Path("/proc/self/task").exists():
        pytest.skip("without /proc it cannot be found")
    (shell,) = re.findall(rb"pid (\d+)", bytes(terminal.raw))
    children = Path(f"/proc/{shell.decode()}/task/{shell.decode()}/children").read_text()
    return int(children.split()[0])


def isRunning(process: int) -> bool:
    """Whether it is, and does not only wait for its parent to take note of its end."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest_twisted.ensureDeferred
async def test_itShowsTheRelayAndQuits(reactor: Any, tmp_path: Path) -> None:
    """It shows what the relay says now, again each second, until q; then the terminal is as
    it was.
    """
    async with (
        serving(reactor, document(rated("slow", 1e6), rated("quick", 2e6))) as server,
        running(reactor, tmp_path, server.url) as terminal,
    ):
        await terminal.until(lambda text: "slow" in text, "the routes")
        lines = terminal.text.splitlines()
        assert lines[0].startswith("ready")
        assert [line.split()[1] for line in lines[3:5]] == ["quick", "slow"]
        assert lines[-1].startswith("q quit")
        assert terminal.screen.cursor.hidden
        server.resource.document = document(rated("other", 3e6), isReady=False)
        await terminal.until(lambda text: "NOT READY" in text and "other" in text, "the next")
        await quitting(terminal)


@pytest_twisted.ensureDeferred
async def test_keysSortUnfoldAndFilter(reactor: Any, tmp_path: Path) -> None:
    """Arrows move, Enter unfolds, letters sort, and / filters."""
    async with (
        serving(reactor, fullDocument()) as server,
        running(reactor, tmp_path, server.url) as terminal,
    ):
        await terminal.until(lambda text: "sport" in text, "the routes")
        terminal.type("f\x1b[B\r")  # in the order of the file, the second one
        await terminal.until(lambda text: "! cannot be reached now" in text, "its warnings")
        terminal.type("/Ne")
        await terminal.until(lambda text: "/Ne_" in text and "sport" not in text, "the filter")
        terminal.type("\x7f\x7f日")
        await terminal.until(lambda text: "no route has '日" in text.replace("日 ", "日"), "none")
        terminal.type("\x1b")
        await terminal.until(lambda text: "sport" in text and "sort: file" in text, "all again")
        await quitting(terminal)


@pytest_twisted.ensureDeferred
async def test_itFollowsTheSizeOfItsWindow(reactor: Any, tmp_path: Path) -> None:
    """In a window that has become narrow it leaves columns out, in a tiny one it goes on."""
    async with (
        serving(reactor, document(*(rated(f"r{number}", 1e6) for number in range(50)))) as server,
        running(reactor, tmp_path, server.url, columns=100) as terminal,
    ):
        await terminal.until(lambda text: "DROPPED" in text, "all columns")
        terminal.resize(40, 12)
        await terminal.until(
            lambda text: "ROUTE" in text and "DROPPED" not in text and "q quit" in text, "fewer"
        )
        terminal.resize(3, 2)
        await terminal.until(lambda text: text.startswith("re~"), "almost nothing")
        terminal.resize(80, 24)
        await terminal.until(lambda text: "PKT/S" in text and "r26" in text, "it again")
        await quitting(terminal)


@pytest_twisted.ensureDeferred
async def test_itComesBackWithTheRelay(reactor: Any, tmp_path: Path) -> None:
    """When the relay is gone it says so and keeps what it knew; when it is back, so is it."""
    async with (
        serving(reactor, document(rated("news", 1e6))) as server,
        running(reactor, tmp_path, server.url) as terminal,
    ):
        await terminal.until(lambda text: "news" in text, "the route")
        await server.stop()
        await terminal.until(lambda text: "NO ANSWER" in text and "(Connection" in text, "it gone")
        assert "news" in terminal.text
        server.listen()
        await terminal.until(lambda text: text.startswith("ready"), "it back")
        await quitting(terminal)


@pytest_twisted.ensureDeferred
async def test_itWaitsForARelay(reactor: Any, tmp_path: Path) -> None:
    """Started before the relay it says what to do, and shows it once it is there."""
    async with serving(reactor, document(rated("news", 1e6))) as server:
        await server.stop()
        async with running(reactor, tmp_path, server.url) as terminal:
            await terminal.until(lambda text: "[admin] or" in text, "what to do")
            server.listen()
            await terminal.until(lambda text: "news" in text, "the route")
            await quitting(terminal)


@pytest_twisted.ensureDeferred
async def test_keysAreObeyedWhileNothingIsAnswered(reactor: Any, tmp_path: Path) -> None:
    """A server that takes the question and is silent keeps nobody from leaving."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with running(reactor, tmp_path, url) as terminal:
            await terminal.until(lambda text: "q quit" in text, "the screen")
            before = reactor.seconds()
            await quitting(terminal)
            assert reactor.seconds() - before < 3


@pytest_twisted.ensureDeferred
async def test_itEndsWithItsTerminal(reactor: Any, tmp_path: Path) -> None:
    """When the terminal is closed it does not stay behind."""
    async with (
        serving(reactor, document(rated("news", 1e6))) as server,
        running(reactor, tmp_path, server.url) as terminal,
    ):
        await terminal.until(lambda text: "news" in text, "the route")
        process = pidOf(terminal)
        terminal.transport.loseConnection()
        await terminal.until(lambda _: not isRunning(process), "the end")


@pytest_twisted.ensureDeferred
async def test_namesCommandNoTerminal(reactor: Any, tmp_path: Path) -> None:
    """Wide letters keep their columns, and escape sequences in names are text."""
    async with (
        serving(reactor, document(rated("日本語", 1e6), rated("\x1b[2J\x07x", 2e6))) as server,
        running(reactor, tmp_path, server.url) as terminal,
    ):
        await terminal.until(lambda text: "Mbit/s" in text, "the routes")
        assert r"\x1b[2J\x07x" in terminal.text
        assert b"\x1b[2J\x07x" not in terminal.raw
        lines = [line for line in terminal.screen.display if " 1.0 Mbit/s" in line]
        assert "日" in lines[0]
        await quitting(terminal)


@pytest_twisted.ensureDeferred
async def test_coloursAreForTerminalsThatHaveThem(reactor: Any, tmp_path: Path) -> None:
    """There is green and red, but not with NO_COLOR, nor on a VT100."""
    coloured = re.compile(rb"\x1b\[(?:\d+;)*3[0-7](?:;\d+)*m")
    async with serving(reactor, fullDocument()) as server:
        for term, noColor, isColoured in (
            ("linux", "", True),
            ("linux", "1", False),
            ("vt100", "", False),
        ):
            async with running(
                reactor, tmp_path, server.url, TERM=term, NO_COLOR=noColor
            ) as terminal:
                await terminal.until(lambda text: "sport" in text, "the routes")
                assert bool(coloured.search(terminal.raw)) == isColoured
                terminal.type("q")
                await terminal.ended


@pytest.mark.parametrize(("signal", "status"), [(15, 143), (1, 129), (3, 131), (2, 130)])
@pytest_twisted.ensureDeferred
async def test_signalsEndItInOrder(reactor: Any, tmp_path: Path, signal: int, status: int) -> None:
    """A signal that ends programs leaves the terminal as it was."""
    async with (
        serving(reactor, document(rated("news", 1e6))) as server,
        running(reactor, tmp_path, server.url) as terminal,
    ):
        await terminal.until(lambda text: "news" in text, "the route")
        os.kill(pidOf(terminal), signal)
        await terminal.ended
        assertRestored(terminal, status)


@pytest.mark.parametrize("term", ["", "no-such-terminal"])
@pytest_twisted.ensureDeferred
async def test_anUnknownTerminalIsOneLine(reactor: Any, tmp_path: Path, term: str) -> None:
    """What curses does not know is said in one line, and what to do instead; nothing is asked."""
    async with (
        serving(reactor, document()) as server,
        running(reactor, tmp_path, server.url, columns=200, TERM=term) as terminal,
    ):
        await terminal.ended
        assert f"groupsock-top: this terminal cannot show it (TERM={term}: " in terminal.text
        assert "use --once" in terminal.text
        assertRestored(terminal, 2)
        assert server.resource.asked == {}
