"""
What systemd is told of a relay: when it is ready, what it does, that it lives, and when it ends.

The messages are those of C{sd_notify(3)}: one datagram each, lines of C{NAME=value}, to the socket
that C{$NOTIFY_SOCKET} names.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from txgroupsock.ports.clock import callOff, steady
from txgroupsock.relay.engine.interfaces import IRelay
from txgroupsock.relay.engine.relay import Relay
from txgroupsock.relay.workers.relay import Workers

STATUS_INTERVAL = 5.0
"""Seconds from one look at what the status line should be to the next."""

_RETRY = 0.1  # seconds until a message is sent again for which there was no room


@frozen
class Notifier:
    """
    Where the service manager listens.

    @ivar address: the socket's: a path, or C{@} and a name in Linux's abstract namespace.
    @ivar watchdog: seconds of silence after which the manager takes the service for dead; 0.0:
        it does not.
    @ivar startedAs: the number of the process that the manager started.
    """

    address: str
    watchdog: float = 0.0
    startedAs: int = 0

    @classmethod
    def fromEnvironment(
        cls, environment: MutableMapping[str, str] | None = None
    ) -> Notifier | None:
        """
        The manager that the environment names, if any.

        Its variables are removed from there, lest a process started by this one speaks, too.
        """
        found = os.environ if environment is None else environment
        address = found.pop("NOTIFY_SOCKET", "")
        interval, process = found.pop("WATCHDOG_USEC", ""), found.pop("WATCHDOG_PID", "")
        if not address:
            return None
        pid = os.getpid()
        isWatched = interval.isdecimal() and process in ("", str(pid))
        return cls(address, int(interval) / 1e6 if isWatched else 0.0, pid)

    def notify(self, **values: object) -> None:
        """
        Say something: C{notify(READY=1, STATUS="at work")}; it never waits.

        @raise BlockingIOError: there is no room for it now.
        @raise OSError: nobody listens there.
        """
        lines = [f"{name}={' '.join(str(value).split())}" for name, value in values.items()]
        address = self.address
        if address[0] not in "/@":
            raise ValueError(f"NOTIFY_SOCKET={address} is neither a path nor an abstract socket")
        if address[0] == "@":
            address = f"\0{address[1:]}"
        # A socket for each, as in libsystemd: then nothing is lost when the manager's is made anew.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), address)


class SystemdService(Service):
    """
    Tells the service manager of a relay that is started before this service and stopped after it.

    Everything is said by the reactor, the watchdog's messages included: if it hangs they end, and
    the manager starts the relay again.

    @cvar statusInterval: see L{STATUS_INTERVAL}.
    """

    statusInterval = STATUS_INTERVAL

    _log = Logger()

    def __init__(self, reactor: Any, notifier: Notifier, relay: IRelay) -> None:
        self._reactor = steady(reactor)
        self._notifier = notifier
        self._relay = relay
        self._unsent: deque[dict[str, object]] = deque()
        self._retry: IDelayedCall | None = None
        self._isReady = self._hasFailed = False
        self._status = self._problem = ""
        self._watchdog = self._every(self._live)
        self._renewing = self._every(self._renew)

    def startService(self) -> None:
        """Say that the relay is ready, as soon as the reactor runs."""
        if self.running:
            return
        Service.startService(self)
        self._unsent.clear()
        self._reactor.callWhenRunning(self._ready)

    def stopService(self) -> None:
        """Say that it ends."""
        Service.stopService(self)
        callOff(self._retry)
        if self._isReady:
            self._isReady = False
            self._renewing.stop()
            if self._watchdog.running:
                self._watchdog.stop()
            self._say(STOPPING=1)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Within it the manager waits for what is being read again; then it hears how that went."""
        if not self._isReady:
            yield
            return
        # By the clock it finds out which of its requests this belongs to (Type=notify-reload).
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._say(RELOADING=1, MONOTONIC_USEC=now, STATUS="reading the configuration again")
        self._problem = "the last reload failed, and the log says why"
        try:
            yield
            self._problem = ""
        finally:
            if self._isReady:
                self._status = self._line()
                self._say(READY=1, STATUS=self._status)

    def _ready(self) -> None:
        if not self.running or self._isReady:
            return
        self._isReady = True
        self._status = self._line()
        pid = os.getpid()
        daemon = {} if pid == self._notifier.startedAs else {"MAINPID": pid}
        self._say(READY=1, STATUS=self._status, **daemon)
        self._renewing.start(self.statusInterval, now=False)
        if self._notifier.watchdog:
            self._watchdog.start(self._notifier.watchdog / 2)

    def _live(self) -> None:
        if not self._unsent:
            self._say(WATCHDOG=1)

    def _renew(self) -> None:
        line = self._line()
        if line != self._status and not self._unsent:
            self._status = line
            self._say(STATUS=line)

    def _line(self) -> str:
        return "; ".join(filter(None, [inShort(self._relay), self._problem]))

    def _every(self, call: Any) -> LoopingCall:
        looping = LoopingCall(call)
        looping.clock = self._reactor
        return looping

    def _say(self, **values: object) -> None:
        self._unsent.append(values)
        if self._retry is None or not self._retry.active():
            self._send()

    def _send(self) -> None:
        try:
            while self._unsent:
                self._notifier.notify(**self._unsent[0])
                self._unsent.popleft()
        except BlockingIOError:
            if self.running:
                self._retry = self._reactor.callLater(_RETRY, self._send)
        except (OSError, ValueError) as error:
            self._unsent.clear()
            if not self._hasFailed:
                self._hasFailed = True
                self._log.warn(
                    "systemd cannot be told anything, at {address}: {error}",
                    address=self._notifier.address,
                    error=error,
                )


def inShort(relay: IRelay) -> str:
    """How much a relay does, in a few words: C{12 routes, 34 outputs}."""
    workers = relay.workers if isinstance(relay, Workers) else ()
    routes: list[Any] = [route for each in workers for route in each.share.routes]
    if isinstance(relay, Relay):
        routes += relay.routes
    parts = [
        _count(len(routes), "route"),
        _count(sum(len(each.outputs) for each in routes), "output"),
    ]
    if workers:
        parts.append(_count(len(workers), "worker"))
    down = sum(each.process is None or not each.process.isReady for each in workers)
    if down:
        parts.append(f"{down} of them not running")
    return ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
