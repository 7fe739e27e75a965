"""What stages have in common."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.primitives.arguments import checked, explained
from txgroupsock.primitives.checks import needClosed
from txgroupsock.primitives.run import Run
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.interfaces import IRelayStage


@implementer(IRelayStage)
class Stage:
    """
    A stage that gives everything on.

    A subclass replaces L{runReceived}, and there calls L{give} or L{drop} for all that it gets.

    @ivar counters: see L{IRelayStage}.
    """

    _receiver: IRunReceiver
    _isStageOpen = False

    def __init__(self) -> None:
        self.counters = Counters()

    @checked
    def openStage(self, receiver: IRunReceiver) -> None:
        """
        See L{IRelayStage}.

        @raise RuntimeError: it is open already.
        """
        needClosed(self, self._isStageOpen)
        self._receiver = receiver
        self._isStageOpen = True

    def closeStage(self) -> Deferred[None]:
        """See L{IRelayStage}."""
        self._isStageOpen = False
        return succeed(None)

    def runReceived(self, run: Run) -> None:
        """Take a run."""
        self.give(run)

    def give(self, run: Run) -> None:
        """Give a run on, and count it."""
        try:
            self.counters.passed(len(run), len(run.data))
        except (AttributeError, TypeError) as error:
            raise explained(error, Stage.give, run=run) from None
        self._receiver.runReceived(run)

    def drop(self, count: int, reason: str) -> None:
        """Count datagrams that are not given on, under a word that says why."""
        try:
            self.counters.dropped[reason] += count
        except TypeError as error:
            raise explained(error, Stage.drop, count=count, reason=reason) from None
