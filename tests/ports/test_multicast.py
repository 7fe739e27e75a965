from __future__ import annotations

import errno
import socket
from ipaddress import ip_address
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import defer
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.internet.error import DNSLookupError, MulticastJoinError
from twisted.logger import capturedLogs

from tests.ports.support import (
    GROUP,
    LEVEL,
    ONE,
    OTHER_GROUP,
    SSM_GROUP,
    TWO,
    V4,
    V6,
    WILDCARD,
    Listen,
    OpenSocket,
    Recorder,
)
from txgroupsock import JoinError, UDPPort
from txgroupsock.ports.memberships import Memberships
from txgroupsock.primitives import (
    AddressError,
    Membership,
    MembershipError,
    SourceFilter,
    UnknownInterface,
    getSourceFilter,
    socketJoinGroup,
    socketJoinGroupSSM,
)
from txgroupsock.testing.namespaces import Namespace

Family = socket.AddressFamily


def membership(group: str, interface: int = 0, source: str | None = None) -> Membership:
    """What a port says that it has joined."""
    return Membership(ip_address(group), interface, None if source is None else ip_address(source))


@pytest.fixture
def lo(multicastLoopback: Namespace) -> int:
    """The index of C{lo}."""
    return socket.if_nametoindex("lo")


class Sources:
    """Two hosts that send to a group, and what a port hears of them."""

    def __init__(self, port: UDPPort, protocol: Recorder, senders: dict[str, socket.socket]):
        self.port = port
        self.protocol = protocol
        self.senders = senders
        self.asked = 0

    async def heard(self, group: str) -> set[str]:
        """Which of the hosts the port hears when both send to a group."""
        number = self.port.getHost().port
        for sender in self.senders.values():
            sender.sendto(b"data", (group, number))
        # The end, by unicast, comes after all data there is.  It is sent again if it gets lost, so
        # that a test fails with what is known rather than wait for ever.
        host = next(iter(self.senders))
        self.asked += 1
        end = b"end %d" % self.asked
        heard: set[str] = set()
        for _ in range(20):
            self.senders[host].sendto(end, (host, number))
            try:
                while True:
                    waiting = ensureDeferred(self.protocol.nextDatagram())
                    payload, (sender_, _port) = await waiting.addTimeout(0.5, self.port.reactor)
                    if payload == end:
                        return heard
                    if payload == b"data":
                        heard.add(sender_)
            except defer.TimeoutError:
                continue
        pytest.fail(f"{self.port} reads no more: {vars(self.port)}")


@pytest.fixture
def sources(lo: int, listen: Listen, openSocket: OpenSocket, family: Family) -> Sources:
    """A port that has joined nothing, on every address, and hosts C{ONE} and C{TWO}."""
    protocol = Recorder()
    senders = {host[family]: openSocket(host[family]) for host in (ONE, TWO)}
    for sender in senders.values():
        if family == V6:
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, lo)
    return Sources(listen(protocol, WILDCARD[family]), protocol, senders)


