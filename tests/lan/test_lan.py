"""The harness itself: namespaces, the LAN made of them, and what is captured on it."""

from __future__ import annotations

import os
import select
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError

from txgroupsock.testing.frames import (
    Ethernet,
    Packet,
    parseEthernet,
    parseFrame,
    parseIGMP,
    parseIPv4,
    parseIPv6,
    parseMLD,
    parseUDP,
)
from txgroupsock.testing.lan import Host, Lan
from txgroupsock.testing.namespaces import CommandFailed, Namespace
from txgroupsock.testing.wire import (
    Capture,
    Frame,
    GroupRecord,
    RecordKind,
    UDPFrame,
    datagram,
    report,
)

ROOT = Path(__file__).parent.parent.parent
TIMEOUT = 20.0

# <linux/in.h>; the same numbers for both families
JOIN_GROUP, LEAVE_GROUP, JOIN_SOURCE, LEAVE_SOURCE = 42, 45, 46, 47

Begin = Callable[..., Capture]


@frozen
class Family:
    """What differs between IPv4 and IPv6 in these tests."""

    number: socket.AddressFamily
    level: int
    anySource: str
    sourceSpecific: str

    def addressOf(self, host: Host) -> str:
        return host.ipv4 if self.number == socket.AF_INET else host.ipv6

    def storage(self, address: str) -> bytes:
        """A C{struct sockaddr_storage}."""
        packed = socket.inet_pton(self.number, address)
        head = struct.pack("=HH", self.number, 0)
        return (head + (b"" if len(packed) == 4 else bytes(4)) + packed).ljust(128, b"\0")

    def group(
        self, end: socket.socket, option: int, index: int, group: str, source: str | None = None
    ) -> None:
        """Join or leave, with a C{group_req} or a C{group_source_req}."""
        request = struct.pack("=I4x", index) + self.storage(group)
        end.setsockopt(self.level, option, request + (self.storage(source) if source else b""))


FAMILIES = {
    "IPv4": Family(socket.AF_INET, socket.IPPROTO_IP, "239.1.2.3", "232.1.2.3"),
    "IPv6": Family(socket.AF_INET6, socket.IPPROTO_IPV6, "ff05::1:3", "ff3e::1:3"),
}


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    """Both, one after the other."""
    return FAMILIES[request.param]


@pytest.fixture
def end(family: Family) -> Iterator[Callable[[Host], socket.socket]]:
    """Make a bound UDP socket on a host."""
    with ExitStack() as ends:

        def make(host: Host) -> socket.socket:
            made = ends.enter_context(host.socket(family.number))
            made.settimeout(TIMEOUT)
            made.bind(("", 0))
            return made

        yield make


def portOf(end: socket.socket) -> int:
    """The port of a bound socket."""
    port: int = end.getsockname()[1]
    return port


def inode() -> int:
    """What tells the current namespace from any other."""
    return os.stat("/proc/thread-self/ns/net").st_ino


def interfaces() -> set[str]:
    """The names of the interfaces here."""
    return {name for _, name in socket.if_nameindex()}


# --- Namespaces ----------------------------------------------------------------------------------


@pytest.fixture
def namespace(namespaces: None) -> Iterator[Namespace]:
    """A new one."""
    made = Namespace()
    yield made
    made.close()


@pytest.fixture
def other(namespaces: None) -> Iterator[Namespace]:
    """Another new one."""
    made = Namespace()
    yield made
    made.close()


def test_nestedNamespacesAreLeftInTurn(namespace: Namespace, other: Namespace) -> None:
    """Leaving a namespace, also by an exception, leads back to where one came from."""
    outside = inode()
    with namespace:
        inside = inode()
        seen = []

        def fail() -> None:
            with other:
                seen.append(inode())
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert seen[0] not in {inside, outside}
        assert inode() == inside
        with namespace:
            assert inode() == inside
        assert inode() == inside
    assert inode() == outside != inside


def test_leavingInAnotherOrderIsRefused(namespace: Namespace, other: Namespace) -> None:
    """A namespace that is not the innermost cannot be left."""
    with namespace, other, pytest.raises(RuntimeError, match="held across a yield"):
        namespace.__exit__(None, None, None)


