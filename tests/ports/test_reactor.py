from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFDSet,
    IReactorMulticast,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.internet.testing import MemoryReactor, MemoryReactorClock
from zope.interface import providedBy
from zope.interface.verify import verifyObject

from tests.ports.support import V6, Recorder, addressOf
from txgroupsock import GroupsockReactor, UDPPort


def test_providesWhatTheWrappedOneProvides(
    reactor: Any, groupsockReactor: GroupsockReactor
) -> None:
    """Whatever the wrapped reactor can do, this one can, and UDP and multicast besides."""
    provided = set(providedBy(groupsockReactor).flattened())
    assert provided >= set(providedBy(reactor).flattened())
    assert IReactorCore.providedBy(groupsockReactor)
    assert IReactorTCP.providedBy(groupsockReactor)
    assert verifyObject(IReactorFDSet, groupsockReactor)
    assert verifyObject(IReactorTime, groupsockReactor)
    assert verifyObject(IReactorUDP, groupsockReactor)
    assert verifyObject(IReactorMulticast, groupsockReactor)


def test_addsUDP() -> None:
    """Also a reactor without UDP of its own gets it."""
    assert not IReactorUDP.providedBy(MemoryReactorClock())
    assert IReactorUDP.providedBy(GroupsockReactor(MemoryReactorClock()))


def test_delegates(reactor: Any, groupsockReactor: GroupsockReactor) -> None:
    """Every other attribute is the wrapped reactor's; an unknown one is an AttributeError."""
    assert groupsockReactor.running is reactor.running
    assert groupsockReactor.callWhenRunning == reactor.callWhenRunning
    with pytest.raises(AttributeError, match="noSuchThing"):
        _ = groupsockReactor.noSuchThing


def test_repr() -> None:
    """It shows what it wraps."""
    wrapped = MemoryReactorClock()
    assert repr(GroupsockReactor(wrapped)) == f"<GroupsockReactor around {wrapped!r}>"


@pytest.mark.parametrize(
    ("wrapped", "missing"), [(Clock(), "IReactorFDSet"), (MemoryReactor(), "IReactorTime")]
)
def test_refused(wrapped: Any, missing: str) -> None:
    """A reactor that cannot watch descriptors, or tell the time, is refused with the reason."""
    with pytest.raises(TypeError, match=rf"{type(wrapped).__name__} does not .*{missing}.* use a"):
        GroupsockReactor(wrapped)


def test_wrappedTwice(groupsockReactor: GroupsockReactor) -> None:
    """Wrapping a wrapped one works, too."""
    assert IReactorMulticast.providedBy(GroupsockReactor(groupsockReactor))


@pytest_twisted.ensureDeferred
async def test_ports(groupsockReactor: GroupsockReactor) -> None:
    """Both methods open groupsock's port, with Twisted's positional arguments and our own."""
    ports = [
        groupsockReactor.listenUDP(0, Recorder(), "127.0.0.1", 1000),
        groupsockReactor.listenMulticast(0, Recorder(), "127.0.0.1", 1000, True),
        groupsockReactor.listenMulticast(0, Recorder(), reusePort=True, family=V6),
    ]
    assert [type(port) for port in ports] == [UDPPort] * 3
    assert [port.maxPacketSize for port in ports] == [1000, 1000, 65535]
    assert [port.listenMultiple for port in ports] == [False, True, False]
    assert [port.reusePort for port in ports] == [False, False, True]
    assert [port.addressFamily == V6 for port in ports] == [False, False, True]
    for port in ports:
        await port.stopListening()


class TestStockCode:
    """What takes a reactor takes this one."""

    @pytest_twisted.ensureDeferred
    async def test_endpoints(self, groupsockReactor: GroupsockReactor) -> None:
        """Twisted's endpoints connect to each other."""

        class Greeter(Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(b"hello")
                self.transport.loseConnection()

        class Listener(Protocol):
            def __init__(self) -> None:
                self.heard = b""
                self.done: Deferred[bytes] = Deferred()

            def dataReceived(self, data: bytes) -> None:
                self.heard += data

            def connectionLost(self, reason: Any = None) -> None:
                self.done.callback(self.heard)

        factory = Factory.forProtocol(Greeter)
        factory.noisy = False
        port: Any = await TCP4ServerEndpoint(groupsockReactor, 0, interface="127.0.0.1").listen(
            factory
        )
        endpoint = TCP4ClientEndpoint(groupsockReactor, "127.0.0.1", port.getHost().port)
        listener: Any = await connectProtocol(endpoint, Listener())
        assert await listener.done == b"hello"
        await port.stopListening()

    @pytest_twisted.ensureDeferred
    async def test_time(self, groupsockReactor: Any) -> None:
        """DeferLater and LoopingCall run on it."""
        assert await deferLater(groupsockReactor, 0, lambda: "later") == "later"
        calls: list[str] = []

        def onlyOnce() -> None:
            calls.append("now")
            looping.stop()

        looping = LoopingCall(onlyOnce)
        looping.clock = groupsockReactor
        await looping.start(10)
        assert calls == ["now"]

    @pytest_twisted.ensureDeferred
    async def test_writing(self, groupsockReactor: GroupsockReactor) -> None:
        """Two of its ports talk to each other."""
        one, two = Recorder(), Recorder()
        ports = [groupsockReactor.listenUDP(0, each, "127.0.0.1") for each in (one, two)]
        ports[0].write(b"question", addressOf(ports[1]))
        question, sender = await two.nextDatagram()
        ports[1].write(b"answer to " + question, sender)
        assert await one.next() == b"answer to question"
        for port in ports:
            await port.stopListening()
