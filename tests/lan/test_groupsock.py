"""A Groupsock between hosts: what is delivered, what is on the wire, and what is said of groups."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock, deferLater

from tests.lan.listener import Listener
from tests.lan.program import Program
from txgroupsock import Groupsock, MembershipError
from txgroupsock.primitives import socketJoinGroup
from txgroupsock.primitives.ouraddress import OurAddresses
from txgroupsock.testing.lan import Host, Lan
from txgroupsock.testing.wire import Capture, Frame, RecordKind, UDPFrame, datagram, report

Begin = Callable[..., Capture]
Make = Callable[..., Groupsock]

PORT = 5004


@frozen
class Family:
    """What differs between IPv4 and IPv6 in these tests."""

    number: socket.AddressFamily
    ssm: str
    group: str
    other: str
    nowhere: str

    def addressOf(self, host: Host) -> str:
        return host.ipv4 if self.number == socket.AF_INET else host.ipv6

    def send(self, host: Host, payload: bytes, group: str, port: int = PORT) -> None:
        """Send one datagram from a host's address of this family."""
        with host.socket(self.number) as sender:
            sender.bind((self.addressOf(host), 0))
            sender.sendto(payload, (group, port))


FAMILIES = [
    pytest.param(
        Family(socket.AF_INET, "232.1.1.1", "239.1.1.1", "239.1.1.2", "198.51.100.1"), id="IPv4"
    ),
    pytest.param(
        Family(socket.AF_INET6, "ff3e::8000:1", "ff15::1", "ff15::2", "2001:db8::1"), id="IPv6"
    ),
]
bothFamilies = pytest.mark.parametrize("family", FAMILIES)


class Receiver(Listener):
    """A listener that is called as a Groupsock calls."""

    def __call__(self, payload: bytes, sender: tuple[str, int]) -> None:
        self.datagramReceived(payload, sender)

    @property
    def payloads(self) -> list[bytes]:
        return [payload for payload, _ in self.received]


@pytest.fixture
def make(reactor: Any) -> Iterator[Make]:
    """Makes a Groupsock of a host, on its eth0, and closes it after the test."""
    made: list[Groupsock] = []

    def begin(host: Host, *arguments: Any, **settings: Any) -> Groupsock:
        with host:
            groupsock = Groupsock(reactor, *arguments, **{"interface": "eth0", **settings})
        made.append(groupsock)
        return groupsock

    yield begin
    pytest_twisted.blockon(gatherResults([each.close() for each in made]))


def says(group: str) -> Callable[[Frame], Frame | None]:
    """Find whatever a host says of a group."""

    def wanted(frame: Frame) -> Frame | None:
        mine = frame.outgoing and any(record.group == group for record in frame.records)
        return frame if mine else None

    return wanted


@bothFamilies
@pytest_twisted.ensureDeferred
async def test_onlyTheSourceIsHeard(lan: Lan, reactor: Any, make: Make, family: Family) -> None:
    """Not another sender to the group, though a member on this host lets its datagrams in."""
    a, b, c = lan.hosts
    receiver, everything = Receiver(), Receiver()
    make(c, family.ssm, PORT, everything)
    chosen = make(c, family.ssm, PORT, receiver, source=family.addressOf(a))
    lan.waitForMember(c, family.ssm)
    family.send(b, b"not chosen", family.ssm)
    family.send(a, b"chosen", family.ssm)
    await everything.has(reactor, 2)
    await receiver.has(reactor, 1)
    assert receiver.received[0][0] == b"chosen"
    assert receiver.hosts == [family.addressOf(a)]
    # By unicast the kernel lets anybody through, but the Groupsock does not.
    unicast = make(b, family.group, PORT + 2, receiver, source=family.addressOf(c))
    family.send(a, b"unicast", family.addressOf(b), PORT + 2)
    for _ in range(100):
        if unicast.statistics.otherSources.packets:
            break
        await deferLater(reactor, 0.02)
    assert unicast.statistics.otherSources.packets == 1
    assert receiver.payloads == [b"chosen"]
    assert chosen.statistics.incoming.packets == 1