def test_closedNamespaceCannotBeEntered(namespace: Namespace) -> None:
    """Whoever enters a closed namespace stays where they are and is told."""
    namespace.close()
    outside = inode()
    assert namespace.closed
    with pytest.raises(ValueError, match="closed"), namespace:
        pass
    assert inode() == outside


def test_socketKeepsItsNamespace(namespace: Namespace) -> None:
    """A socket made inside sees the interfaces inside from anywhere."""
    namespace.run("ip", "link", "add", "name", "only", "type", "bridge")
    with namespace, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        index = socket.if_nametoindex("only")
    with namespace:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"only\0")
        assert index > 1
    assert "only" not in interfaces()


def test_failedCommandShowsWhy(namespace: Namespace) -> None:
    """The error has the command, its input and what it said."""
    with pytest.raises(CommandFailed) as failed:
        namespace.run("ip", "-batch", "-", stdin="link set lo up\nlink set none up\n")
    shown = str(failed.value)
    assert "ip -batch -" in shown
    assert "2: link set none up" in shown
    assert 'Cannot find device "none"' in shown


def test_processRunsInside(namespace: Namespace) -> None:
    """A process that is started inside sees only what is there."""
    with namespace.popen("ip", "-oneline", "link") as process:
        output, _ = process.communicate(timeout=TIMEOUT)
    assert output.count(b"\n") == 1
    assert b"lo:" in output


def test_sysctlIsOfTheNamespace(namespace: Namespace, other: Namespace) -> None:
    """A variable that is set in one namespace is unchanged in another."""
    namespace.sysctl("net.ipv4.igmp_max_memberships", 7)
    path = Path("/proc/sys/net/ipv4/igmp_max_memberships")
    with namespace:
        assert path.read_text() == "7\n"
    with other:
        assert path.read_text() != "7\n"


def test_linksMoveByPath(namespace: Namespace, other: Namespace) -> None:
    """C{ip} takes the path of a namespace as its name."""
    namespace.run("ip", "link", "add", "name", "moved", "type", "bridge")
    namespace.run("ip", "link", "add", "name", "left", "type", "veth", "peer", "name", "right")
    namespace.run("ip", "link", "set", "dev", "right", "netns", other.path)
    with other:
        assert "right" in interfaces()
    with namespace:
        assert "right" not in interfaces()


def test_closedNamespaceIsGone(namespace: Namespace, other: Namespace) -> None:
    """The kernel removes a closed namespace, which the far end of a cable into it shows."""
    namespace.run(
        *("ip", "link", "add", "name", "near", "type", "veth"),
        *("peer", "name", "far", "netns", other.path),
    )
    with namespace, socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as changes:
        changes.bind((0, 1))  # RTMGRP_LINK
        other.close()
        poll = select.poll()
        poll.register(changes, select.POLLIN)
        while "near" in interfaces():
            assert poll.poll(TIMEOUT * 1000), "the far end is still there"
            changes.recv(65536)


# What a test process sees after enterPrivateNetwork(), on one line for each fact.
PRIVATE = """
import os, socket, struct, sys
from txgroupsock.testing.namespaces import Namespace, enterPrivateNetwork, whyNoNamespaces

before = os.stat("/proc/self/ns/net").st_ino
print("reason:", enterPrivateNetwork())
print("moved:", os.stat("/proc/self/ns/net").st_ino != before)
print("uid:", os.getuid())
print("interfaces:", [name for _, name in socket.if_nameindex()])
for family, group, level, join in (
    (socket.AF_INET, "239.1.1.1", socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP),
    (socket.AF_INET6, "ff02::1:5", socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP),
):
    with socket.socket(family, socket.SOCK_DGRAM) as end:
        end.settimeout(5)
        end.bind(("", 0))
        packed = socket.inet_pton(family, group)
        try:
            end.setsockopt(level, join, packed + bytes(4))
            end.sendto(b"looped", (group, end.getsockname()[1]))
            print(family.name, end.recv(10))
        except OSError as error:
            print(family.name, error.strerror)
    print("namespaces:", whyNoNamespaces())
"""


