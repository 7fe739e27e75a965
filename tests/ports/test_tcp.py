from __future__ import annotations

import errno
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    HostnameEndpoint,
    SSL4ServerEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    wrapClientTLS,
)
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorFDSet,
    IReactorSocket,
    IReactorSSL,
    IReactorTCP,
)
from twisted.internet.protocol import Factory, ReconnectingClientFactory
from zope.interface import providedBy
from zope.interface.verify import verifyObject

from tests.ports.streams import Stream, Streams, clientTLS, echoes, serverTLS
from txgroupsock import GroupsockReactor
from txgroupsock.primitives import KeepAlive, getSocketKeepAlive, setSocketKeepAlive
from txgroupsock.primitives import keepalive as primitive

OWN = KeepAlive(30, 5, 3, 12.5)
OTHER = KeepAlive(60, 7, 4)


async def closeAll(*streams: Stream) -> None:
    """Close connections and wait until they are gone."""
    for each in streams:
        each.wire.loseConnection()
    for each in streams:
        await each.lost


async def bothEnds(
    reactor: Any,
    listen: Callable[[Any], Any],
    connect: Callable[[Any, Any], Any],
) -> tuple[Stream, Stream]:
    """The server's and the client's end of a connection that carried something; now closed."""
    servers, clients = Streams(), Streams()
    accepted, connected = servers.next, clients.next
    port = listen(servers)
    if isinstance(port, Deferred):
        port = await port
    made = connect(port.getHost(), clients)
    if isinstance(made, Deferred):
        await made
    server, client = await accepted, await connected
    client.wire.write(b"there")
    assert await server.has(reactor, 5) == b"there"
    server.wire.write(b"back")
    assert await client.has(reactor, 4) == b"back"
    await closeAll(client, server)
    await port.stopListening()
    return server, client


def host(address: Any) -> str:
    """Where to connect to, for a port that listens everywhere."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, str(address.host))


@pytest.mark.parametrize("reactorsOwn", [KeepAlive(), OWN, None])
@pytest_twisted.ensureDeferred
async def test_bothEndsHaveTheReactorsKeepAlive(reactor: Any, reactorsOwn: KeepAlive) -> None:
    """Before the first byte, and for as long as the connection lasts."""
    ours: Any = GroupsockReactor(reactor, reactorsOwn)
    ends = await bothEnds(
        reactor,
        lambda factory: ours.listenTCP(0, factory, interface="127.0.0.1"),
        lambda address, factory: ours.connectTCP(address.host, address.port, factory),
    )
    assert [each.keepAliveAtFirst for each in ends] == [reactorsOwn, reactorsOwn]


def test_theDefaultsAreThoseOfLIVE555(reactor: Any) -> None:
    """180 s, then 5 probes 20 s apart."""
    assert GroupsockReactor(reactor).keepAlive == KeepAlive(180, 20, 5, None)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(True, OWN), (False, None), (OTHER, OTHER)],
    ids=["own", "none", "other"],
)
@pytest_twisted.ensureDeferred
async def test_aCallMayChooseItsOwn(reactor: Any, asked: Any, expected: Any) -> None:
    """True is the reactor's, False none, and parameters are themselves."""
    ours: Any = GroupsockReactor(reactor, OWN)
    ends = await bothEnds(
        reactor,
        lambda factory: ours.listenTCP(0, factory, interface="127.0.0.1", keepAlive=asked),
        lambda address, factory: ours.connectTCP(
            address.host, address.port, factory, keepAlive=asked
        ),
    )
    assert [each.keepAliveAtFirst for each in ends] == [expected, expected]


@pytest_twisted.ensureDeferred
async def test_TLSHasItToo(reactor: Any) -> None:
    """By listenSSL and connectSSL."""
    ours: Any = GroupsockReactor(reactor, OWN)
    ends = await bothEnds(
        reactor,
        lambda factory: ours.listenSSL(0, factory, serverTLS(), interface="127.0.0.1"),
        lambda address, factory: ours.connectSSL(address.host, address.port, factory, clientTLS()),
    )
    assert [each.keepAliveAtFirst for each in ends] == [OWN, OWN]


def tcp4(reactor: Any) -> Any:
    """A server without TLS."""
    return TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")


def ssl4(reactor: Any) -> Any:
    """A server with TLS."""
    return SSL4ServerEndpoint(reactor, 0, serverTLS(), interface="127.0.0.1")


