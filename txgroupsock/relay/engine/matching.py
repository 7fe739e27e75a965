"""Which route goes on as which, where other routes follow those that run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from txgroupsock.relay.engine.model import RouteModel
    from txgroupsock.relay.redundancy.model import AnyInput


@frozen
class Likeness:
    """
    What of a route tells which other it can go on as.

    @ivar input: what it receives, in whatever order its sources were given; L{None} if that has
        no model.
    @ivar outputs: where it goes.
    @ivar times: its latency and how often it is refreshed; see L{InputModel}.
    @ivar health: see L{RouteModel}.
    @ivar record: see L{RouteModel}.
    """

    input: Hashable
    outputs: frozenset[Hashable]
    name: str
    times: Hashable = None
    health: Hashable = None
    record: Hashable = None

    @classmethod
    def of(
        cls,
        incoming: AnyInput | None,
        outputs: Iterable[Hashable],
        name: str,
        health: Hashable = None,
        record: Hashable = None,
    ) -> Likeness:
        """The likeness of a route of which this is known."""
        heard = None if incoming is None else incoming.inOrder
        times = None if incoming is None else incoming.times
        return cls(heard, frozenset(outputs), name, times, health, record)

    @classmethod
    def ofModel(cls, route: RouteModel) -> Likeness:
        """The likeness of a route that is described."""
        return cls.of(route.input, route.outputs, route.name, route.health, route.record)

    def isKeptBy(self, wanted: Likeness) -> bool:
        """Whether nothing needs to be opened, closed or set for this to go on as that."""
        mine = (self.input, self.outputs, self.times, self.health, self.record)
        return mine == (
            wanted.input,
            wanted.outputs,
            wanted.times,
            wanted.health,
            wanted.record,
        )


def matches(there: Sequence[Likeness], wanted: Sequence[Likeness]) -> list[int | None]:
    """
    For each route that is wanted, by index, the one that goes on as it; each does once at most.

    That is one with the same input and outputs, else with its name, else with its input.  Of
    several that are alike the first goes on as the first; so where both are shared out, and what
    goes on as another is in the same share, matching each share alone gives the same.
    """
    found: list[int | None] = [None] * len(wanted)
    left = list(range(len(there)))
    for keyOf in _KEYS:
        waiting: defaultdict[Hashable, list[int]] = defaultdict(list)
        for index in reversed(left):
            waiting[keyOf(there[index])].append(index)
        for number, each in enumerate(wanted):
            if found[number] is None and waiting.get(keyOf(each)):
                found[number] = waiting[keyOf(each)].pop()
        left = sorted(index for each in waiting.values() for index in each)
    return found


# What both have to have in common, the first that will do.
_KEYS: Sequence[Callable[[Likeness], Hashable]] = (
    lambda route: (route.input, route.outputs, route.name),
    lambda route: (route.input, route.outputs),
    lambda route: route.name,
    lambda route: route.input,
)
