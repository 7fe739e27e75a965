"""Protocols written for Twisted's ports behave on groupsock's as they do on Twisted's.

Every test runs on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList, DeferredQueue, maybeDeferred, succeed
from twisted.internet.error import InvalidAddressError, MessageLengthError, MulticastJoinError
from twisted.internet.protocol import DatagramProtocol
from twisted.names import client, dns, server
from twisted.names.common import ResolverBase

from txgroupsock import GroupsockReactor
from txgroupsock.testing.namespaces import Namespace

Open = Callable[..., Any]


@pytest.fixture(params=["Twisted", "groupsock"])
def anyReactor(request: pytest.FixtureRequest, reactor: Any) -> Any:
    """Twisted's own reactor, or the one whose ports are groupsock's."""
    return reactor if request.param == "Twisted" else GroupsockReactor(reactor)


@pytest.fixture
def opened(anyReactor: Any) -> Iterator[Open]:
    """Calls C{listenUDP} or C{listenMulticast}, and closes the ports after the test."""
    ports: list[Any] = []

    def open_(method: str, *args: Any, **kwargs: Any) -> Any:
        ports.append(getattr(anyReactor, method)(*args, **kwargs))
        return ports[-1]

    yield open_
    closing = [maybeDeferred(port.stopListening) for port in ports]
    pytest_twisted.blockon(DeferredList(closing))


class Echo(DatagramProtocol):
    """From Twisted's examples (docs/core/examples/echoserv_udp.py)."""

    noisy = False

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        assert self.transport is not None
        self.transport.write(datagram, addr)


class EchoClient(DatagramProtocol):
    """In the shape of Twisted's example (docs/core/examples/echoclient_udp.py)."""

    noisy = False
    strings = (b"Hello, world!", b"What a fine day it is.", b"Bye-bye!")

    def __init__(self, server: Any) -> None:
        self.server = server
        self.toSend = list(self.strings)
        self.echoes: list[bytes] = []
        self.done: Deferred[list[bytes]] = Deferred()
        self.hasStopped = False

    def startProtocol(self) -> None:
        assert self.transport is not None
        self.transport.connect(self.server.host, self.server.port)
        self.sendDatagram()

    def stopProtocol(self) -> None:
        self.hasStopped = True

    def sendDatagram(self) -> None:
        transport: Any = self.transport
        if self.toSend:
            transport.write(self.toSend.pop(0))
        else:
            maybeDeferred(transport.stopListening).addCallback(lambda _: self.echoes).chainDeferred(
                self.done
            )

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        assert addr == (self.server.host, self.server.port)
        self.echoes.append(datagram)
        self.sendDatagram()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest_twisted.ensureDeferred
async def test_echo(opened: Open, address: str) -> None:
    """The echo examples talk to each other until the client closes its port."""
    echoServer = opened("listenUDP", 0, Echo(), address)
    echoClient = EchoClient(echoServer.getHost())
    opened("listenUDP", 0, echoClient, address)
    assert await echoClient.done == list(EchoClient.strings)
    assert echoClient.hasStopped
    assert echoClient.transport is None


class OneName(ResolverBase):
    """Knows the address of every host: it is always the same."""

    def __init__(self) -> None:
        ResolverBase.__init__(self)

    def _lookup(self, name: Any, cls: Any, type: Any, timeout: Any) -> Any:  # noqa: A002 - Twisted's
        record = dns.Record_A("192.0.2.7", 60)
        return succeed(([dns.RRHeader(name, type, cls, 60, record)], [], []))


@pytest_twisted.ensureDeferred
async def test_DNS(anyReactor: Any, opened: Open) -> None:
    """Twisted's DNS server answers a query of Twisted's resolver, each on a port of this kind."""
    factory = server.DNSServerFactory(clients=[OneName()])
    factory.noisy = False
    protocol = dns.DNSDatagramProtocol(factory, reactor=anyReactor)
    protocol.noisy = False
    port = opened("listenUDP", 0, protocol, "127.0.0.1", 512)
    resolver = client.Resolver(
        servers=[("127.0.0.1", port.getHost().port)], timeout=(5,), reactor=anyReactor
    )
    answers, _, _ = await resolver.lookupAddress("example.org")
    assert [answer.payload.dottedQuad() for answer in answers] == ["192.0.2.7"]


