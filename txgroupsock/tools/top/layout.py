"""A relay's status, laid out for a terminal: lines of text with styles, and no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto

from attrs import field, frozen

from txgroupsock.relay.counters import bitRate, counted
from txgroupsock.tools.top.snapshot import Part, Route, Snapshot
from txgroupsock.tools.top.table import Table, short
from txgroupsock.tools.top.text import cut, left, width, wrapped
from txgroupsock.tools.top.view import Place, View

_MARGIN = 6  # cells before what belongs to an input or an output
_TALL = 12  # lines, from which on there is room for all sums
_KEYS = (
    ("q", "quit"),
    ("/", "filter"),
    ("Enter", "unfold"),
    ("s", "sort: {order}"),
    ("r d n f", "by rate, drops, name, file"),
    ("arrows", "move"),
)


class Style(Enum):
    """How a line looks."""

    PLAIN = auto()
    TITLE = auto()
    HEAD = auto()
    GOOD = auto()
    WARN = auto()
    BAD = auto()
    DIM = auto()
    MARKED = auto()


@frozen
class Line:
    """A line of the screen."""

    text: str
    style: Style = Style.PLAIN


@frozen
class Seen:
    """
    What is known of a relay.

    @ivar url: where it is.
    @ivar snapshot: the last that it said; L{None}: nothing yet.
    @ivar problem: why it says nothing now; empty if it does.
    @ivar age: seconds since it said something.
    """

    url: str
    snapshot: Snapshot | None = None
    problem: str = ""
    age: float = 0.0


@frozen
class _Entry:
    """A line of the list, not yet written."""

    place: Place
    route: Route
    part: Part | None = None
    text: str = ""
    style: Style = field(default=Style.PLAIN)


def screen(seen: Seen, view: View, cells: int, height: int) -> list[Line]:
    """
    Everything that is on the screen.

    @param view: is told what is shown.
    @param cells: the width of the screen.

    @return: C{height} lines at most, none wider than C{cells}.
    """
    head = [_title(seen)]
    if seen.problem:
        trying = f"{seen.problem} (trying again; {_duration(seen.age)} without an answer)"
        room = max(height // 2, 1) if seen.snapshot is None else 2
        head += [Line(text, Style.BAD) for text in wrapped(trying, max(cells, 2))][:room]
    body: list[Line] = []
    if seen.snapshot is not None:
        rows = 2 if height >= _TALL else 1
        head += [Line(text) for text in _flowed(_sums(seen.snapshot), cells)][:rows]
        if seen.snapshot.refusal:
            refused = f"the last change was refused: {seen.snapshot.refusal}"
            head.append(Line(refused, Style.WARN))
        table = Table.within(cells)
        head.append(Line(left(table.head(), cells), Style.HEAD))
        body = _list(seen.snapshot, view, table, cells, height - len(head) - 1)
    foot = [_foot(view, cells)]
    filling = [Line("")] * (height - len(head) - len(body) - len(foot))
    lines = [*head, *body, *filling, *foot][: max(height, 0)]
    return [Line(cut(line.text, cells), line.style) for line in lines]


def _title(seen: Seen) -> Line:
    snapshot = seen.snapshot
    if snapshot is None:
        return Line(f"groupsock-top  {seen.url}", Style.TITLE)
    word = "ready" if snapshot.isReady else "NOT READY"
    style = Style.GOOD if snapshot.isReady else Style.BAD
    if seen.problem:
        word, style = "NO ANSWER", Style.BAD
    up = _duration(snapshot.uptime)
    return Line(f"{word}  up {up}  {seen.url}  txgroupsock {snapshot.version}", style)


def _sums(snapshot: Snapshot) -> list[str]:
    routes = snapshot.routes
    notEnabled = sum(not route.isEnabled for route in routes)
    said = [
        f"{len(routes):,} route{'' if len(routes) == 1 else 's'}"
        + (f" ({notEnabled:,} disabled)" if notEnabled else ""),
        f"in {bitRate(sum(route.bitsIn for route in routes))}",
        f"out {bitRate(sum(route.bitsOut for route in routes))}",
        f"{short(sum(route.drops for route in routes))} drops/s",
        counted(sum(route.warnings for route in routes), "warning"),
    ]
    viewers = snapshot.viewers
    if viewers is not None:
        said.append(
            f"{viewers.watching:,} of {viewers.limit:,} viewers, "
            f"{counted(viewers.channels, 'channel')}, {viewers.refused:,} refused"
        )
    return said


def _flowed(words: list[str], cells: int) -> list[str]:
    """Lines of words, each of which stays whole."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 2 + len(word) <= cells:
            lines[-1] += f"  {word}"
        else:
            lines.append(word)
    return lines


