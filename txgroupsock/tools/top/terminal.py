"""The terminal: what L{layout<txgroupsock.tools.top.layout>} says on it, and its keys."""

from __future__ import annotations

import curses
import locale
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from txgroupsock.tools.top.layout import Line, Style, screen
from txgroupsock.tools.top.view import View
from txgroupsock.tools.top.watcher import Watcher

_TICK = 100  # ms between looks at what is new, while no key is pressed
_ENDINGS = ("SIGTERM", "SIGHUP", "SIGQUIT")
_NAMES = {
    curses.KEY_UP: "up",
    curses.KEY_DOWN: "down",
    curses.KEY_PPAGE: "pageUp",
    curses.KEY_NPAGE: "pageDown",
    curses.KEY_HOME: "home",
    curses.KEY_END: "end",
    curses.KEY_ENTER: "enter",
    curses.KEY_BACKSPACE: "backspace",
    "\n": "enter",
    "\r": "enter",
    "\x1b": "escape",
    "\x7f": "backspace",
    "\b": "backspace",
}
_COLOURS = {
    Style.GOOD: curses.COLOR_GREEN,
    Style.WARN: curses.COLOR_YELLOW,
    Style.BAD: curses.COLOR_RED,
}
_WITHOUT = {
    Style.TITLE: curses.A_BOLD,
    Style.HEAD: curses.A_UNDERLINE,
    Style.GOOD: curses.A_BOLD,
    Style.WARN: curses.A_BOLD,
    Style.BAD: curses.A_BOLD,
    Style.DIM: curses.A_DIM,
    Style.MARKED: curses.A_REVERSE,
}


class NoTerminal(Exception):
    """This is no terminal that could show anything; the text says why."""


def run(watcher: Watcher, environment: Any = os.environ) -> None:
    """
    Show what a watcher sees until somebody has seen enough.

    @raise NoTerminal: it cannot be shown here.
    @raise SystemExit: a signal asked it to end.
    """
    locale.setlocale(locale.LC_ALL, "")
    with _signals(), _screen() as window:
        watcher.start()
        try:
            _loop(window, watcher, _styles(environment))
        finally:
            watcher.stop()


def _loop(window: Any, watcher: Watcher, styles: dict[Style, int]) -> None:
    view = View()
    drawn = 0.0
    failed = 0
    while True:
        if watcher.changed.is_set() or time.monotonic() - drawn > 1:
            watcher.changed.clear()
            drawn = time.monotonic()
            height, cells = window.getmaxyx()
            _draw(window, screen(watcher.seen(), view, cells, height), styles)
        before = time.monotonic()
        try:
            pressed = window.get_wch()
        except curses.error:  # no key
            # A terminal that is gone says so at once, again and again.
            failed = failed + 1 if time.monotonic() - before < _TICK / 2000 else 0
            if failed > 20:
                return
            continue
        failed, drawn = 0, 0.0
        if pressed == curses.KEY_RESIZE:
            curses.update_lines_cols()
            window.clear()
        elif view.press(_NAMES.get(pressed, pressed if isinstance(pressed, str) else "")):
            return


def _draw(window: Any, lines: list[Line], styles: dict[Style, int]) -> None:
    window.erase()
    charset = locale.nl_langinfo(locale.CODESET)
    for number, line in enumerate(lines):
        # What the terminal's character set does not have becomes a question mark.
        text = line.text.encode(charset, "replace").decode(charset, "replace")
        try:
            window.addstr(number, 0, text, styles.get(line.style, 0))
        except curses.error:
            # The cursor has nowhere to go after the last cell; or the window has shrunk meanwhile.
            continue
    window.refresh()


def _styles(environment: Any) -> dict[Style, int]:
    styles = dict(_WITHOUT)
    if curses.has_colors() and not environment.get("NO_COLOR"):  # https://no-color.org
        curses.start_color()
        curses.use_default_colors()
        for number, (style, colour) in enumerate(_COLOURS.items(), 1):
            curses.init_pair(number, colour, -1)
            bold = curses.A_BOLD if style is Style.BAD else 0
            styles[style] = curses.color_pair(number) | bold
    return styles


@contextmanager
def _screen() -> Iterator[Any]:
    """The window; afterwards the terminal is as it was, whatever happened."""
    try:
        # Unlike initscr(), which ends the program, this says what it lacks.
        curses.setupterm()
        os.environ.setdefault("ESCDELAY", "25")  # ms; half the default second is for slow lines
        window = curses.initscr()
    except curses.error as error:
        raise NoTerminal(f"TERM={os.environ.get('TERM', '')}: {error}") from None
    try:
        curses.noecho()
        curses.cbreak()
        window.keypad(True)
        window.timeout(_TICK)
        try:
            curses.curs_set(0)
        except curses.error:  # this terminal cannot hide it
            pass
        yield window
    finally:
        curses.endwin()


@contextmanager
def _signals() -> Iterator[None]:
    """Signals that end programs end this one in order, so that the terminal is restored."""

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + number)  # as a shell has it

    numbers = [getattr(signal, name) for name in _ENDINGS]
    before = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
