"""A clock with a resolver that answers when the test says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.task import Clock
from zope.interface import implementer


@frozen
class Question:
    """What was asked, and by whom."""

    receiver: IResolutionReceiver
    host: str
    types: frozenset[Any] | None
    semantics: str

    def answer(self, *addresses: str) -> None:
        """Answer with these addresses; none if the name is unknown."""
        for each in addresses:
            kind = IPv6Address if ":" in each else IPv4Address
            self.receiver.addressResolved(kind("UDP", each, 0))
        self.receiver.resolutionComplete()


@implementer(IHostResolution)
@frozen
class Resolution:
    """A question under way."""

    name: str
    order: list[str]

    def cancel(self) -> None:
        """Cannot be, as with Twisted's own."""
        self.order.append("cancel")
        raise NotImplementedError


@implementer(IHostnameResolver)
class ResolvingClock(Clock):
    """
    Time, and a resolver.

    @ivar questions: what has been asked so far.
    @ivar at: when each was asked.
    @ivar order: what was done with questions, one after the other.
    @ivar known: addresses of a name that are answered at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = self
        self.questions: list[Question] = []
        self.at: list[float] = []
        self.order: list[str] = []
        self.known: dict[str, list[str]] = {}

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[Any] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """See L{IHostnameResolver}."""
        types = None if addressTypes is None else frozenset(addressTypes)
        question = Question(resolutionReceiver, hostName, types, transportSemantics)
        resolution = Resolution(hostName, self.order)
        self.order.append("ask")
        resolutionReceiver.resolutionBegan(resolution)
        self.questions.append(question)
        self.at.append(self.seconds())
        if hostName in self.known:
            question.answer(*self.known[hostName])
        return resolution
