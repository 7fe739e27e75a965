"""A Groupsock on this host alone: what it receives, sends, counts and gives back."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from tests.lan.listener import Listener
from txgroupsock import (
    AddressError,
    Environment,
    Groupsock,
    GroupsockError,
    GroupsockLookupTable,
    GroupsockReactor,
    GroupsockStatistics,
    MembershipError,
    UDPPort,
    UnknownInterface,
)
from txgroupsock.groupsock.interfaces import IGroupsock
from txgroupsock.primitives import NoReuse
from txgroupsock.primitives import ancillary as ancillaryModule
from txgroupsock.primitives.ouraddress import OurAddresses

PORT = 5004
Make = Callable[..., Groupsock]


@frozen
class Family:
    """What differs between IPv4 and IPv6 on the loopback interface."""

    number: socket.AddressFamily
    group: str
    other: str
    loopback: str
    everywhere: str
    unreachable: str


FAMILIES = [
    Family(socket.AF_INET, "239.1.2.3", "239.1.2.4", "127.0.0.1", "0.0.0.0", "198.51.100.1"),
    Family(socket.AF_INET6, "ff15::123", "ff15::124", "::1", "::", "2001:db8::1"),
]


@pytest.fixture(params=FAMILIES, ids=["IPv4", "IPv6"])
def family(request: pytest.FixtureRequest) -> Family:
    """Each of the two families."""
    chosen: Family = request.param
    return chosen


@pytest.fixture
def closing() -> Iterator[list[Any]]:
    """What is put in here is closed after the test."""
    opened: list[Any] = []
    yield opened
    pytest_twisted.blockon(gatherResults([each() for each in opened]))


@pytest.fixture
def make(reactor: Any, closing: list[Any]) -> Make:
    """Makes Groupsocks on the loopback interface."""

    def made(group: str, port: int = PORT, received: Any = None, **settings: Any) -> Groupsock:
        groupsock = Groupsock(reactor, group, port, received, **{"interface": "lo", **settings})
        closing.append(groupsock.close)
        return groupsock

    return made


@pytest.fixture
def listen(reactor: Any, closing: list[Any]) -> Callable[..., tuple[UDPPort, Listener]]:
    """Opens a port for a family, a member of its group, which keeps what it gets."""

    def opened(family: Family, port: int = 0, *, join: str = "") -> tuple[UDPPort, Listener]:
        listener = Listener()
        made = GroupsockReactor(reactor).listenMulticast(
            port, listener, "lo", listenMultiple=True, family=family.number
        )
        closing.append(made.stopListening)
        if join:
            made.memberships.join(join)
        return made, listener

    return opened


class Receiver(Listener):
    """A listener that is called as a Groupsock calls."""

    def __call__(self, datagram: bytes, sender: tuple[str, int]) -> None:
        self.datagramReceived(datagram, sender)


# --- What it is ----------------------------------------------------------------------------------


def test_itProvidesItsInterface(make: Make, family: Family) -> None:
    """IGroupsock is what it says."""
    groupsock = make(family.group)
    assert verifyObject(IGroupsock, groupsock)
    assert (str(groupsock.group), groupsock.port, groupsock.source) == (family.group, PORT, None)
    assert groupsock.family == family.number
    assert groupsock.ttl == 255
    assert not groupsock.isSSM
    assert groupsock.fileno() == groupsock.getHandle().fileno()
    assert family.group in repr(groupsock)


def test_constructingJoins(make: Make, family: Family) -> None:
    """The group is joined, and is the first destination."""
    groupsock = make(family.group, ttl=7)
    assert [str(each.group) for each in groupsock.transport.getMemberships()] == [family.group]
    assert [
        (str(each.address), each.port, each.ttl, each.sessionId) for each in groupsock.destinations
    ] == [(family.group, PORT, 7, 0)]


def test_aPortOfTheKernelsChoiceIsThatOfTheDestination(make: Make, family: Family) -> None:
    """Port 0 is nobody's port, so the destination has the one that was chosen."""
    groupsock = make(family.group, 0)
    assert groupsock.port > 0
    assert groupsock.destinations[0].port == groupsock.port


