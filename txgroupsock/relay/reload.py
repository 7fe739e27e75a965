"""The configuration file, read again while the relay runs."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgroupsock.interfaces import IRelay
from txgroupsock.relay.change import Outcome
from txgroupsock.relay.config import ConfigurationError, ConfigurationFile
from txgroupsock.relay.relay import Relay


class ReloadService(Service):
    """
    Takes a relay over to what its configuration file says now: on SIGHUP, or when asked to.

    The file is read in a thread, for a large one takes longer than a receive buffer lasts.
    """

    _log = Logger()

    def __init__(self, reactor: Any, relay: IRelay, file: ConfigurationFile) -> None:
        """@param relay: made of what the file said, and opened and closed by somebody else."""
        self._reactor = reactor
        self._relay = relay
        self._file = file
        self._reloading = DeferredLock()
        self._earlierHandler: Any = None

    def startService(self) -> None:
        """Have SIGHUP read the file again."""
        Service.startService(self)
        if hasattr(signal, "SIGHUP"):
            self._earlierHandler = signal.signal(signal.SIGHUP, self._hungUp)
            self._log.info("SIGHUP reads {name} again", name=self._file.name)

    def stopService(self) -> Deferred[None]:
        """Give SIGHUP back; fires when what is being read has been."""
        Service.stopService(self)
        if self._earlierHandler is not None:
            signal.signal(signal.SIGHUP, self._earlierHandler)
            self._earlierHandler = None
        return self._reloading.run(lambda: None)

    def reload(self) -> Deferred[Outcome]:
        """
        Read the file, and go over to what it says.

        The L{Deferred} fails with L{ConfigurationError}, which has everything that is wrong with
        the file, or with the L{OSError} why something could not be opened; either is logged, and
        then the relay runs on as it was.
        """
        return self._reloading.run(lambda: Deferred.fromCoroutine(self._reload()))

    async def _reload(self) -> Outcome:
        name, relay = self._file.name, self._relay
        try:
            pool = self._reactor.getThreadPool()
            model = await deferToThreadPool(self._reactor, pool, self._file.read)
            if not isinstance(relay, Relay):
                raise RuntimeError("routes that workers share change at the next start only")
            workers = relay.model and relay.model.workers
            outcome = await relay.change(model)
        except ConfigurationError as error:
            for problem in error.problems:
                self._log.error("{problem}", problem=problem)
            self._log.error("{name} has not been taken over: all stays as it was", name=name)
            raise
        except (OSError, RuntimeError) as error:
            self._log.error("{error}", error=error)
            self._log.error("{name} has not been taken over: all is as it was before", name=name)
            raise
        for line in outcome.lines:
            self._log.info("{line}", line=line)
        self._log.info("{name} has been taken over: {outcome}", name=name, outcome=outcome)
        if model.workers != workers:
            self._log.warn("{name}: workers takes effect at the next start", name=name)
        return outcome

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
            self._log.failure("{name} could not be taken over", failure, name=self._file.name)
