"""The status of a route, made of its parts as they are now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from txgroupsock.relay.counters import Counters
from txgroupsock.relay.engine.redundantshare import RedundantShare
from txgroupsock.relay.health.stage import Health
from txgroupsock.relay.interfaces import IWarning
from txgroupsock.relay.status import EndStatus, RouteStatus
from txgroupsock.relay.turns import Work, atOnce, inPieces


def endStatus(end: Any, counters: Counters | None = None) -> EndStatus:
    """
    The status of an input, a stage or an output.

    @param end: provides IRelayInput, IRelayStage or IRelayOutput.
    @param counters: of it, at that moment; L{None} for those of now.
    """
    model = getattr(end, "model", None)
    return EndStatus(
        name=type(end).__name__ if model is None else getattr(model, "name", str(model)),
        counters=counters or end.counters.copy(),
        state=tuple(end.describe()) if hasattr(end, "describe") else (),
        warnings=tuple(end.warnings()) if IWarning.providedBy(end) else (),
        buffer=getattr(end, "buffer", None),
        redundancy=end.report() if isinstance(end, RedundantShare) else None,
    )


def routeStatus(
    incoming: Any, stages: Sequence[Any], outputs: Sequence[Any], name: str = ""
) -> RouteStatus:
    """The status of a route of these parts."""
    return atOnce(makingStatus(incoming, stages, outputs, name))


def makingStatus(
    incoming: Any, stages: Sequence[Any], outputs: Sequence[Any], name: str = ""
) -> Work[RouteStatus]:
    """The same, some parts at a time; what is counted is that of one moment."""
    parts = [(part, part.counters.copy()) for part in (incoming, *stages, *outputs)]
    health = healthOf(stages)
    ends = yield from inPieces(lambda part: endStatus(*part), parts)
    return RouteStatus.ofEnds(ends, len(stages), name, health)


def healthOf(stages: Iterable[Any]) -> dict[str, Any] | None:
    """What the first of these stages that looks at the health of a stream has found."""
    for stage in stages:
        if isinstance(stage, Health):
            return stage.status().toJSON()
    return None
