"""Real programs on the hosts of a LAN: started, waited for, and always ended."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType

import pytest

from tests.starting import TWISTD, readable, startProgram
from txgroupsock.testing.namespaces import PATH, Namespace

TIMEOUT = 20.0


class Program:
    """
    A program on a host, with its output read as one text.

    Leaving the context ends it, if it has not ended by itself.
    """

    def __init__(self, host: Namespace, *command: str) -> None:
        self._host = host
        self._command = command
        self.output = ""

    def __enter__(self) -> Program:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        with self._host:
            self._process = startProgram(list(self._command))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def waitFor(self, text: str, timeout: float = TIMEOUT, *, after: int = 0) -> str:
        """
        The output so far, as soon as it has a text; fails if the program ends before.

        @param after: how much of the output is not looked at.
        """
        deadline = time.monotonic() + timeout
        while text not in self.output[after:]:
            if not self._read(deadline):
                pytest.fail(f"{self._command[0]} ended without {text!r}:\n{self.output}")
        return self.output

    def end(self, number: int | None = None, timeout: float = TIMEOUT) -> int:
        """Send a signal, if one is given, and wait for the end; the exit status."""
        if number is not None:
            self._process.send_signal(number)
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        return self._process.wait(timeout=5)

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def _read(self, deadline: float) -> bool:
        """Read what there is, waiting for it; whether there may be more."""
        pipe = self._process.stdout
        assert pipe is not None
        if not readable([pipe], deadline - time.monotonic()):
            pytest.fail(f"{' '.join(self._command)} took too long; it said:\n{self.output}")
        data = os.read(pipe.fileno(), 65536)
        self.output += data.decode(errors="replace")
        return bool(data)


def twistd(*arguments: str) -> list[str]:
    """The command line of a relay in the foreground, in this environment's Python."""
    return [sys.executable, TWISTD, "-n", "--pidfile=", "groupsock-relay", *arguments]


def needs(program: str) -> str:
    """A program's path; without it the test is skipped with the reason, or fails in CI."""
    path = shutil.which(program, path=PATH)
    if path is None:
        reason = f"{program} is not installed"
        if "CI" in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def waitUntil(what: Callable[[], bool], description: str, timeout: float = TIMEOUT) -> None:
    """Look again and again for something that the system announces to nobody."""
    deadline = time.monotonic() + timeout
    while not what():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout} s: {description}")
        time.sleep(0.01)


def waitForPort(host: Namespace, port: int) -> None:
    """Block until some socket of a host is bound to a UDP port."""
    needle = f":{port:04X} "

    def isBound() -> bool:
        return needle in host.readNet("udp") or needle in host.readNet("udp6")

    waitUntil(isBound, f"UDP port {port} bound")
