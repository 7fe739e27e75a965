"""
Which routes feed which, and where that goes round in a circle: as far as models tell.

What only shows while datagrams flow L{txgroupsock.relay.loops.guard} finds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

from txgroupsock.primitives import (
    AddressError,
    IPAddress,
    UnknownInterface,
    interfaceIndex,
    parseAddress,
)
from txgroupsock.primitives.sockaddr import isMulticast
from txgroupsock.relay.loops.local import reaches
from txgroupsock.relay.models.udp import InputModel, OutputModel

if TYPE_CHECKING:
    from txgroupsock.relay.engine.model import RouteModel
    from txgroupsock.relay.redundancy.model import AnyInput


def feeds(routes: Sequence[RouteModel]) -> dict[tuple[int, int], OutputModel]:
    """
    Which routes feed which, as far as can be told from here.

    @return: an output of the first route that comes in at the second, by the indices of both.
    """
    listening: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    for index, route in enumerate(routes):
        for leg in route.input.legs:
            listening[leg.port, str(leg.address)].append(index)
    feeding: dict[tuple[int, int], OutputModel] = {}
    for index, route in enumerate(routes):
        for output in route.outputs:
            for address in (output.host, "0.0.0.0", "::"):
                for other in listening.get((output.port, address), ()):
                    if isLoop(routes[other].input, output):
                        feeding[index, other] = output
    return feeding


def closingCircles(
    routes: Sequence[RouteModel], feeding: Mapping[tuple[int, int], OutputModel]
) -> list[tuple[int, int]]:
    """
    Those of L{feeds} without which nothing goes round; of routes with one input the first is fed.

    Two inputs that lead to each other by groups, a bridge in both directions, are no circle: each
    leaves alone what comes from the other (L{txgroupsock.relay.loops.local}), unless there is
    another way back.  Of the rest, they are those that lead back when one searches in depth.
    """
    first: dict[tuple[Hashable, ...], int] = {}
    nodes = [
        first.setdefault(tuple(leg.heardFrom for leg in route.input.legs), index)
        for index, route in enumerate(routes)
    ]
    leading: dict[tuple[int, int], bool] = {}  # from input to input; whether by groups only
    for (index, other), output in feeding.items():
        edge = nodes[index], nodes[other]
        leading[edge] = leading.get(edge, True) and _isToGroup(output)
    bridges = {
        (one, other)
        for (one, other), isByGroup in leading.items()
        if one != other and isByGroup and leading.get((other, one))
    }
    following: defaultdict[int, list[int]] = defaultdict(list)
    for one, other in leading:
        if (one, other) not in bridges:
            following[one].append(other)
    closing = set(_leadingBack(following))
    closing |= {each for each in bridges if reaches(following, each[1], each[0])}
    return [
        (index, other)
        for index, other in feeding
        if nodes[other] == other and (nodes[index], other) in closing
    ]


def _leadingBack(following: Mapping[int, Sequence[int]]) -> list[tuple[int, int]]:
    """The edges that lead back, searching in depth."""
    closing: list[tuple[int, int]] = []
    isOnPath: dict[int, bool] = {}  # of those that have been seen
    for start in tuple(following):
        path = [] if start in isOnPath else [(start, iter(following[start]))]
        isOnPath.setdefault(start, True)
        while path:
            index, rest = path[-1]
            for other in rest:
                if other not in isOnPath:
                    isOnPath[other] = True
                    path.append((other, iter(following.get(other, ()))))
                    break
                if isOnPath[other]:
                    closing.append((index, other))
            else:
                isOnPath[index] = False
                path.pop()
    return closing


def isLoop(incoming: AnyInput, output: OutputModel) -> bool:
    """Whether what an output sends comes in at an input, as far as can be told from here."""
    return any(_isHeard(leg, output) for leg in incoming.legs)


def _isToGroup(output: OutputModel) -> bool:
    """Whether others hear an output, too; a port of ours that is not a group's is ours alone."""
    return isMulticast(parseAddress(output.host))


def _isHeard(incoming: InputModel, output: OutputModel) -> bool:
    """The same of one leg."""
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