@bothFamilies
@pytest_twisted.ensureDeferred
async def test_joinsAndLeavesNameTheSource(
    lan: Lan, reactor: Any, make: Make, capture: Begin, family: Family
) -> None:
    """What routers hear when it is made, and when it is closed (RFC 3376, RFC 3810)."""
    a, _, c = lan.hosts
    wire = capture(c)
    source = family.addressOf(a)
    groupsock = make(c, family.ssm, PORT, source=source)
    await wire.until(reactor, report(RecordKind.ALLOW_NEW_SOURCES, family.ssm, source))
    await groupsock.close()
    await wire.until(reactor, report(RecordKind.BLOCK_OLD_SOURCES, family.ssm, source))


@bothFamilies
@pytest_twisted.ensureDeferred
async def test_eachDestinationHasItsTTLOnTheWire(
    lan: Lan, reactor: Any, make: Make, capture: Begin, family: Family
) -> None:
    """Groups and hosts alike, from one socket and its port, after a change too."""
    a, b, c = lan.hosts
    wire = capture(a)
    groupsock = make(a, family.group, PORT, ttl=5, sendOnly=True)
    groupsock.addDestination(family.other, PORT, 1, ttl=60)
    groupsock.addDestination(family.addressOf(b), PORT, 2, ttl=7)
    groupsock.addDestination(family.addressOf(c), PORT, 3)

    async def sent(payload: bytes, address: str) -> UDPFrame:
        return await wire.until(reactor, datagram(payload, destination=address, outgoing=True))

    assert groupsock.output(b"first") == 4
    for address, ttl in (
        (family.group, 5),
        (family.other, 60),
        (family.addressOf(b), 7),
        (family.addressOf(c), 255),
    ):
        frame = await sent(b"first", address)
        assert (frame.ttl, frame.sourcePort, frame.destinationPort) == (ttl, PORT, PORT)
    groupsock.changeDestinationParameters(ttl=9, sessionId=1)
    groupsock.output(b"second")
    assert (await sent(b"second", family.other)).ttl == 9
    assert (await sent(b"second", family.group)).ttl == 5


@bothFamilies
@pytest_twisted.ensureDeferred
async def test_aTTLOfNoneStaysOnTheHost(
    lan: Lan, reactor: Any, make: Make, capture: Begin, family: Family
) -> None:
    """Members there hear it, and the wire never does; other destinations keep their TTLs."""
    a = lan["a"]
    receiver = Receiver()
    wire = capture(a)
    make(a, family.group, PORT, receiver)
    groupsock = make(a, family.group, PORT, ttl=0, sendOnly=True)
    groupsock.addDestination(family.other, PORT, 1, ttl=3)
    assert groupsock.output(b"quiet") == 2
    await receiver.has(reactor, 1)
    frame = await wire.until(reactor, datagram(b"quiet", destination=family.other))
    assert frame.ttl == 3
    assert not any(datagram(destination=family.group)(each) for each in wire.drain())


@bothFamilies
@pytest_twisted.ensureDeferred
async def test_aDeadDestinationSilencesNobody(
    lan: Lan, reactor: Any, make: Make, family: Family
) -> None:
    """Neither one that no route leads to nor a host that does not answer; each is counted apart."""
    a, b, c = lan.hosts
    unicast, multicast = Receiver(), Receiver()
    make(b, family.addressOf(b), PORT, unicast)
    make(c, family.group, PORT, multicast)
    lan.waitForMember(c, family.group)
    groupsock = make(a, family.group, PORT, sendOnly=True)
    groupsock.removeAllDestinations()
    absent = "10.0.0.200" if family.number == socket.AF_INET else "fd00::c8"
    for session, address in enumerate(
        (family.nowhere, absent, family.addressOf(b), family.nowhere, family.group)
    ):
        groupsock.addDestination(address, PORT, session)
    for number in range(10):
        assert groupsock.output(b"%d" % number) == 3
    await unicast.has(reactor, 10)
    await multicast.has(reactor, 10)
    assert unicast.payloads == multicast.payloads == [b"%d" % number for number in range(10)]
    dead = groupsock.destinations[0]
    assert dead.dropped == {errno.ENETUNREACH: 10}
    assert [each.sent.packets for each in groupsock.destinations] == [0, 10, 10, 0, 10]
    assert groupsock.statistics.outgoing.packets == 30
    assert groupsock.statistics.dropped == {errno.ENETUNREACH: 20}


