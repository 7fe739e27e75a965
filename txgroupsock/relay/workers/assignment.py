"""What each worker has of a relay's routes, and what becomes of that when other routes follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from attrs import frozen

from txgroupsock.relay.counters import Counters
from txgroupsock.relay.engine.matching import Likeness, matches
from txgroupsock.relay.engine.model import RouteModel
from txgroupsock.relay.health.stage import Health
from txgroupsock.relay.status import EndStatus, Outcome, RouteStatus
from txgroupsock.relay.workers.split import resplit, split


@frozen
class Share:
    """
    What one worker has.

    @ivar routes: in the order of the relay.
    @ivar places: where each of them stands among all routes of the relay.
    """

    routes: tuple[RouteModel, ...] = ()
    places: tuple[int, ...] = ()

    def carry(self, counted: Sequence[RouteStatus], wanted: Share) -> list[RouteStatus]:
        """
        What routes have counted, given to those that go on as them; the others begin with nothing.

        @param counted: for each of these routes.
        @return: for each of those that are wanted, closed.
        """
        carried = []
        for model, index in zip(wanted.routes, _found(self.routes, wanted.routes), strict=True):
            name, counters = model.input.name, [Counters() for _ in model.outputs]
            incoming, passed = EndStatus(name, Counters()), {}
            if index is not None:
                before = counted[index]
                had = dict(zip(self.routes[index].outputs, before.outputs, strict=True))
                incoming = EndStatus(name, before.input.counters)
                passed = {each.name: each.counters for each in before.stages}
                counters = [
                    had[each].counters if each in had else Counters() for each in model.outputs
                ]
            outgoing = zip(model.outputs, counters, strict=True)
            ends = tuple(EndStatus(str(each), count) for each, count in outgoing)
            names = [] if model.health is None else [Health.__name__]
            names += [] if model.record is None else [model.record.partName]
            stages = tuple(EndStatus(each, passed.get(each, Counters())) for each in names)
            carried.append(RouteStatus(incoming, stages, ends, model.name))
        return carried


def shareOut(routes: Sequence[RouteModel], count: int) -> list[Share]:
    """The shares of so many workers, at most, that begin."""
    return [
        Share(tuple(routes[index] for index in each), tuple(each)) for each in split(routes, count)
    ]


@frozen
class Resharing:
    """
    Other routes for workers that run.

    @ivar shares: of each worker; there may be more workers than there were.
    @ivar outcome: what becomes of the routes.
    """

    shares: tuple[Share, ...]
    outcome: Outcome

    @classmethod
    def of(cls, shares: Sequence[Share], wanted: Sequence[RouteModel], count: int) -> Resharing:
        """
        Share out other routes; none that goes on goes to another worker.

        @param shares: what the workers have.
        @param count: how many workers there may be.
        @raise RuntimeError: it cannot be done with these workers.
        """
        had = {
            place: (number, route)
            for number, share in enumerate(shares)
            for place, route in zip(share.places, share.routes, strict=True)
        }
        inOrder = [had[place] for place in sorted(had)]
        there = [route for _, route in inOrder]
        found = _found(there, wanted)
        workers = resplit(wanted, there, found, [number for number, _ in inOrder], count)
        places: list[list[int]] = [[] for _ in range(max([len(shares) - 1, *workers]) + 1)]
        for place, number in enumerate(workers):
            places[number].append(place)
        made = (Share(tuple(wanted[place] for place in each), tuple(each)) for each in places)
        return cls(tuple(made), _outcomeOf(there, wanted, found))


def _found(there: Sequence[RouteModel], wanted: Sequence[RouteModel]) -> list[int | None]:
    return matches([Likeness.ofModel(e) for e in there], [Likeness.ofModel(e) for e in wanted])


def _outcomeOf(
    there: Sequence[RouteModel], wanted: Sequence[RouteModel], found: Sequence[int | None]
) -> Outcome:
    names: defaultdict[str, list[str]] = defaultdict(list)
    for route, index in zip(wanted, found, strict=True):
        if index is None:
            kind = "opened"
        else:
            isKept = Likeness.ofModel(there[index]).isKeptBy(Likeness.ofModel(route))
            kind = "unchanged" if isKept else "changed"
        names[kind].append(route.name)
    goingOn = set(found)
    names["closed"] = [each.name for index, each in enumerate(there) if index not in goingOn]
    return Outcome(**{kind: tuple(each) for kind, each in names.items()})
