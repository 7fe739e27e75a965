"""From the routes that run to others, without touching what is in both."""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgroupsock.relay.carriers.udp.output import UDPOutput
from txgroupsock.relay.engine.inputs import AnyShare, SharedInputs, goOn, isShare
from txgroupsock.relay.engine.matching import Likeness, matches
from txgroupsock.relay.engine.model import RelayModel, RouteModel
from txgroupsock.relay.engine.redundantshare import RedundantShare
from txgroupsock.relay.engine.route import NOBODY, Route
from txgroupsock.relay.engine.status import routeStatus
from txgroupsock.relay.health.sharedhooks import SharedHooks
from txgroupsock.relay.health.stage import Health
from txgroupsock.relay.interfaces import IRelayOutput
from txgroupsock.relay.models.udp import OutputModel
from txgroupsock.relay.recording.model import Recording
from txgroupsock.relay.status import Outcome
from txgroupsock.relay.turns import Turns


class Change:
    """
    A change of a relay's routes to those of a model: all of it or nothing.

    A route goes on if the model has one with the same input and outputs, else with its name, else
    with its input.  Of a route that goes on, an input and outputs that are equal stay open with
    their counters.  Everything new is opened before anything is closed, so no datagram gets lost
    or goes twice where nothing changes.  Much that is new is opened in many turns of the reactor,
    in which the routes that run go on.

    Only where a new input needs the port of one that goes, and the kernel does not let it have
    that, is the old one closed first.  If the change then fails, it is opened again.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        inputs: SharedInputs,
        routes: Sequence[Route],
        model: RelayModel,
        hooks: SharedHooks,
        turns: Turns,
    ) -> None:
        """
        @param routes: those that run, whose inputs are shares of C{inputs}.
        @param hooks: of their alarms.
        @param turns: among which the opening is divided.
        """
        self._turns = turns
        likenesses = [Likeness.ofModel(each) for each in model.routes]
        indices = matches([_likenessOf(each) for each in routes], likenesses)
        found = [None if index is None else routes[index] for index in indices]
        self._steps = [
            _Step.of(reactor, inputs, hooks, wanted, there)
            for wanted, there in zip(model.routes, found, strict=True)
        ]
        goingOn = {id(each) for each in found}
        self._gone = [each for each in routes if id(each) not in goingOn]
        self._opened: list[Callable[[], Deferred[None]]] = []
        self._opening: AnyShare | None = None
        self._released: list[AnyShare] = []

    @property
    def news(self) -> int:
        """How many inputs and outputs there are to open."""
        legs = [len(each.newInput.model.legs) for each in self._steps if each.newInput is not None]
        recordings = sum(len(each.newRecordings or ()) for each in self._steps)
        return sum(legs) + sum(len(each.newOutputs) for each in self._steps) + recordings

    async def openNew(self, isWanted: Callable[[], bool]) -> None:
        """
        Open what is new; what comes in there is nobody's until L{commit}.

        @param isWanted: whether to go on, asked after each wait.
        @raise OSError: something could not be opened; or whatever else went wrong.  All is as it
            was before.
        @raise RuntimeError: it is no longer wanted.
        """
        released = self._released
        while True:
            try:
                async for _ in self._turns.each(self._openEach()):
                    if not isWanted():
                        raise RuntimeError("the relay was closed before the change was made")
            except BaseException as error:
                inTheWay = [each for each in self._inTheWayOf(error) if each not in released]
                await self._closeNew()
                if inTheWay:
                    released += inTheWay
                    await gatherResults([each.closeInput() for each in inTheWay])
                    if isWanted():
                        continue
                if isWanted():
                    self._openAgain()
                raise
            return

    async def undo(self, isWanted: Callable[[], bool]) -> None:
        """Instead of L{commit}: have all as it was before L{openNew}, if it is still wanted."""
        await self._closeNew()
        if isWanted():
            self._openAgain()

    def commit(self) -> tuple[list[Route], Outcome, Deferred[Any]]:
        """
        Give the routes what is new, and close what is gone.

        Whatever is raised, the routes have what they had, and L{undo} has to follow.  Once one
        thing is closed nothing is raised: what cannot be closed is logged.

        @return: the routes of the model, what became of which, and when all is closed.
        """
        names: defaultdict[str, list[str]] = defaultdict(list)
        lines: list[str] = []
        going: list[Callable[[], Deferred[Any]]] = []
        with ExitStack() as undoing:
            for step in self._steps:
                names[step.kind].append(step.wanted.name)
                lines += step.report()
                going += step.switch(undoing)
            for route in self._gone:
                names["closed"].append(route.name)
                lines += _closing(route.status().report())
                going.append(route.closeRoute)
            undoing.pop_all()
        closed = [maybeDeferred(close).addErrback(self._notClosed) for close in going]
        outcome = Outcome(**{kind: tuple(each) for kind, each in names.items()}, lines=tuple(lines))
        return (
            [each.route for each in self._steps],
            outcome,
            gatherResults(closed).addCallback(self._tryLegsAgain),
        )

    def _notClosed(self, failure: Failure) -> None:
        self._log.failure("something that is no longer wanted could not be closed", failure)

    def _tryLegsAgain(self, result: Any) -> Any:
        """A leg may need a port that has been closed only now."""
        for each in self._steps:
            if isinstance(each.newInput, RedundantShare):
                each.newInput.tryAgain()
        return result

    def _openEach(self) -> Iterator[None]:
        """Open one thing after another: 0.2 ms each."""
        # Inputs first: the kernel might give an output the port of one.
        for step in self._steps:
            if step.newInput is not None:
                self._opening = step.newInput
                self._opened.append(step.newInput.closeInput)  # first: half of it may be open
                step.newInput.openInput(NOBODY)
                yield
        self._opening = None
        for step in self._steps:
            for recording in step.newRecordings or ():
                self._opened.append(recording.closeStage)
                recording.openStage(NOBODY)
                yield
            for output in step.newOutputs.values():
                self._opened.append(output.closeOutput)
                output.openOutput()
                yield

    async def _closeNew(self) -> None:
        opened, self._opened = self._opened, []
        closing = [maybeDeferred(close) for close in reversed(opened)]
        await gatherResults([each.addErrback(self._notClosed) for each in closing])

    def _inTheWayOf(self, error: BaseException) -> list[AnyShare]:
        """What goes and has the port that a new input could not get."""
        if (
            not isinstance(error, OSError)
            or error.errno != errno.EADDRINUSE
            or self._opening is None
        ):
            return []
        going = [each.input for each in self._gone]
        going += [each.route.input for each in self._steps if each.isInputReplaced]
        ports = {each.port for each in self._opening.model.legs}
        return [
            each
            for each in going
            if isShare(each) and any(leg.port in ports for leg in each.model.legs)
        ]

    def _openAgain(self) -> None:
        for each in self._released:
            try:
                each.openInput(each.receiver, waits=True)
            except OSError as error:
                self._log.error(
                    "{input} was closed for a new one, and could not be opened again: {error}",
                    input=each.model,
                    error=error,
                )


@frozen(eq=False)
class _Step:
    """
    How one route comes to be as it is wanted.

    @ivar route: the route; one that goes on, or a new one.
    @ivar newInput: not open yet; L{None} if it keeps what it has.
    @ivar newOutputs: not open yet.
    @ivar kept: the outputs that stay.
    @ivar newHealth: not open yet; L{None} if it keeps its own, if it has any.
    @ivar newRecordings: not open yet; L{None} if it keeps those that it has.
    """

    wanted: RouteModel
    route: Route
    isNew: bool
    newInput: AnyShare | None
    newOutputs: dict[OutputModel, IRelayOutput]
    kept: dict[OutputModel, IRelayOutput]
    newHealth: Health | None
    newRecordings: tuple[Recording, ...] | None

    @classmethod
    def of(
        cls,
        reactor: Any,
        inputs: SharedInputs,
        hooks: SharedHooks,
        wanted: RouteModel,
        there: Route | None,
    ) -> _Step:
        """What is new in a route, and what stays of the one that goes on, if there is one."""
        has = {_outputKey(each): each for each in (there.outputs if there else ())}
        kept = {each: has[each] for each in wanted.outputs if each in has}
        missing: dict[OutputModel, IRelayOutput] = {
            each: UDPOutput(reactor, each) for each in wanted.outputs if each not in has
        }
        likeness = Likeness.ofModel(wanted)
        incoming = None
        if there is None or _likenessOf(there).input != likeness.input:
            incoming = inputs.share(wanted.input)
        route = there or Route(incoming or inputs.share(wanted.input), (), name=wanted.name)
        health = None
        if wanted.health is not None and route.health is None:
            health = route.healthStage(reactor, wanted.health, hooks)
            health.adapt(wanted.name, wanted.health)
        recordings = route.recordingsFor(reactor, wanted)
        return cls(wanted, route, there is None, incoming, missing, kept, health, recordings)

    @property
    def isInputReplaced(self) -> bool:
        """Whether the route had another input."""
        return self.newInput is not None and not self.isNew

    @property
    def gone(self) -> list[IRelayOutput]:
        """The outputs that the route has and does not keep."""
        kept = {id(each) for each in self.kept.values()}
        return [each for each in self.route.outputs if id(each) not in kept]

    @property
    def kind(self) -> str:
        """Where it belongs in L{Outcome}."""
        if self.isNew:
            return "opened"
        isKept = _likenessOf(self.route).isKeptBy(Likeness.ofModel(self.wanted))
        return "unchanged" if isKept else "changed"

    @property
    def _wantsOtherTimes(self) -> bool:
        there, wanted = self.route.input, self.wanted.input
        return isShare(there) and there.model.times != wanted.times

    def report(self) -> Iterator[str]:
        """What is opened, and what is closed with its counters."""
        if self.newInput is not None:
            yield from self.newInput.describe()
        for each in self.newOutputs.values():
            yield from each.describe()
        for recording in self.newRecordings or ():
            yield from recording.describe()
        status = routeStatus(self.route.input, (), self.gone)
        first = 0 if self.isInputReplaced else len(status.reportOfInput())
        yield from _closing(status.report()[first:])

    def switch(self, undoing: ExitStack) -> list[Callable[[], Deferred[Any]]]:
        """
        Give the route what is new.

        @param undoing: has what gives it back what it had.
        @return: what closes that.
        """
        route, gone, before = self.route, self.gone, self.route.input
        undoing.callback(route.restore, route.state())
        going: list[Callable[[], Deferred[Any]]] = [each.closeOutput for each in gone]
        if self.newInput is not None and isShare(before) and not self.isNew:
            goOn(before, self.newInput)
        for output in gone:
            route.outputClosed(output)
        if self.newInput is not None and not self.isNew:
            going.append(before.closeInput)
            self.newInput.countFrom(before.counters)
            route.input = self.newInput
        elif self._wantsOtherTimes and isShare(before):
            undoing.callback(before.setTimes, before.model)
            before.setTimes(self.wanted.input)
        outputs = {**self.kept, **self.newOutputs}
        route.outputs = tuple(outputs[each] for each in self.wanted.outputs)
        # The input knows the others already, unless it is another one.
        for output in route.outputs if self.newInput is not None else self.newOutputs.values():
            undoing.callback(route.outputClosed, output)
            route.outputOpened(output)
        going += self._switchHealth(undoing)
        if self.newInput is not None:
            self.newInput.begin(route.entry)
        if self.newRecordings is not None:
            going += route.recordWith(self.newRecordings, self.wanted)
        route.name = self.wanted.name
        route.isOpen = True
        return going

    def _switchHealth(self, undoing: ExitStack) -> list[Callable[[], Deferred[Any]]]:
        """Have the health looked at as is wanted, from the next run on; what closes the other."""
        route, wanted = self.route, self.wanted.health
        there = route.health
        if there is None or wanted is None:
            if there is None and self.newHealth is None:
                return []
            if self.newHealth is not None:
                undoing.callback(self.newHealth.closeStage)
            return route.lookWith(self.newHealth)
        if there.settings is not None:
            undoing.callback(there.adapt, there.name, there.settings)
        there.adapt(self.wanted.name, wanted)
        if self.isInputReplaced:
            there.restart()
        return []


def _likenessOf(route: Route) -> Likeness:
    incoming = route.input
    model = incoming.model if isShare(incoming) else None
    health = None if route.health is None else route.health.settings
    return Likeness.of(model, map(_outputKey, route.outputs), route.name, health, route.record)


def _outputKey(output: IRelayOutput) -> Any:
    return getattr(output, "model", None)


def _closing(report: Sequence[str]) -> list[str]:
    return [f"closed: {each}" for each in report]
