"""The configuration file, read again while the relay runs."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgroupsock.relay.config.file import ConfigurationError, ConfigurationFile
from txgroupsock.relay.control.control import Control
from txgroupsock.relay.status import Outcome


class ReloadService(Service):
    """Takes a relay over to what its configuration file says now: on SIGHUP, or when asked to."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        control: Control,
        file: ConfigurationFile,
        reloading: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """
        @param control: of what was made of the file.
        @param reloading: entered whenever the file is read again, and left, with the error if there
            was one, when it has been applied or rejected.
        """
        self._reactor = reactor
        self._control = control
        self._file = file
        self._reloading = DeferredLock()
        self._entered = reloading
        self._earlierHandler: Any = None

    def startService(self) -> None:
        """Have SIGHUP read the file again."""
        if self.running:
            return
        Service.startService(self)
        if hasattr(signal, "SIGHUP"):
            self._earlierHandler = signal.signal(signal.SIGHUP, self._hungUp)
            self._log.info("SIGHUP reads {name} again", name=self._file.name)

    def stopService(self) -> Deferred[None]:
        """
        Give SIGHUP back; fires when what is being changed has been, while a file that is still
        being read is left: its disk may hang.
        """
        Service.stopService(self)
        if self._earlierHandler is not None:
            signal.signal(signal.SIGHUP, self._earlierHandler)
            self._earlierHandler = None
        self._control.abandon()
        return self._reloading.run(lambda: None)

    def reload(self) -> Deferred[Outcome]:
        """
        Read the file, and go over to what it says; see L{Control.change}.

        The L{Deferred} fails with L{ConfigurationError}, which has everything that is wrong with
        the file, or with the L{OSError} why something could not be opened; either is logged, and
        then the relay runs on as it was.
        """
        return self._reloading.run(lambda: Deferred.fromCoroutine(self._reload()))

    async def _reload(self) -> Outcome:
        with self._entered():
            return await self._control.change(self._file.name, self._file.read)

    def _hungUp(self, number: int, frame: FrameType | None) -> None:
        if callable(self._earlierHandler):
            self._earlierHandler(number, frame)
        self._reactor.callFromThread(self._reloadOnce)

    def _reloadOnce(self) -> None:
        # One that waits will read the file as it is then.
        if self.running and not self._reloading.waiting:
            self.reload().addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(ConfigurationError, OSError, RuntimeError):  # which have been logged
            self._log.failure("{name} could not be applied", failure, name=self._file.name)
