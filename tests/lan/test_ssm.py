"""Source-specific multicast between hosts: what is delivered, and what is said on the wire."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen
from twisted.internet import defer

from tests.lan.listener import Listener
from txgroupsock import GroupsockReactor, JoinError, UDPPort
from txgroupsock.testing.lan import Host, Lan
from txgroupsock.testing.wire import Capture, Frame, GroupRecord, RecordKind, datagram

Begin = Callable[..., Capture]

PORT = 5004
COUNT = 5


@frozen
class Family:
    """What differs between IPv4 and IPv6 in these tests."""

    number: socket.AddressFamily
    group: str
    everywhere: str

    def addressOf(self, host: Host) -> str:
        return host.ipv4 if self.number == socket.AF_INET else host.ipv6

    def listen(self, reactor: Any, host: Host, interface: str = "") -> tuple[UDPPort, Listener]:
        """A port of a host, on one interface or on all."""
        listener = Listener()
        with host:
            port = GroupsockReactor(reactor).listenMulticast(
                PORT,
                listener,
                interface or self.everywhere,
                listenMultiple=True,
                family=self.number,
            )
        return port, listener

    def send(self, host: Host, count: int = COUNT, group: str = "") -> None:
        """Send datagrams to the group, from an interface's address of this family."""
        with host.socket(self.number) as sender:
            sender.bind((self.addressOf(host), 0))
            for number in range(count):
                sender.sendto(b"%s %d" % (host.name.encode(), number), (group or self.group, PORT))


def said(
    kind: RecordKind, group: str, source: str | None = None
) -> Callable[[Frame], GroupRecord | None]:
    """
    Find what a host says of one source of a group, or of the group without sources.

    Changes that follow each other soon are put into one record, so there may be other sources.
    """

    def wanted(frame: Frame) -> GroupRecord | None:
        if not frame.outgoing:
            return None
        for record in frame.records:
            if (record.kind, record.group) != (kind, group):
                continue
            if source in record.sources or (source is None and not record.sources):
                return record
        return None

    return wanted


