"""One input for all the routes that use it."""

from __future__ import annotations

from functools import reduce
from typing import Any, TypeAlias, TypeGuard, overload

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.primitives import BufferSize
from txgroupsock.primitives.checks import needClosed
from txgroupsock.relay.carriers.udp.input import UDPInput
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.engine.feeding import isLoop
from txgroupsock.relay.engine.redundantshare import RedundantShare
from txgroupsock.relay.interfaces import IRelayInput, IRelayOutput, IWarning
from txgroupsock.relay.loops.local import Feedback
from txgroupsock.relay.models.udp import InputModel, OutputModel, least, soonest
from txgroupsock.relay.redundancy.model import AnyInput


class SharedInputs:
    """
    The inputs of one process: each is opened once, however many routes use it.

    It is opened for the first route that opens its share, and closed with the last.  Where
    routes ask for different latencies the smallest holds for all of them.

    @ivar feedback: which outputs they feed, so that none of them relays what it has sent itself.
    """

    def __init__(self, reactor: Any) -> None:
        """@param reactor: as for L{UDPInput}."""
        self.feedback = Feedback(_hears)
        self._reactor = reactor
        self._inputs: dict[InputModel, _Shared] = {}

    @overload
    def share(self, model: InputModel) -> InputShare: ...

    @overload
    def share(self, model: AnyInput) -> InputShare | RedundantShare: ...

    def share(self, model: AnyInput) -> InputShare | RedundantShare:
        """A share of an input, not open yet; of one that is made of several, of each of these."""
        if isinstance(model, InputModel):
            return InputShare(self, model)
        legs = [InputShare(self, each) for each in model.legs]
        return RedundantShare(self._reactor, model, legs, self.feedback)

    def opened(self, share: InputShare, *, waits: bool = False) -> _Shared:
        """
        The input of a share, which it is given from now on.

        @param waits: see L{UDPInput.openInput}.
        @raise OSError: it could not be opened.
        """
        key = share.model.received
        shared = self._inputs.get(key)
        if shared is None:
            shared = _Shared(UDPInput(self._reactor, share.model, feedback=self.feedback))
            shared.input.openInput(share.receiver, waits=waits)
            self._inputs[key] = shared
        shared.add(share)
        return shared

    def closed(self, share: InputShare, shared: _Shared) -> Deferred[None]:
        """Give a share nothing more; with the last one the input is closed."""
        shared.remove(share)
        if shared.shares:
            return succeed(None)
        del self._inputs[share.model.received]
        return shared.input.closeInput()


class _Shared:
    """An open input, and those who have a share in it."""

    def __init__(self, incoming: UDPInput) -> None:
        self.input = incoming
        self.shares: tuple[InputShare, ...] = ()

    def add(self, share: InputShare) -> None:
        self.shares += (share,)
        self.agreeOnReceivers()
        self.agreeOnTimes()

    def remove(self, share: InputShare) -> None:
        self.shares = tuple(each for each in self.shares if each is not share)
        self.agreeOnReceivers()
        self.agreeOnTimes()

    def agreeOnReceivers(self) -> None:
        """Give the runs to those who get them now."""
        self.input.giveTo(*[share.receiver for share in self.shares])

    def agreeOnTimes(self) -> None:
        """Have the smallest latency, and the most refreshes, that are wanted."""
        models = [each.model for each in self.shares]
        if models:
            self.input.setLatency(reduce(least, [each.latency for each in models]))
            refresh = reduce(soonest, [each.refresh for each in models])
            if refresh != self.input.model.refresh:
                self.input.setRefresh(refresh)