def client4(reactor: Any, address: Any) -> Any:
    """A client by address."""
    return TCP4ClientEndpoint(reactor, host(address), address.port)


def hostname(reactor: Any, address: Any) -> Any:
    """A client by name."""
    return HostnameEndpoint(reactor, host(address), address.port)


def wrapped(reactor: Any, address: Any) -> Any:
    """A client with TLS."""
    return wrapClientTLS(clientTLS(), HostnameEndpoint(reactor, "127.0.0.1", address.port))


@pytest.mark.parametrize(
    ("server", "client"),
    [
        (tcp4, client4),
        (lambda reactor: TCP6ServerEndpoint(reactor, 0), hostname),
        (ssl4, wrapped),
    ],
    ids=["TCP4", "TCP6, HostnameEndpoint", "SSL4, wrapClientTLS"],
)
@pytest_twisted.ensureDeferred
async def test_stockEndpointsHaveIt(reactor: Any, server: Any, client: Any) -> None:
    """Endpoints of Twisted's that are made with our reactor need nothing else."""
    ours: Any = GroupsockReactor(reactor, OWN)
    ends = await bothEnds(
        reactor,
        lambda factory: server(ours).listen(factory),
        lambda address, factory: client(ours, address).connect(factory),
    )
    assert [each.keepAliveAtFirst for each in ends] == [OWN, OWN]


@pytest_twisted.ensureDeferred
async def test_theIPv6WildcardTakesIPv4Too(reactor: Any) -> None:
    """As Twisted's own port does on this system."""
    ours: Any = GroupsockReactor(reactor, OWN)
    addresses: list[str] = []

    class Noting(Factory):
        noisy = False

        def buildProtocol(self, addr: Any) -> None:
            addresses.append(addr.host)

    port = await TCP6ServerEndpoint(ours, 0).listen(Noting())
    clients = Streams()
    connected = clients.next
    reactor.connectTCP("127.0.0.1", port.getHost().port, clients)
    await (await connected).lost
    assert addresses == ["::ffff:127.0.0.1"]
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_anAdoptedPortHasIt(reactor: Any) -> None:
    """A socket that somebody else listens on, such as systemd's."""
    ours: Any = GroupsockReactor(reactor, OWN)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        endpoint = AdoptedStreamServerEndpoint(ours, os.dup(listening.fileno()), socket.AF_INET)
        ends = await bothEnds(
            reactor,
            endpoint.listen,
            lambda address, factory: reactor.connectTCP(address.host, address.port, factory),
        )
        assert [each.keepAliveAtFirst for each in ends] == [OWN, None]
        assert getSocketKeepAlive(listening) == OWN


@pytest_twisted.ensureDeferred
async def test_anAdoptedPortMayBeLeftAsItIs(reactor: Any) -> None:
    """What its owner had set stays."""
    ours: Any = GroupsockReactor(reactor, OWN)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        setSocketKeepAlive(listening, OTHER.idle, OTHER.interval, OTHER.count)
        port = ours.adoptStreamPort(listening.fileno(), socket.AF_INET, echoes(), keepAlive=False)
        assert getSocketKeepAlive(listening) == OTHER
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_anAdoptedConnectionHasIt(reactor: Any) -> None:
    """A connection that somebody else made."""
    ours: Any = GroupsockReactor(reactor, OWN)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        here = socket.create_connection(listening.getsockname())
        there = listening.accept()[0]
        here.setblocking(False)
        factory = Streams()
        with here, there:
            ours.adoptStreamConnection(here.fileno(), socket.AF_INET, factory)
            assert factory.all[0].keepAliveAtFirst == OWN
    await factory.all[0].lost


