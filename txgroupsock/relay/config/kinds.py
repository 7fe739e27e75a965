"""What the value of a key of a configuration file may be, for the check and for the JSON schema."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from attrs import frozen

from txgroupsock.relay.config.positions import KeyPath
from txgroupsock.relay.models.quantity import Quantity

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
class Choice:
    """One of a few words."""

    choices: Sequence[str]

    @property
    def words(self) -> str:
        """See L{Kind}."""
        return " or ".join(f'"{each}"' for each in self.choices)

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if not isinstance(value, str):
            yield _mistyped(value, path, self)
        elif value not in self.choices:
            yield path, f"{value!r} is not {self.words}"

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        return {"type": "string", "enum": list(self.choices)}


@frozen
class Amount:
    """A number with a unit, in quotes."""

    quantity: Quantity

    @property
    def words(self) -> str:
        """See L{Kind}."""
        return self.quantity.words

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if not isinstance(value, str):
            yield path, f"it is {_typeOf(value)}, and should be {self.words}, in quotes"
            return
        try:
            self.quantity.parse(value)
        except ValueError as error:
            yield path, str(error)

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        units = "|".join(self.quantity.units)
        return {"type": "string", "pattern": rf"^(0|[0-9]+(\.[0-9]+)?({units}))$"}


@frozen
class Texts:
    """
    A text, or a list of texts.

    @ivar words: it in words.
    @ivar one: a text in words.
    @ivar problem: what is wrong with a text and how to mend it; L{None} if it is right.
    """

    words: str
    one: str
    problem: Callable[[str], str | None]

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if isinstance(value, str):
            yield from self._checkOne(value, path)
            return
        if not isinstance(value, list):
            yield _mistyped(value, path, self)
            return
        if not value:
            yield path, f"the list is empty; give it {self.one}"
        for index, each in enumerate(value):
            if isinstance(each, str):
                yield from self._checkOne(each, (*path, index))
            else:
                yield (*path, index), f"it is {_typeOf(each)}, and should be {self.one}"

    def _checkOne(self, text: str, path: KeyPath) -> Iterator[Found]:
        problem = self.problem(text)
        if problem is not None:
            yield path, problem

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        text = {"type": "string", "minLength": 1}
        return {"anyOf": [text, {"type": "array", "items": text, "minItems": 1}]}


@frozen
class Passwords:
    """A table of names and the password of each."""

    words = "a table of names and the password of each"

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if not isinstance(value, dict):
            yield _mistyped(value, path, self)
            return
        for name, password in value.items():
            if not name or ":" in name:
                yield (*path, name), "a name has at least one character, and no colon (RFC 7617)"
            if not isinstance(password, str) or not password:
                yield (*path, name), "a password is a text, and not an empty one"

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        return {
            "type": "object",
            "propertyNames": {"pattern": "^[^:]+$"},
            "additionalProperties": {"type": "string", "minLength": 1},
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
    """
    A table with certain keys and no others.

    @ivar oneOf: keys of which there has to be one, at least.
    """

    keys: Sequence[Key]
    oneOf: Sequence[str] = ()
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
        if self.oneOf and not any(each in value for each in self.oneOf):
            first, *others = self.oneOf
            words, instead = known[first].kind.words, " or ".join(others)
            yield path, f"{first} is missing; it is {words}; or give it {instead}"

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        return {
            "type": "object",
            "additionalProperties": False,
            "required": [key.name for key in self.keys if key.isRequired],
            **({"anyOf": [{"required": [each]} for each in self.oneOf]} if self.oneOf else {}),
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


def mistyped(value: object, path: KeyPath, words: str) -> Found:
    """A value is of another type than it should be, which these words say."""
    return path, f"it is {_typeOf(value)}, and should be {words}"


def _mistyped(value: object, path: KeyPath, kind: Kind) -> Found:
    return mistyped(value, path, kind.words)


def _typeOf(value: object) -> str:
    names = {
        bool: "true or false",
        str: "a text",
        int: "a whole number",
        float: "a number with a fraction",
        list: "a list",
        dict: "a table",
        type(None): "null",
    }
    return names.get(type(value), "a date or a time")


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:40], known, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"there is no such key; {meant}there are {', '.join(known)}"
