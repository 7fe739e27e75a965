"""How the health of a route is to be looked at, checked; nothing is opened here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from attrs import asdict, field, frozen

from txgroupsock.primitives.arguments import typed
from txgroupsock.relay.health.clockrates import checkRates
from txgroupsock.relay.health.thresholds import Thresholds


def checkCommand(name: str, command: Sequence[str]) -> None:
    """
    A program, found by C{PATH} if that is no path, and its arguments.

    @raise ValueError: it is not; nothing of it is told, for there may be tokens in it.
    """
    if not command or not command[0].strip() or "\0" in "".join(command):
        raise ValueError(
            f"{name} has to be a list of a program and its arguments, the first not empty"
        )


def checkURL(name: str, url: str) -> None:
    """
    What can be posted to.

    @raise ValueError: it is not; nothing of it is told, for there may be tokens in it.
    """
    try:
        parts = urlsplit(url)
        isGood = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        isGood = False
    if not isGood or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{name} is no URL to post to; it begins with http:// or https://")


@frozen(field_transformer=typed)
class HookModel:
    """
    Whom to tell of alarms.

    @ivar command: a program and its arguments; empty for none.
    @ivar url: what to post to; C{""} for nothing.
    """

    command: tuple[str, ...] = field(default=(), repr=False)  # there may be tokens in it
    url: str = field(default="", repr=False)

    def __attrs_post_init__(self) -> None:
        if self.command:
            checkCommand("command", self.command)
        if self.url:
            checkURL("url", self.url)


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

    def __attrs_post_init__(self) -> None:
        checkRates("clockRates", dict(self.clockRates))

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
