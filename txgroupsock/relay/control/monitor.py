"""
What a relay does, as the document that the API, the page and metrics are made of.

Everything is done a few parts at a time, with so much of a turn of the reactor for all of it: a
thousand routes, or one with as many outputs, take 100 ms in all, which is longer than a stream
should have to wait.  Who asks for the same gets the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from attrs import asdict
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgroupsock._version import __version__
from txgroupsock.ports.clock import steady
from txgroupsock.primitives.checks import needClosed
from txgroupsock.relay.control.control import Control
from txgroupsock.relay.control.rates import Rate, Rates
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.engine.interfaces import IRelay
from txgroupsock.relay.engine.model import RouteModel
from txgroupsock.relay.engine.relay import Relay
from txgroupsock.relay.engine.route import Route
from txgroupsock.relay.engine.status import endStatus
from txgroupsock.relay.status import EndStatus, LegReport, Outcome, RedundancyReport, RouteStatus
from txgroupsock.relay.turns import Shared, TurnMeter, Turns, Work, inPieces
from txgroupsock.relay.viewers import ViewerService
from txgroupsock.relay.workers.relay import Workers

INTERVAL: Final = 1.0
"""Seconds from one look at the counters to the next, over which rates are."""

_T = TypeVar("_T")


class Monitor:
    """
    Looks at a relay's counters once a second, and knows how fast they grow.

    @ivar looked: called after each look.
    @ivar turns: what is made of it takes no more of a turn than this gives it.
    """

    _log = Logger()

    def __init__(self, reactor: Any, control: Control) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self.looked: list[Callable[[], object]] = []
        self._reactor = reactor = steady(reactor)
        self.turns = Turns(reactor)
        self._meter = TurnMeter(reactor)
        self._shared: list[Shared[Any]] = []
        self._control = control
        self._routes: dict[str, Rates] = {}
        self._channels: dict[str, Rates] = {}
        self._began = self._lastLook = reactor.seconds()
        self._lookedAt = 0.0
        self._looking = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        self._looking.clock = reactor
        self.statusJSON = self.share(self._statusJSON)
        self.historyJSON = self.share(self._historyJSON)
        self.problems = self.share(self._problems)

    def share(self, make: Callable[[], Awaitable[_T]]) -> Callable[[], Deferred[_T]]:
        """What is called to have something made, for many at once, until there is a change."""
        shared = Shared(self._reactor, make)
        self._shared.append(shared)
        return shared.get

    def start(self) -> None:
        """Begin to look; the routes have just been opened."""
        needClosed(self, self._looking.running)
        self._began = self._lastLook = self._reactor.seconds()
        self._control.changed.append(self._changed)
        self._meter.start()
        self._looking.start(INTERVAL).addErrback(self._failed)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._control.changed.remove(self._changed)
            self._looking.stop()
        self._meter.stop()
        self.turns.stop()

    # The document, see docs/api.md

    async def _statusJSON(self) -> bytes:
        """
        What the relay is and does now, as JSON in one line.

        Each route is a text as soon as it is known: a thousand of them kept as tables would have
        Python look for garbage in all there is, which takes two thirds of the time.
        """
        status, routes = await self.made(lambda route: _text(route, "outputs"))
        viewers = status.pop("viewers")
        told = "null" if viewers is None else await self.turns.made(_viewersText(viewers))
        return f'{_dumps(status)[:-1]},"viewers":{told},"routes":[{",".join(routes)}]}}'.encode()

    async def made(
        self, make: Callable[[dict[str, Any]], Work[_T]]
    ) -> tuple[dict[str, Any], list[_T]]:
        """
        What the relay is and does now: the document without its routes, and these, in the order
        of the configuration.

        @param make: what is to be made of a route.
        """
        control, now = self._control, self._reactor.seconds()
        configuration, viewers = control.configuration, control.viewers
        routes: dict[str, _T] = {}
        isReady = True
        for route in await self._running():
            known, made = await self.turns.made(self._making(route, make))
            routes[known.name] = made
            isReady = isReady and bool(known.input.state)
        for model in configuration.relay.disabled:
            routes[model.name] = await self.turns.made(make(_disabled(model)))
        ordered = [routes.pop(name) for name in configuration.names if name in routes]
        status = {
            "version": __version__,
            "time": time.time(),  # noqa: TID251 - for people
            "uptime": now - self._began,
            "interval": INTERVAL,
            "isReady": isReady,
            "reactor": {"longestTurn": round(self._meter.longest, 6)},
            "workers": _workers(control.relay),
            "change": control.last and asdict(control.last),
            "viewers": None
            if viewers is None or not viewers.model.endpoints
            else await self.turns.made(self._viewers(viewers)),
        }
        return status, [*ordered, *routes.values()]

    async def _historyJSON(self) -> bytes:
        """The rates of each route in the last minutes."""
        head, texts = {"interval": INTERVAL, "time": self._lookedAt}, []
        async for name, rates in self.turns.each(tuple(self._routes.items())):
            datagrams, bits, dropped = rates.history.series()
            series = {"bits": bits, "datagrams": datagrams, "dropped": dropped}
            texts.append(f"{_dumps(name)}:{_dumps(series)}")
        return f'{_dumps(head)[:-1]},"routes":{{{",".join(texts)}}}}}'.encode()

    async def _problems(self) -> list[str]:
        """Why the relay is not ready, for people; nothing if it is."""
        problems = []
        for route in await self._running():
            await self.turns.free()
            end = route.input
            incoming = end if isinstance(end, EndStatus) else endStatus(end)
            if not incoming.state:
                why = "; ".join(incoming.warnings) or "its input is closed"
                problems.append(f"{route.name}: {why}")
        return problems

    async def _running(self) -> Sequence[Route | RouteStatus]:
        """The routes of this process, or what is known of those of others."""
        relay = self._control.relay
        if isinstance(relay, Relay):
            return relay.routes
        found = relay.status()
        return await found if isinstance(found, Deferred) else found

    def _making(
        self, route: Route | RouteStatus, make: Callable[[dict[str, Any]], Work[_T]]
    ) -> Work[tuple[RouteStatus, _T]]:
        status = (yield from route.makingStatus()) if isinstance(route, Route) else route
        document = yield from self._route(status)
        return status, (yield from make(document))

    def _route(self, route: RouteStatus) -> Work[dict[str, Any]]:
        rates = self._routes.get(route.name)
        ends = route.ends
        parts: Sequence[Rate] = rates.parts if rates is not None else ()
        if len(parts) != len(ends):
            parts = [Rate()] * len(ends)
        both = list(zip(ends, parts, strict=True))
        incoming, *others = yield from inPieces(lambda part: _part(*part), both)
        incoming["redundancy"] = _redundancy(route.input.redundancy)
        firstOutput = len(route.stages)
        return {
            "name": route.name,
            "isEnabled": True,
            "input": incoming,
            "stages": others[:firstOutput],
            "outputs": others[firstOutput:],
            "health": route.health,
        }

    def _viewers(self, viewers: ViewerService) -> Work[dict[str, Any]]:
        status = yield from viewers.makingStatus()
        document = yield from status.makingJSON()
        for channel in document["channels"]:
            rates = self._channels.get(channel["name"])
            rate = rates.parts[0] if rates is not None and rates.parts else Rate()
            channel["rate"] = _rate(rate)
        return document

    # Looking

    async def _look(self) -> None:
        now = self._reactor.seconds()
        seconds, self._lastLook = now - self._lastLook, now
        self._lookedAt = time.time()  # noqa: TID251 - for people
        control = self._control
        self._routes = await self._sampled(self._routes, control.relay.counters(), seconds)
        if control.viewers is not None:
            channels = [(name, [each]) for name, each in control.viewers.counters()]
            self._channels = await self._sampled(self._channels, channels, seconds)
        for each in tuple(self.looked):
            each()

    async def _sampled(
        self,
        before: dict[str, Rates],
        counters: Iterable[tuple[str, Sequence[Counters]]],
        seconds: float,
    ) -> dict[str, Rates]:
        """The rates of what there is now."""
        now = {}
        async for name, each in self.turns.each(counters):
            now[name] = rates = before.get(name) or Rates()
            rates.sample(each, seconds)
        return now

    def _changed(self, outcome: Outcome) -> None:
        for each in self._shared:
            each.forget()
        for name in (*outcome.changed, *outcome.opened):
            if name in self._routes:
                self._routes[name].forget()

    def _failed(self, failure: Failure) -> None:
        self._log.failure("the counters could not be looked at; rates stand still", failure)


def _workers(relay: IRelay) -> list[dict[str, Any]]:
    if not isinstance(relay, Workers):
        return []
    return [
        {
            "number": worker.number,
            "isReady": worker.isReady,
            "starts": worker.starts,
            "hangs": worker.hangs,
            "longestTurn": worker.longestTurn,
        }
        for worker in relay.workers
    ]


def _part(end: EndStatus, rate: Rate) -> dict[str, Any]:
    counters, buffer = end.counters, end.buffer
    return {
        "name": end.name,
        "state": list(end.state),
        "warnings": list(end.warnings),
        "datagrams": counters.datagrams,
        "bytes": counters.bytes,
        "dropped": {reason: count for reason, count in counters.dropped.items() if count},
        "rate": _rate(rate),
        "buffer": buffer and {"granted": buffer.granted, "requested": buffer.requested},
    }


def _redundancy(report: RedundancyReport | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "kind": report.kind,
        "changes": report.changes,
        "legs": [_leg(each) for each in report.legs],
    }


def _leg(leg: LegReport) -> dict[str, Any]:
    part = _part(EndStatus(leg.name, leg.counters, leg.state, (), leg.buffer), Rate())
    del part["rate"], part["warnings"]  # a warning about a leg is one about the input
    least, most, mean = leg.skew or (0.0, 0.0, 0.0)
    skew = {"least": least, "most": most, "mean": mean}
    return {
        **part,
        "used": leg.used,
        "lost": leg.lost,
        "duplicates": leg.duplicates,
        "late": leg.late,
        "stray": leg.strays,
        "lossRate": leg.lossRate,
        "skew": leg.skew and skew,
        "silence": leg.silence,
        "isSilent": leg.isSilent,
        "isActive": leg.isActive,
    }


def _rate(rate: Rate) -> dict[str, float]:
    return {
        "datagrams": round(rate.datagrams, 3),
        "bits": round(rate.bits, 3),
        "dropped": round(rate.dropped, 3),
    }


def _disabled(route: RouteModel) -> dict[str, Any]:
    nothing = Counters()
    return {
        "name": route.name,
        "isEnabled": False,
        "input": {**_part(EndStatus(route.input.name, nothing), Rate()), "redundancy": None},
        "stages": [],
        "outputs": [_part(EndStatus(str(each), nothing), Rate()) for each in route.outputs],
        "health": None,
    }


def _viewersText(viewers: dict[str, Any]) -> Work[str]:
    """What is told of viewers, as JSON in one line."""
    channels = []
    for channel in viewers.pop("channels"):
        channels.append((yield from _text(channel, "viewers")))
        yield
    return f'{_dumps(viewers)[:-1]},"channels":[{",".join(channels)}]}}'


def _text(document: dict[str, Any], key: str) -> Work[str]:
    """JSON of a document of which one value is a list of many things."""
    texts = yield from inPieces(_dumps, document[key])
    rest = _dumps({name: value for name, value in document.items() if name != key})
    return f'{rest[:-1]},"{key}":[{",".join(texts)}]}}'


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
