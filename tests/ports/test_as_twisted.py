"""What Twisted's own reactor takes, ours takes too, with the same result."""

from __future__ import annotations

import copy
import json
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import pytest_twisted
from twisted.internet import error
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python import log

from tests.ports.streams import Streams, clientTLS, echoes, serverTLS
from tests.ports.support import turn
from txgroupsock import GroupsockReactor, JoinError, KeepAlive
from txgroupsock.primitives import getSocketKeepAlive

OWN = KeepAlive(30, 5, 3)

# --- Hosts -----------------------------------------------------------------------------------

HOSTS = [
    *("", b"", "localhost", b"localhost", "127.1", b"127.1", "127.0.0.1", b"127.0.0.1"),
    *("0", "0.0.0.0", "0x7f.1", "2130706433", "<broadcast>", "nosuch.invalid", "127.0.0.1 "),
    *("::", "::1", b"::1", "::ffff:127.0.0.1", "[::1]"),
]

Outcome = tuple[Any, ...]


async def listened(listen: Callable[..., Any], interface: Any) -> Outcome:
    """Where a port came to be, or that there is none."""
    try:
        port = listen(interface)
    except (error.CannotListenError, error.InvalidAddressError):
        return ("refused",)
    host = port.getHost()
    await port.stopListening()
    return type(host), host.type, host.host


@pytest.mark.parametrize("interface", HOSTS, ids=repr)
@pytest_twisted.ensureDeferred
async def test_aPortListensWhereTwistedsDoes(reactor: Any, interface: Any) -> None:
    """TCP, TLS and UDP; for TCP also where the C library has to look up a name."""
    ours: Any = GroupsockReactor(reactor)
    for listen in (
        lambda any_, where: any_.listenTCP(0, echoes(), interface=where),
        lambda any_, where: any_.listenSSL(0, echoes(), serverTLS(), interface=where),
        lambda any_, where: any_.listenUDP(0, DatagramProtocol(), where),
        lambda any_, where: any_.listenMulticast(0, DatagramProtocol(), where),
    ):
        stock, own = [
            await listened(lambda where, any_=any_, listen=listen: listen(any_, where), interface)
            for any_ in (reactor, ours)
        ]
        assert own == stock


@pytest_twisted.ensureDeferred
async def test_anEndpointListensOnAHostName(reactor: Any) -> None:
    """As a foolscap Tub, a conch server or pymodbus ask for it."""
    endpoint = serverFromString(GroupsockReactor(reactor), "tcp:0:interface=localhost")
    port = await endpoint.listen(echoes())
    assert port.getHost().host == "127.0.0.1"
    await port.stopListening()


def exchanged(port: Any, operation: str, host: Any) -> Outcome:
    """What came of sending to an address, or connecting to it."""
    try:
        if operation != "write":
            port.connect(host, 9)
        if operation != "connect":
            port.write(b"", (host, 9))
    except (OSError, error.InvalidAddressError):
        return ("refused",)
    return port.socket.getpeername() if operation != "write" else ("sent",)


@pytest.mark.parametrize("operation", ["write", "connect", "connect and write"])
@pytest.mark.parametrize("interface", ["127.0.0.1", "::1"])
@pytest_twisted.ensureDeferred
async def test_aDatagramGoesWhereTwistedSendsIt(
    reactor: Any, operation: str, interface: str
) -> None:
    """To each host that Twisted takes, as text or bytes."""
    for host in (each for each in HOSTS if each != "<broadcast>"):
        ports = [
            each.listenUDP(0, DatagramProtocol(), interface)
            for each in (reactor, GroupsockReactor(reactor))
        ]
        stock, own = [exchanged(each, operation, host) for each in ports]
        if ("::ffff:", operation) != (str(host)[:7], "write"):  # what fails there is counted here
            assert (host, own) == (host, stock)
        for each in ports:
            await each.stopListening()


