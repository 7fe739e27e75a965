"""What the command lines of the tools have in common."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Sequence
from typing import TextIO

from twisted.python import usage

from txgroupsock._version import __version__
from txgroupsock.relay.models.quantity import BIT_RATES, Quantity
from txgroupsock.tools.console import Result, observer
from txgroupsock.tools.toolerror import ToolError

_BITS = Quantity(BIT_RATES, 100, 1e12, "")
_DATAGRAMS = Quantity({"": 1, "k": 1e3, "M": 1e6}, 0.001, 1e7, "")


class ToolOptions(usage.Options):
    """
    Options of a tool that runs in the foreground until it is done, and leaves JSON.

    Mistakes raise L{ToolError}, a line and exit status 1.

    @cvar program: the name of the tool.
    """

    program = ""

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self._given: set[str] = set()
        self["urls"] = []

    def __setitem__(self, name: str, value: object) -> None:
        # Twisted takes the last of several, and says nothing of the others.
        if isinstance(value, str) and name in self._given:
            raise usage.UsageError(f"--{name} is there twice: leave one out")
        self._given.add(name)
        super().__setitem__(name, value)

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"txgroupsock {__version__}")  # noqa: T201 - what it is for
        raise SystemExit(0)

    def parseArgs(self, *words: str) -> None:
        """Refuse what belongs to no option."""
        if words:
            raise usage.UsageError(f"{words[0]!r} belongs to no option")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Read the command line.

        @raise ToolError: it is wrong.
        """
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as error:
            hint = f"'twistd {self.program} --help' lists the options"
            raise ToolError(self.program, f"{error}; {hint}") from None

    def postOptions(self) -> None:
        """Check what was given, and make what runs of it."""
        self._checkAll()
        self._foreground()
        path = self["json"]
        self["result"] = Result(None if path in (None, "-") else os.path.abspath(path), sys.stdout)

    def _checkAll(self) -> None:
        """
        Check what was given.

        @raise usage.UsageError: something of it is wrong.
        """
        raise NotImplementedError

    def _foreground(self) -> None:
        """
        Have twistd leave the standard output to the result, and no file behind.

        What was asked of twistd itself remains: where to log to, and a file for the process id.
        """
        parent = getattr(self, "parent", None)
        if parent is None or "nodaemon" not in parent:  # as with twist, which makes no daemons
            return
        if not parent["nodaemon"]:
            if self["json"] in (None, "-"):
                raise usage.UsageError(
                    f"a daemon has nowhere to print its result: 'twistd -n {self.program} ...' "
                    "stays in the foreground, --json FILE writes it to a file"
                )
            return
        if not (parent.get("logfile") or parent.get("logger") or parent.get("syslog")):
            parent["logger"] = f"{observer.__module__}.{observer.__name__}"
        if parent.get("pidfile") == "twistd.pid":  # two tools run side by side in one folder
            parent["pidfile"] = ""

    def _count(self, name: str) -> int | None:
        text = self[name]
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,15}", text) or not int(text):
            raise usage.UsageError(f"--{name}={text}: it is a whole number, 1 or more")
        return int(text)

    def _number(self, name: str, what: str, *, isZeroed: bool = False) -> float | None:
        text = self[name]
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not (isZeroed or float(text)):
            raise usage.UsageError(f"--{name}={text}: {what}{'' if isZeroed else ', above 0'}")
        return float(text)

    def _seconds(self, name: str, *, isZeroed: bool = False) -> float | None:
        return self._number(name, "it is a number of seconds, such as 10", isZeroed=isZeroed)


def terminal() -> TextIO | None:
    """The terminal to show a line on that changes; L{None} if there is none."""
    return sys.stderr if sys.stderr is not None and sys.stderr.isatty() else None


def bitRateOf(text: str) -> float | None:
    """What C{10M} means, in bits a second; L{None} if it is none."""
    return _parsed(_BITS, text)


def datagramRateOf(text: str) -> float | None:
    """What C{1000/s} means, in datagrams a second; L{None} if it is none."""
    return _parsed(_DATAGRAMS, text[:-2]) if text.endswith("/s") else None


def _parsed(quantity: Quantity, text: str) -> float | None:
    try:
        found = quantity.parse(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
