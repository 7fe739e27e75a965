"""The relay as a Twisted service: opens its routes, reports on them, closes them."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from txgroupsock.relay.relay import Relay


class StartError(SystemExit, Exception):
    """
    The relay cannot start; the message says why and how to mend that.

    Both bases matter.  As an L{Exception}, twistd removes its pid file and tells the
    process that is waiting for the daemon; as a L{SystemExit}, Python then prints the one
    line and exits with status 1, without a traceback: it is the operator's mistake.
    """

    def __init__(self, problem: object) -> None:
        SystemExit.__init__(self, f"groupsock-relay: {problem}")


class RelayService(Service):
    """
    Runs a relay.

    Sockets are opened in C{privilegedStartService}, before twistd gives up root's rights.
    SIGUSR1 prints the counters, besides what twistd does on it (rotating its log file).
    """

    _log = Logger()

    def __init__(self, reactor: Any, relay: Relay) -> None:
        self._reactor = reactor
        self.relay = relay
        self._isOpen = False
        self._earlierHandler: Any = None

    def privilegedStartService(self) -> None:
        """
        Open its routes, with a line of log for each join and each output.

        @raise StartError: one cannot be opened.
        """
        Service.privilegedStartService(self)
        try:
            self.relay.openRelay()
        except OSError as error:
            raise StartError(error) from error
        self._isOpen = True
        for route in self.relay.status():
            for line in route.describe():
                self._log.info("{line}", line=line)

    def startService(self) -> None:
        """Begin to report; open the routes first if nobody did."""
        Service.startService(self)
        if not self._isOpen:
            self.privilegedStartService()
        if hasattr(signal, "SIGUSR1"):
            self._earlierHandler = signal.signal(signal.SIGUSR1, self._signalled)

    def stopService(self) -> Deferred[Any]:
        """Close the routes, and print what it counted."""
        Service.stopService(self)
        if self._earlierHandler is not None:
            signal.signal(signal.SIGUSR1, self._earlierHandler)
            self._earlierHandler = None
        self._isOpen = False
        self.report()
        return self.relay.closeRelay()

    def report(self) -> None:
        """Print the counters to the log."""
        for route in self.relay.status():
            for line in route.report():
                self._log.info("{line}", line=line)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if callable(self._earlierHandler):
            self._earlierHandler(number, frame)
        self._reactor.callFromThread(self.report)
