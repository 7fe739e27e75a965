"""
Arguments, looked at where they are given: what is wrong with one, and what would be right.

What is of another kind than it has to be is a L{TypeError}, what is out of range a L{ValueError};
both name the argument.  A C{bool} is no number, whatever Python says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, TypeVar

_Kind = TypeVar("_Kind")
_Item = TypeVar("_Item")


def wholeNumber(name: str, value: Any, least: int | None = 0, most: int | None = None) -> int:
    """A whole number within bounds; L{None} for those that there are not."""
    wanted = f"a whole number{_range(least, most)}"
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise _wrongKind(name, value, wanted)
    index: int = value.__index__()
    if (least is not None and index < least) or (most is not None and index > most):
        raise ValueError(f"{name} is {value!r}: it has to be {wanted}")
    return index


def portNumber(name: str, value: Any) -> int:
    """A port; 0 where the kernel is to choose one."""
    return wholeNumber(name, value, 0, 0xFFFF)


def seconds(name: str, value: Any, least: float = 0, most: float | None = None) -> float:
    """A finite time in seconds, within bounds."""
    wanted = f"a number of seconds{_range(least, most)}"
    if isinstance(value, timedelta):
        raise TypeError(f"{name} is {value!r}: it has to be {wanted}; use its total_seconds()")
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise _wrongKind(name, value, wanted)
    number = float(value)
    if not math.isfinite(number) or number < least or (most is not None and number > most):
        raise ValueError(f"{name} is {value!r}: it has to be {wanted}")
    return number


def flag(name: str, value: Any) -> bool:
    """A C{bool}, or the 0 or 1 that older code gives for one."""
    if not isinstance(value, int) or value not in (0, 1):
        raise _wrongKind(name, value, "True or False")
    return bool(value)


def asText(name: str, value: Any, wanted: str) -> str:
    """A text, or the bytes of one, as Twisted takes them for hosts."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return oneOf(name, value, str, wanted)


def oneOf(name: str, value: Any, kind: type[_Kind], wanted: str) -> _Kind:
    """Something of a class; a description of it for people."""
    if not isinstance(value, kind):
        raise _wrongKind(name, value, wanted)
    return value


def several(name: str, values: Iterable[_Item], wanted: str) -> tuple[_Item, ...]:
    """A list of something: one text is none, although its characters could be gone through."""
    if isinstance(values, str | bytes | bytearray | dict) or not isinstance(values, Iterable):
        raise _wrongKind(name, values, f"a list of {wanted}, also for a single one: [...]")
    return tuple(values)


def callable_(name: str, value: Any, wanted: str) -> Callable[..., Any]:
    """Something that can be called."""
    if not callable(value):
        raise _wrongKind(name, value, wanted)
    checked: Callable[..., Any] = value
    return checked


def needClosed(thing: object, isOpen: bool) -> None:  # noqa: FBT001 - it reads as a sentence
    """
    What holds sockets, files or timers is opened once.

    @raise RuntimeError: it is open.
    """
    if isOpen:
        raise RuntimeError(f"{thing!r} is open already: close it before it is opened again")


def _range(least: float | None, most: float | None) -> str:
    if most is not None:
        return f" from {least} to {most}"
    return "" if least is None else f" of {least} or more"


def _wrongKind(name: str, value: object, wanted: str) -> TypeError:
    shown = repr(value)
    if len(shown) > 80:
        shown = f"{shown[:77]}..."
    return TypeError(f"{name} is {shown}, a {type(value).__name__}: it has to be {wanted}")
