"""C{twistd groupsock-receive}: listens to a stream, and tells what became of it on its way."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, BinaryIO, ClassVar

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.ports.clock import steady
from txgroupsock.primitives.run import Run
from txgroupsock.relay.carriers.udp.input import UDPInput
from txgroupsock.relay.exiting import exitWith
from txgroupsock.relay.health.carrier import Carrier
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.tools.console import Display, Result
from txgroupsock.tools.recognition import Recognition
from txgroupsock.tools.toolerror import ToolError

PROGRAM = "groupsock-receive"


@frozen
class ReceivePlan:
    """
    @ivar input: what is received.
    @ivar count: end after so many datagrams; L{None}: any number.
    @ivar seconds: end so long after the first datagram; L{None}: any time.
    @ivar silence: end when nothing has come for so long; 0: never.
    @ivar wait: seconds in which the first datagram has to come; L{None}: any time.
    @ivar output: path of a file for the payload, or L{None}.
    """

    input: InputModel
    count: int | None = None
    seconds: float | None = None
    silence: float = 5.0
    wait: float | None = None
    output: str | None = None


@implementer(IRunReceiver)
class ReceiveService(Service):
    """
    Receives until it is done, or stopped; then the reactor stops, and there is a result.

    @cvar settling: seconds to wait for what should not come any more, such as duplicates.
    @ivar recognition: what is known of the stream.
    @ivar succeeded: whether something has come, and nothing of it is known to be lost.
    """

    settling: ClassVar[float] = 0.2

    _log = Logger()

    def __init__(
        self, reactor: Any, plan: ReceivePlan, result: Result, terminal: Any = None
    ) -> None:
        self.plan = plan
        self._reactor = reactor = steady(reactor)
        self.recognition = Recognition(reactor.seconds())
        self.succeeded = False
        self._result = result
        self._input = UDPInput(reactor, plan.input, isRelayed=False)
        self._display = Display(reactor, self._line, terminal)
        self._watching = LoopingCall(self._look)
        self._watching.clock = reactor
        self._opened: float | None = None
        self._file: BinaryIO | None = None
        self._carrier = Carrier()
        self._isDone = self._isEnding = False
        self._problem = ""
        self._within = ""

    def privilegedStartService(self) -> None:
        """
        Join the group, or open the port.

        @raise ToolError: it cannot be had.
        """
        Service.privilegedStartService(self)
        try:
            self._result.check()
            if self.plan.output is not None:
                self._file = open(self.plan.output, "wb")  # noqa: SIM115 - as long as it runs
            self._input.openInput(self)
        except OSError as error:
            self._close()
            raise ToolError(PROGRAM, error) from error
        self._opened = self._reactor.seconds()
        for line in self._input.describe():
            self._log.info("{line}", line=line)

    def startService(self) -> None:
        """Show what comes, and see when it ends; open the port first if nobody did."""
        if self.running:
            return
        Service.startService(self)
        if self._opened is None:
            self.privilegedStartService()
        self._display.start()
        self._watching.start(0.05)

    def stopService(self) -> Deferred[None]:
        """Close the port, and say what became of the stream."""
        Service.stopService(self)
        if self._watching.running:
            self._watching.stop()
        self._display.stop()
        self._close()
        self._finish()
        return self._input.closeInput()

    def end(self) -> None:
        """Have the process end, with what came until now for a result."""
        self._isDone = True
        if not self._isEnding:
            self._isEnding = True
            self._reactor.stop()

    def runReceived(self, run: Run) -> None:
        """See L{IRunReceiver}."""
        if self._isDone:
            return
        count = self.plan.count
        if count is not None:
            left = count - self.recognition.datagrams
            if len(run) > left:
                data = run.data[: left * run.segmentSize]
                run = Run(data, run.segmentSize, run.sender, run.arrival)
        self.recognition.runReceived(run)
        if self._file is not None:
            self._keep(run, self._file)
        if count is not None and self.recognition.datagrams >= count:
            self._isDone = True
            self._reactor.callLater(0, self.end)

    def _keep(self, run: Run, file: BinaryIO) -> None:
        """Write a run's payload: the transport stream in it, or else all there is."""
        packets = self._carrier.packetsOf(run)
        try:
            file.write(run.data if packets is None else packets)
        except OSError as error:
            self._cannotWrite(error)
            self._reactor.callLater(0, self.end)

    def _cannotWrite(self, error: OSError) -> None:
        file, self._file = self._file, None
        self._problem = f"{self.plan.output} cannot be written: {error.strerror}"
        self._log.error("{problem}", problem=self._problem)
        if file is not None:
            with suppress(OSError):  # it tries once more to write what it has
                file.close()

    def _look(self) -> None:
        """End if there is a reason to."""
        plan, seen = self.plan, self.recognition
        now = self._reactor.seconds()
        quiet = now - seen.latest
        if seen.began is None:
            if plan.wait is not None and now - (self._opened or 0.0) >= plan.wait:
                self._within = f" within {plan.wait:g} s"
                self.end()
        elif (plan.silence and quiet >= plan.silence) or (seen.isAll and quiet >= self.settling):
            seen.isOver = True
            self.end()
        elif plan.seconds is not None and now - seen.began >= plan.seconds:
            self.end()

    def _line(self) -> str:
        return self.recognition.line(self._reactor.seconds(), self._kernelDrops())

    def _kernelDrops(self) -> int:
        return self._input.counters.dropped["kernel"]

    def toJSON(self) -> dict[str, Any]:
        """By name, as docs/tools.md has it."""
        drops = self._kernelDrops()
        seen = self.recognition
        figures = seen.toJSON(drops)
        isWhole = seen.datagrams > 0 and not seen.lost and not drops
        self.succeeded = isWhole and not self._problem
        return {
            "input": self.plan.input.name,
            **figures,
            "problem": self._problem or None,
            "succeeded": self.succeeded,
        }

    def _finish(self) -> None:
        result = self.toJSON()
        self._log.info("{line}{within}", line=_summary(result), within=self._within)
        try:
            self._result.write(result)
        except OSError as error:
            self._log.error("the result cannot be written: {error}", error=error)
            self.succeeded = False
        if not self.succeeded:
            exitWith(1)

    def _close(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self._cannotWrite(error)
            self._file = None


def _summary(result: dict[str, Any]) -> str:
    if not result["datagrams"]:
        return "nothing has come"
    drops = result["kernelDrops"]
    text = (
        f"{result['kind']}: {result['datagrams']:,} datagrams in {result['seconds']:.1f} s, "
        f"{result['lost']:,} lost"
    )
    if result["test"]:
        latency = result["test"][-1]["latency"] or {}
        text += "; latency " + ", ".join(f"{name} {each:.3f}" for name, each in latency.items())
        text += " ms"
        if latency and latency["min"] < 0:
            text += ": the clocks of the two hosts differ"
    if drops:
        text += f"; {drops:,} dropped here for want of room: {_ROOM}"
    return text


_ROOM = "a larger net.core.rmem_max gives the receive buffer more"
