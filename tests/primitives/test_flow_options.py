"""What a flow sets once on its socket, as the receiver or the wire has it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from tests.primitives.flows import Receiver, numbered, opened, sendAll, to
from tests.primitives.support import GROUP, LOOPBACK
from txgroupsock.primitives import Destination, SocketOptionError, flow
from txgroupsock.testing.namespaces import Namespace
from txgroupsock.testing.wire import Capture, datagram

pytestmark = pytest.mark.lan

FARAWAY = {socket.AF_INET: "10.9.9.9", socket.AF_INET6: "fd09::9"}
WILDCARD = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
MAC = "02:00:00:00:00:99"

# The IPv6 routes by eth0 are the longer ones, so it is eth0 unless somebody insists.
TWO_LINKS = f"""
    link add name eth0 type veth peer name far0
    link add name eth1 type veth peer name far1
    addr add 10.0.0.1/24 dev eth0
    addr add 10.0.1.1/24 dev eth1
    addr add fd00::1/64 dev eth0 nodad
    addr add fd01::1/64 dev eth1 nodad
    link set far0 up
    link set far1 up
    link set eth0 up
    link set eth1 up
    route add 10.9.9.9/32 dev eth0
    route add fd09::9/128 dev eth0
    route add fd09::/64 dev eth1
    neigh add 10.9.9.9 lladdr {MAC} dev eth0
    neigh add 10.9.9.9 lladdr {MAC} dev eth1
    neigh add fd09::9 lladdr {MAC} dev eth0
    neigh add fd09::9 lladdr {MAC} dev eth1
"""


def addressOn(family: socket.AddressFamily, link: int) -> str:
    """The address of this host on one of its two links."""
    return f"10.0.{link}.1" if family == socket.AF_INET else f"fd0{link}::1"


@pytest.fixture
def twoLinks(namespaces: None) -> Iterator[Namespace]:
    """A host with two links; routes to a host far away lead by the first.  The test is inside."""
    made = Namespace()
    try:
        made.raiseLoopback()
        made.sysctl("net.ipv6.conf.default.addr_gen_mode", 1)
        made.run("ip", "-batch", "-", stdin=TWO_LINKS)
        with made:
            yield made
    finally:
        made.close()


@pytest.mark.usefixtures("namespace")
def test_unicastHasItsTTLAndDSCP(family: socket.AddressFamily) -> None:
    """Datagrams alone and in trains have the TTL and DSCP that were given, else the kernel's."""
    with (
        Receiver(LOOPBACK[family]) as receiver,
        opened(to(receiver, ttl=7, dscp=34)) as chosen,
        opened(to(receiver)) as usual,
    ):
        sendAll(chosen, numbered(1, 10))
        sendAll(chosen, numbered(20, 10))
        sendAll(usual, numbered(1, 10))
        came = [receiver.take() for _ in range(22)]
        assert {(each.ttl, each.dscp) for each in came[:-1]} == {(7, 34)}
        assert came[-1].ttl > 30
        assert came[-1].dscp == 0
        assert chosen.destination.statistics.datagramsSegmented == 20


def test_multicastHasItsTTLInterfaceAndDSCP(
    twoLinks: Namespace, family: socket.AddressFamily
) -> None:
    """A group gets them too, in a train as well, by the interface that was named; 1 is usual."""
    group, index = GROUP[family], socket.if_nametoindex("eth1")
    with (
        Receiver(WILDCARD[family], group=group, interface=index) as receiver,
        opened(Destination(group, receiver.port, ttl=9, dscp=46, interface="eth1")) as chosen,
        opened(Destination(group, receiver.port, interface="eth1")) as usual,
    ):
        sendAll(chosen, numbered(1, 10))
        sendAll(chosen, numbered(20, 10))
        sendAll(usual, numbered(1, 10))
        came = [receiver.take() for _ in range(22)]
        assert {(each.ttl, each.dscp) for each in came[:-1]} == {(9, 46)}
        assert (came[-1].ttl, came[-1].dscp) == (1, 0)
        assert {each.interface for each in came} == {index}
        assert {each.sender[0] for each in came} == {addressOn(family, 1)}


@pytest.mark.parametrize("isGroup", [False, True])
def test_theSourceAddressIsThatGiven(
    twoLinks: Namespace, family: socket.AddressFamily, isGroup: bool
) -> None:
    """On the wire the sender is the chosen address of this host, whichever the link has."""
    there = GROUP[family] if isGroup else FARAWAY[family]
    source = addressOn(family, 1)
    with (
        Capture(twoLinks, "eth0") as wire,
        opened(Destination(there, 5000, interface="eth0", source=source)) as made,
    ):
        sendAll(made, [b"chosen"])
        seen = wire.waitFor(datagram(b"chosen", destination=there, outgoing=True))
        assert (seen.source, seen.sourcePort) == (source, made.port)


