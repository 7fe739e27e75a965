"""What a tool shows while it runs, and what it leaves at the end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, ClassVar, TextIO

from attrs import define, frozen
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from zope.interface import implementer

from txgroupsock.ports.clock import steady

_CLEAR = "\r\x1b[K"


def observer() -> PlainLines:
    """
    What twistd is to log with when a tool runs in the foreground and nothing else was asked for:
    it calls what its option C{--logger} names.
    """
    return PlainLines(sys.stderr)


@implementer(ILogObserver)
@frozen
class PlainLines:
    """Writes what a tool says and what goes wrong, as plain lines, without time and place."""

    stream: TextIO

    def __call__(self, event: LogEvent) -> None:
        """See L{ILogObserver}."""
        isBad = event.get("log_level") in (LogLevel.warn, LogLevel.error, LogLevel.critical)
        if not isBad and not str(event.get("log_namespace")).startswith("txgroupsock."):
            return  # twistd starts, says which reactor it has, and stops
        text = formatEvent(event)
        failure = event.get("log_failure")
        if failure is not None:
            text = f"{text}\n{failure.getTraceback()}".strip()
        clear = _CLEAR if self.stream.isatty() else ""
        _write(self.stream, f"{clear}{text}\n")


class Display:
    """
    Shows one line: on a terminal always the latest, elsewhere as a line of log now and then.

    @cvar often: seconds between two on a terminal.
    @cvar seldom: seconds between two elsewhere.
    """

    often: ClassVar[float] = 0.5
    seldom: ClassVar[float] = 5.0

    _log = Logger()

    def __init__(self, reactor: Any, line: Callable[[], str], terminal: TextIO | None) -> None:
        """
        @param line: makes it.
        @param terminal: L{None} if there is none.
        """
        self._line = line
        self._terminal = terminal
        self._showing = LoopingCall(self._show)
        self._showing.clock = steady(reactor)

    def start(self) -> None:
        """Show it from now on."""
        self._showing.start(self.seldom if self._terminal is None else self.often, now=False)

    def stop(self) -> None:
        """Show it no more; what was shown last is not left there."""
        if self._showing.running:
            self._showing.stop()
            if self._terminal is not None:
                _write(self._terminal, _CLEAR)

    def _show(self) -> None:
        if self._terminal is None:
            self._log.info("{line}", line=self._line())
            return
        try:
            width = os.get_terminal_size(self._terminal.fileno()).columns
        except (OSError, ValueError):
            width = 0
        line = self._line()
        # What is longer than a row cannot be cleared; terminals that have no size tell 0.
        _write(self._terminal, _CLEAR + (line[: width - 1] if width else line))


@define
class Result:
    """
    Where the JSON at the end goes.

    @ivar path: of a file; L{None} for the standard output.
    @ivar stream: the standard output, as it was before twistd took it for its log.
    """

    path: str | None
    stream: TextIO

    def check(self) -> None:
        """
        Find out early whether the file can be written.

        @raise OSError: it cannot.
        """
        if self.path is not None:
            with open(self.path, "a", encoding="utf-8"):
                pass

    def write(self, result: dict[str, Any]) -> None:
        """
        Write it, as one object.

        @raise OSError: it cannot be written.
        """
        text = json.dumps(result, indent=2) + "\n"
        if self.path is None:
            self.stream.write(text)
            self.stream.flush()
        else:
            with open(self.path, "w", encoding="utf-8") as file:
                file.write(text)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):  # nobody reads any more, or it is closed
        pass
