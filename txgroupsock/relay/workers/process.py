"""One worker process as its parent sees it, from its start to its end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.logger import Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from txgroupsock.ports.clock import callOff, steady, unwrapped
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.engine.model import RouteModel
from txgroupsock.relay.status import Pieces, RouteStatus
from txgroupsock.relay.workers.protocol import BlockingPipes, Talk, unpacked

START_PATIENCE = 60.0
"""Seconds in which a worker has to open its routes."""

STOP_PATIENCE = 5.0
"""Seconds after which a worker that was told to end, and has not, is killed."""

_LEVELS = {each.name: each for each in LogLevel.iterconstants()}

_REAPING = 0.05  # seconds from one look for the end of a process to the next

_PROGRAM = (
    # What its parent would import it imports, but nothing from the folder where that happens to
    # run, which Python, unlike twistd, would look into first: it may belong to another user.
    "import sys; sys.path[:] = filter(None, sys.path); "
    "from txgroupsock.relay.workers.child import main; main()"
)


@frozen
class Events:
    """
    What a process tells its owner, by calling these.

    @ivar ready: its routes are open; with what they are now.
    @ivar counted: with counters, route by route, in the order of C{RouteStatus.ends}, in one list;
        and how many seconds a turn of its reactor lately took at most.
    @ivar reported: with what its routes are now.
    @ivar committed: it has gone over to other routes; with what these are now.
    @ivar ended: the process is no more, nor will anything more come from it; why it is not.
    """

    ready: Callable[[list[RouteStatus]], None]
    counted: Callable[[list[Counters], float], None]
    reported: Callable[[list[RouteStatus]], None]
    committed: Callable[[list[RouteStatus]], None]
    ended: Callable[[str], None]


class WorkerProcess(Talk):
    """
    The parent's end of the talk with one worker process.

    @ivar pid: the number of the process; 0 if it had ended before it could be known.
    @ivar reactor: the class of its reactor, once it is ready.
    @ivar isReady: whether its routes are open.
    @ivar isOnReactor: whether L{runOn} was called.
    @ivar isCounting: whether it was asked for its counters, and has not answered.
    @ivar problem: why it could not open its routes, if it said so.
    """

    _log = Logger()

    def __init__(self, reactor: Any, number: int, events: Events) -> None:
        """
        Start the process; see L{openRoutes}.

        @raise OSError: the system has no more processes or descriptors.
        """
        self._reactor = steady(reactor)
        self._number = number
        self._events = events
        self.reactor = self.problem = ""
        self.isReady = self.isOnReactor = self.isCounting = False
        self._asked = 0  # how many questions with a number
        self._answers: dict[int, Deferred[Any]] = {}  # that are waited for, by that number
        self._pieces = Pieces()
        self._counters: list[Counters] = []
        self._lastWords = ""  # what it wrote that was no message: an error of Python's
        self._pipesEnded = False
        self._exit = ""
        self._killing: IDelayedCall | None = None
        self._reaping: IDelayedCall | None = None
        with ExitStack() as mine, ExitStack() as its:
            toIt, fromIt = _pipe(its, mine), _pipe(mine, its)
            self._reading, self._writing = fromIt[0], toIt[1]
            self._process: Any = reactor.spawnProcess(
                _Exit(self._exited),
                sys.executable,
                [sys.executable, "-c", _PROGRAM, str(number)],
                {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                childFDs={0: toIt[0], 1: fromIt[1], 2: fromIt[1]},
            )
            mine.pop_all()
        self.pid = int(self._process.pid or 0)
        self._blocking = BlockingPipes(self._reading, self._writing, START_PATIENCE)
        self.talkOver(self._blocking)

    def fileno(self) -> int:
        """Where it can be waited for with a selector until L{runOn}."""
        return self._reading

    # What it is told

    def openRoutes(self, routes: Sequence[RouteModel]) -> None:
        """
        Have it open its routes; before L{runOn} this may wait.

        @raise OSError: it does not listen, and not because it is dead.
        """
        reactor = type(unwrapped(self._reactor)).__module__
        try:
            self.say("open", reactor=reactor, routes=[each.toJSON() for each in routes])
        except BrokenPipeError:  # the reading end knows more
            pass

    def waitReady(self) -> bool:
        """
        Wait for something from it, and handle that; before L{runOn} only.

        @return: whether it need not be waited for again, since it is ready or failed.
        """
        data = self._blocking.read()
        if data:
            self.dataReceived(data)
        elif not self.problem:
            self.problem = f"worker {self._number} ended before it was ready"
            if self._lastWords:
                self.problem += f": {self._lastWords}"
        return self.isReady or bool(self.problem)

    def runOn(self, reactor: Any) -> None:
        """Have a reactor read and write from now on."""
        self.isOnReactor = True
        talk: Any = StandardIO  # mypy takes Windows', which has other arguments
        talk(self, stdin=self._reading, stdout=self._writing, reactor=reactor)

    def runRoutes(self) -> None:
        """Have it relay, as the user who this process is now."""
        self.say(
            "run",
            groups=os.getgroups(),
            gids=[os.getgid(), os.getegid()],
            uids=[os.getuid(), os.geteuid()],
        )

    def askCounters(self) -> None:
        """Ask for its counters; the answer is an event."""
        self.isCounting = True
        self.say("count")

    def askStatus(self) -> Deferred[None]:
        """Ask for its status; fires when the answer has come, which is an event, or fails."""
        return self._ask("status")

    def askChange(self, routes: Sequence[RouteModel]) -> Deferred[None]:
        """
        Have it open what is new in other routes.

        @return: fires when that is open; or fails with L{OSError}: why it is not, or that the
            process has ended.
        """
        return self._ask("change", routes=[each.toJSON() for each in routes])

    def commitChange(self) -> Deferred[list[str]]:
        """
        Have it go over to these routes.

        @return: fires, when what is gone is closed, with lines for the log; or fails as above.
        """
        return self._ask("commit")

    def abandonChange(self) -> Deferred[None]:
        """Have it close what was opened for these routes; fires when it has, or fails as above."""
        return self._ask("abandon")

    def _ask(self, kind: str, **fields: object) -> Deferred[Any]:
        self._asked += 1
        answer = self._answers[self._asked] = Deferred()
        self.say(kind, number=self._asked, **fields)
        return answer

    def _answered(self, number: int) -> Deferred[Any]:
        """Who waits for that; what nobody asked for, or has been answered, is a LookupError."""
        return self._answers.pop(number)

    def stop(self) -> None:
        """Have it say how far it came, and end; or kill it."""
        if self.isReady:
            self.say("stop")
        else:
            self.transport.loseConnection()
        self._killLater()

    def abandon(self) -> None:
        """Kill it, and listen to it no more; before L{runOn} only."""
        self.kill()
        self._closePipes()

    def kill(self) -> None:
        """End it at once."""
        try:
            self._process.signalProcess("KILL")
        except ProcessExitedAlready:
            pass
        except PermissionError:
            # It has not yet become who this process is now; it will end with its pipe.
            self._log.warn("may not kill worker {number}", number=self._number)

    def killSurely(self) -> None:
        """End it at once; if that may not be, have it see that nobody is there for it any more."""
        self.kill()
        if self.isOnReactor:
            self.transport.loseConnection()

    # What it says

    def _piece(self, piece: dict[str, Any]) -> None:
        self._pieces.add(piece)

    def _some(self, counters: list[Any]) -> None:
        self._counters += map(unpacked, counters)

    def _ready(self, reactor: str) -> None:
        opened = self._pieces.taken()
        self.isReady, self.reactor = True, str(reactor)
        self._events.ready(opened)

    def _failed(self, problem: str) -> None:
        self.problem = str(problem)

    def _counts(self, turn: float) -> None:
        self.isCounting = False
        counters, self._counters = self._counters, []
        self._events.counted(counters, float(turn))

    def _status(self, number: int) -> None:
        routes = self._pieces.taken()
        answered = self._answered(number)
        try:
            self._events.reported(routes)
        finally:
            answered.callback(None)

    def _done(self, number: int) -> None:
        self._answered(number).callback(None)

    def _refused(self, number: int, problem: str) -> None:
        self._answered(number).errback(OSError(str(problem)))

    def _committed(self) -> None:
        self._events.committed(self._pieces.taken())

    def _changed(self, number: int, lines: list[str]) -> None:
        told = [str(each) for each in lines]
        self._answered(number).callback(told)

    def _ended(self) -> None:
        self._events.reported(self._pieces.taken())

    def _logged(self, level: str, namespace: str, time: float, text: str) -> None:
        globalLogPublisher(
            {
                "log_level": _LEVELS[level],
                "log_namespace": str(namespace),
                "log_system": f"worker {self._number}, {namespace}#{level}",
                "worker": self._number,
                "log_time": float(time),
                "log_format": "{text}",
                "text": str(text),
            }
        )

    handlers = {
        "piece": _piece,
        "some": _some,
        "ready": _ready,
        "failed": _failed,
        "counts": _counts,
        "status": _status,
        "prepared": _done,
        "refused": _refused,
        "committed": _committed,
        "changed": _changed,
        "kept": _done,
        "ended": _ended,
        "log": _logged,
    }

    def junkReceived(self, line: bytes, error: Exception) -> None:
        """See L{Talk}."""
        if not line.strip():
            return
        self._lastWords = line[:1000].decode(errors="replace").strip()
        self._log.warn("worker {number} wrote: {words}", number=self._number, words=self._lastWords)

    def lineLengthExceeded(self, line: bytes) -> None:
        """See L{Talk}: it has gone mad."""
        self._log.error(
            "worker {number} wrote a line of over {limit:,} bytes and is killed",
            number=self._number,
            limit=self.MAX_LENGTH,
        )
        self.kill()

    # Its end

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See L{Talk}: nothing more comes from it."""
        self._closePipes()  # StandardIO leaves that to others
        self._pipesEnded = True
        self._killLater()
        self._endIfAll()
        self._reap()

    def _exited(self, why: str) -> None:
        self._exit = why
        for each in (self._killing, self._reaping):
            callOff(each)
        self._endIfAll()

    def _reap(self) -> None:
        """Look whether it has ended: uvloop keeps to itself the signal that would tell."""
        if not self._exit:
            self._reaping = self._reactor.callLater(_REAPING, self._reap)
            self._process.reapProcess()

    def _endIfAll(self) -> None:
        """What it said last may come after its end."""
        if not self._exit or not self._pipesEnded:
            return
        # Not at once: the reactor may hold further events of these pipes, and would take them
        # for those of new pipes with the same numbers.
        self._reactor.callLater(0, self._end)

    def _end(self) -> None:
        self._events.ended(self._exit)
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            answer.errback(ConnectionError(f"worker {self._number} {self._exit}"))

    def _closePipes(self) -> None:
        for each in (self._reading, self._writing):
            os.close(each)

    def _killLater(self) -> None:
        def kill() -> None:
            self._log.warn(
                "worker {number} did not end within {seconds:g} s and is killed",
                number=self._number,
                seconds=STOP_PATIENCE,
            )
            self.kill()

        if self._killing is None and not self._exit:
            self._killing = self._reactor.callLater(STOP_PATIENCE, kill)


class _Exit(ProcessProtocol):
    """Tells how a process ended, in words."""

    def __init__(self, ended: Callable[[str], None]) -> None:
        self._ended = ended

    def processEnded(self, reason: Failure) -> None:
        """See L{IProcessProtocol}."""
        end = reason.value
        if isinstance(end, ProcessTerminated) and end.signal:
            self._ended(f"was ended by {signal.Signals(end.signal).name}")
        elif isinstance(end, (ProcessTerminated, ProcessDone)):
            self._ended(f"exited with status {end.exitCode}")
        else:
            self._ended(f"ended: {reason.getErrorMessage()}")


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    """A pipe; each of its ends is closed by one of these."""
    ends = os.pipe()
    for each, owner in zip(ends, (reader, writer), strict=True):
        owner.callback(os.close, each)
    return ends
