from __future__ import annotations

import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.interfaces import IMulticastTransport
from twisted.internet.protocol import DatagramProtocol
from zope.interface.verify import verifyObject

from tests.lan.listener import Listener
from txgroupsock import GroupsockReactor, JoinError, Membership
from txgroupsock.interfaces import ISourceMulticastTransport

GROUPS = [("232.1.1.1", "127.0.0.1", ""), ("ff3e::8000:1", "::1", "::")]


@pytest.mark.parametrize(("group", "source", "interface"), GROUPS, ids=["IPv4", "IPv6"])
@pytest_twisted.ensureDeferred
async def test_aStockPortHearsTheChosenSource(
    reactor: Any, group: str, source: str, interface: str
) -> None:
    """And no longer when it has left it; nobody else."""
    listener = Listener()
    port = reactor.listenMulticast(0, listener, interface=interface)
    adapted = ISourceMulticastTransport(listener.transport)
    assert verifyObject(ISourceMulticastTransport, adapted)
    joined = await adapted.joinSourceGroup(group, source, "lo")
    assert joined == Membership.of(group, socket.if_nametoindex("lo"), source)
    other = await adapted.joinSourceGroup(group, "10.9.9.9" if interface == "" else "fd99::9", "lo")
    # Another adapter for the same port knows what this one joined.
    assert ISourceMulticastTransport(port).getMemberships() == [joined, other]
    family = socket.AF_INET6 if interface else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.bind((source, 0))
        target = (group, port.getHost().port)
        if family == socket.AF_INET:
            sender.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1")
            )
            sender.sendto(b"heard", target)
        else:
            sender.sendto(b"heard", (*target, 0, socket.if_nametoindex("lo")))
    await listener.has(reactor, 1)
    assert listener.received[0][0] == b"heard"
    await adapted.leaveSourceGroup(group, source, "lo")
    assert adapted.getMemberships() == [other]
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_sourcesAreBlockedOnAStockPort(reactor: Any) -> None:
    """In a group that it joined from any source by itself."""
    port = reactor.listenMulticast(0, Listener(), interface="")
    await port.joinGroup("239.1.1.1", "127.0.0.1")
    adapted = ISourceMulticastTransport(port)
    await adapted.blockSource("239.1.1.1", "10.0.0.1", "lo")
    await adapted.unblockSource("239.1.1.1", "10.0.0.1", "lo")
    assert adapted.getMemberships() == []
    with pytest.raises(JoinError, match="unblock"):
        await adapted.unblockSource("239.1.1.1", "10.0.0.1", "lo")
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_theMulticastOfAStockIPv6PortWorksThroughTheAdapter(reactor: Any) -> None:
    """Twisted's own joins no IPv6 group by interface, and sets the TTL of IPv4."""
    port = reactor.listenMulticast(0, Listener(), interface="::")
    adapted: Any = ISourceMulticastTransport(port)
    await adapted.joinGroup("ff15::1", "lo")
    adapted.setTTL(7)
    assert adapted.getTTL() == 7
    hops = port.getHandle().getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS)
    assert hops == 7
    await adapted.leaveGroup("ff15::1", "lo")
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_thePortIsAdaptedWhereverItListens(reactor: Any) -> None:
    """An address names its interface."""
    port = reactor.listenMulticast(0, Listener(), interface="127.0.0.1")
    adapted = ISourceMulticastTransport(port)
    joined = await adapted.joinSourceGroup("232.1.1.1", "10.0.0.1")
    assert joined.interface == socket.if_nametoindex("lo")
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_ourOwnPortIsItself(reactor: Any) -> None:
    """It needs no adapter."""
    port = GroupsockReactor(reactor).listenMulticast(0, Listener())
    assert ISourceMulticastTransport(port) is port
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_whatHasNoSocketIsNotAdapted(reactor: Any) -> None:
    """A port that has been closed, or a plain UDP port."""
    port = reactor.listenMulticast(0, Listener())
    await port.stopListening()
    assert ISourceMulticastTransport(port, None) is None
    plain = reactor.listenUDP(0, DatagramProtocol(), interface="127.0.0.1")
    isMulticast = IMulticastTransport.providedBy(plain)
    assert (ISourceMulticastTransport(plain, None) is not None) == isMulticast
    await plain.stopListening()
