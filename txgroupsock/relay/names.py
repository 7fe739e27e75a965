"""Addresses of host names from the system, which may take its time."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define
from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from zope.interface import implementer

from txgroupsock.relay.threads import Threads

MOST: Final = 32
"""Names that are looked up at a time; silent servers keep each of them for half a minute."""

_Asked = tuple[str, int, int, int]  # name, port, family, kind of socket
_FAMILIES: Final = {
    frozenset([IPv4Address]): socket.AF_INET,
    frozenset([IPv6Address]): socket.AF_INET6,
}


@implementer(IHostnameResolver)
class NameResolver:
    """
    Asks the system (C{getaddrinfo}: /etc/hosts, DNS, and whatever nsswitch.conf says), in the order
    of RFC 6724.

    Unlike Twisted's own, it keeps the reactor's thread pool free, the end of the process does not
    wait for it, who asks the same shares one question, and whatever goes wrong is an answer.
    """

    def __init__(
        self, reactor: Any, getaddrinfo: Callable[..., list[Any]] = socket.getaddrinfo
    ) -> None:
        """@param reactor: provides C{IReactorFromThreads}."""
        self._threads = Threads(reactor, MOST)
        self._getaddrinfo = getaddrinfo
        self._questions: dict[_Asked, _Question] = {}

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """See L{IHostnameResolver}."""
        family = _FAMILIES.get(frozenset(addressTypes or ()), socket.AF_UNSPEC)
        kind = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}[transportSemantics]
        asked = (hostName, portNumber, family, kind)
        question = self._questions.get(asked)
        if question is None:
            question = self._questions[asked] = _Question(asked, self._getaddrinfo)
        resolution = _Resolution(hostName, resolutionReceiver, question)
        question.waiting.append(resolution)
        resolutionReceiver.resolutionBegan(resolution)
        if question.answer is None:
            question.answer = self._threads.run(question.ask)
            question.answer.addErrback(lambda _: []).addCallback(self._answered, question)
        return resolution

    def _answered(self, found: list[IAddress], question: _Question) -> None:
        del self._questions[question.asked]
        for resolution in tuple(question.waiting):
            for address in found:
                resolution.receiver.addressResolved(address)
            resolution.receiver.resolutionComplete()


class _Question:
    """What is asked of the system, and who waits for the answer."""

    def __init__(self, asked: _Asked, getaddrinfo: Callable[..., list[Any]]) -> None:
        self.asked = asked
        self.waiting: list[_Resolution] = []
        self.answer: Deferred[Any] | None = None
        self.isBegun = False
        self._getaddrinfo = getaddrinfo

    def ask(self) -> list[IAddress]:
        """In a thread."""
        self.isBegun = True
        transport = "TCP" if self.asked[3] == socket.SOCK_STREAM else "UDP"
        kinds = {socket.AF_INET: IPv4Address, socket.AF_INET6: IPv6Address}
        return [
            kinds[family](transport, *where)
            for family, _kind, _protocol, _name, where in self._getaddrinfo(*self.asked)
            if family in kinds
        ]


@implementer(IHostResolution)
@define(eq=False)
class _Resolution:
    """A question as one of those who have asked it sees it."""

    name: str
    receiver: IResolutionReceiver
    _question: _Question

    def cancel(self) -> None:
        """Have no answer told; if nobody wants one any more it is not begun to look for it."""
        question = self._question
        if self in question.waiting:
            question.waiting.remove(self)
            # Of one that is under way others will have the answer, if they ask meanwhile.
            if not question.waiting and not question.isBegun and question.answer is not None:
                question.answer.cancel()


class NameService(Service):
    """Has a reactor look names up by a L{NameResolver} while it runs."""

    def __init__(self, reactor: Any) -> None:
        """@param reactor: provides C{IReactorPluggableNameResolver} and C{IReactorFromThreads}."""
        self._reactor = reactor
        self._before: IHostnameResolver | None = None

    def privilegedStartService(self) -> None:
        """Look up by it from now on."""
        Service.privilegedStartService(self)
        self._before = self._reactor.installNameResolver(NameResolver(self._reactor))

    def startService(self) -> None:
        """See L{privilegedStartService}, if nobody has called it."""
        Service.startService(self)
        if self._before is None:
            self.privilegedStartService()

    def stopService(self) -> None:
        """Look up as before."""
        Service.stopService(self)
        before, self._before = self._before, None
        if before is not None:
            self._reactor.installNameResolver(before)