@bothFamilies
@pytest_twisted.ensureDeferred
async def test_aChangeLeavesOneGroupAndJoinsTheOther(
    lan: Lan, reactor: Any, make: Make, capture: Begin, family: Family
) -> None:
    """Said to the routers, and heard: only the new group arrives, on its port."""
    a, _, c = lan.hosts
    receiver = Receiver()
    wire = capture(c)
    groupsock = make(c, family.group, PORT, receiver)
    lan.waitForMember(c, family.group)
    with c:
        groupsock.changeDestinationParameters(family.other)
    await wire.until(reactor, report(RecordKind.CHANGE_TO_EXCLUDE_MODE, family.other))
    await wire.until(reactor, report(RecordKind.CHANGE_TO_INCLUDE_MODE, family.group))
    lan.waitForMember(c, family.other)
    lan.waitForNoMember(c, family.group)
    family.send(a, b"old", family.group)
    family.send(a, b"new", family.other)
    await receiver.has(reactor, 1)
    with c:
        groupsock.changeDestinationParameters(family.group, PORT + 2)
    lan.waitForMember(c, family.group)
    family.send(a, b"old port", family.group)
    family.send(a, b"new port", family.group, PORT + 2)
    await receiver.has(reactor, 2)
    assert receiver.payloads == [b"new", b"new port"]


@bothFamilies
@pytest_twisted.ensureDeferred
async def test_ourOwnDatagramsAreRecognised(
    lan: Lan, reactor: Any, make: Make, family: Family
) -> None:
    """They come back from the host itself; another host's, from the same port, are not ours."""
    a, b, _ = lan.hosts
    receiver = Receiver()
    here = make(a, family.group, PORT, receiver)
    there = make(b, family.group, PORT)
    lan.waitForMember(a, family.group)
    here.output(b"ours")
    there.output(b"another's")
    await receiver.has(reactor, 2)
    assert sorted(receiver.payloads) == [b"another's", b"ours"]
    assert set(receiver.hosts) == {family.addressOf(a), family.addressOf(b)}
    statistics = here.statistics
    assert (statistics.loopedBack.packets, statistics.loopedBack.bytes) == (1, 4)
    assert (statistics.incoming.packets, statistics.incoming.bytes) == (1, 9)


@pytest_twisted.ensureDeferred
async def test_linkLocalAddressesAreRecognisedToo(lan: Lan, reactor: Any, make: Make) -> None:
    """A link-local group is sent to from a link-local address, which has a scope when received."""
    a, b, _ = lan.hosts
    receiver = Receiver()
    here = make(a, "ff02::4242%eth0", PORT, receiver, interface=None)
    there = make(b, "ff02::4242%eth0", PORT, interface=None)
    lan.waitForMember(a, "ff02::4242")
    here.output(b"ours")
    await receiver.has(reactor, 1)
    there.output(b"another's")
    await receiver.has(reactor, 2)
    assert receiver.hosts[0].partition("%")[0] == a.linkLocal
    assert here.statistics.loopedBack.packets == 1
    assert here.statistics.incoming.packets == 1


def test_aNewAddressOfThisHostIsLearnt(lan: Lan) -> None:
    """LIVE555 looks once; here it is looked up again after ten seconds."""
    a = lan["a"]
    clock = Clock()
    with a:
        ours = OurAddresses(clock.seconds)
        assert a.ipv4 in ours
        assert f"{a.linkLocal}%eth0" in ours
        a.run("ip", "addr", "add", "10.0.0.77/24", "dev", "eth0")
        assert "10.0.0.77" not in ours
        clock.advance(10)
        assert "10.0.0.77" in ours


