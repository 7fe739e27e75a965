"""The channels of a service: those with a name, and those opened while somebody watches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from txgroupsock.relay.counters import Counters
from txgroupsock.relay.route import Route
from txgroupsock.relay.sharing import SharedInputs
from txgroupsock.relay.viewers.channel import Channel
from txgroupsock.relay.viewers.model import Form, Limits, StreamModel, gathering
from txgroupsock.relay.viewers.stages import Frame, StripRTP
from txgroupsock.relay.viewers.status import ChannelStatus, Totals
from txgroupsock.relay.viewers.viewer import Viewer, viewerOf

_STAGES = {Form.PLAIN: (), Form.RTP: (StripRTP,), Form.FRAMED: (Frame,)}


class NoRoom(Exception):
    """
    A limit has been reached, or a channel could not be opened.

    @ivar reason: in a word.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@define(eq=False)
class _Open:
    """A channel that is open, and the route that feeds it if that is ours."""

    channel: Channel
    route: Route | None
    leaving: IDelayedCall | None = None


class Channels:
    """
    Opens a channel for its first viewer, and closes it a while after its last has gone.

    Zapping through channels and back so costs one join each, and they all share one input with
    whatever else in the process uses it.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        inputs: SharedInputs,
        limits: Limits,
        named: Mapping[str, StreamModel | Channel],
    ) -> None:
        self._reactor = reactor
        self._inputs = inputs
        self._limits = limits
        self._models = {name: each for name, each in named.items() if not isinstance(each, Channel)}
        self._named: dict[str, _Open] = {
            name: _Open(each, None) for name, each in named.items() if isinstance(each, Channel)
        }
        self._onDemand: dict[StreamModel, _Open] = {}
        self._closing: set[Deferred[Any]] = set()
        self._totals = Totals()
        self._lastFailure: str | None = None

    # Opening and closing

    def openNamed(self) -> None:
        """
        Open the channels that are always open.

        @raise OSError: one could not be opened; then none of them stays open.
        """
        try:
            for name, model in self._models.items():
                self._named[name] = self._open(model, f"/{name}")
        except OSError:
            self.close()
            raise

    def close(self) -> Deferred[Any]:
        """Close everything; fires when all is given back."""
        for wanted in tuple(self._onDemand):
            self._closeOnDemand(wanted)
        for name in self._models:
            found = self._named.pop(name, None)
            if found is not None:
                self._close(found)
        # A channel of somebody else's route goes on, without viewers.
        others = [each.channel.closeViewers() for each in self._named.values()]
        return gatherResults([*self._closing, *others])

    # Watching

    def watch(self, wanted: StreamModel | str, transport: Any) -> Viewer:
        """
        A viewer of a stream on a connection, which does not watch yet.

        @param wanted: a model, which has been allowed, or a name.
        @raise KeyError: there is no stream of that name.
        @raise NoRoom: there are too many viewers or channels, or it could not be opened.
        """
        if self.viewers >= self._limits.viewers:
            raise NoRoom("viewers")
        found = self._named[wanted] if isinstance(wanted, str) else self._demanded(wanted)
        if found.channel.viewers >= self._limits.viewersPerChannel:
            raise NoRoom("viewers")
        viewer = viewerOf(self._reactor, transport, found.channel, self._limits.sendBuffer)
        found.channel.add(viewer)
        if found.leaving is not None:
            found.leaving.cancel()
            found.leaving = None
        return viewer

    def has(self, name: str) -> bool:
        """Whether there is a stream of that name."""
        return name in self._named

    @property
    def viewers(self) -> int:
        """How many there are, of all channels."""
        return sum(each.channel.viewers for each in self._all())

    def _all(self) -> tuple[_Open, ...]:
        return (*self._named.values(), *self._onDemand.values())

    # On demand

    def _demanded(self, wanted: StreamModel) -> _Open:
        found = self._onDemand.get(wanted)
        if found is not None:
            return found
        if len(self._onDemand) >= self._limits.channels:
            self._makeRoom()
        try:
            opened = self._open(wanted, str(wanted))
        except OSError as error:
            # Once for all who ask for it, again and again.
            if self._lastFailure != str(error):
                self._lastFailure = str(error)
                self._log.error("cannot open {wanted}: {error}", wanted=wanted, error=error)
            raise NoRoom("input") from None
        self._onDemand[wanted] = opened
        opened.channel.whenEmpty = lambda: self._emptied(wanted)
        self._totals = self._totals.withOneMoreChannel()
        return opened

    def _makeRoom(self) -> None:
        """
        Close the channel that has been without viewers for the longest time.

        @raise NoRoom: all are watched.
        """
        leaving = [
            (each.leaving.getTime(), wanted)
            for wanted, each in self._onDemand.items()
            if each.leaving is not None
        ]
        if not leaving:
            raise NoRoom("channels")
        self._closeOnDemand(min(leaving, key=lambda each: each[0])[1])

    def _emptied(self, wanted: StreamModel) -> None:
        found = self._onDemand.get(wanted)
        if found is not None:
            found.leaving = self._reactor.callLater(
                self._limits.lingerTime, self._closeOnDemand, wanted
            )

    def _closeOnDemand(self, wanted: StreamModel) -> None:
        found = self._onDemand.pop(wanted)
        if found.leaving is not None and found.leaving.active():
            found.leaving.cancel()
        self._close(found)

    def _open(self, model: StreamModel, name: str) -> _Open:
        channel = Channel(self._reactor, name, self._limits)
        wanted = gathering(model, self._limits.blockTime)
        stages = [stage() for stage in _STAGES[model.form]]
        route = Route(self._inputs.share(wanted.input), [channel], stages)
        route.openRoute()
        for line in route.input.describe():
            self._log.info("{line}", line=line)
        return _Open(channel, route)

    def _close(self, found: _Open) -> None:
        found.channel.whenEmpty = None
        if found.route is None:
            return
        closing = found.route.closeRoute()
        self._totals = self._totals.plus(found.channel.status())
        self._closing.add(closing)
        closing.addBoth(self._closed, closing)

    def _closed(self, result: Any, closing: Deferred[Any]) -> Any:
        self._closing.discard(closing)
        return result

    # Status

    def status(self) -> tuple[ChannelStatus, ...]:
        """Of each channel that is open."""
        return tuple(each.channel.status() for each in self._all())

    def counters(self) -> list[tuple[str, Counters]]:
        """Of each channel that is open: its name, and what has come in."""
        return [(each.channel.name, each.channel.counters) for each in self._all()]

    def totals(self) -> Totals:
        """Sums since the start."""
        totals = self._totals
        for each in self.status():
            totals = totals.plus(each)
        return totals
