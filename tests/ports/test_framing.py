from __future__ import annotations

import socket
import struct
from itertools import pairwise
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IHalfCloseableProtocol, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.lan.listener import Listener
from tests.ports.streams import clientTLS, serverTLS
from txgroupsock import FramedDatagrams, FramedDatagramsFactory
from txgroupsock.ports.streamtransport import Congestion
from txgroupsock.primitives import getReceiveBufferSize

PEER = ("192.168.1.1", 54321)  # what StringTransport says


class Answering(Listener):
    """Sends each datagram back to where it came from."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        super().datagramReceived(datagram, addr)
        assert self.transport is not None
        self.transport.write(datagram, addr)


class Failing(Listener):
    """Raises at whatever it is told."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        super().datagramReceived(datagram, addr)
        raise RuntimeError("on purpose")

    def stopProtocol(self) -> None:
        raise RuntimeError("on purpose")


class Stopping(Listener):
    """Says when it is stopped."""

    stopped = 0

    def stopProtocol(self) -> None:
        self.stopped += 1


def framed(*datagrams: bytes) -> bytes:
    """Datagrams as RFC 4571 has them on the wire."""
    return b"".join(struct.pack("!H", len(each)) + each for each in datagrams)


def overMemory(protocol: DatagramProtocol, **options: Any) -> tuple[Any, Any]:
    """A protocol on a connection in memory."""
    transport = StringTransport()
    made: Any = FramedDatagrams(protocol, **options)
    made.makeConnection(transport)
    return made, transport


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data, cut at these places."""
    places = [0, *sorted(each % (len(data) + 1) for each in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(0, 5000), max_size=20))
def test_datagramsArriveHoweverTheStreamIsCut(datagrams: list[bytes], cuts: list[int]) -> None:
    """Each whole, in order, also empty ones."""
    listener = Listener()
    made, _ = overMemory(listener)
    for piece in pieces(framed(*datagrams), cuts):
        made.dataReceived(piece)
    assert listener.received == [(each, PEER) for each in datagrams]
    assert made.statistics.datagramsReceived == len(datagrams)
    assert made.statistics.bytesReceived == sum(map(len, datagrams))


@given(st.binary(max_size=3000), st.lists(st.integers(0, 5000), max_size=20))
def test_noInputIsTooStrange(data: bytes, cuts: list[int]) -> None:
    """Any bytes are some datagrams and the beginning of another."""
    listener = Listener()
    made, _ = overMemory(listener)
    for piece in pieces(data, cuts):
        made.dataReceived(piece)
    assert data.startswith(framed(*(payload for payload, _ in listener.received)))


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_whatIsWrittenIsFramed(datagrams: list[bytes]) -> None:
    """As RFC 4571 section 2 has it."""
    listener = Listener()
    made, transport = overMemory(listener)
    assert listener.transport is not None
    for each in datagrams:
        listener.transport.write(each, PEER)
    assert transport.value() == framed(*datagrams)
    assert made.statistics.datagramsSent == len(datagrams)


def test_moreComesMeanwhile() -> None:
    """A protocol that has the connection read while it is given a datagram gets each one once."""
    given: list[bytes] = []

    class Reading(Listener):
        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            given.append(datagram)
            if datagram == b"one":
                made.dataReceived(framed(b"three", b"four")[:9])

    made, _ = overMemory(Reading())
    made.dataReceived(framed(b"one", b"two"))
    made.dataReceived(framed(b"three", b"four")[9:])
    assert given == [b"one", b"two", b"three", b"four"]


def test_theProtocolMayBeSet() -> None:
    """Another protocol gets what comes from then on, on the same transport."""
    first, second = Listener(), Listener()
    made, _ = overMemory(first)
    made.dataReceived(framed(b"one"))
    made.protocol = second
    made.dataReceived(framed(b"two"))
    assert [[each[0] for each in listener.received] for listener in (first, second)] == [
        [b"one"],
        [b"two"],
    ]


def test_theLongestDatagramFits() -> None:
    """65,535 bytes; one more is refused as a UDP port refuses what is too long."""
    listener = Listener()
    made, transport = overMemory(listener)
    assert listener.transport is not None
    longest = bytes(0xFFFF)
    listener.transport.write(longest, None)
    made.dataReceived(transport.value())
    assert listener.received == [(longest, PEER)]
    with pytest.raises(MessageLengthError, match="65536 bytes"):
        listener.transport.write(longest + b"x", None)


def test_theTransportIsThatOfADatagramProtocol() -> None:
    """With the peer as its one address."""
    listener = Listener()
    overMemory(listener)
    transport: Any = listener.transport
    assert verifyObject(IUDPTransport, transport)
    transport.connect(*PEER)
    with pytest.raises(ValueError, match=r"leads to \('192.168.1.1', 54321\)"):
        transport.connect("10.0.0.1", 5)
    with pytest.raises(ValueError, match=r"not to \('10.0.0.1', 5\)"):
        transport.write(b"x", ("10.0.0.1", 5))
    assert transport.getHost().host == "10.0.0.1"
    assert transport.getPeer().host == "192.168.1.1"
    transport.setBroadcastAllowed(True)
    assert not transport.getBroadcastAllowed()
    assert repr(transport) == f"<StreamDatagramTransport of Listener to {PEER}>"


def test_theProtocolMayKnowThePeerByAnotherAddress() -> None:
    """As when the connection is a tunnel to it."""
    listener = Listener()
    made, _ = overMemory(listener, peer=("10.9.9.9", 7))
    made.dataReceived(framed(b"x"))
    assert listener.received == [(b"x", ("10.9.9.9", 7))]


@pytest.fixture
def logged() -> Any:
    """What is logged meanwhile."""
    events: list[Any] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    yield events
    globalLogPublisher.removeObserver(observer)


def test_whatTheProtocolRaisesIsLogged(logged: list[Any]) -> None:
    """And the datagrams after it arrive; a UDP port does the same."""
    listener = Failing()
    made, transport = overMemory(listener)
    made.dataReceived(framed(b"one", b"two"))
    assert [payload for payload, _ in listener.received] == [b"one", b"two"]
    made.connectionLost()
    assert len([each for each in logged if "log_failure" in each]) == 3
    assert not transport.disconnecting


def test_whileThePeerTakesNothingDatagramsAreDropped() -> None:
    """And counted; afterwards they go out again."""
    listener = Listener()
    made, transport = overMemory(listener)
    assert listener.transport is not None
    transport.producer.pauseProducing()
    listener.transport.write(b"dropped", None)
    transport.producer.resumeProducing()
    listener.transport.write(b"sent", None)
    assert transport.value() == framed(b"sent")
    assert (made.statistics.datagramsSent, made.statistics.datagramsDropped) == (1, 1)


def test_afterTheConnectionIsLostDatagramsAreDropped() -> None:
    """The protocol is stopped once, and may write as long as it likes."""
    listener = Stopping()
    made, _ = overMemory(listener)
    transport: Any = listener.transport
    made.connectionLost()
    made.connectionLost()
    assert listener.stopped == 1
    transport.write(b"x")
    made.stringReceived(b"late")
    assert made.statistics.datagramsDropped == 1
    assert listener.received == []


def test_beforeTheConnectionIsMadeThereIsNothing() -> None:
    """But zeros."""
    made = FramedDatagrams(Listener())
    assert made.statistics.datagramsReceived == 0
    made.stringReceived(b"")
    made.connectionLost()


def factories(*, isTLS: bool) -> tuple[Any, Any, Any, Any]:
    """Factories of a server that answers and of a client, and lists of their protocols."""
    servers: list[Answering] = []
    clients: list[Stopping] = []

    def answering() -> Answering:
        servers.append(Answering())
        return servers[-1]

    def listening() -> Stopping:
        clients.append(Stopping())
        return clients[-1]

    server: Any = FramedDatagramsFactory(answering)
    client: Any = FramedDatagramsFactory(listening)
    if isTLS:
        server = TLSMemoryBIOFactory(serverTLS(), False, server)
        client = TLSMemoryBIOFactory(clientTLS(), True, client)
    return server, client, servers, clients


async def stopped(*protocols: Any) -> None:
    """Stop those that have not been stopped by the other end's stopping."""
    for each in protocols:
        if each.transport is not None:
            await each.transport.stopListening()


