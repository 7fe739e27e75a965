"""The relay as a Twisted service: opens its routes, reports on them, closes them."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from txgroupsock.relay.engine.interfaces import IRelay
from txgroupsock.relay.errors import StartError
from txgroupsock.relay.status import RouteStatus


class RelayService(Service):
    """
    Runs a relay.

    Sockets are opened in C{privilegedStartService}, before twistd gives up root's rights.
    SIGUSR1 prints the counters, besides what twistd does on it (rotating its log file).
    """

    _log = Logger()

    def __init__(self, reactor: Any, relay: IRelay) -> None:
        self._reactor = reactor
        self.relay = relay
        self._isOpen = False
        self._earlierHandler: Any = None

    def privilegedStartService(self) -> None:
        """
        Open its routes, with a line of log for each join and each output.

        @raise StartError: one cannot be opened.
        """
        if self._isOpen:
            return
        Service.privilegedStartService(self)
        try:
            opened = self.relay.openRelay()
        except OSError as error:
            raise StartError(error) from error
        self._isOpen = True
        for route in opened:
            for line in route.describe():
                self._log.info("{line}", line=line)

    def startService(self) -> None:
        """Begin to report; open the routes first if nobody did."""
        if self.running:
            return
        Service.startService(self)
        if not self._isOpen:
            self.privilegedStartService()
        if hasattr(signal, "SIGUSR1"):
            self._earlierHandler = signal.signal(signal.SIGUSR1, self._signalled)

    def stopService(self) -> Deferred[Any]:
        """Close the routes, and print what they counted."""
        Service.stopService(self)
        if self._earlierHandler is not None:
            signal.signal(signal.SIGUSR1, self._earlierHandler)
            self._earlierHandler = None
        self._isOpen = False
        return self.relay.closeRelay().addCallback(self._print)

    def status(self) -> Deferred[list[RouteStatus]]:
        """What there is to know about each route now, in their order."""
        found = self.relay.status()
        return found if isinstance(found, Deferred) else succeed(found)

    def report(self) -> None:
        """Print the counters to the log, as soon as they are known."""
        self.status().addCallback(self._print)

    def _print(self, routes: list[RouteStatus]) -> None:
        for route in routes:
            for line in route.report():
                self._log.info("{line}", line=line)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if callable(self._earlierHandler):
            self._earlierHandler(number, frame)
        self._reactor.callFromThread(self.report)