@pytest_twisted.ensureDeferred
async def test_thePeerOfAConnectedPortIsKnownHoweverItIsWritten(reactor: Any) -> None:
    """Text and bytes name the same peer; another one is refused."""
    port = GroupsockReactor(reactor).listenUDP(0, DatagramProtocol(), "127.0.0.1")
    port.connect("127.0.0.1", 9)
    host: Any
    for host in ("127.0.0.1", b"127.0.0.1"):
        port.write(b"", (host, 9))
    with pytest.raises(ValueError, match="connected to"):
        port.write(b"", ("127.0.0.2", 9))
    await port.stopListening()


@pytest.mark.parametrize("bindAddress", [("localhost", 0), ("127.1", 0), (b"127.0.0.1", 0)])
@pytest_twisted.ensureDeferred
async def test_aClientBindsWhereTwistedsDoes(reactor: Any, bindAddress: Any) -> None:
    """To a name, a short address or bytes; and it connects to those, too."""
    ours: Any = GroupsockReactor(reactor)
    port = ours.listenTCP(0, echoes(), interface="127.0.0.1")
    for host in ("localhost", "127.0.0.1"):
        clients = Streams()
        connected = clients.next
        ours.connectTCP(host, port.getHost().port, clients, bindAddress=bindAddress)
        stream = await connected
        assert stream.wire.getHost().host == "127.0.0.1"
        stream.wire.loseConnection()
        await stream.lost
    await port.stopListening()


# --- Descriptors -----------------------------------------------------------------------------

OPENINGS = """
import json, os, resource, socket, sys
from twisted.internet import reactor
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.logger import globalLogPublisher
from txgroupsock import GroupsockReactor

any_ = GroupsockReactor(reactor) if sys.argv[1] == "ours" else reactor
limit, spare = 64, int(sys.argv[2])
stream = socket.create_server(("127.0.0.1", 0))
stream.setblocking(False)
datagram = socket.socket(type=socket.SOCK_DGRAM)
datagram.setblocking(False)
near, far = socket.socketpair()
# Twisted keeps a descriptor in reserve from its first TCP port on, whoever opens that.
reactor.listenTCP(0, Factory(), interface="127.0.0.1").stopListening()
reactor.iterate(0.01)
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for each in held[:spare]:
    os.close(each)


class Client(ClientFactory):
    noisy = False
    why = None

    def clientConnectionFailed(self, connector, reason):
        self.why = reason.type.__name__

    clientConnectionLost = clientConnectionFailed


def connect(call):
    factory = Client()
    connector = call(factory)
    while factory.why is None and connector.state == "connecting":
        reactor.iterate(0.01)
    connector.disconnect()
    return factory.why


tls = CertificateOptions()
here = {"interface": "127.0.0.1"}
openings = {
    "listenTCP": lambda: any_.listenTCP(0, Factory(), **here),
    "listenTCP by name": lambda: any_.listenTCP(0, Factory(), interface="localhost"),
    "listenSSL": lambda: any_.listenSSL(0, Factory(), tls, **here),
    "listenUDP": lambda: any_.listenUDP(0, DatagramProtocol()),
    "listenUDP on": lambda: any_.listenUDP(0, DatagramProtocol(), **here),
    "listenUDP on ::1": lambda: any_.listenUDP(0, DatagramProtocol(), "::1"),
    "listenMulticast": lambda: any_.listenMulticast(0, DatagramProtocol(), **here),
    "adoptStreamPort": lambda: any_.adoptStreamPort(stream.fileno(), socket.AF_INET, Factory()),
    "adoptDatagramPort": lambda: any_.adoptDatagramPort(
        datagram.fileno(), socket.AF_INET, DatagramProtocol()
    ),
    "adoptStreamConnection": lambda: any_.adoptStreamConnection(
        near.fileno(), socket.AF_UNIX, Factory.forProtocol(Protocol)
    ),
}
connections = {
    "connectTCP": lambda factory: any_.connectTCP("127.0.0.1", 9, factory),
    "connectTCP from": lambda factory: any_.connectTCP(
        "127.0.0.1", 9, factory, bindAddress=("127.0.0.1", 0)
    ),
    "connectSSL": lambda factory: any_.connectSSL("127.0.0.1", 9, factory, tls),
}
if sys.argv[1] == "ours":
    openings["UDP by interface"] = lambda: any_.listenMulticast(0, DatagramProtocol(), "lo")
    openings["TCP by interface"] = lambda: any_.listenTCP(0, Factory(), interface="lo")
outcomes = {}
for name, call in openings.items():
    try:
        port = call()
        outcome = "opened"
        getattr(port, "stopListening", getattr(port, "loseConnection", None))()
        while port in reactor.getReaders():
            reactor.iterate(0.01)
        reactor.iterate(0.01)
    except Exception as error:
        cause = getattr(error, "socketError", error)
        outcome = [type(error).__name__, getattr(cause, "errno", None)]
    outcomes[name] = outcome
for name, call in connections.items():
    outcomes[name] = connect(call)
for each in held[spare:]:
    os.close(each)
print(json.dumps(outcomes))
"""