@pytest.mark.parametrize("link", [0, 1])
def test_theInterfaceOverridesTheRoutes(
    twoLinks: Namespace, family: socket.AddressFamily, link: int
) -> None:
    """Unicast leaves by the interface that was named though the routes lead by another."""
    there = Destination(FARAWAY[family], 5000, interface=f"eth{link}")
    with (
        Capture(twoLinks, f"eth{link}") as wire,
        Capture(twoLinks, f"eth{1 - link}") as other,
        opened(there) as made,
    ):
        sendAll(made, [b"named"])
        seen = wire.waitFor(datagram(b"named", outgoing=True))
        assert seen.source == addressOn(family, link)
        # The routes are another matter then: the kernel looks it up anew.
        twoLinks.run("ip", "route", "add", "10.7.7.0/24", "dev", "eth0")
        twoLinks.run("ip", "-6", "route", "add", "fd07::/64", "dev", "eth0")
        twoLinks.run("ip", "link", "set", "eth1", "mtu", "1400")
        sendAll(made, [b"again"])
        wire.waitFor(datagram(b"again", outgoing=True))
        assert not [each for each in other.drain() if datagram()(each)]
        assert made.destination.statistics.datagramsSent == 2


def test_theInterfaceOverridesTheRoutesAlsoWithASource(
    twoLinks: Namespace, family: socket.AddressFamily
) -> None:
    """A source address that was given too lets no route lead elsewhere."""
    there = Destination(FARAWAY[family], 5000, interface="eth1", source=addressOn(family, 1))
    with Capture(twoLinks, "eth1") as wire, opened(there) as made:
        sendAll(made, [b"named"])
        wire.waitFor(datagram(b"named", outgoing=True))


def test_whereNoInterfaceIsNamedTheRoutesDecide(
    twoLinks: Namespace, family: socket.AddressFamily
) -> None:
    """Without an interface it leaves by the route, from that link's address."""
    with Capture(twoLinks, "eth0") as wire, opened(Destination(FARAWAY[family], 5000)) as made:
        sendAll(made, [b"routed"])
        seen = wire.waitFor(datagram(b"routed", outgoing=True))
        assert seen.source == addressOn(family, 0)


def test_anInterfaceOfThisHostsOwnAddressReachesIt(
    twoLinks: Namespace, family: socket.AddressFamily
) -> None:
    """An address of this host is reached though its interface is named."""
    with (
        Receiver(addressOn(family, 1)) as receiver,
        opened(to(receiver, interface="eth1")) as made,
    ):
        sendAll(made, numbered(3, 10))
        assert receiver.payloads(3) == numbered(3, 10)


def test_withoutTheRightToBindItStillSends(
    twoLinks: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a socket may not be bound to a device (Linux before 5.7), the interface is a wish."""

    def refuse(sock: socket.socket, name: str) -> None:
        assert name == "eth1"
        raise SocketOptionError(errno.EPERM, "bind to the device")

    monkeypatch.setattr(flow, "bindToDevice", refuse)
    with (
        Capture(twoLinks, "eth1") as wire,
        opened(Destination("fd09::9", 5000, interface="eth1")) as made,
    ):
        sendAll(made, [b"wished"])
        wire.waitFor(datagram(b"wished", outgoing=True))


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENOMEM])
def test_anOptionThatIsRefusedClosesTheSocket(
    twoLinks: Namespace, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Any other refusal is raised, and the flow stays closed."""

    def refuse(sock: socket.socket, name: str) -> None:
        raise SocketOptionError(number, "bind to the device")

    monkeypatch.setattr(flow, "bindToDevice", refuse)
    made = flow.Flow(Destination("fd09::9", 5000, interface="eth1"))
    with pytest.raises(SocketOptionError):
        made.open()
    assert not made.isOpen


def test_itHearsNothing(twoLinks: Namespace, family: socket.AddressFamily) -> None:
    """What others send to a flow's port is not let in, so it takes up no memory."""
    with (
        Receiver(LOOPBACK[family]) as receiver,
        opened(to(receiver)) as made,
        socket.socket(family, socket.SOCK_DGRAM) as stranger,
    ):
        assert made.localAddress is not None
        for _ in range(5):
            stranger.sendto(bytes(1000), made.localAddress)
        assert made._socket is not None
        with pytest.raises(BlockingIOError):
            made._socket.recv(1)