def privateNetwork(*wrapper: str) -> list[str]:
    """The lines that L{PRIVATE} prints."""
    ended = subprocess.run(
        [*wrapper, sys.executable, "-c", PRIVATE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


@pytest.fixture
def without(namespaces: None) -> Callable[..., tuple[str, ...]]:
    """A command before another that takes capabilities away from it."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv(1) is missing; install util-linux")

    def wrapper(*capabilities: str) -> tuple[str, ...]:
        return (setpriv, "--bounding-set", ",".join(f"-{name}" for name in capabilities))

    return wrapper


def test_privateNetworkHasOnlyLoopback(namespaces: None) -> None:
    """Nothing but C{lo} is there, and multicast of both families loops on it."""
    lines = privateNetwork()
    assert lines[:2] == ["reason: None", "moved: True"]
    assert lines[3:] == [
        "interfaces: ['lo']",
        "AF_INET b'looped'",
        "namespaces: None",
        "AF_INET6 b'looped'",
        "namespaces: None",
    ]


def test_privateNetworkNeedsNoPrivilege(without: Callable[..., tuple[str, ...]]) -> None:
    """Who may not make a network namespace gets one in a user namespace, with the same powers."""
    assert privateNetwork(*without("sys_admin")) == privateNetwork()


def test_refusedPrivateNetworkChangesNothing(without: Callable[..., tuple[str, ...]]) -> None:
    """When the kernel refuses half-way, the process stays where and who it was."""
    # Linux 5.12 and later let only holders of CAP_SETFCAP map root.
    lines = privateNetwork(*without("sys_admin", "setfcap"))
    assert lines[0].startswith("reason: no private network: ")
    assert "uid_map" in lines[0]
    assert lines[1:3] == ["moved: False", f"uid: {os.getuid()}"]


# --- The LAN -------------------------------------------------------------------------------------


def test_hostsReachEachOther(
    lan: Lan, family: Family, end: Callable[[Host], socket.socket]
) -> None:
    """Every host gets a datagram from every other, from the right address."""
    ends = {host: end(host) for host in lan.hosts}
    for sender in lan.hosts:
        for receiver in lan.hosts:
            message = f"{sender.name}{receiver.name}".encode()
            ends[sender].sendto(message, (family.addressOf(receiver), portOf(ends[receiver])))
            data, source = ends[receiver].recvfrom(100)
            assert (data, source[0]) == (message, family.addressOf(sender))


def test_linkLocalAddressesReachEachOther(lan: Lan) -> None:
    """The fixed link-local addresses work with the scope of the sender's interface."""
    a, b, _ = lan.hosts
    with a.socket(socket.AF_INET6) as sender, b.socket(socket.AF_INET6) as receiver:
        receiver.settimeout(TIMEOUT)
        receiver.bind((b.linkLocal, 0, 0, b.index))
        sender.sendto(b"near", (b.linkLocal, portOf(receiver), 0, a.index))
        data, source = receiver.recvfrom(100)
        assert (data, source[0], source[3]) == (b"near", a.linkLocal, b.index)


def test_onlyMembersGetAGroup(
    lan: Lan, family: Family, end: Callable[[Host], socket.socket], capture: Begin
) -> None:
    """Multicast reaches the host that joined, and not even the link of the one that did not."""
    a, b, c = lan.hosts
    member, sender = end(a), end(b)
    family.group(member, JOIN_GROUP, a.index, family.anySource)
    lan.waitForMember(a, family.anySource)
    linkOfC = capture(c)
    sender.sendto(b"for members", (family.anySource, portOf(member)))
    assert member.recv(100) == b"for members"
    # What b sends to c afterwards arrives there afterwards.
    sender.sendto(b"for c", (family.addressOf(c), 9))
    linkOfC.waitFor(datagram(b"for c", outgoing=False))
    assert not [frame for frame in linkOfC.drain() if datagram(b"for members")(frame)]


def test_onlyTheSourceAskedForIsForwarded(
    lan: Lan, family: Family, end: Callable[[Host], socket.socket], capture: Begin
) -> None:
    """Of two hosts that send to a group, only the one in the subscription gets through."""
    a, b, c = lan.hosts
    member, wanted, unwanted = end(a), end(b), end(c)
    group = family.sourceSpecific
    family.group(member, JOIN_SOURCE, a.index, group, family.addressOf(b))
    lan.waitForMember(a, group, family.addressOf(b))
    linkOfA = capture(a)
    unwanted.sendto(b"unwanted", (group, portOf(member)))
    unwanted.sendto(b"marker", (family.addressOf(a), 9))
    linkOfA.waitFor(datagram(b"marker"))
    wanted.sendto(b"wanted", (group, portOf(member)))
    assert member.recv(100) == b"wanted"
    linkOfA.waitFor(datagram(b"wanted", destination=group, outgoing=False))
    assert not [frame for frame in linkOfA.drain() if datagram(b"unwanted")(frame)]


def test_subscriptionIsSeenOnTheWireAndInTheSwitch(
    lan: Lan, family: Family, end: Callable[[Host], socket.socket], capture: Begin
) -> None:
    """Joining a source reports ALLOW_NEW_SOURCES, leaving it BLOCK_OLD_SOURCES."""
    a, b, _ = lan.hosts
    member, linkOfA = end(a), capture(a)
    group, source = family.sourceSpecific, family.addressOf(b)

    family.group(member, JOIN_SOURCE, a.index, group, source)
    allowed = report(RecordKind.ALLOW_NEW_SOURCES, group, source, outgoing=True)
    assert linkOfA.waitFor(allowed) == GroupRecord(RecordKind.ALLOW_NEW_SOURCES, group, (source,))
    lan.waitForMember(a, group, source)
    entries = {entry.source: entry for entry in lan.mdb() if entry.group == group}
    assert {entry.port for entry in entries.values()} == {"a"}
    assert entries[None].filterMode == "include"
    assert entries[None].sources == (source,)

    family.group(member, LEAVE_SOURCE, a.index, group, source)
    linkOfA.waitFor(report(RecordKind.BLOCK_OLD_SOURCES, group, source, outgoing=True))
    lan.waitForNoMember(a, group, source)


def test_reportsAreFitForRouters(
    lan: Lan, family: Family, end: Callable[[Host], socket.socket], capture: Begin
) -> None:
    """A report has a hop limit of 1 and the router alert option."""
    a, _, _ = lan.hosts
    member, linkOfA = end(a), capture(a)
    family.group(member, JOIN_GROUP, a.index, family.anySource)
    joined = report(RecordKind.CHANGE_TO_EXCLUDE_MODE, family.anySource)
    packet = linkOfA.waitFor(lambda frame: frame.packet if joined(frame) else None)
    assert (packet.ttl, packet.routerAlert) == (1, True)


def test_blockedSourceIsNotForwarded(
    lan: Lan, family: Family, end: Callable[[Host], socket.socket]
) -> None:
    """A member of any source that blocks one is a member but for that one."""
    a, b, c = lan.hosts
    member = end(a)
    blockSource = 43  # MCAST_BLOCK_SOURCE
    family.group(member, JOIN_GROUP, a.index, family.anySource)
    family.group(member, blockSource, a.index, family.anySource, family.addressOf(b))
    lan.waitForNoMember(a, family.anySource, family.addressOf(b))
    lan.waitForMember(a, family.anySource, family.addressOf(c))


def test_hopsAndTrafficClassAreReadOnTheWire(
    lan: Lan, family: Family, end: Callable[[Host], socket.socket], capture: Begin
) -> None:
    """Both ends of a link show what the socket asked for, and which end sent."""
    a, b, _ = lan.hosts
    sender, atA, atB = end(a), capture(a), capture(b)
    if family.number == socket.AF_INET:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 7)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 46 << 2)
    else:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 7)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 46 << 2)
    receiver = end(b)
    family.group(receiver, JOIN_GROUP, b.index, family.anySource)
    lan.waitForMember(b, family.anySource)
    sender.sendto(b"marked", (family.anySource, portOf(receiver)))
    expected = UDPFrame(
        source=family.addressOf(a),
        destination=family.anySource,
        sourcePort=portOf(sender),
        destinationPort=portOf(receiver),
        ttl=7,
        dscp=46,
        payload=b"marked",
        sourceMAC=a.mac,
    )
    assert atA.waitFor(datagram(b"marked", outgoing=True)) == expected
    assert atB.waitFor(datagram(b"marked", outgoing=False)) == expected


