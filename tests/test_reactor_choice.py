"""Tests run on the reactor that was asked for; otherwise test_reactors.py would prove nothing."""

from __future__ import annotations

import asyncio
from typing import Any

# The reactor's class, and the package that its event loop is from if it has one.
CHOICES = {
    "epoll": ("EPollReactor", None),
    "poll": ("PollReactor", None),
    "select": ("SelectReactor", None),
    "asyncio": ("AsyncioSelectorReactor", "asyncio"),
    "uvloop": ("AsyncioSelectorReactor", "uvloop"),
}


def test_theReactorIsTheOneAskedFor(reactor: Any, reactorName: str) -> None:
    """The reactor that runs this test is the chosen one, on the chosen event loop."""
    try:
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    except RuntimeError:
        loop = None
    assert (type(reactor).__name__, loop) == CHOICES[reactorName]