FAMILIES = [
    pytest.param(Family(socket.AF_INET, "232.1.1.1", "0.0.0.0"), id="IPv4"),
    pytest.param(Family(socket.AF_INET6, "ff3e::8000:1", "::"), id="IPv6"),
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest_twisted.ensureDeferred
async def test_onlyTheChosenSourceIsDelivered(lan: Lan, reactor: Any, family: Family) -> None:
    """Of two hosts that send to the same group and port, only the chosen one is heard."""
    a, b, c = lan.hosts
    # A second socket on the same host hears both, so both are known to have arrived there.
    control, everything = family.listen(reactor, c)
    port, chosen = family.listen(reactor, c)
    with c:
        await control.joinGroup(family.group, "eth0")
        await port.joinSourceGroup(family.group, family.addressOf(a), "eth0")
    lan.waitForMember(c, family.group)
    wanted = {family.addressOf(a), family.addressOf(b)}
    # A switch that has just learnt of a member may yet drop a datagram, so send until both are
    # heard; both sockets are asked about each datagram at once.
    for _ in range(20):
        family.send(b)
        family.send(a)
        with suppress(defer.TimeoutError):
            await everything.has(reactor, len(everything.received) + 2 * COUNT, 0.5)
        if set(everything.hosts) == wanted:
            break
    assert set(everything.hosts) == wanted
    fromChosen = everything.hosts.count(family.addressOf(a))
    await chosen.has(reactor, fromChosen)
    assert chosen.hosts == [family.addressOf(a)] * fromChosen
    await control.stopListening()
    await port.stopListening()


@pytest.mark.parametrize("family", FAMILIES)
@pytest_twisted.ensureDeferred
async def test_reportsNameTheSource(lan: Lan, reactor: Any, capture: Begin, family: Family) -> None:
    """Joining and leaving a source is said to the routers as RFC 3376 and RFC 3810 have it."""
    a, b, c = lan.hosts
    port, _ = family.listen(reactor, c)
    wire = capture(c)
    first, second = family.addressOf(a), family.addressOf(b)
    with c:
        await port.joinSourceGroup(family.group, first, "eth0")
        await wire.until(reactor, said(RecordKind.ALLOW_NEW_SOURCES, family.group, first))
        await port.joinSourceGroup(family.group, second, "eth0")
        await wire.until(reactor, said(RecordKind.ALLOW_NEW_SOURCES, family.group, second))
        await port.leaveSourceGroup(family.group, first, "eth0")
        await wire.until(reactor, said(RecordKind.BLOCK_OLD_SOURCES, family.group, first))
    await port.stopListening()
    # Closing the socket leaves what is still joined.
    await wire.until(reactor, said(RecordKind.BLOCK_OLD_SOURCES, family.group, second))


@pytest.mark.parametrize("family", FAMILIES)
@pytest_twisted.ensureDeferred
async def test_anySourceReportsAreThoseOfAnySource(
    lan: Lan, reactor: Any, capture: Begin, family: Family
) -> None:
    """Joining from any source excludes none; blocking a source excludes it."""
    a, _, c = lan.hosts
    port, _ = family.listen(reactor, c, "eth0")
    wire = capture(c)
    blocked = family.addressOf(a)
    with c:
        await port.joinGroup(family.group)
        await wire.until(reactor, said(RecordKind.CHANGE_TO_EXCLUDE_MODE, family.group))
        await port.blockSource(family.group, blocked)
        await wire.until(reactor, said(RecordKind.BLOCK_OLD_SOURCES, family.group, blocked))
        await port.unblockSource(family.group, blocked)
        await wire.until(reactor, said(RecordKind.ALLOW_NEW_SOURCES, family.group, blocked))
        await port.leaveGroup(family.group)
        await wire.until(reactor, said(RecordKind.CHANGE_TO_INCLUDE_MODE, family.group))
    await port.stopListening()


@pytest.mark.parametrize("family", FAMILIES)
@pytest_twisted.ensureDeferred
async def test_leavingReallyLeaves(lan: Lan, reactor: Any, family: Family) -> None:
    """After leaving, neither the switch nor the kernel passes the group on."""
    a, _, c = lan.hosts
    control, everything = family.listen(reactor, c)
    port, heard = family.listen(reactor, c)
    source = family.addressOf(a)
    with c:
        await port.joinSourceGroup(family.group, source, "eth0")
        lan.waitForMember(c, family.group, source)
        family.send(a)
        await heard.has(reactor, COUNT)
        await port.leaveSourceGroup(family.group, source, "eth0")
        assert port.getMemberships() == []
        lan.waitForNoMember(c, family.group, source)
        # Joined by another socket of the host, the group comes back, but not to this one.
        await control.joinGroup(family.group, "eth0")
        lan.waitForMember(c, family.group)
    family.send(a)
    await everything.has(reactor, COUNT)
    assert len(heard.received) == COUNT
    await control.stopListening()
    await port.stopListening()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("naming", ["name", "index", "address"])
@pytest_twisted.ensureDeferred
async def test_aGroupIsJoinedOnTheInterfaceThatIsNamed(
    lan: Lan, reactor: Any, capture: Begin, family: Family, naming: str
) -> None:
    """A name, an index or an address says which interface joins; the other one stays silent."""
    a = lan["a"]
    link, peer = lan.addLink(a, "d")
    address = link.ipv4 if family.number == socket.AF_INET else link.ipv6
    named: dict[str, str | int] = {"name": "eth1", "index": link.index, "address": address}
    interface = named[naming]
    port, heard = family.listen(reactor, a)
    wire, other = capture(a, "eth1"), capture(a, "eth0")
    source = peer.ipv4 if family.number == socket.AF_INET else peer.ipv6
    wanted = said(RecordKind.ALLOW_NEW_SOURCES, family.group, source)
    with a:
        membership = await port.joinSourceGroup(family.group, source, interface)
    assert membership.interface == link.index
    await wire.until(reactor, wanted)
    link.switch.waitForMDB(
        lambda entries: any(each.group == family.group and each.port == "a" for each in entries)
    )
    family.send(peer)
    await heard.has(reactor, COUNT)
    assert not any(wanted(frame) for frame in other.drain())
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_equalLinkLocalAddressesAreToldApart(lan: Lan, reactor: Any) -> None:
    """Two hosts on two links may have the same link-local address; each gets its own answer."""
    a, b = lan["a"], lan["b"]
    link, d = lan.addLink(a, "d")
    assert b.linkLocal == d.linkLocal
    family = Family(socket.AF_INET6, "ff02::4242", "::")
    port, heard = family.listen(reactor, a)
    near, nearHeard = family.listen(reactor, b)
    far, farHeard = family.listen(reactor, d)
    with b:
        near.write(b"from b", (f"{a.linkLocal}%eth0", PORT))
    await heard.has(reactor, 1)
    with d:
        far.write(b"from d", (f"{a.linkLocal}%eth0", PORT))
    await heard.has(reactor, 2)
    # A scope has the number of the interface here: this process knows other names.
    assert heard.received == [
        (b"from b", (f"{b.linkLocal}%{a.index}", PORT)),
        (b"from d", (f"{d.linkLocal}%{link.index}", PORT)),
    ]
    for payload, sender in heard.received:
        with a:
            port.write(b"answer to " + payload, sender)
    await nearHeard.has(reactor, 1)
    await farHeard.has(reactor, 1)
    assert nearHeard.received[0][0] == b"answer to from b"
    assert farHeard.received[0][0] == b"answer to from d"
    for each in (port, near, far):
        await each.stopListening()


@pytest_twisted.ensureDeferred
async def test_theSameGroupOnTwoLinksIsTwoMemberships(lan: Lan, reactor: Any) -> None:
    """A link-local group joined on one link is not heard from the other."""
    a, b = lan["a"], lan["b"]
    link, d = lan.addLink(a, "d")
    family = Family(socket.AF_INET6, "ff02::4242", "::")
    port, heard = family.listen(reactor, a)
    with a:
        await port.joinGroup("ff02::4242%eth1")
    link.switch.waitForMDB(
        lambda entries: any(each.group == family.group and each.port == "a" for each in entries)
    )
    with b.socket(socket.AF_INET6) as sender:
        sender.sendto(b"on eth0", ("ff02::4242", PORT, 0, b.index))
    with d.socket(socket.AF_INET6) as sender:
        sender.sendto(b"on eth1", ("ff02::4242", PORT, 0, d.index))
    await heard.has(reactor, 1)
    with a:
        await port.joinGroup("ff02::4242", "eth0")
    lan.waitForMember(a, family.group)
    with b.socket(socket.AF_INET6) as sender:
        sender.sendto(b"on eth0 again", ("ff02::4242", PORT, 0, b.index))
    await heard.has(reactor, 2)
    assert [payload for payload, _ in heard.received] == [b"on eth1", b"on eth0 again"]
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_multicastLeavesByTheChosenInterface(lan: Lan, reactor: Any, capture: Begin) -> None:
    """The outgoing interface and the TTL that are set are those on the wire, in both families."""
    a = lan["a"]
    lan.addLink(a, "d")
    wire = capture(a, "eth1")
    for group, everywhere in (("239.1.1.1", ""), ("ff15::1", "::")):
        with a:
            port = GroupsockReactor(reactor).listenMulticast(0, Listener(), everywhere)
            assert await port.setOutgoingInterface("eth1") == 1
            port.setTTL(7)
            port.write(b"out", (group, PORT))
        frame = await wire.until(reactor, datagram(b"out", destination=group, outgoing=True))
        assert frame.ttl == 7
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_limitsAreNamed(lan: Lan, reactor: Any) -> None:
    """The 21st group and the 11th source of one socket fail with the sysctl to raise."""
    a = lan["a"]
    family = Family(socket.AF_INET, "", "0.0.0.0")
    port, _ = family.listen(reactor, a, "eth0")
    with a:
        for number in range(20):
            await port.joinGroup(f"239.1.0.{number}")
        with pytest.raises(JoinError, match=r"net\.ipv4\.igmp_max_memberships.*20") as groups:
            await port.joinGroup("239.1.0.20")
        await port.leaveGroup("239.1.0.0")
        for number in range(1, 11):
            await port.joinSourceGroup("232.1.1.1", f"10.1.0.{number}")
        with pytest.raises(JoinError, match=r"net\.ipv4\.igmp_max_msf.*10") as sources:
            await port.joinSourceGroup("232.1.1.1", "10.1.0.11")
    assert "239.1.0.20 on eth0" in str(groups.value)
    assert "232.1.1.1 from 10.1.0.11 on eth0" in str(sources.value)
    assert len(port.getMemberships()) == 29
    await port.stopListening()