class TestData:
    """What arrives, which is what memberships are about."""

    @pytest_twisted.ensureDeferred
    async def test_anySource(self, sources: Sources, family: Family) -> None:
        """A group is heard from any source from joining it until leaving it."""
        group, port = GROUP[family], sources.port
        assert await sources.heard(group) == set()
        await port.joinGroup(group)
        assert await sources.heard(group) == {ONE[family], TWO[family]}
        await port.leaveGroup(group)
        assert await sources.heard(group) == set()

    @pytest.mark.parametrize("groups", [SSM_GROUP, GROUP], ids=["SSM range", "other"])
    @pytest_twisted.ensureDeferred
    async def test_chosenSources(
        self, sources: Sources, family: Family, groups: dict[Family, str]
    ) -> None:
        """A group is heard from the sources that were joined, and no longer once they are left."""
        group, port = groups[family], sources.port
        await port.joinSourceGroup(group, ONE[family])
        assert await sources.heard(group) == {ONE[family]}
        await port.joinSourceGroup(group, TWO[family])
        assert await sources.heard(group) == {ONE[family], TWO[family]}
        await port.leaveSourceGroup(group, ONE[family])
        assert await sources.heard(group) == {TWO[family]}
        await port.leaveSourceGroup(group, TWO[family])
        assert await sources.heard(group) == set()
        assert port.getMemberships() == []

    @pytest_twisted.ensureDeferred
    async def test_block(self, sources: Sources, family: Family) -> None:
        """A blocked source is not heard until it is unblocked; others are."""
        group, port = GROUP[family], sources.port
        await port.joinGroup(group)
        blocked = await port.blockSource(group, ONE[family])
        assert blocked == membership(group, source=ONE[family])
        assert await sources.heard(group) == {TWO[family]}
        await port.unblockSource(group, ONE[family])
        assert await sources.heard(group) == {ONE[family], TWO[family]}
        assert port.getMemberships() == [membership(group)]

    @pytest_twisted.ensureDeferred
    async def test_leaveWithAllSources(self, sources: Sources, family: Family) -> None:
        """Leaving a group leaves it for every source."""
        group, port = SSM_GROUP[family], sources.port
        for host in (ONE, TWO):
            await port.joinSourceGroup(group, host[family])
        await port.joinGroup(OTHER_GROUP[family])
        await port.leaveGroup(group)
        assert await sources.heard(group) == set()
        assert port.getMemberships() == [membership(OTHER_GROUP[family])]

    @pytest_twisted.ensureDeferred
    async def test_boundToAGroup(
        self, lo: int, listen: Listen, openSocket: OpenSocket, family: Family
    ) -> None:
        """A port bound to a group hears no other, though it has joined that too."""
        protocol = Recorder()
        port = listen(protocol, GROUP[family])
        sender = openSocket(ONE[family])
        for group in (OTHER_GROUP, GROUP):
            await port.joinGroup(group[family], "lo")
            sender.sendto(group[family].encode(), (group[family], port.getHost().port))
        assert await protocol.next() == GROUP[family].encode()
        assert protocol.payloads == []

    @pytest_twisted.ensureDeferred
    async def test_loopback(self, sources: Sources, family: Family) -> None:
        """Members on this host hear what a port sends, unless it has that switched off."""
        port, group = sources.port, (GROUP[family], sources.port.getHost().port)
        await port.joinGroup(GROUP[family], "lo")
        await port.setOutgoingInterface("lo")
        port.write(b"heard", group)
        assert await sources.protocol.next() == b"heard"
        assert port.getLoopbackMode() is True
        port.setLoopbackMode(False)
        assert port.getLoopbackMode() is False
        name = socket.IP_MULTICAST_LOOP if family == V4 else socket.IPV6_MULTICAST_LOOP
        assert port.getHandle().getsockopt(LEVEL[family], name) == 0

    @pytest_twisted.ensureDeferred
    async def test_endsWithThePort(self, sources: Sources, family: Family) -> None:
        """Closing the port leaves its groups; opened again, it has none."""
        port = sources.port
        await port.joinGroup(GROUP[family])
        await port.stopListening()
        port.startListening()
        assert port.getMemberships() == []
        assert await sources.heard(GROUP[family]) == set()


class TestGetMemberships:
    @pytest_twisted.ensureDeferred
    async def test_order(self, lo: int, listen: Listen, family: Family) -> None:
        """Memberships are in the order of joining: group, interface and source of each."""
        port = listen(Recorder(), WILDCARD[family])
        expected = [
            membership(OTHER_GROUP[family], lo),
            membership(SSM_GROUP[family], lo, TWO[family]),
            membership(SSM_GROUP[family], lo, ONE[family]),
            membership(GROUP[family]),
        ]
        assert await port.joinGroup(OTHER_GROUP[family], "lo") == expected[0]
        assert await port.joinSourceGroup(SSM_GROUP[family], TWO[family], "lo") == expected[1]
        assert await port.joinSourceGroup(SSM_GROUP[family], ONE[family], "lo") == expected[2]
        assert await port.joinGroup(GROUP[family]) == expected[3]
        assert port.getMemberships() == list(port.memberships) == expected

    def test_isACopy(self, listen: Listen) -> None:
        """The list is the caller's own."""
        port = listen(Recorder())
        port.getMemberships().append(membership(GROUP[V4]))
        assert port.getMemberships() == []

    @pytest_twisted.ensureDeferred
    async def test_refused(self, lo: int, listen: Listen, family: Family) -> None:
        """What could not be joined, left or blocked changes nothing."""
        port = listen(Recorder(), WILDCARD[family])
        await port.joinGroup(GROUP[family])
        before = port.getMemberships()
        for attempt in (
            port.joinGroup(GROUP[family]),
            port.leaveGroup(OTHER_GROUP[family]),
            port.leaveSourceGroup(SSM_GROUP[family], ONE[family]),
            port.blockSource(OTHER_GROUP[family], ONE[family]),
            port.unblockSource(GROUP[family], ONE[family]),
        ):
            with pytest.raises(JoinError):
                await attempt
        assert port.getMemberships() == before

    @pytest_twisted.ensureDeferred
    async def test_sourceAfterAnySource(self, lo: int, listen: Listen, family: Family) -> None:
        """A source joined after any source is refused, and any source heard as before."""
        port = listen(Recorder(), WILDCARD[family])
        for where in ("lo", ""):
            await port.joinGroup(GROUP[family], where)
            for again in ("lo", ""):
                with pytest.raises(JoinError, match="from any source already; leave it") as caught:
                    await port.joinSourceGroup(GROUP[family], ONE[family], again)
                assert caught.value.errno == errno.EINVAL
                kept = getSourceFilter(port.getHandle(), GROUP[family], "lo")
                assert kept == SourceFilter(False, frozenset())
            await port.leaveGroup(GROUP[family], where)
            await port.joinSourceGroup(GROUP[family], ONE[family], "lo")
            await port.leaveGroup(GROUP[family], "lo")
        assert port.getMemberships() == []


