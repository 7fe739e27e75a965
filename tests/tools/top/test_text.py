"""Text takes the cells that a terminal gives it, and holds nothing that a terminal would obey."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from txgroupsock.tools.top.text import cut, left, right, visible, width, wrapped

ANY = st.text(st.characters(), max_size=40)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("news", "news"),
        ("日本語", "日本語"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("two\nlines\ttab\x00", r"two\nlines\ttab\x00"),
        ("\x9b31m", r"\x9b31m"),  # one character that begins a sequence, too
        ("\u202eright to left", r"\u202eright to left"),
        ("no\u00a0break", "no break"),
        ("\ud800", r"\ud800"),
        ("\u2028", r"\u2028"),
        ("e\u0301", "\u00e9"),
        ("\u0301", r"\u0301"),
    ],
)
def test_whatCannotBeSeenIsWritten(text: str, shown: str) -> None:
    """Controls, directions and halves of characters are shown as escapes."""
    assert visible(text) == shown


@given(ANY)
def test_nothingCommandsATerminal(text: str) -> None:
    """No control character is left of any text, and it can be encoded."""
    shown = visible(text)
    assert not any(unicodedata.category(each).startswith("C") for each in shown)
    shown.encode()


@given(st.text(st.characters(max_codepoint=0xFFFF, categories=["L", "N", "P", "Zs"]), max_size=20))
def test_lettersTakeWhatTerminalsGiveThem(text: str) -> None:
    """Cells are counted as wcwidth, which terminals use, counts them; it may know newer letters."""
    shown = visible(text)
    theirs = wcswidth(shown)
    if theirs >= 0 and not any(
        "\u1100" <= each <= "\u11ff" for each in shown
    ):  # joined to syllables
        assert abs(width(shown) - theirs) <= sum(not each.isascii() for each in shown)


@pytest.mark.parametrize(
    ("text", "cells"), [("abc", 3), ("日本", 4), ("a\u0323\u0307b", 2), ("🙂", 2)]
)
def test_widthsAreKnown(text: str, cells: int) -> None:
    """Letters take one cell, East Asian ones and emoji two, accents none."""
    assert width(text) == cells


@given(ANY, st.integers(0, 30))
def test_aFieldHasItsWidth(text: str, cells: int) -> None:
    """Whatever is in it, a field of so many cells has just so many, and a cut one no more."""
    shown = visible(text)
    assert width(left(shown, cells)) == width(right(shown, cells)) == cells
    assert width(cut(shown, cells)) <= cells


def test_aCutShows() -> None:
    """What has been cut ends with a sign of that; a wide letter is not cut in half."""
    assert cut("abcdef", 4) == "abc~"
    assert cut("日本語", 4) == "日~"
    assert cut("abc", 0) == ""


@given(ANY, st.integers(2, 30))
def test_wrappedLinesFit(text: str, cells: int) -> None:
    """Lines fit, and all that is no space is still there."""
    shown = visible(text)
    lines = list(wrapped(shown, cells))
    assert all(width(line) <= cells for line in lines)
    assert "".join(lines).replace(" ", "") == shown.replace(" ", "")


def test_linesBreakBetweenWords() -> None:
    """A word that fits is not torn apart."""
    assert list(wrapped("raise net.core.rmem_max now", 12)) == [
        "raise",
        "net.core.rme",
        "m_max now",
    ]
