"""The network in memory: faults, the clock, and what a program finds on a host."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Any

import pytest
from zope.interface import implementer

from tests.ports.support import GROUP, V4, Recorder
from tests.testing.conftest import addressOf
from txgroupsock import Groupsock, GroupsockReactor, Run, UDPPort, UnknownInterface
from txgroupsock.interfaces import IArrivalReceiver, IDestinationErrorReceiver, IRunReceiver
from txgroupsock.primitives import Arrival, Destination, listInterfaces
from txgroupsock.testing import MemoryHost, MemoryNetwork, MemorySocket, everyNth

PORT = 5004


@pytest.fixture
def network() -> MemoryNetwork:
    """A network without hosts."""
    return MemoryNetwork()


@pytest.fixture
def hosts(network: MemoryNetwork) -> tuple[MemoryHost, MemoryHost]:
    """Two hosts on one link."""
    return (
        network.host("10.0.0.1", "fd00::1", "fe80::1", name="one"),
        network.host("10.0.0.2", "fd00::2", "fe80::2", name="two"),
    )


def memorySocket(port: UDPPort) -> MemorySocket:
    """The socket of a port, as what it is."""
    made: Any = port.getHandle()
    assert isinstance(made, MemorySocket)
    return made


def pair(hosts: tuple[MemoryHost, MemoryHost]) -> tuple[UDPPort, Recorder]:
    """A port that sends, on the second host, and what one on the first host hears."""
    heard = Recorder()
    hosts[0].reactor.listenUDP(PORT, heard)
    return hosts[1].reactor.listenUDP(0, Recorder()), heard


# Faults


def test_nothingMovesByItself(network: MemoryNetwork, hosts: Any) -> None:
    """A datagram arrives when the network is flushed, and not before."""
    sender, heard = pair(hosts)
    sender.write(b"datagram", ("10.0.0.1", PORT))
    assert heard.payloads == []
    network.flush()
    assert heard.payloads == [b"datagram"]


def test_everyNthIsLost(network: MemoryNetwork, hosts: Any) -> None:
    """Loss chooses datagrams; what was sent and what was lost is kept."""
    network.loss = everyNth(3)
    sender, heard = pair(hosts)
    for number in range(7):
        sender.write(b"%d" % number, ("10.0.0.1", PORT))
    network.flush()
    assert heard.payloads == [b"0", b"1", b"3", b"4", b"6"]
    assert [each.payload for each in network.lost] == [b"2", b"5"]
    assert len(network.sent) == 7


def test_oneInNoneIsRefused() -> None:
    """There is no loss of one datagram in 0."""
    with pytest.raises(ValueError, match="one in 1"):
        everyNth(0)


def test_delayPassesOnTheClock(network: MemoryNetwork, hosts: Any) -> None:
    """Datagrams arrive when their delay is over, so one may overtake another."""
    network.delay = lambda datagram: 0.5 if datagram.payload == b"slow" else 0.1
    sender, heard = pair(hosts)
    sender.write(b"slow", ("10.0.0.1", PORT))
    sender.write(b"quick", ("10.0.0.1", PORT))
    network.reactor.advance(0.09)
    assert heard.payloads == []
    network.reactor.advance(0.02)
    assert heard.payloads == [b"quick"]
    network.reactor.advance(1)
    assert heard.payloads == [b"quick", b"slow"]


def test_whatIsDueHappensAtItsTime(network: MemoryNetwork, hosts: Any) -> None:
    """However far the clock is advanced at once, each call and datagram sees its own time."""
    sender, heard = pair(hosts)
    network.delay = lambda _datagram: 0.25
    times: list[float] = []
    heard.datagramReceived = lambda datagram, addr: times.append(  # type: ignore[method-assign]
        network.reactor.seconds()
    )
    for seconds in (1, 2):
        hosts[1].reactor.callLater(seconds, sender.write, b"tick", ("10.0.0.1", PORT))
    network.reactor.advance(10)
    assert times == [1.25, 2.25]
    assert network.reactor.seconds() == 10


def test_aFullSendBufferQueuesUntilItDrains(network: MemoryNetwork, hosts: Any) -> None:
    """With no room (EAGAIN) the port queues, and sends in order when there is some again."""
    sender, heard = pair(hosts)
    memorySocket(sender).sendRoom = 1
    for payload in (b"1", b"2", b"3"):
        sender.write(payload, ("10.0.0.1", PORT))
    network.flush()
    assert (heard.payloads, sender.statistics.datagramsQueued) == ([b"1"], 2)
    memorySocket(sender).sendRoom = None
    network.flush()
    assert (heard.payloads, sender.statistics.datagramsQueued) == ([b"1", b"2", b"3"], 0)


def test_anyErrnoOnSendingAndReceiving(network: MemoryNetwork, hosts: Any) -> None:
    """A send and a receive fail with the errno that a test asks for; the port goes on."""
    sender, heard = pair(hosts)
    memorySocket(sender).failSends(errno.ENOBUFS)
    sender.write(b"lost", ("10.0.0.1", PORT))
    assert sender.statistics.sendErrors == {errno.ENOBUFS: 1}
    receiver = hosts[0].sockets[0]
    receiver.failReceives(errno.ENETDOWN)
    sender.write(b"heard", ("10.0.0.1", PORT))
    network.flush()
    assert heard.payloads == [b"heard"]


def test_aFullReceiveBufferDrops(network: MemoryNetwork, hosts: Any) -> None:
    """What does not fit into SO_RCVBUF is dropped, and the port's kernelDrops says so."""
    sender, heard = pair(hosts)
    listener: Any = heard.transport
    listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50)
    listener.pauseProducing()
    for _ in range(3):
        sender.write(bytes(60), ("10.0.0.1", PORT))
    network.flush()
    listener.resumeProducing()
    network.flush()
    assert (len(heard.payloads), listener.kernelDrops()) == (1, 2)