class TestLeaving:
    """By whichever name: what the list says is what the kernel has."""

    @pytest_twisted.ensureDeferred
    async def test_byNameWhatWasJoinedByRoute(
        self, lo: int, listen: Listen, family: Family
    ) -> None:
        """A group joined where the routes led is left by the name of that interface."""
        port = listen(Recorder(), WILDCARD[family])
        await port.joinGroup(GROUP[family])
        await port.leaveGroup(GROUP[family], "lo")
        assert port.getMemberships() == []
        await port.joinSourceGroup(SSM_GROUP[family], ONE[family])
        await port.leaveSourceGroup(SSM_GROUP[family], ONE[family], "lo")
        assert port.getMemberships() == []

    @pytest_twisted.ensureDeferred
    async def test_byRouteWhatWasJoinedByName(
        self, lo: int, listen: Listen, family: Family
    ) -> None:
        """A group joined by the name of an interface is left without one."""
        port = listen(Recorder(), WILDCARD[family])
        await port.joinGroup(GROUP[family], "lo")
        await port.leaveGroup(GROUP[family])
        assert port.getMemberships() == []
        await port.joinSourceGroup(SSM_GROUP[family], ONE[family], "lo")
        await port.leaveSourceGroup(SSM_GROUP[family], ONE[family])
        assert port.getMemberships() == []

    @pytest.mark.parametrize("names", [("eth0", "eth1"), (None, "eth1"), ("eth1", None)], ids=str)
    @pytest_twisted.ensureDeferred
    async def test_oneOfSeveral(
        self, far: Namespace, listen: Listen, family: Family, names: tuple[str | None, str | None]
    ) -> None:
        """Without a name, a group that was joined on several interfaces is left on the last."""
        if family == V6:
            names = tuple(each or "eth0" for each in names)  # type: ignore[assignment]  # still two
        port = listen(Recorder(), WILDCARD[family])
        first, _ = [await port.joinGroup(GROUP[family], name) for name in names]
        await port.leaveGroup(GROUP[family])
        assert port.getMemberships() == [first]
        await port.leaveGroup(GROUP[family], names[0] or "eth0")
        assert port.getMemberships() == []
        with pytest.raises(JoinError):
            await port.leaveGroup(GROUP[family])

    @pytest_twisted.ensureDeferred
    async def test_theNamedOneOfSeveral(
        self, far: Namespace, listen: Listen, family: Family
    ) -> None:
        """A group that was joined on several interfaces is left on the one named."""
        port = listen(Recorder(), WILDCARD[family])
        for name in ("eth0", "eth1"):
            await port.joinSourceGroup(SSM_GROUP[family], ONE[family], name)
        left = await port.leaveGroup(SSM_GROUP[family], "eth0")
        assert left == membership(SSM_GROUP[family], socket.if_nametoindex("eth0"))
        assert [each.interface for each in port.getMemberships()] == [socket.if_nametoindex("eth1")]

    @pytest_twisted.ensureDeferred
    async def test_whatSomebodyElseJoined(self, lo: int, listen: Listen, family: Family) -> None:
        """A group that was joined on the handle can be left through the port."""
        port = listen(Recorder(), WILDCARD[family])
        socketJoinGroup(port.getHandle(), GROUP[family], "lo")
        assert await port.leaveGroup(GROUP[family]) == membership(GROUP[family])
        with pytest.raises(JoinError):
            await port.leaveGroup(GROUP[family])

    @pytest_twisted.ensureDeferred
    async def test_theSourceThatSomebodyElseJoined(
        self, lo: int, listen: Listen, family: Family
    ) -> None:
        """A source that was joined on the handle can be left through the port."""
        port = listen(Recorder(), WILDCARD[family])
        socketJoinGroupSSM(port.getHandle(), SSM_GROUP[family], ONE[family], "lo")
        await port.leaveSourceGroup(SSM_GROUP[family], ONE[family], "lo")
        with pytest.raises(JoinError):
            await port.leaveSourceGroup(SSM_GROUP[family], ONE[family], "lo")


