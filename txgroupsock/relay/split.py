"""Which routes of a relay go to which of several processes."""

from __future__ import annotations

from collections.abc import Sequence

from txgroupsock.relay.circles import feeds
from txgroupsock.relay.model import InputModel
from txgroupsock.relay.plan import RouteModel


def split(routes: Sequence[RouteModel], count: int) -> list[list[int]]:
    """
    Share routes out among processes: which each has, by index, in their order.

    Routes that use the same input stay together, so that it is opened once, and so do routes
    that feed each other.  What stays together is shared out by its number of outputs, the
    largest first, each to whoever has least; the same routes are always shared out alike.

    @param count: how many processes, at most; there are fewer where there is no work for more.
    """
    shares: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    together = _together(routes)
    sizes = [sum(len(routes[index].outputs) for index in each) for each in together]
    for size, each in sorted(zip(sizes, together, strict=True), key=lambda one: (-one[0], one[1])):
        least = loads.index(min(loads))
        shares[least] += each
        loads[least] += size
    return sorted(sorted(each) for each in shares if each)


def _together(routes: Sequence[RouteModel]) -> list[list[int]]:
    """The routes that have to stay together, by index: connected components, in their order."""
    leaders = list(range(len(routes)))  # of each route, one that it is together with, or itself

    def leader(index: int) -> int:
        while leaders[index] != index:
            leaders[index] = index = leaders[leaders[index]]
        return index

    pairs = list(feeds(routes))
    users: dict[InputModel, int] = {}
    for index, route in enumerate(routes):
        pairs.append((users.setdefault(route.input.received, index), index))
    for one, other in pairs:
        low, high = sorted((leader(one), leader(other)))
        leaders[high] = low
    found: dict[int, list[int]] = {}
    for index in range(len(routes)):
        found.setdefault(leader(index), []).append(index)
    return list(found.values())
