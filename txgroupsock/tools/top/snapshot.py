"""The status document of docs/api.md as values, checked, with texts that are safe to show."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from txgroupsock.tools.top.health import healthWords
from txgroupsock.tools.top.text import visible


@frozen
class Part:
    """
    An input, a stage or an output.

    @ivar kind: C{"in"}, C{"via"} or C{"out"}.
    @ivar bits: of payload, a second.
    @ivar packets: datagrams a second.
    @ivar drops: datagrams lost a second.
    @ivar dropped: datagrams lost since the start, by reason.
    @ivar legs: of an input that is made of several, a line for each.
    """

    kind: str
    name: str
    state: tuple[str, ...]
    warnings: tuple[str, ...]
    bits: float
    packets: float
    drops: float
    dropped: Mapping[str, int]
    legs: tuple[str, ...] = ()


@frozen
class Route:
    """
    A route, with the sums that its line shows.

    @ivar parts: input, stages and outputs; a route that is not enabled may have none.
    @ivar health: figures of its health, in words.
    """

    name: str
    isEnabled: bool
    parts: tuple[Part, ...]
    bitsIn: float
    bitsOut: float
    packets: float
    drops: float
    dropped: int
    warnings: int
    health: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, name: str, parts: tuple[Part, ...], *, isEnabled: bool, health: tuple[str, ...] = ()
    ) -> Route:
        """The sums are made once, for they are sorted and shown many times."""
        return cls(
            name=name,
            isEnabled=isEnabled,
            parts=parts,
            bitsIn=sum(part.bits for part in parts if part.kind == "in"),
            bitsOut=sum(part.bits for part in parts if part.kind == "out"),
            packets=sum(part.packets for part in parts if part.kind == "in"),
            drops=sum(part.drops for part in parts),
            dropped=sum(sum(part.dropped.values()) for part in parts),
            warnings=sum(len(part.warnings) for part in parts),
            health=health,
        )

    @property
    def state(self) -> str:
        """In a word."""
        if not self.isEnabled:
            return "disabled"
        if not any(part.state for part in self.parts if part.kind == "in"):
            return "closed"
        return f"{self.warnings} warn" if self.warnings else "open"


@frozen
class Viewers:
    """
    Viewers of the relay.

    @ivar refused: requests and connections that got no stream.
    """

    watching: int
    limit: int
    channels: int
    refused: int


@frozen
class Snapshot:
    """
    A relay at one moment.

    @ivar uptime: in seconds.
    @ivar refusal: why the last reload or change was not taken over; empty if it was.
    @ivar viewers: L{None} if it serves none.
    """

    version: str
    uptime: float
    isReady: bool
    refusal: str
    routes: tuple[Route, ...]
    viewers: Viewers | None

    @classmethod
    def parse(cls, data: bytes) -> Snapshot:
        """
        Read what C{/api/status} answered.

        @raise ValueError: it is no status.
        """
        try:
            return cls.of(json.loads(data))
        except (
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise ValueError("that is not what a relay answers") from error

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Snapshot:
        """@raise Exception: of many kinds, if it is no status; L{parse} has only one."""
        change, viewers = document["change"], document["viewers"]
        isRefused = change is not None and not change["isDone"]
        return cls(
            version=visible(document["version"]),
            uptime=_number(document["uptime"]),
            isReady=bool(document["isReady"]),
            refusal=visible(change["text"]) if isRefused else "",
            routes=tuple(_routeOf(each) for each in _listOf(document["routes"])),
            viewers=None if viewers is None else _viewersOf(viewers),
        )


def _routeOf(route: Mapping[str, Any]) -> Route:
    name = visible(route["name"])
    if not route["isEnabled"]:
        return Route.of(name, (), isEnabled=False)
    stages = [_partOf("via", each) for each in _listOf(route["stages"])]
    outputs = [_partOf("out", each) for each in _listOf(route["outputs"])]
    parts = (_partOf("in", route["input"]), *stages, *outputs)
    return Route.of(name, parts, isEnabled=True, health=healthWords(route.get("health")))


def _partOf(kind: str, part: Mapping[str, Any]) -> Part:
    rate = part["rate"]
    return Part(
        kind=kind,
        name=visible(part["name"]),
        state=tuple(visible(each) for each in _listOf(part["state"])),
        warnings=tuple(visible(each) for each in _listOf(part["warnings"])),
        bits=_number(rate["bits"]),
        packets=_number(rate["datagrams"]),
        drops=_number(rate["dropped"]),
        dropped={visible(reason): _count(count) for reason, count in part["dropped"].items()},
        legs=_legsOf(part.get("redundancy")),
    )


def _legsOf(redundancy: Mapping[str, Any] | None) -> tuple[str, ...]:
    if redundancy is None:
        return ()
    return tuple(
        f"leg {number}{_isActive(leg)}: {', '.join(_figuresOf(leg))}; {visible(leg['name'])}"
        for number, leg in enumerate(_listOf(redundancy["legs"]), 1)
    )


def _isActive(leg: Mapping[str, Any]) -> str:
    return "" if leg["isActive"] is None else ", given on" if leg["isActive"] else ", standing by"


def _figuresOf(leg: Mapping[str, Any]) -> Iterator[str]:
    if not _listOf(leg["state"]):
        yield "closed"
    elif leg["silence"] is None:
        yield "not heard yet"
    elif leg["isSilent"]:
        yield f"silent for {_count(leg['silence']):,} s"
    yield f"{_count(leg['datagrams']):,} received"
    yield f"{_count(leg['used']):,} used"
    if leg["lost"] is not None:
        yield f"{_count(leg['lost']):,} lost, {_count(leg['late']):,} late"
    if dropped := sum(map(_count, leg["dropped"].values())):
        yield f"{dropped:,} dropped"
    if leg["lossRate"] is not None:
        yield f"loses {100 * _number(leg['lossRate']):.1f} %"
    if leg["skew"] is not None:
        yield f"up to {1000 * _number(leg['skew']['most']):.1f} ms behind"


def _viewersOf(viewers: Mapping[str, Any]) -> Viewers:
    return Viewers(
        watching=_count(viewers["watching"]),
        limit=_count(viewers["limits"]["viewers"]),
        channels=len(_listOf(viewers["channels"])),
        refused=sum(map(_count, viewers["refused"].values())),
    )


def _listOf(value: object) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("no number")
    return float(value)


def _count(value: object) -> int:
    return int(_number(value))
