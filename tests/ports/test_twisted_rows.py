"""What Twisted 26.10's UDP and multicast ports get wrong is right here, defect by defect."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
from ipaddress import ip_address
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, MessageLengthError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from tests.ports.support import (
    GROUP,
    IP_RECVERR,
    LEVEL,
    LOOPBACK,
    ONE,
    OTHER_GROUP,
    SSM_GROUP,
    TWO,
    V4,
    V6,
    WILDCARD,
    Listen,
    OpenSocket,
    Recorder,
    addressOf,
    failing,
    openFake,
    turn,
)
from txgroupsock import UDPPort
from txgroupsock.ports.sender import _Waiting
from txgroupsock.primitives import Membership, TransferError, setReceiveBufferTo
from txgroupsock.primitives.constants import LINUX
from txgroupsock.testing.namespaces import Namespace

# What the fixture `far` has made the number of eth1, and the ways to name that interface.
ETH1 = 1001
BY_NAME_OR_INDEX = ["eth1", ETH1, str(ETH1)]
BY_IPV4 = ["10.0.1.1", ip_address("10.0.1.1")]
BY_IPV6 = ["fd00:1::1", "fe80::1%eth1", ip_address("fd00:1::1")]


def index(name: str) -> int:
    """The index of an interface of the network that the test is in."""
    return socket.if_nametoindex(name)


def multicastInterfaceOf(sock: socket.socket) -> int:
    """The index that IP_MULTICAST_IF or IPV6_MULTICAST_IF holds."""
    if sock.family == V6:
        return sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF)
    # Linux gives no more than the address for IPv4.
    address = socket.inet_ntoa(sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, 4))
    return {"10.0.0.1": index("eth0"), "10.0.1.1": ETH1, "0.0.0.0": 0}[address]


class TestSSM:
    @pytest_twisted.ensureDeferred
    async def test_onlyTheChosenSourceIsHeard(
        self,
        multicastLoopback: Namespace,
        listen: Listen,
        openSocket: OpenSocket,
        family: socket.AddressFamily,
    ) -> None:
        """A group joined from one source delivers that one's datagrams and no other's."""
        protocol = Recorder()
        port = listen(protocol, WILDCARD[family])
        await port.joinSourceGroup(SSM_GROUP[family], TWO[family], "lo")
        group = (SSM_GROUP[family], port.getHost().port)
        for host in (ONE, TWO):
            sender = openSocket(host[family])
            loop = index("lo") if family == V6 else socket.inet_aton("127.0.0.1")
            name = socket.IPV6_MULTICAST_IF if family == V6 else socket.IP_MULTICAST_IF
            sender.setsockopt(LEVEL[family], name, loop)
            sender.sendto(host[family].encode(), group)
        payload, (host_, _port) = await protocol.nextDatagram()
        assert (payload.decode(), host_) == (TWO[family], TWO[family])
        assert protocol.payloads == []


class TestInterfaceOfMembership:
    """Rows "v4 interface" and "v6 interface"."""

    @pytest.mark.parametrize("interface", BY_NAME_OR_INDEX + BY_IPV4, ids=repr)
    @pytest_twisted.ensureDeferred
    async def test_IPv4(
        self, far: Namespace, namespace: Namespace, listen: Listen, interface: Any
    ) -> None:
        """An IPv4 group is joined and left on an interface given by name, index or address."""
        port = listen(Recorder(), "0.0.0.0")
        membership = await port.joinGroup(GROUP[V4], interface)
        assert membership == Membership(ip_address(GROUP[V4]), ETH1)
        assert joinedOn(namespace, V4) == {"eth1"}
        await port.leaveGroup(GROUP[V4], interface)
        assert joinedOn(namespace, V4) == set()

    @pytest.mark.parametrize("interface", BY_NAME_OR_INDEX + BY_IPV6, ids=repr)
    @pytest_twisted.ensureDeferred
    async def test_IPv6(
        self, far: Namespace, namespace: Namespace, listen: Listen, interface: Any
    ) -> None:
        """An IPv6 group is joined and left on an interface by name, index, address or scope."""
        port = listen(Recorder(), "::")
        membership = await port.joinGroup(GROUP[V6], interface)
        assert membership == Membership(ip_address(GROUP[V6]), ETH1)
        assert joinedOn(namespace, V6) == {"eth1"}
        await port.leaveGroup(GROUP[V6], interface)
        assert joinedOn(namespace, V6) == set()

    @pytest_twisted.ensureDeferred
    async def test_scopeOfTheGroup(
        self, far: Namespace, namespace: Namespace, listen: Listen
    ) -> None:
        """An IPv6 group may name its interface itself, and goes before the port's own."""
        port = listen(Recorder(), "::%eth0")
        await port.joinGroup("ff02::1234%eth1")
        assert [each.interface for each in port.getMemberships()] == [ETH1]

    @pytest_twisted.ensureDeferred
    async def test_everyInterface(
        self,
        far: Namespace,
        namespace: Namespace,
        listen: Listen,
        family: socket.AddressFamily,
    ) -> None:
        """One port joins a group on several interfaces, and leaves them one by one."""
        port = listen(Recorder(), WILDCARD[family])
        for name in ("eth0", "eth1"):
            await port.joinGroup(GROUP[family], name)
        assert joinedOn(namespace, family) == {"eth0", "eth1"}
        await port.leaveGroup(GROUP[family], "eth0")
        assert joinedOn(namespace, family) == {"eth1"}

    @pytest_twisted.ensureDeferred
    async def test_thePortsOwn(
        self,
        far: Namespace,
        namespace: Namespace,
        listen: Listen,
        family: socket.AddressFamily,
    ) -> None:
        """A port that listens on an interface joins groups there when none is named."""
        port = listen(Recorder(), "eth1", family=family)
        await port.joinGroup(GROUP[family])
        assert joinedOn(namespace, family) == {"eth1"}


