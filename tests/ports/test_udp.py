from __future__ import annotations

import errno
import os
import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, InvalidAddressError
from twisted.internet.interfaces import (
    IListeningPort,
    ILoggingContext,
    IMulticastTransport,
    IPushProducer,
    IReadWriteDescriptor,
    ISystemHandle,
    IUDPTransport,
)
from twisted.internet.protocol import AbstractDatagramProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from zope.interface import Interface
from zope.interface.verify import verifyClass, verifyObject

from tests.ports.support import (
    LOOPBACK,
    V4,
    V6,
    Listen,
    OpenSocket,
    Recorder,
    addressOf,
    openFake,
)
from txgroupsock import GroupsockReactor, PortStatistics, UDPPort
from txgroupsock.interfaces import ISourceMulticastTransport
from txgroupsock.ports import udp
from txgroupsock.primitives import (
    SocketOptionError,
    TransferError,
    UnknownInterface,
    setReceiveBufferTo,
)
from txgroupsock.testing.namespaces import Namespace


@pytest.mark.parametrize(
    "interface",
    [
        IListeningPort,
        IUDPTransport,
        IMulticastTransport,
        ISourceMulticastTransport,
        IReadWriteDescriptor,
        IPushProducer,
        ISystemHandle,
        ILoggingContext,
    ],
    ids=lambda each: each.__name__,
)
def test_interfaces(listen: Listen, interface: type[Interface]) -> None:
    """The port provides everything that these interfaces promise."""
    assert verifyClass(interface, UDPPort)
    assert verifyObject(interface, listen(Recorder()))