def test_anUnspecifiedGroupIsOnlyAFamily(make: Make, family: Family) -> None:
    """Nothing is joined and nothing sent to, until it is told where."""
    groupsock = make(family.everywhere, 0)
    assert groupsock.destinations == ()
    assert groupsock.transport.getMemberships() == []
    assert groupsock.output(b"to nobody") == 0


def test_aUnicastAddressIsADestinationOnly(make: Make, family: Family) -> None:
    """As RTP by unicast needs it: nothing is joined."""
    groupsock = make(family.loopback)
    assert groupsock.transport.getMemberships() == []
    assert str(groupsock.destinations[0].address) == family.loopback


@pytest_twisted.ensureDeferred
async def test_closingGivesEverythingBack(reactor: Any, family: Family) -> None:
    """The descriptor is gone, as often as it is closed, and sending then is a counted drop."""
    groupsock = Groupsock(reactor, family.group, PORT, interface="lo")
    descriptor = groupsock.fileno()
    await gatherResults([groupsock.close(), groupsock.close()])
    await groupsock.close()
    assert not groupsock.isOpen
    assert groupsock.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    assert groupsock.output(b"too late") == 0
    assert groupsock.statistics.dropped == {errno.EBADF: 1}
    with pytest.raises(GroupsockError, match="closed"):
        groupsock.changePort(PORT + 2)
    assert "closed" in repr(groupsock)


@pytest.mark.parametrize(
    ("arguments", "settings", "error"),
    [
        (("239.1.2.3", 70000), {}, AddressError),
        (("host.example", PORT), {}, AddressError),
        (("239.1.2.3", PORT), {"interface": "nothing"}, UnknownInterface),
        (("10.0.0.1", PORT), {"source": "10.0.0.2"}, AddressError),
        (("239.1.2.3", PORT), {"source": "fd00::1"}, AddressError),
        (("239.1.2.3", PORT), {"ttl": 256}, GroupsockError),
        (("239.1.2.3", PORT), {"env": Environment(sendingInterface="nothing")}, UnknownInterface),
        (
            ("239.1.2.3", PORT),
            {"env": Environment(interfaceBindToDevice="nothing")},
            GroupsockError,
        ),
    ],
)
def test_whatCannotBeHadIsRaised(
    reactor: Any, arguments: tuple[Any, ...], settings: dict[str, Any], error: type[Exception]
) -> None:
    """An error of one kind for each mistake; nothing stays open (the fixture looks)."""
    with pytest.raises(error):
        Groupsock(reactor, *arguments, **settings)


def test_aPortIsSharedUnlessToldOtherwise(make: Make, reactor: Any) -> None:
    """Two Groupsocks may have one port, as in LIVE555; within NoReuse they may not."""
    env = Environment()
    make("239.1.2.3", env=env)
    make("239.1.2.4", env=env)
    with (
        NoReuse(env),
        pytest.raises(GroupsockError, match="another socket has this port") as raised,
    ):
        Groupsock(reactor, "239.1.2.3", PORT, env=env)
    assert raised.value.errno == errno.EADDRINUSE


def test_theEnvironmentNamesInterfaces(make: Make) -> None:
    """The receiving one joins, the sending one sends, the device is bound to."""
    env = Environment(
        receivingInterface="127.0.0.1", sendingInterface="lo", interfaceBindToDevice="lo"
    )
    groupsock = make("239.1.2.3", interface=None, env=env)
    assert groupsock.transport.getMemberships()[0].interface == socket.if_nametoindex("lo")
    assert groupsock.transport.getOutgoingInterface() == "127.0.0.1"
    device = groupsock.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
    assert device.rstrip(b"\0") == b"lo"