@bothFamilies
@pytest_twisted.ensureDeferred
async def test_sendingOnlySaysNothingOfTheGroup(
    lan: Lan, reactor: Any, make: Make, capture: Begin, family: Family
) -> None:
    """No report is sent, whatever is changed; unicast to the port still arrives."""
    a, b, _ = lan.hosts
    receiver = Receiver()
    wire = capture(a)
    groupsock = make(a, family.group, PORT, receiver, sendOnly=True)
    with a:
        groupsock.changeDestinationParameters(family.other)
    groupsock.output(b"sent")
    await wire.until(reactor, datagram(b"sent", destination=family.other, outgoing=True))
    family.send(b, b"answer", family.addressOf(a))
    await receiver.has(reactor, 1)
    # A member of another group is heard of, so whatever was said before it has been captured.
    member = make(a, "239.9.9.9" if family.number == socket.AF_INET else "ff15::9", PORT)
    await wire.until(reactor, says(str(member.group)))
    heard = wire.drain()
    assert not any(says(family.group)(frame) or says(family.other)(frame) for frame in heard)


@bothFamilies
@pytest_twisted.ensureDeferred
async def test_toSendOnlyFromNowOnLeaves(
    lan: Lan, reactor: Any, make: Make, capture: Begin, family: Family
) -> None:
    """A member that calls multicastSendOnly leaves at once, and goes on sending."""
    a = lan["a"]
    groupsock = make(a, family.group, PORT)
    lan.waitForMember(a, family.group)
    wire = capture(a)
    with a:
        groupsock.multicastSendOnly()
    await wire.until(reactor, report(RecordKind.CHANGE_TO_INCLUDE_MODE, family.group))
    lan.waitForNoMember(a, family.group)
    assert groupsock.output(b"sent") == 1


def test_aPortWhoseGroupCannotBeJoinedChangesNothing(lan: Lan, make: Make) -> None:
    """The new socket is given up, and the old one stays a member on its port."""
    a = lan["a"]
    groupsock = make(a, "239.1.1.1", PORT, interface=None)
    before = groupsock.fileno(), groupsock.transport.getMemberships()
    a.run("ip", "route", "del", "224.0.0.0/4")
    with a, pytest.raises(MembershipError, match="no route leads to the group"):
        groupsock.changePort(PORT + 2)
    assert groupsock.port == PORT
    assert (groupsock.fileno(), groupsock.transport.getMemberships()) == before


@bothFamilies
def test_anInterfaceThatHasGoneIsNoHindrance(lan: Lan, make: Make, family: Family) -> None:
    """Its membership went with it; what cannot be left any more is not an error."""
    a = lan["a"]
    groupsock = make(a, family.group, PORT)
    a.unplug()
    with a:
        groupsock.multicastSendOnly()
    assert groupsock.output(b"sent") == 0
    assert groupsock.isOpen


def test_theGuidesRelayRelays(lan: Lan) -> None:
    """The program in docs/groupsock.md, as it stands there, does what LIVE555's testRelay does."""
    guide = (Path(__file__).parents[2] / "docs" / "groupsock.md").read_text(encoding="utf-8")
    code = guide.split("```python\n")[1].split("```")[0]
    a, b, c = lan.hosts
    with c.socket(socket.AF_INET) as receiver, Program(b, sys.executable, "-c", code):
        receiver.bind(("239.255.43.43", 4444))
        receiver.settimeout(5)
        with c:
            socketJoinGroup(receiver, "239.255.43.43", "eth0")
        lan.waitForMember(b, "239.255.42.42")
        lan.waitForMember(c, "239.255.43.43")
        with a.socket(socket.AF_INET) as sender:
            for number in range(3):
                sender.sendto(b"%d" % number, ("239.255.42.42", 8888))
        received = [receiver.recvfrom(100) for _ in range(3)]
    assert [data for data, _ in received] == [b"0", b"1", b"2"]
    assert {sender for _, sender in received} == {(b.ipv4, 4444)}
