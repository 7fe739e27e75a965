from __future__ import annotations

import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface.verify import verifyObject

from tests.ports.streams import Stream, Streams, clientTLS, serverTLS
from txgroupsock.interfaces import IKeepAlive
from txgroupsock.primitives import KeepAlive, SocketOptionError, getSocketKeepAlive

OWN = KeepAlive(30, 5, 3, 12.5)


async def connection(
    reactor: Any, wrapServer: Any = None, wrapClient: Any = None
) -> tuple[Any, Stream, Stream]:
    """A connection between stock ports, through what the factories are wrapped in."""
    servers, clients = Streams(), Streams()
    accepted, connected = servers.next, clients.next
    port = reactor.listenTCP(
        0, wrapServer(servers) if wrapServer else servers, interface="127.0.0.1"
    )
    reactor.connectTCP(
        "127.0.0.1", port.getHost().port, wrapClient(clients) if wrapClient else clients
    )
    client = await connected
    client.wire.write(b"?")  # over TLS, makes the handshake complete
    server = await accepted
    await server.has(reactor, 1)
    return port, server, client


async def close(port: Any, *streams: Stream) -> None:
    """Close connections, and wait until they are gone."""
    for each in streams:
        each.wire.loseConnection()
    for each in streams:
        await each.lost
    await port.stopListening()


def overTLS() -> tuple[Any, Any]:
    """TLS around a server's and a client's factory."""
    return (
        lambda factory: TLSMemoryBIOFactory(serverTLS(), False, factory),
        lambda factory: TLSMemoryBIOFactory(clientTLS(), True, factory),
    )


def throughWrappers() -> tuple[Any, Any]:
    """The same, with a wrapper inside and outside."""
    server, client = overTLS()
    wrapper: Any = WrappingFactory

    return (
        lambda factory: wrapper(server(wrapper(factory))),
        lambda factory: wrapper(client(wrapper(factory))),
    )


@pytest.mark.parametrize(
    "layers",
    [lambda: (None, None), overTLS, throughWrappers],
    ids=["TCP", "TLS", "TLS between wrappers"],
)
@pytest_twisted.ensureDeferred
async def test_aStockTransportIsAdapted(reactor: Any, layers: Any) -> None:
    """Keep-alive set through the adapter is on the socket that carries the connection."""
    port, server, client = await connection(reactor, *layers())
    for stream in (server, client):
        adapted = IKeepAlive(stream.transport)
        assert verifyObject(IKeepAlive, adapted)
        assert adapted.getKeepAlive() is None
        adapted.setKeepAlive(OWN)
        assert IKeepAlive(stream.transport).getKeepAlive() == OWN
        descriptor = stream.wire.fileno()
        with socket.socket(fileno=socket.dup(descriptor)) as sock:
            assert getSocketKeepAlive(sock) == OWN
        adapted.setKeepAlive(None)
        assert adapted.getKeepAlive() is None
        assert adapted.getConnectionState().state == "ESTABLISHED"
        assert 0 < adapted.getConnectionState().roundTripTime < 1
    await close(port, client, server)


@pytest_twisted.ensureDeferred
async def test_aConnectionThatBeginsTLSLaterIsAdapted(reactor: Any) -> None:
    """After startTLS the handle of the transport is TLS's; the socket is found all the same."""
    port, server, client = await connection(reactor)
    server.wire.startTLS(serverTLS())
    client.wire.startTLS(clientTLS())
    client.wire.write(b"secret")
    await server.has(reactor, 7)
    for stream in (server, client):
        IKeepAlive(stream.transport).setKeepAlive(OWN)
        assert IKeepAlive(stream.transport).getKeepAlive() == OWN
    await close(port, client, server)


@pytest_twisted.ensureDeferred
async def test_whatHasNoTCPSocketIsNotAdapted(reactor: Any, tmp_path: Any) -> None:
    """A UNIX connection, one in memory, and one that has been closed."""
    assert IKeepAlive(StringTransport(), None) is None
    with pytest.raises(TypeError, match="Could not adapt"):
        IKeepAlive(StringTransport())
    port, server, client = await connection(reactor)
    transport = client.transport
    await close(port, client, server)
    assert IKeepAlive(transport, None) is None

    made: list[Protocol] = []

    class Noting(Factory):
        noisy = False

        def buildProtocol(self, addr: object) -> Protocol:
            made.append(Protocol())
            return made[-1]

    factory = Noting()
    here, there = socket.socketpair()
    with here, there:
        here.setblocking(False)
        reactor.adoptStreamConnection(here.fileno(), socket.AF_UNIX, factory)
        transport_: Any = made[0].transport
        assert IKeepAlive(transport_, None) is None
        transport_.abortConnection()


@pytest_twisted.ensureDeferred
async def test_aTransportAroundItselfIsNotAdapted(reactor: Any) -> None:
    """Whatever is wrong with a wrapper, looking for its socket ends."""

    class Ring(StringTransport):
        @property
        def transport(self) -> Ring:
            return self

    ring: Any = Ring()  # type: ignore[no-untyped-call] # Twisted's
    assert IKeepAlive(ring, None) is None


@pytest_twisted.ensureDeferred
async def test_aConnectionLostMeanwhileIsAnError(reactor: Any) -> None:
    """An adapter that outlives its connection says what it could not do."""
    port, server, client = await connection(reactor)
    adapted = IKeepAlive(client.transport)
    await close(port, client, server)
    for call in (
        adapted.getKeepAlive,
        adapted.getConnectionState,
        lambda: adapted.setKeepAlive(OWN),
        lambda: adapted.setKeepAlive(None),
    ):
        with pytest.raises(SocketOptionError, match="cannot"):
            call()


def test_theCertificatesAreReal() -> None:
    """TLS in these tests verifies the peer."""
    assert isinstance(serverTLS(), CertificateOptions)