def test_runsThatCannotBeSegmentedAreSentOneByOne(network: MemoryNetwork, hosts: Any) -> None:
    """A kernel that refuses UDP_SEGMENT is one that fails the first send with EIO."""
    sender, heard = pair(hosts)
    there = Destination("10.0.0.1", PORT)
    memorySocket(sender).failSends(errno.EIO)
    sender.writeRun(Run(memoryview(b"aabbc"), 2, ("", 0), 0.0), there)
    network.flush()
    assert heard.payloads == [b"aa", b"bb", b"c"]
    assert there.statistics.segmentationRefused == errno.EIO


def test_anEndlessExchangeIsAnError(network: MemoryNetwork, hosts: Any) -> None:
    """Two that answer each other for ever are found out."""
    sender: Any
    heard: Any
    sender, heard = pair(hosts)
    for protocol in (sender.protocol, heard):
        protocol.datagramReceived = protocol.transport.write
    sender.write(b"ping", ("10.0.0.1", PORT))
    with pytest.raises(RuntimeError, match="does not come to rest"):
        network.flush()


# What travels with a datagram


def test_ttlAndDSCPAreSeenOnTheWire(network: MemoryNetwork, hosts: Any) -> None:
    """Each datagram has the TTL and DSCP of its destination, or those of its socket."""
    sender, _ = pair(hosts)
    sender.writeTo(b"both", Destination("10.0.0.1", PORT, ttl=9, dscp=10))
    sender.write(b"unicast", ("10.0.0.1", PORT))
    sender.setTTL(7)
    sender.write(b"multicast", (GROUP[V4], PORT))
    assert [(each.ttl, each.dscp) for each in network.sent] == [(9, 10), (64, 0), (7, 0)]


def test_multicastWithTTL0StaysOnItsHost(network: MemoryNetwork, hosts: Any) -> None:
    """A TTL of 0 reaches members on the sender's own host only."""
    heard = [Recorder(), Recorder()]
    for host, protocol in zip(hosts, heard, strict=True):
        host.reactor.listenMulticast(PORT, protocol).joinGroup(GROUP[V4])
    sender = hosts[0].reactor.listenMulticast(0, Recorder())
    sender.setTTL(0)
    sender.write(b"here", (GROUP[V4], PORT))
    network.flush()
    assert [each.payloads for each in heard] == [[b"here"], []]


