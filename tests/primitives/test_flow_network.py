"""Flows between hosts: what the network answers, and what it cannot take."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable

import pytest

from tests.lan.program import needs
from tests.primitives.flows import SECONDS, Receiver, numbered, opened, sendAll
from txgroupsock.primitives import Destination, Flow
from txgroupsock.testing.lan import Host, Lan

pytestmark = pytest.mark.lan

MAC = "02:00:00:00:00:99"
PORT = 5000
CANNOT_SEGMENT = {errno.EINVAL, errno.EMSGSIZE}


def addressOf(host: Host, family: int) -> str:
    """The address of a host in a family."""
    return host.ipv4 if family == socket.AF_INET else host.ipv6


def stranger(family: int) -> str:
    """An address on the LAN that nobody has."""
    return "10.0.0.77" if family == socket.AF_INET else "fd00::77"


def receiverOn(host: Host, family: int) -> Receiver:
    """A receiver on a host."""
    with host:
        return Receiver(addressOf(host, family), PORT)


def sendUntil(made: Flow, reached: Callable[[], object]) -> int:
    """Send a datagram now and then until something is so; how many were sent."""
    deadline = time.monotonic() + SECONDS
    sent = 0
    while not reached():
        assert time.monotonic() < deadline, made.destination.statistics
        sendAll(made, numbered(1, 100))
        sent += 1
        time.sleep(0.001)
    return sent


def limitQueue(host: Host, rate: str, limit: int) -> None:
    """Have a host's interface send slowly, and queue so many bytes only."""
    needs("tc")
    queue = f"tbf rate {rate} burst 1600 limit {limit}"
    host.run("tc", "qdisc", "add", "dev", "eth0", "root", *queue.split())


@pytest.mark.parametrize("count", [1, 7])
def test_aHostWithoutThatPortCostsNoDatagram(lan: Lan, family: int, count: int) -> None:
    """While a host answers that nobody has the port, datagrams are sent and its answers counted."""
    a, b, _ = lan.hosts
    with a, opened(Destination(addressOf(b, family), PORT)) as made:
        statistics = made.destination.statistics
        sent = sendUntil(made, lambda: statistics.reported[errno.ECONNREFUSED])
        assert (statistics.datagramsSent, statistics.datagramsDropped) == (sent, 0)
        with receiverOn(b, family) as receiver:
            for _ in range(20):
                sendAll(made, numbered(count, 100))
            assert receiver.payloads(20 * count) == 20 * numbered(count, 100)
        assert statistics.datagramsSent == sent + 20 * count
        assert set(statistics.reported) == {errno.ECONNREFUSED}
        assert not statistics.datagramsDropped


def test_aNeighbourThatNeverAnswersCostsNoDatagram(lan: Lan, family: int) -> None:
    """Host unreachable is counted as reported, and what is sent when it is there again arrives."""
    a, b, _ = lan.hosts
    version = "ipv4" if family == socket.AF_INET else "ipv6"
    a.sysctl(f"net/{version}/neigh/eth0/retrans_time_ms", 10)
    with a, opened(Destination(stranger(family), PORT)) as made:
        statistics = made.destination.statistics
        sent = sendUntil(made, lambda: statistics.reported[errno.EHOSTUNREACH] >= 2)
        assert (statistics.datagramsSent, statistics.datagramsDropped) == (sent, 0)
        assert set(statistics.reported) == {errno.EHOSTUNREACH}
        prefix = 24 if family == socket.AF_INET else 64
        nodad = ["nodad"] if family == socket.AF_INET6 else []
        b.run("ip", "addr", "add", f"{stranger(family)}/{prefix}", "dev", "eth0", *nodad)
        with b, Receiver(stranger(family), PORT) as receiver:
            # The neighbour is asked for anew with the next datagram, which waits for the answer.
            sendUntil(made, receiver.rest)
            receiver.rest()
            sendAll(made, numbered(30, 100))
            assert receiver.payloads(30)[-1] == numbered(30, 100)[-1]
        assert not statistics.datagramsDropped


def test_anMTULoweredUnderWayCostsNoDatagram(lan: Lan, family: int) -> None:
    """When an interface's MTU falls below the datagrams they go on one by one, in fragments."""
    a, b, _ = lan.hosts
    there = Destination(addressOf(b, family), PORT)
    with receiverOn(b, family) as receiver, a, opened(there) as made:
        statistics = made.destination.statistics
        wanted = numbered(20, 1400)
        sendAll(made, wanted)
        assert receiver.payloads(20) == wanted
        assert statistics.datagramsSegmented == 20
        a.run("ip", "link", "set", "eth0", "mtu", "1280")
        for _ in range(3):
            sendAll(made, wanted)
            sendAll(made, wanted[:1])
            assert receiver.payloads(21) == [*wanted, wanted[0]]
        assert statistics.datagramsSegmented == 20
        assert statistics.segmentationRefused in CANNOT_SEGMENT
        # Smaller ones still go many in a call.
        sendAll(made, numbered(20, 1000))
        assert receiver.payloads(20) == numbered(20, 1000)
        assert statistics.datagramsSegmented == 40
        assert (statistics.datagramsSent, statistics.datagramsDropped) == (103, 0)


