"""Telling others of alarms: a command that is run, or a URL that is posted to."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit, urlunsplit

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from txgroupsock.ports.clock import callOff, steady
from txgroupsock.primitives.arguments import checked
from txgroupsock.relay.counters import counted
from txgroupsock.relay.health.alarms import Alarm
from txgroupsock.relay.health.body import JSONBody
from txgroupsock.relay.health.command import GRACE, HookError, RunningCommand
from txgroupsock.relay.health.model import checkCommand, checkURL
from txgroupsock.relay.secrecy import shownURL
from txgroupsock.relay.threads import Threads

_PREFIX = "GROUPSOCK_ALARM_"
_MOST_NAMES = 3  # of routes, in a line of log
_ENDING = GRACE + 0.5  # seconds that nobody waits any longer for what is to end


class Hook:
    """
    Tells of one alarm after the other, in order; the rest wait.

    Stages may share one.  Whoever made it closes it.

    @cvar mostWaiting: alarms that may wait; what comes then is dropped.
    @cvar lastSeconds: in which it tells of what waits once nobody needs it any more.
    @ivar told: alarms that somebody was told of.
    @ivar dropped: alarms that nobody was told of.
    @ivar users: the names of the routes whose alarms it is told, for the log.
    """

    mostWaiting: ClassVar[int] = 100
    lastSeconds: ClassVar[float] = 2.0

    _log = Logger()

    @checked
    def __init__(self, reactor: Any, seconds: float = 10.0) -> None:
        """@param seconds: that telling of one alarm may take."""
        if seconds <= 0:
            raise ValueError(f"a hook needs more than 0 s, not {seconds}")
        self.told = 0
        self.dropped = 0
        self.users: Sequence[str] = ()
        self._reactor = steady(reactor)
        self._seconds = seconds
        self._waiting: deque[Alarm] = deque()
        self._running: Deferred[Any] | None = None
        self._limit: IDelayedCall | None = None
        self._finishing: IDelayedCall | None = None
        self._awaiting: list[Deferred[None]] = []
        self._isFailing = False
        self._isLate = False
        self._canEnd = False
        self._isClosed = False

    def tell(self, alarm: Alarm) -> None:
        """Tell of an alarm, as soon as those before it are told of; never raises."""
        if self._isClosed or len(self._waiting) >= self.mostWaiting:
            self.dropped += 1
            return
        self._waiting.append(alarm)
        if self._running is None:
            self._next()

    def close(self) -> Deferred[None]:
        """Tell of nothing more, and end what is under way; fires when it has ended."""
        self._isClosed = True
        self.dropped += len(self._waiting)
        self._waiting.clear()
        callOff(self._finishing)
        if self._running is not None and self._canEnd:
            self._end(self._running)
        return self._ended()

    def finish(self) -> Deferred[None]:
        """
        Tell of no further alarm, but of those that wait, for L{lastSeconds}; then L{close}.

        @return: fires when all has ended.
        """
        self._isClosed = True
        if self._running is not None and self._finishing is None:
            self._finishing = self._reactor.callLater(self.lastSeconds, self._breakOff)
        return self._ended()

    def _breakOff(self) -> None:
        missed = 1 + len(self._waiting)
        self._log.warn(
            "{hook} is ended, as nobody needs it any more; {count} not told of",
            hook=self,
            count=f"{counted(missed, 'alarm')} {'is' if missed == 1 else 'are'}",
        )
        self.close()

    def _ended(self) -> Deferred[None]:
        ended: Deferred[None] = Deferred()
        self._awaiting.append(ended)
        if self._running is None:
            self._allEnded()
        return ended

    def _allEnded(self) -> None:
        callOff(self._finishing)
        awaiting, self._awaiting = self._awaiting, []
        for ended in awaiting:
            ended.callback(None)

    def _next(self) -> None:
        if not self._waiting:
            self._running = None
            self._allEnded()
            return
        self._isLate, self._canEnd = False, True
        telling = maybeDeferred(self._start, self._waiting.popleft())
        self._running = telling
        # Not addTimeout: what is cancelled does not always fail with CancelledError.
        self._limit = self._reactor.callLater(self._seconds, self._giveUp, telling)
        telling.addBoth(self._over)
        telling.addCallbacks(self._succeeded, self._failed)
        # Not at once: what fails at once must not call itself a hundred times.
        telling.addBoth(lambda _: self._reactor.callLater(0, self._next))

    def _giveUp(self, telling: Deferred[Any]) -> None:
        self._isLate = True
        self._end(telling)

    def _end(self, telling: Deferred[Any]) -> None:
        """Have what is under way end, and wait for that only so long."""
        self._canEnd = False
        callOff(self._limit)
        self._limit = self._reactor.callLater(_ENDING, telling.cancel)
        self._stop(telling)

    def _over(self, result: Any) -> Any:
        self._canEnd = False
        callOff(self._limit)
        return result

    def _stop(self, telling: Deferred[Any]) -> None:
        """Stop what L{_start} has begun."""
        telling.cancel()

    def _start(self, alarm: Alarm) -> Deferred[Any]:
        """Begin to tell; fires when that is done, and may be cancelled."""
        raise NotImplementedError

    def _succeeded(self, _: object) -> None:
        self.told += 1
        if self._isFailing:
            self._log.info("{hook} works again", hook=self)
        self._isFailing = False

    def _failed(self, failure: Failure) -> None:
        self.dropped += 1
        if self._isClosed:
            return
        if not self._isFailing:
            self._isFailing = True
            why = f"it takes more than {self._seconds:g} s" if self._isLate else self._why(failure)
            self._log.warn(
                "{hook} does not work: {why}; this is said again only after it has worked",
                hook=self,
                why=why,
            )

    def _why(self, failure: Failure) -> str:
        """Why somebody could not be told, in words."""
        return failure.getErrorMessage() or type(failure.value).__name__

    def _ofWhom(self) -> str:
        """Of what it tells, for its C{repr}: C{"alarms of news"}."""
        names = sorted({name for name in self.users if name})
        if not names:
            return "alarms"
        more = f" and {len(names) - _MOST_NAMES:,} more" * (len(names) > _MOST_NAMES)
        return f"alarms of {', '.join(names[:_MOST_NAMES])}{more}"


class CommandHook(Hook):
    """
    Runs a command for each alarm, without a shell.

    It gets the alarm as JSON on its standard input, and in its environment as
    C{GROUPSOCK_ALARM_SOURCE}, C{_NAME}, C{_STATE}, C{_TEXT}, C{_VALUE}, C{_LIMIT} and
    C{_SECONDS}.  It has to end with status 0 in time.  If it has not, or if the hook is closed, its
    process group has SIGTERM, and what is left of that after L{GRACE} seconds SIGKILL.  What it has
    left running when it ended is not touched.
    """

    @checked
    def __init__(self, reactor: Any, command: Sequence[str], seconds: float = 10.0) -> None:
        """
        @param reactor: provides C{IReactorFromThreads} and C{IReactorTime}.
        @param command: the program, found by C{PATH}, and its arguments.
        """
        super().__init__(reactor, seconds)
        checkCommand("command", command)
        self._command = tuple(command)
        self._threads = Threads(self._reactor, most=1)
        self._run: RunningCommand | None = None

    def __repr__(self) -> str:
        return f"the command {self._command[0]} for {self._ofWhom()}"

    def _start(self, alarm: Alarm) -> Deferred[Any]:
        value = alarm.toJSON()
        environment = dict(os.environ)
        for key, each in value.items():
            text = "" if each is None else str(each)
            environment[_PREFIX + key.upper()] = text.replace("\0", "")
        self._run = RunningCommand(self._command, environment, json.dumps(value).encode() + b"\n")
        return self._threads.run(self._run.run)

    def _stop(self, telling: Deferred[Any]) -> None:
        if self._run is not None:
            self._run.end()


class URLHook(Hook):
    """
    Posts each alarm to a URL, as JSON (C{application/json}), and wants an answer from 200 to 299
    in time.  What that holds is not read.
    """

    @checked
    def __init__(self, reactor: Any, url: str, seconds: float = 10.0) -> None:
        """
        @param url: C{http://...}, or C{https://...} where Twisted has TLS.  A name and a password
            in it are given by basic authentication (RFC 7617).
        """
        # Only here: it takes 2 MB, in each worker, and few routes have one.
        from txgroupsock.relay.health.posting import agentFor, whyNot

        super().__init__(reactor, seconds)
        checkURL("url", url)
        parts = urlsplit(url)
        who, _, where = parts.netloc.rpartition("@")
        self._shown = shownURL(url)
        self._url = urlunsplit(parts._replace(netloc=where, fragment=""))
        self._headers = {b"Content-Type": [b"application/json"]}
        if who:
            name, _, password = who.partition(":")
            given = f"{unquote(name)}:{unquote(password)}".encode()
            self._headers[b"Authorization"] = [b"Basic " + b64encode(given)]
        self._agent, self._whyNot = agentFor(self._reactor, seconds), whyNot

    def __repr__(self) -> str:
        return f"{self._shown} for {self._ofWhom()}"

    def _start(self, alarm: Alarm) -> Deferred[Any]:
        headers = Headers(self._headers)
        body = JSONBody(alarm.toJSON())
        answered = self._agent.request(b"POST", self._url.encode("utf-8"), headers, body)
        return answered.addCallback(_checked)

    def _why(self, failure: Failure) -> str:
        return self._whyNot(failure)


class _Ignoring(Protocol):
    """Has enough of an answer when it begins."""

    transport: Any

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred(lambda _: None)

    def connectionMade(self) -> None:
        """The answer begins."""
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over."""
        if not self.ended.called:
            self.ended.callback(None)


def _checked(response: IResponse) -> Deferred[None]:
    ignoring = _Ignoring()
    code = response.code
    response.deliverBody(ignoring)

    def judge(_: object) -> None:
        if not 200 <= code < 300:
            raise HookError(f"it answers with status {code}")

    return ignoring.ended.addCallback(judge)
