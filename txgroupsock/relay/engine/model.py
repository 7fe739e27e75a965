"""
What a relay is asked to do, checked: routes, each from one input to its outputs.

Nothing is opened here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, NamedTuple

from attrs import asdict, field, frozen

from txgroupsock.primitives import parseAddress
from txgroupsock.primitives.arguments import checked, typed
from txgroupsock.relay.engine.feeding import closingCircles, feeds, isLoop
from txgroupsock.relay.health.model import HealthModel
from txgroupsock.relay.models.udp import Gathering, InputModel, OutputModel, Target
from txgroupsock.relay.models.url import StreamURL, URLError
from txgroupsock.relay.recording.model import RecordingModel
from txgroupsock.relay.redundancy.model import AnyInput, Redundancy, RedundantModel

MOST_WORKERS: Final = 256
"""Processes that a relay's routes may be shared out among."""


@frozen(field_transformer=typed)
class RouteModel:
    """
    One input, and the outputs that all of it goes to.

    @ivar name: what people call it; C{""} outside a L{RelayModel}, where each has its own.
    @ivar health: how its health is looked at; L{None} if it is not.
    @ivar record: how it is recorded; L{None} if it is not.
    """

    input: AnyInput
    outputs: tuple[OutputModel, ...]
    name: str = ""
    health: HealthModel | None = None
    record: RecordingModel | None = None

    def toJSON(self) -> dict[str, Any]:
        """What L{fromJSON} takes, made of what JSON knows."""

        def plain(_: object, __: object, value: object) -> object:
            if isinstance(value, RedundantModel):
                return value.plain()
            return str(value) if isinstance(value, (IPv4Address, IPv6Address)) else value

        return asdict(self, value_serializer=plain)

    @classmethod
    def fromJSON(cls, value: Mapping[str, Any]) -> RouteModel:
        """The route that L{toJSON} gave this."""
        incoming, outgoing = value["input"], [dict(each) for each in value["outputs"]]
        for each in outgoing:
            each["source"] = each["source"] and parseAddress(each["source"])
        outputs = tuple(OutputModel(**each) for each in outgoing)
        kind = RedundantModel if "legs" in incoming else InputModel
        model = kind.fromJSON(incoming)
        health = value["health"] and HealthModel.fromJSON(value["health"])
        record = value["record"] and RecordingModel(**value["record"])
        return cls(model, outputs, value["name"], health, record)

    @classmethod
    @checked
    def of(cls, inputs: Sequence[str], outputs: Sequence[str]) -> RouteModel:
        """
        The route that URLs name.

        @param inputs: one, or several that differ in their source only.
        @raise URLError: one of them is wrong, or two do not go together.
        """
        refusals: list[Refusal] = []
        request = RouteRequest(inputs, outputs)
        draft = _Draft.of(0, request, refusals.append, lambda _: "")
        if refusals or draft is None:
            raise _firstOf(refusals)
        return draft.route


@frozen(field_transformer=typed)
class RelayModel:
    """
    The routes of one relay.

    @ivar disabled: routes that are described, but not to be run.
    @ivar workers: processes to share them out among; L{None} if that was not said.
    """

    routes: tuple[RouteModel, ...]
    disabled: tuple[RouteModel, ...] = ()
    workers: int | None = None

    @classmethod
    @checked
    def of(cls, routes: Sequence[tuple[Sequence[str], Sequence[str]] | RouteRequest]) -> RelayModel:
        """
        The relay whose routes have these URLs, inputs and outputs of each.

        @raise URLError: one of them is wrong, or they do not go together.
        """
        refusals: list[Refusal] = []
        model = cls.checked([RouteRequest(*each) for each in routes], refusals.append)
        if refusals:
            raise _firstOf(refusals)
        return model

    @classmethod
    @checked
    def checked(cls, routes: Sequence[RouteRequest], refuse: Refuse) -> RelayModel:
        """
        The relay that is asked for, without what is wrong in it.

        @param refuse: called with each thing that is wrong; if it never is, the model is whole.
        """
        taken = _refuseSameNames(routes, refuse)
        drafts = []
        for number, request in enumerate(routes):
            draft = _Draft.of(number, request, refuse, lambda it: _freeName(it.name, taken))
            if draft is not None:
                drafts.append(draft)
        running = [each for each in drafts if routes[each.number].isEnabled]
        _refuseSameOutputs(running, refuse)
        _refuseLoops(running, refuse)
        return cls(
            tuple(each.route for each in running),
            tuple(each.route for each in drafts if not routes[each.number].isEnabled),
        )


class RouteRequest(NamedTuple):
    """
    What a route is asked to be, unchecked.

    @ivar inputs: URLs, of which several differ in their source only; of an input that is made of
        several, the URLs of each leg.
    @ivar outputs: URLs.
    @ivar name: C{""} for its input's.
    @ivar redundancy: what is made of the legs; L{None} if it is one plain input.
    @ivar health: see L{RouteModel}.
    @ivar record: likewise.
    """

    inputs: Sequence[str | Sequence[str]]
    outputs: Sequence[str]
    name: str = ""
    isEnabled: bool = True
    redundancy: Redundancy | None = None
    health: HealthModel | None = None
    record: RecordingModel | None = None


@frozen
class Refusal:
    """
    One thing that is wrong in what was asked for.

    @ivar route: in which request, from 0.
    @ivar key: C{"from"}, C{"to"} or C{"name"}.
    @ivar index: which of its URLs, from 0; those of legs are counted on from one leg to the next.
    @ivar error: what is wrong, and how to mend it.
    """

    route: int
    key: str
    index: int
    error: URLError


Refuse = Callable[[Refusal], None]


