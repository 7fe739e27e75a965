"""Alarms: what has not been as it should be for long enough to tell somebody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, evolve, frozen

from txgroupsock.relay.health.thresholds import Finding


@frozen
class Alarm:
    """
    Something that an operator is told.

    @ivar source: what it is about: the name of an input or a route.
    @ivar name: which threshold.
    @ivar text: in words, with what to do about it; as it was when the alarm was raised, or as
        it is now if it still is so.
    @ivar isRaised: whether it holds; otherwise it has been cleared.
    @ivar since: when it was raised, in seconds of the reactor's clock.
    @ivar seconds: for which it has held.
    @ivar isEnded: whether it has been cleared because nobody looks any more.
    """

    source: str
    name: str
    text: str
    value: float | None
    limit: float | None
    since: float
    seconds: float = 0.0
    isRaised: bool = True
    isEnded: bool = False

    def toJSON(self) -> dict[str, Any]:
        """What hooks and the API get."""
        return {
            "source": self.source,
            "name": self.name,
            "state": "raised" if self.isRaised else "cleared",
            "text": self.text,
            "value": self.value,
            "limit": self.limit,
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        if self.isRaised:
            return f"{self.source}: {self.text}"
        if self.isEnded:
            return f"{self.source}: no longer watched, after {self.seconds:.0f} s: {self.text}"
        return f"{self.source}: over after {self.seconds:.0f} s: {self.text}"


@define
class _Watched:
    """
    A threshold that something was found about.

    @ivar began: since when it has been found without a pause.
    @ivar ended: since when it has not been; L{None} while it is.
    """

    finding: Finding
    began: float
    ended: float | None = None
    since: float | None = None


class Alarms:
    """Raises alarms for what is found, and clears them, neither at once nor twice."""

    def __init__(self, source: str, raiseAfter: float = 0.0, clearAfter: float = 10.0) -> None:
        """
        @param raiseAfter: seconds for which a thing has to be found.
        @param clearAfter: seconds for which it must not.
        """
        self._source = source
        self._raiseAfter, self._clearAfter = raiseAfter, clearAfter
        self._watched: dict[str, _Watched] = {}

    def take(self, findings: Sequence[Finding], now: float) -> list[Alarm]:
        """What has just been measured; the alarms that this raises, and those that it clears."""
        changed = []
        found = {each.name: each for each in findings}
        for name, finding in found.items():
            watched = self._watched.get(name)
            if watched is None:
                watched = self._watched[name] = _Watched(finding, now)
            watched.finding, watched.ended = finding, None
            if watched.since is None and now - watched.began >= self._raiseAfter:
                watched.since = now
                changed.append(self._alarm(watched, now))
        for name, watched in list(self._watched.items()):
            if name in found:
                continue
            if watched.ended is None:
                watched.ended = now
            if watched.since is None:
                del self._watched[name]
            elif now - watched.ended >= self._clearAfter:
                del self._watched[name]
                changed.append(evolve(self._alarm(watched, now), isRaised=False))
        return changed

    def adapt(self, source: str, raiseAfter: float, clearAfter: float) -> None:
        """Go on with another name and other times; what is raised stays so."""
        self._source, self._raiseAfter, self._clearAfter = source, raiseAfter, clearAfter

    def end(self, now: float) -> list[Alarm]:
        """Watch no more: those that held, cleared, since nobody would say so later."""
        alarms = [evolve(each, isRaised=False, isEnded=True) for each in self.raised(now)]
        self._watched.clear()
        return alarms

    def raised(self, now: float) -> tuple[Alarm, ...]:
        """Those that hold, in the order in which they were found."""
        return tuple(
            self._alarm(each, now) for each in self._watched.values() if each.since is not None
        )

    def _alarm(self, watched: _Watched, now: float) -> Alarm:
        finding = watched.finding
        since = now if watched.since is None else watched.since
        return Alarm(
            self._source,
            finding.name,
            finding.text,
            finding.value,
            finding.limit,
            since,
            max(0.0, now - since),
        )
