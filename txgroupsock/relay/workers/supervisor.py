"""A worker as a relay knows it: some routes, in one process after another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgroupsock.ports.clock import callOff, steady
from txgroupsock.relay.counters import Counters, counted
from txgroupsock.relay.status import RouteStatus
from txgroupsock.relay.workers.assignment import Share
from txgroupsock.relay.workers.process import START_PATIENCE, Events, WorkerProcess
from txgroupsock.relay.workers.told import Told

ANSWERING = 2.0
"""Seconds that a worker's status is waited for; after that its last counters are taken."""

CHANGING = 10.0
"""Seconds in which a worker has to open what is new; after that it is no longer wanted."""

_LATE = 3  # seconds without counters after which a worker is told of as one that hangs


Placed = tuple[int, RouteStatus]
"""A route, and where it stands among all routes of its relay."""


class Worker:
    """
    Some routes, in one process after another.

    @cvar firstDelay: seconds after which a process that has died is followed by another; doubled
        for each that dies soon, up to C{longestDelay}.
    @cvar steady: seconds after which a process did not die soon.
    @cvar patience: seconds without a word after which a process is killed, and followed by another.
    @cvar startPatience: the same for one that has not opened its routes yet.
    @ivar number: its number, from 1.
    @ivar share: what it has to relay.
    @ivar process: the present process, if any.
    @ivar starts: how many there have been.
    @ivar hangs: how many of them were killed, since they did not answer.
    @ivar longestTurn: see L{TurnMeter <txgroupsock.relay.turns.TurnMeter>}; of the present one.
    """

    firstDelay: ClassVar[float] = 0.1
    longestDelay: ClassVar[float] = 30.0
    steady: ClassVar[float] = 10.0
    patience: ClassVar[float] = 10.0
    startPatience: ClassVar[float] = START_PATIENCE

    _log = Logger()

    def __init__(self, reactor: Any, number: int, share: Share) -> None:
        self._reactor = steady(reactor)
        self.number = number
        self.share = share
        self.process: WorkerProcess | None = None
        self._isStopping = False
        self._told = Told()  # by the present process
        self._before: list[RouteStatus] | None = None  # of those that have died
        self._user = -1  # who opened the routes first
        self._delay = self.firstDelay
        self._readySince = 0.0
        self._heardAt = 0.0  # its answer to what it was last asked for
        self._isToldLate = False
        self.starts = self.hangs = 0
        self.longestTurn = 0.0
        self._next: IDelayedCall | None = None
        self._stopped: list[Deferred[list[Placed]]] = []
        self._why = ""  # there is no process
        self._wanted: Share | None = None  # what a change is to give it
        self._isDecided = False  # that it gets that
        self._isAsked = False  # of its process, to get ready for that
        self._settling: list[Deferred[None]] = []  # fire when the process is ready, or is no more

    @property
    def known(self) -> list[RouteStatus]:
        """What is known of its routes, in their order; with all that they ever counted."""
        now, before = self._told.routes(), self._before
        if now is None or before is None:
            return now or before or []
        return [one.after(other) for one, other in zip(now, before, strict=True)]

    def counters(self) -> Iterator[tuple[int, str, list[Counters]]]:
        """What its routes have counted; see L{Told.counters}."""
        return self._told.counters(self._before, self.share.places)

    @property
    def placed(self) -> list[Placed]:
        """The same, with the place that each route has in the relay; nothing before the start."""
        known = self.known
        if self.isLate:
            known = [each.closed(self._lateness()) for each in known]
        return list(zip(self.share.places, known, strict=True)) if known else []

    @property
    def isLate(self) -> bool:
        """Whether there is a process that has not answered for a while; who knows what it does?"""
        process = self.process
        isAsked = process is not None and process.isOnReactor and process.isCounting
        return isAsked and self._silence() >= _LATE

    @property
    def isReady(self) -> bool:
        """Whether its routes are open, and it answers."""
        return self.process is not None and self.process.isReady and not self.isLate

    def _silence(self) -> float:
        return float(self._reactor.seconds() - self._heardAt)

    def _lateness(self) -> str:
        return f"worker {self.number} has not answered for {self._silence():.0f} s"

    # From the start to the end, as long as all is well

    def begin(self) -> WorkerProcess:
        """
        Start the first process, which is ready once it says so (L{WorkerProcess.waitReady}).

        @raise OSError: it cannot be started.
        """
        self._isStopping = self._isDecided = self._isAsked = False
        self._wanted = None
        self._delay = self.firstDelay
        self._user = os.geteuid()
        process = self._newProcess()
        process.openRoutes(self.share.routes)
        return process

    def start(self) -> None:
        """
        Begin while the reactor runs, with no routes yet.

        @raise OSError: as above.
        """
        self.begin().runOn(self._reactor)

    def run(self) -> None:
        """Relay; the reactor is running."""
        if self.process is not None:
            self.process.runOn(self._reactor)
            self.process.runRoutes()

    def status(self) -> Deferred[None]:
        """Ask what its routes are now; fires when that is L{known}, as far as it can be."""
        if self.process is None or not self.process.isReady or self.isLate:
            return succeed(None)
        asked = self.process.askStatus().addTimeout(ANSWERING, self._reactor)
        return asked.addErrback(lambda _: None)

    def stop(self) -> Deferred[list[Placed]]:
        """End; fires with what its routes were then."""
        self._isStopping = True
        self._cancelNext()
        if self.process is None:
            return succeed(self.placed)
        if not self.process.isOnReactor:
            self.abandon()
            return succeed(self.placed)
        if not self._stopped:
            self.process.stop()
        self._stopped.append(Deferred())
        return self._stopped[-1]

    def count(self) -> None:
        """
        Ask how far it is; to be called again and again.

        One that does not answer is told of, and in the end killed: another one follows it.
        """
        process = self.process
        if process is None or not process.isOnReactor:
            return
        if process.isReady and not process.isCounting:
            self._heardAt, self._isToldLate = self._reactor.seconds(), False
            process.askCounters()
            return
        if self._silence() >= (self.patience if process.isReady else self.startPatience):
            self._log.error(
                "{lateness} and is killed (process {pid})",
                lateness=self._lateness(),
                pid=process.pid,
            )
            self.hangs += 1
            self._heardAt = self._reactor.seconds()  # its end takes a moment
            process.killSurely()
        elif self.isLate and not self._isToldLate:
            self._isToldLate = True
            self._log.warn(
                "{lateness}, so its routes may stand still; it is killed and started again "
                "unless it answers within {patience:g} s in all",
                lateness=self._lateness(),
                patience=self.patience,
            )

    def logStart(self) -> None:
        """Say what there is."""
        self._log.info(
            "worker {number} is process {process.pid}, with {routes} and {outputs}; "
            "reactor class: {process.reactor}",
            number=self.number,
            process=self.process,
            routes=counted(len(self.share.routes), "route"),
            outputs=counted(sum(len(each.outputs) for each in self.share.routes), "output"),
        )

    # Other routes

    def prepare(self, share: Share) -> Deferred[None]:
        """
        Have all open that is new in another share; L{commit} or L{keep} has to follow.

        Where no process runs nothing can be tried: the next one is started after the decision.

        @return: fires when all is open; or fails with the L{OSError} why it is not.
        """
        self._wanted, self._isDecided, self._isAsked = share, False, False
        self._cancelNext()

        def tooLate(_: object, seconds: float) -> None:
            raise TimeoutError(f"worker {self.number} has not answered for {seconds:g} s")

        asked = Deferred.fromCoroutine(self._prepare(share))
        return asked.addTimeout(CHANGING, self._reactor, onTimeoutCancel=tooLate)

    async def _prepare(self, share: Share) -> None:
        while self.process is not None and not self.process.isReady:
            self._settling.append(Deferred())
            await self._settling[-1]
        if self.process is not None:
            self._isAsked = True
            await self.process.askChange(share.routes)
        elif not self._readySince:
            raise ConnectionError(self._why)

    def commit(self) -> Deferred[list[str]]:
        """
        Go over to the share that was prepared; a process that dies meanwhile is followed by one
        with that share.

        @return: fires, when what is gone is closed, with lines for the log.
        """
        self._isDecided = True
        if self.process is None:
            self._takeOver()
            self._delay = self.firstDelay
            self._goOn()
            return succeed([])
        return self.process.commitChange().addErrback(self._failedToCommit)

    def keep(self) -> Deferred[None]:
        """Stay with the present share; fires when what was opened for the other is closed."""
        self._wanted = None
        if self.process is None or not self._isAsked:
            self._goOn()
            return succeed(None)
        asked = self.process.abandonChange().addTimeout(ANSWERING, self._reactor)
        return asked.addErrback(lambda _: None)

    def _failedToCommit(self, failure: Failure) -> list[str]:
        if self.process is not None:  # nobody knows what it relays now; its successor does
            self._log.error(
                "worker {number} could not go over to its new routes and is killed: {problem}",
                number=self.number,
                problem=failure.getErrorMessage(),
            )
            self.process.kill()
        return []

    def _committed(self, routes: list[RouteStatus]) -> None:
        if self._wanted is None or not self._isDecided or len(routes) != len(self._wanted.routes):
            raise ValueError("that is not what it was to go over to")
        self._takeOver()
        self._reported(routes)

    def _takeOver(self) -> None:
        """Have the share that was wanted; what has been counted goes with the routes."""
        wanted, self._wanted = self._wanted, None
        if wanted is None:
            return
        if self._before is not None:
            carried = self.share.carry(self._before, wanted)
            self._before = [each.closed(self._why) for each in carried]
        self.share = wanted

    def _settled(self) -> None:
        settling, self._settling = self._settling, []
        for each in settling:
            each.callback(None)

    def _goOn(self) -> None:
        """Have a process again soon; this waited for a decision."""
        if self.process is None and not self._isStopping:
            self._cancelNext()
            self._tryLater()

    # What the process tells

    def _newProcess(self) -> WorkerProcess:
        events = Events(self._ready, self._counted, self._reported, self._committed, self._ended)
        self.process = WorkerProcess(self._reactor, self.number, events)
        self.starts += 1
        self.longestTurn = 0.0
        self._heardAt, self._isToldLate = self._reactor.seconds(), False
        return self.process

    def _ready(self, opened: list[RouteStatus]) -> None:
        self._reported(opened)
        self._heardAt = self._reactor.seconds()
        self._readySince = self._reactor.seconds()
        if self.process is not None and self.process.isOnReactor:  # not the first time
            self.process.runRoutes()
            self.logStart()
        self._settled()

    def _reported(self, routes: list[RouteStatus]) -> None:
        if len(routes) != len(self.share.routes):
            raise ValueError("another number of routes")
        self._told.report(routes)

    def _counted(self, counters: list[Counters], longestTurn: float) -> None:
        self._heardAt, self.longestTurn = self._reactor.seconds(), longestTurn
        self._told.count(counters)

    def _ended(self, why: str) -> None:
        process, self.process = self.process, None
        final, known = self.placed, self.known
        reason = process.problem if process is not None and process.problem else f"it {why}"
        self._why = f"worker {self.number} is not running: {reason}"
        self._before, self._told = [route.closed(self._why) for route in known], Told()
        if self._isDecided:
            self._takeOver()
        self._settled()
        if self._stopped:
            stopped, self._stopped = self._stopped, []
            for each in stopped:
                each.callback(final)
        elif not self._isStopping and process is not None:
            self._startAgain(process, why)

    # When it has died

    def _startAgain(self, process: WorkerProcess, why: str) -> None:
        if process.isReady and self._reactor.seconds() - self._readySince >= self.steady:
            self._delay = self.firstDelay
        if process.problem:
            self._logFailure(process.problem)
        else:
            self._log.error(
                "worker {number} (process {pid}) {why}; it is started again in {delay:g} s; "
                "{routes}",
                number=self.number,
                pid=process.pid,
                why=why,
                delay=self._delay,
                routes=self._describe(),
            )
        self._tryLater()

    def _tryLater(self) -> None:
        if self._wanted is not None:  # it is soon known what to open
            return
        self._next = self._reactor.callLater(self._delay, self._tryAgain)
        self._delay = min(2 * self._delay, self.longestDelay)

    def _cancelNext(self) -> None:
        callOff(self._next)

    def _tryAgain(self) -> None:
        try:
            process = self._newProcess()
        except OSError as error:
            self._logFailure(error)
            self._tryLater()
        else:
            process.runOn(self._reactor)
            process.openRoutes(self.share.routes)

    def _logFailure(self, problem: object) -> None:
        advice = (
            ".  The first time another user did this, whose rights were given up since: start the "
            "whole relay again, or let it be the same user from the start, for low ports with "
            "CAP_NET_BIND_SERVICE (AmbientCapabilities= in its systemd unit)"
        )
        self._log.error(
            "worker {number} could not be started again: {problem}{advice}; it is tried again in "
            "{delay:g} s; {routes}",
            number=self.number,
            problem=problem,
            advice="" if self._user == os.geteuid() else advice,
            delay=self._delay,
            routes=self._describe(),
        )

    def _describe(self) -> str:
        inputs = list(dict.fromkeys(str(each.input) for each in self.share.routes))
        if not inputs:
            return "it has no routes"
        more = f" and {len(inputs) - 5} more" if len(inputs) > 5 else ""
        return f"it has the routes from {', '.join(inputs[:5])}{more}"

    def abandon(self) -> None:
        """End at once, as if nothing had been."""
        if self.process is not None:
            self._isStopping = True
            self.process.abandon()
            self.process = None
