"""
What a relay is asked to do, checked: routes, each from one input to its outputs.

Nothing is opened here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from attrs import asdict, frozen

from txgroupsock.primitives import (
    AddressError,
    IPAddress,
    UnknownInterface,
    interfaceIndex,
    parseAddress,
)
from txgroupsock.relay.model import InputModel, OutputModel
from txgroupsock.relay.url import StreamURL, URLError


@frozen
class RouteModel:
    """One input, and the outputs that all of it goes to."""

    input: InputModel
    outputs: tuple[OutputModel, ...]

    def toJSON(self) -> dict[str, Any]:
        """What L{fromJSON} takes, made of what JSON knows."""

        def plain(_: object, __: object, value: object) -> object:
            return str(value) if isinstance(value, (IPv4Address, IPv6Address)) else value

        return asdict(self, value_serializer=plain)

    @classmethod
    def fromJSON(cls, value: Mapping[str, Any]) -> RouteModel:
        """The route that L{toJSON} gave this."""
        incoming, outgoing = dict(value["input"]), [dict(each) for each in value["outputs"]]
        incoming["address"] = parseAddress(incoming["address"])
        incoming["sources"] = tuple(parseAddress(each) for each in incoming["sources"])
        for each in outgoing:
            each["source"] = each["source"] and parseAddress(each["source"])
        return cls(InputModel(**incoming), tuple(OutputModel(**each) for each in outgoing))

    @classmethod
    def of(cls, inputs: Sequence[str], outputs: Sequence[str]) -> RouteModel:
        """
        The route that URLs name.

        @param inputs: one, or several that differ in their source only.
        @raise URLError: one of them is wrong, or two do not go together.
        """
        incoming = InputModel.of([StreamURL.parse(each) for each in inputs])
        outgoing: list[OutputModel] = []
        for each in outputs:
            output = OutputModel.parse(each)
            if _isLoop(incoming, output):
                raise URLError(
                    each,
                    "it is the input too, so everything would go round in a loop; change the "
                    "address or the port, or, for a group, give both a different interface",
                )
            # Whatever their TTLs, two of the same would bring every datagram twice.
            if any(output.target == other.target for other in outgoing):
                raise URLError(each, "it is there twice; leave one out")
            outgoing.append(output)
        return cls(incoming, tuple(outgoing))


@frozen
class RelayModel:
    """The routes of one relay."""

    routes: tuple[RouteModel, ...]

    @classmethod
    def of(cls, routes: Sequence[tuple[Sequence[str], Sequence[str]]]) -> RelayModel:
        """
        The relay whose routes have these URLs, inputs and outputs of each.

        @raise URLError: one of them is wrong, or they do not go together.
        """
        made = tuple(RouteModel.of(inputs, outputs) for inputs, outputs in routes)
        _refuseLoops(made)
        return cls(made)


def _refuseLoops(routes: Sequence[RouteModel]) -> None:
    """
    Refuse routes that feed each other in a circle, as far as can be told from here.

    @raise URLError: they do; it names the output that closes the circle.
    """
    feeding = feeds(routes)
    order: TopologicalSorter[int] = TopologicalSorter()
    for index, other in feeding:
        order.add(other, index)
    try:
        order.prepare()
    except CycleError as error:
        *_, last, first = error.args[1]
        raise URLError(
            str(feeding[last, first]),
            f"it leads back to {routes[first].input}, from which it comes, so everything would "
            "go round in a loop; leave one of these routes out, or change an address or a port",
        ) from None


def feeds(routes: Sequence[RouteModel]) -> dict[tuple[int, int], OutputModel]:
    """
    Which routes feed which, as far as can be told from here.

    @return: an output of the first route that comes in at the second, by the indices of both.
    """
    listening: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    for index, route in enumerate(routes):
        listening[route.input.port, str(route.input.address)].append(index)
    feeding: dict[tuple[int, int], OutputModel] = {}
    for index, route in enumerate(routes):
        for output in route.outputs:
            for address in (output.host, "0.0.0.0", "::"):
                for other in listening.get((output.port, address), ()):
                    if _isLoop(routes[other].input, output):
                        feeding[index, other] = output
    return feeding


def _isLoop(incoming: InputModel, output: OutputModel) -> bool:
    """Whether what an output sends comes in at an input, as far as can be told from here."""
    if output.port != incoming.port:
        return False
    try:
        address = parseAddress(output.host)
    except AddressError:
        return False
    if address.version != incoming.address.version:
        return False
    if incoming.address.is_unspecified:
        return address.is_loopback or _isOurs(address)
    if address != incoming.address or _areApart(incoming.interface, output.interface):
        return False
    # A group that is heard from other hosts only does not hear this one.
    return not incoming.sources or output.source is None or output.source in incoming.sources


def _isOurs(address: IPAddress) -> bool:
    try:
        return bool(interfaceIndex(address))
    except UnknownInterface:
        return False


def _areApart(one: str, other: str) -> bool:
    """Whether these are two interfaces: a group may well be taken from one link to another."""
    if not one or not other:
        return False
    try:
        return interfaceIndex(one) != interfaceIndex(other)
    except UnknownInterface:
        return one != other  # opening it will say which one is unknown