def joinedOn(namespace: Namespace, family: socket.AddressFamily) -> set[str]:
    """The interfaces on which some socket in a namespace has joined C{GROUP}."""
    shown = namespace.run("ip", "-4" if family == V4 else "-6", "maddress", "show")
    found, name = set(), ""
    for line in shown.splitlines():
        if not line.startswith("\t"):
            name = line.split()[1]
        elif line.split()[1] == GROUP[family]:
            found.add(name)
    return found


class TestOutgoingInterface:
    @pytest.mark.parametrize("interface", BY_NAME_OR_INDEX, ids=repr)
    @pytest_twisted.ensureDeferred
    async def test_byNameOrIndex(
        self, far: Namespace, listen: Listen, family: socket.AddressFamily, interface: Any
    ) -> None:
        """Multicast leaves by an interface given by name or index, in both families."""
        port = listen(Recorder(), WILDCARD[family])
        assert await port.setOutgoingInterface(interface) == 1
        assert multicastInterfaceOf(port.getHandle()) == ETH1
        assert port.getOutgoingInterface() == ("10.0.1.1" if family == V4 else ETH1)

    @pytest.mark.parametrize("interface", BY_IPV4 + BY_IPV6, ids=repr)
    @pytest_twisted.ensureDeferred
    async def test_byAddress(self, far: Namespace, listen: Listen, interface: Any) -> None:
        """Multicast leaves by the interface that has an address."""
        port = listen(Recorder(), WILDCARD[V6 if ":" in str(interface) else V4])
        await port.setOutgoingInterface(interface)
        assert multicastInterfaceOf(port.getHandle()) == ETH1

    @pytest_twisted.ensureDeferred
    async def test_byTheRoutes(
        self, far: Namespace, listen: Listen, family: socket.AddressFamily
    ) -> None:
        """0 leaves it to the routing table again."""
        port = listen(Recorder(), "eth1", family=family)
        await port.setOutgoingInterface(0)
        assert multicastInterfaceOf(port.getHandle()) == 0
        assert port.getOutgoingInterface() == ("0.0.0.0" if family == V4 else 0)

    @pytest_twisted.ensureDeferred
    async def test_itIsUsed(
        self, far: Namespace, listen: Listen, openSocket: OpenSocket, family: socket.AddressFamily
    ) -> None:
        """A host on the other side of the chosen interface gets what is sent to a group."""
        with far:
            receiver = openSocket(WILDCARD[family])
            packed = socket.inet_pton(family, GROUP[family])
            if family == V4:
                request = struct.pack("@4s4si", packed, bytes(4), index("eth1"))
                receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            else:
                request = struct.pack("@16sI", packed, index("eth1"))
                receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        port = listen(Recorder(), WILDCARD[family])
        await port.setOutgoingInterface("eth1")
        port.write(b"by eth1", (GROUP[family], receiver.getsockname()[1]))
        assert receiver.recv(100) == b"by eth1"