def test_aPathMTUIsLearnedFromItsRouter(lan: Lan, family: int) -> None:
    """
    When a router says that datagrams are too large for the next link they go in fragments.

    Only those are lost that were sent before it said so.
    """
    a, b, _ = lan.hosts
    _, far = lan.addLink(b, "far", 4)
    for version in ("ipv4", "ipv6"):
        b.sysctl(f"net.{version}.conf.all.forwarding", 1)
    b.run("ip", "link", "set", "eth1", "mtu", "1280")
    there, by = addressOf(far, family), addressOf(b, family)
    a.run("ip", "route", "add", there, "via", by)
    with receiverOn(far, family) as receiver, a, opened(Destination(there, PORT)) as made:
        statistics = made.destination.statistics
        deadline = time.monotonic() + SECONDS
        sent = 0
        while not (statistics.reported[errno.EMSGSIZE] or statistics.segmentationRefused):
            assert time.monotonic() < deadline, statistics
            # Over IPv4 trains go without DF, so routers cut them up; what is alone has it.
            sendAll(made, numbered(20, 1400))
            sendAll(made, numbered(1, 1400))
            sent += 21
            time.sleep(0.001)
        wanted = numbered(60, 1400, 1000)
        for at in range(0, 60, 20):
            sendAll(made, wanted[at : at + 20])
        received: list[bytes] = []
        while wanted[-1] not in received[-1:]:
            received += receiver.payloads(1)
        assert received[-60:] == wanted
        assert (statistics.datagramsSent, statistics.datagramsDropped) == (sent + 60, 0)


def test_aFullInterfaceQueueIsCounted(lan: Lan, family: int) -> None:
    """What an interface's queue has no room for is ENOBUFS; the rest arrives, and both add up."""
    a, b, _ = lan.hosts
    limitQueue(a, "8mbit", 20_000)
    there = Destination(addressOf(b, family), PORT)
    with receiverOn(b, family) as receiver, a, opened(there) as made:
        statistics = made.destination.statistics
        for number in range(100):
            sendAll(made, numbered(1, 1200, number))
        assert set(statistics.errors) == {errno.ENOBUFS}
        assert statistics.datagramsDropped > 50
        assert statistics.datagramsSent + statistics.datagramsDropped == 100
        came = receiver.payloads(statistics.datagramsSent)
        every = numbered(100, 1200)
        assert came == [each for each in every if each in came]
        # Room again, and it goes on as if nothing had been.
        sendAll(made, numbered(1, 1200, 1000))
        assert receiver.payloads(1) == numbered(1, 1200, 1000)
        assert receiver.rest() == []


def test_everyDatagramOfATrainThatHasNoRoomIsCounted(lan: Lan, family: int) -> None:
    """Trains that a full queue refuses are counted with all their datagrams."""
    a, b, _ = lan.hosts
    limitQueue(a, "1mbit", 3_000)
    with a, opened(Destination(addressOf(b, family), PORT)) as made:
        statistics = made.destination.statistics
        for _ in range(10):
            sendAll(made, numbered(25, 1000))
        assert set(statistics.errors) == {errno.ENOBUFS}
        assert statistics.datagramsDropped % 25 == 0
        assert statistics.datagramsDropped >= 100
        assert statistics.datagramsSent + statistics.datagramsDropped == 250


def test_aFullSendBufferIsCounted(lan: Lan, family: int) -> None:
    """What waits for a slow interface fills the send buffer; then it is EAGAIN, at once."""
    a, b, _ = lan.hosts
    limitQueue(a, "8kbit", 100_000_000)
    with a, opened(Destination(addressOf(b, family), PORT)) as made:
        statistics = made.destination.statistics
        began = time.monotonic()
        for _ in range(100):
            sendAll(made, numbered(1, 1400) * 40)
        assert time.monotonic() - began < 5
        assert set(statistics.errors) == {errno.EAGAIN}
        assert 0 < statistics.datagramsSent < 3000
        assert statistics.datagramsSent + statistics.datagramsDropped == 4000
        sendAll(made, numbered(1, 10))
        assert statistics.errors[errno.EAGAIN] == statistics.datagramsDropped


def test_anInterfaceThatIsDownIsCounted(lan: Lan, family: int) -> None:
    """While the interface is down every datagram is dropped and counted; up again, they arrive."""
    a, b, _ = lan.hosts
    a.sysctl("net.ipv6.conf.all.keep_addr_on_down", 1)
    there = Destination(addressOf(b, family), PORT)
    with receiverOn(b, family) as receiver, a, opened(there) as made:
        sendAll(made, numbered(5, 100))
        assert receiver.payloads(5) == numbered(5, 100)
        a.run("ip", "link", "set", "eth0", "down")
        sendAll(made, numbered(5, 100))
        statistics = made.destination.statistics
        assert statistics.datagramsDropped == 5
        assert set(statistics.errors) <= {errno.ENETUNREACH, errno.ENETDOWN, errno.EINVAL}
        a.run("ip", "link", "set", "eth0", "up")
        made.open()
        sendAll(made, numbered(5, 100))
        assert receiver.payloads(5) == numbered(5, 100)
        assert (statistics.datagramsSent, statistics.datagramsDropped) == (10, 5)
