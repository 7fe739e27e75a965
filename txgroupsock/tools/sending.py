"""C{twistd groupsock-send}: plays a source to some destinations."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgroupsock.ports.clock import steady
from txgroupsock.primitives.run import Run
from txgroupsock.relay.carriers.udp.output import UDPOutput
from txgroupsock.relay.counters import bitRate
from txgroupsock.relay.exiting import exitWith
from txgroupsock.teststream.player import Player
from txgroupsock.tools.console import Display, Result
from txgroupsock.tools.plan import SendPlan
from txgroupsock.tools.recording import SourceError
from txgroupsock.tools.toolerror import ToolError

PROGRAM = "groupsock-send"

_LOOKUP = 5.0
"""Seconds that host names may take to be looked up."""


class SendService(Service):
    """
    Sends until the source ends, or until it is stopped; then the reactor stops, and there is a
    result.

    @ivar player: what sends; L{None} until it starts.
    @ivar succeeded: whether everything was sent to everybody.
    """

    _log = Logger()

    def __init__(self, reactor: Any, plan: SendPlan, result: Result, terminal: Any = None) -> None:
        self.plan = plan
        self.player: Player | None = None
        self.succeeded = False
        self._reactor = reactor = steady(reactor)
        self.outputs = [UDPOutput(reactor, each) for each in plan.outputs]
        self._result = result
        self._display = Display(reactor, self._line, terminal)
        self._problem = ""
        self._shown = (0.0, 0, 0)
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        self._deadline = 0.0
        self._seconds = 0.0
        self._isEnding = False

    def privilegedStartService(self) -> None:
        """
        Open the file and every output.

        @raise ToolError: one cannot be opened.
        """
        Service.privilegedStartService(self)
        opened: list[UDPOutput] = []
        try:
            self._result.check()
            source = self.plan.makeSource()
            for each in self.outputs:
                each.openOutput()
                opened.append(each)
        except (OSError, SourceError) as error:
            for each in opened:
                each.closeOutput()
            raise ToolError(PROGRAM, error) from error
        self.player = Player(self._reactor, source, self._send, self.plan.speed)
        for each in self.outputs:
            for line in each.describe():
                self._log.info("{line}", line=line)

    def startService(self) -> None:
        """Send as soon as it is known where to; open everything first if nobody did."""
        if self.running:
            return
        Service.startService(self)
        if self.player is None:
            self.privilegedStartService()
        self._deadline = self._reactor.seconds() + _LOOKUP
        self._looking.start(0.01)

    def stopService(self) -> Deferred[Any]:
        """Send no more, and say what became of it."""
        Service.stopService(self)
        if self._looking.running:
            self._looking.stop()
        self._display.stop()
        if self.player is not None:
            if self.player.isPlaying:
                self._seconds = self.player.seconds
            self.player.stop()
            self._finish()
        return gatherResults([each.closeOutput() for each in self.outputs])

    def end(self) -> None:
        """Have the process end, with what was sent until now for a result."""
        if not self._isEnding:
            self._isEnding = True
            self._reactor.stop()

    def _look(self) -> None:
        """Begin, if every destination's name has been looked up."""
        missing = [each for each in self.outputs if each.localAddress is None]
        unknown = [each for each in missing if each.describe()[0].endswith("not looked up yet")]
        if unknown and self._reactor.seconds() < self._deadline:
            return
        self._looking.stop()
        if unknown:
            self._problem = f"{unknown[0].model.host} was not found by name"
            self._log.error("{problem}", problem=self._problem)
            self.end()
            return
        if self.player is not None:
            self._display.start()
            self.player.start().addCallbacks(self._ended, self._failed)

    def _send(self, run: Run) -> None:
        for each in self.outputs:
            each.runReceived(run)

    def _ended(self, _: object) -> None:
        if self.player is not None:
            self._seconds = self.player.seconds
        self.end()

    def _failed(self, failure: Failure) -> None:
        self._ended(None)
        if failure.check(SourceError, OSError):
            self._problem = failure.getErrorMessage()
            self._log.error("{problem}", problem=self._problem)
        else:
            self._problem = "it failed"
            self._log.failure("it failed", failure)

    # What there is to tell

    def _line(self) -> str:
        player = self.player
        if player is None:
            return ""
        seconds = player.seconds
        before, datagrams, size = self._shown
        self._shown = (seconds, player.datagrams, player.bytes)
        passed = max(seconds - before, 1e-9)
        parts = [
            f"{seconds:.1f} s: {player.datagrams:,} datagrams sent",
            f"{(player.datagrams - datagrams) / passed:,.0f}/s",
            bitRate((player.bytes - size) * 8 / passed),
        ]
        progress = player.source.progress
        if progress is not None:
            parts.append(f"{100 * progress:.0f} %")
        if dropped := self._dropped():
            parts.append(f"{dropped:,} dropped")
        return ", ".join(parts)

    def _dropped(self) -> int:
        return sum(each.counters.dropped.total() for each in self.outputs)

    def toJSON(self) -> dict[str, Any]:
        """By name, as docs/tools.md has it."""
        player, seconds = self.player, self._seconds
        datagrams, size = (player.datagrams, player.bytes) if player is not None else (0, 0)
        return {
            "source": self.plan.toJSON(),
            "seconds": round(seconds, 6),
            "datagrams": datagrams,
            "bytes": size,
            "datagramRate": round(datagrams / seconds, 3) if seconds else None,
            "bitRate": round(size * 8 / seconds, 3) if seconds else None,
            "lateness": player.lateness.toJSON() if player is not None else None,
            "outputs": [_outputJSON(each) for each in self.outputs],
            "problem": self._problem or None,
            "succeeded": self.succeeded,
        }

    def _finish(self) -> None:
        self._log.info("{line}", line=self._summary())
        warnings = [f"{each.model}: {told}" for each in self.outputs for told in each.warnings()]
        for note in [*self.plan.notes(), *warnings]:
            self._log.warn("{note}", note=note)
        sent = self.player is not None and self.player.datagrams > 0
        self.succeeded = sent and not self._dropped() and not self._problem
        try:
            self._result.write(self.toJSON())
        except OSError as error:
            self._log.error("the result cannot be written: {error}", error=error)
            self.succeeded = False
        if not self.succeeded:
            exitWith(1)

    def _summary(self) -> str:
        player = self.player
        if player is None:
            return ""
        seconds = max(self._seconds, 1e-9)
        return (
            f"{player.datagrams:,} datagrams sent in {self._seconds:.1f} s: "
            f"{player.datagrams / seconds:,.0f}/s, {bitRate(player.bytes * 8 / seconds)}; "
            f"{self._dropped():,} dropped"
        )


def _outputJSON(output: UDPOutput) -> dict[str, Any]:
    counters = output.counters
    return {
        "url": str(output.model),
        "datagrams": counters.datagrams,
        "bytes": counters.bytes,
        "dropped": dict(+counters.dropped),
        "warnings": output.warnings(),
    }
