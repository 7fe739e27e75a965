"""Which routes of a relay go to which of several processes, at the start and later on."""

from __future__ import annotations

from collections import defaultdict
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


def resplit(
    routes: Sequence[RouteModel],
    there: Sequence[RouteModel],
    found: Sequence[int | None],
    workers: Sequence[int],
    count: int,
) -> list[int]:
    """
    Which of several processes is to have each route, where routes are shared out already.

    A route that goes on stays where it is.  One that is new goes where its input is received, or
    where what it feeds or is fed by is, or else to whoever has least outputs.

    @param there: the routes that run, in any order, and C{workers} who has each, from 0.
    @param found: for each route, the index of the one that goes on as it.
    @param count: how many processes there may be; all of C{workers} are less.
    @raise RuntimeError: only routes that run in different processes together could do this.
    """
    placed = [None if index is None else workers[index] for index in found]
    loads = [0] * count
    receiving: dict[InputModel, int] = {}
    for route, worker in zip(routes, placed, strict=True):
        if worker is not None:
            loads[worker] += len(route.outputs)
            receiving.setdefault(route.input.received, worker)

    def size(indices: Sequence[int]) -> int:
        return sum(len(routes[index].outputs) for index in indices if placed[index] is None)

    owners = _Owners(there, workers)
    for each in sorted(_together(routes), key=lambda each: (-size(each), each)):
        homes = [worker for index in each if (worker := placed[index]) is not None]
        new = [index for index in each if placed[index] is None]
        had = {index: owners.of(routes[index].input) for index in new}
        for index in new:
            incoming = routes[index].input.received
            worker = receiving.get(incoming, had[index])
            if worker is None:
                near = homes or [home for home in had.values() if home is not None]
                worker = min(near or range(count), key=lambda worker: (loads[worker], worker))
            placed[index] = receiving[incoming] = worker
            homes.append(worker)
            loads[worker] += len(routes[index].outputs)
    settled = [0 if worker is None else worker for worker in placed]
    _refuseDivided(routes, settled)
    _refuseExchanged(routes, settled, there, workers)
    return settled


class _Owners:
    """Who receives what now."""

    def __init__(self, routes: Sequence[RouteModel], workers: Sequence[int]) -> None:
        self._inputs: dict[InputModel, int] = {}
        self._ports: defaultdict[int, list[tuple[InputModel, int]]] = defaultdict(list)
        for route, worker in zip(routes, workers, strict=True):
            self._inputs.setdefault(route.input.received, worker)
            self._ports[route.input.port].append((route.input, worker))

    def of(self, incoming: InputModel) -> int | None:
        """Who has an input, or what has to be closed for it."""
        inTheWay = (
            worker
            for other, worker in self._ports.get(incoming.port, ())
            if _excludes(other, incoming)
        )
        return self._inputs.get(incoming.received, next(inTheWay, None))


def _excludes(one: InputModel, other: InputModel) -> bool:
    """Whether two inputs cannot be open at once, for only groups share their ports."""
    if one.port != other.port or (one.isMulticast and other.isMulticast):
        return False
    addresses = one.address, other.address
    isAny = any(each.is_unspecified for each in addresses)
    return one.address == other.address or (isAny and addresses[0].version == addresses[1].version)


def _refuseDivided(routes: Sequence[RouteModel], workers: Sequence[int]) -> None:
    """A group is received as often as one likes, but anything else by one process."""
    first: dict[InputModel, int] = {}
    for index, route in enumerate(routes):
        other = first.setdefault(route.input.received, index)
        if workers[other] != workers[index] and not route.input.isMulticast:
            raise RuntimeError(
                f"the routes {routes[other].name} and {route.name} would both receive "
                f"{route.input}, but worker {workers[other] + 1} has the one and worker "
                f"{workers[index] + 1} the other, and only one of them can; this takes effect at "
                "the next start"
            )


def _refuseExchanged(
    routes: Sequence[RouteModel],
    workers: Sequence[int],
    there: Sequence[RouteModel],
    before: Sequence[int],
) -> None:
    """A port is not given from one process to another, for it would have to be closed first."""
    open_ = {(each.input.received, worker) for each, worker in zip(there, before, strict=True)}
    kept = {(each.input.received, worker) for each, worker in zip(routes, workers, strict=True)}
    giving: defaultdict[int, list[tuple[RouteModel, int]]] = defaultdict(list)
    for route, worker in zip(there, before, strict=True):
        if (route.input.received, worker) not in kept:
            giving[route.input.port].append((route, worker))
    for route, worker in zip(routes, workers, strict=True):
        if (route.input.received, worker) in open_:
            continue
        for other, owner in giving.get(route.input.port, ()):
            if owner != worker and _excludes(other.input, route.input):
                raise RuntimeError(
                    f"{route.name} runs in worker {worker + 1} and needs port {route.input.port}, "
                    f"which worker {owner + 1} has for {other.name}; this takes effect at the next "
                    f"start, or after another change that takes the port from {other.name}"
                )


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
