"""On which line each part of a TOML file stands, which the parser does not say."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from attrs import define

from txgroupsock.relay.config.toml import loads

KeyPath = tuple["str | int", ...]
"""Where something stands: C{("route", 0, "to", 2)} is the third C{to} of the first C{[[route]]}."""

# Where a parser has found nothing wrong, these few are enough to tell one part from another.
_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.-]+")
_SPACE = re.compile(r"(?:\s|#[^\n]*)*")
_SPACE_AND_COMMAS = re.compile(r"(?:[\s,]|#[^\n]*)*")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_HEADER = re.compile(r"\[\[?[ \t]*")
_HEADER_END = re.compile(r"[ \t]*\]\]?")
_SCALAR = re.compile(
    r'"""(?:[^\\"]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|[^\n,\]}#]+",
    re.DOTALL,
)


def linesOf(text: str) -> dict[KeyPath, int]:
    """
    The line, from 1, on which each table, key and element of an array begins.

    @param text: TOML in which a parser has found nothing wrong.
    """
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    lines: dict[KeyPath, int] = {}
    with suppress(ValueError):  # a line is a help: better some than none
        for path, at in _Scanner(text).parts():
            lines.setdefault(path, bisect_right(starts, at))
    return lines


@define
class _Container:
    """An array, or an inline table, that has begun; C{count} is that of its elements."""

    path: KeyPath
    isArray: bool
    count: int = 0


class _Scanner:
    """Goes through a file once, from part to part."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lengths: dict[KeyPath, int] = {}  # of the arrays of tables so far

    def parts(self) -> Iterator[tuple[KeyPath, int]]:
        """Each part, and where it begins."""
        table: KeyPath = ()
        while True:
            self._take(_SPACE)
            if self._at == len(self._text):
                return
            if self._next() == "[":
                start = self._at
                isElement = self._take(_HEADER).startswith("[[")
                table = self._table(self._key(), isElement=isElement)
                self._take(_HEADER_END)
                yield from _withParents(table, 0, start)
            else:
                yield from self._pair(table)

    def _pair(self, table: KeyPath) -> Iterator[tuple[KeyPath, int]]:
        """A key, and what there is in its value."""
        path = yield from self._beginning(table)
        inside: list[_Container] = []
        while True:
            if self._next() in ("[", "{"):
                inside.append(_Container(path, isArray=self._next() == "["))
                self._at += 1
            else:
                self._take(_SCALAR)
            while inside:
                self._take(_SPACE_AND_COMMAS)
                if self._next() not in ("]", "}"):
                    break
                self._at += 1
                inside.pop()
            if not inside:
                return
            container = inside[-1]
            if container.isArray:
                path = (*container.path, container.count)
                container.count += 1
                yield path, self._at
            else:
                path = yield from self._beginning(container.path)

    def _beginning(self, table: KeyPath) -> Any:
        """A key up to its value; returns where that stands."""
        start = self._at
        path = (*table, *self._key())
        self._take(_EQUALS)
        yield from _withParents(path, len(table), start)
        return path

    def _key(self) -> KeyPath:
        written = self._take(_KEY)
        if _PLAIN_KEY.fullmatch(written):
            return tuple(written.split("."))
        value: Any = loads(f"{written} = 0")
        path: list[str] = []
        while isinstance(value, dict):
            [(key, value)] = value.items()
            path.append(key)
        return tuple(path)

    def _table(self, key: KeyPath, *, isElement: bool) -> KeyPath:
        """The table that a header means: of arrays on the way, the last element so far."""
        path: KeyPath = ()
        for part in key[:-1]:
            path = self._last((*path, part))
        path = (*path, key[-1])
        if isElement:
            self._lengths[path] = self._lengths.get(path, 0) + 1
        return self._last(path)

    def _last(self, path: KeyPath) -> KeyPath:
        return (*path, self._lengths[path] - 1) if path in self._lengths else path

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise ValueError(f"nothing like {pattern.pattern} at {self._at}")
        self._at = found.end()
        return found[0]


def _withParents(path: KeyPath, known: int, at: int) -> Iterator[tuple[KeyPath, int]]:
    """A part, and those that it is in and that begin with it if they have not before."""
    for length in range(known + 1, len(path) + 1):
        yield path[:length], at
