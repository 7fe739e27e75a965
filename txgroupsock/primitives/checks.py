"""
Arguments, looked at where they are given: what is wrong with one, and what would be right.

What is of another kind than it has to be is a L{TypeError}, what is out of range a L{ValueError};
both name the argument.  A C{bool} is no number, whatever Python says.
"""

from __future__ import annotations

from typing import Any


def wholeNumber(name: str, value: Any, least: int | None = 0, most: int | None = None) -> int:
    """A whole number within bounds; L{None} for those that there are not."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise wrongKind(name, value, f"a whole number{_range(least, most)}")
    index: int = value.__index__()
    if (least is not None and index < least) or (most is not None and index > most):
        raise ValueError(f"{name} is {value!r}: it has to be a whole number{_range(least, most)}")
    return index


def inRange(name: str, value: float | None, least: float = 0, most: float | None = None) -> None:
    """
    A number within bounds, or L{None}.

    @raise ValueError: it is not.
    """
    if value is not None and (value < least or (most is not None and value > most)):
        raise ValueError(f"{name} is {value!r}: it has to be a number{_range(least, most)}")


def asText(name: str, value: Any, wanted: str) -> str:
    """A text, or the bytes of one, as Twisted takes them for hosts."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str):
        raise wrongKind(name, value, wanted)
    return value


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


def wrongKind(name: str, value: object, wanted: str) -> TypeError:
    """The error about an argument of another kind than it has to be."""
    shown = repr(value)
    if len(shown) > 80:
        shown = f"{shown[:77]}..."
    what = "" if value is None else f", {withArticle(type(value).__name__)}"
    return TypeError(f"{name} is {shown}{what}: it has to be {wanted}")


def withArticle(noun: str) -> str:
    """C{a Route}, C{an Environment}."""
    return f"{'an' if noun[0] in 'aeiouAEIO' else 'a'} {noun}"