def test_downLinkCarriesNothingUntilItIsUp(
    lan: Lan, family: Family, end: Callable[[Host], socket.socket], capture: Begin
) -> None:
    """A link that is down loses what is sent; once it is up, the switch knows the groups again."""
    a, b, _ = lan.hosts
    member, sender = end(a), end(b)
    family.group(member, JOIN_GROUP, a.index, family.anySource)
    lan.waitForMember(a, family.anySource)
    linkOfA = capture(a)
    a.setLink(up=False)
    lan.waitForNoMember(a, family.anySource)
    sender.sendto(b"lost", (family.anySource, portOf(member)))
    a.setLink(up=True)
    lan.waitForMember(a, family.anySource)
    sender.sendto(b"found", (family.anySource, portOf(member)))
    assert member.recv(100) == b"found"
    assert not [frame for frame in linkOfA.drain() if datagram(b"lost")(frame)]


def test_pluggedInterfaceIsAnother(
    lan: Lan, family: Family, end: Callable[[Host], socket.socket]
) -> None:
    """An interface that comes back has its name and addresses, another index, and works."""
    a, b, _ = lan.hosts
    before = a.links["eth0"]
    a.unplug()
    with a:
        assert interfaces() == {"lo"}
    after = a.plug()
    assert a.index == after.index != before.index
    assert (after.interface, after.mac, after.ipv4) == (before.interface, before.mac, before.ipv4)
    member, sender = end(a), end(b)
    family.group(member, JOIN_GROUP, a.index, family.anySource)
    lan.waitForMember(a, family.anySource)
    sender.sendto(b"back", (family.anySource, portOf(member)))
    assert member.recv(100) == b"back"