class TestTTL:
    def test_isSetInBothFamilies(self, listen: Listen, family: socket.AddressFamily) -> None:
        """What setTTL sets is IP_MULTICAST_TTL or IPV6_MULTICAST_HOPS, and getTTL reads it."""
        port = listen(Recorder(), LOOPBACK[family])
        name = socket.IP_MULTICAST_TTL if family == V4 else socket.IPV6_MULTICAST_HOPS
        assert port.getTTL() == 1
        port.setTTL(7)
        assert port.getHandle().getsockopt(LEVEL[family], name) == 7
        assert port.getTTL() == 7

    @pytest.mark.parametrize("ttl", [-1, 256])
    def test_outOfRange(self, listen: Listen, family: socket.AddressFamily, ttl: int) -> None:
        """What is no TTL is an OSError, and changes nothing."""
        port = listen(Recorder(), LOOPBACK[family])
        with pytest.raises(OSError, match="from 0 to 255"):
            port.setTTL(ttl)
        assert port.getTTL() == 1


@pytest.mark.skipif(not LINUX, reason="elsewhere a socket hears only groups that it joined")
class TestMulticastAll:
    @pytest_twisted.ensureDeferred
    async def test_groupsOfOthersAreNotHeard(
        self,
        multicastLoopback: Namespace,
        listen: Listen,
        openSocket: OpenSocket,
        family: socket.AddressFamily,
    ) -> None:
        """A port hears no group that only another socket joined, before and after it joins one."""
        other = listen(Recorder(), WILDCARD[family], listenMultiple=True)
        await other.joinGroup(OTHER_GROUP[family], "lo")
        protocol = Recorder()
        number = other.getHost().port
        port = listen(protocol, WILDCARD[family], number, listenMultiple=True)
        sender = openSocket(ONE[family])
        sender.sendto(b"before", (OTHER_GROUP[family], number))
        await port.joinGroup(GROUP[family], "lo")
        sender.sendto(b"after", (OTHER_GROUP[family], number))
        sender.sendto(b"own", (GROUP[family], number))
        assert await protocol.next() == b"own"
        assert protocol.payloads == []