class TestJoinError:
    @pytest_twisted.ensureDeferred
    async def test_whatItIs(self, lo: int, listen: Listen, family: Family) -> None:
        """It is an OSError with its errno, a MulticastJoinError, and has the cause."""
        port = listen(Recorder(), WILDCARD[family])
        await port.joinGroup(GROUP[family], "lo")
        with pytest.raises(JoinError, match=f"cannot join {GROUP[family]} on lo") as caught:
            await port.joinGroup(GROUP[family], "lo")
        error = caught.value
        assert isinstance(error, OSError)
        assert isinstance(error, MulticastJoinError)
        assert error.errno == errno.EADDRINUSE
        cause = error.__cause__
        assert isinstance(cause, MembershipError)
        assert cause.membership == membership(GROUP[family], lo)
        assert str(error) == str(cause)
        assert (error.operation, error.advice) == (cause.operation, cause.advice)

    @pytest_twisted.ensureDeferred
    async def test_unknownInterface(self, listen: Listen) -> None:
        """An interface that there is not is its cause, with a list of those there are."""
        with pytest.raises(JoinError, match=r"eth99.*there are: lo") as caught:
            await listen(Recorder()).joinGroup(GROUP[V4], "eth99")
        assert isinstance(caught.value.__cause__, UnknownInterface)

    @pytest.mark.parametrize(
        ("group", "source"),
        [
            ("10.0.0.1", "10.0.0.1"),
            ("232.1.2.3", "232.1.2.4"),
            ("232.1.2.3", "fd00::1"),
            ("232.1.2.3", "host"),
            ("host", "10.0.0.1"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_address(self, listen: Listen, group: str, source: str) -> None:
        """What is no group, or no source of it, is an AddressError behind it."""
        with pytest.raises(JoinError) as caught:
            await listen(Recorder()).joinSourceGroup(group, source)
        assert isinstance(caught.value.__cause__, AddressError)

    @pytest_twisted.ensureDeferred
    async def test_otherFamily(self, listen: Listen) -> None:
        """A group of the other family cannot be joined."""
        for interface, family in (("127.0.0.1", V6), ("::1", V4)):
            with pytest.raises(JoinError, match="the socket is"):
                await listen(Recorder(), interface).joinGroup(GROUP[family])

    @pytest_twisted.ensureDeferred
    async def test_closedPort(self, listen: Listen) -> None:
        """A port that was closed joins nothing."""
        port = listen(Recorder())
        await port.stopListening()
        with pytest.raises(JoinError) as caught:
            await port.joinGroup(GROUP[V4])
        assert caught.value.errno == errno.EBADF

    @pytest_twisted.ensureDeferred
    async def test_tooManyGroups(self, lo: int, listen: Listen) -> None:
        """The 21st group of a socket is refused with the sysctl that would allow it."""
        port = listen(Recorder(), "0.0.0.0")
        for number in range(20):
            await port.joinGroup(f"239.0.0.{number}")
        with pytest.raises(JoinError, match=r"net\.ipv4\.igmp_max_memberships") as caught:
            await port.joinGroup("239.0.0.20")
        assert caught.value.errno == errno.ENOBUFS
        assert len(port.getMemberships()) == 20


class TestHostNames:
    """Twisted's ports look up groups that are given as host names."""

    class Resolving:
        """The running reactor, but with host names of the test's own."""

        def __init__(self, reactor: Any, answer: Deferred[str]) -> None:
            self._reactor = reactor
            self._answer = answer

        def resolve(self, name: str) -> Deferred[str]:
            assert name == "group.example.org"
            return self._answer

        def __getattr__(self, name: str) -> Any:
            return getattr(self._reactor, name)

    @pytest_twisted.ensureDeferred
    async def test_joinAndLeave(self, lo: int, reactor: Any, listen: Listen) -> None:
        """A group that is a host name is resolved through the reactor."""
        port = listen(Recorder(), "0.0.0.0")
        port.reactor = self.Resolving(reactor, succeed(GROUP[V4]))
        assert await port.joinGroup("group.example.org", "lo") == membership(GROUP[V4], lo)
        port.reactor = self.Resolving(reactor, succeed(GROUP[V4]))
        await port.leaveGroup("group.example.org", "lo")
        assert port.getMemberships() == []

    @pytest_twisted.ensureDeferred
    async def test_unknown(self, reactor: Any, listen: Listen) -> None:
        """A host name that nobody knows fails as the lookup did, as with Twisted's port."""
        port = listen(Recorder())
        port.reactor = self.Resolving(reactor, fail(DNSLookupError("nobody")))
        with pytest.raises(DNSLookupError):
            await port.joinGroup("group.example.org")

    @pytest.mark.parametrize("text", ["ff15::1::2", ":", "", "%lo", "ff02::1%eth99"])
    @pytest_twisted.ensureDeferred
    async def test_noHostName(self, listen: Listen, text: str) -> None:
        """What can be no host name is not looked up."""
        with pytest.raises(JoinError):
            await listen(Recorder(), "::1").joinGroup(text)


class TestDeafPorts:
    """A kernel gives multicast only to sockets bound to the wildcard or to the very group."""

    @pytest_twisted.ensureDeferred
    async def test_unicast(self, lo: int, listen: Listen, family: Family) -> None:
        """Joining on a port bound to a unicast address works, as in Twisted, with a warning."""
        with capturedLogs() as events:
            port = listen(Recorder(), ONE[family])
            await port.joinGroup(GROUP[family], "lo")
            await port.joinSourceGroup(SSM_GROUP[family], TWO[family], "lo")
        groups = [str(each["group"]) for each in events if "no datagrams" in each["log_format"]]
        assert groups == [GROUP[family], SSM_GROUP[family]]

    @pytest_twisted.ensureDeferred
    async def test_otherGroup(self, lo: int, listen: Listen, family: Family) -> None:
        """A port bound to one group warns about another, and not about its own."""
        with capturedLogs() as events:
            port = listen(Recorder(), GROUP[family])
            await port.joinGroup(GROUP[family], "lo")
            await port.joinGroup(OTHER_GROUP[family], "lo")
        groups = [str(each["group"]) for each in events if "no datagrams" in each["log_format"]]
        assert groups == [OTHER_GROUP[family]]

    @pytest_twisted.ensureDeferred
    async def test_wildcard(self, lo: int, listen: Listen, family: Family) -> None:
        """A port bound to the wildcard does not warn."""
        with capturedLogs() as events:
            await listen(Recorder(), WILDCARD[family]).joinGroup(GROUP[family], "lo")
            await listen(Recorder(), "lo", family=family).joinGroup(GROUP[family])
        assert [each for each in events if "no datagrams" in each["log_format"]] == []

    @pytest_twisted.ensureDeferred
    async def test_refused(self, lo: int, listen: Listen) -> None:
        """What was not joined is not warned about."""
        with capturedLogs() as events, pytest.raises(JoinError):
            await listen(Recorder(), "127.0.0.1").joinGroup("127.0.0.1", "lo")
        assert events == []


def test_membershipsWithoutDeferreds(lo: int, openSocket: OpenSocket, family: Family) -> None:
    """The same operations are there for those who want no deferreds."""
    memberships = Memberships(openSocket(WILDCARD[family]), "lo")
    joined = memberships.joinSource(SSM_GROUP[family], ONE[family])
    assert joined == membership(SSM_GROUP[family], lo, ONE[family])
    assert list(memberships) == [joined]
    with pytest.raises(MembershipError):
        memberships.joinSource(SSM_GROUP[family], ONE[family])
    memberships.leave(SSM_GROUP[family])
    assert list(memberships) == []
