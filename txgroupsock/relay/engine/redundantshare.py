"""What one route has of an input that is made of several, each of which other routes may have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.internet.defer import Deferred
from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.ports.clock import steady
from txgroupsock.primitives.checks import needClosed
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.engine.legreports import candidateLeg, mergedLeg
from txgroupsock.relay.interfaces import IRelayInput, IRelayOutput, IWarning
from txgroupsock.relay.redundancy.failoverinput import FailoverInput
from txgroupsock.relay.redundancy.merged import MergedInput
from txgroupsock.relay.redundancy.model import AnyInput, MergeModel, RedundantModel
from txgroupsock.relay.status import RedundancyReport

if TYPE_CHECKING:
    from txgroupsock.relay.engine.inputs import InputShare
    from txgroupsock.relay.loops.local import Feedback


@implementer(IRelayInput, IWarning)
class RedundantShare:
    """
    The legs of one route, merged or failed over, as one input.

    It has what L{InputShare <txgroupsock.relay.engine.inputs.InputShare>} has.

    @ivar model: the input, with the latency that this route wants.
    @ivar receiver: what is given its runs.
    @ivar buffer: L{None}, for each leg has its own.
    """

    receiver: IRunReceiver
    buffer = None

    def __init__(
        self, reactor: Any, model: RedundantModel, legs: Sequence[InputShare], feedback: Feedback
    ) -> None:
        """
        @param reactor: provides C{IReactorTime}.
        @param legs: a share of each, not open.
        @param feedback: see L{SharedInputs <txgroupsock.relay.engine.inputs.SharedInputs>}.
        """
        self.model = model
        self._reactor = steady(reactor)
        self._legs = tuple(legs)
        self._feedback = feedback
        self._waits = False
        self._outputs: dict[IRelayOutput, None] = {}
        self._input = self._made([_Leg(each, self._openLeg) for each in legs])
        self._before = Counters()  # what the input had counted when this began with it
        self._earlier = Counters()  # what this had counted before that

    def _made(self, legs: Sequence[_Leg]) -> MergedInput | FailoverInput:
        how = self.model.redundancy
        if not isinstance(how, MergeModel):
            return FailoverInput(self._reactor, legs, how.policy, name=self.model.name)
        return MergedInput(
            self._reactor,
            legs,
            window=how.window,
            sequencing=how.sequencing,
            limit=how.limit,
            silence=how.silence,
            loss=how.loss,
        )

    @property
    def counters(self) -> Counters:
        """See L{IRelayInput}: what has been given on while this was open."""
        return self._earlier.plus(self._input.counters.since(self._before))

    @property
    def kernelDrops(self) -> int:
        """Datagrams that the kernel had no room for, of any leg."""
        return sum(each.kernelDrops for each in self._legs)

    def openInput(self, receiver: IRunReceiver, *, waits: bool = False) -> None:
        """
        See L{IRelayInput}; a leg that cannot be opened is tried again.

        @param waits: see L{UDPInput.openInput
            <txgroupsock.relay.carriers.udp.input.UDPInput.openInput>}.
        @raise OSError: none of the legs could be opened.
        """
        needClosed(self, self._input.isOpen)
        self.receiver, self._waits = receiver, waits
        self._input.openInput(receiver)

    def begin(self, receiver: IRunReceiver) -> None:
        """Give another receiver what comes from now on, and count from here; it is open."""
        self.giveTo(receiver)
        self._before = self._input.counters.copy()

    def giveTo(self, receiver: IRunReceiver) -> None:
        """Give another receiver what comes from now on."""
        self.receiver = receiver
        self._input.giveTo(receiver)

    def closeInput(self) -> Deferred[Any]:
        """See L{IRelayInput}; what was held is given on at once."""
        self.flush()
        return self._input.closeInput()

    def flush(self) -> None:
        """Give on all that is held."""
        if isinstance(self._input, MergedInput):
            self._input.flush()

    def goOnFrom(self, other: RedundantShare) -> bool:
        """
        Go on where another is, which is open still, so that nothing gets lost or comes twice.

        @return: whether that can be: not if they are of different kinds, or have their numbers
            elsewhere.
        """
        mine, theirs = self._input, other._input
        if other.model.redundancy.by != self.model.redundancy.by:
            return False
        counted = other.counters
        there = [each.model.inOrder for each in other._legs]
        wanted = [each.model.inOrder for each in self._legs]
        places = [there.index(each) if each in there else None for each in wanted]
        if isinstance(mine, MergedInput) and isinstance(theirs, MergedInput):  # noqa: SIM114 - types
            mine.goOnFrom(theirs, places)
        elif isinstance(mine, FailoverInput) and isinstance(theirs, FailoverInput):
            mine.goOnFrom(theirs, places)
        else:
            return False
        other._earlier, other._before = counted, theirs.counters.copy()
        for leg, place in zip(self._legs, places, strict=True):
            if place is not None and leg.input is not None:
                leg.begin(leg.receiver)
                leg.countFrom(other._legs[place].counters)
        return True

    def countFrom(self, earlier: Counters) -> None:
        """Count on from what another share, now closed, had counted for this route."""
        self._earlier = self._earlier.plus(earlier)

    def setTimes(self, model: AnyInput) -> None:
        """Want the latencies and the refreshes of another model from now on."""
        for leg, wanted in zip(self._legs, model.legs, strict=True):
            leg.setTimes(wanted)
        self.model = evolve(self.model, legs=tuple(each.model for each in self._legs))

    def tryAgain(self) -> None:
        """Try at once to open the legs that could not be opened."""
        self._input.tryAgain()

    def feeds(self, output: IRelayOutput) -> None:
        """See L{InputShare <txgroupsock.relay.engine.inputs.InputShare>}: every leg does."""
        self._outputs[output] = None
        nodes = [each.input for each in self._legs if each.input is not None]
        if nodes:
            address = getattr(output, "localAddress", None)
            addresses = [address] if address else []
            self._feedback.outputOpened(output, nodes[0], addresses, others=nodes[1:])

    def feedsNoMore(self, output: IRelayOutput) -> None:
        """Know that an output has been closed."""
        self._outputs.pop(output, None)
        self._feedback.outputClosed(output)

    def _openLeg(self, share: InputShare, receiver: IRunReceiver) -> None:
        share.openInput(receiver, waits=self._waits)
        for output in self._outputs:  # there are some if this leg could not be opened before
            self.feeds(output)

    def warnings(self) -> list[str]:
        """See L{IWarning}."""
        return self._input.warnings()

    def describe(self) -> list[str]:
        """See L{IRelayInput}: what each leg has open."""
        return [
            f"leg {number}: {', '.join(lines)}"
            for number, each in enumerate(self._legs, 1)
            if (lines := each.describe())
        ]

    def report(self) -> RedundancyReport:
        """What there is to know about the legs now."""
        source, patience = self._input, self.model.redundancy.silence
        if isinstance(source, MergedInput):
            both = zip(self._legs, source.legs(), strict=True)
            legs = [mergedLeg(leg, status, patience) for leg, status in both]
            return RedundancyReport(self.model.kind, source.restarts, tuple(legs))
        now, isLossKnown = self._reactor.seconds(), self.model.redundancy.loss is not None
        legs = [
            candidateLeg(
                leg,
                candidate,
                now,
                patience,
                isActive=index == source.active,
                isLossKnown=isLossKnown,
            )
            for index, (leg, candidate) in enumerate(
                zip(self._legs, source.candidates, strict=True)
            )
        ]
        return RedundancyReport(self.model.kind, source.changes, tuple(legs))


@implementer(IRelayInput, IWarning)
class _Leg:
    """A share as a leg, which is opened as its route is."""

    def __init__(
        self, share: InputShare, opening: Callable[[InputShare, IRunReceiver], None]
    ) -> None:
        self._share = share
        self._opening = opening

    @property
    def counters(self) -> Counters:
        return self._share.counters

    def openInput(self, receiver: IRunReceiver) -> None:
        self._opening(self._share, receiver)

    def closeInput(self) -> Deferred[None]:
        return self._share.closeInput()

    def describe(self) -> list[str]:
        return self._share.describe()

    def warnings(self) -> list[str]:
        return self._share.warnings()
