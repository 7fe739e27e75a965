"""A stage that looks at what passes, and says how it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver, IWarning
from txgroupsock.primitives.run import Run
from txgroupsock.relay.health.alarms import Alarm, Alarms
from txgroupsock.relay.health.figures import HealthFigures
from txgroupsock.relay.health.hooks import Hook
from txgroupsock.relay.health.rtp import RTPHealth
from txgroupsock.relay.health.stream import StreamHealth
from txgroupsock.relay.health.thresholds import Thresholds
from txgroupsock.relay.health.ts import TSHealth
from txgroupsock.relay.stage import Stage


@implementer(IWarning)
class Health(Stage):
    """
    Looks at every run, and gives it on as it is.

    What it costs is what its parts cost (see L{StreamHealth}, L{RTPHealth}, L{TSHealth}); a route
    without it pays nothing.  What looking should ever raise is logged once, and looking ends
    there; the stream goes on.

    @ivar name: what its alarms are about.
    @ivar alarmChanged: called with each alarm that is raised or cleared, after the log has it.
    """

    _log = Logger()

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
        self.alarmChanged: Callable[[Alarm], object] = lambda _: None
        self._reactor = reactor
        self._thresholds = thresholds or Thresholds()
        self._hooks = tuple(hooks)
        self._interval = interval
        self._kernelDrops = kernelDrops
        self._wantsRTP, self._wantsTS = rtp, ts
        self._clockRates = clockRates
        self._alarms = Alarms(name, self._thresholds.raiseAfter, self._thresholds.clearAfter)
        self._figures = HealthFigures()
        self._begin(0.0)
        self._measuring = LoopingCall(self._tick)
        self._measuring.clock = reactor

    def _begin(self, now: float) -> None:
        silence = self._thresholds.silence or 1.0
        self._stream = StreamHealth(now, silence)
        self._rtp = RTPHealth(self._clockRates) if self._wantsRTP else None
        self._ts = TSHealth() if self._wantsTS else None
        self._isLooking = True

    def openStage(self, receiver: IRunReceiver) -> None:
        """See L{IRelayStage <txgroupsock.interfaces.IRelayStage>}; counts begin anew."""
        super().openStage(receiver)
        self._begin(self._reactor.seconds())
        self._measuring.start(self._interval, now=False)

    def closeStage(self) -> Deferred[None]:
        """See L{IRelayStage <txgroupsock.interfaces.IRelayStage>}."""
        if self._measuring.running:
            self._measuring.stop()
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
        if self._isLooking:
            try:
                self._measure()
            except Exception:  # noqa: BLE001 - as above
                self._failed()

    def _measure(self) -> None:
        now = self._reactor.seconds()
        drops = None if self._kernelDrops is None else self._kernelDrops()
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
        for each in self._hooks:
            each.tell(alarm)
        try:
            self.alarmChanged(alarm)
        except Exception:  # noqa: BLE001 - measuring goes on
            self._log.failure("{name}: who was told of an alarm failed", name=self.name)
