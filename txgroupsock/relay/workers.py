"""
The routes of one relay in several processes.

    this process              worker 1: routes 1, 3, ...
      supervises, adds up     worker 2: routes 2, 5, ...

A worker has its routes alone: nothing of a datagram goes between processes.  Every second it
is asked for its counters, which this process keeps, so that when it dies its successor goes on
counting from there.
"""

from __future__ import annotations

import os
import selectors
from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.interfaces import IRelay
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.filelimit import allowOpenFiles
from txgroupsock.relay.plan import RelayModel, RouteModel
from txgroupsock.relay.split import split
from txgroupsock.relay.status import RouteStatus
from txgroupsock.relay.workerprocess import START_PATIENCE, Events, WorkerProcess

COUNTING = 1.0
"""Seconds from one look at the counters to the next."""

ANSWERING = 2.0
"""Seconds that a worker's status is waited for; after that its last counters are taken."""

_SILENT = 10  # seconds without counters that are worth a line of log
_SPARE_FILES = 64  # of Python, Twisted and what else is in the process
_FILES = 4  # that one worker needs here while it starts


@implementer(IRelay)
class Workers:
    """
    A relay whose routes are shared out among processes.

    @ivar workers: see L{Worker}.
    """

    _log = Logger()

    def __init__(self, reactor: Any, model: RelayModel, count: int) -> None:
        """
        @param reactor: provides C{IReactorProcess}, C{IReactorFDSet}, C{IReactorTime} and
            C{IReactorCore}; workers run on one of the same class.
        @param count: how many processes, at most.
        """
        self._reactor = reactor
        self._asked = count
        shares = split(model.routes, count)
        self.workers = tuple(
            Worker(reactor, number, [model.routes[index] for index in share])
            for number, share in enumerate(shares, 1)
        )
        order = [index for share in shares for index in share]
        self._places = sorted(range(len(order)), key=order.__getitem__)
        self._counting = LoopingCall(self._count)
        self._counting.clock = reactor

    def openRelay(self) -> list[RouteStatus]:
        """
        See L{IRelay}; waits until every worker has opened its routes.

        They relay once the reactor runs, and by then this process has the user that it is
        to keep, whom they become as well.
        """
        workers = self.workers
        if len(workers) < self._asked:
            self._log.info(
                "{count} of {asked} workers are started: there is no work for more, since routes "
                "with the same input, or that feed each other, have one worker",
                count=len(workers),
                asked=self._asked,
            )
        allowOpenFiles(_SPARE_FILES + _FILES * len(workers))
        try:
            self._begin()
        except KeyboardInterrupt:
            self._abandon()
            raise InterruptedError("interrupted") from None
        except BaseException:
            self._abandon()
            raise
        for each in workers:
            each.logStart()
        self._reactor.callWhenRunning(self._run)
        return self._inOrder([each.known for each in workers])

    def closeRelay(self) -> Deferred[list[RouteStatus]]:
        """See L{IRelay}; a worker that does not end is killed."""
        if self._counting.running:
            self._counting.stop()
        return gatherResults([each.stop() for each in self.workers]).addCallback(self._inOrder)

    def status(self) -> Deferred[list[RouteStatus]]:
        """See L{IRelay}; what a worker last said, if it does not answer."""
        return gatherResults([each.status() for each in self.workers]).addCallback(self._inOrder)

    def counters(self) -> list[tuple[str, list[Counters]]]:
        """See L{IRelay}."""
        known = self._inOrder([each.known for each in self.workers])
        return [(each.name, [end.counters for end in each.ends]) for each in known]

    def _begin(self) -> None:
        """Start every worker, as many at a time as there are cores to start them."""
        left = list(reversed(self.workers))
        with selectors.DefaultSelector() as selector:
            while left or selector.get_map():
                while left and len(selector.get_map()) < (os.cpu_count() or 1):
                    process = left.pop().begin()
                    selector.register(process, selectors.EVENT_READ, process)
                heard = selector.select(START_PATIENCE)
                if not heard:
                    raise TimeoutError(
                        f"worker processes did not open their routes within {START_PATIENCE:g} s"
                    )
                for key, _ in heard:
                    if key.data.waitReady():
                        selector.unregister(key.fileobj)
                        if key.data.problem:
                            raise OSError(key.data.problem)

    def _run(self) -> None:
        for each in self.workers:
            each.run()
        if not self._counting.running:
            self._counting.start(COUNTING, now=False)

    def _abandon(self) -> None:
        for each in self.workers:
            each.abandon()

    def _count(self) -> None:
        for each in self.workers:
            each.count()

    def _inOrder(self, shares: Sequence[list[RouteStatus]]) -> list[RouteStatus]:
        """The routes of all workers as they were given."""
        routes = [route for share in shares for route in share]
        return [routes[place] for place in self._places]


