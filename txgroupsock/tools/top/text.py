"""
Text as a terminal shows it: in cells, and without anything that a terminal would obey.

A cell is what one Latin letter takes.  East Asian characters and emoji take two, accents that
combine with the letter before take none (Unicode Standard Annex 11).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

# What has no shape of its own (controls, formats such as those that turn the direction of writing,
# halves of surrogate pairs) or none that a terminal knows (private, unassigned), and line ends.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_COMBINING = {"Mn", "Me"}


def visible(text: str) -> str:
    r"""
    The same with each character that cannot be seen written as an escape: C{"\x1b"}.

    An accent without a letter before it is one of those.  Every kind of space becomes a space.
    """
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    for character in unicodedata.normalize("NFC", text):
        category = unicodedata.category(character)
        if category in _HIDDEN or (category in _COMBINING and not shown):
            shown.append(character.encode("unicode_escape").decode("ascii"))
        else:
            shown.append(" " if category == "Zs" else character)
    return "".join(shown)


def width(text: str) -> int:
    """How many cells it takes."""
    if text.isascii():
        return len(text)
    return sum(map(_cells, text))


def cut(text: str, cells: int) -> str:
    """As much of its beginning as fits; C{~} at the end says that something is missing."""
    if width(text) <= cells:
        return text
    return f"{_head(text, cells - 1)}~" if cells > 0 else ""


def left(text: str, cells: int) -> str:
    """Exactly so many cells, with the text at the left."""
    shown = cut(text, cells)
    return shown + " " * (cells - width(shown))


def right(text: str, cells: int) -> str:
    """Exactly so many cells, with the text at the right."""
    shown = cut(text, cells)
    return " " * (cells - width(shown)) + shown


def wrapped(text: str, cells: int) -> Iterator[str]:
    """
    Lines of at most so many cells, broken between words where that can be.

    @param cells: at least 2, or a wide character would fit nowhere.
    """
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if width(joined) <= cells:
            line = joined
            continue
        if line:
            yield line
        while width(word) > cells:
            piece = _head(word, cells)
            yield piece
            word = word[len(piece) :]
        line = word
    if line:
        yield line


def _head(text: str, cells: int) -> str:
    taken = 0
    for position, character in enumerate(text):
        taken += _cells(character)
        if taken > cells:
            return text[:position]
    return text


def _cells(character: str) -> int:
    if unicodedata.category(character) in _COMBINING:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
