"""A UNIX socket to listen on: what fails leaves nothing behind, and says what is in the way."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import Any, Final, NoReturn

from twisted.internet.defer import Deferred, execute
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint
from twisted.internet.unix import Port
from zope.interface import implementer

_IN_THE_WAY: Final = {
    stat.S_IFSOCK: "a socket is there: end what listens on it, or remove it if nothing does",
    stat.S_IFDIR: "it is a folder: give the path of a socket in it",
}
_NO_SOCKET: Final = "a file is there that is no socket: move it away, or give another path"


@implementer(IStreamServerEndpoint)
class UnixEndpoint:
    """As Twisted's, which takes a lock: a link to the number of the process that listens."""

    def __init__(self, reactor: Any, path: str, backlog: int, mode: int, *, hasLock: bool) -> None:
        """
        @param path: of the socket.
        @param backlog: connections that may wait to be accepted.
        @param mode: of the socket, as chmod(2) has it.
        @param hasLock: whether it takes a lock, and removes what one left behind who has ended.
        """
        self._reactor = reactor
        self._path = path
        self._backlog = backlog
        self._mode = mode
        self._hasLock = hasLock

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """See C{IStreamServerEndpoint}."""
        port = _Port(
            os.fsencode(self._path),
            protocolFactory,
            self._backlog,
            self._mode,
            self._reactor,
            self._hasLock,
        )
        return execute(port.opened)


class _Port(Port):
    """One that is undone if it cannot be opened."""

    factory: Any
    lockFile: Any
    _made: socket.socket | None = None

    def opened(self) -> _Port:
        """
        It listens.

        @raise OSError: it cannot; see L{startListening}.
        """
        self.startListening()
        return self

    def createInternetSocket(self) -> socket.socket:
        """See Twisted's."""
        made: socket.socket = Port.createInternetSocket(self)
        self._made = made
        return made

    def startListening(self) -> None:
        """
        Listen.

        @raise CannotListenError: something is in the way; nothing of it is touched.
        @raise OSError: it cannot, with the path.
        """
        try:
            Port.startListening(self)
        except (OSError, ValueError, CannotListenError) as error:
            self._undo()
            self._explain(error)
        finally:
            self._made = None

    def _undo(self) -> None:
        if self._made is not None:
            if self._made.getsockname():
                os.unlink(self._bindPath)
            self._made.close()
            self.factory.doStop()
        if self.lockFile is not None and self.lockFile.locked:
            self.lockFile.unlock()

    def _explain(self, error: Exception) -> NoReturn:
        cause: Any = getattr(error, "socketError", error)
        if getattr(cause, "errno", None) == errno.EADDRINUSE:
            problem = self._whatIsThere()
        elif self.lockFile is not None and os.path.lexists(self.lockFile.name):
            problem = f"its lock {os.fsdecode(self.lockFile.name)} {self._whoseLock()}"
        elif isinstance(cause, OSError):
            raise OSError(cause.errno, cause.strerror, self._path) from error
        else:
            raise error
        taken = OSError(errno.EADDRINUSE, f"{self._path}: {problem}")
        raise CannotListenError(None, self._bindPath, taken) from error

    @property
    def _path(self) -> str:
        return os.fsdecode(self._bindPath)

    def _whoseLock(self) -> str:
        try:
            owner = os.readlink(os.fsdecode(self.lockFile.name))
        except OSError:
            owner = ""
        if not owner.isdecimal():
            return "is none of a process: move it away, or give another path"
        if owner == str(os.getpid()):
            return (
                "is held by this process: give each endpoint its own path, or remove the lock if "
                "one with this number has left it behind"
            )
        return (
            f"is held by process {owner}: end that one, or remove the lock if it is another program"
        )

    def _whatIsThere(self) -> str:
        try:
            kind = stat.S_IFMT(os.lstat(self._path).st_mode)
        except OSError:
            return "something was there just now: try again"
        return _IN_THE_WAY.get(kind, _NO_SOCKET)
