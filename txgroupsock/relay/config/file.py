"""The configuration file: TOML in, a configuration or everything that is wrong with it out."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from txgroupsock.primitives.errors import Restorable
from txgroupsock.relay.config.document import (
    Configuration,
    Document,
    WrongDocument,
    configurationOf,
    written,
)
from txgroupsock.relay.config.positions import KeyPath, linesOf
from txgroupsock.relay.config.toml import loads
from txgroupsock.relay.reading import contentOf
from txgroupsock.relay.threads import TookTooLong, within

MOST_BYTES = 1_000_000
"""Bytes that a file may have: enough for some ten thousand routes."""

MOST_SECONDS = 30.0
"""In which one is read and checked: so many routes take 4, and a disk may hang."""

TOO_LONG = "look for a disk that hangs, for a file too large, or for too much else to do here"
"""What may be why that was not enough."""

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


class ConfigurationError(Restorable, ValueError):
    """
    A file is wrong; the message has a line for each problem.

    @ivar problems: see L{Problem}; in the order of the file.  Where there are very many, these
        are some, and the last one says so.
    """

    def __init__(self, problems: Iterable[Problem], more: Iterable[Problem] = ()) -> None:
        """@param more: what is told after all others."""
        self.problems = (*sorted(problems, key=lambda problem: problem.line or 0), *more)
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

    def read(self) -> Configuration:
        """
        What it says now.

        @raise ConfigurationError: it cannot be read, or is wrong.
        """
        try:
            content = contentOf(self.path, MOST_BYTES)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            if getattr(error, "errno", None) in (errno.EINVAL, errno.EFBIG):
                raise self._problem(str(why)) from error
            raise self._problem(
                f"cannot be read: {why}; check its path, and that this user may read it"
            ) from error
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = 1 + content.count(b"\n", 0, error.start)
            raise self._problem("it is not UTF-8, as TOML is; save it as that", line) from None
        return parseConfiguration(text, self.name)

    def readInTime(self) -> Configuration:
        """
        The same where no reactor turns; given up after L{MOST_SECONDS}.

        @raise ConfigurationError: as above, or it takes longer.
        """
        try:
            return within(MOST_SECONDS, self.read, TOO_LONG)
        except TookTooLong as error:
            raise self._problem(str(error)) from None

    def _problem(self, text: str, line: int | None = None) -> ConfigurationError:
        return ConfigurationError([Problem(self.name, line, "", text)])


def parseConfiguration(text: str, name: str) -> Configuration:
    """
    The configuration that a file's text describes.

    @param name: the file's, for problems.
    @raise ConfigurationError: something is wrong; it has all of that (or much of it, if it is very
        much), unless the text is no TOML: then the first thing that makes it none.
    """
    return checkedDocument(_tomlOf(text, name), name, lambda: linesOf(text))


def checkedDocument(
    document: Document, name: str, lines: Callable[[], Mapping[KeyPath, int]] = dict
) -> Configuration:
    """
    The configuration that a document describes.

    @param name: what it is called, for problems.
    @param lines: asked for where each part of it stands, if something is wrong.
    @raise ConfigurationError: something is.
    """
    try:
        return configurationOf(document)
    except WrongDocument as wrong:
        at = lines()
        problems = [Problem(name, at.get(path), written(path), why) for path, why in wrong.found]
        more = [Problem(name, None, "", text) for text in wrong.more]
    raise ConfigurationError(problems, more)


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
