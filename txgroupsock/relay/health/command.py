"""A command that runs: watched over by a thread, until it and whatever it has started are gone."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Final

from txgroupsock.relay.secrecy import MORE

GRACE: Final = 1.0
"""Seconds from SIGTERM to SIGKILL."""

_LOOK: Final = 0.05  # seconds from one look for the end of a command to the next
_MOST_SAID: Final = 4096  # bytes of what it says that are kept; the rest is let go
_MOST_SHOWN: Final = 500  # characters of that, for the log
_MOST_LINES: Final = 3
_PIECE: Final = 1 << 16  # bytes, as many as a pipe holds
_SHORT: Final = 6  # characters of an argument that nobody takes for a secret
_CREDENTIALS: Final = re.compile(r"(?<=://)[^\s/@]+(?=@)")


class HookError(Exception):
    """Somebody could not be told of an alarm; the text says why."""


class RunningCommand:
    """
    One run of a command.

    It is in a session and a process group of its own, to which signals for the relay do not get,
    and with which its end ends what it has started.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], given: bytes
    ) -> None:
        """
        @param command: the program, found by C{PATH}, and its arguments.
        @param given: what it reads.
        """
        self._command = tuple(command)
        self._environment = environment
        self._given = given
        self._isToEnd = threading.Event()
        self._said = b""

    def end(self) -> None:
        """Have it end: SIGTERM to its group now, and SIGKILL after L{GRACE}."""
        self._isToEnd.set()

    def run(self) -> None:
        """
        Run it to its end, in a thread: even its start may take long, if its disk hangs.

        @raise HookError: it could not be run, or ended with another status than 0.
        """
        if self._isToEnd.is_set():
            raise HookError("it was not begun in time")
        try:
            with selectors.DefaultSelector() as selector:
                process = self._started()
                with process.stdin or nullcontext(), process.stderr or nullcontext():
                    try:
                        self._attend(process, selector)
                    finally:
                        if process.returncode is None:
                            _signal(process, signal.SIGKILL)
                            process.wait()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise HookError(f"it cannot be run: {why}") from None
        if process.returncode:
            how = f"it ended with status {process.returncode}"
            if process.returncode < 0:
                how = f"signal {-process.returncode} ended it"
            said = self.said
            raise HookError(f"{how}: {said}" if said else how)

    @property
    def said(self) -> str:
        """
        What it complained of, for the log: not much, in one line, and without what might be a
        secret of its arguments or a URL's.
        """
        text = self._said.decode("utf-8", "replace")
        for argument in sorted(self._command[1:], key=len, reverse=True):
            for secret in (argument, argument.partition("=")[2]):
                if len(secret) >= _SHORT:
                    text = text.replace(secret, MORE)
        text = _CREDENTIALS.sub(MORE, text)
        lines = [" ".join(_printable(line).split()) for line in text.splitlines()]
        lines = [line for line in lines if line]
        shown = " | ".join(lines[:_MOST_LINES])
        isMore = len(shown) > _MOST_SHOWN or len(lines) > _MOST_LINES
        return shown[:_MOST_SHOWN] + f" {MORE}" * (isMore or len(self._said) >= _MOST_SAID)

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - the operator's, and without a shell
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    def _attend(self, process: subprocess.Popen[bytes], selector: selectors.BaseSelector) -> None:
        """Give it what it reads, hear what it says, and end it if it is to end."""
        for pipe, event in (
            (process.stdin, selectors.EVENT_WRITE),
            (process.stderr, selectors.EVENT_READ),
        ):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, event, pipe)
        killAt = None
        while process.poll() is None or (killAt is not None and _isThere(process)):
            if killAt is not None and time.monotonic() >= killAt:
                _signal(process, signal.SIGKILL)
                return
            self._exchange(selector, _LOOK)
            if killAt is None and self._isToEnd.is_set():
                killAt = time.monotonic() + GRACE
                _signal(process, signal.SIGTERM)
        self._exchange(selector, 0)  # its last words; others may still have its pipes

    def _exchange(self, selector: selectors.BaseSelector, seconds: float) -> None:
        for key, event in selector.select(seconds):
            isOver = (self._write if event & selectors.EVENT_WRITE else self._read)(key.fd)
            if isOver:
                selector.unregister(key.fileobj)
                key.data.close()

    def _write(self, pipe: int) -> bool:
        """Go on writing; returns whether that is over."""
        try:
            self._given = self._given[os.write(pipe, self._given[:_PIECE]) :]
        except BlockingIOError:
            return False
        except OSError:  # it does not want to know
            return True
        return not self._given

    def _read(self, pipe: int) -> bool:
        """Go on reading; returns whether that is over.  What is too much is read, and let go."""
        try:
            data = os.read(pipe, _PIECE)
        except BlockingIOError:
            return False
        if len(self._said) < _MOST_SAID:
            self._said = (self._said + data)[:_MOST_SAID]
        return not data


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except OSError:  # it has ended just now
        return


def _isThere(process: subprocess.Popen[bytes]) -> bool:
    """Whether any process of its group is: the kernel gives nobody else the number meanwhile."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # macOS does not let one signal what has ended
        return process.poll() is None
    return True


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