@frozen
class _Draft:
    """
    What is right in a request.

    @ivar number: which request it was.
    @ivar route: it, without the outputs that are wrong.
    @ivar positions: where each of these outputs stood.
    """

    number: int
    route: RouteModel
    positions: Sequence[int] = field(eq=False)

    @classmethod
    def of(
        cls, number: int, request: RouteRequest, refuse: Refuse, nameOf: Callable[[AnyInput], str]
    ) -> _Draft | None:
        """
        @param nameOf: what to call it if it was given no name.
        @return: L{None} if it has no input.
        """
        incoming = _inputOf(number, request, refuse)
        outgoing: dict[Target, tuple[int, OutputModel]] = {}
        for index, each in enumerate(request.outputs):
            try:
                output = OutputModel.parse(each)
                if incoming is not None and isLoop(incoming, output):
                    raise URLError(
                        each,
                        "it is the input too, so everything would go round in a loop; change the "
                        "address or the port, or, for a group, give both a different interface",
                    )
                # Whatever their TTLs, two of the same would bring every datagram twice.
                if output.target in outgoing:
                    raise URLError(each, "it is there twice; leave one out")
            except URLError as error:
                refuse(Refusal(number, "to", index, error))
            else:
                outgoing[output.target] = (index, output)
        if incoming is None:
            return None
        outputs = tuple(output for _, output in outgoing.values())
        positions = [index for index, _ in outgoing.values()]
        name = request.name or nameOf(incoming)
        route = RouteModel(incoming, outputs, name, request.health, request.record)
        return cls(number, route, positions)

    def refusal(self, output: int, problem: str) -> Refusal:
        """Refuse one of its outputs."""
        error = URLError(str(self.route.outputs[output]), problem)
        return Refusal(self.number, "to", self.positions[output], error)


def _inputOf(number: int, request: RouteRequest, refuse: Refuse) -> AnyInput | None:
    """What is received, as far as it is named."""
    if request.redundancy is None:
        urls = [text for each in request.inputs for text in _listOf(each)]
        return _plainOf(number, urls, refuse)
    legs: dict[InputModel, InputModel] = {}
    isWhole, first = True, 0
    for each in request.inputs:
        ofLeg = _listOf(each)
        leg = _plainOf(number, ofLeg, refuse, first)
        if leg is None or leg.inOrder in legs:
            isWhole = False
        if leg is not None and legs.setdefault(leg.inOrder, leg) is not leg:
            problem = "there is a leg that receives just this; leave one out"
            refuse(Refusal(number, "from", first, URLError(ofLeg[0], problem)))
        first += len(ofLeg)
    if isWhole and len(legs) == 1:
        problem = f"a {request.redundancy.kind} needs two legs or more, and this is the only one"
        refuse(Refusal(number, "from", 0, URLError(_listOf(request.inputs[0])[0], problem)))
    return RedundantModel(tuple(legs.values()), request.redundancy) if legs else None


def _listOf(urls: str | Sequence[str]) -> Sequence[str]:
    return [urls] if isinstance(urls, str) else urls


def _plainOf(number: int, urls: Sequence[str], refuse: Refuse, first: int = 0) -> InputModel | None:
    """
    The input that URLs name, as far as they name one.

    @param first: the place of the first of them among all of the route.
    """
    gathering = Gathering()
    for index, text in enumerate(urls, first):
        try:
            gathering.add(StreamURL.parse(text))
        except URLError as error:
            refuse(Refusal(number, "from", index, error))
    return None if gathering.isEmpty else gathering.model


def _firstOf(refusals: Sequence[Refusal]) -> Exception:
    return refusals[0].error if refusals else ValueError("a route needs an input")


def _refuseSameNames(routes: Sequence[RouteRequest], refuse: Refuse) -> dict[str, int]:
    """@return: the names that were given, for L{_freeName}."""
    first: dict[str, int] = {}
    for number, request in enumerate(routes):
        if request.name and first.setdefault(request.name, number) != number:
            problem = f"route {first[request.name] + 1} has that name; give each its own"
            refuse(Refusal(number, "name", 0, URLError(request.name, problem)))
    return dict.fromkeys(first, 1)


def _freeName(wanted: str, taken: dict[str, int]) -> str:
    """
    The name, with a number if it is taken; it is from now on.

    @param taken: names, and the number that each got last.
    """
    name = wanted
    while name in taken:
        taken[wanted] += 1
        name = f"{wanted} ({taken[wanted]})"
    taken[name] = 1
    return name


def _refuseSameOutputs(drafts: Sequence[_Draft], refuse: Refuse) -> None:
    """Refuse to bring all of an input to one place twice, by two routes."""
    first: dict[tuple[Hashable, Target], _Draft] = {}
    for draft in drafts:
        incoming = draft.route.input
        for index, output in enumerate(draft.route.outputs):
            others = [
                (first.setdefault((leg.heardFrom, output.target), draft), leg)
                for leg in incoming.legs
            ]
            for other, leg in [each for each in others if each[0] is not draft][:1]:
                problem = f"route {other.number + 1} brings it all of {leg} already; leave one out"
                refuse(draft.refusal(index, problem))


def _refuseLoops(drafts: Sequence[_Draft], refuse: Refuse) -> None:
    """Refuse every output that closes a circle of routes, as far as can be told from here."""
    routes = [each.route for each in drafts]
    for index, other in closingCircles(routes, feeds(routes)):
        incoming = routes[other].input
        for position, output in enumerate(routes[index].outputs):
            if isLoop(incoming, output):
                problem = (
                    f"it leads back to {incoming}, from which it comes, so everything would go "
                    "round in a loop; leave one of these routes out, or change an address or a port"
                )
                refuse(drafts[index].refusal(position, problem))
