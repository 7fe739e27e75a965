"""The keys of health in a configuration file, and the model of what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from txgroupsock.relay.config.kinds import Amount, Flag, Found, Key, Kind, Table, Whole
from txgroupsock.relay.config.positions import KeyPath
from txgroupsock.relay.health.clockrates import MOST_RATE, MOST_TYPE
from txgroupsock.relay.health.model import HealthModel, HookModel, checkURL
from txgroupsock.relay.health.thresholds import Thresholds
from txgroupsock.relay.models.quantity import BIT_RATES, TIMES, Quantity

_SHARES: Mapping[str, float] = {"%": 0.01}


@frozen
class OrNone:
    """What another kind has, or false."""

    kind: Kind
    isTrueToo: bool = False

    @property
    def words(self) -> str:
        """See L{Kind}."""
        return f"{'true, false' if self.isTrueToo else 'false'} or {self.kind.words}"

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if value is False or (self.isTrueToo and value is True):
            return
        for where, why in self.kind.check(value, path):
            # What is wrong within it is not mended by another type.
            yield where, f"{why}; or {self._others}" if where == path else why

    @property
    def _others(self) -> str:
        return "true or false" if self.isTrueToo else "false, for none"

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        none: dict[str, Any] = {"type": "boolean"}
        if not self.isTrueToo:
            none["enum"] = [False]
        return {"anyOf": [none, self.kind.schema()]}


@frozen
class Command:
    """A program and its arguments."""

    words = 'a list of a program and its arguments, such as ["logger", "-t", "news"]'

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if not isinstance(value, list) or not value:
            # Nothing of it is told: there may be tokens in it.
            yield path, f"it should be {self.words}; no shell reads it"
            return
        for index, each in enumerate(value):
            if not isinstance(each, str) or "\0" in each or not (index or each.strip()):
                yield (*path, index), "it should be a text in quotes, and the first not empty"

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        return {"type": "array", "items": {"type": "string"}, "minItems": 1}


@frozen
class HookURL:
    """A URL that is posted to."""

    words = 'a URL to post to, such as "http://127.0.0.1:9000/alarm"'

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        try:
            checkURL("url", value if isinstance(value, str) else "")
        except ValueError:
            # Nothing of it is told: there may be tokens in it.
            yield path, f"it should be {self.words}; http:// and https:// only"

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        return {"type": "string", "pattern": "^https?://[^ ]+$"}


@frozen
class ClockRates:
    """Hz by RTP payload type."""

    words = "a table of RTP payload types, 0 to 127, and Hz, such as { 97 = 48000 }"
    _rate = Whole(1, MOST_RATE)

    def check(self, value: object, path: KeyPath) -> Iterator[Found]:
        """See L{Kind}."""
        if not isinstance(value, dict):
            yield path, f"it is {value!r}, and should be {self.words}"
            return
        for kind, rate in value.items():
            if not (
                kind.isascii() and kind.isdecimal() and len(kind) <= 3 and int(kind) <= MOST_TYPE
            ):
                yield (*path, kind), "it is no RTP payload type; these are 0 to 127 (RFC 3550)"
            yield from self._rate.check(rate, (*path, kind))

    def schema(self) -> dict[str, Any]:
        """See L{Kind}."""
        return {
            "type": "object",
            "propertyNames": {"pattern": "^[0-9]{1,3}$"},
            "additionalProperties": self._rate.schema(),
        }


def _time(least: float, words: str) -> Amount:
    return Amount(Quantity(TIMES, least, 86400, words))


_RATE = OrNone(Amount(Quantity(BIT_RATES, 0, 1e12, 'a bit rate, such as "8M" or "300k"')))
_SHARE = OrNone(Amount(Quantity(_SHARES, 0, 1, 'a share from 0% to 100%, such as "0.5%"')))
_JITTER = OrNone(_time(0, 'a time, such as "30ms"'))
_COUNT = OrNone(Whole(0, 1_000_000_000))

_LIMITS: dict[str, tuple[Kind, str]] = {
    "silence": (
        OrNone(_time(0.001, 'a time of 1ms or more, such as "5s"')),
        "An alarm if nothing comes for so long; left out, 1s.",
    ),
    "leastBitRate": (_RATE, "An alarm if fewer bits of payload come a second."),
    "mostBitRate": (_RATE, "An alarm if more bits of payload come a second."),
    "kernelDrops": (
        _COUNT,
        "An alarm if the kernel drops more datagrams in a second; left out, 0.",
    ),
    "rtpLoss": (
        _SHARE,
        "An alarm if a larger share of RTP packets is lost in a second; left out, 0%.",
    ),
    "jitter": (_JITTER, "An alarm if the jitter of RTP is more."),
    "continuityErrors": (
        _COUNT,
        "An alarm if there are more continuity errors in a second; left out, 0.",
    ),
    "syncByteErrors": (
        _COUNT,
        "An alarm if there are more packets without sync byte in a second; left out, 0.",
    ),
    "transportErrors": (
        _COUNT,
        "An alarm if more packets are marked as wrong in a second; left out, 0.",
    ),
    "missing": (
        Flag(),
        "An alarm if a PAT, a PMT or a PID is missing; true unless told otherwise.",
    ),
    "pcrJitter": (_JITTER, "An alarm if the jitter of a PCR is more."),
    "scrambled": (Flag(), "An alarm if packets are scrambled; false unless told otherwise."),
    "raiseAfter": (_time(0, 'a time, such as "3s"'), "How long it has to be so; left out, 0s."),
    "clearAfter": (
        _time(0, 'a time, such as "10s"'),
        "How long it must not be so for the alarm to be over; left out, 10s.",
    ),
}
# In a file these are times, in figures they are ms.
_MILLISECONDS = {"jitter", "pcrJitter"}

HEALTH = Table(
    [
        Key("rtp", Flag(), "Whether to look for RTP; true unless told otherwise."),
        Key("ts", Flag(), "Whether to look for a transport stream; true unless told otherwise."),
        Key("clockRates", ClockRates(), "Hz of RTP's timestamps, by payload type."),
        *(Key(name, kind, text) for name, (kind, text) in _LIMITS.items()),
        Key("command", OrNone(Command()), "What to run for each alarm, without a shell."),
        Key("url", OrNone(HookURL()), "What to post each alarm to, as JSON."),
    ]
)
"""C{[health]}, and C{health} of a route."""

ROUTE_HEALTH = OrNone(HEALTH, isTrueToo=True)
"""C{health} of a route."""


def healthOf(common: object, own: object) -> HealthModel | None:
    """
    How a route's health is to be looked at, of what is right in the values.

    @param common: C{[health]}; L{None} if there is none.
    @param own: C{health} of the route; L{None} if there is none.
    @return: L{None} if it is not.
    """
    if own is False or (own is None and common is None):
        return None
    table: dict[str, Any] = {}
    for each in (common, own):
        if isinstance(each, dict):
            table.update(each)
    kinds = {key.name: key.kind for key in HEALTH.keys}
    right = {
        name: value
        for name, value in table.items()
        if name in kinds and not any(kinds[name].check(value, ()))
    }
    limits = {name: _limitOf(name, right[name]) for name in _LIMITS if name in right}
    return HealthModel(
        Thresholds(**limits),
        right.get("rtp", True),
        right.get("ts", True),
        tuple(sorted((int(kind), rate) for kind, rate in right.get("clockRates", {}).items())),
        HookModel(tuple(right.get("command") or ()), right.get("url") or ""),
    )


def _limitOf(name: str, value: Any) -> Any:
    kind = _LIMITS[name][0]
    if isinstance(kind, OrNone):
        if value is False:
            return None
        kind = kind.kind
    if not isinstance(kind, Amount):
        return value
    number = kind.quantity.parse(value)
    return 1000 * number if name in _MILLISECONDS else number
