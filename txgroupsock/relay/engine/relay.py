"""Several routes in one process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredLock, gatherResults
from zope.interface import implementer

from txgroupsock.ports import GroupsockReactor
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.checks import needClosed
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.engine.change import Change
from txgroupsock.relay.engine.filelimit import allowOpenFiles
from txgroupsock.relay.engine.inputs import SharedInputs, isShare
from txgroupsock.relay.engine.interfaces import IRelay
from txgroupsock.relay.engine.model import RelayModel
from txgroupsock.relay.engine.route import Route
from txgroupsock.relay.health.sharedhooks import SharedHooks
from txgroupsock.relay.recording.files import FOLDER_TIME, checkFolder
from txgroupsock.relay.status import Outcome, RouteStatus
from txgroupsock.relay.threads import Threads, TookTooLong
from txgroupsock.relay.turns import Turns

_SPARE_FILES = 64  # of Python, Twisted and what else is in the process


@implementer(IRelay)
class Relay:
    """
    Routes that are opened and closed together.

    @ivar routes: see L{Route}.
    @ivar model: what they were made of, if that was a model.
    """

    @checked
    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self.model: RelayModel | None = None
        self._inputs: SharedInputs | None = None
        self._hooks: Any = None
        self._threads: Any = None
        self._turns: Any = None
        self._reactor: Any = None
        self._isOpen = False
        self._checking: Deferred[None] | None = None
        self._changing = DeferredLock()

    @classmethod
    @checked
    def of(
        cls,
        reactor: Any,
        model: RelayModel,
        inputs: SharedInputs | None = None,
        hooks: SharedHooks | None = None,
    ) -> Relay:
        """
        The relay that a model describes, not open yet; what its routes can share they do.

        @param inputs: those of others in this process, to share with them, too.
        @param hooks: likewise.
        """
        reactor = GroupsockReactor(reactor)
        inputs = inputs or SharedInputs(reactor)
        hooks = hooks or SharedHooks(reactor)
        relay = cls([Route.of(reactor, each, inputs, hooks) for each in model.routes])
        relay.model, relay._inputs, relay._reactor = model, inputs, reactor
        relay._hooks, relay._threads, relay._turns = hooks, Threads(reactor), Turns(reactor)
        return relay

    def openRelay(self) -> list[RouteStatus]:
        """See L{IRelay}."""
        needClosed(self, self._isOpen)
        allowOpenFiles(_SPARE_FILES + _filesOf(self.routes))
        with ExitStack() as opened:
            for route in self.routes:
                # At boot interfaces and addresses may come later than this.
                route.openRoute(waits=True)
                opened.callback(route.closeRoute)
            opened.pop_all()
        self._isOpen = True
        return self.status()

    def closeRelay(self) -> Deferred[list[RouteStatus]]:
        """See L{IRelay}."""
        self._isOpen = False
        if self._checking is not None:
            self._checking.cancel()
        atTheEnd = self.status()
        closed = [each.closeRoute() for each in self.routes]
        changed = self._changing.run(lambda: None)
        closing: Deferred[Any] = gatherResults([*closed, changed])
        if self._hooks is not None:
            # A command for alarms is not to outlive the relay.
            closing.addBoth(self._hooks.endedAfter)
        return closing.addCallback(lambda _: atTheEnd)

    def change(
        self, model: RelayModel, agree: Callable[[], Awaitable[bool]] | None = None
    ) -> Deferred[Outcome]:
        """
        See L{IRelay} and L{Change}.

        @param agree: asked when all that is new is open, and nothing is closed: whether to go
            on.  If not, the L{Deferred} fails with L{CancelledError}, and all is as it was before.
        @raise RuntimeError: this relay was not made by L{of}.
        """
        inputs = self._inputs
        if inputs is None:
            raise RuntimeError("only a relay that Relay.of made can go over to another model")

        return self._changing.run(
            lambda: Deferred.fromCoroutine(self._change(model, inputs, agree))
        )

    async def _change(
        self,
        model: RelayModel,
        inputs: SharedInputs,
        agree: Callable[[], Awaitable[bool]] | None,
    ) -> Outcome:
        if not self._isOpen:
            raise RuntimeError("this relay is not open, so nothing can be changed in it")
        await self._checkFolders(model)
        change = Change(self._reactor, inputs, self.routes, model, self._hooks, self._turns)
        allowOpenFiles(_SPARE_FILES + _filesOf(self.routes) + change.news)
        await change.openNew(lambda: self._isOpen)
        try:
            if agree is not None and not (await agree() and self._isOpen):
                raise CancelledError("the change was given up")
            routes, outcome, closed = change.commit()
        except BaseException:
            await change.undo(lambda: self._isOpen)
            raise
        self.routes, self.model = tuple(routes), model
        await closed
        return outcome

    async def _checkFolders(self, model: RelayModel) -> None:
        """
        See, in a thread, whether where it newly records can be written to: a disk may hang.

        @raise OSError: it cannot, or nobody can tell in time.
        @raise RuntimeError: the relay has been closed meanwhile.
        """
        before = self.model.routes if self.model is not None else ()
        known = {route.record.folder for route in before if route.record is not None}
        wanted = dict.fromkeys(route.record.folder for route in model.routes if route.record)
        for folder in wanted:
            if folder in known:
                continue
            check = partial(checkFolder, Path(folder))
            self._checking = self._threads.run(check, FOLDER_TIME)
            try:
                await self._checking
            except TookTooLong as error:
                raise TookTooLong(f"cannot record to {folder}: {error}") from None
            except CancelledError:
                raise RuntimeError("the relay was closed before the change was made") from None
            finally:
                self._checking = None

    def status(self) -> list[RouteStatus]:
        """See L{IRelay}."""
        return [each.status() for each in self.routes]

    def counters(self) -> Iterator[tuple[str, list[Counters]]]:
        """See L{IRelay}."""
        for each in self.routes:
            yield each.name, [part.counters for part in each.parts]


def _filesOf(routes: Sequence[Route]) -> int:
    """How many descriptors routes need, at most."""
    return sum(_inputsOf(each) + len(each.outputs) + len(each.recordings) for each in routes)


def _inputsOf(route: Route) -> int:
    return len(route.input.model.legs) if isShare(route.input) else 1