@implementer(IRelayInput, IWarning)
class InputShare:
    """
    What one route has of an input.

    @ivar model: the input, with the latency that this route wants.
    @ivar receiver: what is given its runs.
    """

    receiver: IRunReceiver

    def __init__(self, inputs: SharedInputs, model: InputModel) -> None:
        self.model = model
        self._inputs = inputs
        self._shared: _Shared | None = None
        self._before = Counters()  # what the input had counted when this share was opened
        self._earlier = Counters()  # what this share counted before it was last closed

    @property
    def input(self) -> UDPInput | None:
        """The input itself; L{None} while this share is closed."""
        return None if self._shared is None else self._shared.input

    @property
    def buffer(self) -> BufferSize | None:
        """The receive buffer that was asked for and granted; L{None} when it is closed."""
        return None if self._shared is None else self._shared.input.buffer

    @property
    def kernelDrops(self) -> int:
        """Datagrams that the kernel had no room for."""
        return self.counters.dropped["kernel"]

    @property
    def counters(self) -> Counters:
        """See L{IRelayInput}: what has arrived while this share was open."""
        if self._shared is None:
            return self._earlier
        return self._earlier.plus(self._shared.input.counters.since(self._before))

    def openInput(self, receiver: IRunReceiver, *, waits: bool = False) -> None:
        """See L{UDPInput.openInput}."""
        needClosed(self, self._shared is not None)
        self.receiver = receiver
        self._shared = self._inputs.opened(self, waits=waits)
        self._before = self._shared.input.counters.copy()

    def begin(self, receiver: IRunReceiver) -> None:
        """Give another receiver what comes from now on, and count from here; it is open."""
        self.giveTo(receiver)
        if self._shared is not None:
            self._before = self._shared.input.counters.copy()

    def giveTo(self, receiver: IRunReceiver) -> None:
        """Give another receiver what comes from now on."""
        self.receiver = receiver
        if self._shared is not None:
            self._shared.agreeOnReceivers()

    def closeInput(self) -> Deferred[None]:
        """See L{IRelayInput}."""
        shared = self._shared
        if shared is None:
            return succeed(None)
        self._earlier = self.counters
        self._shared = None
        return self._inputs.closed(self, shared)

    def setTimes(self, model: AnyInput) -> None:
        """Want the latency and the refreshes of another model from now on."""
        latency, refresh = model.legs[0].times
        self.model = evolve(self.model, latency=latency, refresh=refresh)
        if self._shared is not None:
            self._shared.agreeOnTimes()

    def countFrom(self, earlier: Counters) -> None:
        """Count on from what another share, now closed, had counted for this route."""
        self._earlier = self._earlier.plus(earlier)

    def feeds(self, output: IRelayOutput) -> None:
        """
        Know that an output sends what this share gets.

        @param output: of which C{localAddress}, if it has one, is what receivers see.
        """
        if self._shared is not None:
            address = getattr(output, "localAddress", None)
            addresses = [address] if address else []
            self._inputs.feedback.outputOpened(output, self._shared.input, addresses)

    def feedsNoMore(self, output: IRelayOutput) -> None:
        """Know that an output has been closed."""
        self._inputs.feedback.outputClosed(output)

    def warnings(self) -> list[str]:
        """See L{IWarning}."""
        return [] if self._shared is None else self._shared.input.warnings()

    def describe(self) -> list[str]:
        """See L{IRelayInput}."""
        return [] if self._shared is None else self._shared.input.describe()


def _hears(incoming: UDPInput, output: IRelayOutput) -> bool:
    """Whether an input hears an output, as far as their models tell."""
    model = getattr(output, "model", None)
    return isinstance(model, OutputModel) and isLoop(incoming.model, model)


AnyShare: TypeAlias = InputShare | RedundantShare
"""What a route has of its input."""


def isShare(incoming: IRelayInput) -> TypeGuard[AnyShare]:
    """Whether an input is a share of what L{SharedInputs} has."""
    return isinstance(incoming, InputShare | RedundantShare)


def goOn(before: AnyShare, after: AnyShare) -> None:
    """
    Have what follows an input in a route go on where that is, or it gives on what it holds.

    Both are open; the first is about to be closed.
    """
    if isinstance(before, RedundantShare):
        isGoingOn = isinstance(after, RedundantShare) and after.goOnFrom(before)
        if not isGoingOn:
            before.flush()
