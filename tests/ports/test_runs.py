"""Runs in and out, arrivals in detail, prepared destinations and back-pressure."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import StringTransport
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.ports.support import LOOPBACK, Listen, OpenSocket, Recorder, addressOf
from txgroupsock import UDPPort
from txgroupsock.interfaces import (
    IArrivalReceiver,
    IDestinationErrorReceiver,
    IRunReceiver,
    IRunTransport,
)
from txgroupsock.primitives import Arrival, Destination
from txgroupsock.primitives.constants import UDP_SEGMENT
from txgroupsock.primitives.run import Run
from txgroupsock.testing.namespaces import Namespace


@implementer(IRunReceiver)
class Runs(DatagramProtocol):
    """Keeps the datagrams of every run, and how many came in each."""

    noisy = False

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []
        self.senders: list[tuple[str, int]] = []
        self.counts: list[int] = []
        self.arrivals: set[float] = set()
        self._waiting: list[tuple[int, Deferred[None]]] = []

    def runReceived(self, run: Run) -> None:
        self.datagrams += map(bytes, run)
        self.senders += [run.sender] * len(run)
        self.counts.append(len(run))
        self.arrivals.add(run.arrival)
        for each in self._waiting[:]:
            if len(self.datagrams) >= each[0]:
                self._waiting.remove(each)
                each[1].callback(None)

    def has(self, count: int) -> Deferred[None]:
        """Fires when so many datagrams have come."""
        enough: Deferred[None] = Deferred()
        if len(self.datagrams) >= count:
            enough.callback(None)
        else:
            self._waiting.append((count, enough))
        return enough


@implementer(IArrivalReceiver)
class Arrivals(DatagramProtocol):
    """Keeps datagrams with their arrivals."""

    noisy = False

    def __init__(self) -> None:
        self.arrivals: DeferredQueue[tuple[bytes, Arrival]] = DeferredQueue()

    def datagramArrived(self, datagram: bytes, arrival: Arrival) -> None:
        self.arrivals.put((datagram, arrival))


@implementer(IDestinationErrorReceiver)
class Complaints(Recorder):
    """Keeps what is said of destinations."""

    def __init__(self) -> None:
        super().__init__()
        self.failed: DeferredQueue[tuple[tuple[str, int], int]] = DeferredQueue()

    def destinationFailed(self, address: tuple[str, int], number: int) -> None:
        self.failed.put((address, number))


def train(sender: socket.socket, payloads: list[bytes], target: tuple[str, int]) -> None:
    """Send datagrams of one size as one train."""
    assert UDP_SEGMENT is not None
    segment = struct.pack("@H", len(payloads[0]))
    sender.sendmsg([b"".join(payloads)], [(socket.IPPROTO_UDP, UDP_SEGMENT, segment)], 0, target)


class TestReceiving:
    @pytest_twisted.ensureDeferred
    async def test_runs(
        self, listen: Listen, openSocket: OpenSocket, family: socket.AddressFamily
    ) -> None:
        """A protocol that takes runs gets everything in runs, in both families."""
        protocol = Runs()
        port = listen(protocol, LOOPBACK[family])
        sender = openSocket(LOOPBACK[family])
        payloads = [bytes([number]) * 100 for number in range(30)]
        train(sender, payloads, addressOf(port))
        sender.sendto(b"", addressOf(port))
        sender.sendto(b"last", addressOf(port))
        await protocol.has(32)
        assert protocol.datagrams == [*payloads, b"", b"last"]
        assert set(protocol.senders) == {sender.getsockname()[:2]}
        assert 30 in protocol.counts
        assert port.statistics.datagramsReceived == 32
        assert port.statistics.bytesReceived == 3004

    @pytest_twisted.ensureDeferred
    async def test_trainsForAPlainProtocol(self, listen: Listen, openSocket: OpenSocket) -> None:
        """A protocol that knows nothing of runs gets each datagram of a train."""
        protocol = Recorder()
        port = listen(protocol)
        sender = openSocket()
        payloads = [bytes([number]) * 1000 for number in range(20)]
        train(sender, payloads, addressOf(port))
        for payload in payloads:
            assert await protocol.datagrams.get() == (payload, sender.getsockname())

    @pytest_twisted.ensureDeferred
    async def test_stopWithinATrain(self, listen: Listen, openSocket: OpenSocket) -> None:
        """A protocol that stops its port gets no more, not even of the same train."""

        class Once(Recorder):
            def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
                stopping.append(port.stopListening())
                super().datagramReceived(datagram, addr)

        stopping: list[Deferred[None]] = []
        protocol = Once()
        port = listen(protocol)
        train(openSocket(), [b"one", b"two", b"six"], addressOf(port))
        assert await protocol.next() == b"one"
        await stopping[0]
        assert protocol.payloads == []

    @pytest_twisted.ensureDeferred
    async def test_tooLargeInATrain(self, listen: Listen, openSocket: OpenSocket) -> None:
        """Every datagram of a train that is larger than the port takes is counted as such."""
        protocol = Recorder()
        port = listen(protocol, maxPacketSize=100)
        sender = openSocket()
        train(sender, [bytes(200)] * 5, addressOf(port))
        sender.sendto(b"small", addressOf(port))
        assert await protocol.next() == b"small"
        assert port.statistics.datagramsTruncated == 5
        assert port.statistics.datagramsReceived == 1

    @pytest_twisted.ensureDeferred
    async def test_arrivals(
        self, listen: Listen, openSocket: OpenSocket, family: socket.AddressFamily
    ) -> None:
        """A protocol that asks for it knows destination, interface, time and length."""
        protocol = Arrivals()
        wildcard = "::" if family == socket.AF_INET6 else ""
        port = listen(protocol, wildcard, maxPacketSize=50)
        sender = openSocket(LOOPBACK[family])
        target = (LOOPBACK[family], port.getHost().port)
        sender.sendto(b"x" * 50, target)
        datagram, arrival = await protocol.arrivals.get()
        assert datagram == b"x" * 50
        assert str(arrival.destination) == LOOPBACK[family]
        assert arrival.interface == socket.if_nametoindex("lo")
        assert arrival.sender == sender.getsockname()[:2]
        assert (arrival.length, arrival.time is not None) == (50, True)
        sender.sendto(b"y" * 80, target)
        datagram, arrival = await protocol.arrivals.get()
        assert (datagram, arrival.length) == (b"y" * 50, 80)
        assert port.statistics.datagramsTruncated == 1


class TestSending:
    @pytest_twisted.ensureDeferred
    async def test_writeTo(
        self, listen: Listen, openSocket: OpenSocket, family: socket.AddressFamily
    ) -> None:
        """A datagram goes to each of several destinations, counted at each."""
        port = listen(DatagramProtocol(), LOOPBACK[family])
        receivers = [openSocket(LOOPBACK[family]) for _ in range(3)]
        there = [Destination(*addressOf(each), ttl=9) for each in receivers]
        port.writeTo(b"to all", *there)
        assert [each.recv(100) for each in receivers] == [b"to all"] * 3
        assert [each.statistics.datagramsSent for each in there] == [1, 1, 1]
        assert (port.statistics.datagramsSent, port.statistics.bytesSent) == (3, 18)

    @pytest_twisted.ensureDeferred
    async def test_writeRun(
        self, listen: Listen, openSocket: OpenSocket, family: socket.AddressFamily
    ) -> None:
        """A run arrives as the datagrams that it is made of."""
        port = listen(DatagramProtocol(), LOOPBACK[family])
        receiver = openSocket(LOOPBACK[family])
        there = Destination(*addressOf(receiver))
        data = b"".join(bytes([number]) * 50 for number in range(20)) + b"end"
        port.writeRun(Run(memoryview(data), 50, ("", 0), 0.0), there)
        received = [receiver.recv(100) for _ in range(21)]
        assert b"".join(received) == data
        assert [len(each) for each in received] == [50] * 20 + [3]
        assert there.statistics.datagramsSent == port.statistics.datagramsSent == 21

    @pytest_twisted.ensureDeferred
    async def test_oneDeadDestination(self, listen: Listen, openSocket: OpenSocket) -> None:
        """A destination without a route costs the others nothing, and has its own count."""
        port = listen(DatagramProtocol(), "")
        receiver = openSocket()
        dead, alive = Destination("203.0.113.1", 9), Destination(*addressOf(receiver))
        # Multicast alone has a route in the tests' network, so this leads nowhere.
        port.writeTo(b"x", dead, alive)
        assert receiver.recv(100) == b"x"
        assert dead.statistics.errors == {errno.ENETUNREACH: 1}
        assert port.statistics.datagramsDropped == 1

    def test_theOtherFamily(self, listen: Listen) -> None:
        """A destination of the other family is the caller's mistake."""
        port = listen(DatagramProtocol())
        with pytest.raises(ValueError, match="is not IPv4"):
            port.writeTo(b"x", Destination("::1", 9))

    @pytest_twisted.ensureDeferred
    async def test_aFullBufferPausesTheProducer(
        self, far: Namespace, namespace: Namespace, listen: Listen
    ) -> None:
        """While datagrams wait for room their producer is paused; then all go out in order."""

        @implementer(IPushProducer)
        class Producer:
            calls: list[str] = []
            resumed: Deferred[None] = Deferred()

            def pauseProducing(self) -> None:
                self.calls.append("pause")

            def resumeProducing(self) -> None:
                self.calls.append("resume")
                self.resumed.callback(None)

            def stopProducing(self) -> None:
                raise AssertionError

        receiver = await _slow(namespace, far)
        with receiver:
            port = listen(DatagramProtocol(), "10.0.0.1")
            port.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            producer = Producer()
            port.registerProducer(producer, True)
            there = Destination("10.0.0.2", 5000)
            for number in range(0, 40, 10):
                payload = b"".join(bytes([each]) * 1000 for each in range(number, number + 10))
                port.writeRun(Run(memoryview(payload), 1000, ("", 0), 0.0), there)
            assert producer.calls == ["pause"]
            assert port.statistics.datagramsQueued > 0
            await producer.resumed
            assert producer.calls == ["pause", "resume"]
            assert [receiver.recv(2000)[0] for _ in range(40)] == list(range(40))
            assert port.statistics.datagramsSent == there.statistics.datagramsSent == 40
            assert (port.statistics.datagramsQueued, port.statistics.datagramsDropped) == (0, 0)

    @pytest_twisted.ensureDeferred
    async def test_theQueueIsBounded(
        self, far: Namespace, namespace: Namespace, listen: Listen
    ) -> None:
        """What does not fit into the queue is dropped, and counted at its destination."""
        port = listen(DatagramProtocol(), "10.0.0.1")
        port.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        nobody = Destination("10.0.0.77", 5000)
        for _ in range(2000):
            port.writeTo(bytes(1000), nobody)
        counted = nobody.statistics
        assert port.statistics.datagramsQueued == 1024
        assert counted.errors == {errno.EAGAIN: counted.datagramsDropped}
        assert counted.datagramsSent + counted.datagramsDropped + 1024 == 2000
        await port.stopListening()
        assert counted.datagramsSent + counted.datagramsDropped == 2000
        assert port.statistics.datagramsQueued == 0

    def test_aPullProducerIsRefused(self, listen: Listen) -> None:
        """Only a producer that can be paused is taken, and one at a time."""
        port: Any = listen(DatagramProtocol())
        with pytest.raises(ValueError, match="streaming"):
            port.registerProducer(object(), False)
        port.registerProducer(StringTransport(), True)
        with pytest.raises(RuntimeError, match="already"):
            port.registerProducer(StringTransport(), True)
        port.unregisterProducer()
        port.registerProducer(StringTransport(), True)

    @pytest_twisted.ensureDeferred
    async def test_aRefusedDestinationIsReported(
        self, listen: Listen, openSocket: OpenSocket, family: socket.AddressFamily
    ) -> None:
        """Who asks is told which destination has no listener, and the port stays open."""
        protocol = Complaints()
        port = listen(protocol, LOOPBACK[family])
        with openSocket(LOOPBACK[family]) as closed:
            nobody = addressOf(closed)
        receiver = openSocket(LOOPBACK[family])
        for _ in range(3):
            port.write(b"x", nobody)
            assert await protocol.failed.get() == (nobody, errno.ECONNREFUSED)
            port.writeTo(b"y", Destination(*addressOf(receiver)))
            assert receiver.recv(100) == b"y"
        assert port.statistics.datagramsDropped == 0
        openSocket(LOOPBACK[family]).sendto(b"still open", addressOf(port))
        assert await protocol.next() == b"still open"

    def test_verified(self, listen: Listen) -> None:
        """The port has what IRunTransport declares."""
        assert verifyObject(IRunTransport, listen(DatagramProtocol()))


async def _slow(namespace: Namespace, far: Namespace) -> socket.socket:
    """A receiver at the far end of a link that takes some time for each datagram."""
    namespace.run(
        *("tc", "qdisc", "replace", "dev", "eth0", "root"),
        *("tbf", "rate", "4mbit", "burst", "3000", "limit", "100000"),
    )
    with far:
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("10.0.0.2", 5000))
    receiver.settimeout(5)
    return receiver


def test_memoryIsShared(listen: Listen) -> None:
    """The ports of one reactor receive into the same memory."""
    first, second = listen(DatagramProtocol()), listen(DatagramProtocol())
    memories = {id(_memoryOf(each)) for each in (first, second)}
    assert len(memories) == 1


def _memoryOf(port: UDPPort) -> Any:
    receiving: Any = port._receiving
    return receiving.memory
