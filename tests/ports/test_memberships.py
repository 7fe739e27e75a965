"""Memberships as values: many at once, whole filters, every interface, and beyond the limits."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import pytest_twisted

from tests.lan.listener import Listener
from tests.ports.support import Listen, OpenSocket
from txgroupsock import GroupsockReactor, JoinError, UDPPort
from txgroupsock.primitives import SourceFilter
from txgroupsock.testing.lan import Lan
from txgroupsock.testing.namespaces import Namespace

GROUP = {socket.AF_INET: "232.1.2.3", socket.AF_INET6: "ff35::8000:1"}
SOURCES = {
    socket.AF_INET: [f"10.1.0.{number}" for number in range(1, 80)],
    socket.AF_INET6: [f"fd00::{number:x}" for number in range(1, 80)],
}


def sources(port: Any) -> list[str]:
    """The sources of everything that is joined."""
    return [str(each.source) for each in port.getMemberships()]


@pytest_twisted.ensureDeferred
async def test_severalSourcesAtOnce(
    multicastLoopback: Namespace, listen: Listen, family: socket.AddressFamily
) -> None:
    """Several sources are joined with one call, and are a membership each."""
    port = listen(Listener(), "lo", family=family)
    joined = await port.joinSourceGroups(GROUP[family], SOURCES[family][:3])
    assert joined == port.getMemberships()
    assert sources(port) == SOURCES[family][:3]


@pytest_twisted.ensureDeferred
async def test_severalSourcesOrNone(multicastLoopback: Namespace, listen: Listen) -> None:
    """If one of several sources is refused, none is joined."""
    port = listen(Listener(), "lo")
    with pytest.raises(JoinError, match="igmp_max_msf"):
        await port.joinSourceGroups("232.1.2.3", SOURCES[socket.AF_INET][:11])
    assert port.getMemberships() == []
    assert "e8010203" not in multicastLoopback.readNet("mcfilter").replace("0x", "").lower()


@pytest_twisted.ensureDeferred
async def test_wholeFilters(
    multicastLoopback: Namespace, listen: Listen, family: socket.AddressFamily
) -> None:
    """A filter is replaced at once, read back from the kernel, and known as memberships."""
    port = listen(Listener(), "lo", family=family)
    one, two, three = SOURCES[family][:3]
    await port.joinGroup(GROUP[family])
    assert await port.getSourceFilter(GROUP[family]) == SourceFilter(False, [])
    await port.setSourceFilter(GROUP[family], SourceFilter(True, [one, two]))
    assert await port.getSourceFilter(GROUP[family]) == SourceFilter(True, [one, two])
    assert sorted(sources(port)) == [one, two]
    await port.setSourceFilter(GROUP[family], SourceFilter(False, [three]))
    assert await port.getSourceFilter(GROUP[family]) == SourceFilter(False, [three])
    assert [each.source for each in port.getMemberships()] == [None]
    await port.setSourceFilter(GROUP[family], SourceFilter(True, []))
    assert port.getMemberships() == []
    with pytest.raises(JoinError, match="not a member"):
        await port.getSourceFilter(GROUP[family])


@pytest.mark.lan
@pytest_twisted.ensureDeferred
async def test_everyInterface(reactor: Any) -> None:
    """A group is joined on all interfaces that carry multicast; one that cannot is passed over."""
    with Lan(2) as lan:
        a = lan["a"]
        link, _ = lan.addLink(a, "d")
        a.run("ip", "link", "set", "dev", "lo", "multicast", "off")
        a.run("ip", "link", "add", "name", "down0", "type", "bridge")
        with a:
            port = GroupsockReactor(reactor).listenMulticast(0, Listener(), "::")
            joined = await port.joinGroupEverywhere("ff15::1")
            assert {each.interface for each in joined} == {a.index, link.index}
            for each in (a.index, link.index):
                await port.leaveGroup("ff15::1", each)
            a.run("ip", "link", "set", "dev", "eth0", "down")
            a.run("ip", "link", "set", "dev", "eth1", "down")
            with pytest.raises(JoinError, match="no interface that is up"):
                await port.joinGroupEverywhere("ff15::1")
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_beyondTheLimits(
    multicastLoopback: Namespace, listen: Listen, openSocket: OpenSocket, reactor: Any
) -> None:
    """Spread over several sockets, a port has any number of groups, each heard once."""
    listener = Listener()
    port = listen(listener, "lo", spread=True)
    groups = [f"239.1.0.{number}" for number in range(50)]
    for group in groups:
        await port.joinGroup(group)
    assert len(port.getMemberships()) == 50
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for group in groups:
            sender.sendto(group.encode(), (group, port.getHost().port))
        await listener.has(reactor, 50)
        assert sorted(payload.decode() for payload, _ in listener.received) == sorted(groups)
        for group in groups[15:35]:
            await port.leaveGroup(group)
        assert len(port.getMemberships()) == 30
        await port.joinGroup("239.9.9.9")
        port.pauseProducing()
        for group in groups:
            sender.sendto(group.encode(), (group, port.getHost().port))
        port.resumeProducing()
        await listener.has(reactor, 80)
    assert len(listener.received) == 80
    assert port.statistics.datagramsReceived == 80
    assert port.kernelDrops() == 0


@pytest_twisted.ensureDeferred
async def test_sourcesBeyondTheLimit(
    multicastLoopback: Namespace, listen: Listen, reactor: Any
) -> None:
    """A port that is spread hears more sources of a group than one socket may."""
    listener = Listener()
    port = listen(listener, "lo", spread=True)
    everybody = [f"127.0.0.{number}" for number in range(1, 26)]
    await port.joinSourceGroups("232.1.2.3", everybody)
    assert sources(port) == everybody
    for host in [*everybody, "127.0.0.99"]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind((host, 0))
            sender.sendto(host.encode(), ("232.1.2.3", port.getHost().port))
    await listener.has(reactor, 25)
    assert sorted(listener.hosts) == sorted(everybody)
    for host in everybody[5:]:
        await port.leaveSourceGroup("232.1.2.3", host)
    assert sources(port) == everybody[:5]
    await port.leaveGroup("232.1.2.3")
    assert port.getMemberships() == []


@pytest.mark.parametrize(
    "calls", [("pauseProducing", "resumeProducing"), ("stopReading", "startReading")]
)
@pytest_twisted.ensureDeferred
async def test_pausingPausesEverySocket(
    multicastLoopback: Namespace, listen: Listen, reactor: Any, calls: tuple[str, str]
) -> None:
    """A port that is spread reads none of its sockets while it is paused, by either name."""
    listener = Listener()
    port = listen(listener, "lo", spread=True)
    groups = [f"239.1.0.{number}" for number in range(25)]
    for group in groups:
        await port.joinGroup(group)
    getattr(port, calls[0])()
    readers = [each for each in reactor.getReaders() if isinstance(each, UDPPort)]
    assert readers == []
    getattr(port, calls[1])()
    readers = [each for each in reactor.getReaders() if isinstance(each, UDPPort)]
    assert len(readers) == 2


@pytest_twisted.ensureDeferred
async def test_latencyOfAll(multicastLoopback: Namespace, listen: Listen) -> None:
    """The latency of a port that is spread is that of all its sockets."""
    port = listen(Listener(), "lo", spread=True)
    for number in range(30):
        await port.joinGroup(f"239.1.0.{number}")
    port.latency = 0.25
    assert [each.latency for each in port._helpers] == [0.25]