class MulticastPingPong(DatagramProtocol):
    """From Twisted's examples (docs/core/examples/udp/MulticastServer.py)."""

    noisy = False

    def startProtocol(self) -> None:
        transport: Any = self.transport
        transport.setTTL(5)
        transport.joinGroup("228.0.0.5")

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        if datagram == b"Client: Ping":
            # The client gets this by unicast only.
            assert self.transport is not None
            self.transport.write(b"Server: Pong", addr)


class MulticastPingClient(DatagramProtocol):
    """In the shape of Twisted's example (docs/core/examples/udp/MulticastClient.py)."""

    noisy = False

    def __init__(self, number: int) -> None:
        self.number = number
        self.received: DeferredQueue[bytes] = DeferredQueue()

    def startProtocol(self) -> None:
        transport: Any = self.transport
        transport.joinGroup("228.0.0.5")
        transport.write(b"Client: Ping", ("228.0.0.5", self.number))

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self.received.put(datagram)


@pytest_twisted.ensureDeferred
async def test_multicastPingPong(multicastLoopback: Namespace, opened: Open) -> None:
    """The multicast examples find each other in a group, with nothing but default arguments."""
    port = opened("listenMulticast", 0, MulticastPingPong(), listenMultiple=True)
    assert port.getTTL() == 5
    pingClient = MulticastPingClient(port.getHost().port)
    opened("listenMulticast", 0, pingClient, listenMultiple=True)
    assert await pingClient.received.get() == b"Server: Pong"


class TestMulticastDefaults:
    @pytest_twisted.ensureDeferred
    async def test_settings(self, opened: Open) -> None:
        """A new port has TTL 1, hears itself, and sends by the routes; all can be changed."""
        port = opened("listenMulticast", 0, Echo())
        assert port.getTTL() == 1
        assert port.getLoopbackMode() == 1
        assert port.getOutgoingInterface() == "0.0.0.0"
        port.setLoopbackMode(0)
        assert port.getLoopbackMode() == 0
        assert await port.setOutgoingInterface("127.0.0.1") == 1
        assert port.getOutgoingInterface() == "127.0.0.1"

    @pytest_twisted.ensureDeferred
    async def test_leave(self, multicastLoopback: Namespace, opened: Open) -> None:
        """A group can be joined once, left, and joined again."""
        port = opened("listenMulticast", 0, Echo())
        await port.joinGroup("228.0.0.5")
        with pytest.raises(MulticastJoinError):
            await port.joinGroup("228.0.0.5")
        await port.leaveGroup("228.0.0.5")
        with pytest.raises(MulticastJoinError):
            await port.leaveGroup("228.0.0.5")
        await port.joinGroup("228.0.0.5", interface="127.0.0.1")

    @pytest_twisted.ensureDeferred
    async def test_noGroup(self, opened: Open) -> None:
        """Joining what is no group fails with MulticastJoinError."""
        port = opened("listenMulticast", 0, Echo())
        with pytest.raises(MulticastJoinError):
            await port.joinGroup("127.0.0.1")


class TestErrors:
    def test_message(self, opened: Open) -> None:
        """A datagram that is too long is a MessageLengthError."""
        port = opened("listenUDP", 0, Echo(), "127.0.0.1")
        with pytest.raises(MessageLengthError):
            port.write(bytes(70_000), ("127.0.0.1", 9))

    @pytest.mark.parametrize(
        ("address", "host"),
        [("127.0.0.1", "localhost"), ("127.0.0.1", "::1"), ("::1", "127.0.0.1")],
    )
    def test_address(self, opened: Open, address: str, host: str) -> None:
        """A host that is no literal address of the port's family is an InvalidAddressError."""
        port = opened("listenUDP", 0, Echo(), address)
        with pytest.raises(InvalidAddressError):
            port.write(b"x", (host, 9))

    def test_connectTwice(self, opened: Open) -> None:
        """A port that is connected cannot be connected again."""
        port = opened("listenUDP", 0, Echo(), "127.0.0.1")
        port.connect("127.0.0.1", 9)
        with pytest.raises(RuntimeError):
            port.connect("127.0.0.1", 9)

    @pytest_twisted.ensureDeferred
    async def test_stopTwice(self, opened: Open) -> None:
        """Stopping a port that has been stopped does nothing."""
        port = opened("listenUDP", 0, Echo(), "127.0.0.1")
        await port.stopListening()
        assert await maybeDeferred(port.stopListening) is None