# --- Receiving -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_aGroupIsReceivedAndCounted(
    make: Make, listen: Any, reactor: Any, family: Family
) -> None:
    """Each datagram is given to what was last said, with its sender, and is counted."""
    first, then = Receiver(), Receiver()
    groupsock = make(family.group, received=first)
    sender, _ = listen(family)
    port = sender.getHost().port
    sender.write(b"one", (family.group, PORT))
    await first.has(reactor, 1)
    groupsock.received = then
    sender.write(b"three", (family.group, PORT))
    sender.write(b"", (family.group, PORT))
    await then.has(reactor, 2)
    assert [each[0] for each in first.received + then.received] == [b"one", b"three", b""]
    assert first.received[0][1][1] == port
    incoming = groupsock.statistics.incoming
    assert (incoming.packets, incoming.bytes) == (3, 8)
    assert incoming.haveSeenTraffic
    assert not groupsock.statistics.loopedBack.haveSeenTraffic


@pytest_twisted.ensureDeferred
async def test_whatFailsInReceivingDoesNotStopIt(
    make: Make, listen: Any, reactor: Any, family: Family
) -> None:
    """An exception of the callback is logged; the next datagram comes all the same."""
    receiver = Receiver()

    def failing(datagram: bytes, sender: tuple[str, int]) -> None:
        receiver(datagram, sender)
        raise RuntimeError("meant to fail")

    make(family.group, received=failing)
    sender, _ = listen(family)
    for _ in range(2):
        sender.write(b"x", (family.group, PORT))
    await receiver.has(reactor, 2)


@pytest_twisted.ensureDeferred
async def test_closingWhileReceivingEndsReceiving(
    make: Make, listen: Any, reactor: Any, family: Family
) -> None:
    """A callback may close; what was read with the same turn is not delivered."""
    receiver = Receiver()

    def once(datagram: bytes, sender: tuple[str, int]) -> None:
        receiver(datagram, sender)
        groupsock.close()

    groupsock = make(family.group, received=once)
    sender, _ = listen(family)
    for _ in range(5):
        sender.write(b"x", (family.group, PORT))
    await receiver.has(reactor, 1)
    await groupsock.close()
    assert len(receiver.received) == 1


@pytest.mark.parametrize("group", ["232.1.2.3", "ff3e::8000:123"])
@pytest_twisted.ensureDeferred
async def test_unicastFromAnotherSourceIsDropped(
    make: Make, listen: Any, reactor: Any, group: str
) -> None:
    """The kernel gives unicast to a source-specific socket from anybody; a Groupsock does not."""
    family = FAMILIES["::" in group]
    receiver = Receiver()
    source = "127.0.0.2" if family.number == socket.AF_INET else "fd00::2"
    groupsock = make(group, received=receiver, source=source)
    assert groupsock.isSSM
    assert str(groupsock.source) == source
    sender, _ = listen(family)
    sender.write(b"not chosen", (family.loopback, PORT))
    groupsock.handleRead(b"chosen", (source, 1234))
    groupsock.handleRead(b"chosen", (f"{source}%lo", 1234))
    await _until(reactor, lambda: groupsock.statistics.otherSources.haveSeenTraffic)
    assert [each[0] for each in receiver.received] == [b"chosen"] * 2
    other = groupsock.statistics.otherSources
    assert (other.packets, other.bytes) == (1, 10)


@pytest_twisted.ensureDeferred
async def test_whatLoopsBackIsDeliveredButNotCounted(
    make: Make, listen: Any, reactor: Any, family: Family
) -> None:
    """From one of our addresses and our port it is ours; from another port it is not."""
    receiver = Receiver()
    groupsock = make(family.group, received=receiver)
    sender, _ = listen(family)
    groupsock.output(b"ours")
    sender.write(b"another's", (family.group, PORT))
    await receiver.has(reactor, 2)
    statistics = groupsock.statistics
    assert (statistics.loopedBack.packets, statistics.loopedBack.bytes) == (1, 4)
    assert (statistics.incoming.packets, statistics.incoming.bytes) == (1, 9)
    assert groupsock.wasLoopedBackFromUs((family.loopback, PORT))
    assert not groupsock.wasLoopedBackFromUs((family.loopback, PORT + 1))
    assert not groupsock.wasLoopedBackFromUs((family.unreachable, PORT))


def test_everyAddressInTheLoopbackNetworkIsOurs() -> None:
    """All of 127/8, and ::1."""
    ours = OurAddresses(Clock().seconds)
    assert "127.1.2.3" in ours
    assert "::1" in ours
    assert "10.1.2.3" not in ours