@pytest_twisted.ensureDeferred
async def test_whatIsNoTCPIsAdoptedUnchanged(reactor: Any, tmp_path: Any) -> None:
    """A UNIX socket has no keep-alive, and needs none."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        listening.setblocking(False)
        port: Any = GroupsockReactor(reactor).adoptStreamPort(
            listening.fileno(), socket.AF_UNIX, echoes()
        )
        await port.stopListening()


# --- Clients ---------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_aClientHasItBeforeItsFirstPacket(reactor: Any) -> None:
    """The options are on the socket when connectTCP returns, which has not connected yet."""
    ours: Any = GroupsockReactor(reactor, OWN)
    port = ours.listenTCP(0, echoes(), interface="127.0.0.1")
    clients = Streams()
    connected = clients.next
    connector: Any = ours.connectTCP("127.0.0.1", port.getHost().port, clients)
    assert connector.state == "connecting"
    assert getSocketKeepAlive(connector.transport.getHandle()) == OWN
    await closeAll(await connected)
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_eachAttemptOfAReconnectingClientHasIt(reactor: Any) -> None:
    """The third connection as much as the first."""
    ours: Any = GroupsockReactor(reactor, OWN)
    port = ours.listenTCP(0, echoes(), interface="127.0.0.1")
    seen: list[Any] = []
    enough: Deferred[None] = Deferred()

    class Again(ReconnectingClientFactory):
        noisy = False
        initialDelay = 0.01
        attempts = 0

        def startedConnecting(self, connector: Any) -> None:
            self.attempts += 1

        def buildProtocol(self, addr: object) -> Stream:
            built = Stream()
            built.made.addCallback(self._made)
            return built

        def _made(self, stream: Stream) -> None:
            seen.append(stream.keepAliveAtFirst)
            if len(seen) == 3:
                self.stopTrying()  # type: ignore[no-untyped-call] # Twisted's
                stream.lost.addCallback(lambda _: enough.callback(None))
            stream.wire.loseConnection()

    factory = Again()
    ours.connectTCP("127.0.0.1", port.getHost().port, factory)
    await enough
    assert seen == [OWN, OWN, OWN]
    assert factory.attempts == 3
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_aRefusedConnectionIsStillThat(reactor: Any) -> None:
    """The client's factory is told what the reactor tells it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        unused = listening.getsockname()[1]
    clients = Streams()
    failed = clients.next
    GroupsockReactor(reactor).connectTCP("127.0.0.1", unused, clients)
    with pytest.raises(error.ConnectionRefusedError):
        await failed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest_twisted.ensureDeferred
async def test_aClientThatCannotBindFailsAsInTwisted(reactor: Any) -> None:
    """With the reason, although there is no socket to set anything on."""
    clients = Streams()
    failed = clients.next
    # Twisted leaves that socket to the garbage collector, hence the filter.
    GroupsockReactor(reactor).connectTCP("127.0.0.1", 9, clients, bindAddress=("192.0.2.1", 0))
    with pytest.raises(ConnectError) as caught:
        await failed
    assert caught.value.osError == errno.EADDRNOTAVAIL


