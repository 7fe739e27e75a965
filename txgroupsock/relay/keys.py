"""
The keys of a configuration file: what each may be, for the check and for the JSON schema.

Another key is another line in L{ROUTE} or L{FILE}, and a place in the model for its value.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from attrs import frozen

from txgroupsock.relay.plan import MOST_WORKERS
from txgroupsock.relay.positions import KeyPath

Found = tuple[KeyPath, str]
"""What is wrong with a value: where, and why, with the remedy."""


class Kind(Protocol):
    """What the value of a key may be."""

    @property
    def words(self) -> str:
        """It in words."""

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """Everything that is wrong with a value that stands somewhere."""

    def schema(self) -> dict[str, Any]:
        """It as a JSON schema."""


@frozen
class Key:
    """
    A key of a table.

    @ivar text: what it is for, for people.
    """

    name: str
    kind: Kind
    text: str
    isRequired: bool = False


@frozen
class Flag:
    """Yes or no."""

    words = "true or false"

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if not isinstance(value, bool):
            yield _mistyped(value, path, self)

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        return {"type": "boolean"}


@frozen
class Whole:
    """A whole number."""

    least: int
    most: int

    @property
    def words(self) -> str:
        """See L{Kind}."""
        return f"a whole number from {self.least} to {self.most}"

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if not isinstance(value, int) or isinstance(value, bool):
            yield _mistyped(value, path, self)
        elif not self.least <= value <= self.most:
            yield path, f"{value} is not {self.words}"

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@frozen
class Name:
    """What people call something, in logs and elsewhere: one line of text."""

    most: int
    words = "a text"

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if not isinstance(value, str):
            yield _mistyped(value, path, self)
        elif not 1 <= len(value) <= self.most:
            yield path, f"it has {len(value)} characters; give it 1 to {self.most}"
        elif not value.isprintable() or value != value.strip():
            yield path, f"{value!r} is not plain: no control characters, no space at either end"

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        return {
            "type": "string",
            "minLength": 1,
            "maxLength": self.most,
            "pattern": r"^\S(.*\S)?$",
        }


@frozen
class URLs:
    """A URL, or a list of them; whether each is a good one the model says."""

    words = "a URL or a list of URLs"

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if isinstance(value, str):
            return
        if not isinstance(value, list):
            yield _mistyped(value, path, self)
            return
        if not value:
            yield path, "the list is empty; give it a URL"
        for index, each in enumerate(value):
            if not isinstance(each, str):
                yield (*path, index), f"it is {_typeOf(each)}, and should be a URL"

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        url = {"type": "string", "pattern": r"^[Uu][Dd][Pp]://[^/?#]*:[0-9]{1,5}/?(\?.*)?$"}
        several = {"type": "array", "items": url, "minItems": 1, "uniqueItems": True}
        return {"anyOf": [url, several]}


@frozen
class Table:
    """A table with certain keys and no others."""

    keys: Sequence[Key]
    words = "a table"

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if not isinstance(value, dict):
            yield _mistyped(value, path, self)
            return
        known = {key.name: key for key in self.keys}
        for name, each in value.items():
            if name in known:
                yield from known[name].kind.check(each, (*path, name))
            else:
                yield (*path, name), _unknown(name, list(known))
        for key in self.keys:
            if key.isRequired and key.name not in value:
                yield path, f"{key.name} is missing; it is {key.kind.words}"

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        return {
            "type": "object",
            "additionalProperties": False,
            "required": [key.name for key in self.keys if key.isRequired],
            "properties": {
                key.name: {"description": key.text, **key.kind.schema()} for key in self.keys
            },
        }


@frozen
class Tables:
    """One or more tables of one kind, each under a header in double brackets."""

    name: str
    table: Table

    @property
    def words(self) -> str:
        """See L{Kind}."""
        return f"one or more tables, each under its own [[{self.name}]]"

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if not isinstance(value, list):
            yield _mistyped(value, path, self)
            return
        if not value:
            yield path, f"there is none; it is {self.words}"
        for index, each in enumerate(value):
            yield from self.table.check(each, (*path, index))

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        return {"type": "array", "minItems": 1, "items": self.table.schema()}


def _mistyped(value: object, path: KeyPath, kind: Kind) -> Found:
    return path, f"it is {_typeOf(value)}, and should be {kind.words}"


def _typeOf(value: object) -> str:
    names = {
        bool: "true or false",
        str: "a text",
        int: "a whole number",
        float: "a number with a fraction",
        list: "a list",
        dict: "a table",
    }
    return names.get(type(value), "a date or a time")


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:40], known, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"there is no such key; {meant}there are {', '.join(known)}"


ROUTE = Table(
    [
        Key(
            "name",
            Name(200),
            "What it is called in the log and wherever else it is shown; each route has its own. "
            "Left out, it is the URL of its input.",
        ),
        Key(
            "from",
            URLs(),
            "Its input: udp://[source@]address:port[?interface=NAME&latency=TIME], or a list of "
            "these that differ in their source only.",
            isRequired=True,
        ),
        Key(
            "to",
            URLs(),
            "Its outputs, each of which gets everything: "
            "udp://[source@]address:port[?interface=NAME&ttl=N&dscp=N&rate=N].",
            isRequired=True,
        ),
        Key(
            "enabled",
            Flag(),
            "Whether it is run; true unless told otherwise. It has to be right in any case.",
        ),
    ]
)
FILE = Table(
    [
        Key(
            "workers",
            Whole(1, MOST_WORKERS),
            "How many processes to share the routes out among; takes effect when the relay starts.",
        ),
        Key("route", Tables("route", ROUTE), "What goes from where to where.", isRequired=True),
    ]
)