def outcomes(spare: int) -> list[dict[str, Any]]:
    """
    What each way to open something comes to in a process that has so many descriptors left: with
    Twisted's reactor, and with ours.
    """
    command = [sys.executable, "-W", "ignore", "-c", OPENINGS]
    running = [
        subprocess.Popen([*command, whose, str(spare)], stdout=subprocess.PIPE, text=True)
        for whose in ("stock", "ours")
    ]
    return [json.loads(each.communicate(timeout=50)[0]) for each in running]


@pytest.mark.parametrize("spare", [0, 1])
def test_withoutDescriptorsWhatIsOpenedFailsAsInTwisted(spare: int) -> None:
    """With none left each fails with the same error; with one, all that Twisted opens opens."""
    stock, ours = outcomes(spare)
    assert {name: ours[name] for name in stock} == stock
    for name in ours.keys() - stock.keys():
        assert ours[name] == (["CannotListenError", 24] if spare == 0 else "opened")


# --- The reactor -----------------------------------------------------------------------------


def test_whatIsSetOnItReachesTheReactor() -> None:
    """Such as a clock of one's own; what is its own, or is replaced here, stays here."""
    inner = MemoryReactorClock()
    ours: Any = GroupsockReactor(inner)
    ours.seconds = lambda: 7.0
    ours.ofTheProgram = "kept"
    ours.keepAlive = OWN
    assert (inner.seconds(), inner.ofTheProgram) == (7.0, "kept")  # type: ignore[attr-defined]
    assert not hasattr(inner, "keepAlive")
    del ours.ofTheProgram
    del ours.seconds
    assert not hasattr(inner, "ofTheProgram")
    inner.advance(1)
    assert ours.seconds() == inner.seconds() == 1


def test_itCanBePatched() -> None:
    """A method of the reactor's, and one of its own, are replaced for a time."""
    inner = MemoryReactorClock()
    ours: Any = GroupsockReactor(inner)
    with mock.patch.object(ours, "callLater"):
        assert ours.callLater(1, print) is vars(inner)["callLater"].return_value
    with mock.patch.object(ours, "listenTCP", return_value="port"):
        assert ours.listenTCP(1, None) == "port"
    assert ours.callLater(1, print).active()
    assert "listenTCP" not in vars(ours)


def test_aCopyIsAroundTheSameReactor() -> None:
    """And has the same in common; a deep one cannot be, and says why."""
    inner = MemoryReactorClock()
    ours: Any = GroupsockReactor(inner, OWN)
    again = copy.copy(ours)
    assert again is not ours
    assert (again.keepAlive, again.sharedByPorts) == (OWN, ours.sharedByPorts)
    assert again.callLater == inner.callLater
    for attempt in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="one reactor in a process"):
            attempt(ours)
    assert repr(inner) in repr(ours)