class TestScope:
    """Rows "scope on bind", "on connect", "on receive" and "on write"."""

    def test_onBind(self, far: Namespace, listen: Listen) -> None:
        """A port is bound to a link-local address with its scope, and says so."""
        host = listen(Recorder(), "fe80::1%eth1").getHost()
        assert isinstance(host, IPv6Address)
        assert (host.host, host.scopeID) == ("fe80::1", ETH1)

    @pytest_twisted.ensureDeferred
    async def test_onConnect(self, far: Namespace, listen: Listen, openSocket: OpenSocket) -> None:
        """A port connects to a link-local address with its scope, and is answered."""
        with far:
            peer = openSocket("fe80::2%eth1")
        protocol = Recorder()
        port = listen(protocol, "::")
        port.connect("fe80::2%eth1", peer.getsockname()[1])
        port.write(b"question")
        question, sender = peer.recvfrom(100)
        peer.sendto(b"answer", sender)
        answer, (host, _port) = await protocol.nextDatagram()
        assert (question, answer, host) == (b"question", b"answer", "fe80::2%eth1")

    @pytest.mark.parametrize("link", ["eth0", "eth1"])
    @pytest_twisted.ensureDeferred
    async def test_onReceiveAndWrite(
        self, far: Namespace, listen: Listen, openSocket: OpenSocket, link: str
    ) -> None:
        """A sender's address has its scope, so the answer leaves by the link it came from."""
        with far:
            peer = openSocket(f"fe80::2%{link}")
            scope = index(link)
        protocol = Recorder()
        port = listen(protocol, "::")
        peer.sendto(b"question", ("fe80::1", port.getHost().port, 0, scope))
        _, sender = await protocol.nextDatagram()
        assert sender == (f"fe80::2%{link}", peer.getsockname()[1])
        port.write(b"answer", sender)
        assert peer.recv(100) == b"answer"
        assert port.statistics.datagramsSent == 1

    @pytest_twisted.ensureDeferred
    async def test_fourFields(self, far: Namespace, listen: Listen, openSocket: OpenSocket) -> None:
        """A destination may be all four fields of an IPv6 address, as the socket module has it."""
        with far:
            peer = openSocket("fe80::2%eth1")
        port = listen(Recorder(), "::")
        port.write(b"x", ("fe80::2", peer.getsockname()[1], 0, ETH1))
        assert peer.recv(100) == b"x"

    @pytest_twisted.ensureDeferred
    async def test_ofAConnectedPeer(
        self, far: Namespace, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """A connected port may write to its peer however its scope was given."""
        with far:
            peer = openSocket("fe80::2%eth1")
        number = peer.getsockname()[1]
        port = listen(Recorder(), "::")
        port.connect(f"fe80::2%{index('eth1')}", number)
        port.write(b"as connected", (f"fe80::2%{index('eth1')}", number))
        port.write(b"as received", ("fe80::2%eth1", number))
        assert [peer.recv(100), peer.recv(100)] == [b"as connected", b"as received"]


class TestTruncation:
    @pytest_twisted.ensureDeferred
    async def test_largerIsDropped(self, listen: Listen, openSocket: OpenSocket) -> None:
        """A datagram over maxPacketSize is not delivered cut, but counted, and logged once."""
        protocol = Recorder()
        with capturedLogs() as events:
            port = listen(protocol, maxPacketSize=100)
            sender = openSocket()
            for payload in (bytes(101), bytes(20_000), bytes(100)):
                sender.sendto(payload, addressOf(port))
            assert await protocol.next() == bytes(100)
        assert protocol.payloads == []
        assert port.statistics.datagramsTruncated == 2
        assert port.statistics.datagramsReceived == 1
        assert port.statistics.bytesReceived == 100
        (event,) = [each for each in events if "maxPacketSize" in (each["log_format"] or "")]
        assert (event["most"], event["size"]) == (100, 101)
        assert event["sender"] == sender.getsockname()

    @pytest_twisted.ensureDeferred
    async def test_theLargestArrivesWhole(self, listen: Listen, openSocket: OpenSocket) -> None:
        """By default a datagram of 65,507 bytes, the most that UDP carries, arrives whole."""
        protocol = Recorder()
        port = listen(protocol)
        payload = os.urandom(65507)
        openSocket().sendto(payload, addressOf(port))
        assert await protocol.next() == payload

    @pytest.mark.parametrize("size", [0, -1])
    def test_nothingFitsInNothing(self, listen: Listen, size: int) -> None:
        """A maxPacketSize without room for a byte is a ValueError."""
        with pytest.raises(ValueError, match="at least 1"):
            listen(Recorder(), maxPacketSize=size)


class TestFairness:
    @pytest_twisted.ensureDeferred
    async def test_emptyDatagrams(
        self, reactor: Any, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """However many empty datagrams wait, others get their turn in between."""
        protocol = Recorder()
        port = listen(protocol)
        port.maxDatagrams = 16  # type: ignore[misc]  # a smaller bound for this port alone
        queued = self.fill(port, openSocket, b"", 100)
        turns = await self.turns(reactor, protocol, queued)
        assert max(turns) <= 16
        assert len(turns) >= queued / 16

    @pytest_twisted.ensureDeferred
    async def test_manyDatagrams(
        self, reactor: Any, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """By default, a turn of the reactor reads at most 1,024 datagrams."""
        protocol = Recorder()
        port = listen(protocol)
        granted = setReceiveBufferTo(port.getHandle(), 4 * 1024 * 1024, force=True)
        if granted.isClamped:
            pytest.skip(granted.advice)
        queued = self.fill(port, openSocket, b"", 3000)
        turns = await self.turns(reactor, protocol, queued)
        assert max(turns) == 1024
        assert sum(turns) == 3000

    @pytest_twisted.ensureDeferred
    async def test_bytes(self, reactor: Any, listen: Listen, openSocket: OpenSocket) -> None:
        """A turn of the reactor reads no more once it has read maxThroughput bytes."""
        protocol = Recorder()
        port = listen(protocol)
        port.maxThroughput = 10_000  # type: ignore[misc]  # a smaller bound for this port alone
        queued = self.fill(port, openSocket, bytes(3000), 40)
        turns = await self.turns(reactor, protocol, queued)
        assert max(turns) == 4  # the one that reaches the bound is the last
        assert sum(turns) == queued

    @staticmethod
    def fill(port: UDPPort, openSocket: OpenSocket, payload: bytes, count: int) -> int:
        """Have so many datagrams wait in the kernel; how many do."""
        sender = openSocket()
        for _ in range(count):
            sender.sendto(payload, addressOf(port))
        drops = port.kernelDrops()
        assert drops is not None
        return count - drops

    @staticmethod
    async def turns(reactor: Any, protocol: Recorder, total: int) -> list[int]:
        """How many datagrams arrive between two calls that are due at once, until all have."""
        counts: list[int] = []
        done: Deferred[None] = Deferred()

        def look() -> None:
            arrived = len(protocol.datagrams.pending)
            if arrived > sum(counts):
                counts.append(arrived - sum(counts))
            if arrived == total:
                done.callback(None)
            else:
                reactor.callLater(0, look)

        look()
        await done
        return counts


class TestWriteErrors:
    @pytest_twisted.ensureDeferred
    async def test_EAGAIN(
        self, far: Namespace, namespace: Namespace, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """What the send buffer has no room for is sent, in order, as soon as it has."""
        with far:
            receiver = openSocket("10.0.0.2")
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024 * 1024)
        # Nobody says where 10.0.0.2 is...
        far.run("ip", "link", "set", "eth0", "arp", "off")
        port = listen(Recorder(), "10.0.0.1")
        port.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        payloads = [b"%d" % number + bytes(500) for number in range(50)]
        for payload in payloads:
            port.write(payload, receiver.getsockname())
        waiting = port.statistics.datagramsQueued
        assert 0 < waiting < 50
        assert port.statistics.datagramsSent == 50 - waiting
        assert port.statistics.datagramsDropped == 0
        # ...so somebody else does.
        (link,) = json.loads(far.run("ip", "-j", "link", "show", "eth0"))
        namespace.run(
            *("ip", "neigh", "replace", "10.0.0.2", "lladdr", link["address"], "dev", "eth0")
        )
        await self.sent(port)
        assert [receiver.recv(1000) for _ in payloads] == payloads
        assert port.statistics.datagramsSent == 50

    @staticmethod
    async def sent(port: UDPPort) -> None:
        """All that waits has been sent."""
        done: Deferred[None] = Deferred()
        doWrite = port.doWrite

        def watched() -> None:
            doWrite()
            if not port.statistics.datagramsQueued:
                done.callback(None)

        port.doWrite = watched  # type: ignore[method-assign]  # the reactor looks it up each time
        await done

    def test_EAGAINWithoutEnd(self) -> None:
        """The queue of what waits is bounded; beyond that, datagrams are counted as dropped."""
        port = openFake(sends=[])
        for _ in range(1024 + 3):
            port.write(b"x", ("192.0.2.1", 9))
        assert port.statistics.datagramsQueued == 1024
        assert port.statistics.datagramsDropped == 3
        assert port.statistics.sendErrors == {errno.EAGAIN: 3}

    @pytest.mark.parametrize(
        "number",
        [
            errno.ENOBUFS,
            errno.ENOMEM,
            errno.ENETUNREACH,
            errno.ENETDOWN,
            errno.EHOSTUNREACH,
            errno.EHOSTDOWN,
            errno.EPERM,
            errno.ENODEV,
            errno.EADDRNOTAVAIL,
        ],
        ids=errno.errorcode.get,
    )
    def test_whatTheNetworkDoes(self, number: int) -> None:
        """What the network does to a datagram is counted and logged once, not raised or queued."""
        port = openFake(sends=failing(number, number))
        with capturedLogs() as events:
            for _ in range(2):
                port.write(b"x", ("192.0.2.1", 9))
        assert port.statistics.datagramsQueued == 0
        assert port.statistics.datagramsDropped == 2
        assert port.statistics.sendErrors == {number: 2}
        assert len(events) == 1
        assert os.strerror(number) in str(events[0]["error"])

    def test_ENETUNREACH(self, namespace: Namespace, listen: Listen) -> None:
        """A datagram that no route leads to is counted, not raised."""
        port = listen(Recorder())
        port.write(b"x", ("192.0.2.1", 9))
        assert port.statistics.sendErrors == {errno.ENETUNREACH: 1}

    def test_EHOSTUNREACH(self, namespace: Namespace, listen: Listen) -> None:
        """A datagram that a route refuses as unreachable is counted, not raised."""
        namespace.run("ip", "route", "add", "unreachable", "192.0.2.0/24")
        port = listen(Recorder(), "0.0.0.0")
        port.write(b"x", ("192.0.2.1", 9))
        assert port.statistics.sendErrors == {errno.EHOSTUNREACH: 1}

    def test_EINVAL(self, listen: Listen) -> None:
        """What the kernel finds invalid is raised as an OSError with advice."""
        port = listen(Recorder(), "0.0.0.0")
        with pytest.raises(TransferError, match="is the port 0") as caught:
            port.write(b"x", ("127.0.0.1", 0))
        assert isinstance(caught.value, OSError)
        assert caught.value.errno == errno.EINVAL

    def test_EACCES(self, multicastLoopback: Namespace, listen: Listen) -> None:
        """A broadcast that was not allowed is raised, with what to do about it."""
        multicastLoopback.run("ip", "addr", "add", "10.0.0.1/24", "brd", "10.0.0.255", "dev", "lo")
        port = listen(Recorder(), "0.0.0.0")
        with pytest.raises(TransferError, match="SO_BROADCAST") as caught:
            port.write(b"x", ("10.0.0.255", 9))
        assert caught.value.errno == errno.EACCES

    @pytest.mark.parametrize("isConnected", [False, True])
    def test_EMSGSIZE(self, listen: Listen, isConnected: bool) -> None:
        """A datagram that is larger than any can be is a MessageLengthError."""
        port = listen(Recorder())
        if isConnected:
            port.connect("127.0.0.1", 9)
        with pytest.raises(MessageLengthError, match="65508 bytes"):
            port.write(bytes(65508), ("127.0.0.1", 9))
        assert port.statistics.datagramsSent == 0


class TestReadErrors:
    @pytest.mark.parametrize(
        "number",
        sorted(errno.errorcode.keys() - {errno.EBADF, errno.ENOTSOCK}),
        ids=errno.errorcode.get,
    )
    def test_oneError(self, number: int) -> None:
        """Whatever the errno, the port stays open and reads what comes after it at once."""
        reactor, protocol = MemoryReactorClock(), Recorder()
        port = openFake(reactor, [*failing(number), b"after"], protocol=protocol)
        if number == errno.EAGAIN:
            port.doRead()
        assert port.doRead() is None
        assert port.connected
        assert protocol.payloads == [b"after"]
        assert port.statistics.receiveErrors == ({} if number == errno.EAGAIN else {number: 1})
        assert reactor.getReaders() == [port]

    @pytest.mark.parametrize(
        "number",
        sorted(errno.errorcode.keys() - {errno.EBADF, errno.ENOTSOCK, errno.EAGAIN}),
        ids=errno.errorcode.get,
    )
    def test_errorWithoutEnd(self, number: int) -> None:
        """An errno that comes again and again makes the port read only ten times a second."""
        reactor = MemoryReactorClock()
        port = openFake(reactor, iter(lambda: next(failing(number)), None))
        fake: Any = port.socket
        for _ in range(1000):  # a second of a reactor that always finds the socket readable
            if port in reactor.getReaders():
                assert port.doRead() is None
            reactor.advance(0.001)
        assert port.connected
        assert 10 <= fake.receiveCalls <= 12
        port.connectionLost()
        assert reactor.getDelayedCalls() == []

    def test_theEndOfErrors(self) -> None:
        """Once a datagram arrives, the next error is a first one again."""
        reactor, protocol = MemoryReactorClock(), Recorder()
        number = errno.ENETDOWN
        port = openFake(
            reactor, [*failing(number, number), b"up", *failing(number), b"up"], protocol=protocol
        )
        port.doRead()
        assert reactor.getReaders() == []
        reactor.advance(0.1)
        assert reactor.getReaders() == [port]
        port.doRead()
        assert protocol.payloads == [b"up", b"up"]
        assert reactor.getReaders() == [port]

    def test_isLoggedOnce(self) -> None:
        """An errno is logged the first time."""
        with capturedLogs() as events:
            port = openFake(receives=[*failing(errno.ENETDOWN), b"", *failing(errno.ENETDOWN)])
            port.doRead()
        messages = [event for event in events if "could not receive" in event["log_format"]]
        assert len(messages) == 1

    @pytest.mark.parametrize("number", [errno.EBADF, errno.ENOTSOCK], ids=errno.errorcode.get)
    def test_closedDescriptor(self, number: int) -> None:
        """A descriptor closed by somebody else is a failure, on which the reactor gives it up."""
        protocol = Recorder()
        port = openFake(receives=failing(number), protocol=protocol)
        failure = port.doRead()
        assert failure is not None
        assert failure.check(OSError)
        port.connectionLost(failure)
        assert not port.connected
        assert protocol.calls == ["startProtocol", "stopProtocol"]

    @pytest_twisted.ensureDeferred
    async def test_EHOSTUNREACH(self, far: Namespace, namespace: Namespace, listen: Listen) -> None:
        """A port told by ICMP that a host is unreachable stays open and goes on."""
        protocol = Recorder()
        port = listen(protocol, "10.0.0.1")
        port.getHandle().setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        # The kernel looks for the host, which is not there, only for a moment.
        namespace.sysctl("net.ipv4.neigh.eth0.mcast_solicit", 1)
        namespace.sysctl("net.ipv4.neigh.eth0.retrans_time_ms", 10)
        port.connect("10.0.0.9", 9)
        noted: Deferred[None] = Deferred()
        noteFailure = port._noteFailure

        def watched(error: OSError) -> None:
            noteFailure(error)
            noted.callback(None)

        port._noteFailure = watched  # type: ignore[method-assign]  # to see it called
        port.write(b"x")
        await noted
        assert port.statistics.receiveErrors == {errno.EHOSTUNREACH: 1}
        assert port.connected
        assert protocol.calls == ["startProtocol"]
        port.write(b"y")
        assert port.statistics.datagramsSent == 2

    @pytest_twisted.ensureDeferred
    async def test_errorQueue(self, listen: Listen, openSocket: OpenSocket) -> None:
        """The queue of errors that IP_RECVERR fills does not keep the port busy, nor close it."""
        protocol = Recorder()
        port = listen(protocol)
        port.getHandle().setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        with openSocket() as closed:
            nobody = closed.getsockname()
        for _ in range(3):
            port.write(b"x", nobody)
        reads = 0
        doRead = port.doRead

        def counted() -> Any:
            nonlocal reads
            reads += 1
            return doRead()

        port.doRead = counted  # type: ignore[method-assign]  # to count the calls
        for _ in range(20):  # turns of the reactor
            await turn()
        assert port.connected
        assert reads < 10

    @pytest.mark.parametrize("hasErrorQueues", [False, True])
    def test_noErrorQueue(self, monkeypatch: pytest.MonkeyPatch, hasErrorQueues: bool) -> None:
        """A wake-up for nothing ends, on kernels with error queues and without them."""
        port = openFake()
        if hasErrorQueues:
            port.socket.recvmsg = lambda *_: (b"", [], 0, None)  # type: ignore[method-assign]  # fake
        else:
            monkeypatch.delattr(socket, "MSG_ERRQUEUE")
        assert port.doRead() is None
        assert port.connected


class TestRefused:
    @pytest_twisted.ensureDeferred
    async def test_thePortStaysOpen(
        self, listen: Listen, openSocket: OpenSocket, family: socket.AddressFamily
    ) -> None:
        """A peer that is not there yet is told to the protocol, and talked to once it is.

        Twisted's own port is closed by the ICMP message, on poll and epoll reactors.
        """
        with openSocket(LOOPBACK[family]) as closed:
            peerAddress = closed.getsockname()[:2]
        protocol = Recorder()
        port = listen(protocol, LOOPBACK[family])
        port.connect(*peerAddress)
        for count in (1, 2):
            port.write(b"anybody?")
            await protocol.refusal()
            assert port.statistics.receiveErrors == {errno.ECONNREFUSED: count}
        peer = openSocket(*peerAddress)
        port.write(b"anybody?")
        question, sender = peer.recvfrom(100)
        peer.sendto(b"yes", sender)
        assert await protocol.next() == b"yes"
        assert question == b"anybody?"
        assert protocol.calls == ["startProtocol"]
        assert protocol.refusals.pending == []

    @pytest_twisted.ensureDeferred
    async def test_isToldOnWriting(self, listen: Listen, openSocket: OpenSocket) -> None:
        """Refusal of one datagram, found when writing the next, does not cost that one."""
        peer = openSocket()
        protocol = Recorder()
        port = listen(protocol)
        port.connect(*peer.getsockname())
        number = peer.getsockname()[1]
        peer.close()
        port.write(b"lost")
        again = openSocket(port=number)
        port.write(b"sent")
        assert again.recv(100) == b"sent"
        assert len(protocol.refusals.pending) == 1
        assert port.statistics.sendErrors == {}

    @pytest_twisted.ensureDeferred
    async def test_doesNotSwallowTheNext(self, listen: Listen, openSocket: OpenSocket) -> None:
        """A datagram that waits behind the refusal of another is delivered."""
        peer = openSocket()
        protocol = Recorder()
        port = listen(protocol)
        port.connect(*peer.getsockname())
        peer.sendto(b"farewell", addressOf(port))
        peer.close()
        port.write(b"too late")
        await protocol.refusal()
        assert await protocol.next() == b"farewell"

    @pytest_twisted.ensureDeferred
    async def test_whilePausedWithAQueue(
        self, reactor: Any, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """A port that only waits to write survives a refusal too."""
        with openSocket() as closed:
            peerAddress = closed.getsockname()
        protocol = Recorder()
        port = listen(protocol)
        port.connect(*peerAddress)
        port.pauseProducing()
        port.write(b"lost")
        # As if the kernel had had no room for one more.
        port._sender._enqueue(_Waiting(b"queued", 6, None))
        await TestWriteErrors.sent(port)
        assert port.connected
        assert port.statistics.datagramsSent == 2
        await protocol.refusal()

    @pytest.mark.parametrize("isPaused", [False, True])
    def test_onStopOfTheReactor(self, isPaused: bool) -> None:
        """When the reactor stops and closes everything, the port is closed."""
        protocol = Recorder()
        port = openFake(protocol=protocol, pending=0 if isPaused else errno.ECONNREFUSED)
        if isPaused:
            port.pauseProducing()
            port.write(b"queued", ("192.0.2.1", 9))
        port.connectionLost(Failure(ConnectionLost()))
        assert protocol.calls == ["startProtocol", "stopProtocol"]
        assert not port.connected

    @pytest.mark.parametrize(
        ("reason", "isPaused"),
        [(ConnectionDone, False), (ConnectionLost, False), (ConnectionLost, True)],
    )
    def test_onClosedDescriptor(self, reason: type[Exception], isPaused: bool) -> None:
        """When the reactor finds the descriptor closed, the port is closed."""
        protocol = Recorder()
        port = UDPPort(MemoryReactorClock(), protocol, 0, "127.0.0.1")
        port.startListening()
        if isPaused:
            port.pauseProducing()
        port.getHandle().close()
        port.connectionLost(Failure(reason()))
        assert protocol.calls == ["startProtocol", "stopProtocol"]
        assert not port.connected


@pytest.mark.skipif(not LINUX, reason="the BSDs need SO_REUSEPORT to share a port")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (0, 0)),
        ({"listenMultiple": True}, (1, 0)),
        ({"reusePort": True}, (0, 1)),
        ({"listenMultiple": True, "reusePort": True}, (1, 1)),
    ],
    ids=["neither", "listenMultiple", "reusePort", "both"],
)
def test_listenMultiple(
    listen: Listen, options: dict[str, bool], expected: tuple[int, int]
) -> None:
    """SO_REUSEADDR is what listenMultiple says, and SO_REUSEPORT what reusePort says."""
    sock = listen(Recorder(), **options).getHandle()
    names = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
    assert tuple(sock.getsockopt(socket.SOL_SOCKET, name) for name in names) == expected


@pytest_twisted.ensureDeferred
async def test_listenMultipleHearsEverything(
    multicastLoopback: Namespace,
    listen: Listen,
    openSocket: OpenSocket,
    family: socket.AddressFamily,
) -> None:
    """Each of several ports with listenMultiple gets every multicast datagram."""
    first, second = Recorder(), Recorder()
    number = 0
    for protocol in (first, second):
        port = listen(protocol, WILDCARD[family], number, listenMultiple=True)
        number = port.getHost().port
        await port.joinGroup(GROUP[family], "lo")
    openSocket(ONE[family]).sendto(b"x", (GROUP[family], number))
    assert [await first.next(), await second.next()] == [b"x", b"x"]