# --- Sending -------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_everyDestinationGetsTheDatagram(
    make: Make, listen: Any, reactor: Any, family: Family
) -> None:
    """Unicast and multicast; counted for each, and in total."""
    port, unicast = listen(family)
    _, multicast = listen(family, PORT + 10, join=family.other)
    total = GroupsockStatistics()
    groupsock = make(family.group, sendOnly=True, total=total)
    groupsock.removeAllDestinations()
    groupsock.addDestination(family.loopback, port.getHost().port, 1)
    groupsock.addDestination(family.other, PORT + 10, 2)
    assert groupsock.hasMultipleDestinations()
    for data in (b"bytes", bytearray(b"bytearray"), memoryview(b"memoryview")):
        assert groupsock.output(data) == 2
    for listener in (unicast, multicast):
        await listener.has(reactor, 3)
        assert [each[0] for each in listener.received] == [b"bytes", b"bytearray", b"memoryview"]
    assert [(each.sent.packets, each.sent.bytes) for each in groupsock.destinations] == [
        (3, 24)
    ] * 2
    for each in (groupsock.statistics, total):
        assert (each.outgoing.packets, each.outgoing.bytes) == (6, 48)
        assert not each.dropped


@pytest_twisted.ensureDeferred
async def test_aDestinationThatFailsDoesNotSilenceTheOthers(
    make: Make, listen: Any, reactor: Any, family: Family
) -> None:
    """LIVE555 stops at the first failure; here it is counted for that destination alone."""
    port, listener = listen(family)
    groupsock = make(family.everywhere, 0, interface=None)
    groupsock.addDestination(family.unreachable, PORT, 1)
    groupsock.addDestination(family.loopback, port.getHost().port, 2)
    for _ in range(3):
        assert groupsock.output(b"data") == 1
    await listener.has(reactor, 3)
    dead, alive = groupsock.destinations
    assert dead.dropped == {errno.ENETUNREACH: 3}
    assert (dead.sent.packets, alive.sent.packets) == (0, 3)
    assert not alive.dropped
    assert groupsock.statistics.dropped == {errno.ENETUNREACH: 3}
    # Too long is the caller's mistake, and yet no reason to stop a relay.
    assert groupsock.output(bytes(70000)) == 0
    assert alive.dropped == {errno.EMSGSIZE: 1}