# --- Ports and connectors --------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_aConnectorIsTwisteds(reactor: Any) -> None:
    """Its factory is the very one that was given, and what is asked of it works."""
    ours: Any = GroupsockReactor(reactor, OWN)

    class Counting(Streams):
        starts = stops = 0

        def startFactory(self) -> None:
            self.starts += 1

        def stopFactory(self) -> None:
            self.stops += 1

    port = ours.listenTCP(0, echoes(), interface="127.0.0.1")
    clients = Counting()
    connected = clients.next
    connector = ours.connectTCP("127.0.0.1", port.getHost().port, clients)
    assert connector.factory is clients
    assert clients.numPorts == 1
    assert connector.getDestination() == port.getHost()
    stream = await connected
    with pytest.raises(error.NotConnectingError):
        connector.stopConnecting()
    connector.disconnect()
    await stream.lost
    await turn()  # the protocol is told first
    assert (connector.state, clients.starts, clients.stops, clients.numPorts) == (
        *("disconnected", 1, 1),
        0,
    )
    again = clients.next
    connector.connect()
    stream = await again
    assert getSocketKeepAlive(stream.wire.getHandle()) == OWN
    connector.disconnect()
    await stream.lost
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_aConnectorOfTLSHasTwistedsFactory(reactor: Any) -> None:
    """Around the one that was given, as in Twisted."""
    ours: Any = GroupsockReactor(reactor)
    clients = ClientFactory()
    clients.noisy = False
    one, other = [each.connectSSL("127.0.0.1", 9, clients, clientTLS()) for each in (reactor, ours)]
    assert type(one.factory) is type(other.factory)
    assert one.factory.wrappedFactory is other.factory.wrappedFactory is clients
    one.disconnect()
    other.disconnect()


@pytest_twisted.ensureDeferred
async def test_aPortIsTwisteds(reactor: Any) -> None:
    """With its factory and arguments; it logs as Twisted's does, TLS too, and starts again."""
    ours: Any = GroupsockReactor(reactor)
    lines: list[str] = []

    def observe(event: Any) -> None:
        lines.append(log.textFromEventDict(event) or "")

    log.addObserver(observe)
    factory = Factory.forProtocol(Protocol)
    factory.noisy = False
    ports = []
    for each in (reactor, ours):
        tcp = each.listenTCP(0, factory, 7, "127.0.0.1")
        tls = each.listenSSL(0, factory, serverTLS(), 7, "127.0.0.1")
        ports.append((tcp, tls))
    for one, other in zip(*ports, strict=True):
        for name in ("port", "interface", "backlog"):
            assert getattr(one, name) == getattr(other, name)
    assert factory.numPorts == 4
    assert ports[1][0].factory is factory
    numbers = [[each.getHost().port for each in pair] for pair in ports]
    for each in (port for pair in ports for port in pair):
        await each.stopListening()
    ports[1][0].startListening()
    await ports[1][0].stopListening()
    log.removeObserver(observe)
    stock, own = [
        [line.replace(str(number), "N") for number in pair for line in lines if str(number) in line]
        for pair in numbers
    ]
    assert own == stock
    assert any("TLS" in line for line in own)


# --- Importing twice -------------------------------------------------------------------------


def test_theModulesCanBeImportedAnew() -> None:
    """As reloaders do, and Twisted's own tests of plugins; adapters are those of the new ones."""
    program = """
import sys
for _ in range(2):
    import twisted.plugins, txgroupsock
    from twisted.plugins import txgroupsock_plugins
    for name in [each for each in sys.modules if "txgroupsock.ports" in each]:
        del sys.modules[name]
    del sys.modules["twisted.plugins.txgroupsock_plugins"], twisted.plugins.txgroupsock_plugins
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)


def test_aJoinErrorKeepsItsCause() -> None:
    """Also pickled: it says more exactly what was wrong."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        from txgroupsock.ports.memberships import Memberships
        from txgroupsock.primitives import AddressError

        with pytest.raises(AddressError) as caught:
            Memberships(sock).join("10.0.0.1")
    again = pickle.loads(pickle.dumps(JoinError(caught.value)))
    assert isinstance(again.__cause__, AddressError)
