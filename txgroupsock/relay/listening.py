"""Listening on Twisted's endpoints."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgroupsock.relay.endpoint import serverEndpoint
from txgroupsock.relay.service import StartError
from txgroupsock.relay.viewers.viewer import addressOf


class Listening:
    """Ports that are closed together."""

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        """@param reactor: what endpoints need of one."""
        self._reactor = reactor
        self._ports: list[Any] = []
        self._isOpen = True

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, in the order of the endpoints."""
        return tuple(addressOf(port.getHost()) for port in self._ports)

    def listen(self, endpoint: str, factory: Any, text: str) -> None:
        """
        Listen somewhere.

        Nearly every endpoint does so at once; of one that does not, failure is logged.

        @param text: for the log, once it listens; C{{address}} in it is where.
        @raise StartError: it cannot, and nothing here is listened on any more.
        """
        failures: list[Failure] = []
        hasReturned = False

        def failed(failure: Failure) -> None:
            failures.append(failure)
            if hasReturned:
                self._log.failure("cannot listen on {endpoint}", failure, endpoint=endpoint)

        def listens(port: Any) -> None:
            if not self._isOpen:  # it took too long
                port.stopListening()
                return
            self._ports.append(port)
            self._log.info(text, address=addressOf(port.getHost()))

        self._isOpen = True
        try:
            listening = maybeDeferred(serverEndpoint(self._reactor, endpoint).listen, factory)
            listening.addCallbacks(listens, failed)
            hasReturned = True
            if failures:
                failures[0].raiseException()
        except (OSError, ValueError, TypeError, LookupError, CannotListenError) as error:
            self.close()
            raise StartError(f"{endpoint}: {error}") from error

    def close(self) -> Deferred[Any]:
        """Listen no more; fires when all is given back."""
        self._isOpen = False
        ports, self._ports = self._ports, []
        return gatherResults([maybeDeferred(each.stopListening) for each in ports])
