"""A route: one input, and the outputs that all of it goes to."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.interfaces import IRelayInput, IRelayOutput, IRunReceiver
from txgroupsock.primitives.run import Run
from txgroupsock.relay.input import UDPInput
from txgroupsock.relay.model import RouteModel
from txgroupsock.relay.output import UDPOutput


@implementer(IRunReceiver)
class Route:
    """
    Gives every run of an input to each of its outputs.

    @ivar input: provides L{IRelayInput}.
    @ivar outputs: each provides L{IRelayOutput}.
    """

    _log = Logger()

    # The builtin is not wanted here, and no other word says it.
    def __init__(self, input: IRelayInput, outputs: Sequence[IRelayOutput]) -> None:  # noqa: A002
        self.input = input
        self.outputs = tuple(outputs)

    @classmethod
    def of(cls, reactor: Any, model: RouteModel) -> Route:
        """The route that a model describes, not open yet."""
        outputs = [UDPOutput(reactor, each) for each in model.outputs]
        return cls(UDPInput(reactor, model.input), outputs)

    @classmethod
    def fromURLs(cls, reactor: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Route:
        """
        The route that URLs describe, as on the command line; not open yet.

        @param inputs: one, or several that differ in their source only.
        @raise URLError: one of them is wrong, or two do not go together.
        """
        return cls.of(reactor, RouteModel.of(inputs, outputs))

    def openRoute(self) -> None:
        """
        Open the input, then the outputs: the kernel might give an output the input's port.

        @raise OSError: one of them could not be opened; then none stays open.
        """
        with ExitStack() as opened:
            self.input.openInput(self)
            opened.callback(self.input.closeInput)
            for output in self.outputs:
                output.openOutput()
                opened.callback(output.closeOutput)
            opened.pop_all()

    def closeRoute(self) -> Deferred[Any]:
        """Close the input, then the outputs; fires when all is given back."""
        closing = self.input.closeInput()
        return closing.addCallback(
            lambda _: gatherResults([each.closeOutput() for each in self.outputs])
        )

    def describe(self) -> list[str]:
        """A line for each join and each output."""
        lines = list(self.input.describe())
        for output in self.outputs:
            lines += output.describe()
        return lines

    def report(self) -> list[str]:
        """A line of counters for the input and for each output."""
        lines = [f"in: {self.input.counters}"]
        lines += [
            f"out, {', '.join(output.describe()) or 'closed'}: {output.counters}"
            for output in self.outputs
        ]
        return lines

    def runReceived(self, run: Run) -> None:
        """See L{IRunReceiver}; what fails in one output does not reach the others."""
        for output in self.outputs:
            try:
                output.runReceived(run)
            except Exception:  # noqa: BLE001 - whatever it is, the others get their datagrams
                if not output.counters.dropped["error"]:
                    self._log.failure("{output} failed; later failures are counted", output=output)
                output.counters.dropped["error"] += len(run)
