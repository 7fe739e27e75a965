"""An input that takes one of several, and another while that one fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.ports.clock import steady
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.checks import needClosed
from txgroupsock.primitives.run import Run
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.interfaces import IRelayInput, IWarning
from txgroupsock.relay.redundancy.failover import Candidate, Failover, Policy
from txgroupsock.relay.redundancy.opening import Legs

_LOOK: Final = "look at its path"


@implementer(IRelayInput, IWarning)
class FailoverInput:
    """
    Receives on all its legs, and gives on the first that is good.

    It goes over to the next when that is silent or loses too much, and back once it has been good
    for long enough.  The legs may carry different streams; where they carry the same one, what is
    on its way when it goes over may be missing or come twice, unlike with L{MergedInput
    <txgroupsock.relay.redundancy.MergedInput>}.

    C{counters} has what is given on; what stands by is not dropped.
    """

    _log = Logger()

    @checked
    def __init__(
        self,
        reactor: Any,
        legs: Sequence[IRelayInput],
        policy: Policy | None = None,
        *,
        name: str = "",
    ) -> None:
        """
        @param reactor: provides C{IReactorTime}.
        @param legs: each provides L{IRelayInput}; at least two, not open; the best first.
        @param policy: when to go over; left out, after a second of silence, and back after ten.
        @param name: what the log calls it.
        @raise ValueError: these are not two legs.
        """
        self._name = name
        self._reactor = reactor = steady(reactor)
        self._policy = policy or Policy()
        self._legs = Legs(reactor, legs)
        self.counters = Counters()
        self._failover = Failover(len(legs), self._policy, reactor.seconds())
        self._receiver: IRunReceiver | None = None
        self._timer: IDelayedCall | None = None

    def __repr__(self) -> str:
        return self._name or f"<{type(self).__name__} of {len(self._legs.inputs)} legs>"

    @property
    def active(self) -> int:
        """Index of the leg that is given on, from 0."""
        return self._failover.active

    @property
    def candidates(self) -> Sequence[Candidate]:
        """What is known of each leg."""
        return self._failover.legs

    @property
    def changes(self) -> int:
        """How often it went over to another leg."""
        return self._failover.changes

    @property
    def isOpen(self) -> bool:
        """Whether a leg of it is."""
        return self._legs.isOpen

    def openInput(self, receiver: IRunReceiver) -> None:
        """See L{IRelayInput}; a leg that cannot be opened is tried again every few seconds."""
        needClosed(self, self._legs.isOpen)
        self._failover = Failover(len(self._legs.inputs), self._policy, self._reactor.seconds())
        self._receiver = receiver
        self._legs.open(self._take)
        self._schedule()

    def closeInput(self) -> Deferred[Any]:
        """See L{IRelayInput}."""
        self._receiver = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return self._legs.close()

    def giveTo(self, receiver: IRunReceiver) -> None:
        """Have another receiver from now on."""
        self._receiver = receiver

    def tryAgain(self) -> None:
        """Try at once to open the legs that could not be opened."""
        self._legs.tryAgain()

    def goOnFrom(self, other: FailoverInput, places: Sequence[int | None]) -> None:
        """
        Go on with what another input knows, which ends here.

        @param places: for each leg, which of the other's it was; L{None}: none.
        """
        self._failover.goOnFrom(other._failover, places)

    def describe(self) -> list[str]:
        """See L{IRelayInput}: what each leg has open, and which is given on."""
        lines = []
        for index, opened in enumerate(self._legs.describe()):
            leg = self._failover.legs[index]
            if opened:
                state = "active" if index == self.active else "standing by"
                lines.append(
                    f"leg {index + 1}, {state}: {', '.join(opened)} "
                    f"({leg.received:,} received, {leg.passed:,} given on)"
                )
        return lines

    def warnings(self) -> list[str]:
        """See L{IWarning}."""
        found = self._legs.warnings()
        if self._receiver is None:
            return found
        failover, now = self._failover, self._reactor.seconds()
        failover.due(now)
        if failover.active:
            found.append(f"leg {failover.active + 1} is given on, since {failover.reason}")
        for index, leg in enumerate(failover.legs):
            if self._legs.failures[index] is None and not failover.isGood(index):
                if leg.lastHeard is None:
                    found.append(f"leg {index + 1} has not been heard yet: {_LOOK} and its sender")
                elif now >= leg.lastHeard + self._policy.silence:
                    silence = now - leg.lastHeard
                    found.append(f"leg {index + 1} has been silent for {silence:.0f} s: {_LOOK}")
                else:
                    found.append(f"leg {index + 1} loses {100 * leg.lossRate:.1f} %: {_LOOK}")
        return found

    def _take(self, index: int, run: Run) -> None:
        """A leg has brought something."""
        before = self._failover.changes
        given = self._failover.take(index, run, self._reactor.seconds())
        self._sayChange(before)
        if given is not None and self._receiver is not None:
            self.counters.passed(len(given), len(given.data))
            self._receiver.runReceived(given)

    def _schedule(self) -> None:
        """Look again when the leg given on may have become silent."""
        wait = self._failover.deadline - self._reactor.seconds()
        # While it is silent and there is no other, the next datagram of another decides at once.
        delay = wait if wait > 0 else self._policy.silence
        self._timer = self._reactor.callLater(delay, self._due)

    def _due(self) -> None:
        before = self._failover.changes
        self._failover.due(self._reactor.seconds())
        self._sayChange(before)
        self._schedule()

    def _sayChange(self, before: int) -> None:
        if self._failover.changes != before:
            self._log.warn(
                "{input} goes over to leg {number}: {reason}",
                input=self,
                number=self._failover.active + 1,
                reason=self._failover.reason,
            )
