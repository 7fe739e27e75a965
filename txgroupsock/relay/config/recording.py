"""The keys of recording in a configuration file, and the model of what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from txgroupsock.relay.config.kinds import Amount, Found, Key, Table, Whole
from txgroupsock.relay.config.positions import KeyPath
from txgroupsock.relay.health.model import HealthModel
from txgroupsock.relay.models.quantity import SIZES, TIMES, Quantity
from txgroupsock.relay.recording.model import RecordingModel

_LONG_TIMES: Mapping[str, float] = {**TIMES, "h": 3600, "d": 86400}
_LARGE_SIZES: Mapping[str, float] = {**SIZES, "TiB": 1024**4}


@frozen
class Folder:
    """A folder, by its whole path."""

    words = 'a folder by its whole path, such as "/var/lib/groupsock"'

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind <txgroupsock.relay.config.kinds.Kind>}.  Whether it is there shows later."""
        if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
            yield path, f"it is {value!r}, and should be {self.words}"

    def schema(self) -> dict[str, Any]:
        """See L{Kind <txgroupsock.relay.config.kinds.Kind>}."""
        return {"type": "string", "pattern": "^/"}


def _size(least: int, example: str) -> Amount:
    words = f'a size of {least} bytes or more, such as "{example}"'
    return Amount(Quantity(_LARGE_SIZES, least, 2**50, words))


def _time(least: float, most: float, example: str) -> Amount:
    words = f'a time from {least:g} s to {most:g} s, such as "{example}"'
    return Amount(Quantity(_LONG_TIMES, least, most, words))


RECORD = Table(
    [
        Key(
            "folder",
            Folder(),
            "Where the files are made; it has to be there, and the relay has to be allowed to "
            "write there.",
            isRequired=True,
        ),
        Key("size", _size(65536, "100MiB"), "Bytes of a file, at most; left out, 100MiB."),
        Key(
            "age",
            _time(1, 30 * 86400, "1h"),
            "The time after which another file is begun; left out, 1h.",
        ),
        Key(
            "files",
            Whole(1, 100_000),
            "How many files of this route are kept; the oldest are deleted. Left out, 24.",
        ),
        Key(
            "total",
            _size(65536, "10GiB"),
            "Bytes of all files of this route, at most; left out, files alone says it.",
        ),
        Key(
            "last",
            _time(1, 3600, "30s"),
            "Keeps this much in memory, and writes it only when an alarm is raised; left out, "
            "everything is written.",
        ),
        Key(
            "after",
            _time(0, 3600, "5s"),
            "With last: how long to go on writing after the alarm; left out, 5s.",
        ),
        Key(
            "memory",
            _size(65536, "64MiB"),
            "With last: bytes to keep in memory, at most; left out, 64MiB.",
        ),
        Key(
            "pause",
            _time(0, 86400, "60s"),
            "With last: the time from one alarm that is written to the next, at least; left out, "
            "60s.",
        ),
    ]
)
"""C{record} of a route."""

_OF_LAST = ("after", "memory", "pause")
_WHOLE_NUMBERS = ("size", "files", "total", "memory")


def recordingOf(table: object) -> RecordingModel | None:
    """
    How a route is to be recorded, of what is right in a table.

    @param table: C{record} of the route; L{None} if there is none.
    @return: L{None} if it is not.
    """
    if not isinstance(table, dict) or any(RECORD.check({"folder": table.get("folder")}, ())):
        return None
    right: dict[str, Any] = {}
    for key in RECORD.keys:
        value = table.get(key.name)
        if value is None or any(key.kind.check(value, ())):
            continue
        number = key.kind.quantity.parse(value) if isinstance(key.kind, Amount) else value
        right[key.name] = int(number) if key.name in _WHOLE_NUMBERS else number
    model = RecordingModel(**right)
    if model.total is not None and model.total < model.size:
        return RecordingModel(model.folder)  # which is reported
    return model


def recordingProblems(table: object, health: HealthModel | None) -> Iterator[Found]:
    """
    What does not go together in a table whose keys may each be right.

    @param health: how the health of the route is looked at; L{None} if it is not.
    """
    if not isinstance(table, dict):
        return
    if "last" in table and health is None:
        yield (
            ("last",),
            (
                "it is written when an alarm is raised, and nothing raises one here; give the "
                "route health = true, too, or the file [health]"
            ),
        )
    for name in _OF_LAST:
        if name in table and "last" not in table:
            yield (
                (name,),
                "it is for what is written upon an alarm; give last, too, or leave it out",
            )
    size, total = table.get("size", "100MiB"), table.get("total")
    try:
        parse = Quantity(_LARGE_SIZES, 0, 2**50, "").parse
        isTooSmall = total is not None and parse(total) < parse(size)
    except (TypeError, ValueError):
        return  # which the check has reported
    if isTooSmall:
        yield ("total",), f"{total} have no room for a file of {size}; give it more, or size less"
