"""What a process runs, and how it goes over to another configuration."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.logger import Logger

from txgroupsock.relay.config.document import Configuration
from txgroupsock.relay.config.file import MOST_SECONDS, TOO_LONG, ConfigurationError
from txgroupsock.relay.engine.interfaces import IRelay
from txgroupsock.relay.status import Outcome
from txgroupsock.relay.threads import Threads
from txgroupsock.relay.viewers import ViewerService


class ChangeRefused(Exception):
    """A change that was asked for may not be, or makes no sense; none has failed."""


@frozen
class ChangeStatus:
    """
    What became of a change.

    @ivar time: when, in seconds since 1970.
    @ivar isDone: whether it was made; else all is as it was.
    @ivar text: which change it was, and what became of it.
    """

    time: float
    isDone: bool
    text: str


class Control:
    """
    Takes a relay, and what it serves to viewers, over to other configurations: each of them
    whole or not at all, one after another.

    @ivar configuration: what is run now.
    @ivar last: the last change that was tried.
    @ivar changed: called after each change that was made, with what became of the routes.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        configuration: Configuration,
        relay: IRelay,
        viewers: ViewerService | None = None,
    ) -> None:
        """
        @param reactor: provides C{IReactorFromThreads}.
        @param relay: made of the configuration, and opened and closed by somebody else; so are
            C{viewers}.
        """
        self.configuration = configuration
        self.relay = relay
        self.viewers = viewers
        self.last: ChangeStatus | None = None
        self.changed: list[Callable[[Outcome], None]] = []
        self._threads = Threads(reactor)
        self._reading: Deferred[Configuration] | None = None
        self._changing = DeferredLock()

    def change(self, name: str, make: Callable[[], Configuration]) -> Deferred[Outcome]:
        """
        Go over to another configuration.

        The L{Deferred} fails with what C{make} raises (L{ChangeRefused} is no failed change), with
        L{OSError} if something could not be opened, or with L{RuntimeError} if this cannot be
        changed while it runs; that is logged, and then all is as it was.

        @param name: what the change is called, for people: C{"relay.toml"}.
        @param make: called in a thread, for a large one takes longer than a receive buffer
            lasts, when all earlier changes are made; may raise L{ConfigurationError}.
        """
        return self._changing.run(lambda: Deferred.fromCoroutine(self._change(name, make)))

    def abandon(self) -> None:
        """
        Wait no more for what a change is to be made of, as at the end: a disk may never give it.

        Such a change fails with L{RuntimeError}; one that is being made is not touched.
        """
        if self._reading is not None:
            self._reading.cancel()

    async def _change(self, name: str, make: Callable[[], Configuration]) -> Outcome:
        log = self._log
        try:
            configuration = await self._made(make)
            outcome = await self._goOver(configuration)
        except ConfigurationError as error:
            for problem in error.problems:
                log.error("{problem}", problem=problem)
            log.error("{name} was rejected; the running configuration is unchanged", name=name)
            self._record(False, f"{name} was rejected: {_briefly(error)}")
            raise
        except (OSError, RuntimeError) as error:
            log.error("{error}", error=error)
            log.error("{name} was rejected; the running configuration is unchanged", name=name)
            self._record(False, f"{name} was rejected: {error}")
            raise
        except ChangeRefused as error:
            log.info("{name}: {error}", name=name, error=error)
            raise
        except BaseException as error:
            log.failure("{name} was rejected, which is a bug", name=name)
            self._record(False, f"{name} was rejected: it failed with {error!r}")
            raise
        for line in outcome.lines:
            log.info("{line}", line=line)
        text = f"{name} was applied: {outcome}"
        log.info("{text}", text=text)
        before, self.configuration = self.configuration, configuration
        self._record(True, text)
        if configuration.relay.workers != before.relay.workers:
            self._log.warn("{name}: workers takes effect at the next start", name=name)
        if configuration.admin.endpoints != before.admin.endpoints:
            self._log.warn(
                "{name}: where [admin] listens takes effect at the next start", name=name
            )
        for each in self.changed:
            try:
                each(outcome)
            except Exception:  # noqa: BLE001 - the change has been made, whoever is told of it
                log.failure("{who} failed when it was told of the change", who=each)
        return outcome

    async def _made(self, make: Callable[[], Configuration]) -> Configuration:
        self._reading = self._threads.run(make, MOST_SECONDS, TOO_LONG)
        try:
            return await self._reading
        except CancelledError:
            raise RuntimeError("it was still being read when the relay was told to end") from None
        finally:
            self._reading = None

    async def _goOver(self, configuration: Configuration) -> Outcome:
        """Open what is new of all parts, and then let go of what is old."""
        change = None
        if self.viewers is not None and configuration.viewers != self.configuration.viewers:
            change = await self.viewers.prepare(configuration.viewers)
        try:
            outcome: Outcome = await self.relay.change(configuration.relay)
        except BaseException:
            if change is not None:
                await change.abandon()
            raise
        if change is not None:
            try:
                await change.commit()
            except Exception:  # noqa: BLE001 - the routes have gone over, and there is no way back
                self._log.failure("not all of what viewers no longer get could be closed")
        return outcome

    def _record(self, isDone: bool, text: str) -> None:  # noqa: FBT001 - as the field
        self.last = ChangeStatus(time.time(), isDone, text)  # noqa: TID251 - for people


def _briefly(error: ConfigurationError) -> str:
    first, more = error.problems[0], len(error.problems) - 1
    return f"{first}" + f", and {more} more" * bool(more)
