"""Host names, looked up so that nobody waits who has not asked."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.relay.support import SECONDS
from txgroupsock.relay import names
from txgroupsock.relay.names import NameResolver, NameService


@implementer(IResolutionReceiver)
class Asker:
    """Who asks, and what the answer is."""

    def __init__(self, resolver: NameResolver, host: str, **arguments: Any) -> None:
        self.found: list[IAddress] = []
        self.done: Deferred[list[IAddress]] = Deferred()
        self.resolution = resolver.resolveHostName(self, host, **arguments)

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        assert verifyObject(IHostResolution, resolutionInProgress)

    def addressResolved(self, address: IAddress) -> None:
        self.found.append(address)

    def resolutionComplete(self) -> None:
        self.done.callback(self.found)


class System:
    """
    The system's C{getaddrinfo}, which has no answer before it is told to.

    @ivar asked: what it was asked, with all that was asked for.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.go = threading.Event()

    def getaddrinfo(self, *asked: Any) -> list[Any]:
        """As of C{socket}."""
        self.asked.append(asked)
        assert self.go.wait(SECONDS)
        if asked[0] == "broken.test":
            raise OSError(errno.EMFILE, "Too many open files")
        kind = socket.SOCK_DGRAM
        return [
            (socket.AF_INET6, kind, 17, "", ("fe80::1", asked[1], 0, 3)),
            (socket.AF_INET, kind, 17, "", ("10.0.0.1", asked[1])),
            (999, kind, 17, "", ("?",)),
        ]


@pytest.fixture
def system() -> Iterator[System]:
    """One that is asked in this test."""
    made = System()
    yield made
    made.go.set()


@pytest_twisted.ensureDeferred
async def test_theAnswerIsTheSystems(reactor: Any, system: System) -> None:
    """All of it, in its order, as addresses of the kind that was asked for."""
    resolver = NameResolver(reactor, system.getaddrinfo)
    assert verifyObject(IHostnameResolver, resolver)
    system.go.set()
    asker = Asker(resolver, "a.test", portNumber=9, transportSemantics="UDP")
    found = await asker.done.addTimeout(SECONDS, reactor)
    assert found == [IPv6Address("UDP", "fe80::1", 9, 0, 3), IPv4Address("UDP", "10.0.0.1", 9)]
    assert system.asked == [("a.test", 9, 0, socket.SOCK_DGRAM)]
    await Asker(resolver, "a.test", addressTypes=[IPv6Address]).done
    assert system.asked[1:] == [("a.test", 0, socket.AF_INET6, socket.SOCK_STREAM)]


@pytest_twisted.ensureDeferred
async def test_whoAsksTheSameSharesTheAnswer(reactor: Any, system: System) -> None:
    """A hundred outputs to one name are one question, also to those who ask while it is open."""
    resolver = NameResolver(reactor, system.getaddrinfo)
    askers = [Asker(resolver, "a.test") for _ in range(100)]
    gone = Asker(resolver, "a.test")
    gone.resolution.cancel()
    gone.resolution.cancel()
    system.go.set()
    for asker in askers:
        assert len(await asker.done.addTimeout(SECONDS, reactor)) == 2
    assert len(system.asked) == 1
    assert not gone.done.called


@pytest_twisted.ensureDeferred
async def test_whateverGoesWrongIsAnAnswer(reactor: Any, system: System) -> None:
    """Out of files, Twisted's own would never answer."""
    system.go.set()
    asker = Asker(NameResolver(reactor, system.getaddrinfo), "broken.test")
    assert await asker.done.addTimeout(SECONDS, reactor) == []


@pytest_twisted.ensureDeferred
async def test_whatNobodyWantsIsNotAsked(
    reactor: Any, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that waits for its turn goes with the last who wanted an answer."""
    monkeypatch.setattr(names, "MOST", 1)
    resolver = NameResolver(reactor, system.getaddrinfo)
    first, second, third = (Asker(resolver, f"{name}.test") for name in ("a", "b", "c"))
    again = Asker(resolver, "b.test")
    second.resolution.cancel()
    again.resolution.cancel()
    first.resolution.cancel()
    later = Asker(resolver, "a.test")  # which is being asked already
    system.go.set()
    await third.done.addTimeout(SECONDS, reactor)
    assert later.done.called
    assert [each[0] for each in system.asked] == ["a.test", "c.test"]


def test_theReactorHasItsOwnAgainAfterwards(reactor: Any) -> None:
    """A service has it look up in this way while it runs."""
    before = reactor.nameResolver
    service = NameService(reactor)
    service.startService()
    assert isinstance(reactor.nameResolver, NameResolver)
    service.stopService()
    service.stopService()
    assert reactor.nameResolver is before