class Worker:
    """
    Some routes, in one process after another.

    @cvar firstDelay: seconds after which a process that has died is followed by another; doubled
        for each that dies soon, up to C{longestDelay}.
    @cvar steady: seconds after which a process did not die soon.
    @ivar number: its number, from 1.
    @ivar routes: what it has to relay.
    @ivar process: the present process, if any.
    """

    firstDelay: ClassVar[float] = 0.1
    longestDelay: ClassVar[float] = 30.0
    steady: ClassVar[float] = 10.0

    _log = Logger()

    def __init__(self, reactor: Any, number: int, routes: Sequence[RouteModel]) -> None:
        self._reactor = reactor
        self.number = number
        self.routes = tuple(routes)
        self.process: WorkerProcess | None = None
        self._isStopping = False
        self._now: list[RouteStatus] | None = None  # of the present process
        self._before: list[RouteStatus] | None = None  # of those that have died
        self._user = -1  # who opened the routes first
        self._delay = self.firstDelay
        self._readySince = 0.0
        self._silence = 0
        self._next: IDelayedCall | None = None
        self._stopped: Deferred[list[RouteStatus]] | None = None

    @property
    def known(self) -> list[RouteStatus]:
        """What is known of its routes, in their order; with all that they ever counted."""
        now, before = self._now, self._before
        if now is None or before is None:
            return now or before or []
        return [one.after(other) for one, other in zip(now, before, strict=True)]

    # From the start to the end, as long as all is well

    def begin(self) -> WorkerProcess:
        """
        Start the first process, which is ready once it says so (L{WorkerProcess.waitReady}).

        @raise OSError: it cannot be started.
        """
        self._isStopping = False
        self._delay = self.firstDelay
        self._user = os.geteuid()
        process = self._newProcess()
        process.openRoutes(self.routes)
        return process

    def run(self) -> None:
        """Relay; the reactor is running."""
        if self.process is not None:
            self.process.runOn(self._reactor)
            self.process.runRoutes()

    def status(self) -> Deferred[list[RouteStatus]]:
        """What its routes are now."""
        if self.process is None or not self.process.isReady:
            return succeed(self.known)
        asked = self.process.askStatus().addTimeout(ANSWERING, self._reactor)
        return asked.addErrback(lambda _: None).addCallback(lambda _: self.known)

    def stop(self) -> Deferred[list[RouteStatus]]:
        """End; fires with what its routes were then."""
        self._isStopping = True
        if self._next is not None and self._next.active():
            self._next.cancel()
        if self.process is None:
            return succeed(self.known)
        if not self.process.isOnReactor:
            self.abandon()
            return succeed(self.known)
        self._stopped = Deferred()
        self.process.stop()
        return self._stopped

    def count(self) -> None:
        """Ask how far it is."""
        process = self.process
        if process is None or not process.isReady:
            return
        if not process.isCounting:
            self._silence = 0
            process.askCounters()
            return
        self._silence += 1
        if self._silence == _SILENT:
            self._log.warn(
                "worker {number} has not answered for {seconds} s, so its routes may stand still; "
                "'kill -9 {pid}' has it started again",
                number=self.number,
                seconds=_SILENT,
                pid=process.pid,
            )

    def logStart(self) -> None:
        """Say what there is."""
        self._log.info(
            "worker {number} is process {process.pid}, with {routes} routes and {outputs} outputs; "
            "reactor class: {process.reactor}",
            number=self.number,
            process=self.process,
            routes=len(self.routes),
            outputs=sum(len(each.outputs) for each in self.routes),
        )

    # What the process tells

    def _newProcess(self) -> WorkerProcess:
        events = Events(self._ready, self._counted, self._reported, self._ended)
        self.process = WorkerProcess(self._reactor, self.number, events)
        return self.process

    def _ready(self, opened: list[RouteStatus]) -> None:
        self._reported(opened)
        self._silence = 0
        self._readySince = self._reactor.seconds()
        if self.process is not None and self.process.isOnReactor:  # not the first time
            self.process.runRoutes()
            self.logStart()

    def _reported(self, routes: list[RouteStatus]) -> None:
        if len(routes) != len(self.routes):
            raise ValueError("another number of routes")
        self._now = routes

    def _counted(self, counters: list[list[Counters]]) -> None:
        if self._now is not None:
            both = zip(self._now, counters, strict=True)
            self._now = [route.counted(each) for route, each in both]

    def _ended(self, why: str) -> None:
        process, self.process = self.process, None
        final = self.known
        reason = process.problem if process is not None and process.problem else f"it {why}"
        warning = f"worker {self.number} is not running: {reason}"
        self._before, self._now = [each.closed(warning) for each in final], None
        if self._stopped is not None:
            stopped, self._stopped = self._stopped, None
            stopped.callback(final)
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
        self._next = self._reactor.callLater(self._delay, self._tryAgain)
        self._delay = min(2 * self._delay, self.longestDelay)

    def _tryAgain(self) -> None:
        try:
            process = self._newProcess()
        except OSError as error:
            self._logFailure(error)
            self._tryLater()
        else:
            process.runOn(self._reactor)
            process.openRoutes(self.routes)

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
        inputs = list(dict.fromkeys(str(each.input) for each in self.routes))
        more = f" and {len(inputs) - 5} more" if len(inputs) > 5 else ""
        return f"it has the routes from {', '.join(inputs[:5])}{more}"

    def abandon(self) -> None:
        """End at once, as if nothing had been."""
        if self.process is not None:
            self._isStopping = True
            self.process.abandon()
            self.process = None
