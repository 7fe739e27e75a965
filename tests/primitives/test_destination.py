"""Destinations: what travels with each message, runs on every path, and what is counted."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txgroupsock.primitives import (
    AddressError,
    Destination,
    SocketOptionError,
    UnknownInterface,
    segmentation,
)
from txgroupsock.testing.lan import Host, Lan

HOSTS = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


@pytest.fixture
def sender(family: int) -> Iterator[socket.socket]:
    """A socket to send by."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        yield sock


@pytest.fixture
def receiver(family: int) -> Iterator[socket.socket]:
    """A socket on loopback with room for a few runs."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        sock.bind((HOSTS[socket.AddressFamily(family)], 0))
        sock.settimeout(5)
        yield sock


def to(receiver: socket.socket, **options: int) -> Destination:
    """The destination that a socket is."""
    host, port = receiver.getsockname()[:2]
    return Destination(host, port, **options)  # type: ignore[arg-type] # all of them are numbers


def test_oneDatagramIsSentAndCounted(sender: socket.socket, receiver: socket.socket) -> None:
    """A datagram arrives, and is counted with its bytes."""
    there = to(receiver)
    assert there.send(sender, b"one")
    assert receiver.recv(100) == b"one"
    assert (there.statistics.datagramsSent, there.statistics.bytesSent) == (1, 3)


def test_anEmptyDatagramIsSent(sender: socket.socket, receiver: socket.socket) -> None:
    """An empty run is one empty datagram."""
    there = to(receiver)
    assert there.sendRun(sender, b"", 0) == 1
    assert receiver.recv(100) == b""
    assert there.statistics.datagramsSent == 1


@given(
    host=st.sampled_from(list(HOSTS.values())),
    size=st.sampled_from([1, 100, 188, 1316, 9000, 65507]),
    count=st.integers(1, 70),
    last=st.integers(1, 65507),
    isSegmented=st.booleans(),
)
def test_runsArriveWholeOnEveryPath(
    host: str, size: int, count: int, last: int, isSegmented: bool
) -> None:
    """Whether the kernel cuts a run up or we do, the same datagrams arrive in the same order."""
    count = min(count, 1_000_000 // size)
    run = b"".join(bytes([number + 1]) * size for number in range(count))
    run += bytes([200]) * min(last, size)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.socket(family, socket.SOCK_DGRAM) as receiver,
        socket.socket(family, socket.SOCK_DGRAM) as sender,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        receiver.bind((host, 0))
        receiver.settimeout(5)
        there = to(receiver)
        if not isSegmented:
            with pytest.MonkeyPatch.context() as without:
                without.setattr(segmentation, "UDP_SEGMENT", None)
                there = to(receiver)
        assert there.sendRun(sender, run, size) == count + 1
        for start in range(0, len(run), size):
            assert receiver.recv(65536) == run[start : start + size]
    statistics = there.statistics
    assert (statistics.datagramsSent, statistics.bytesSent) == (count + 1, len(run))
    assert statistics.datagramsDropped == 0
    if not isSegmented:
        assert statistics.datagramsSegmented == 0
    elif size <= 9000:
        # A single datagram that is left over needs no cutting up.
        assert statistics.datagramsSegmented >= count


@pytest.fixture
def lan() -> Iterator[Lan]:
    """Two hosts."""
    with Lan(2) as lan:
        yield lan


def receivers(host: Host, family: int) -> socket.socket:
    """A socket of a host."""
    sock = host.socket(family)
    sock.bind((host.ipv4 if family == socket.AF_INET else host.ipv6, 5000))
    sock.settimeout(5)
    return sock


@pytest.mark.lan
def test_whatDoesNotFitThePathIsSentOneByOne(lan: Lan, family: int) -> None:
    """Datagrams over the interface's MTU cannot be segments; they go one by one, visibly."""
    a, b = lan.hosts
    a.run("ip", "link", "set", "dev", "eth0", "mtu", "1400")
    run = b"".join(bytes([number]) * 1500 for number in range(10))
    with receivers(b, family) as receiver, a.socket(family) as sender:
        there = Destination(receiver.getsockname()[0], 5000)
        assert there.sendRun(sender, run, 1500) == 10
        assert [receiver.recv(2000)[0] for _ in range(10)] == list(range(10))
        assert there.statistics.datagramsSent == 10
        assert there.statistics.datagramsSegmented == 0
        assert there.statistics.segmentationRefused in {errno.EMSGSIZE, errno.EINVAL}
        # Smaller ones still can.
        assert there.sendRun(sender, bytes(10000), 1000) == 10
        assert there.statistics.datagramsSegmented == 10
        assert there.statistics.segmentationRefused is None


