"""Which routes of a relay go to which of several processes, at the start and later on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from txgroupsock.relay.engine.feeding import feeds
from txgroupsock.relay.engine.model import RouteModel
from txgroupsock.relay.models.udp import InputModel


def split(routes: Sequence[RouteModel], count: int) -> list[list[int]]:
    """
    Share routes out among processes: which each has, by index, in their order.

    Routes that use the same input stay together, so that it is opened once, even if that is only
    one leg of theirs, and so do routes that feed each other.  What stays together is shared out by
    its number of outputs, the largest first, each to whoever has least; the same routes are always
    shared out alike.

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
            for leg in _legsOf(route):
                receiving.setdefault(leg.received, worker)

    def size(indices: Sequence[int]) -> int:
        return sum(len(routes[index].outputs) for index in indices if placed[index] is None)

    owners = _Owners(there, workers)
    for each in sorted(_together(routes), key=lambda each: (-size(each), each)):
        homes = [worker for index in each if (worker := placed[index]) is not None]
        new = [index for index in each if placed[index] is None]
        had = {index: owners.of(routes[index]) for index in new}
        for index in new:
            legs = [leg.received for leg in _legsOf(routes[index])]
            receivers = [receiving.get(leg, owners.ofOne(leg)) for leg in legs]
            worker = next((each for each in receivers if each is not None), None)
            if worker is None:
                near = homes or [home for home in had.values() if home is not None]
                worker = min(near or range(count), key=lambda worker: (loads[worker], worker))
            placed[index] = worker
            for leg in legs:
                receiving.setdefault(leg, worker)
            homes.append(worker)
            loads[worker] += len(routes[index].outputs)
    settled = [0 if worker is None else worker for worker in placed]
    _refuseDivided(routes, settled)
    _refuseParted(routes, settled)
    _refuseExchanged(routes, settled, there, workers)
    return settled


class _Owners:
    """Who receives what now."""

    def __init__(self, routes: Sequence[RouteModel], workers: Sequence[int]) -> None:
        self._inputs: dict[InputModel, int] = {}
        self._ports: defaultdict[int, list[tuple[InputModel, int]]] = defaultdict(list)
        for route, worker in zip(routes, workers, strict=True):
            for leg in route.input.legs:
                self._inputs.setdefault(leg.received, worker)
                self._ports[leg.port].append((leg, worker))

    def of(self, route: RouteModel) -> int | None:
        """Who has an input of a route, or what has to be closed for it."""
        owners = [self.ofOne(leg) for leg in _legsOf(route)]
        return next((each for each in owners if each is not None), None)

    def ofOne(self, incoming: InputModel) -> int | None:
        """The same of one leg."""
        inTheWay = (
            worker
            for other, worker in self._ports.get(incoming.port, ())
            if _excludes(other, incoming)
        )
        return self._inputs.get(incoming.received, next(inTheWay, None))


def _legsOf(route: RouteModel) -> list[InputModel]:
    """What a route receives, first what only one process can."""
    return sorted(route.input.legs, key=lambda leg: leg.isMulticast)


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
        for leg in route.input.legs:
            other = first.setdefault(leg.received, index)
            if workers[other] != workers[index] and not leg.isMulticast:
                raise RuntimeError(
                    f"the routes {routes[other].name} and {route.name} would both receive "
                    f"{leg}, but worker {workers[other] + 1} has the one and worker "
                    f"{workers[index] + 1} the other, and only one of them can; this takes effect "
                    "at the next start"
                )


def _refuseParted(routes: Sequence[RouteModel], workers: Sequence[int]) -> None:
    """A bridge in both directions has one process, which knows what it has sent itself."""
    feeding = feeds(routes)
    for one, other in feeding:
        if workers[one] != workers[other] and (other, one) in feeding:
            raise RuntimeError(
                f"the routes {routes[one].name} and {routes[other].name} would feed each other, "
                f"but run in the workers {workers[one] + 1} and {workers[other] + 1}, and only "
                "one that has both can tell their datagrams apart; this takes effect at the next "
                "start"
            )


def _refuseExchanged(
    routes: Sequence[RouteModel],
    workers: Sequence[int],
    there: Sequence[RouteModel],
    before: Sequence[int],
) -> None:
    """A port is not given from one process to another, for it would have to be closed first."""
    open_, kept = _received(there, before), _received(routes, workers)
    giving: defaultdict[int, list[tuple[RouteModel, InputModel, int]]] = defaultdict(list)
    for route, worker in zip(there, before, strict=True):
        for leg in route.input.legs:
            if (leg.received, worker) not in kept:
                giving[leg.port].append((route, leg, worker))
    for route, worker in zip(routes, workers, strict=True):
        for leg in route.input.legs:
            if (leg.received, worker) in open_:
                continue
            for other, given, owner in giving.get(leg.port, ()):
                if owner != worker and _excludes(given, leg):
                    raise RuntimeError(
                        f"{route.name} runs in worker {worker + 1} and needs port {leg.port}, "
                        f"which worker {owner + 1} has for {other.name}; this takes effect at the "
                        f"next start, or after another change that takes the port from {other.name}"
                    )


def _received(routes: Sequence[RouteModel], workers: Sequence[int]) -> set[tuple[InputModel, int]]:
    """What is received, and in which process."""
    return {
        (leg.received, worker)
        for route, worker in zip(routes, workers, strict=True)
        for leg in route.input.legs
    }


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
        pairs += [(users.setdefault(leg.received, index), index) for leg in route.input.legs]
    for one, other in pairs:
        low, high = sorted((leader(one), leader(other)))
        leaders[high] = low
    found: dict[int, list[int]] = {}
    for index in range(len(routes)):
        found.setdefault(leader(index), []).append(index)
    return list(found.values())
