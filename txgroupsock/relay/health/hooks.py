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
from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from txgroupsock.ports.clock import steady
from txgroupsock.primitives.arguments import checked
from txgroupsock.relay.health.alarms import Alarm
from txgroupsock.relay.health.body import JSONBody
from txgroupsock.relay.secrecy import shownURL

_PREFIX = "GROUPSOCK_ALARM_"
_REAPING = 0.05  # seconds from one look for the end of a command to the next
_MOST_SAID = 500  # bytes of what a command says that are kept for the log


class HookError(Exception):
    """Somebody could not be told of an alarm; the text says why."""


class Hook:
    """
    Tells of one alarm after the other, in order; the rest wait.

    Stages may share one.  Whoever made it closes it.

    @cvar mostWaiting: alarms that may wait; what comes then is dropped.
    @ivar told: alarms that somebody was told of.
    @ivar dropped: alarms that nobody was told of.
    """

    mostWaiting: ClassVar[int] = 100

    _log = Logger()

    def __init__(self, reactor: Any, seconds: float = 10.0) -> None:
        """@param seconds: that telling of one alarm may take."""
        if seconds <= 0:
            raise ValueError(f"a hook needs more than 0 s, not {seconds}")
        self.told = 0
        self.dropped = 0
        self._reactor = steady(reactor)
        self._seconds = seconds
        self._waiting: deque[Alarm] = deque()
        self._running: Deferred[Any] | None = None
        self._isFailing = False
        self._isLate = False
        self._isClosed = False

    def tell(self, alarm: Alarm) -> None:
        """Tell of an alarm, as soon as those before it are told of; never raises."""
        if self._isClosed or len(self._waiting) >= self.mostWaiting:
            self.dropped += 1
            return
        self._waiting.append(alarm)
        if self._running is None:
            self._next()

    def close(self) -> None:
        """Tell of nothing more, and end what is under way."""
        self._isClosed = True
        self.dropped += len(self._waiting)
        self._waiting.clear()
        if self._running is not None:
            self._running.cancel()

    def finish(self) -> None:
        """Tell of no further alarm, but of those that wait."""
        self._isClosed = True

    def _next(self) -> None:
        if not self._waiting:
            self._running = None
            return
        telling = maybeDeferred(self._start, self._waiting.popleft())
        self._running = telling
        self._isLate = False
        # Not addTimeout: what is cancelled does not always fail with CancelledError.
        limit = self._reactor.callLater(self._seconds, self._giveUp, telling)
        telling.addBoth(self._ended, limit)
        telling.addCallbacks(self._succeeded, self._failed)
        # Not at once: what fails at once must not call itself a hundred times.
        telling.addBoth(lambda _: self._reactor.callLater(0, self._next))

    def _giveUp(self, telling: Deferred[Any]) -> None:
        self._isLate = True
        telling.cancel()

    def _ended(self, result: Any, limit: IDelayedCall) -> Any:
        if limit.active():
            limit.cancel()
        return result

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
            why: object = failure.getErrorMessage() or type(failure.value).__name__
            if self._isLate:
                why = f"it takes more than {self._seconds:g} s"
            self._log.warn(
                "{hook} does not work: {why}; this is said again only after it has worked",
                hook=self,
                why=why,
            )


class CommandHook(Hook):
    """
    Runs a command for each alarm, without a shell.

    It gets the alarm as JSON on its standard input, and in its environment as
    C{GROUPSOCK_ALARM_SOURCE}, C{_NAME}, C{_STATE}, C{_TEXT}, C{_VALUE}, C{_LIMIT} and
    C{_SECONDS}.  It has to end with status 0 in time, or else it is killed.
    """

    def __init__(self, reactor: Any, command: Sequence[str], seconds: float = 10.0) -> None:
        """
        @param reactor: provides C{IReactorProcess} and C{IReactorTime}.
        @param command: the program, found by C{PATH}, and its arguments.
        """
        super().__init__(reactor, seconds)
        if isinstance(command, str) or not command or not command[0]:
            raise ValueError("a command is a list of a program and its arguments")
        self._command = tuple(command)

    def __repr__(self) -> str:
        return f"the command {self._command[0]} for alarms"

    def _start(self, alarm: Alarm) -> Deferred[Any]:
        value = alarm.toJSON()
        environment = dict(os.environ)
        for key, each in value.items():
            text = "" if each is None else str(each)
            environment[_PREFIX + key.upper()] = text.replace("\0", "")
        running = _Running(self._reactor, json.dumps(value).encode() + b"\n")
        self._reactor.spawnProcess(running, self._command[0], self._command, environment)
        return running.ended


class _Running(ProcessProtocol):
    """
    A command that runs.

    @ivar ended: fires with L{None} if it succeeds.
    """

    transport: Any

    def __init__(self, reactor: Any, given: bytes) -> None:
        self._reactor = steady(reactor)
        self._given = given
        self._reaping: IDelayedCall | None = None
        self._said = b""
        self.ended: Deferred[None] = Deferred(lambda _: self._kill())

    def connectionMade(self) -> None:
        """It has been started."""
        self.transport.write(self._given)
        self.transport.closeStdin()
        self._reapLater()

    def _reapLater(self) -> None:
        """Look whether it has ended: uvloop keeps to itself the signal that would tell."""
        if hasattr(self.transport, "reapProcess"):  # else this is Windows, which has no signals
            self._reaping = self._reactor.callLater(_REAPING, self._reap)

    def _reap(self) -> None:
        self._reapLater()
        self.transport.reapProcess()

    def errReceived(self, data: bytes) -> None:
        """It complains."""
        self._said = (self._said + data)[:_MOST_SAID]

    def processExited(self, reason: Failure) -> None:
        """It has ended; those that it has started may still hold its pipes."""
        if self._reaping is not None:
            self._reaping.cancel()
        self.transport.loseConnection()
        if self.ended.called:
            return
        status = reason.value
        if getattr(status, "exitCode", None) == 0:
            self.ended.callback(None)
            return
        said = self._said.decode("utf-8", "replace").strip()
        how = f"it ended with status {getattr(status, 'exitCode', None)}"
        if isinstance(status, ProcessTerminated) and status.signal is not None:
            how = f"signal {status.signal} ended it"
        self.ended.errback(HookError(f"{how}: {said}" if said else how))

    def _kill(self) -> None:
        try:
            self.transport.signalProcess("KILL")
        except Exception as error:  # noqa: BLE001 - it has ended just now
            Logger().debug("not killed: {error}", error=error)


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
        from twisted.web.client import Agent

        super().__init__(reactor, seconds)
        if not url.startswith(("http://", "https://")):
            raise ValueError("that is no URL to post to; it begins with http:// or https://")
        parts = urlsplit(url)
        who, _, where = parts.netloc.rpartition("@")
        self._shown = shownURL(url)
        self._url = urlunsplit(parts._replace(netloc=where, fragment=""))
        self._headers = {b"Content-Type": [b"application/json"]}
        if who:
            name, _, password = who.partition(":")
            given = f"{unquote(name)}:{unquote(password)}".encode()
            self._headers[b"Authorization"] = [b"Basic " + b64encode(given)]
        self._agent = Agent(self._reactor, connectTimeout=seconds)

    def __repr__(self) -> str:
        return f"{self._shown} for alarms"

    def _start(self, alarm: Alarm) -> Deferred[Any]:
        headers = Headers(self._headers)
        body = JSONBody(alarm.toJSON())
        answered = self._agent.request(b"POST", self._url.encode("utf-8"), headers, body)
        return answered.addCallback(_checked)


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
