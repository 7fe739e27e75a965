"""An endpoint where others may connect, and the port that it is while it is open."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgroupsock.primitives.checks import needClosed
from txgroupsock.primitives.errors import Restorable
from txgroupsock.relay.http.endpoint import Endpoint, inWords, isFromSystemd, serverEndpoint
from txgroupsock.relay.http.places import addressOf
from txgroupsock.relay.threads import PATIENCE, Threads, TookTooLong, within

_SOON: Final = 0.2  # seconds of a turn that is waited for that, where nobody waits afterwards


class ListenError(Restorable, OSError):
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
        text = f"cannot listen on {endpoint}: {inWords(cause).removeprefix(f'{endpoint}: ')}"
        if isFromSystemd(endpoint) and isinstance(cause, OSError):
            text += "; what systemd handed over can be listened on once only"
        OSError.__init__(self, getattr(cause, "errno", None), text)

    def __str__(self) -> str:
        return str(self.strerror)


class Listening:
    """
    Listens on one endpoint.

    What it names on disks and to name servers is looked at in a thread, and not for longer than
    L{PATIENCE <txgroupsock.relay.threads.PATIENCE>}.

    @ivar endpoint: as C{serverFromString} takes it.
    @ivar factory: what makes the protocols there.
    @ivar stream: what viewers who connect there get without asking; L{None}: it is for HTTP.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        endpoint: str,
        factory: Any,
        text: str,
        stream: Any = None,
        threads: Threads | None = None,
    ) -> None:
        """
        @param reactor: as C{serverFromString} takes it.
        @param text: for the log, once it listens; C{{address}} in it is where.
        @param threads: for what may take long; others share them, so that they have a bound.
        """
        self.endpoint = endpoint
        self.factory = factory
        self.stream = stream
        self._text = text
        self._reactor = reactor
        self._threads = threads or Threads(reactor)
        self._preparing: Deferred[IStreamServerEndpoint] | None = None
        self._port: Any = None
        self._isWanted = False
        self._isHeld = False

    async def open(self) -> None:
        """
        Listen.

        @raise ListenError: it cannot, or was closed before it could.
        """
        await self._open(
            lambda: (
                self._threads.run(self._make, PATIENCE)
                if self._mayTakeLong()
                else maybeDeferred(self._make)
            )
        )

    async def _open(self, prepare: Callable[[], Deferred[IStreamServerEndpoint]]) -> None:
        needClosed(self.endpoint, self._port is not None)
        self._isWanted = True
        port: Any = None
        try:
            self._preparing = prepare()
            endpoint = await self._preparing
            if self._isWanted:
                port = await endpoint.listen(self.factory)
        except CancelledError:
            self._isWanted = False
        except Exception as error:
            raise ListenError(self.endpoint, error) from error
        finally:
            self._preparing = None
        if not self._isWanted:
            if port is not None:
                port.stopListening()
            raise ListenError(self.endpoint, "its service has ended before that could be done")
        self._port = port

    def _make(self) -> IStreamServerEndpoint:
        return serverEndpoint(self._reactor, self.endpoint)

    def _prepareNow(self) -> Deferred[IStreamServerEndpoint]:
        if not self._mayTakeLong():
            return maybeDeferred(self._make)
        isTurning = self._reactor.running
        try:
            return succeed(within(_SOON if isTurning else PATIENCE, self._make))
        except TookTooLong:
            return self._threads.run(self._make, PATIENCE) if isTurning else fail()
        except Exception:  # noqa: BLE001 - as all others are told
            return fail()

    def _mayTakeLong(self) -> bool:
        try:
            return Endpoint.parse(self.endpoint).mayTakeLong
        except ValueError:  # which is said when it is made
            return False

    def openNow(self) -> None:
        """
        Listen, and let in who connects.

        Nearly every endpoint does so at once.  Of one that does not, as one with keys on a disk
        that hangs while the reactor runs, failure is logged.

        @raise ListenError: it cannot.
        """
        failures: list[Failure] = []
        hasReturned = False

        def failed(failure: Failure) -> None:
            failures.append(failure)
            if hasReturned and self._isWanted:
                self._log.error("{error}", error=failure.value)

        opening = Deferred.fromCoroutine(self._open(self._prepareNow))
        opening.addCallback(lambda _: self.letIn()).addErrback(failed)
        hasReturned = True
        if failures:
            failures[0].raiseException()

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
        self._log.info(self._text, address=self.address)

    def close(self) -> Deferred[Any]:
        """Listen no more; fires when the port is free."""
        self._isWanted = self._isHeld = False
        if self._preparing is not None:
            self._preparing.cancel()
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
