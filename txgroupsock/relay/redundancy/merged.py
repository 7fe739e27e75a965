"""An input that merges several: each datagram once, whichever leg brings it first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.ports.clock import steady
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.checks import needClosed
from txgroupsock.primitives.run import Run
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.interfaces import IRelayInput, IWarning
from txgroupsock.relay.redundancy.legs import LegStatus
from txgroupsock.relay.redundancy.merger import LIMIT, Merger
from txgroupsock.relay.redundancy.opening import Legs
from txgroupsock.relay.redundancy.sequencing import RTP, Sequencing

SILENCE: Final = 1.0
"""Seconds without a datagram after which a leg is said to be silent."""

LOSS: Final = 0.01
"""Share of a leg's datagrams, 0 to 1, above which its loss is said."""

_LATE: Final = 0.005  # seconds: a timer that is later than this had to wait for this process
_NEAR: Final = 0.8  # of the window: skew that leaves too little for jitter


@implementer(IRelayInput, IWarning)
class MergedInput:
    """
    Receives the same stream on several legs, and gives on each datagram once, in order.

    One leg may be silent, lose anything or come later, up to the window, and nothing is missing
    as long as another has it: SMPTE ST 2022-7, of which class A is a window of 10 ms, class B of
    50, class C of 450 (150 from 270 Mbit/s on) and class D of 0.15.

    C{counters} has what is given on; as dropped it has only what is missing there: C{lost}, that
    no leg brought in time, C{overflow}, that could not be waited for, C{stray}, of another stream,
    and C{unnumbered}.  A copy that is not needed is none of these: L{legs} has what each did.

    The sender of what is given on is that of the leg that brought it.
    """

    @checked
    def __init__(
        self,
        reactor: Any,
        legs: Sequence[IRelayInput],
        *,
        window: float = 0.05,
        sequencing: Sequencing | None = None,
        limit: int = LIMIT,
        silence: float = SILENCE,
        loss: float = LOSS,
    ) -> None:
        """
        @param reactor: provides C{IReactorTime}.
        @param legs: each provides L{IRelayInput}; at least two, not open.
        @param window: seconds; how long a missing datagram is waited for, and so the most that one
            leg may be behind another.
        @param sequencing: where sequence numbers are; left out, L{RTP}.
        @param limit: datagrams held at most.
        @param silence: seconds after which there is a warning about a leg that is silent.
        @param loss: share of datagrams, 0 to 1, above which there is one about a leg that loses.
        @raise ValueError: these are not two legs, or the window is none.
        """
        self._reactor = reactor = steady(reactor)
        self._silence = silence
        self._loss = loss
        self._counters = Counters()
        self._legs = Legs(reactor, legs)
        self._sequencing = sequencing or RTP()
        self._merger = Merger(len(legs), self._sequencing, window, limit)
        self._timer: IDelayedCall | None = None
        self._isPutOff = False
        self._receiver: IRunReceiver | None = None
        self._opened = 0.0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._legs.inputs)} legs>"

    @property
    def counters(self) -> Counters:
        """See L{IRelayInput}."""
        merger, dropped = self._merger, self._counters.dropped
        dropped["lost"] = merger.lost - merger.overflowed
        dropped["overflow"] = merger.overflowed
        dropped["stray"] = merger.strays
        dropped["unnumbered"] = merger.unnumbered
        return self._counters

    @property
    def restarts(self) -> int:
        """How often the stream began anew: with another SSRC, or far from where it was."""
        return self._merger.restarts

    def legs(self) -> list[LegStatus]:
        """What there is to know about each leg now, in their order."""
        return self._merger.status(self._reactor.seconds())

    @property
    def isOpen(self) -> bool:
        """Whether a leg of it is."""
        return self._legs.isOpen

    def openInput(self, receiver: IRunReceiver) -> None:
        """
        See L{IRelayInput}.

        A leg that cannot be opened is tried again every few seconds, as long as one is open.
        """
        needClosed(self, self._legs.isOpen)
        self._receiver = receiver
        self._opened = self._reactor.seconds()
        self._legs.open(self._take)

    def closeInput(self) -> Deferred[Any]:
        """See L{IRelayInput}; what was held is given on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

        def end(_: object) -> None:
            self.flush()
            self._receiver = None

        return self._legs.close().addCallback(end)

    def flush(self) -> None:
        """Give on all that is held, and wait for nothing that is missing by now."""
        self._give(self._merger.flush(self._reactor.seconds()))

    def giveTo(self, receiver: IRunReceiver) -> None:
        """Have another receiver from now on."""
        self._receiver = receiver

    def tryAgain(self) -> None:
        """Try at once to open the legs that could not be opened."""
        self._legs.tryAgain()

    def goOnFrom(self, other: MergedInput, places: Sequence[int | None]) -> None:
        """
        Go on with the stream of another input, which has the same sequencing and ends here.

        @param places: for each leg, which of the other's it was; L{None}: none.
        """
        self._merger.goOnFrom(other._merger, places)
        other._merger = Merger(len(other._legs.inputs), other._sequencing, other._merger.window)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._schedule()

    def describe(self) -> list[str]:
        """See L{IRelayInput}: what each leg has open, and how it does."""
        return [
            f"leg {number}: {', '.join(lines)} ({status})"
            for number, (lines, status) in enumerate(
                zip(self._legs.describe(), self.legs(), strict=True), 1
            )
            if lines
        ]

    def warnings(self) -> list[str]:
        """See L{IWarning}."""
        found = self._legs.warnings()
        if self._receiver is None:
            return found
        now = self._reactor.seconds()
        for number, (status, failure) in enumerate(
            zip(self.legs(), self._legs.failures, strict=True), 1
        ):
            if failure is None:
                since = now - self._opened if status.silence is None else status.silence
                found += [f"leg {number} {each}" for each in self._troubles(status, since)]
        return found

    def _troubles(self, status: LegStatus, silence: float) -> list[str]:
        """What is wrong with a leg."""
        window = self._merger.window
        if silence >= self._silence:
            silent = f"has been silent for {silence:.0f} s, so that nothing makes up for what "
            return [silent + "the others lose: look at its path and its sender"]
        troubles = []
        if status.lossRate > self._loss:
            troubles.append(
                f"loses {100 * status.lossRate:.1f} % of the datagrams: look at its path"
            )
        if status.skew.most > _NEAR * window:
            troubles.append(
                f"is up to {status.skew.most * 1000:.1f} ms behind, and the window is "
                f"{window * 1000:g} ms: enlarge it, or what only this leg carries is lost"
            )
        return troubles

    def _take(self, index: int, run: Run) -> None:
        """A leg has brought something."""
        self._give(self._merger.take(index, run, self._reactor.seconds()))
        if self._merger.deadline is not None:
            self._schedule()

    def _give(self, runs: Sequence[Run]) -> None:
        receiver = self._receiver
        if receiver is None:
            return
        for each in runs:
            self._counters.passed(len(each), len(each.data))
            receiver.runReceived(each)

    def _schedule(self) -> None:
        """Be called when something need not be waited for any more; early calls do no harm."""
        deadline = self._merger.deadline
        if deadline is None or self._timer is not None:
            return
        delay = max(0.0, deadline - self._reactor.seconds())
        self._timer = self._reactor.callLater(delay, self._due, deadline)

    def _due(self, deadline: float) -> None:
        self._timer = None
        now = self._reactor.seconds()
        late = now - deadline
        if late > _LATE and not self._isPutOff:
            # This process was held up, and what it waits for may be in a socket: read that first.
            self._isPutOff = True
            delay = min(late, self._merger.window)
            self._timer = self._reactor.callLater(delay, self._due, deadline)
            return
        self._isPutOff = False
        try:
            self._give(self._merger.due(now))
        finally:
            self._schedule()
