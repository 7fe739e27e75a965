"""
What a worker process runs: some routes of a relay.

It is started by L{WorkerProcess}, with which it talks over its standard input and output (see
L{txgroupsock.relay.workers.protocol}); when its input ends, it ends.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.protocol import connectionDone
from twisted.internet.stdio import StandardIO
from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    eventAsText,
    globalLogBeginner,
)
from twisted.python.failure import Failure
from twisted.python.reflect import namedModule
from zope.interface import implementer

from txgroupsock.ports.clock import makeSteady
from txgroupsock.relay.engine.model import RelayModel, RouteModel
from txgroupsock.relay.engine.relay import Relay
from txgroupsock.relay.engine.route import Route
from txgroupsock.relay.names import NameResolver
from txgroupsock.relay.turns import PIECE, TurnMeter, Turns, Work, atOnce, inPieces
from txgroupsock.relay.workers.protocol import BlockingPipes, Talk, messageOf, packed

_PATIENCE = 5.0  # seconds that the last words may take, once it is told to end by a signal
_HELD = 1000  # log lines that wait for room in the pipe; of more, the oldest are lost


def main() -> None:
    """
    Run the process; it ends with status 1 if its routes could not be opened.

    Python would take 0.2 s of CPU to tidy up, and there may be many workers to wait for.
    """
    # Ctrl-C is sent to the whole terminal, and so may SIGUSR1 be: both are meant for the parent.
    for each in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(each, signal.SIG_IGN)
    pipes, worker = BlockingPipes(0, 1), Worker()
    worker.talkOver(pipes)
    globalLogBeginner.beginLoggingTo([worker])
    if not worker.prepare(pipes):
        os._exit(1)
    worker.run()
    os._exit(0)


@implementer(ILogObserver)
class Worker(Talk):
    """
    The worker's end of the talk, and what it talks about.

    @ivar isRunning: whether it was told to relay, and not only to be ready to.
    """

    _log = Logger()
    _relay: Relay
    _reactor: Any
    _turns: Turns
    _meter: TurnMeter

    def __init__(self) -> None:
        self.isRunning = False
        self._lost: Deferred[None] = Deferred()
        self._isStopping = self._isPaused = False
        self._decision: Deferred[int] | None = None  # on the change that is being made
        self._changed: Deferred[Any] = succeed(None)  # the last change is over
        self._held: deque[dict[str, object]] = deque(maxlen=_HELD)

    # What it is told

    def _open(self, reactor: str, routes: Sequence[Any]) -> None:
        """Open routes, but relay nothing yet: that is not to be done with root's rights."""
        try:
            namedModule(reactor).install()
        except (ImportError, AttributeError) as error:
            self._log.warn(
                "the usual reactor is used, for {reactor} has none to install: {error}",
                reactor=reactor,
                error=error,
            )
        from twisted.internet import reactor as installed

        makeSteady(installed)
        self._reactor = installed
        self._reactor.installNameResolver(NameResolver(installed))
        self._turns, self._meter = Turns(installed), TurnMeter(installed)
        try:
            model = RelayModel(tuple(RouteModel.fromJSON(each) for each in routes))
            self._relay = Relay.of(installed, model)
            self._relay.openRelay()
        except OSError as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 - nobody else would tell the parent
            self._log.failure("the routes could not be opened")
            self._fail(f"a worker process failed with {error!r}, please report it")
        else:
            kind = type(installed)
            name = f"{kind.__module__}.{kind.__qualname__}"
            self._sayAfter(self._statusNow(), "ready", reactor=name)

    def _fail(self, problem: str) -> None:
        self.say("failed", problem=problem)
        self.transport.loseConnection()

    def _run(self, groups: list[int], gids: list[int], uids: list[int]) -> None:
        """Become who the parent is, and relay."""
        now = [sorted(os.getgroups()), [os.getgid(), os.getegid()], [os.getuid(), os.geteuid()]]
        if now != [sorted(groups), gids, uids]:
            os.setgroups(groups)
            os.setregid(*gids)
            os.setreuid(*uids)
        self.isRunning = True

    def _count(self) -> None:
        self._answerAfter(self._counters, "counts")

    def _status(self, number: int) -> None:
        self._answerAfter(self._pieces, "status", number=number)

    def _answerAfter(
        self, make: Callable[[Sequence[Route]], Work[list[str]]], kind: str, **fields: object
    ) -> None:
        answering = Deferred.fromCoroutine(self._answerInTurns(make, kind, fields))
        answering.addErrback(self._noAnswer, kind)

    async def _answerInTurns(
        self,
        make: Callable[[Sequence[Route]], Work[list[str]]],
        kind: str,
        fields: dict[str, object],
    ) -> None:
        """Say something when it is made, a little at a time, so that no stream has to wait."""
        while True:
            routes = self._relay.routes
            lines = await self._turns.made(make(routes))
            if routes is self._relay.routes:  # else they have been changed meanwhile
                break
        if kind == "counts":
            fields["turn"] = round(self._meter.longest, 6)
        if not self._isStopping and not self._lost.called:
            self._sayAfter(lines, kind, **fields)

    def _pieces(self, routes: Sequence[Route]) -> Work[list[str]]:
        """The status of these, as lines."""
        lines: list[str] = []
        for route in routes:
            status = yield from route.makingStatus()
            for piece in status.pieces():
                yield
                lines.append(messageOf("piece", piece=piece))
        return lines

    def _counters(self, routes: Sequence[Route]) -> Work[list[str]]:
        """What these have counted, as lines."""
        counters = [part.counters for route in routes for part in route.parts]
        counted = yield from inPieces(packed, counters)
        return [
            messageOf("some", counters=counted[at : at + 4 * PIECE])
            for at in range(0, len(counted), 4 * PIECE)
        ]

    def _noAnswer(self, failure: Failure, kind: str) -> None:
        self._log.failure("no {kind} could be made", failure, kind=kind)

    def _change(self, number: int, routes: Sequence[Any]) -> None:
        """Open what is new in other routes, and wait to be told whether to go over to them."""
        self._decision = Deferred()
        self._changed = Deferred.fromCoroutine(self._goOver(number, routes, self._decision))

    async def _goOver(
        self, number: int, routes: Sequence[Any], decision: Deferred[int]
    ) -> tuple[str, ...] | None:
        """
        @param number: of the question, which is answered if there is no decision; else that is.
        @return: for the log, when what is gone is closed; L{None} if all stays as it is.
        """

        async def agree() -> bool:
            nonlocal number
            self._answer("prepared", number=number)
            committing = await decision
            number = committing or number
            return committing > 0

        try:
            model = RelayModel(tuple(RouteModel.fromJSON(each) for each in routes))
            return (await self._relay.change(model, agree)).lines
        except CancelledError:
            pass
        except (OSError, RuntimeError) as error:
            self._answer("refused", number=number, problem=str(error))
        except Exception as error:  # noqa: BLE001 - nobody else would tell the parent
            self._log.failure("the routes could not be changed")
            problem = f"a worker process failed with {error!r}, please report it"
            self._answer("refused", number=number, problem=problem)
        return None

    def _commit(self, number: int) -> None:
        self._decide(number)
        self._sayAfter(self._statusNow(), "committed")
        self._changed.addCallback(self._sayChanged, number)

    def _sayChanged(self, lines: tuple[str, ...] | None, number: int) -> None:
        if lines is not None:  # else it has said why
            self._answer("changed", number=number, lines=lines)

    def _abandon(self, number: int) -> None:
        self._decide(0)
        self._changed.addCallback(lambda _: self._answer("kept", number=number))

    def _decide(self, number: int) -> None:
        """@param number: of the word to go over; 0 if all is to stay as it is."""
        decision, self._decision = self._decision, None
        if decision is None:
            raise ValueError("there is no change to decide on")
        decision.callback(number)

    def _answer(self, kind: str, **fields: object) -> None:
        """Say something some time after it was asked for: there may be nobody left."""
        if not self._isStopping and not self._lost.called:
            self.say(kind, **fields)

    def _stop(self) -> None:
        wasStopping, self._isStopping = self._isStopping, True
        if self._reactor.running and not wasStopping:
            self._reactor.stop()

    handlers = {
        "open": _open,
        "run": _run,
        "count": _count,
        "status": _status,
        "change": _change,
        "commit": _commit,
        "abandon": _abandon,
        "stop": _stop,
    }

    def junkReceived(self, line: bytes, error: Exception) -> None:
        """See L{Talk}."""
        self._log.warn(
            "the parent process says {size} bytes that are no message: {kind}",
            size=len(line),  # not what they are: routes have hooks with tokens in them
            kind=type(error).__name__,
        )

    # What it does

    def prepare(self, pipes: BlockingPipes) -> bool:
        """Do as told until told to run; returns whether that came."""
        try:
            while not self.isRunning and not pipes.disconnecting:
                data = pipes.read()
                if not data:
                    break
                self.dataReceived(data)
        except BrokenPipeError:
            pass
        return self.isRunning

    def run(self) -> None:
        """Relay until told to stop, by the parent or a signal, or until the parent is gone."""
        reactor = self._reactor
        reactor.addSystemEventTrigger("before", "shutdown", self._end)
        reactor.callWhenRunning(self._connect)
        reactor.run()

    def _connect(self) -> None:
        # Twisted's own fails where the parent's word comes just before the signal.
        signal.signal(signal.SIGTERM, lambda *_: self._reactor.callFromThread(self._stop))
        StandardIO(self, reactor=self._reactor)
        self._meter.start()
        gc.freeze()  # looking for garbage in a thousand routes takes 0.1 s
        if self._isStopping:  # it was told so together with being told to run
            self._reactor.stop()

    def connectionMade(self) -> None:
        """See L{Talk}; from now on the reactor writes what is said."""
        if self.isRunning:
            self.transport.registerProducer(self, True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Talk}: the parent is gone, or has been told all."""
        self._lost.callback(None)
        self._stop()

    def _end(self) -> Deferred[Any]:
        """Say how far it came, and give all back; the reactor is stopping."""
        self._isStopping = True
        if not self._lost.called:
            self.resumeProducing()
            self._sayAfter(self._statusNow(), "ended")
            self.transport.unregisterProducer()
            self.transport.loseConnection()  # once all that was said is written
        closing: list[Deferred[Any]] = [self._relay.closeRelay(), self._lost]
        if self._decision is not None:
            self._decide(0)
        closed: Deferred[Any] = gatherResults(closing)
        return closed.addTimeout(_PATIENCE, self._reactor).addErrback(lambda _: None)

    def _statusNow(self) -> list[str]:
        return atOnce(self._pieces(self._relay.routes))

    def _sayAfter(self, lines: Sequence[str], kind: str, **fields: object) -> None:
        """Say something after what belongs to it, with nothing in between."""
        self.transport.write("".join([*lines, messageOf(kind, **fields)]).encode())

    # What it logs

    def __call__(self, event: LogEvent) -> None:
        """See L{ILogObserver}: the parent logs it."""
        level = event.get("log_level") or LogLevel.info
        line = {
            "level": level.name,
            "namespace": str(event.get("log_namespace", "-")),
            "time": event.get("log_time") or time.time(),  # noqa: TID251 - for people
            "text": eventAsText(event, includeTimestamp=False, includeSystem=False),
        }
        if threading.current_thread() is threading.main_thread():
            self._sayLog(line)
        else:
            self._reactor.callFromThread(self._sayLog, line)

    def _sayLog(self, line: dict[str, object]) -> None:
        if self._isPaused:
            self._held.append(line)
        elif not self._lost.called and not self.transport.disconnecting:
            self.say("log", **line)

    def pauseProducing(self) -> None:
        """See L{IPushProducer}: the parent does not read for now, so log lines wait."""
        self._isPaused = True

    def resumeProducing(self) -> None:
        """See L{IPushProducer}."""
        self._isPaused = False
        while self._held and not self._isPaused:
            self._sayLog(self._held.popleft())

    def stopProducing(self) -> None:
        """See L{IPushProducer}: the parent is gone, which L{connectionLost} sees to."""
