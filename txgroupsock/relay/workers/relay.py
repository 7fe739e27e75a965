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
from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList, DeferredLock, gatherResults
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.ports.clock import steady
from txgroupsock.primitives.checks import needClosed
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.engine.filelimit import allowOpenFiles
from txgroupsock.relay.engine.interfaces import IRelay
from txgroupsock.relay.engine.model import RelayModel
from txgroupsock.relay.status import Outcome, RouteStatus
from txgroupsock.relay.workers.assignment import Resharing, Share, shareOut
from txgroupsock.relay.workers.process import START_PATIENCE
from txgroupsock.relay.workers.supervisor import Placed, Worker

COUNTING = 1.0
"""Seconds from one look at the counters to the next."""

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
        self._reactor = reactor = steady(reactor)
        self._asked = count
        shares = enumerate(shareOut(model.routes, count), 1)
        self.workers = tuple(Worker(reactor, number, share) for number, share in shares)
        self._isOpen = False
        self._changing = DeferredLock()
        self._counting = LoopingCall(self._count)
        self._counting.clock = reactor

    def openRelay(self) -> list[RouteStatus]:
        """
        See L{IRelay}; waits until every worker has opened its routes.

        They relay once the reactor runs, and by then this process has the user that it is
        to keep, whom they become as well.
        """
        needClosed(self, self._isOpen)
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
        self._isOpen = True
        return self._known()

    def closeRelay(self) -> Deferred[list[RouteStatus]]:
        """See L{IRelay}; a worker that does not end is killed."""
        self._isOpen = False
        if self._counting.running:
            self._counting.stop()
        stopped = gatherResults([each.stop() for each in self.workers]).addCallback(_inOrder)
        return stopped.addCallback(self._whenUnchanging)

    def status(self) -> Deferred[list[RouteStatus]]:
        """See L{IRelay}; what a worker last said, if it does not answer."""
        asked = gatherResults([each.status() for each in self.workers])
        return asked.addCallback(lambda _: self._known())

    def counters(self) -> Iterator[tuple[str, list[Counters]]]:
        """See L{IRelay}."""
        several = [worker.counters() for worker in self.workers]
        for _, name, counters in merge(*several, key=lambda route: route[0]):
            yield name, counters

    def change(self, model: RelayModel) -> Deferred[Outcome]:
        """
        See L{IRelay}.

        All workers whose routes change open what is new; only if each of them could does the
        first one close anything.  A worker that dies before it has said whether it could undoes
        the change; if one dies after that, its successor has the new routes.
        """
        return self._changing.run(lambda: Deferred.fromCoroutine(self._change(model)))

    async def _change(self, model: RelayModel) -> Outcome:
        self._checkOpen()
        there = [each.share for each in self.workers]
        resharing = Resharing.of(there, model.routes, self._asked)
        before, shares = self.workers, resharing.shares
        self._startMore(len(shares))
        changing = [
            (worker, share)
            for worker, share in zip(self.workers, shares, strict=True)
            if worker.share.routes != share.routes
        ]
        asked = [worker.prepare(share) for worker, share in changing]
        answers: list[tuple[bool, Any]] = await DeferredList(asked, consumeErrors=True)
        try:
            self._checkOpen()
            for isPrepared, answer in answers:
                if not isPrepared:
                    answer.raiseException()
        except BaseException:
            await gatherResults([worker.keep() for worker, _ in changing])
            await self._stopMore(before)
            raise
        committing = [worker.commit() for worker, _ in changing]
        for worker, share in zip(self.workers, shares, strict=True):
            if worker.share.routes == share.routes:
                worker.share = share  # its routes may have other places
        lines = [line for each in await gatherResults(committing) for line in each]
        return evolve(resharing.outcome, lines=tuple(lines))

    def _whenUnchanging(self, routes: list[RouteStatus]) -> Deferred[list[RouteStatus]]:
        return self._changing.run(lambda: routes)

    def _checkOpen(self) -> None:
        if not self._isOpen:
            raise RuntimeError("this relay is not open, so nothing can be changed in it")

    def _startMore(self, count: int) -> None:
        """Have so many workers, if there was no work for them before."""
        before = self.workers
        allowOpenFiles(_SPARE_FILES + _FILES * count)
        try:
            for number in range(len(before) + 1, count + 1):
                worker = Worker(self._reactor, number, Share())
                worker.start()
                self.workers += (worker,)
        except OSError:
            self._stopMore(before)
            raise

    def _stopMore(self, before: tuple[Worker, ...]) -> Deferred[Any]:
        """Be without the workers that were started for a change."""
        more, self.workers = self.workers[len(before) :], before
        return gatherResults([each.stop() for each in more])

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

    def _known(self) -> list[RouteStatus]:
        return _inOrder([each.placed for each in self.workers])


def _inOrder(shares: Sequence[list[Placed]]) -> list[RouteStatus]:
    """The routes of all workers as they were given."""
    placed = [each for share in shares for each in share]
    return [route for _, route in sorted(placed, key=lambda route: route[0])]
