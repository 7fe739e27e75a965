"""Several inputs that are opened together, of which some may fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.ports.clock import steady
from txgroupsock.primitives.run import Run
from txgroupsock.relay.interfaces import IRelayInput, IWarning

RETRY: Final = 5.0
"""Seconds until a leg that could not be opened is tried again."""


class Legs:
    """
    Inputs that are opened as long as one of them can be; the others are tried again.

    @ivar inputs: in the order given.
    @ivar failures: why each is not open; L{None} if it is, or nobody has tried.
    """

    _log = Logger()

    def __init__(self, reactor: Any, inputs: Sequence[IRelayInput]) -> None:
        """
        @param reactor: provides C{IReactorTime}.
        @raise ValueError: there are fewer than two.
        """
        if len(inputs) < 2:
            raise ValueError(f"redundancy takes at least two inputs, and here is {len(inputs)}")
        self.inputs = tuple(inputs)
        self.failures: list[str | None] = [None] * len(inputs)
        self._reactor = steady(reactor)
        self._take: Callable[[int, Run], None] = lambda *_: None
        self._retry: IDelayedCall | None = None
        self._isOpen = [False] * len(inputs)

    @property
    def isOpen(self) -> bool:
        """Whether any of them is."""
        return any(self._isOpen)

    def open(self, take: Callable[[int, Run], None]) -> None:
        """
        Open what can be opened.

        @param take: gets each run with the index of its input.
        @raise OSError: none could be opened; this is what the first failed with.
        """
        self._take = take
        failures: list[OSError] = []
        with ExitStack() as opened:
            for index, each in enumerate(self.inputs):
                failure = self._open(index)
                if failure is None:
                    opened.callback(each.closeInput)
                else:
                    failures.append(failure)
            if len(failures) == len(self.inputs):
                self.failures = [None] * len(self.inputs)
                raise failures[0]
            opened.pop_all()
        self._isOpen = [each is None for each in self.failures]
        if failures:
            self._retry = self._reactor.callLater(RETRY, self._tryAgain)

    def tryAgain(self) -> None:
        """Try at once what could not be opened."""
        if self._retry is not None:
            self._retry.cancel()
            self._tryAgain()

    def close(self) -> Deferred[Any]:
        """Close them all."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        wasOpen, self._isOpen = self._isOpen, [False] * len(self.inputs)
        self.failures = [None] * len(self.inputs)
        return gatherResults(
            [each.closeInput() for each, was in zip(self.inputs, wasOpen, strict=True) if was]
        )

    def describe(self) -> list[list[str]]:
        """What each says of itself."""
        return [each.describe() for each in self.inputs]

    def warnings(self) -> list[str]:
        """What there is to say about any of them, but not about what flows in them."""
        found = []
        for number, (each, failure) in enumerate(zip(self.inputs, self.failures, strict=True), 1):
            if failure is not None:
                found.append(f"leg {number} could not be opened: {failure}")
            elif IWarning.providedBy(each):
                found += [f"leg {number}, {said}" for said in IWarning(each).warnings()]
        return found

    def _open(self, index: int) -> OSError | None:
        try:
            self.inputs[index].openInput(_Leg(partial(self._take, index)))
        except OSError as error:
            if self.failures[index] is None:
                self._log.warn(
                    "leg {number} of {count} could not be opened: {error}; it is tried again",
                    number=index + 1,
                    count=len(self.inputs),
                    error=error,
                )
            self.failures[index] = str(error)
            return error
        if self.failures[index] is not None:
            self._log.info("leg {number} has been opened", number=index + 1)
        self.failures[index] = None
        return None

    def _tryAgain(self) -> None:
        self._retry = None
        for index, failure in enumerate(self.failures):
            if failure is not None:
                self._isOpen[index] = self._open(index) is None
        if any(self.failures):
            self._retry = self._reactor.callLater(RETRY, self._tryAgain)


@implementer(IRunReceiver)
class _Leg:
    """Knows which leg a run came on."""

    def __init__(self, take: Callable[[Run], None]) -> None:
        self._take = take

    def runReceived(self, run: Run) -> None:
        self._take(run)
