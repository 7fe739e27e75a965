"""The channels of a service, each open while somebody watches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from attrs import define, evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger, LogLevel

from txgroupsock.ports.clock import callOff, steady
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.engine.inputs import AnyShare, SharedInputs
from txgroupsock.relay.engine.route import Route
from txgroupsock.relay.engine.status import healthOf
from txgroupsock.relay.health.model import HealthModel
from txgroupsock.relay.health.sharedhooks import SharedHooks
from txgroupsock.relay.health.stage import Health
from txgroupsock.relay.http.places import mostFrom, originOf
from txgroupsock.relay.turns import Work, atOnce
from txgroupsock.relay.viewers.allowance import Allowance, Sayings
from txgroupsock.relay.viewers.channel import Channel
from txgroupsock.relay.viewers.model import Form, Limits, StreamModel, ViewersModel, gatheringTime
from txgroupsock.relay.viewers.stages import AlignTS, Frame, StripRTP
from txgroupsock.relay.viewers.status import ChannelStatus, Totals
from txgroupsock.relay.viewers.viewer import Viewer, viewerOf

# Of channels from one origin: people zap through five a second, and there may be many of them.
_JOINS, _JOINS_AT_ONCE = 20.0, 100.0

_STAGES = {Form.PLAIN: (AlignTS,), Form.RTP: (StripRTP,), Form.FRAMED: (Frame,)}


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
    """A channel that is open, and what feeds it."""

    channel: Channel
    input: AnyShare
    route: Route
    leaving: IDelayedCall | None = None

    def setLatency(self, latency: float) -> None:
        """Have datagrams gather for another time, in seconds."""
        self.input.setTimes(self.input.model.withLatency(latency))

    def status(self) -> ChannelStatus:
        """Of the channel, with what was lost on the way to it."""
        return atOnce(self.makingStatus())

    def makingStatus(self) -> Work[ChannelStatus]:
        """The same, some viewers at a time."""
        ends: tuple[Any, ...] = (self.input, *self.route.stages)
        dropped = sum((each.counters.dropped for each in ends), Counter[str]())
        health = healthOf(self.route.stages)
        status = yield from self.channel.makingStatus()
        return evolve(status.droppingBefore(dropped), health=health)


class Channels:
    """
    Opens a channel for its first viewer, and closes it a while after its last has gone.

    Zapping through channels and back so costs one join each, and they all share one input with
    whatever else in the process uses it.  In which way somebody asks for a stream makes no
    difference: by its group, by a name or by connecting to its TCP port.

    @ivar sayings: what is logged of viewers.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        inputs: SharedInputs,
        limits: Limits,
        named: Mapping[str, StreamModel | Channel],
        hooks: SharedHooks | None = None,
    ) -> None:
        self._reactor = reactor = steady(reactor)
        self._inputs = inputs
        self._limits = limits
        self._named = named
        self._hooks = hooks or SharedHooks(reactor)
        self._known = dict.fromkeys(_othersAmong(named))
        self._opened: dict[StreamModel, _Open] = {}
        self._closing: set[Deferred[Any]] = set()
        self._totals = Totals()
        self._lastFailure: str | None = None
        self.sayings = Sayings(reactor, self._log)
        self._joins = Allowance(reactor, _JOINS, _JOINS_AT_ONCE)

    def close(self) -> Deferred[Any]:
        """Close everything; fires when all is given back."""
        for wanted in tuple(self._opened):
            self._leave(wanted)
        # A channel of somebody else's route goes on, without viewers.
        others = [each.closeViewers() for each in self._others()]
        closing: Deferred[Any] = gatherResults([*self._closing, *others])
        return closing.addBoth(self._hooks.endedAfter)

    def change(self, model: ViewersModel) -> Deferred[Any]:
        """
        Give what another model offers, within its limits.

        A channel that it still offers goes on, with its viewers.

        @return: fires when those that it does not are closed, with their viewers.
        """
        before = self._others()
        self._limits, self._named = model.limits, model.named
        self._known.update(dict.fromkeys(self._others()))
        for wanted, each in tuple(self._opened.items()):
            if model.offers(wanted):
                self._adapt(each)
                self._adaptHealth(each.route, wanted)
            else:
                self._log.info("{name} is no longer offered", name=each.channel.name)
                self._leave(wanted)
        others = [each.closeViewers() for each in before if not model.offers(each)]
        return gatherResults([*self._closing, *others])

    def _adapt(self, found: _Open) -> None:
        """Have a channel keep to the limits as they are now."""
        found.channel.setLimits(self._limits)
        found.setLatency(gatheringTime(self._limits))
        if found.leaving is not None:
            found.leaving.reset(self._limits.lingerTime)

    def _adaptHealth(self, route: Route, wanted: StreamModel) -> None:
        found, there = self._healthOf(wanted), route.health
        if there is not None and found is not None:
            there.adapt(*found)
        elif there is not None or found is not None:
            new = None if found is None else self._healthStage(route, *found)
            for close in route.lookWith(new):
                close()  # which takes no time

    def _healthOf(self, wanted: StreamModel) -> tuple[str, HealthModel] | None:
        """How the health of a stream is looked at, in whatever form, and under which name."""
        heard = wanted.received.input
        for name, each in self._named.items():
            if isinstance(each, StreamModel) and each.health and each.received.input == heard:
                return name, each.health
        return None

    def _healthStage(self, route: Route, name: str, model: HealthModel) -> Health:
        stage = route.healthStage(self._reactor, model, self._hooks)
        stage.adapt(name, model)
        return stage

    # Watching

    def watch(self, wanted: StreamModel | str, transport: Any) -> Viewer:
        """
        A viewer of a stream on a connection, which does not watch yet.

        @param wanted: a model, which has been allowed, or a name.
        @raise KeyError: there is no stream of that name.
        @raise NoRoom: there are too many viewers or channels, or it could not be opened.
        """
        limits, origin = self._limits, originOf(transport.getPeer())
        most = limits.viewersPerAddress or mostFrom(origin, limits.viewers)
        there = sum(each.viewersFrom(origin) for each in self._all())
        if self.viewers >= limits.viewers or (origin and there >= most):
            raise NoRoom("viewers")
        stream = self._named[wanted] if isinstance(wanted, str) else wanted
        channel = stream if isinstance(stream, Channel) else self._demanded(stream, origin)
        if channel.viewers >= self._limits.viewersPerChannel:
            raise NoRoom("viewers")
        viewer = viewerOf(self._reactor, transport, channel, self._limits.sendBuffer)
        channel.add(viewer)
        return viewer

    def has(self, name: str) -> bool:
        """Whether there is a stream of that name."""
        return name in self._named

    @property
    def viewers(self) -> int:
        """How many there are, of all channels."""
        return sum(each.viewers for each in self._all())

    def _all(self) -> list[Channel]:
        return [*self._others(), *(each.channel for each in self._opened.values())]

    def _others(self) -> list[Channel]:
        """Those that are outputs of somebody else's routes, once each."""
        return _othersAmong(self._named)

    # On demand

    def _demanded(self, wanted: StreamModel, origin: str) -> Channel:
        found = self._opened.get(wanted.received)
        if found is None:
            found = self._opened[wanted.received] = self._open(wanted, origin)
        elif found.leaving is not None:
            found.leaving.cancel()
            found.leaving = None
        return found.channel

    def _open(self, wanted: StreamModel, origin: str) -> _Open:
        if not self._joins.take(origin):
            raise NoRoom("joins")
        if len(self._opened) >= self._limits.channels:
            self._makeRoom()
        channel = Channel(self._reactor, str(wanted), self._limits)
        latency = gatheringTime(self._limits)
        incoming = self._inputs.share(wanted.input.withLatency(latency))
        route = Route(incoming, [channel], [stage() for stage in _STAGES[wanted.form]])
        health = self._healthOf(wanted)
        if health is not None:
            route.stages = (self._healthStage(route, *health), *route.stages)
        try:
            route.openRoute()
        except OSError as error:
            # Once for all who ask for it, again and again.
            if self._lastFailure != str(error):
                self._lastFailure = str(error)
                text = "cannot open {wanted}: {error}"
                self.sayings.say(LogLevel.error, origin, text, wanted=wanted, error=error)
            raise NoRoom("input") from None
        channel.sayings = self.sayings
        for line in incoming.describe():
            self.sayings.info(origin, "{line}", line=line)
        channel.whenEmpty = lambda: self._emptied(wanted.received)
        self._totals = self._totals.withOneMoreChannel()
        return _Open(channel, incoming, route)

    def _makeRoom(self) -> None:
        """
        Close the channel that has been without viewers for the longest time.

        @raise NoRoom: all are watched.
        """
        leaving = [
            (each.leaving.getTime(), wanted)
            for wanted, each in self._opened.items()
            if each.leaving is not None
        ]
        if not leaving:
            raise NoRoom("channels")
        self._leave(min(leaving, key=lambda each: each[0])[1])

    def _emptied(self, wanted: StreamModel) -> None:
        found = self._opened.get(wanted)
        if found is not None:
            found.leaving = self._reactor.callLater(self._limits.lingerTime, self._leave, wanted)

    def _leave(self, wanted: StreamModel) -> None:
        found = self._opened.pop(wanted)
        callOff(found.leaving)
        found.channel.whenEmpty = None
        closing = found.route.closeRoute()
        self._totals = self._totals.plus(found.status())
        self._closing.add(closing)
        closing.addBoth(self._closed, closing)

    def _closed(self, result: Any, closing: Deferred[Any]) -> Any:
        self._closing.discard(closing)
        return result

    # Status

    def makingStatus(self) -> Work[tuple[tuple[ChannelStatus, ...], Totals]]:
        """Of each channel that is open, and the sums since the start; some viewers at a time."""
        # As they are at one moment: a channel that is closed meanwhile is not to count twice.
        open_, known, offered = tuple(self._opened.values()), tuple(self._known), self._others()
        totals = self._totals
        opened, others = [], {}
        for found in open_:
            opened.append((yield from found.makingStatus()))
            yield
        for channel in known:
            others[channel] = yield from channel.makingStatus()
            yield
        # Those of somebody else's routes count on where they are no longer offered.
        for status in (*others.values(), *opened):
            totals = totals.plus(status)
        return (*(others[channel] for channel in offered), *opened), totals

    def counters(self) -> list[tuple[str, Counters]]:
        """Of each channel that is open: its name, and what has come in."""
        channels = [*self._others(), *(each.channel for each in self._opened.values())]
        return [(each.name, each.counters) for each in channels]

    def streams(self) -> dict[str, str]:
        """The path of each stream that has a name, and the name of its channel."""
        return {
            f"/{name}": each.name if isinstance(each, Channel) else str(each)
            for name, each in self._named.items()
        }


def _othersAmong(named: Mapping[str, StreamModel | Channel]) -> list[Channel]:
    channels = (each for each in named.values() if isinstance(each, Channel))
    return list(dict.fromkeys(channels))