@pytest.mark.lan
def test_segmentsAreTriedAgainInAWhile(
    lan: Lan, family: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the path can take them again, runs are sent with one call again."""
    monkeypatch.setattr(segmentation, "_RETRY", 20)
    a, b = lan.hosts
    a.run("ip", "link", "set", "dev", "eth0", "mtu", "1400")
    with receivers(b, family) as receiver, a.socket(family) as sender:
        there = Destination(receiver.getsockname()[0], 5000)
        there.sendRun(sender, bytes(14500), 1450)
        assert there.statistics.datagramsSegmented == 0
        a.run("ip", "link", "set", "dev", "eth0", "mtu", "1500")
        there.sendRun(sender, bytes(14500), 1450)
        assert there.statistics.datagramsSegmented == 0
        there.sendRun(sender, bytes(14500), 1450)
        assert there.statistics.datagramsSegmented == 10
        assert there.statistics.datagramsSent == 30


def test_withoutARouteEverythingIsCounted(family: int, sender: socket.socket) -> None:
    """What the network refuses is dropped and counted by errno, and nothing is raised."""
    there = Destination("203.0.113.1" if family == socket.AF_INET else "2001:db8::1", 9)
    assert there.sendRun(sender, bytes(5000), 1000) == 5
    assert there.statistics.datagramsDropped == 5
    assert there.statistics.errors == {errno.ENETUNREACH: 5}
    assert there.statistics.datagramsSent == 0


@pytest.mark.lan
def test_aFullBufferIsTheCallersBusiness(lan: Lan, family: int) -> None:
    """When the socket's buffer is full, sending stops there and says how far it came."""
    a, _ = lan.hosts
    nobody = "10.0.0.77" if family == socket.AF_INET else "fd00::77"
    with a.socket(family) as sender:
        sender.setblocking(False)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        there = Destination(nobody, 5000)
        # A neighbour that does not answer keeps what is sent to it in the socket's buffer.
        sent = 0
        for _ in range(100):
            if not there.send(sender, bytes(1000)):
                break
            sent += 1
        assert 0 < sent < 100
        assert there.sendRun(sender, bytes(3000), 1000) == 0
        statistics = there.statistics
        assert (statistics.datagramsSent, statistics.datagramsDropped) == (sent, 0)


def test_whatTravelsWithAMessageArrives(sender: socket.socket, receiver: socket.socket) -> None:
    """TTL and DSCP of two destinations on one socket are each one's own, in a run too."""
    v4 = receiver.family == socket.AF_INET
    level = socket.IPPROTO_IP if v4 else socket.IPPROTO_IPV6
    # IP_RECVTTL and IP_RECVTOS (linux/in.h), which not every Python has
    wanted = (12, 13) if v4 else (socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS)
    for option in wanted:
        receiver.setsockopt(level, option, 1)
    near, far = to(receiver, ttl=3, dscp=8), to(receiver, ttl=77, dscp=46)
    for there in (near, far, near):
        assert there.sendRun(sender, bytes(300), 100) == 3
        for _ in range(3):
            _, ancillary, _, _ = receiver.recvmsg(1000, 100)
            values = {data[0] for _, _, data in ancillary}
            assert values == {there.ttl, (there.dscp or 0) << 2}


def test_badDestinationsAreRefused() -> None:
    """A port, an address, a TTL, a DSCP or an interface that cannot be is refused at once."""
    with pytest.raises(AddressError, match="from 1 to 65535"):
        Destination("127.0.0.1", 0)
    with pytest.raises(AddressError, match="not an IPv4 or IPv6 address"):
        Destination("localhost", 9)
    with pytest.raises(AddressError, match="IPv4"):
        Destination("127.0.0.1", 9, source="::1")
    with pytest.raises(SocketOptionError, match="1 to 255"):
        Destination("127.0.0.1", 9, ttl=0)
    with pytest.raises(SocketOptionError, match="0 to 63"):
        Destination("127.0.0.1", 9, dscp=64)
    with pytest.raises(UnknownInterface, match="eth99"):
        Destination("127.0.0.1", 9, interface="eth99")


def test_reprNamesIt() -> None:
    """It says where, and what is particular about it."""
    shown = repr(Destination("ff02::1", 9, ttl=2, interface="lo"))
    assert shown == "<Destination ff02::1%1 9 ttl=2 interface=1>"
