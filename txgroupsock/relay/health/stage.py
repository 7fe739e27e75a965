"""A stage that looks at what passes, and says how it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.ports.clock import callOff, steady
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.run import Run
from txgroupsock.relay.health.alarms import Alarm, Alarms
from txgroupsock.relay.health.clockrates import checkRates
from txgroupsock.relay.health.figures import HealthFigures
from txgroupsock.relay.health.hooks import Hook
from txgroupsock.relay.health.model import HealthModel, HookModel
from txgroupsock.relay.health.rtp import RTPHealth
from txgroupsock.relay.health.sharedhooks import SharedHooks
from txgroupsock.relay.health.stream import StreamHealth
from txgroupsock.relay.health.thresholds import Thresholds
from txgroupsock.relay.health.ts import TSHealth
from txgroupsock.relay.interfaces import IWarning
from txgroupsock.relay.stage import Stage

_SILENCE = 1.0  # seconds, for figures, where no limit says otherwise
_LATE = 0.25  # seconds after which a measurement is late
_READING = 0.05  # seconds in which what has come is read, with what inputs gather for


@implementer(IWarning)
class Health(Stage):
    """
    Looks at every run, and gives it on as it is.

    What it costs is what its parts cost (see L{StreamHealth}, L{RTPHealth}, L{TSHealth}); a route
    without it pays nothing.  What looking should ever raise is logged once, and looking ends
    there; the stream goes on.

    @ivar name: what its alarms are about.
    @ivar settings: what it was made of; L{None} if that was no model.
    @ivar alarmChanged: called with each alarm that is raised or cleared, after the log has it.
    """

    _log = Logger()
    _rtp: RTPHealth | None
    _ts: TSHealth | None

    @checked
    def __init__(
        self,
        reactor: Any,
        name: str,
        thresholds: Thresholds | None = None,
        hooks: Sequence[Hook] = (),
        *,
        rtp: bool = True,
        ts: bool = True,
        clockRates: Mapping[int, int] | None = None,
        interval: float = 1.0,
        kernelDrops: Callable[[], int] | None = None,
    ) -> None:
        """
        @param reactor: provides C{IReactorTime}; its clock is that of the runs' arrival.
        @param thresholds: from when on there is an alarm; left out, L{Thresholds}' own.
        @param hooks: whom to tell of alarms; whoever made them closes them.
        @param rtp: whether to look for RTP.
        @param ts: whether to look for a transport stream.
        @param clockRates: Hz of RTP's timestamps, by payload type, where RFC 3551 has no other.
        @param interval: seconds from one measurement to the next.
        @param kernelDrops: says what the input's receive buffer had no room for, so far.
        """
        super().__init__()
        if interval <= 0:
            raise ValueError(f"an interval lasts more than 0 s, not {interval}")
        self.name = name
        self.settings: HealthModel | None = None
        self.alarmChanged: Callable[[Alarm], object] = lambda _: None
        self._reactor = reactor = steady(reactor)
        self._thresholds = thresholds or Thresholds()
        self._hooks = tuple(hooks)
        self._shared: SharedHooks | None = None
        self._taken: tuple[HookModel, str] | None = None  # and as whose, while it is open
        self._interval = interval
        self._kernelDrops = kernelDrops
        self._wantsRTP, self._wantsTS = rtp, ts
        checkRates("clockRates", clockRates or {})
        self._clockRates = clockRates
        self._alarms = Alarms(name, self._thresholds.raiseAfter, self._thresholds.clearAfter)
        self._figures = HealthFigures()
        self._dropsBefore = 0
        self._due = 0.0  # when it is measured next
        self._looking: IDelayedCall | None = None  # late
        self._begin(0.0)
        self._measuring = LoopingCall(self._tick)
        self._measuring.clock = reactor

    @classmethod
    @checked
    def of(
        cls,
        reactor: Any,
        name: str,
        model: HealthModel,
        hooks: SharedHooks,
        kernelDrops: Callable[[], int] | None = None,
    ) -> Health:
        """
        The stage that a model describes; it has its hooks while it is open.

        @param hooks: where it gets them from.
        """
        health = cls(
            reactor,
            name,
            model.thresholds,
            rtp=model.rtp,
            ts=model.ts,
            clockRates=dict(model.clockRates),
            kernelDrops=kernelDrops,
        )
        health.settings, health._shared = model, hooks
        return health

    @checked
    def adapt(self, name: str, model: HealthModel) -> None:
        """
        Look in another way from now on, under another name; figures go on where they can.

        @raise RuntimeError: it was not made by L{of}.
        """
        before = self.settings
        if before is None:
            raise RuntimeError("only a stage that Health.of made can go over to another model")
        self.name, self.settings = name, model
        self._thresholds = limits = model.thresholds
        self._wantsRTP, self._wantsTS = model.rtp, model.ts
        self._clockRates = dict(model.clockRates)
        self._alarms.adapt(name, limits.raiseAfter, limits.clearAfter)
        self._stream.setSilence(limits.silence or _SILENCE)
        if not model.rtp or self._rtp is None or model.clockRates != before.clockRates:
            self._rtp = RTPHealth(self._clockRates) if model.rtp else None
        if not model.ts or self._ts is None:
            self._ts = TSHealth() if model.ts else None
        if self._taken is not None and (model.hooks, name) != self._taken:
            gone = self._taken
            self._takeHooks()
            self._giveBack(*gone)

    def restart(self) -> None:
        """Another input follows: begin to count anew; alarms that hold go on."""
        self._begin(self._reactor.seconds())
        self._countDropsFromNow()

    def _countDropsFromNow(self) -> None:
        if self._kernelDrops is not None:
            try:
                self._dropsBefore = self._kernelDrops()
            except Exception:  # noqa: BLE001 - as below
                self._failed()

    def _takeHooks(self) -> None:
        if self._shared is not None and self.settings is not None:
            self._taken = self.settings.hooks, self.name
            self._hooks = self._shared.take(*self._taken)

    def _giveBack(self, model: HookModel, user: str) -> None:
        if self._shared is not None:
            self._shared.giveBack(model, user)

    def _begin(self, now: float) -> None:
        silence = self._thresholds.silence or _SILENCE
        self._stream = StreamHealth(now, silence)
        self._rtp = RTPHealth(self._clockRates) if self._wantsRTP else None
        self._ts = TSHealth() if self._wantsTS else None
        self._isLooking = True

    def openStage(self, receiver: IRunReceiver) -> None:
        """See L{IRelayStage}; counts begin anew."""
        super().openStage(receiver)
        now = self._reactor.seconds()
        self._takeHooks()
        self._begin(now)
        self._countDropsFromNow()
        self._due = now + self._interval
        self._measuring.start(self._interval, now=False)

    def closeStage(self) -> Deferred[None]:
        """
        See L{IRelayStage}; alarms that hold are cleared, or
        whoever was told of them would wait for ever.
        """
        self._cancelLook()
        if self._measuring.running:
            self._measuring.stop()
            for each in self._alarms.end(self._reactor.seconds()):
                self._tell(each)
            self._figures = evolve(self._figures, alarms=())
        if self._taken is not None:
            self._giveBack(*self._taken)
            self._taken, self._hooks = None, ()
        return super().closeStage()

    def runReceived(self, run: Run) -> None:
        """Take a run."""
        if self._isLooking:
            try:
                self._stream.take(run)
                if self._rtp is not None:
                    self._rtp.take(run)
                if self._ts is not None:
                    self._ts.take(run)
            except Exception:  # noqa: BLE001 - looking at a stream must not stop it
                self._failed()
        self.give(run)

    def status(self) -> HealthFigures:
        """How it was when it was last measured: once an interval."""
        return self._figures

    def warnings(self) -> list[str]:
        """The alarms that are raised."""
        return [each.text for each in self._figures.alarms]

    def _failed(self) -> None:
        self._isLooking = False
        self._log.failure("{name}: its health is looked at no longer", name=self.name)

    def _tick(self) -> None:
        now, due = self._reactor.seconds(), self._due
        self._due = now + self._interval
        if now - due > _LATE:
            # The reactor was busy, and what has come meanwhile has not been read: no silence yet.
            self._cancelLook()
            self._looking = self._reactor.callLater(_READING, self._look)
        else:
            self._look()

    def _cancelLook(self) -> None:
        callOff(self._looking)

    def _look(self) -> None:
        if self._isLooking:
            try:
                self._measure()
            except Exception:  # noqa: BLE001 - as above
                self._failed()

    def _measure(self) -> None:
        now = self._reactor.seconds()
        drops = None
        if self._kernelDrops is not None:
            drops = max(0, self._kernelDrops() - self._dropsBefore)
        stream = self._stream.measure(now, drops)
        rtp = None if self._rtp is None else self._rtp.measure()
        ts = None if self._ts is None else self._ts.measure(now)
        changed = self._alarms.take(self._thresholds.findings(stream, rtp, ts), now)
        self._figures = HealthFigures(now, stream, rtp, ts, self._alarms.raised(now))
        for alarm in changed:
            self._tell(alarm)

    def _tell(self, alarm: Alarm) -> None:
        if alarm.isRaised:
            self._log.warn("{alarm}", alarm=alarm)
        else:
            self._log.info("{alarm}", alarm=alarm)
        for tell in (*(hook.tell for hook in self._hooks), self.alarmChanged):
            try:
                tell(alarm)
            except Exception:  # noqa: BLE001 - measuring goes on
                self._log.failure("{name}: who was told of an alarm failed", name=self.name)