def test_sameAddressOnTwoLinks(lan: Lan) -> None:
    """A host has one link-local address on two links, and a peer of one address on each."""
    a, b, _ = lan.hosts
    second, otherB = lan.addLink(a, "otherB")
    assert second.interface == "eth1"
    assert second.linkLocal == a.linkLocal
    assert otherB.linkLocal == b.linkLocal
    assert lan["otherB"] is otherB
    for index, peer in ((a.index, b), (second.index, otherB)):
        with a.socket(socket.AF_INET6) as sender, peer.socket(socket.AF_INET6) as receiver:
            receiver.settimeout(TIMEOUT)
            receiver.bind((peer.linkLocal, 7000, 0, peer.index))
            sender.settimeout(TIMEOUT)
            sender.sendto(peer.name.encode(), (peer.linkLocal, 7000, 0, index))
            data, source = receiver.recvfrom(100)
            assert data == peer.name.encode()
            assert source[0] == a.linkLocal
            receiver.sendto(b"answer", source)
            assert sender.recvfrom(100)[1][3] == index


def test_groupsOnTwoLinksAreDistinct(
    lan: Lan, family: Family, end: Callable[[Host], socket.socket]
) -> None:
    """A membership on the second link is known only to the switch there."""
    a, b, _ = lan.hosts
    second, otherB = lan.addLink(a, "otherB")
    member = end(a)
    group, port = family.sourceSpecific, portOf(member)
    source = family.addressOf(otherB)
    family.group(member, JOIN_SOURCE, second.index, group, source)
    second.switch.waitForMDB(lambda entries: any(one.source == source for one in entries))
    assert group not in {entry.group for entry in lan.mdb()}
    end(b).sendto(b"first link", (group, port))
    end(otherB).sendto(b"second link", (group, port))
    assert member.recv(100) == b"second link"


def test_secondLinkNeedsAPeerOfItsOwn(lan: Lan) -> None:
    """A peer with the name of a host, or the number of the host it is to meet, is refused."""
    a, _, _ = lan.hosts
    with pytest.raises(ValueError, match="already"):
        lan.addLink(a, "b")
    with pytest.raises(ValueError, match="number 1"):
        lan.addLink(a, "otherA", 1)
    with pytest.raises(KeyError):
        lan["otherA"]


def test_waitForTheSwitchEnds(lan: Lan) -> None:
    """What is not snooped in time is an error that shows what was."""
    with pytest.raises(TimeoutError, match="ff02::1:ff00:2"):
        lan.waitForMember(lan["a"], "239.9.9.9", timeout=0.05)


def test_kernelMembershipsAreRead(
    lan: Lan, family: Family, end: Callable[[Host], socket.socket]
) -> None:
    """The source filters of a host are those of its sockets, not of the test process."""
    a, b, _ = lan.hosts
    name = "mcfilter" if family.number == socket.AF_INET else "mcfilter6"
    assert len(a.readNet(name).splitlines()) <= 1  # a heading at most
    family.group(end(a), JOIN_SOURCE, a.index, family.sourceSpecific, family.addressOf(b))
    assert "eth0" in a.readNet(name)
    assert "eth0" not in b.readNet(name)


