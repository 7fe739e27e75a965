"""A server of status documents, groupsock-top in a terminal, and a screen to see it on."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyte
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

ROOT = Path(__file__).parents[3]
PROGRAM = "from txgroupsock.tools.top import main; raise SystemExit(main())"
SECONDS = 30.0  # longer than anything here takes, also on a busy machine


class StatusResource(Resource):
    """
    Answers C{/api/status}.

    @ivar document: what it answers; bytes as they are.
    @ivar headers: of the answer.
    @ivar wanted: the C{Authorization} without which it answers 401.
    @ivar asked: the headers of the last request.
    """

    isLeaf = True

    def __init__(self, document: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Twisted's, without types
        self.document = document
        self.code = 200
        self.headers: dict[bytes, bytes] = {}
        self.wanted: bytes | None = None
        self.asked: Mapping[bytes, bytes] = {}

    def render_GET(self, request: Request) -> bytes:
        """Answer."""
        self.asked = request.getAllHeaders()
        if request.path != b"/api/status":
            request.setResponseCode(404)
            return b"no such page"
        if self.wanted is not None and self.asked.get(b"authorization") != self.wanted:
            request.setResponseCode(401)
            return b"who are you?"
        request.setResponseCode(self.code)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        isRaw = isinstance(self.document, bytes)
        return self.document if isRaw else json.dumps(self.document).encode()


@define
class StatusServer:
    """
    A server of status documents on loopback.

    @ivar port: that it listens on, also while it does not.
    """

    reactor: Any
    resource: StatusResource
    port: int = 0
    _listening: Any = None
    _site: Any = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def listen(self) -> None:
        """Answer, at the same port as before."""
        self._site = Site(self.resource)
        self._listening = self.reactor.listenTCP(self.port, self._site, interface="127.0.0.1")
        self.port = self._listening.getHost().port

    async def stop(self) -> None:
        """Answer nobody any more."""
        if self._listening is not None:
            listening, self._listening = self._listening, None
            await listening.stopListening()


@asynccontextmanager
async def serving(reactor: Any, document: Any) -> AsyncIterator[StatusServer]:
    """A server that answers this document."""
    server = StatusServer(reactor, StatusResource(document))
    server.listen()
    try:
        yield server
    finally:
        await server.stop()


def environmentOf(home: Path, **changes: str) -> dict[str, str]:
    """What the program gets: a home without files, no credentials, and these."""
    kept = {key: text for key, text in os.environ.items() if not key.startswith("GROUPSOCK_")}
    kept.pop("NO_COLOR", None)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(paths),
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "TERM": "linux",
        **changes,
    }


async def once(
    reactor: Any, home: Path, *arguments: str, **environment: str
) -> tuple[str, str, int]:
    """Run C{groupsock-top --once}; what it printed, what it complained of, and its status."""
    return await ran(reactor, home, PROGRAM, "--once", *arguments, **environment)


async def ran(
    reactor: Any, home: Path, program: str, *arguments: str, **environment: str
) -> tuple[str, str, int]:
    """Run a program in Python without a terminal."""
    out, err, code = await getProcessOutputAndValue(
        sys.executable,
        ["-c", program, *arguments],
        env=environmentOf(home, **environment),
        reactor=reactor,
    )
    return out.decode(), err.decode(), code


@define(eq=False)
class Terminal(ProcessProtocol):
    """
    A terminal of so many columns and lines, in which a program runs.

    @ivar raw: everything that the program wrote.
    """

    reactor: Any
    columns: int = 80
    lines: int = 24
    raw: bytearray = field(factory=bytearray)
    ended: Deferred[Any] = field(factory=Deferred)
    screen: Any = None
    _stream: Any = None
    transport: Any = None

    def start(self, home: Path, *arguments: str, **environment: str) -> None:
        """Run groupsock-top, and then C{stty}, to see how the terminal was left."""
        self.screen = pyte.Screen(self.columns, self.lines)
        self._stream = pyte.ByteStream(self.screen)
        # The size is there before the program asks for it.
        size = f"stty rows {self.lines} cols {self.columns}"
        command = f'{size}; echo pid $$; "$@"; echo "status $?"; stty -a'
        self.reactor.spawnProcess(
            self,
            "/bin/sh",
            ["sh", "-c", command, "sh", sys.executable, "-c", PROGRAM, *arguments],
            env=environmentOf(home, **environment),
            usePTY=True,
        )

    def outReceived(self, data: bytes) -> None:
        self.raw += data
        self._stream.feed(data)

    def processEnded(self, reason: Any) -> None:
        self.ended.callback(None)

    @property
    def text(self) -> str:
        """What can be seen now."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def type(self, keys: str) -> None:
        """Press keys."""
        self.transport.write(keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Make the window another size; the kernel tells the program (SIGWINCH)."""
        self.screen.resize(lines, columns)
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.transport.fileno(), termios.TIOCSWINSZ, size)

    async def until(self, condition: Callable[[str], object], what: str) -> None:
        """Wait until what can be seen is so."""
        end = self.reactor.seconds() + SECONDS
        while not condition(self.text):
            assert self.reactor.seconds() < end, f"never: {what}\n{self.text}"
            await deferLater(self.reactor, 0.02)


@asynccontextmanager
async def running(
    reactor: Any, home: Path, *arguments: str, columns: int = 80, lines: int = 24, **env: str
) -> AsyncIterator[Terminal]:
    """groupsock-top in a terminal, which is gone afterwards."""
    terminal = Terminal(reactor, columns, lines)
    terminal.start(home, *arguments, **env)
    try:
        yield terminal
    finally:
        if not terminal.ended.called:
            terminal.transport.loseConnection()
            terminal.transport.signalProcess("KILL")
            await terminal.ended
