"""A route: one input, stages that its datagrams pass, and the outputs that they go to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, gatherResults, maybeDeferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.ports import GroupsockReactor
from txgroupsock.ports.clock import steady
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.checks import needClosed, wrongKind
from txgroupsock.primitives.run import Run
from txgroupsock.relay.carriers.udp.output import UDPOutput
from txgroupsock.relay.engine.inputs import SharedInputs, isShare
from txgroupsock.relay.engine.model import RouteModel
from txgroupsock.relay.engine.status import makingStatus
from txgroupsock.relay.health.alarms import Alarm
from txgroupsock.relay.health.model import HealthModel
from txgroupsock.relay.health.sharedhooks import SharedHooks
from txgroupsock.relay.health.stage import Health
from txgroupsock.relay.interfaces import IRelayInput, IRelayOutput, IRelayStage
from txgroupsock.relay.recording.model import Recording, RecordingModel
from txgroupsock.relay.recording.recorded import Address
from txgroupsock.relay.recording.ring import Ring
from txgroupsock.relay.status import RouteStatus
from txgroupsock.relay.turns import Work, atOnce

_log = Logger()


@implementer(IRunReceiver)
class Route:
    """
    Gives every run of an input, after its stages, to each of its outputs.

    @ivar input: provides L{IRelayInput}.
    @ivar outputs: each provides L{IRelayOutput}.
    @ivar stages: each provides L{IRelayStage}; runs pass them in this order.
    @ivar name: what people call it, or C{""}.
    @ivar isOpen: whether it has been opened, and not been closed since.
    @ivar recordings: what is given every run after the outputs, and gives it to nobody.
    """

    @checked
    def __init__(
        self,
        input: IRelayInput,  # noqa: A002 - the builtin is not wanted here, and no other word says it
        outputs: Sequence[IRelayOutput],
        stages: Sequence[IRelayStage] = (),
        name: str = "",
    ) -> None:
        self.name = name
        self.input = input
        self.outputs = tuple(outputs)
        self.stages = tuple(stages)
        self.recordings: tuple[Recording, ...] = ()
        self.isOpen = False
        self._recordingKey: _RecordingKey = None
        self._closing = DeferredLock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name or getattr(self.input, 'model', self.input)}>"

    @classmethod
    @checked
    def of(
        cls,
        reactor: Any,
        model: RouteModel,
        inputs: SharedInputs | None = None,
        hooks: SharedHooks | None = None,
    ) -> Route:
        """
        The route that a model describes, not open yet.

        @param inputs: those of the other routes of this process, to share one with them.
        @param hooks: likewise.
        """
        reactor = steady(reactor)
        inputs = inputs or SharedInputs(GroupsockReactor(reactor))
        outputs = [UDPOutput(reactor, each) for each in model.outputs]
        route = cls(inputs.share(model.input), outputs, name=model.name)
        if model.health is not None:
            hooks = hooks or SharedHooks(reactor)
            route.stages = (route.healthStage(reactor, model.health, hooks),)
        route.recordings = route.recordingsFor(reactor, model) or ()
        route._recordingKey = _recordingKeyOf(model)
        return route

    @classmethod
    @checked
    def fromURLs(
        cls,
        reactor: Any,
        inputs: Sequence[str],
        outputs: Sequence[str | IRelayOutput],
        stages: Sequence[IRelayStage] = (),
    ) -> Route:
        """
        The route that URLs describe, as on the command line; not open yet.

        @param inputs: one, or several that differ in their source only.
        @param outputs: URLs, or outputs of one's own.
        @raise URLError: one of them is wrong, or two do not go together.
        """
        urls = [each for each in outputs if isinstance(each, str)]
        route = cls.of(reactor, RouteModel.of(inputs, urls))
        made = iter(route.outputs)
        every = [next(made) if isinstance(each, str) else each for each in outputs]
        return cls(route.input, every, stages, route.name)

    def openRoute(self, *, waits: bool = False) -> None:
        """
        Open the input, the stages, then the outputs: the kernel might give an output the
        input's port.

        @param waits: an input whose interface or address is not there yet waits for it.
        @raise OSError: one of them could not be opened; then none stays open.
        @raise RuntimeError: it is open already, or not all of it is closed yet.
        """
        if self._closing.locked:
            raise RuntimeError(f"{self!r} is closing: wait for closeRoute()'s Deferred")
        needClosed(self, self.isOpen)
        receivers: list[IRunReceiver] = [*map(_Guarded, self.stages), self]
        with ExitStack() as opened:
            if isShare(self.input):
                self.input.openInput(receivers[0], waits=waits)
            else:
                self.input.openInput(receivers[0])
            opened.callback(self.input.closeInput)
            for stage, following in zip(self.stages, receivers[1:], strict=True):
                stage.openStage(following)
                opened.callback(stage.closeStage)
            for recording in self.recordings:
                recording.openStage(NOBODY)
                opened.callback(recording.closeStage)
            for output in self.outputs:
                output.openOutput()
                opened.callback(output.closeOutput)
                self.outputOpened(output)
            opened.pop_all()
        self.isOpen = True
        self._heedAlarms()

    def closeRoute(self) -> Deferred[Any]:
        """
        Close the input, then stages and outputs; fires when all is given back, at once if it is
        not open.
        """
        return self._closing.run(self._close)

    def _close(self) -> Deferred[Any]:
        if not self.isOpen:
            return succeed(None)
        self.isOpen = False

        def closeOthers(_: None) -> Deferred[Any]:
            stages = (*self.stages, *self.recordings)
            closing = [maybeDeferred(each.closeStage) for each in stages]  # whatever one raises
            for output in self.outputs:
                closing.append(maybeDeferred(self.outputClosed, output))
                closing.append(maybeDeferred(output.closeOutput))
            return gatherResults(closing, consumeErrors=True)

        return self.input.closeInput().addCallback(closeOthers)

    def outputOpened(self, output: IRelayOutput) -> None:
        """Have the input know an output, so that it finds out if it ever hears it."""
        if isShare(self.input):
            if isinstance(output, UDPOutput):
                output.moved = self.input.feeds
            self.input.feeds(output)

    def outputClosed(self, output: IRelayOutput) -> None:
        """Have the input forget an output."""
        if isShare(self.input):
            self.input.feedsNoMore(output)

    @property
    def parts(self) -> tuple[IRelayInput | IRelayStage | IRelayOutput, ...]:
        """All that it consists of, in the order of L{RouteStatus.ends}."""
        return (self.input, *self.stages, *self.recordings, *self.outputs)

    @property
    def record(self) -> RecordingModel | None:
        """How it is recorded; L{None} if it is not."""
        return self._recordingKey and self._recordingKey[0]

    @checked
    def recordingsFor(self, reactor: Any, model: RouteModel) -> tuple[Recording, ...] | None:
        """What is to record it as a model has it, not open yet; L{None} if that is there."""
        key = _recordingKeyOf(model)
        if key == self._recordingKey:
            return None
        return () if key is None else (key[0].recording(reactor, *key[1:]),)

    @checked
    def recordWith(
        self, recordings: tuple[Recording, ...], model: RouteModel
    ) -> list[Callable[[], Deferred[Any]]]:
        """
        Have others record it from the next run on.

        @param recordings: they are open.
        @param model: which they were made for.
        @return: what closes those before.
        """
        before, self.recordings = self.recordings, recordings
        self._recordingKey = _recordingKeyOf(model)
        self._heedAlarms()
        return [each.closeStage for each in before]

    def _heedAlarms(self) -> None:
        """Have the recordings know of alarms of its health."""
        for stage in self.stages:
            if isinstance(stage, Health) and self.recordings:
                stage.alarmChanged = self._alarmChanged

    def _alarmChanged(self, alarm: Alarm) -> None:
        for each in self.recordings:
            if isinstance(each, Ring):
                each.alarmChanged(alarm)

    @property
    def entry(self) -> IRunReceiver:
        """What is given the runs of the input."""
        return _Guarded(self.stages[0]) if self.stages else self

    @property
    def health(self) -> Health | None:
        """The stage that looks at its health, if there is one."""
        return next((each for each in self.stages if isinstance(each, Health)), None)

    @checked
    def healthStage(self, reactor: Any, model: HealthModel, hooks: SharedHooks) -> Health:
        """A stage that looks at its health, whatever its input is; it has to be made a stage."""

        def drops() -> int:
            there = self.input
            return there.kernelDrops if isShare(there) else there.counters.dropped["kernel"]

        return Health.of(reactor, self.name, model, hooks, drops)

    @checked
    def lookWith(self, health: Health | None) -> list[Callable[[], Deferred[Any]]]:
        """
        Have another stage look at its health from the next run on, or none; the route is open.

        @return: what closes the one before.
        """
        before = self.health
        others = tuple(each for each in self.stages if each is not before)
        if health is not None:
            health.openStage(_Guarded(others[0]) if others else self)
        self.stages = others if health is None else (health, *others)
        if isShare(self.input):
            self.input.giveTo(self.entry)
        self._heedAlarms()
        return [] if before is None else [before.closeStage]

    def state(self) -> Mapping[str, Any]:
        """What it consists of now, for L{restore}."""
        return dict(vars(self))

    @checked
    def restore(self, state: Mapping[str, Any]) -> None:
        """Consist of what it once did, all of which is still open."""
        vars(self).update(state)
        if isShare(self.input):
            self.input.giveTo(self.entry)
        for output in self.outputs:
            self.outputOpened(output)
        self._heedAlarms()

    def status(self) -> RouteStatus:
        """What there is to know about it now."""
        return atOnce(self.makingStatus())

    def makingStatus(self) -> Work[RouteStatus]:
        """The same, some of its parts at a time."""
        stages = (*self.stages, *self.recordings)
        return makingStatus(self.input, stages, self.outputs, self.name)

    def runReceived(self, run: Run) -> None:
        """See L{IRunReceiver}; what fails in one output does not reach the others."""
        for output in self.outputs:
            try:
                output.runReceived(run)
            except Exception:  # noqa: BLE001 - whatever it is, the others get their datagrams
                _failed(output, run)
        for recording in self.recordings:
            try:
                recording.runReceived(run)
            except Exception:  # noqa: BLE001 - as above
                _failed(recording, run)


_RecordingKey = tuple[RecordingModel, str, Address] | None
"""What makes a recording another one: how, under which name, and where its datagrams were sent."""


def _recordingKeyOf(model: RouteModel) -> _RecordingKey:
    if model.record is None:
        return None
    incoming = model.input.legs[0]
    return model.record, model.name, (str(incoming.address), incoming.port)


@implementer(IRunReceiver)
class _Nobody:
    """Needs nothing of what it is given."""

    def runReceived(self, run: Run) -> None:
        """See L{IRunReceiver}."""


NOBODY = _Nobody()
"""What has runs that are nobody's."""


@implementer(IRunReceiver)
class _Guarded:
    """A stage whose failures do not reach what gives it runs, so that each counts its own."""

    def __init__(self, stage: IRelayStage) -> None:
        self._stage = stage

    def runReceived(self, run: Run) -> None:
        try:
            self._stage.runReceived(run)
        except Exception:  # noqa: BLE001 - as above
            _failed(self._stage, run)


def _failed(part: IRelayStage | IRelayOutput, run: Run) -> None:
    """Count a run that a stage or an output failed on; say so the first time."""
    if not isinstance(run, Run):
        raise wrongKind("run", run, "a Run")
    dropped = part.counters.dropped
    if not dropped["error"]:
        _log.failure("{part} failed; later failures are counted", part=part)
    dropped["error"] += len(run)