def test_closedLanLeavesNothingOpen(namespaces: None) -> None:
    """A LAN, with a second link, gives back every descriptor."""
    before = set(os.listdir("/proc/self/fd"))
    with Lan(2) as lan:
        lan.addLink(lan["a"], "peer")
        assert set(os.listdir("/proc/self/fd")) > before
    assert set(os.listdir("/proc/self/fd")) == before


def test_lanThatCannotBeMadeLeavesNothingOpen(
    namespaces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was made before an error is closed."""
    before = set(os.listdir("/proc/self/fd"))

    def fail(host: Host) -> None:
        raise OSError("no loopback")

    monkeypatch.setattr(Host, "raiseLoopback", fail)
    with pytest.raises(OSError, match="no loopback"):
        Lan()
    assert set(os.listdir("/proc/self/fd")) == before


# --- Captures ------------------------------------------------------------------------------------


def sendToOther(lan: Lan, payload: bytes) -> None:
    """Send from b to a."""
    a, b, _ = lan.hosts
    with b.socket(socket.AF_INET) as sender:
        sender.sendto(payload, (a.ipv4, 9))


def test_captureKeepsFramesUntilDrained(lan: Lan, capture: Begin) -> None:
    """A wait finds what came before it, until the frames are taken away."""
    atA = capture(lan["a"])
    sendToOther(lan, b"one")
    atA.waitFor(datagram(b"one"))
    atA.waitFor(datagram(b"one"))
    assert [frame for frame in atA.drain() if datagram(b"one")(frame)]
    with pytest.raises(TimeoutError, match="not seen on eth0"):
        atA.waitFor(datagram(b"one"), timeout=0.05)


def test_captureOutlivesADownInterface(lan: Lan, capture: Begin) -> None:
    """An interface that goes down and up again is captured on as before."""
    a, _, _ = lan.hosts
    atA = capture(a)
    a.run("ip", "link", "set", "dev", "eth0", "down")
    assert not [frame for frame in atA.drain() if frame.udp]
    a.run("ip", "link", "set", "dev", "eth0", "up")
    sendToOther(lan, b"again")
    atA.waitFor(datagram(b"again"))


def test_captureNeedsAnInterface(lan: Lan) -> None:
    """There is no capture, and no descriptor, on an interface that does not exist."""
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="No such device"):
        Capture(lan["a"], "eth9")
    assert set(os.listdir("/proc/self/fd")) == before


@pytest_twisted.inlineCallbacks
def test_untilFindsWhatComes(lan: Lan, capture: Begin, reactor: Any) -> Any:
    """Several waits on one capture each end with what they are for, past or to come."""
    atA = capture(lan["a"])
    first = atA.until(reactor, datagram(b"first"))
    second = atA.until(reactor, datagram(b"second"))
    assert atA in reactor.getReaders()
    reactor.callLater(0, sendToOther, lan, b"first")
    found = yield first
    assert found.payload == b"first"
    assert atA in reactor.getReaders()
    reactor.callLater(0, sendToOther, lan, b"second")
    found = yield second
    assert found.payload == b"second"
    assert atA not in reactor.getReaders()
    found = yield atA.until(reactor, datagram(b"first"))
    assert found.payload == b"first"


@pytest_twisted.inlineCallbacks
def test_untilGivesUp(lan: Lan, capture: Begin, reactor: Any) -> Any:
    """A wait ends with an error that shows the frames when nothing comes in time."""
    atA = capture(lan["a"])
    sendToOther(lan, b"something else")
    with pytest.raises(TimeoutError, match="something else"):
        yield atA.until(reactor, datagram(b"nothing"), timeout=0.05)
    assert atA not in reactor.getReaders()


@pytest_twisted.inlineCallbacks
def test_untilEndsWithTheCapture(lan: Lan, capture: Begin, reactor: Any) -> Any:
    """A wait can be cancelled, and closing the capture does so."""
    atA = capture(lan["a"])
    cancelled = atA.until(reactor, datagram(b"nothing"))
    closed = atA.until(reactor, datagram(b"nothing"))
    cancelled.cancel()
    with pytest.raises(CancelledError):
        yield cancelled
    atA.close()
    with pytest.raises(CancelledError):
        yield closed
    assert atA not in reactor.getReaders()


@pytest_twisted.inlineCallbacks
def test_untilFailsWithItsFunction(lan: Lan, capture: Begin, reactor: Any) -> Any:
    """What the caller's function raises is the caller's, and ends only that wait."""
    atA = capture(lan["a"])

    def wanted(frame: Frame) -> UDPFrame | None:
        raise LookupError("mine")

    failing = atA.until(reactor, wanted)
    working = atA.until(reactor, datagram(b"fine"))
    sendToOther(lan, b"fine")
    with pytest.raises(LookupError, match="mine"):
        yield failing
    found = yield working
    assert found.payload == b"fine"


# --- Parsers -------------------------------------------------------------------------------------

MACS = bytes.fromhex("01005e000016 020000000001")


def ipv4(payload: bytes, *, protocol: int, options: bytes = b"") -> bytes:
    """A packet from 10.0.0.1 to 224.0.0.22 with 1 hop and DSCP 48."""
    length = 20 + len(options) + len(payload)
    words = 0x40 + 5 + len(options) // 4
    fixed = struct.pack("!BBHHHBBH", words, 0xC0, length, 1, 0x4000, 1, protocol, 0)
    return fixed + bytes([10, 0, 0, 1, 224, 0, 0, 22]) + options + payload


def ipv6(payload: bytes, *, protocol: int) -> bytes:
    """A packet from fe80::1 to ff02::16 with 1 hop and DSCP 48."""
    addresses = b"".join(socket.inet_pton(socket.AF_INET6, one) for one in ("fe80::1", "ff02::16"))
    return struct.pack("!IHBB", 0x6C000000, len(payload), protocol, 1) + addresses + payload


def groupRecords(kind: int, *records: GroupRecord) -> bytes:
    """An IGMPv3 or MLDv2 report, with a word of auxiliary data in each record."""
    message = struct.pack("!BBHHH", kind, 0, 0, 0, len(records))
    family = socket.AF_INET if kind == 0x22 else socket.AF_INET6
    for record in records:
        message += struct.pack("!BBH", record.kind, 1, len(record.sources))
        for address in (record.group, *record.sources):
            message += socket.inet_pton(family, address)
        message += b"\xaa" * 4
    return message


V4 = (
    GroupRecord(RecordKind.ALLOW_NEW_SOURCES, "232.1.2.3", ("10.0.0.2", "10.0.0.3")),
    GroupRecord(RecordKind.CHANGE_TO_EXCLUDE_MODE, "239.1.2.3", ()),
)
V6 = (
    GroupRecord(RecordKind.BLOCK_OLD_SOURCES, "ff3e::1", ("fd00::2",)),
    GroupRecord(RecordKind.MODE_IS_EXCLUDE, "ff05::2", ()),
)
ROUTER_ALERT = bytes([0x94, 4, 0, 0])
# Next header ICMPv6, one unit of 8 bytes, router alert, padding of two.
HOP_BY_HOP = bytes([58, 0, 5, 2, 0, 0, 1, 0])
UDP = struct.pack("!HHHH", 7, 9, 8 + 4, 0) + b"data"

FRAMES = {
    "IGMPv3": MACS
    + b"\x08\x00"
    + ipv4(groupRecords(0x22, *V4), protocol=2, options=ROUTER_ALERT)
    + b"padding of the link",
    "MLDv2": MACS + b"\x86\xdd" + ipv6(HOP_BY_HOP + groupRecords(143, *V6), protocol=0),
    "UDP4": MACS + b"\x08\x00" + ipv4(UDP, protocol=17) + b"padding of the link",
    "UDP6": MACS + b"\x86\xdd" + ipv6(UDP, protocol=17),
}
PARSERS: list[Callable[[bytes], object]] = [
    parseEthernet,
    parseIPv4,
    parseIPv6,
    parseIGMP,
    parseMLD,
    parseFrame,
    lambda data: parseUDP(Ethernet("", "", 0, b""), Packet("", "", 17, 1, 0, False, data)),
]


@pytest.mark.parametrize(
    ("name", "records", "source"), [("IGMPv3", V4, "10.0.0.1"), ("MLDv2", V6, "fe80::1")]
)
def test_reportIsParsed(name: str, records: tuple[GroupRecord, ...], source: str) -> None:
    """A report gives its records, and its packet the source, hops and router alert."""
    frame = parseFrame(FRAMES[name], outgoing=True)
    assert frame.records == records
    assert frame.outgoing
    assert frame.packet is not None
    assert (frame.packet.source, frame.packet.ttl, frame.packet.dscp) == (source, 1, 48)
    assert frame.packet.routerAlert


@pytest.mark.parametrize(
    ("name", "source", "destination"),
    [("UDP4", "10.0.0.1", "224.0.0.22"), ("UDP6", "fe80::1", "ff02::16")],
)
def test_datagramIsParsed(name: str, source: str, destination: str) -> None:
    """A datagram gives its addresses, ports, marks and payload without padding."""
    expected = UDPFrame(source, destination, 7, 9, 1, 48, b"data", "02:00:00:00:00:01")
    assert parseFrame(FRAMES[name]).udp == expected


@pytest.mark.parametrize(
    ("kind", "translated"),
    [
        (0x12, RecordKind.MODE_IS_EXCLUDE),
        (0x16, RecordKind.MODE_IS_EXCLUDE),
        (0x17, RecordKind.CHANGE_TO_INCLUDE_MODE),
    ],
)
def test_olderIGMPIsTranslated(kind: int, translated: RecordKind) -> None:
    """Reports and leaves of IGMPv1 and v2 become the records RFC 3376 takes them for."""
    message = bytes([kind, 0, 0, 0]) + socket.inet_aton("239.1.2.3")
    assert parseIGMP(message) == (GroupRecord(translated, "239.1.2.3", ()),)


@pytest.mark.parametrize(
    ("kind", "translated"),
    [(131, RecordKind.MODE_IS_EXCLUDE), (132, RecordKind.CHANGE_TO_INCLUDE_MODE)],
)
def test_olderMLDIsTranslated(kind: int, translated: RecordKind) -> None:
    """Reports and dones of MLDv1 become the records RFC 3810 takes them for."""
    message = bytes([kind, 0, 0, 0, 0, 0, 0, 0]) + socket.inet_pton(socket.AF_INET6, "ff05::1")
    assert parseMLD(message) == (GroupRecord(translated, "ff05::1", ()),)


def test_queriesAndUnknownRecordsAreNotRecords() -> None:
    """A query gives nothing, and in a report a record of unknown type is passed over."""
    assert parseIGMP(bytes([0x11]) + bytes(11)) is None
    assert parseMLD(bytes([130]) + bytes(27)) is None
    unknown = bytearray(groupRecords(0x22, *V4))
    unknown[8] = 77
    assert parseIGMP(bytes(unknown)) == V4[1:]


@pytest.mark.parametrize("flags", [0x2000, 0x0001])
def test_fragmentsAreNotParsed(flags: int) -> None:
    """The first fragment of an IPv4 packet is no packet, nor is a later one."""
    packet = bytearray(ipv4(UDP, protocol=17))
    struct.pack_into("!H", packet, 6, flags)
    assert parseIPv4(bytes(packet)) is None
    assert parseIPv6(ipv6(bytes(8) + UDP, protocol=44)) is None


@pytest.mark.parametrize("name", FRAMES)
def test_truncatedFramesAreNothing(name: str) -> None:
    """A frame that ends before its packet does has neither records nor a datagram."""
    data = FRAMES[name].removesuffix(b"padding of the link")
    for length in range(len(data)):
        frame = parseFrame(data[:length])
        assert (frame.packet, frame.records, frame.udp) == (None, (), None)


@given(st.binary(max_size=200))
def test_parsersSurviveAnyBytes(data: bytes) -> None:
    """No bytes make a parser raise."""
    for parse in PARSERS:
        parse(data)
    for start in (b"\x22", b"\x8f", b"\x16", b"\x83", b"\x46", b"\x60"):
        for parse in PARSERS:
            parse(start + data)


@given(
    st.sampled_from(sorted(FRAMES)),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=8),
    st.integers(0, 200),
)
def test_parsersSurviveDamage(name: str, changes: list[tuple[int, int]], length: int) -> None:
    """No damage to a valid frame makes a parser raise."""
    data = bytearray(FRAMES[name])
    for offset, value in changes:
        data[offset % len(data)] = value
    parseFrame(bytes(data))
    parseFrame(bytes(data[:length]))