@pytest_twisted.ensureDeferred
async def test_aClientWithoutTheOptionsFailsAndSaysWhy(
    reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system has no user timeout, nothing connects without it silently."""
    port = reactor.listenTCP(0, echoes(), interface="127.0.0.1")
    clients = Streams()
    failed = clients.next
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(primitive, "TCP_USER_TIMEOUT", None)
        GroupsockReactor(reactor, OWN).connectTCP("127.0.0.1", port.getHost().port, clients)
    with pytest.raises(ConnectError, match="cannot use TCP_USER_TIMEOUT"):
        await failed
    assert len(clients.failures) == 1
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_aClientMayGiveUpInStartedConnecting(reactor: Any) -> None:
    """As with any reactor."""

    class Hesitant(Streams):
        def startedConnecting(self, connector: Any) -> None:
            connector.stopConnecting()

    clients = Hesitant()
    failed = clients.next
    failed.addErrback(lambda _: None)
    GroupsockReactor(reactor).connectTCP("127.0.0.1", 9, clients)
    await failed
    assert len(clients.failures) == 1


# --- Servers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interface", "expected"),
    [
        ("", "0.0.0.0"),
        ("lo", "127.0.0.1"),
        (socket.if_nametoindex("lo"), "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("::1", "::1"),
        ("::", "::"),
        ("::%lo", "::1"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_anInterfaceIsNamedInAnyWay(reactor: Any, interface: Any, expected: str) -> None:
    """Name, index or address; a scoped wildcard is the interface's IPv6 address."""
    port: Any = GroupsockReactor(reactor).listenTCP(0, echoes(), interface=interface)
    assert port.getHost().host == expected
    await port.stopListening()


@pytest.mark.parametrize(
    ("interface", "what"),
    [
        ("nosuch0", "nosuch0"),
        ("::%nosuch0", "nosuch0"),
        ("192.0.2.1", "no interface of this host has that address"),
    ],
)
def test_anInterfaceThatIsNotThereCannotBeListenedOn(
    reactor: Any, interface: str, what: str
) -> None:
    """The error says which."""
    with pytest.raises(CannotListenError) as caught:
        GroupsockReactor(reactor).listenTCP(0, echoes(), interface=interface)
    assert what in str(caught.value.socketError)


@pytest_twisted.ensureDeferred
async def test_aPortThatIsTakenSaysHowToFindItsOwner(reactor: Any) -> None:
    """And leaves nothing open."""
    ours: Any = GroupsockReactor(reactor)
    port = ours.listenTCP(0, echoes(), interface="127.0.0.1")
    number = port.getHost().port
    with pytest.raises(CannotListenError, match=f"ss -lntup sport = :{number}"):
        ours.listenTCP(number, echoes(), interface="127.0.0.1")
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_severalPortsShareANumberWhenAsked(reactor: Any) -> None:
    """With SO_REUSEPORT, as worker processes do."""
    ours: Any = GroupsockReactor(reactor)
    one = ours.listenTCP(0, echoes(), interface="127.0.0.1", reusePort=True)
    number = one.getHost().port
    two = ours.listenTCP(number, echoes(), interface="127.0.0.1", reusePort=True)
    await one.stopListening()
    await two.stopListening()


def test_aPortWithoutTheOptionsFailsAndSaysWhy(
    reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system has no user timeout, nothing listens without it silently."""
    monkeypatch.setattr(primitive, "TCP_USER_TIMEOUT", None)
    with pytest.raises(CannotListenError, match="cannot use TCP_USER_TIMEOUT"):
        GroupsockReactor(reactor, OWN).listenTCP(0, echoes(), interface="127.0.0.1")


@pytest_twisted.ensureDeferred
async def test_theBacklogIsTheKernels(reactor: Any) -> None:
    """What was asked for is what `ss` shows for a listening socket."""
    port: Any = GroupsockReactor(reactor).listenTCP(0, echoes(), 7, "127.0.0.1")
    # For a listening socket, Linux gives its backlog as the sixth word of TCP_INFO (tcpi_sacked).
    answer = port.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    assert int.from_bytes(answer[28:32], "little") == 7
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_aBindingOfTwistedsIsTaken(reactor: Any) -> None:
    """Twisted 26's makeBinding, instead of a port number."""
    from twisted.internet import tcp

    makeBinding = getattr(tcp, "makeBinding", None)
    if makeBinding is None:
        pytest.skip("this Twisted has no makeBinding")
    ours: Any = GroupsockReactor(reactor, OWN)
    ends = await bothEnds(
        reactor,
        lambda factory: ours.listenTCP(makeBinding("127.0.0.1", 0), factory),
        lambda address, factory: ours.connectTCP(
            address.host, address.port, factory, bindAddress=makeBinding("127.0.0.1", 0)
        ),
    )
    assert [each.keepAliveAtFirst for each in ends] == [OWN, OWN]


# --- The reactor -----------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_everythingThatTheWrappedReactorProvidesIsProvided(reactor: Any) -> None:
    """And the interfaces of what is ours hold."""
    ours: Any = GroupsockReactor(reactor)
    assert set(providedBy(reactor).flattened()) <= set(providedBy(ours).flattened())
    for each in (IReactorTCP, IReactorSSL, IReactorSocket, IReactorFDSet):
        assert verifyObject(each, ours)
    port = ours.listenTCP(0, echoes(), interface="127.0.0.1")
    assert verifyObject(IListeningPort, port)
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_onceAroundIsEnough(reactor: Any) -> None:
    """A reactor around a reactor has its own keep-alive, not the inner one's."""
    ours: Any = GroupsockReactor(GroupsockReactor(reactor, OTHER), OWN)
    ends = await bothEnds(
        reactor,
        lambda factory: ours.listenTCP(0, factory, interface="127.0.0.1"),
        lambda address, factory: ours.connectTCP(address.host, address.port, factory),
    )
    assert [each.keepAliveAtFirst for each in ends] == [OWN, OWN]


@pytest_twisted.ensureDeferred
async def test_thousandConnectionsLeaveNothing(reactor: Any) -> None:
    """Descriptors, readers and timers of many short connections are given back."""
    ours: Any = GroupsockReactor(reactor, OWN)
    port = ours.listenTCP(0, echoes(), interface="127.0.0.1", backlog=300)
    for _ in range(10):
        waiting: list[Awaitable[Any]] = []
        for _ in range(100):
            clients = Streams()
            waiting.append(clients.next)
            ours.connectTCP("127.0.0.1", port.getHost().port, clients)
        for each in waiting:
            stream = await each
            stream.wire.loseConnection()
            await stream.lost
    await port.stopListening()