class TestLife:
    @pytest_twisted.ensureDeferred
    async def test_stopListening(self, listen: Listen) -> None:
        """What stopListening returns fires when stopProtocol was called and the socket closed."""
        protocol = Recorder()
        port = listen(protocol)
        assert protocol.calls == ["startProtocol"]
        assert protocol.transport is port
        sock = port.getHandle()
        stopping = port.stopListening()
        assert protocol.calls == ["startProtocol"]
        await stopping
        assert protocol.calls == ["startProtocol", "stopProtocol"]
        assert sock.fileno() == port.fileno() == -1
        assert not port.connected

    @pytest_twisted.ensureDeferred
    async def test_stopListeningTwice(self, listen: Listen) -> None:
        """Everybody who stops a port learns when it is closed; the protocol is told once."""
        protocol = Recorder()
        port = listen(protocol)
        first, second = port.stopListening(), port.stopListening()
        await first
        await second
        await port.stopListening()
        assert protocol.calls == ["startProtocol", "stopProtocol"]

    @pytest_twisted.ensureDeferred
    async def test_stopFromWithin(self, listen: Listen, openSocket: OpenSocket) -> None:
        """A protocol that stops its port on a datagram gets no other."""

        class Once(Recorder):
            def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
                super().datagramReceived(datagram, addr)
                stopping.append(port.stopListening())

        stopping: list[Deferred[None]] = []
        protocol = Once()
        port = listen(protocol)
        sender = openSocket()
        for payload in (b"one", b"two"):
            sender.sendto(payload, addressOf(port))
        assert await protocol.next() == b"one"
        await stopping[0]
        assert protocol.payloads == []
        assert len(stopping) == 1

    @pytest_twisted.ensureDeferred
    async def test_nothingIsReadOnceStopped(self, listen: Listen, openSocket: OpenSocket) -> None:
        """A stopped port reads nothing before it is closed, even if told to resume."""
        protocol = Recorder()
        port = listen(protocol)
        openSocket().sendto(b"x", addressOf(port))
        stopping = port.stopListening()
        port.resumeProducing()
        await stopping
        assert protocol.payloads == []

    @pytest_twisted.ensureDeferred
    async def test_restart(self, listen: Listen, openSocket: OpenSocket) -> None:
        """A port that was closed can be opened again, and is a new one, not connected."""
        protocol = Recorder()
        port = listen(protocol)
        port.connect("127.0.0.1", 9)
        await port.stopListening()
        port.startListening()
        sender = openSocket()
        sender.sendto(b"x", addressOf(port))
        _, address = await protocol.nextDatagram()
        port.write(b"y", address)
        assert sender.recv(100) == b"y"
        assert protocol.calls == ["startProtocol", "stopProtocol", "startProtocol"]

    @pytest_twisted.ensureDeferred
    async def test_restartOnceClosed(self, listen: Listen) -> None:
        """The port is free as soon as stopListening's deferred fires."""
        port = listen(Recorder())
        number = port.getHost().port
        await port.stopListening()
        assert listen(Recorder(), port=number).getHost().port == number

    @pytest_twisted.ensureDeferred
    async def test_stopProducing(self, listen: Listen) -> None:
        """A consumer that wants nothing more closes the port."""
        protocol = Recorder()
        port = listen(protocol)
        port.stopProducing()
        await port.stopListening()
        assert protocol.calls == ["startProtocol", "stopProtocol"]

    @pytest_twisted.ensureDeferred
    async def test_loseConnection(self, listen: Listen) -> None:
        """Twisted's old name still closes the port, with a warning that names the new one."""
        port = listen(Recorder())
        with pytest.warns(DeprecationWarning, match="stopListening"):
            port.loseConnection()
        await port.stopListening()
        assert not port.connected

    @pytest_twisted.ensureDeferred
    async def test_farewell(self, listen: Listen, openSocket: OpenSocket) -> None:
        """A protocol may still send from stopProtocol, as with Twisted's port."""

        class Polite(Recorder):
            def stopProtocol(self) -> None:
                port.write(b"bye", peer.getsockname())

        peer = openSocket()
        port = listen(Polite())
        await port.stopListening()
        assert peer.recv(100) == b"bye"

    def test_setupFails(
        self, groupsockReactor: GroupsockReactor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A socket that cannot be set up is closed; nothing stays open."""

        def refuse(sock: socket.socket) -> None:
            raise SocketOptionError(errno.ENOMEM, "hear only joined groups")

        monkeypatch.setattr(udp, "hearOnlyOwnGroups", refuse)
        with pytest.raises(CannotListenError, match="hear only joined groups"):
            groupsockReactor.listenUDP(0, Recorder(), "127.0.0.1")

    def test_startProtocolFails(self, groupsockReactor: GroupsockReactor) -> None:
        """A protocol that fails to start gets no port, and nothing stays open."""

        class Broken(Recorder):
            def startProtocol(self) -> None:
                raise LookupError("no configuration")

        with pytest.raises(LookupError, match="no configuration"):
            groupsockReactor.listenUDP(0, Broken(), "127.0.0.1")

    @pytest_twisted.ensureDeferred
    async def test_stopProtocolFails(self, listen: Listen) -> None:
        """A protocol that fails to stop is logged, and its port is closed all the same."""

        class Broken(Recorder):
            def stopProtocol(self) -> None:
                raise LookupError("where was I?")

        port = listen(Broken())
        with capturedLogs() as events:
            await port.stopListening()
        assert "where was I?" in str([each.get("log_failure") for each in events])
        assert not port.connected

    @pytest_twisted.ensureDeferred
    async def test_pausedFromTheStart(self, listen: Listen, openSocket: OpenSocket) -> None:
        """A protocol that pauses its transport in startProtocol gets nothing until it resumes."""

        class Waiting(Recorder):
            def startProtocol(self) -> None:
                transport: Any = self.transport
                transport.pauseProducing()

        protocol = Waiting()
        port = listen(protocol)
        assert port not in port.reactor.getReaders()
        openSocket().sendto(b"x", addressOf(port))
        port.resumeProducing()
        assert await protocol.next() == b"x"

    @pytest_twisted.ensureDeferred
    async def test_descriptorClosedByOthers(self, listen: Listen) -> None:
        """A port whose descriptor somebody else has closed is given up without an error."""
        protocol = Recorder()
        port = listen(protocol)
        port.pauseProducing()  # some reactors keep descriptors that were closed behind their back
        os.close(port.fileno())
        await port.stopListening()
        assert protocol.calls == ["startProtocol", "stopProtocol"]

    @pytest_twisted.ensureDeferred
    async def test_repr(self, listen: Listen) -> None:
        """A port shows its protocol and where it listens, if it does."""
        port = listen(Recorder())
        number = port.getHost().port
        assert repr(port) == f"<UDPPort of Recorder on 127.0.0.1 port {number}>"
        await port.stopListening()
        assert repr(port) == "<UDPPort of Recorder not listening>"
        fresh = UDPPort(MemoryReactorClock(), Recorder())
        assert repr(fresh) == "<UDPPort of Recorder not listening>"
        assert fresh.fileno() == -1


class TestCannotListen:
    def test_portInUse(self, listen: Listen, family: socket.AddressFamily) -> None:
        """A port that another socket has is a CannotListenError which says how to find that."""
        number = listen(Recorder(), LOOPBACK[family]).getHost().port
        with pytest.raises(CannotListenError, match=r"another socket.*ss -lntup") as caught:
            listen(Recorder(), LOOPBACK[family], number)
        assert caught.value.socketError.errno == errno.EADDRINUSE
        assert caught.value.port == number

    def test_unknownInterface(self, listen: Listen) -> None:
        """An interface that there is not is a CannotListenError which lists those there are."""
        with pytest.raises(CannotListenError, match=r"eth99.*there are: lo") as caught:
            listen(Recorder(), "eth99")
        assert isinstance(caught.value.socketError, UnknownInterface)

    @pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
    def test_foreignAddress(self, listen: Listen, address: str) -> None:
        """An address that no interface has is a CannotListenError which says so."""
        with pytest.raises(CannotListenError, match="no interface of this host") as caught:
            listen(Recorder(), address)
        assert caught.value.socketError.errno == errno.EADDRNOTAVAIL

    @pytest.mark.parametrize("number", [-1, 65536])
    def test_noPort(self, listen: Listen, number: int) -> None:
        """A number that is no port is a CannotListenError."""
        with pytest.raises(CannotListenError, match="from 0 to 65535"):
            listen(Recorder(), port=number)

    def test_anyInterface(self, listen: Listen, openSocket: OpenSocket) -> None:
        """The message says that it was any interface, if it was."""
        number = openSocket("0.0.0.0").getsockname()[1]
        with pytest.raises(CannotListenError, match=rf"listen on any:{number}:"):
            listen(Recorder(), "", number)


class TestWhatItIs:
    def test_getHostIPv4(self, listen: Listen) -> None:
        """An IPv4 port has an IPv4Address, with the port number that the kernel chose."""
        port = listen(Recorder())
        assert port.getHost() == IPv4Address("UDP", *port.getHandle().getsockname())
        assert port.getHost().port != 0

    @pytest.mark.parametrize("size", ["x", None, 1.5, True, 0, -1])
    def test_aPacketSizeIsLookedAtWhereItIsSet(self, listen: Listen, size: Any) -> None:
        """What cannot be one is refused then, and not by the next datagram."""
        port: Any = listen(Recorder())
        with pytest.raises((TypeError, ValueError), match=r"^maxPacketSize is"):
            port.maxPacketSize = size
        assert port.maxPacketSize == 65535

    def test_getHostIPv6(self, listen: Listen) -> None:
        """An IPv6 port has an IPv6Address, with all four fields."""
        port = listen(Recorder(), "::1")
        assert port.getHost() == IPv6Address("UDP", *port.getHandle().getsockname())

    def test_getHandle(self, listen: Listen) -> None:
        """The handle is the non-blocking socket, whose descriptor the reactor watches."""
        port = listen(Recorder())
        assert port.getHandle().type == socket.SOCK_DGRAM
        assert not port.getHandle().getblocking()
        assert port.getHandle().fileno() == port.fileno()

    def test_IPv6Only(self, listen: Listen) -> None:
        """The wildcards of both families can have the same port number."""
        number = listen(Recorder(), "::").getHost().port
        assert listen(Recorder(), "0.0.0.0", number).getHost().port == number

    def test_logPrefix(self, listen: Listen) -> None:
        """Log lines have the prefix that the protocol wants, or else its class's name."""

        class Prefixed(Recorder):
            def logPrefix(self) -> str:
                return "meter"

        class Plain(AbstractDatagramProtocol):
            noisy = False

        assert listen(Prefixed()).logPrefix() == "meter (UDP)"
        assert listen(Recorder()).logPrefix() == "Recorder (UDP)"
        assert listen(Plain()).logPrefix() == "Plain (UDP)"

    @pytest.mark.parametrize("noisy", [True, False])
    @pytest_twisted.ensureDeferred
    async def test_logsAsTwisted(self, reactor: Any, noisy: bool) -> None:
        """
        Where it listens, and that it has closed, is logged as Twisted's port does, unless the
        protocol is not noisy.
        """

        class Meter(Recorder):
            def logPrefix(self) -> str:
                return "meter"

        protocol = Meter()
        protocol.noisy = noisy
        with capturedLogs() as events:
            port = GroupsockReactor(reactor).listenUDP(0, protocol, "127.0.0.1")
            number = port.getHost().port
            assert port._realPortNumber == number  # which programs read
            await port.stopListening()
        texts = [text for event in events for text in event.get("message", ())]
        expected = [f"meter starting on {number}", f"(UDP Port {number} Closed)"]
        assert [text for text in texts if str(number) in text] == expected * noisy


class TestReceiving:
    @pytest_twisted.ensureDeferred
    async def test_datagrams(
        self, listen: Listen, openSocket: OpenSocket, family: socket.AddressFamily
    ) -> None:
        """The protocol gets each datagram as bytes, and its sender as (host, port)."""
        protocol = Recorder()
        port = listen(protocol, LOOPBACK[family])
        sender = openSocket(LOOPBACK[family])
        for payload in (b"one", b"", b"three"):
            sender.sendto(payload, addressOf(port))
        for payload in (b"one", b"", b"three"):
            received, address = await protocol.nextDatagram()
            assert type(received) is bytes
            assert received == payload
            assert address == sender.getsockname()[:2]

    @pytest.mark.parametrize("error", [RuntimeError("oops"), SystemExit("oops")], ids=repr)
    @pytest_twisted.ensureDeferred
    async def test_protocolFails(
        self, listen: Listen, openSocket: OpenSocket, error: BaseException
    ) -> None:
        """Whatever a protocol raises is logged, and the next datagram is delivered."""

        class Broken(Recorder):
            def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
                super().datagramReceived(datagram, addr)
                if datagram == b"bad":
                    raise error

        protocol = Broken()
        port = listen(protocol)
        sender = openSocket()
        with capturedLogs() as events:
            for payload in (b"bad", b"good"):
                sender.sendto(payload, addressOf(port))
            assert [await protocol.next(), await protocol.next()] == [b"bad", b"good"]
        (event,) = [each for each in events if "log_failure" in each]
        assert event["log_failure"].value is error
        assert event["sender"] == sender.getsockname()
        assert port.statistics.datagramsReceived == 2

    @pytest_twisted.ensureDeferred
    async def test_pauseAndResume(
        self, reactor: Any, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """What arrives while the port is paused is delivered when it resumes."""
        protocol, other = Recorder(), Recorder()
        port, control = listen(protocol), listen(other)
        port.pauseProducing()
        sender = openSocket()
        sender.sendto(b"x", addressOf(port))
        sender.sendto(b"control", addressOf(control))
        await other.next()
        assert protocol.payloads == []
        port.resumeProducing()
        assert await protocol.next() == b"x"

    @pytest_twisted.ensureDeferred
    async def test_pauseFromWithin(self, listen: Listen, openSocket: OpenSocket) -> None:
        """A protocol that pauses its port on a datagram gets the next one after it resumes."""

        class OneByOne(Recorder):
            def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
                super().datagramReceived(datagram, addr)
                port.pauseProducing()

        protocol = OneByOne()
        port = listen(protocol)
        sender = openSocket()
        for payload in (b"one", b"two"):
            sender.sendto(payload, addressOf(port))
        assert await protocol.next() == b"one"
        assert protocol.payloads == []
        port.startReading()
        assert await protocol.next() == b"two"

    @pytest_twisted.ensureDeferred
    async def test_kernelDrops(self, listen: Listen, openSocket: OpenSocket) -> None:
        """What the kernel drops for want of room is counted: in is delivered plus dropped."""
        protocol = Recorder()
        port = listen(protocol)
        setReceiveBufferTo(port.getHandle(), 0)
        assert port.kernelDrops() == 0
        port.pauseProducing()
        sender = openSocket()
        for _ in range(100):
            sender.sendto(bytes(1000), addressOf(port))
        drops = port.kernelDrops()
        assert drops is not None
        assert 0 < drops < 100
        port.resumeProducing()
        for _ in range(100 - drops):
            await protocol.next()
        sender.sendto(b"last", addressOf(port))
        assert await protocol.next() == b"last"
        assert port.statistics.datagramsReceived == 100 - drops + 1
        assert port.kernelDrops() == drops


class TestSending:
    def test_write(
        self, listen: Listen, openSocket: OpenSocket, family: socket.AddressFamily
    ) -> None:
        """A datagram is sent from the port's own address, whole, empty or in pieces."""
        peer = openSocket(LOOPBACK[family])
        port = listen(Recorder(), LOOPBACK[family])
        there = peer.getsockname()[:2]
        port.write(b"whole", there)
        port.write(b"", there)
        port.writeSequence([b"in ", b"pieces"], there)
        received = [peer.recvfrom(100) for _ in range(3)]
        assert [payload for payload, _ in received] == [b"whole", b"", b"in pieces"]
        assert {sender[:2] for _, sender in received} == {addressOf(port)}

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_bytesLike(self, listen: Listen, openSocket: OpenSocket, kind: Any) -> None:
        """What is sent may be any bytes-like object."""
        peer = openSocket()
        listen(Recorder()).write(kind(b"x"), peer.getsockname())
        assert peer.recv(100) == b"x"

    @pytest.mark.parametrize(
        ("family", "host"),
        [
            (V4, "localhost"),
            (V4, ""),
            (V4, "::1"),
            (V4, "fe80::1%lo"),
            (V4, b"localhost"),
            (V4, "127.0.0.1\0"),
            (V6, "localhost"),
            (V6, "127.0.0.1"),
            (V6, "<broadcast>"),
            (V6, "127.0.0.1%lo"),
            (V6, "fe80::1%"),
        ],
    )
    def test_invalidAddress(self, listen: Listen, family: int, host: Any) -> None:
        """Only literal addresses of the port's family can be written and connected to."""
        port = listen(Recorder(), "127.0.0.1" if family == V4 else "::1")
        with pytest.raises(InvalidAddressError) as caught:
            port.write(b"x", (host, 9))
        assert "no host names" in caught.value.message
        with pytest.raises(InvalidAddressError):
            port.connect(host, 9)
        assert port.statistics == PortStatistics()

    @pytest.mark.parametrize("number", [-1, 65536])
    def test_invalidPort(self, listen: Listen, family: socket.AddressFamily, number: int) -> None:
        """A number that is no port is an InvalidAddressError."""
        port = listen(Recorder(), LOOPBACK[family])
        with pytest.raises(InvalidAddressError):
            port.write(b"x", (LOOPBACK[family], number))

    def test_unknownScope(self, listen: Listen) -> None:
        """A scope that names no interface is an error which says so."""
        with pytest.raises(UnknownInterface, match="eth99"):
            listen(Recorder(), "::1").write(b"x", ("fe80::1%eth99", 9))

    def test_noAddress(self, listen: Listen) -> None:
        """A port that is not connected needs an address to write to."""
        with pytest.raises(ValueError, match="not connected"):
            listen(Recorder()).write(b"x")

    @pytest_twisted.ensureDeferred
    async def test_closed(self, listen: Listen) -> None:
        """Writing to a closed port is an error."""
        port = listen(Recorder())
        await port.stopListening()
        with pytest.raises(TransferError) as caught:
            port.write(b"x", ("127.0.0.1", 9))
        assert caught.value.errno == errno.EBADF

    @pytest_twisted.ensureDeferred
    async def test_closedWithAQueue(self) -> None:
        """What still waits when a port is closed is counted as dropped."""
        reactor = MemoryReactorClock()
        port = openFake(reactor)
        for _ in range(3):
            port.write(b"x", ("192.0.2.1", 9))
        assert reactor.getWriters() == [port]
        assert port.statistics.datagramsQueued == 3
        port.connectionLost()
        assert port.statistics.datagramsQueued == 0
        assert port.statistics.datagramsDropped == 3
        assert reactor.getWriters() == reactor.getReaders() == []

    def test_theQueueIsEmptied(self) -> None:
        """The port waits to write only while something waits to be written."""
        reactor = MemoryReactorClock()
        again = OSError(errno.EAGAIN, "")
        port = openFake(reactor, sends=[again, None, again, None])
        for payload in (b"one", b"two"):
            port.write(payload, ("192.0.2.1", 9))
        assert reactor.getWriters() == [port]
        fake: Any = port.socket
        port.doWrite()
        assert fake.sent == [b"one"]
        assert reactor.getWriters() == [port]
        port.doWrite()
        assert fake.sent == [b"one", b"two"]
        assert reactor.getWriters() == []

    def test_broadcast(self, far: Namespace, listen: Listen, openSocket: OpenSocket) -> None:
        """Once allowed, a broadcast reaches the hosts of the link."""
        with far:
            peer = openSocket("0.0.0.0")
        port = listen(Recorder(), "10.0.0.1")
        assert port.getBroadcastAllowed() is False
        port.setBroadcastAllowed(True)
        assert port.getBroadcastAllowed() is True
        port.write(b"all", ("10.0.0.255", peer.getsockname()[1]))
        assert peer.recv(100) == b"all"
        port.setBroadcastAllowed(False)
        assert port.getBroadcastAllowed() is False

    def test_limitedBroadcast(self, far: Namespace, listen: Listen, openSocket: OpenSocket) -> None:
        """A broadcast may be addressed as <broadcast>, as in the socket module and Twisted."""
        with far:
            peer = openSocket("0.0.0.0")
        port = listen(Recorder(), "eth0")
        port.setBroadcastAllowed(True)
        port.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
        port.write(b"all", ("<broadcast>", peer.getsockname()[1]))
        assert peer.recv(100) == b"all"


class TestConnected:
    @pytest_twisted.ensureDeferred
    async def test_onlyThePeer(
        self, listen: Listen, openSocket: OpenSocket, family: socket.AddressFamily
    ) -> None:
        """A connected port exchanges datagrams with its peer only."""
        peer, stranger = openSocket(LOOPBACK[family]), openSocket(LOOPBACK[family])
        protocol = Recorder()
        port = listen(protocol, LOOPBACK[family])
        there = peer.getsockname()[:2]
        port.connect(*there)
        port.write(b"without an address")
        port.write(b"with it", there)
        assert [peer.recv(100), peer.recv(100)] == [b"without an address", b"with it"]
        stranger.sendto(b"stranger", addressOf(port))
        peer.sendto(b"peer", addressOf(port))
        assert await protocol.next() == b"peer"
        assert protocol.payloads == []

    def test_writeToAnother(self, listen: Listen) -> None:
        """Writing to another address than the peer's is an error which names both."""
        port = listen(Recorder())
        port.connect("127.0.0.1", 9)
        with pytest.raises(ValueError, match=r"127\.0\.0\.1.*127\.0\.0\.2"):
            port.write(b"x", ("127.0.0.2", 9))

    def test_connectTwice(self, listen: Listen) -> None:
        """A port is connected once; Twisted says so with a RuntimeError, too."""
        port = listen(Recorder())
        port.connect("127.0.0.1", 9)
        with pytest.raises(RuntimeError, match="connected already"):
            port.connect("127.0.0.1", 9)

    def test_noRoute(self, namespace: Namespace, listen: Listen, openSocket: OpenSocket) -> None:
        """A port that finds no route to its peer is not connected, and can be to another."""
        peer = openSocket()
        port = listen(Recorder())
        with pytest.raises(TransferError, match=r"connect to 192\.0\.2\.1.*no route") as caught:
            port.connect("192.0.2.1", 9)
        assert caught.value.errno == errno.ENETUNREACH
        port.connect(*peer.getsockname())
        port.write(b"x")
        assert peer.recv(100) == b"x"

    @pytest_twisted.ensureDeferred
    async def test_writeWhenRefused(self, listen: Listen, openSocket: OpenSocket) -> None:
        """A protocol that writes again when refused is told again, but not from within."""

        class Persistent(Recorder):
            depth = 0

            def connectionRefused(self) -> None:
                self.depth += 1
                deepest.append(self.depth)
                if len(deepest) < 5:
                    for _ in range(3):
                        port.write(b"again")
                self.depth -= 1
                super().connectionRefused()

        deepest: list[int] = []
        with openSocket() as closed:
            nobody = closed.getsockname()
        protocol = Persistent()
        port = listen(protocol)
        port.connect(*nobody)
        port.write(b"x")
        for _ in range(5):
            await protocol.refusal()
        assert set(deepest) == {1}
        assert port.connected

    @pytest_twisted.ensureDeferred
    async def test_connectionRefusedFails(self, listen: Listen, openSocket: OpenSocket) -> None:
        """What connectionRefused raises is logged, and the port goes on."""

        class Broken(Recorder):
            def connectionRefused(self) -> None:
                super().connectionRefused()
                raise LookupError("refused")

        with openSocket() as closed:
            nobody = closed.getsockname()
        protocol = Broken()
        port = listen(protocol)
        port.connect(*nobody)
        with capturedLogs() as events:
            for _ in range(2):
                port.write(b"x")
                await protocol.refusal()
        assert len([each for each in events if "log_failure" in each]) == 2
        assert port.connected

    @pytest_twisted.ensureDeferred
    async def test_protocolWithoutConnectionRefused(
        self, listen: Listen, openSocket: OpenSocket
    ) -> None:
        """A protocol that has no connectionRefused does without."""

        class Plain(AbstractDatagramProtocol):
            noisy = False

            def __init__(self) -> None:
                self.arrived: Deferred[bytes] = Deferred()

            def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
                self.arrived.callback(datagram)

        peer = openSocket()
        protocol = Plain()
        port = listen(protocol)
        port.connect(*peer.getsockname())
        number = peer.getsockname()[1]
        peer.close()
        port.write(b"x")
        openSocket(port=number).sendto(b"y", addressOf(port))
        assert await protocol.arrived == b"y"

    @pytest_twisted.ensureDeferred
    async def test_stopWhenRefused(self, listen: Listen, openSocket: OpenSocket) -> None:
        """A protocol that stops its port when refused has it closed."""

        class Gone(Recorder):
            def connectionRefused(self) -> None:
                port.stopListening().addCallback(self.refusals.put)

        with openSocket() as closed:
            nobody = closed.getsockname()
        protocol = Gone()
        port = listen(protocol)
        port.connect(*nobody)
        port.write(b"x")
        await protocol.refusal()
        assert protocol.calls == ["startProtocol", "stopProtocol"]


@pytest_twisted.ensureDeferred
async def test_statistics(listen: Listen, openSocket: OpenSocket) -> None:
    """Every datagram is in exactly one of the counts."""
    peer, protocol = openSocket(), Recorder()
    port = listen(protocol, maxPacketSize=10)
    for payload in (b"", b"ab", b"cde", bytes(11)):
        peer.sendto(payload, addressOf(port))
    peer.sendto(b"last", addressOf(port))
    while await protocol.next() != b"last":
        pass
    port.write(b"four", peer.getsockname())
    port.write(b"", peer.getsockname())
    with pytest.raises(TransferError):
        port.write(b"x", ("127.0.0.1", 0))
    assert port.statistics == PortStatistics(
        datagramsReceived=4,
        bytesReceived=9,
        datagramsTruncated=1,
        datagramsSent=2,
        bytesSent=4,
        datagramsDropped=1,
        sendErrors={errno.EINVAL: 1},  # type: ignore[arg-type]  # equal to a Counter
    )
