"""Every errno there is, from every way in which a port receives and sends: it goes on."""

from __future__ import annotations

import errno
from contextlib import suppress

import pytest
from twisted.internet.error import MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from txgroupsock import Destination, Run, TransferError, UDPPort
from txgroupsock.interfaces import IRunReceiver
from txgroupsock.primitives.destination import WOULD_BLOCK
from txgroupsock.testing import MemoryNetwork

NUMBERS = sorted(errno.errorcode)
CLOSED = {errno.EBADF, errno.ENOTSOCK}
THERE = ("10.0.0.2", 5000)


class Listener(DatagramProtocol):
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self.received.append(datagram)


@implementer(IRunReceiver)
class Runs(Listener):
    """Keeps the datagrams of the runs that it receives."""

    def runReceived(self, run: Run) -> None:
        self.received += map(bytes, run)


def connected(network: MemoryNetwork, protocol: Listener) -> tuple[UDPPort, UDPPort]:
    """A port to send from, and one with that protocol."""
    a, b = network.host("10.0.0.1"), network.host("10.0.0.2")
    there: UDPPort = b.reactor.listenUDP(5000, protocol, "10.0.0.2")
    here: UDPPort = a.reactor.listenUDP(0, DatagramProtocol(), "10.0.0.1")
    return here, there


@pytest.mark.parametrize("kind", [Listener, Runs])
@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_receiving(number: int, count: int, kind: type[Listener]) -> None:
    """Any errno, once or in a row, delays a datagram at most; a closed descriptor closes."""
    network = MemoryNetwork()
    protocol = kind()
    here, there = connected(network, protocol)
    there.getHandle().failReceives(*[number] * count)  # type: ignore[attr-defined] # in memory
    here.write(b"through", THERE)
    network.flush()
    for _ in range(20):
        network.reactor.advance(0.1)
    assert there.connected is (number not in CLOSED)
    assert protocol.received == ([b"through"] if there.connected else [])
    # Errors without an end make it wait rather than spin: in 2 s it has tried a few times only.
    # (Of EAGAIN there is an end: a socket that has nothing is not readable.)
    if there.connected and number not in WOULD_BLOCK:
        there.getHandle().failReceives(*[number] * 100_000)  # type: ignore[attr-defined]
        here.write(b"never", THERE)
        network.flush()
        network.reactor.advance(2.0)
        assert there.connected
        assert there.statistics.receiveErrors[number] <= 100


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_writing(number: int) -> None:
    """Any errno is counted, or waited out, or raised at the caller; the next datagram goes."""
    network = MemoryNetwork()
    protocol = Listener()
    here, _ = connected(network, protocol)
    here.getHandle().failSends(number)  # type: ignore[attr-defined] # in memory
    with suppress(TransferError, MessageLengthError):
        here.write(b"first", THERE)
    here.write(b"second", THERE)
    network.flush()
    assert here.connected
    assert protocol.received[-1] == b"second"
    counted = here.statistics
    assert counted.datagramsSent + counted.datagramsDropped == 2
    assert len(protocol.received) == counted.datagramsSent


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
def test_writingARun(number: int) -> None:
    """Any errno of a run is counted or waited out, never raised, and nothing is unaccounted for."""
    network = MemoryNetwork()
    protocol = Listener()
    here, _ = connected(network, protocol)
    there = Destination(*THERE, ttl=9)
    here.getHandle().failSends(number)  # type: ignore[attr-defined] # in memory
    data = b"".join(bytes([each]) * 10 for each in range(8))
    here.writeRun(Run(memoryview(data), 10, ("", 0), 0.0), there)
    here.writeTo(b"last", there)
    network.flush()
    assert here.connected
    assert protocol.received[-1] == b"last"
    assert there.statistics.datagramsSent + there.statistics.datagramsDropped == 9
    assert len(protocol.received) == there.statistics.datagramsSent
    assert here.statistics.datagramsSent == there.statistics.datagramsSent
