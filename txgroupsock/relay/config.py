"""The configuration file: TOML in, a model or everything that is wrong with it out."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from txgroupsock.relay.keys import FILE
from txgroupsock.relay.plan import Refusal, RelayModel, RouteRequest
from txgroupsock.relay.positions import KeyPath, linesOf
from txgroupsock.relay.toml import loads

MOST_BYTES = 1_000_000
"""Bytes that a file may have: enough for some ten thousand routes."""

_BARE = re.compile("[A-Za-z0-9_-]+")
# The parser takes time and memory by the square of these: 7 s and 1.5 GB for 20,000.
_MOST_PARTS = 32
_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*\.[ \t]*"""
_LONG_KEY = re.compile(rf"(?:^|[{{,\[])[ \t]*(?:{_PART}){{{_MOST_PARTS}}}", re.MULTILINE)


@frozen
class Problem:
    """
    One thing that is wrong with a file.

    @ivar file: its name.
    @ivar line: where, from 1; L{None} if that is nowhere in particular.
    @ivar key: which key, counted from 1: C{route[2].to[1]}; C{""} if none.
    @ivar text: what is wrong, and how to mend it.
    """

    file: str
    line: int | None
    key: str
    text: str

    def __str__(self) -> str:
        """One line, which begins as compilers' do."""
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(each for each in (where, self.key, self.text) if each)


class ConfigurationError(ValueError):
    """
    A file is wrong; the message has a line for each problem.

    @ivar problems: see L{Problem}; in the order of the file.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda each: each.line or 0))
        super().__init__("\n".join(str(each) for each in self.problems))


@frozen
class ConfigurationFile:
    """
    A file on disk.

    @ivar name: as it was given, for people.
    @ivar path: wherever this process goes to.
    """

    name: str
    path: Path

    @classmethod
    def of(cls, name: str) -> ConfigurationFile:
        """@param name: its path, from where this process is now."""
        return cls(name, Path(os.path.abspath(name)))

    def read(self) -> RelayModel:
        """
        What it says now.

        @raise ConfigurationError: it cannot be read, or is wrong.
        """
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):  # opening a pipe might wait for ever
                raise self._problem("it is not a file; give the path of one")
            with self.path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except (OSError, ValueError) as error:
            if isinstance(error, ConfigurationError):
                raise
            why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
            raise self._problem(
                f"cannot be read: {why}; check its path, and that this user may read it"
            ) from error
        if len(content) > MOST_BYTES:
            raise self._problem(f"it is larger than {MOST_BYTES:,} bytes; is it the right file?")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = 1 + content.count(b"\n", 0, error.start)
            raise self._problem("it is not UTF-8, as TOML is; save it as that", line) from None
        return parseConfiguration(text, self.name)

    def _problem(self, text: str, line: int | None = None) -> ConfigurationError:
        return ConfigurationError([Problem(self.name, line, "", text)])


def parseConfiguration(text: str, name: str) -> RelayModel:
    """
    The model that a file's text describes.

    @param name: the file's, for problems.
    @raise ConfigurationError: something is wrong; it has all of that, unless the text is no TOML:
        then the first thing that makes it none.
    """
    values = _tomlOf(text, name)
    lines: dict[KeyPath, int] = {}
    problems: list[Problem] = []

    def report(path: KeyPath, why: str) -> None:
        if not lines:
            lines.update(linesOf(text))
        problems.append(Problem(name, lines.get(path), _written(path), why))

    for path, why in FILE.check(values, ()):
        report(path, why)
    model = _modelOf(values, report)
    if problems:
        raise ConfigurationError(problems)
    return model


def _tomlOf(text: str, name: str) -> dict[str, Any]:
    if long := _LONG_KEY.search(text):
        line = 1 + text.count("\n", 0, long.end())
        why = f"a key has more than {_MOST_PARTS} parts; none here has more than one"
        raise ConfigurationError([Problem(name, line, "", why)])
    try:
        return loads(text)
    except RecursionError:
        why = "it has lists or tables nested too deeply; none here has to be"
        raise ConfigurationError([Problem(name, None, "", why)]) from None
    except ValueError as error:  # a number of thousands of digits is no TOMLDecodeError
        why, at, place = " ".join(str(error).split()).rpartition(" (at ")
        if not at:
            why = "a value in it cannot be read, such as a number of thousands of digits"
            raise ConfigurationError([Problem(name, None, "", why)]) from None
        found = re.match("line ([0-9]+), column ([0-9]+)", place)
        line = int(found[1]) if found else 1 + text.rstrip("\n").count("\n")
        column = f" at column {found[2]}" if found else " at the end of the file"
        why = f"not TOML: {why}{column}; texts, URLs too, stand in quotes"
        raise ConfigurationError([Problem(name, line, "", why)]) from None


def _modelOf(values: dict[str, Any], report: Callable[[KeyPath, str], None]) -> RelayModel:
    """What has the right types, checked further."""
    routes = values.get("route")
    tables = [
        (index, each)
        for index, each in enumerate(routes if isinstance(routes, list) else ())
        if isinstance(each, dict)
    ]
    urls = [(_urlsOf(each, "from"), _urlsOf(each, "to")) for _, each in tables]
    requests = [
        RouteRequest(
            [text for _, text in inputs],
            [text for _, text in outputs],
            name if isinstance(name := table.get("name", ""), str) else "",
            table.get("enabled") is not False,
        )
        for (_, table), (inputs, outputs) in zip(tables, urls, strict=True)
    ]

    def refuse(refusal: Refusal) -> None:
        path: KeyPath = ("route", tables[refusal.route][0], refusal.key)
        if refusal.key != "name":
            path += urls[refusal.route][refusal.key == "to"][refusal.index][0]
        report(path, str(refusal.error))

    model = RelayModel.checked(requests, refuse)
    workers = values.get("workers")
    return evolve(model, workers=workers if isinstance(workers, int) else None)


def _urlsOf(table: dict[str, Any], key: str) -> list[tuple[KeyPath, str]]:
    """The texts under a key, and where each stands in it."""
    value = table.get(key)
    if isinstance(value, str):
        return [((), value)]
    elements = enumerate(value if isinstance(value, list) else ())
    return [((index,), each) for index, each in elements if isinstance(each, str)]


def _written(path: KeyPath) -> str:
    """A path as people write it."""
    parts = []
    for part in path:
        if isinstance(part, int):
            parts.append(f"[{part + 1}]")
        else:
            parts.append(f".{part}" if _BARE.fullmatch(part) else f".{json.dumps(part)}")
    return "".join(parts).removeprefix(".")
