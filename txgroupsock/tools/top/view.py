"""What somebody at the keyboard wants to see: in which order, which part of it, and how much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field

from txgroupsock.tools.top.snapshot import Route

ORDERS: dict[str, Callable[[Route], Any]] = {
    "rate": lambda route: (-route.bitsIn, route.name),
    "drops": lambda route: (-route.drops, -route.dropped, route.name),
    "name": lambda route: (route.name.casefold(), route.name),
    "file": lambda _: 0,  # sorting keeps what is equal as it was
}
"""Orders of routes by name; C{file} is that of the configuration."""

_LONGEST_FILTER = 200

Place = tuple[str, int]
"""A line of the list: the name of its route, and which line of that route it is."""


@define
class View:
    """
    What somebody wants to see, and what they see.

    @ivar order: one of L{ORDERS}.
    @ivar filter: what is shown has it in the name of a route, or of one of its parts.
    @ivar isTyping: whether keys go to the filter.
    @ivar unfolded: names of the routes that show their parts.
    @ivar chosen: the line that is marked; L{None}: the first, whichever that is.
    @ivar top: the line of the list that is the first on the screen.
    @ivar places: the lines of the list as they were shown last, for keys that move.
    @ivar page: how many of them the screen has room for.
    """

    order: str = "rate"
    filter: str = ""
    isTyping: bool = False
    unfolded: set[str] = field(factory=set)
    chosen: Place | None = None
    top: int = 0
    places: Sequence[Place] = ()
    page: int = 1

    def routes(self, routes: Sequence[Route]) -> list[Route]:
        """Those that are shown, in their order."""
        wanted = self.filter.casefold()
        return sorted(
            (route for route in routes if not wanted or _has(route, wanted)),
            key=ORDERS[self.order],
        )

    def press(self, key: str) -> bool:
        """
        A key was pressed.

        @param key: a character, or one of C{up}, C{down}, C{pageUp}, C{pageDown}, C{home}, C{end},
            C{enter}, C{escape} and C{backspace}; others do nothing.

        @return: whether that was the last one.
        """
        if self.isTyping:
            self._type(key)
            return False
        if key in {"q", "Q"}:
            return True
        actions: dict[str, Callable[[], None]] = {
            "/": self._startTyping,
            "escape": self._showAll,
            "enter": self._unfold,
            " ": self._unfold,
            "s": self._nextOrder,
            "r": lambda: self._orderBy("rate"),
            "d": lambda: self._orderBy("drops"),
            "n": lambda: self._orderBy("name"),
            "f": lambda: self._orderBy("file"),
            "up": lambda: self._move(-1),
            "k": lambda: self._move(-1),
            "down": lambda: self._move(1),
            "j": lambda: self._move(1),
            "pageUp": lambda: self._move(-self.page),
            "pageDown": lambda: self._move(self.page),
            "home": self._first,
            "g": self._first,
            "end": lambda: self._move(len(self.places)),
            "G": lambda: self._move(len(self.places)),
        }
        if key in actions:
            actions[key]()
        return False

    def show(self, places: Sequence[Place], page: int) -> int:
        """
        Take note of what is shown, and keep the marked line in sight.

        @param places: all lines of the list.
        @param page: how many there is room for.

        @return: which of them is marked.
        """
        self.places, self.page = places, max(page, 1)
        marked = self._marked()
        highest = max(len(places) - self.page, 0)
        self.top = min(self.top, marked, highest)
        self.top = max(self.top, marked - self.page + 1)
        return marked

    def _marked(self) -> int:
        if self.chosen is None:
            return 0
        name, number = self.chosen
        last = -1
        for position, place in enumerate(self.places):
            if place == self.chosen:
                return position
            if place[0] == name and place[1] < number:
                last = position  # its route has fewer lines now
        return max(last, 0)

    def _move(self, lines: int) -> None:
        if self.places:
            wanted = self._marked() + lines
            self.chosen = self.places[min(max(wanted, 0), len(self.places) - 1)]

    def _first(self) -> None:
        self.chosen = None

    def _unfold(self) -> None:
        if not self.places:
            return
        name, _ = self.places[self._marked()]
        self.chosen = (name, 0)
        self.unfolded ^= {name}

    def _nextOrder(self) -> None:
        names = list(ORDERS)
        self._orderBy(names[(names.index(self.order) + 1) % len(names)])

    def _orderBy(self, order: str) -> None:
        self.order = order

    def _startTyping(self) -> None:
        self.isTyping = True

    def _showAll(self) -> None:
        self.filter = ""

    def _type(self, key: str) -> None:
        if key == "enter":
            self.isTyping = False
        elif key == "escape":
            self.isTyping, self.filter = False, ""
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif len(key) == 1 and key.isprintable() and len(self.filter) < _LONGEST_FILTER:
            self.filter += key


def _has(route: Route, wanted: str) -> bool:
    return wanted in route.name.casefold() or any(
        wanted in part.name.casefold() for part in route.parts
    )