@pytest_twisted.ensureDeferred
async def test_withoutTTLsOfMessagesTheSocketIsTold(
    make: Make, listen: Any, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a message cannot carry its TTL, the option is set when it differs, as in LIVE555."""
    monkeypatch.setattr(ancillaryModule, "IP_TTL_PER_MESSAGE", None)
    _, listener = listen(FAMILIES[0], PORT + 10, join="239.1.2.4")
    groupsock = make("239.1.2.3", ttl=7, sendOnly=True)
    groupsock.output(b"seven")
    assert groupsock.transport.getTTL() == 7
    groupsock.changeDestinationParameters("239.1.2.4", PORT + 10, 9)
    groupsock.output(b"nine")
    assert groupsock.transport.getTTL() == 9
    await listener.has(reactor, 1)


# --- Destinations --------------------------------------------------------------------------------


def test_changingTheDestinationRejoins(make: Make, family: Family) -> None:
    """Session 0 is the incoming group too: the new one is joined and the old one left."""
    groupsock = make(family.group)
    groupsock.changeDestinationParameters(family.other, ttl=9)
    assert [str(each.group) for each in groupsock.transport.getMemberships()] == [family.other]
    assert str(groupsock.group) == family.other
    assert groupsock.ttl == 9
    (only,) = groupsock.destinations
    assert (str(only.address), only.port, only.ttl) == (family.other, PORT, 9)
    groupsock.changeDestinationParameters(ttl=10)
    assert [str(each.group) for each in groupsock.transport.getMemberships()] == [family.other]


def test_aChangeOfPortBindsToIt(make: Make, family: Family) -> None:
    """The group comes to the new port then, so the socket has to have it; buffers stay as large."""
    groupsock = make(family.group)
    groupsock.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50000)
    before = groupsock.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    groupsock.changeDestinationParameters(port=PORT + 2)
    assert groupsock.port == groupsock.transport.getHost().port == PORT + 2
    assert [str(each.group) for each in groupsock.transport.getMemberships()] == [family.group]
    assert groupsock.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == before
    groupsock.changePort(PORT + 4)
    assert groupsock.port == PORT + 4
    assert groupsock.destinations[0].port == PORT + 2


@pytest_twisted.ensureDeferred
async def test_aGroupsockReceivesWhereItHasMovedTo(
    make: Make, listen: Any, reactor: Any, family: Family
) -> None:
    """After a change of group and port, datagrams of the new one come, and of the old one none."""
    receiver = Receiver()
    groupsock = make(family.group, received=receiver)
    groupsock.changeDestinationParameters(family.other, PORT + 2)
    sender, _ = listen(family)
    sender.write(b"old", (family.group, PORT))
    sender.write(b"old", (family.group, PORT + 2))
    sender.write(b"new", (family.other, PORT + 2))
    await receiver.has(reactor, 1)
    assert [each[0] for each in receiver.received] == [b"new"]


def test_otherSessionsJoinNothing(make: Make, family: Family) -> None:
    """Where one only sends to is no group to be heard, nor is a unicast address."""
    groupsock = make(family.group)
    groupsock.changeDestinationParameters(family.other, PORT, sessionId=1)
    groupsock.changeDestinationParameters(family.other, PORT + 2, sessionId=1)
    groupsock.changeDestinationParameters(family.loopback, PORT + 2)
    assert [str(each.group) for each in groupsock.transport.getMemberships()] == [family.group]
    assert groupsock.port == PORT
    assert [each.sessionId for each in groupsock.destinations] == [0, 1]


def test_aChangeThatFailsChangesNothing(make: Make, family: Family) -> None:
    """Membership, port and destination are those of before."""
    groupsock = make(family.group)
    taken = socket.socket(family.number, socket.SOCK_DGRAM)
    with taken:
        taken.bind((family.everywhere, 0))
        for arguments in (
            {"port": taken.getsockname()[1]},
            {"ttl": 256},
            {"address": "host.example"},
            {"sessionId": 5},
            {"address": FAMILIES[family.number == socket.AF_INET].group},
        ):
            with pytest.raises(GroupsockError):
                groupsock.changeDestinationParameters(**arguments)
    # Joined behind its back, the group cannot be joined again.
    groupsock.transport.memberships.join(family.other)
    with pytest.raises(MembershipError, match="already"):
        groupsock.changeDestinationParameters(family.other)
    groupsock.transport.memberships.leave(family.other)
    assert groupsock.isOpen
    assert (str(groupsock.group), groupsock.port) == (family.group, PORT)
    assert [str(each.group) for each in groupsock.transport.getMemberships()] == [family.group]
    assert [(str(each.address), each.port, each.ttl) for each in groupsock.destinations] == [
        (family.group, PORT, 255)
    ]


@pytest.mark.parametrize("group", ["232.1.2.3", "ff3e::8000:123"])
def test_aSourceSpecificGroupsockStaysSo(make: Make, group: str) -> None:
    """The new group is joined from the same source; LIVE555 joins it from any."""
    source = "10.0.0.1" if "." in group else "fd00::1"
    groupsock = make(group, source=source)
    groupsock.changeDestinationParameters(f"{group}4")
    (membership,) = groupsock.transport.getMemberships()
    assert (str(membership.group), str(membership.source)) == (f"{group}4", source)
    groupsock.changePort(PORT + 2)
    assert groupsock.transport.getMemberships() == [membership]


def test_sessionsAreLookedUpAndRemoved(make: Make, family: Family) -> None:
    """By address and port; None is no session, since 0 is one."""
    groupsock = make(family.group)
    assert groupsock.lookupSessionIdFromDestination(family.group, PORT) == 0
    assert groupsock.lookupSessionIdFromDestination(family.other, PORT) is None
    groupsock.addDestination(family.loopback, 6000, 3)
    groupsock.addDestination(family.loopback, 6000, 3)
    groupsock.addDestination(family.loopback, 6002, 3)
    assert groupsock.lookupSessionIdFromDestination(family.loopback, 6002) == 3
    assert len(groupsock.destinations) == 3
    assert groupsock.removeDestination(3) == 2
    assert groupsock.removeDestination(3) == 0
    assert not groupsock.hasMultipleDestinations()


def test_sendingOnlyJoinsNothing(make: Make, family: Family) -> None:
    """Neither at first nor after a change; called later, it leaves."""
    never = make(family.group, sendOnly=True)
    never.changeDestinationParameters(family.other, PORT + 2)
    assert never.transport.getMemberships() == []
    assert str(never.destinations[0].address) == family.other
    later = make(family.group)
    later.multicastSendOnly()
    later.multicastSendOnly()
    later.changeDestinationParameters(family.other)
    assert later.transport.getMemberships() == []
    assert later.isOpen


# --- The table -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_theTableFindsWhatItHasMade(reactor: Any, family: Family) -> None:
    """By group, source and port, by descriptor, and by neither once it is removed."""
    table = GroupsockLookupTable(reactor, Environment(receivingInterface="lo"))
    first = table.fetch(family.group, PORT, ttl=7)
    assert first.ttl == 7
    assert table.fetch(family.group, PORT, ttl=9) is first
    assert first.ttl == 7
    second = table.fetch(family.group, PORT + 2)
    assert table.Fetch(family.other, PORT) not in (first, second)
    assert len(table) == 3
    assert table.lookup(family.group, PORT + 2) is second
    assert table.Lookup(family.group, PORT + 4) is None
    assert table.lookupSocket(second.fileno()) is second
    assert table.lookupSocket(0) is None
    second.changeDestinationParameters(family.other, PORT + 4)
    assert table.lookup(family.group, PORT + 2) is None
    assert table.lookup(family.other, PORT + 4) is second
    await table.remove(second)
    await table.Remove(second)
    assert table.lookup(family.other, PORT + 4) is None
    await first.close()
    again = table.fetch(family.group, PORT)
    assert again is not first
    await gatherResults([table.remove(each) for each in table])
    assert list(table) == []


@pytest_twisted.ensureDeferred
async def test_sourcesAreToldApart(reactor: Any) -> None:
    """A group from any source, and from each of two, are three Groupsocks."""
    table = GroupsockLookupTable(reactor, Environment(receivingInterface="lo"))
    sources = (None, "10.0.0.1", "10.0.0.2")
    made = [table.fetch("232.1.2.3", PORT, source) for source in sources]
    assert [table.lookup("232.1.2.3", PORT, source) for source in sources] == made
    assert len(set(map(id, made))) == 3
    await gatherResults([table.remove(each) for each in table])


@pytest_twisted.ensureDeferred
async def test_theTableCountsForAll(reactor: Any) -> None:
    """Its statistics are the sum over its Groupsocks, closed ones too; two tables share nothing."""
    table, other = (
        GroupsockLookupTable(reactor, Environment(receivingInterface="lo")) for _ in range(2)
    )
    one, two = table.fetch("239.1.2.3", PORT), table.fetch("239.1.2.4", PORT)
    assert other.lookup("239.1.2.3", PORT) is None
    one.output(b"12345")
    two.output(b"123")
    await _until(reactor, lambda: table.statistics.loopedBack.packets == 2)
    await gatherResults([table.remove(each) for each in table])
    outgoing, looped = table.statistics.outgoing, table.statistics.loopedBack
    assert (outgoing.packets, outgoing.bytes) == (2, 8)
    assert (looped.packets, looped.bytes) == (2, 8)
    assert not other.statistics.outgoing.haveSeenTraffic


async def _until(reactor: Any, what: Callable[[], bool]) -> None:
    """Wait for something that nothing announces."""
    from twisted.internet.task import deferLater

    for _ in range(500):
        if what():
            return
        await deferLater(reactor, 0.01)
    pytest.fail("did not come")