def _list(snapshot: Snapshot, view: View, table: Table, cells: int, height: int) -> list[Line]:
    entries = [
        entry
        for route in view.routes(snapshot.routes)
        for entry in _entries(route, cells, isUnfolded=route.name in view.unfolded)
    ]
    marked = view.show([entry.place for entry in entries], height)
    lines = []
    for number in range(view.top, min(view.top + max(height, 0), len(entries))):
        line = _line(entries[number], view, table)
        if number == marked:
            line = Line(left(line.text, cells), Style.MARKED)
        lines.append(line)
    if not entries and height > 0:
        text = f"no route has {view.filter!r} in it" if view.filter else "there are no routes"
        lines.append(Line(text, Style.DIM))
    return lines


def _entries(route: Route, cells: int, *, isUnfolded: bool) -> Iterator[_Entry]:
    yield _Entry((route.name, 0), route)
    if not isUnfolded:
        return
    number = 0
    for part in route.parts:
        number += 1
        yield _Entry((route.name, number), route, part)
        for text, style in _words(part, route.health if part.kind == "in" else ()):
            for piece in wrapped(text, max(cells - _MARGIN, 2)):
                number += 1
                shown = " " * _MARGIN + piece
                yield _Entry((route.name, number), route, part, shown, style)


def _words(part: Part, health: tuple[str, ...] = ()) -> Iterator[tuple[str, Style]]:
    for state in part.legs or part.state:
        yield state, Style.DIM
    for figures in health:
        yield figures, Style.DIM
    if part.dropped:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in part.dropped.items())
        yield f"dropped: {reasons}", Style.WARN if part.drops else Style.DIM
    for warning in part.warnings:
        yield f"! {warning}", Style.WARN


def _line(entry: _Entry, view: View, table: Table) -> Line:
    if entry.text:
        return Line(entry.text, entry.style)
    if entry.part is not None:
        return Line(table.part(entry.part), Style.WARN if entry.part.warnings else Style.PLAIN)
    route = entry.route
    return Line(table.route(route, "-" if route.name in view.unfolded else "+"), _styleOf(route))


def _styleOf(route: Route) -> Style:
    if not route.isEnabled:
        return Style.DIM
    if route.state == "closed":
        return Style.BAD
    return Style.WARN if route.warnings or route.drops else Style.PLAIN


def _foot(view: View, cells: int) -> Line:
    if view.isTyping:
        # The end of what is being typed is what matters.
        text = f"/{view.filter}_"
        while width(text) > cells > 0:
            text = text[1:]
        return Line(text, Style.TITLE)
    said = f"filter: {view.filter}  " if view.filter else ""
    for key, what in _KEYS:
        more = f"{key} {what.format(order=view.order)}  "
        if width(said) + len(more) - 2 > cells:
            break
        said += more
    return Line(said.rstrip(), Style.DIM)


def _duration(seconds: float) -> str:
    """C{"12 s"}, C{"3:05"} or C{"2 d 04:10:00"}."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days:,} d {hour:02}:{minute:02}:{second:02}"
    if hours:
        return f"{hour}:{minute:02}:{second:02}"
    return f"{minute}:{second:02}" if minutes else f"{second} s"


# --- Without a terminal --------------------------------------------------------------------------


def plain(url: str, snapshot: Snapshot) -> list[str]:
    """All of it once, as wide as it is, for files and pipes."""
    names = [len("ROUTE"), *(width(route.name) for route in snapshot.routes)]
    table = Table(2 + max(names))
    routes = snapshot.routes
    said = [_title(Seen(url, snapshot)).text, "  ".join(_sums(snapshot))]
    if snapshot.refusal:
        said.append(f"the last change was refused: {snapshot.refusal}")
    said += ["", table.head(), *(table.route(route) for route in routes)]
    warnings = [
        f"{route.name}: {part.kind} {part.name}: {warning}"
        for route in routes
        for part in route.parts
        for warning in part.warnings
    ]
    if warnings:
        said += ["", *warnings]
    return [line.rstrip() for line in said]
