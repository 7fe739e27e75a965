"""
C{--demo}: the relay at work on loopback, on a stream that is checked at the far end.

    sender -> 239.255.42.42:8888 -> relay -> 239.255.43.43:4444 -> receiver

The addresses are those of LIVE555's C{testRelay}.  The demo shares them with no other program,
which might send to them or relay them too: of two demos at once, the second does not start.
"""

from __future__ import annotations

import time
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from txgroupsock.ports.clock import callOff, steady
from txgroupsock.relay.app.service import RelayService
from txgroupsock.relay.carriers.udp.input import UDPInput
from txgroupsock.relay.carriers.udp.output import UDPOutput
from txgroupsock.relay.counters import Counters, bitRate
from txgroupsock.relay.engine.relay import Relay
from txgroupsock.relay.engine.route import Route
from txgroupsock.relay.errors import StartError
from txgroupsock.relay.exiting import exitWith
from txgroupsock.relay.models.udp import InputModel, OutputModel
from txgroupsock.teststream.checker import StreamReceiver
from txgroupsock.teststream.player import Player
from txgroupsock.teststream.stream import TestStream

FROM = "udp://239.255.42.42:8888?interface=127.0.0.1"
TO = "udp://239.255.43.43:4444?interface=127.0.0.1"

_PATIENCE = 1.0
"""Seconds that datagrams under way are waited for at the end."""


class DemoService(Service):
    """
    Runs a sender, a relay and a receiver, with a line of log a second.

    At the end it prints a summary; the process then exits with 0 only if every datagram
    has arrived, once and undamaged.
    """

    _log = Logger()

    def __init__(self, reactor: Any, seconds: float = 0.0) -> None:
        """@param seconds: how long to run; 0 until interrupted."""
        self._reactor = reactor = steady(reactor)
        self._seconds = seconds
        relayed = UDPInput(reactor, InputModel.parse(FROM), isShared=False)
        self.route = Route(relayed, [UDPOutput(reactor, OutputModel.parse(TO))])
        self.relay = RelayService(reactor, Relay([self.route]))
        self._generated = UDPOutput(reactor, OutputModel.parse(FROM))
        self._arriving = UDPInput(reactor, InputModel.parse(TO), isShared=False)
        self.stream = TestStream(clock=time.monotonic_ns)
        self.player = Player(reactor, self.stream, self._generated.runReceived)
        self.checker = StreamReceiver(self.stream.stream, clock=time.monotonic_ns)
        self._reporting = LoopingCall(self._report)
        self._reporting.clock = reactor
        self._ending: IDelayedCall | None = None
        self._reported = (0.0, Counters(), Counters())

    @property
    def isComplete(self) -> bool:
        """Whether every datagram sent so far has arrived, once and undamaged."""
        checker = self.checker
        return checker.received == self.stream.sent > 0 == checker.duplicates + checker.damaged

    def privilegedStartService(self) -> None:
        """
        Open everything.

        @raise StartError: something could not be opened.
        """
        Service.privilegedStartService(self)
        self.relay.privilegedStartService()
        try:
            self._arriving.openInput(self.checker)
            self._generated.openOutput()
        except OSError as error:
            self._close()
            raise StartError(error) from error

    def startService(self) -> None:
        """Send, relay, check and report."""
        if self.running:
            return
        Service.startService(self)
        self.relay.startService()
        self.player.start()
        self._reported = (self._reactor.seconds(), Counters(), Counters())
        self._reporting.start(1.0, now=False)
        if self._seconds:
            self._ending = self._reactor.callLater(self._seconds, self._reactor.stop)

    def stopService(self) -> Deferred[Any]:
        """Stop sending, let what is under way arrive, print the summary and close all."""
        Service.stopService(self)
        self.player.stop()
        if self._reporting.running:
            self._reporting.stop()
        callOff(self._ending)
        return self._settled(self._reactor.seconds() + _PATIENCE).addCallback(self._finish)

    def _settled(self, deadline: float) -> Deferred[None]:
        """Fires when all has arrived, or at a time after which it will not."""

        def look(_: object) -> Deferred[None] | None:
            if self.checker.received == self.stream.sent or self._reactor.seconds() > deadline:
                return None
            return deferLater(self._reactor, 0.005).addCallback(look)

        return deferLater(self._reactor, 0).addCallback(look)

    def _finish(self, _: object) -> Deferred[Any]:
        checker, sent = self.checker, self.stream.sent
        self._log.info(
            "demo: {verdict}: {sent:,} sent, {checker.received:,} received, {lost:,} lost, "
            "{checker.duplicates:,} duplicated, {checker.reordered:,} reordered, "
            "{checker.damaged:,} damaged; {checker.latencies}",
            verdict="every datagram arrived, once" if self.isComplete else "FAILED",
            sent=sent,
            lost=sent - checker.received,
            checker=checker,
        )
        if not self.isComplete:
            exitWith(1)
        return gatherResults([self.relay.stopService(), self._close()])

    def _close(self) -> Deferred[Any]:
        route = self.route
        closing = [route.closeRoute(), self._arriving.closeInput(), self._generated.closeOutput()]
        return gatherResults(closing)

    def _report(self) -> None:
        route = self.route
        now = self._reactor.seconds()
        inNow, outNow = route.input.counters.copy(), route.outputs[0].counters.copy()
        before, inThen, outThen = self._reported
        self._reported = (now, inNow, outNow)
        # Not always one second: this process may be kept waiting.
        perSecond = 1 / (now - before)
        self._log.info(
            "in {inRate:,.0f} packets/s, {inBits} | out {outRate:,.0f} packets/s, {outBits} | "
            "lost {lost:,} | {latencies}",
            inRate=(inNow.datagrams - inThen.datagrams) * perSecond,
            inBits=bitRate((inNow.bytes - inThen.bytes) * 8 * perSecond),
            outRate=(outNow.datagrams - outThen.datagrams) * perSecond,
            outBits=bitRate((outNow.bytes - outThen.bytes) * 8 * perSecond),
            lost=self.checker.missing,
            latencies=self.checker.takeLatencies(),
        )
