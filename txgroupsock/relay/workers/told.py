"""What one worker process has said of its routes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from txgroupsock.relay.counters import Counters
from txgroupsock.relay.status import RouteStatus


class Told:
    """What its routes are, and what they have counted, which it says more often."""

    def __init__(self) -> None:
        self._routes: list[RouteStatus] | None = None
        self._newer: list[Counters] | None = None  # of all parts, in their order

    def report(self, routes: list[RouteStatus]) -> None:
        """It has said what its routes are."""
        self._routes, self._newer = routes, None

    def count(self, counters: list[Counters]) -> None:
        """
        It has said what they have counted, in one list, in the order of C{RouteStatus.ends}.

        @raise ValueError: these are counters of other routes.
        """
        if self._routes is not None:
            if len(counters) != sum(route.size for route in self._routes):
                raise ValueError("counters of other routes")
            self._newer = counters

    def routes(self) -> list[RouteStatus] | None:
        """The newest of both; L{None} before it has said anything."""
        if self._routes is not None and self._newer is not None:
            counters, self._newer = iter(self._newer), None
            self._routes = [
                route.counted([next(counters) for _ in range(route.size)]) for route in self._routes
            ]
        return self._routes

    def counters(
        self, before: Sequence[RouteStatus] | None, places: Sequence[int]
    ) -> Iterator[tuple[int, str, list[Counters]]]:
        """
        Of each route: its place, its name, and what its parts have counted, in their order.

        One after the other: to make L{routes} of all takes longer than a stream should have to
        wait.

        @param before: what earlier processes have counted, if there were any.
        """
        now, newer = self._routes, self._newer
        routes = now or before or []
        firsts = accumulate((route.size for route in routes), initial=0)
        for place, index, first in sorted(zip(places, range(len(routes)), firsts, strict=False)):
            route = routes[index]
            counters = [end.counters for end in route.ends]
            if newer is not None:
                counters = newer[first : first + route.size]
            if now is not None and before is not None:
                both = zip(counters, before[index].ends, strict=True)
                counters = [one.plus(other.counters) for one, other in both]
            yield place, route.name, counters
