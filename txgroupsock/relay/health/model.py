"""How the health of a route is to be looked at, checked; nothing is opened here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import asdict, field, frozen

from txgroupsock.primitives.arguments import typed
from txgroupsock.relay.health.thresholds import Thresholds


@frozen(field_transformer=typed)
class HookModel:
    """
    Whom to tell of alarms.

    @ivar command: a program and its arguments; empty for none.
    @ivar url: what to post to; C{""} for nothing.
    """

    command: tuple[str, ...] = field(default=(), repr=False)  # there may be tokens in it
    url: str = field(default="", repr=False)


@frozen(field_transformer=typed)
class HealthModel:
    """
    A stage that looks at the health of a route.

    @ivar thresholds: from when on there is an alarm.
    @ivar rtp: whether to look for RTP.
    @ivar ts: whether to look for a transport stream.
    @ivar clockRates: payload types and Hz, where RFC 3551 has no other.
    """

    thresholds: Thresholds = field(factory=Thresholds)
    rtp: bool = True
    ts: bool = True
    clockRates: tuple[tuple[int, int], ...] = ()
    hooks: HookModel = field(factory=HookModel)

    @classmethod
    def fromJSON(cls, value: Mapping[str, Any]) -> HealthModel:
        """The model that C{attrs.asdict}, and then JSON, made this of."""
        hooks = value["hooks"]
        return cls(
            Thresholds(**value["thresholds"]),
            value["rtp"],
            value["ts"],
            tuple((kind, rate) for kind, rate in value["clockRates"]),
            HookModel(tuple(hooks["command"]), hooks["url"]),
        )

    def toJSON(self) -> dict[str, Any]:
        """What L{fromJSON} takes, made of what JSON knows."""
        return asdict(self)