async def until(reactor: Any, what: Any, timeout: float = 5.0) -> None:
    """Look again and again."""
    deadline = reactor.seconds() + timeout
    while not what():
        assert reactor.seconds() < deadline, "not in time"
        await deferLater(reactor, 0.005)


@pytest.mark.parametrize("isTLS", [False, True], ids=["TCP", "TLS"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest_twisted.ensureDeferred
async def test_datagramProtocolsCrossAConnectionUnchanged(
    reactor: Any, address: str, isTLS: bool
) -> None:
    """What one writes the other gets, with an address it can answer to."""
    server, client, servers, clients = factories(isTLS=isTLS)
    port = reactor.listenTCP(0, server, interface=address)
    reactor.connectTCP(address, port.getHost().port, client)
    await until(reactor, lambda: clients and clients[0].transport)
    wanted = [b"", b"x", bytes(1316), bytes(0xFFFF), b"last"]
    for each in wanted:
        # One at a time, since a full buffer would drop some.
        count = len(clients[0].received)
        clients[0].transport.write(each)
        await clients[0].has(reactor, count + 1)
    assert clients[0].received == [(each, (address, port.getHost().port)) for each in wanted]
    assert [payload for payload, _ in servers[0].received] == wanted
    transport = clients[0].transport
    await transport.stopListening()
    assert clients[0].stopped == 1
    await transport.stopListening()
    await stopped(*servers)
    await port.stopListening()


@pytest.mark.parametrize("isTLS", [False, True], ids=["TCP", "TLS"])
@pytest_twisted.ensureDeferred
async def test_aPeerThatTakesNothingCostsABoundedAmount(reactor: Any, isTLS: bool) -> None:
    """50 MB to a peer that does not read: nearly all is dropped, and closing does not wait."""
    server, client, servers, clients = factories(isTLS=isTLS)
    port = reactor.listenTCP(0, server, interface="127.0.0.1")
    connector = reactor.connectTCP("127.0.0.1", port.getHost().port, client)
    await until(reactor, lambda: clients and clients[0].transport)
    clients[0].transport.write(b"hello")
    await clients[0].has(reactor, 1)
    connector.transport.pauseProducing()
    transport = servers[0].transport
    kernel = getReceiveBufferSize(connector.transport.getHandle())
    for _ in range(50):
        for _ in range(1000):
            transport.write(bytes(1000))
        await deferLater(reactor, 0)
    counted = transport.statistics
    assert counted.datagramsSent + counted.datagramsDropped == 50_000 + 1
    assert counted.datagramsDropped > 20_000
    assert counted.bytesSent < 8 * 1024 * 1024 + 4 * kernel
    await transport.stopListening()
    # Under uvloop, stock Twisted never hears of a reset that came while it was not reading.
    connector.transport.abortConnection()
    await until(reactor, lambda: clients[0].stopped)
    await port.stopListening()


@pytest.mark.parametrize("isTLS", [False, True], ids=["TCP", "TLS"])
@pytest_twisted.ensureDeferred
async def test_closingDoesNotWaitForeverForThePeer(
    reactor: Any, isTLS: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has stopped reading, while less waits for it than would make the writer pause."""
    monkeypatch.setattr(Congestion, "patience", 0.1)
    server, client, servers, clients = factories(isTLS=isTLS)
    port = reactor.listenTCP(0, server, interface="127.0.0.1")
    connector = reactor.connectTCP("127.0.0.1", port.getHost().port, client)
    await until(reactor, lambda: clients and clients[0].transport)
    clients[0].transport.write(b"hello")
    await clients[0].has(reactor, 1)
    connector.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connector.transport.pauseProducing()
    transport = servers[0].transport
    # Until the kernel takes no more for several turns, of what is still little to Twisted.
    waiting = 0
    while waiting < 5:
        transport.write(bytes(1000))
        await deferLater(reactor, 0)
        waiting = waiting + 1 if _hasToWait(reactor, transport) else 0
    assert transport.statistics.datagramsDropped == 0
    await transport.stopListening()
    connector.transport.abortConnection()
    await until(reactor, lambda: clients[0].stopped)
    await port.stopListening()


def _hasToWait(reactor: Any, transport: Any) -> bool:
    """Whether there is something that the kernel has not taken."""
    local = transport.getHost().port
    return any(
        each.getHost().port == local for each in reactor.getWriters() if hasattr(each, "getHost")
    )


@pytest_twisted.ensureDeferred
async def test_datagramsAreNotHeldBack(reactor: Any) -> None:
    """TCP_NODELAY is on, at both ends and also under TLS."""
    server, client, servers, clients = factories(isTLS=True)
    port = reactor.listenTCP(0, server, interface="127.0.0.1")
    connector = reactor.connectTCP("127.0.0.1", port.getHost().port, client)
    await until(reactor, lambda: clients and clients[0].transport)
    handle = connector.transport.getHandle()
    assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    clients[0].transport.write(b"x")
    await clients[0].has(reactor, 1)
    await stopped(*clients, *servers)
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_aUNIXConnectionDoesToo(reactor: Any, tmp_path: Any) -> None:
    """It has no address, so the peer is known by none."""
    server, client, servers, clients = factories(isTLS=False)
    path = str(tmp_path / "socket")
    port = reactor.listenUNIX(path, server)
    reactor.connectUNIX(path, client)
    await until(reactor, lambda: clients and clients[0].transport)
    clients[0].transport.write(b"x")
    await clients[0].has(reactor, 1)
    assert clients[0].received == [(b"x", ("", 0))]
    await stopped(*clients, *servers)
    await port.stopListening()


def test_theFactoryIsKnownToItsProtocols() -> None:
    """As with any factory."""
    factory = FramedDatagramsFactory(Listener)
    assert isinstance(factory, Factory)
    assert factory.buildProtocol(None).factory is factory


@pytest_twisted.ensureDeferred
async def test_aProtocolMayGoOnWritingToAPeerThatSendsNoMore(reactor: Any) -> None:
    """One that provides IHalfCloseableProtocol is told; any other is stopped, as in Twisted."""

    @implementer(IHalfCloseableProtocol)
    class Told(Stopping):
        told = 0

        def readConnectionLost(self) -> None:
            self.told += 1
            assert self.transport is not None
            self.transport.write(b"still here", None)

        def writeConnectionLost(self) -> None: ...

    made: list[Any] = []

    def make() -> Any:
        made.append(Told() if len(made) == 0 else Stopping())
        return made[-1]

    port: Any = reactor.listenTCP(0, FramedDatagramsFactory(make), interface="127.0.0.1")
    address = ("127.0.0.1", port.getHost().port)
    with socket.create_connection(address) as one:
        await until(reactor, lambda: len(made) == 1)
        one.shutdown(socket.SHUT_WR)
        await until(reactor, lambda: made[0].told)
        assert one.recv(100) == framed(b"still here")
        assert not made[0].stopped
        with socket.create_connection(address) as two:
            await until(reactor, lambda: len(made) == 2)
            two.shutdown(socket.SHUT_WR)
            await until(reactor, lambda: made[1].stopped)
    made[0].transport.stopListening()
    await until(reactor, lambda: made[0].stopped)
    await port.stopListening()