@implementer(IArrivalReceiver)
class ArrivalRecorder(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.arrivals: list[Arrival] = []

    def datagramArrived(self, datagram: bytes, arrival: Arrival) -> None:
        self.arrivals.append(arrival)


@pytest.mark.parametrize("destination", ["10.0.0.1", "fd00::1"])
def test_arrivalsAreRecorded(network: MemoryNetwork, hosts: Any, destination: str) -> None:
    """Where, when and by which interface a datagram came is what the kernel would say."""
    family = socket.AF_INET6 if ":" in destination else V4
    protocol = ArrivalRecorder()
    hosts[0].reactor.listenMulticast(PORT, protocol, maxPacketSize=4, family=family)
    sender = hosts[1].reactor.listenMulticast(PORT, Recorder(), family=family)
    network.reactor.advance(1.5)
    sender.write(b"datagram", (destination, PORT))
    network.flush()
    (arrival,) = protocol.arrivals
    assert arrival.sender == (addressOf(hosts[1], family), PORT)
    assert arrival.destination == ipaddress.ip_address(destination)
    assert (arrival.interface, arrival.time, arrival.length) == (hosts[0].index, 1.5, 8)


@implementer(IDestinationErrorReceiver)
class ErrorRecorder(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.errors: list[Any] = []

    def destinationFailed(self, address: tuple[str, int], number: int) -> None:
        self.errors.append((address, number))


@pytest.mark.parametrize("destination", ["10.0.0.1", "fd00::1"])
def test_destinationErrorsAreReported(network: MemoryNetwork, hosts: Any, destination: str) -> None:
    """Nobody on a port of another host is reported to who asks for that (IP_RECVERR)."""
    family = socket.AF_INET6 if ":" in destination else V4
    protocol = ErrorRecorder()
    port = hosts[1].reactor.listenMulticast(0, protocol, family=family)
    port.write(b"nobody", (destination, PORT))
    network.flush()
    assert protocol.errors == [((destination, PORT), errno.ECONNREFUSED)]


def test_broadcastReachesEverybody(network: MemoryNetwork, hosts: Any) -> None:
    """A port that may broadcast reaches every host on its link, its own too."""
    sender, heard = pair(hosts)
    itself = Recorder()
    hosts[1].reactor.listenUDP(PORT, itself)
    sender.setBroadcastAllowed(True)
    sender.write(b"all", ("<broadcast>", PORT))
    network.flush()
    assert heard.payloads == itself.payloads == [b"all"]


@implementer(IRunReceiver)
class RunRecorder(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.runs: list[bytes] = []

    def runReceived(self, run: Run) -> None:
        self.runs.append(bytes(run.data))


def test_protocolsThatTakeRunsGetThem(network: MemoryNetwork, hosts: Any) -> None:
    """A protocol for runs gets each datagram as one; paced reading follows the clock."""
    protocol = RunRecorder()
    hosts[0].reactor.listenMulticast(PORT, protocol)
    sender = hosts[1].reactor.listenMulticast(0, Recorder())
    for number in range(3):
        sender.write(b"%d" % number, ("10.0.0.1", PORT))
        network.reactor.advance(0.0005)
    network.reactor.advance(0.01)
    assert protocol.runs == [b"0", b"1", b"2"]


# Hosts


def test_aReactorOfOnesOwnTakesTheSocketsOfAHost(network: MemoryNetwork) -> None:
    """A GroupsockReactor with a host's openSocket has its ports there; so has one around it."""
    host = network.host("10.0.0.1")
    reactor = GroupsockReactor(network.reactor, openSocket=host.openSocket)
    for each in (reactor, GroupsockReactor(reactor)):
        each.listenMulticast(0, Recorder(), "10.0.0.1")
    assert len(host.sockets) == 2


def test_aHostIsMadeOnce(network: MemoryNetwork) -> None:
    """Addresses name a host: asked for again it is the same one."""
    host = network.host("10.0.0.1", "fd00::1")
    assert network.host("10.0.0.1") is host
    with pytest.raises(ValueError, match=r"10\.0\.0\.1 has the address 10\.0\.0\.1"):
        network.host("10.0.0.1", "10.0.0.9")
    with pytest.raises(ValueError, match="cannot be the address"):
        network.host("239.1.1.1")
    assert network.host() is not network.host()


def test_whatAHostLacksIsSaid(network: MemoryNetwork) -> None:
    """A host without interfaces, or without an address of a kind, says so."""
    with pytest.raises(UnknownInterface, match="none but lo"):
        _ = network.host().ipv4
    with pytest.raises(UnknownInterface, match="none of that kind"):
        _ = network.host("10.0.0.1").linkLocal


def test_insideAHostItsInterfacesAreMeant(network: MemoryNetwork) -> None:
    """Names, indexes and addresses stand for the interfaces of the host that was entered."""
    host = network.host("10.0.0.1")
    second = host.addInterface("10.0.1.1", "fd00:1::1", link="other")
    far = network.host("10.9.9.9")
    outside = [each.name for each in listInterfaces()]
    with host:
        assert [each.name for each in listInterfaces()] == ["lo", "eth0", "eth1"]
        with far:
            assert [each.name for each in listInterfaces()] == ["lo", "eth0"]
        assert second in listInterfaces()
    assert [each.name for each in listInterfaces()] == outside


def test_aGroupIsJoinedOnTheInterfaceNamed(network: MemoryNetwork) -> None:
    """Of two links, a group is heard on the one where it was joined, and sent where one says."""
    host = network.host("10.0.0.1")
    host.addInterface("10.0.1.1", link="other")
    peers = [network.host("10.0.0.2"), network.host()]
    peers[1].addInterface("10.0.1.2", link="other")
    heard = Recorder()
    port = host.reactor.listenMulticast(PORT, heard)
    with host:
        port.joinGroup(GROUP[V4], "eth1")
        port.setOutgoingInterface("10.0.1.1")
        assert port.getOutgoingInterface() == "10.0.1.1"
    back = [Recorder(), Recorder()]
    for peer, protocol in zip(peers, back, strict=True):
        sender = peer.reactor.listenMulticast(PORT, protocol)
        sender.joinGroup(GROUP[V4])
        sender.write(str(peer.ipv4).encode(), (GROUP[V4], PORT))
    network.flush()
    assert heard.payloads == [b"10.0.1.2"]
    port.write(b"to eth1", (GROUP[V4], PORT))
    network.flush()
    assert network.sent[-1].source == "10.0.1.1"
    assert [b"to eth1" in each.payloads for each in back] == [False, True]


def test_whatAProgramDoesIsInsideItsHost(network: MemoryNetwork) -> None:
    """Protocols and delayed calls name interfaces without anybody entering the host for them."""
    host = network.host("10.0.0.1", name="one")
    joined: list[Any] = []

    class Joins(Recorder):
        transport: UDPPort

        def startProtocol(self) -> None:
            self.transport.joinGroup(GROUP[V4], "eth0").addCallback(joined.append)

        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            self.transport.leaveGroup(GROUP[V4], "10.0.0.1").addCallback(joined.append)

    port = host.reactor.listenMulticast(PORT, Joins())
    port.write(b"to itself", ("127.0.0.1", PORT))
    host.reactor.callLater(1, lambda: joined.extend(listInterfaces()))
    network.reactor.advance(1)
    assert [getattr(each, "interface", None) for each in joined[:2]] == [2, 2]
    assert [each.name for each in joined[2:]] == ["lo", "eth0"]


def test_aGroupsockRunsInMemory(network: MemoryNetwork, hosts: Any) -> None:
    """LIVE555's Groupsock receives and sends there too."""
    received: list[bytes] = []
    one, two = hosts
    with one:
        groupsock = Groupsock(one.reactor, GROUP[V4], PORT)
        groupsock.received = lambda datagram, sender: received.append(datagram)
    sender = two.reactor.listenMulticast(PORT, Recorder())
    sender.write(b"in", (GROUP[V4], PORT))
    network.flush()
    assert received == [b"in"]
    groupsock.addDestination("10.0.0.2", PORT, 1)
    groupsock.output(b"out")
    groupsock.close()
    network.flush()
    assert sender.protocol.payloads == [b"out"]
    assert [each.host for each in network.sockets] == [two]


def test_reusedPortsDealUnicastOut(network: MemoryNetwork, hosts: Any) -> None:
    """With SO_REUSEPORT, each sender's unicast goes to one socket, and not all to the same."""
    heard = [Recorder(), Recorder()]
    for each in heard:
        hosts[0].reactor.listenMulticast(PORT, each, listenMultiple=True, reusePort=True)
    for number in range(8):
        sender = hosts[1].reactor.listenUDP(0, Recorder())
        sender.write(b"%d" % number, ("10.0.0.1", PORT))
    network.flush()
    counts = [len(each.payloads) for each in heard]
    assert sum(counts) == 8
    assert all(counts)


# The socket itself


def test_aSocketRefusesAsTheKernelDoes(hosts: Any) -> None:
    """Each mistake has the errno that the kernel gives it."""
    one, _ = hosts
    with one.socket() as sock, one.socket(socket.AF_INET6) as six:
        for number, call in (
            (errno.EDESTADDRREQ, lambda: sock.send(b"x")),
            (errno.ENOTCONN, sock.getpeername),
            (errno.EINVAL, lambda: sock.sendto(b"x", ("10.0.0.2", 0))),
            (errno.EACCES, lambda: sock.sendto(b"x", ("<broadcast>", 1))),
            (errno.EMSGSIZE, lambda: sock.sendto(bytes(65508), ("10.0.0.2", 1))),
            (errno.EADDRNOTAVAIL, lambda: sock.bind(("10.0.0.9", 1))),
            (errno.ENOPROTOOPT, lambda: sock.setsockopt(socket.IPPROTO_IP, 250, 1)),
            (errno.ENOPROTOOPT, lambda: sock.getsockopt(socket.IPPROTO_IP, 250)),
            (errno.EINVAL, lambda: sock.sendmsg([b"x"], [(9, 9, b"")], 0, ("10.0.0.2", 1))),
            (errno.EINVAL, lambda: six.bind(("fe80::1", 1))),
            (errno.EINVAL, lambda: six.sendto(b"x", ("fe80::2", 1))),
            (errno.ENODEV, lambda: six.sendto(b"x", ("ff02::2", 1, 0, 9))),
            (errno.EPROTONOSUPPORT, lambda: one.socket(V4, socket.SOCK_STREAM)),
        ):
            with pytest.raises(OSError) as refused:  # noqa: PT011 - the errno is compared
                call()
            assert refused.value.errno == number
        for wrong in ("host.example", "fd00::2"):
            with pytest.raises(socket.gaierror):
                sock.sendto(b"x", (wrong, 1))
        with pytest.raises(OverflowError):
            sock.sendto(b"x", ("10.0.0.2", 65536))
    assert sock.fileno() == -1
    with pytest.raises(OSError, match="Bad file"):
        sock.sendto(b"x", ("10.0.0.2", 1))


def test_aSocketTwiceBoundIsRefused(hosts: Any) -> None:
    """A socket is bound once."""
    with hosts[0].socket() as sock:
        sock.bind(("", 0))
        with pytest.raises(OSError, match="Invalid"):
            sock.bind(("", 0))
        assert sock.getsockname()[1] > 0


def test_aConnectedSocketHearsItsPeerOnly(network: MemoryNetwork, hosts: Any) -> None:
    """Connecting chooses an address to send from, and who is heard."""
    one, two = hosts
    with one.socket() as sock, two.socket() as peer, two.socket() as stranger:
        peer.bind(("", PORT))
        sock.connect(("10.0.0.2", PORT))
        assert sock.getsockname()[0] == "10.0.0.1"
        assert sock.getpeername() == ("10.0.0.2", PORT)
        stranger.sendto(b"stranger", sock.getsockname())
        peer.sendto(b"peer", sock.getsockname())
        network.flush()
        buffer = bytearray(2)
        assert sock.recvfrom_into(buffer) == (2, ("10.0.0.2", PORT))
        assert buffer == b"pe"
        with pytest.raises(BlockingIOError):
            sock.recv(10)
