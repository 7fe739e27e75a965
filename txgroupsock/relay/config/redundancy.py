"""The keys of a configuration file that make one input of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from txgroupsock.relay.config.kinds import (
    Amount,
    Choice,
    Found,
    Key,
    Kind,
    Table,
    URLs,
    Whole,
    mistyped,
)
from txgroupsock.relay.config.positions import KeyPath
from txgroupsock.relay.models.quantity import TIMES, Quantity
from txgroupsock.relay.redundancy.model import (
    BOUNDARIES,
    FailoverModel,
    MergeModel,
    Redundancy,
)
from txgroupsock.relay.redundancy.sequencing import SequenceField

_MOST_HELD: Final = 1_000_000  # datagrams: of 1,316 bytes, 1.3 GB


@frozen
class LegURLs:
    """A URL, or a list of URLs and of lists of them; what they mean the model says."""

    words = "a URL or a list of URLs"
    _urls = URLs()

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if not isinstance(value, list):
            yield from self._urls.check(value, path)
            return
        plain = [[] if isinstance(each, list) else each for each in value]
        for where, why in self._urls.check(plain, path):
            index = where[-1] if len(where) > len(path) else None
            if not (isinstance(index, int) and isinstance(value[index], list)):
                yield where, why
        for index, each in enumerate(value):
            if isinstance(each, list):
                yield from self._urls.check(each, (*path, index))

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        url, several = self._urls.schema()["anyOf"]
        return {"anyOf": [url, {**several, "items": {"anyOf": [url, several]}}]}


@frozen
class WordOrTable:
    """A word, or a table that says it in full."""

    word: str
    table: Table
    words: str

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if isinstance(value, dict):
            yield from self.table.check(value, path)
        elif not isinstance(value, str):
            yield mistyped(value, path, self.words)
        elif value != self.word:
            yield path, f"{value!r} is not {self.words}"

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        return {"anyOf": [{"type": "string", "enum": [self.word]}, self.table.schema()]}


@frozen
class Portion:
    """A share of a whole: a number between 0 and 1, neither of them."""

    words = "a number between 0 and 1, such as 0.01 for one percent"

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if not isinstance(value, int | float) or isinstance(value, bool):
            yield mistyped(value, path, self.words)
        elif not 0 < value < 1:
            yield path, f"{value} is not {self.words}"

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        return {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}


def _time(least: float, most: float, words: str) -> Amount:
    return Amount(Quantity(TIMES, least, most, words))


_SILENCE = _time(0.001, 86400, 'a time from 1ms on, such as "1s"')
_BY = Key(
    "by",
    WordOrTable(
        "rtp",
        Table(
            [
                Key("offset", Whole(0, 65000), "Of its first byte in the payload.", True),
                Key("width", Whole(1, 8), "How many bytes it has.", True),
                Key("byteorder", Choice(["big", "little"]), 'Left out, "big".'),
            ]
        ),
        '"rtp", or where the number is: { offset = 4, width = 4 }',
    ),
    "Where the sequence number is that rises by one from each datagram to the next: that of RTP, "
    "or at an offset in the payload. Left out, that of RTP.",
)

MERGE = Table(
    [
        Key(
            "window",
            _time(0.0001, 10, 'a time from 100us to 10s, such as "50ms"'),
            "How long a missing datagram is waited for, and so how far one leg may be behind "
            'another; left out, "50ms".',
        ),
        _BY,
        Key(
            "limit",
            Whole(1, _MOST_HELD),
            "Datagrams held at most; left out, 16384. No more than a quarter of the numbers that "
            "there are.",
        ),
        Key(
            "silence",
            _SILENCE,
            'After how long without a datagram there is a warning about a leg; left out, "1s".',
        ),
        Key(
            "loss",
            Portion(),
            "From which share of its datagrams lost on there is a warning about a leg; left out, "
            "0.01.",
        ),
    ]
)

FAILOVER = Table(
    [
        Key(
            "silence",
            _SILENCE,
            'After how long without a datagram a leg is bad; left out, "1s".',
        ),
        Key(
            "loss",
            Portion(),
            "From which share of its datagrams lost on, measured over a second, a leg is bad; left "
            "out, losses do not matter.",
        ),
        _BY,
        Key(
            "return",
            _time(0, 86400, 'a time, such as "10s"'),
            "How long an earlier leg has to be good again before it is gone back to; left out, "
            '"10s".',
        ),
        Key(
            "boundary",
            Choice(list(BOUNDARIES)),
            "Where to begin with the new leg while the old one still delivers: at a frame of RTP, "
            "or in a transport stream at a unit (PUSI) or a random access point. Left out, "
            "anywhere.",
        ),
        Key(
            "boundaryWait",
            _time(0, 60, 'a time up to 1min, such as "1s"'),
            'How long that is waited for at most; left out, "1s".',
        ),
    ]
)

_NAMES: Final = {"return": "returnAfter"}
"""Fields of the models that are called otherwise than their key."""


def redundancyOf(table: Mapping[str, Any]) -> Redundancy | None:
    """
    What the table of a route asks for; what is wrong in it, which its check reports, is left out.

    @return: L{None} if the route has one plain input.
    """
    if "merge" in table:
        return MergeModel(**_fields(table["merge"], MERGE))
    if "failover" in table:
        return FailoverModel(**_fields(table["failover"], FAILOVER))
    return None


def problemsOf(table: Mapping[str, Any]) -> Iterator[Found]:
    """What is wrong in the table of a route though each value is right by itself."""
    isAny = [each for each in ("merge", "failover") if each in table]
    if len(isAny) > 1:
        yield ("failover",), "a route has either merge or failover; leave one of them out"
    legs = table.get("from")
    if not isAny and isinstance(legs, list):
        for index, each in enumerate(legs):
            if isinstance(each, list):
                yield (
                    ("from", index),
                    (
                        "a list in a list is a leg, and there is neither merge nor failover; add "
                        "[route.merge] or [route.failover], or give URLs that differ in their "
                        "source"
                    ),
                )
    redundancy = redundancyOf(table)
    if isinstance(redundancy, MergeModel) and isinstance(table["merge"], dict):
        for key, why in _problemsOfMerge(redundancy, table["merge"]):
            yield ("merge", key), why


def _problemsOfMerge(model: MergeModel, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    modulus = model.sequencing.modulus
    isModulusRight = not any(_BY.kind.check(given.get("by", "rtp"), ()))
    if "limit" in given and isModulusRight and model.limit > modulus // 4:
        yield (
            "limit",
            (
                f"{model.limit} is more than a quarter of the {modulus:,} numbers that there are; "
                f"give it {modulus // 4} at most"
            ),
        )
    if model.window > model.silence:
        yield (
            "window" if "window" in given else "silence",
            (
                "the window is longer than the silence, so a leg would be said to be silent while "
                "it is waited for; give it a shorter window, or a longer silence"
            ),
        )


def _fields(given: Any, kinds: Table) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if not isinstance(given, dict):
        return found
    for key in kinds.keys:
        if key.name in given and not any(key.kind.check(given[key.name], ())):
            value = _valueOf(key.kind, given[key.name])
            found[_NAMES.get(key.name, key.name)] = value
    return found


def _valueOf(kind: Kind, value: Any) -> Any:
    if isinstance(kind, Amount):
        return kind.quantity.parse(value)
    if isinstance(kind, WordOrTable):
        return SequenceField(**value) if isinstance(value, dict) else None
    return value
