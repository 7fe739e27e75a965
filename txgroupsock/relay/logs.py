"""
Logs for programs to read: C{twistd --logger=txgroupsock.relay.logs.jsonLines groupsock-relay ...}.

twistd calls what C{--logger} names, and logs to what that gives.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import Any, TextIO

from attrs import Factory, field, frozen
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from txgroupsock.relay.outlet import Outlet

MOST_BYTES = 16_000
"""Of a line, at most: container engines cut lines at 16 KiB, journald at 48."""

_PRIORITIES = {  # of syslog(3), which journald has, too
    LogLevel.debug: 7,
    LogLevel.info: 6,
    LogLevel.warn: 4,
    LogLevel.error: 3,
    LogLevel.critical: 2,
}


def jsonLines() -> JSONLines:
    """Logs to standard output, one JSON object a line; see L{JSONLines}."""
    return JSONLines(sys.stdout)


def journal() -> Journal:
    """Logs to standard output, as journald likes it; see L{Journal}."""
    return Journal(sys.stdout)


@implementer(ILogObserver)
@frozen
class _Lines:
    """Writes events as lines of text to a stream, and tells how many nobody has read in time."""

    stream: TextIO
    _outlet: Outlet = field(
        init=False, default=Factory(lambda self: Outlet(self.stream), takes_self=True)
    )

    def __call__(self, event: LogEvent) -> None:
        """See L{ILogObserver}."""
        lost = self._outlet.lostUntilNow()
        if lost:
            gap = {
                "log_level": LogLevel.warn,
                "log_namespace": __name__,
                "log_format": "here {lost:,} messages are missing, which nobody has read in time",
                "log_time": event.get("log_time"),
                "lost": lost,
            }
            self._outlet.write(self._formatted(gap))
        self._outlet.write(self._formatted(event))

    def _formatted(self, event: LogEvent) -> str:
        raise NotImplementedError


@frozen
class JSONLines(_Lines):
    """
    Writes an event as one line of JSON, in ASCII: C{time} (ISO 8601, UTC, with milliseconds),
    C{level}, C{namespace}, C{message}; and where there is one, C{worker} (its number) and
    C{failure} (the traceback).

    A line has at most L{MOST_BYTES} bytes, its end included: the message then loses its end, and a
    traceback its beginning.  An event that cannot be formatted is logged all the same.
    """

    def _formatted(self, event: LogEvent) -> str:
        line = {
            "time": _time(event),
            "level": _level(event).name,
            "namespace": _text(event.get("log_namespace") or "-")[:200],
            "message": _message(event),
        }
        worker, failure = event.get("worker"), _traceback(event)
        if isinstance(worker, int):
            line["worker"] = worker
        if failure:
            line["failure"] = failure
        return _fitting(line) + "\n"


@frozen
class Journal(_Lines):
    """
    Writes events with their priority before each line, as C{sd-daemon(3)} has it, and no time,
    since journald has that: C{<4>txgroupsock.relay.carriers.udp.input.UDPInput: loop: ...}.
    """

    def _formatted(self, event: LogEvent) -> str:
        worker = event.get("worker")
        source = _text(event.get("log_namespace") or "-")
        if isinstance(worker, int):
            source = f"worker {worker}, {source}"
        text = f"{source}: {_message(event)}\n{_traceback(event)}"
        mark = f"<{_PRIORITIES[_level(event)]}>"
        lines = [mark + line[:MOST_BYTES] for line in text.splitlines() if line.strip()]
        return "\n".join(lines) + "\n"


def _fitting(line: dict[str, str | int]) -> str:
    """JSON of at most so many bytes; texts are halved until that is so."""
    while len(text := json.dumps(line)) >= MOST_BYTES:
        message, failure = str(line["message"]), str(line.get("failure", ""))
        if len(failure) > len(message):
            line["failure"] = "…" + failure[len(failure) // 2 + 1 :]
        else:
            line["message"] = message[: len(message) // 2] + "…"
    return text


def _time(event: LogEvent) -> str:
    seconds = event.get("log_time")
    try:
        moment = datetime.fromtimestamp(seconds, timezone.utc)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, OSError):
        moment = datetime.now(timezone.utc)  # noqa: TID251 - for people
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(event: LogEvent) -> Any:  # a constant has no type of its own
    level = event.get("log_level")
    for each in _PRIORITIES:
        if each is level:
            return each
    return LogLevel.critical if event.get("log_failure") else LogLevel.info


def _message(event: LogEvent) -> str:
    try:
        return _text(formatEvent(event))
    except Exception as error:  # noqa: BLE001 - what somebody logged is no reason to fail
        return f"an event that cannot be formatted: {type(error).__name__}"


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    if failure is None:
        return ""
    try:
        return _text(failure.getTraceback())
    except Exception as error:  # noqa: BLE001 - as above
        return f"a failure that cannot be formatted: {type(error).__name__}"


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - as above
        return f"cannot be formatted: {type(error).__name__}"
