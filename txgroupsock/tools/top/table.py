"""The table of routes: which columns there is room for, and what they say."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from txgroupsock.relay.counters import bitRate
from txgroupsock.tools.top.snapshot import Part, Route
from txgroupsock.tools.top.text import left, right

NARROWEST_NAME = 12  # cells, beside the columns without which it would be no table
_COMFORTABLE_NAME = 20  # beside any others
_WIDEST_NAME = 64  # so that numbers stay near their names


@frozen
class Column:
    """
    One column of numbers.

    @ivar width: in cells.
    @ivar ofRoute: its text for a route.
    @ivar ofPart: its text for an input, a stage or an output.
    """

    title: str
    width: int
    ofRoute: Callable[[Route], str]
    ofPart: Callable[[Part], str]


_IN = Column(
    "IN", 12, lambda route: bitRate(route.bitsIn), lambda part: _if(part.kind != "out", part.bits)
)
_PACKETS = Column("PKT/S", 9, lambda route: short(route.packets), lambda part: short(part.packets))
_OUT = Column(
    "OUT", 12, lambda route: bitRate(route.bitsOut), lambda part: _if(part.kind == "out", part.bits)
)
_DROPS = Column("DROP/S", 7, lambda route: short(route.drops), lambda part: short(part.drops))
_DROPPED = Column(
    "DROPPED",
    8,
    lambda route: short(route.dropped),
    lambda part: short(sum(part.dropped.values())),
)
_STATE = Column(
    "STATE",
    8,
    lambda route: route.state,
    lambda part: f"{len(part.warnings)} warn" if part.warnings else "",
)
COLUMNS = (_IN, _PACKETS, _OUT, _DROPS, _DROPPED, _STATE)
_NEEDED = (_IN, _DROPS)
_IMPORTANCE = (*_NEEDED, _STATE, _OUT, _PACKETS, _DROPPED)


@frozen
class Table:
    """
    What a line of the table is made of.

    @ivar name: cells for the name.
    @ivar columns: that are shown.
    """

    name: int
    columns: tuple[Column, ...] = COLUMNS

    @classmethod
    def within(cls, cells: int) -> Table:
        """The table for a terminal so wide: what matters least is left out first."""
        name = cells
        chosen = []
        for column in _IMPORTANCE:
            least = NARROWEST_NAME if column in _NEEDED else _COMFORTABLE_NAME
            if name - column.width - 1 < least:
                break
            chosen.append(column)
            name -= column.width + 1
        shown = tuple(column for column in COLUMNS if column in chosen)
        return cls(max(min(name, _WIDEST_NAME), 0), shown)

    def head(self) -> str:
        """The line of titles."""
        return self._line("  ROUTE", [each.title for each in self.columns])

    def route(self, route: Route, mark: str = " ") -> str:
        """The line of a route."""
        if not route.isEnabled:
            texts = [route.state if each is _STATE else "" for each in self.columns]
        else:
            texts = [each.ofRoute(route) for each in self.columns]
        return self._line(f"{mark} {route.name}", texts)

    def part(self, part: Part) -> str:
        """The line of an input, a stage or an output."""
        return self._line(
            f"    {part.kind} {part.name}", [each.ofPart(part) for each in self.columns]
        )

    def _line(self, name: str, texts: list[str]) -> str:
        both = zip(self.columns, texts, strict=True)
        cells = [right(text, column.width) for column, text in both]
        return " ".join([left(name, self.name), *cells])


def short(number: float) -> str:
    """A count for people, in at most six letters: C{"99,999"}, C{"123k"}, C{"4.56M"}."""
    if number < 99_999.5:
        return f"{number:,.1f}" if number < 10 and number != int(number) else f"{number:,.0f}"
    for unit in ("k", "M", "G", "T", "P"):
        number /= 1000
        if number < 9.995:
            return f"{number:.2f}{unit}"
        if number < 99.95:
            return f"{number:.1f}{unit}"
        if number < 999.5:
            return f"{number:.0f}{unit}"
    return "a lot"


def _if(condition: bool, bits: float) -> str:  # noqa: FBT001 - it is what the name says
    return bitRate(bits) if condition else ""
