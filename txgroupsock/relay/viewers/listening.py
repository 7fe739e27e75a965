"""An endpoint where viewers may connect, and the port that it is while it is open."""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from txgroupsock.relay.viewers.model import StreamModel
from txgroupsock.relay.viewers.viewer import addressOf


class ListenError(OSError):
    """
    There is no listening on an endpoint.

    @ivar taken: the port, or the path of a UNIX socket, that somebody else has; L{None} if that
        is not why.
    """

    def __init__(self, endpoint: str, problem: object) -> None:
        self.taken: object = None
        cause: Any = problem
        if isinstance(problem, CannotListenError):
            cause = problem.socketError
            # Of a path that another process has locked, this is no error but a text.
            if isinstance(cause, str) or cause.errno == errno.EADDRINUSE:
                self.taken = problem.port
        OSError.__init__(
            self, getattr(cause, "errno", None), f"cannot listen on {endpoint}: {cause}"
        )

    def __str__(self) -> str:
        return str(self.strerror)


class Listening:
    """
    Listens on one endpoint.

    @ivar endpoint: as C{serverFromString} takes it.
    @ivar stream: what who connects there gets without asking; L{None}: it is for HTTP.
    @ivar factory: what makes the protocols there.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, endpoint: str, stream: StreamModel | str | None, factory: Any
    ) -> None:
        """@param reactor: as C{serverFromString} takes it."""
        self.endpoint = endpoint
        self.stream = stream
        self.factory = factory
        self._reactor = reactor
        self._port: Any = None
        self._isWanted = False
        self._isHeld = False

    async def open(self) -> None:
        """
        Listen.

        @raise ListenError: it cannot, or was closed before it could.
        """
        self._isWanted = True
        try:
            port: Any = await serverFromString(self._reactor, self.endpoint).listen(self.factory)
        except Exception as error:
            raise ListenError(self.endpoint, error) from error
        if not self._isWanted:
            port.stopListening()
            raise ListenError(self.endpoint, "it took too long")
        self._port = port

    def hold(self) -> None:
        """
        Have who connects wait until L{letIn}.

        @raise ListenError: this endpoint can make nobody wait.
        """
        if not isinstance(self._port, FileDescriptor):
            raise ListenError(self.endpoint, "such an endpoint can be added at a start only")
        self._port.stopReading()
        self._isHeld = True

    def letIn(self) -> None:
        """Let in who connects."""
        if self._isHeld:
            self._isHeld = False
            self._port.startReading()
        self._log.info("viewers may connect to {address}", address=self.address)

    def close(self) -> Deferred[Any]:
        """Listen no more; fires when the port is free."""
        self._isWanted = self._isHeld = False
        port, self._port = self._port, None
        return succeed(None) if port is None else maybeDeferred(port.stopListening)

    @property
    def address(self) -> str | None:
        """Where it listens, for people; L{None} while it does not."""
        return None if self._port is None else addressOf(self._port.getHost())

    def has(self, taken: object) -> bool:
        """Whether it has a port, or the path of a UNIX socket."""
        if self._port is None or taken is None:
            return False
        host = self._port.getHost()
        if isinstance(host, UNIXAddress):
            return isinstance(taken, str | bytes) and os.fsencode(taken) == host.name
        return taken == getattr(host, "port", None)
