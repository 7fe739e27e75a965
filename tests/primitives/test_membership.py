from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

import pytest

from tests.primitives.conftest import OpenSocket
from tests.primitives.support import (
    GROUP,
    LEVEL,
    OTHER_GROUP,
    limitOptionMemory,
    source,
)
from txgroupsock.primitives import (
    InterfaceLike,
    Membership,
    MembershipError,
    SourceFilter,
    getSourceFilter,
    parseAddress,
    setMulticastInterface,
    setSourceFilter,
    socketBlockSource,
    socketJoinGroup,
    socketJoinGroupSSM,
    socketLeaveGroup,
    socketLeaveGroupSSM,
    socketUnblockSource,
)
from txgroupsock.primitives.constants import IP_MULTICAST_ALL, IPV6_MULTICAST_ALL
from txgroupsock.primitives.membership import packGroupRequest
from txgroupsock.testing.namespaces import Namespace

pytestmark = pytest.mark.lan


def groupsIn(network: Namespace) -> set[str]:
    """The groups of every interface, from /proc/net/igmp and /proc/net/igmp6."""
    groups = set()
    for line in network.readNet("igmp").splitlines():
        first = line.split()[0]
        if line.startswith("\t") and len(first) == 8:
            groups.add(socket.inet_ntoa(bytes.fromhex(first)[::-1]))
    for line in network.readNet("igmp6").splitlines():
        groups.add(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line.split()[2])))
    return groups


def filtersIn(network: Namespace) -> set[tuple[str, str, str, int, int]]:
    """(interface, group, source, includes, excludes): /proc/net/mcfilter and mcfilter6."""
    found = set()
    for line in network.readNet("mcfilter").splitlines()[1:]:
        _, device, group, address, include, exclude = line.split()
        one, other = (
            socket.inet_ntoa(int(each, 16).to_bytes(4, "big")) for each in (group, address)
        )
        found.add((device, one, other, int(include), int(exclude)))
    for line in network.readNet("mcfilter6").splitlines()[1:]:
        _, device, group, address, include, exclude = line.split()
        one, other = (
            socket.inet_ntop(socket.AF_INET6, bytes.fromhex(each)) for each in (group, address)
        )
        found.add((device, one, other, int(include), int(exclude)))
    return found


# --- Any source -----------------------------------------------------------------------------------


@pytest.mark.parametrize("interface", ["eth0", "10.0.0.1", "fd00::1", None])
def test_aGroupIsJoinedAndLeft(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily, interface: InterfaceLike
) -> None:
    """The kernel lists it between; the interface is named in any way, or chosen by a route."""
    index = 0 if interface is None else socket.if_nametoindex("eth0")
    expected = Membership(parseAddress(GROUP[family]), index)
    assert socketJoinGroup(sock, GROUP[family], interface) == expected
    assert GROUP[family] in groupsIn(link)
    assert getSourceFilter(sock, GROUP[family], "eth0") == SourceFilter(False, ())
    assert socketLeaveGroup(sock, GROUP[family], interface) == expected
    assert GROUP[family] not in groupsIn(link)


def test_aClosedSocketHasLeft(link: Namespace, sock: socket.socket) -> None:
    """The kernel leaves for it, in both families and both ways of joining."""
    group, other = GROUP[sock.family], OTHER_GROUP[sock.family]
    socketJoinGroup(sock, group, "eth0")
    socketJoinGroupSSM(sock, other, source(sock.family, 2), "eth0")
    assert {group, other} <= groupsIn(link)
    sock.close()
    assert not {group, other} & groupsIn(link)
    assert filtersIn(link) == set()


def test_aGroupMayBeJoinedOnSeveralInterfaces(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily
) -> None:
    """Each is a membership of its own."""
    socketJoinGroup(sock, GROUP[family], "eth0")
    socketJoinGroup(sock, GROUP[family], "lo")
    socketLeaveGroup(sock, GROUP[family], "eth0")
    assert getSourceFilter(sock, GROUP[family], "lo") == SourceFilter(False, ())
    with pytest.raises(MembershipError):
        getSourceFilter(sock, GROUP[family], "eth0")


def test_anIPv6GroupMayNameItsInterface(link: Namespace) -> None:
    """As a scope, as link-local groups have it."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        index = socket.if_nametoindex("far")
        for scope in ("far", index):
            membership = socketJoinGroup(sock, f"ff02::1234%{scope}")
            assert membership == Membership(parseAddress("ff02::1234"), index)
            assert str(membership) == "ff02::1234 on far"
            socketLeaveGroup(sock, "ff02::1234", "far")


@pytest.mark.parametrize("join", [socketJoinGroup, socketJoinGroupSSM])
def test_groupsOfOtherSocketsAreNotHeard(
    link: Namespace,
    openSocket: OpenSocket,
    family: socket.AddressFamily,
    join: Callable[..., Membership],
) -> None:
    """Without this Linux delivers to a wildcard socket whatever any process has joined."""
    mine, others, sender = openSocket(), openSocket(), openSocket()
    option = IP_MULTICAST_ALL if family == socket.AF_INET else IPV6_MULTICAST_ALL
    assert option is not None
    mine.settimeout(5)
    others.settimeout(5)
    for sock in (mine, others):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    mine.bind(("", 0))
    port = mine.getsockname()[1]
    others.bind(("", port))
    chosen = () if join is socketJoinGroup else (source(family, 1),)
    join(mine, GROUP[family], *chosen, "eth0")
    join(others, OTHER_GROUP[family], *chosen, "eth0")
    assert mine.getsockopt(LEVEL[family], option) == 0
    setMulticastInterface(sender, "eth0")
    # In this order; so what is read first tells whether the other one was delivered.
    sender.sendto(b"for the others", (OTHER_GROUP[family], port))
    sender.sendto(b"for me", (GROUP[family], port))
    assert mine.recv(100) == b"for me"
    assert others.recv(100) == b"for the others"


# --- Chosen sources -------------------------------------------------------------------------------


def test_sourcesAreJoinedAndLeftOneByOne(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily
) -> None:
    """The kernel's filter has each; with the last one the group is left."""
    group = GROUP[family]
    one, two = source(family, 2), source(family, 3)
    membership = socketJoinGroupSSM(sock, group, one, "eth0")
    assert membership == Membership.of(group, "eth0", one)
    assert str(membership) == f"{group} from {one} on eth0"
    assert filtersIn(link) == {("eth0", group, one, 1, 0)}
    socketJoinGroupSSM(sock, group, two, "eth0")
    assert filtersIn(link) == {("eth0", group, one, 1, 0), ("eth0", group, two, 1, 0)}
    assert getSourceFilter(sock, group, "eth0") == SourceFilter(True, [one, two])
    socketLeaveGroupSSM(sock, group, one, "eth0")
    assert filtersIn(link) == {("eth0", group, two, 1, 0)}
    assert group in groupsIn(link)
    socketLeaveGroupSSM(sock, group, two, "eth0")
    assert filtersIn(link) == set()
    assert group not in groupsIn(link)


def test_aGroupWithSourcesIsLeftWhole(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily
) -> None:
    """Leaving the group leaves all its sources."""
    for number in (2, 3, 4):
        socketJoinGroupSSM(sock, GROUP[family], source(family, number), "eth0")
    socketLeaveGroup(sock, GROUP[family], "eth0")
    assert filtersIn(link) == set()
    assert GROUP[family] not in groupsIn(link)


def test_theKernelChoosesTheInterfaceByItsRoutes(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily
) -> None:
    """Where none is named; the filter is found all the same."""
    group, one, two = GROUP[family], source(family, 2), source(family, 3)
    assert socketJoinGroupSSM(sock, group, one).interface == 0
    assert filtersIn(link) == {("eth0", group, one, 1, 0)}
    assert getSourceFilter(sock, group) == SourceFilter(True, [one])
    setSourceFilter(sock, group, SourceFilter(True, [two]))
    assert getSourceFilter(sock, group, "eth0") == SourceFilter(True, [two])
    socketLeaveGroupSSM(sock, group, two)
    assert group not in groupsIn(link)


def test_aSourceIsRefusedWhereAnySourceIsHeard(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily
) -> None:
    """Linux would hear only that one from then on; RFC 3678 has it refused."""
    socketJoinGroup(sock, GROUP[family], "eth0")
    with pytest.raises(MembershipError, match="from any source already; leave it") as caught:
        socketJoinGroupSSM(sock, GROUP[family], source(family, 2), "eth0")
    assert caught.value.errno == errno.EINVAL
    assert getSourceFilter(sock, GROUP[family], "eth0") == SourceFilter(False, [])


def test_aJoinThatFailsHalfwayIsUndone(
    link: Namespace, openSocket: OpenSocket, family: socket.AddressFamily
) -> None:
    """Linux joins the group first, then lacks the memory for its source, and stays in it."""
    group, one = GROUP[family], source(family, 2)
    halfway = 0
    for least in range(0, 800, 8):
        limitOptionMemory(link, least)
        sock = openSocket()
        if isLeftHalfway(sock, group, one):
            halfway += 1
            with pytest.raises(MembershipError) as caught:
                socketJoinGroupSSM(sock, group, one, "eth0")
            assert caught.value.errno == errno.ENOBUFS
            assert str(caught.value).startswith(
                f"cannot join {group} from {one} on eth0: this socket can have no more sources "
            )
            if family == socket.AF_INET:  # the limit of sources is visible, and was not met
                assert f"raise net.core.optmem_max (now {least})" in str(caught.value)
            with pytest.raises(MembershipError, match="this socket is not a member"):
                getSourceFilter(sock, group, "eth0")
            assert group not in groupsIn(link)
        sock.close()
    assert halfway


def isLeftHalfway(sock: socket.socket, group: str, one: str) -> bool:
    """Whether the kernel, asked plainly, refuses a source but keeps the group; it is left then."""
    request = packGroupRequest(Membership.of(group, "eth0", one))
    try:
        sock.setsockopt(LEVEL[socket.AddressFamily(sock.family)], 46, request)
    except OSError:
        pass
    else:
        return False
    try:
        socketLeaveGroup(sock, group, "eth0")
    except MembershipError:
        return False
    return True


# --- Blocking -------------------------------------------------------------------------------------


def test_aSourceIsBlockedAndUnblocked(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily
) -> None:
    """In a group that was joined from any source."""
    group, one = GROUP[family], source(family, 2)
    socketJoinGroup(sock, group, "eth0")
    assert socketBlockSource(sock, group, one, "eth0") == Membership.of(group, "eth0", one)
    assert filtersIn(link) == {("eth0", group, one, 0, 1)}
    assert getSourceFilter(sock, group, "eth0") == SourceFilter(False, [one])
    assert socketUnblockSource(sock, group, one, "eth0") == Membership.of(group, "eth0", one)
    assert filtersIn(link) == set()
    assert getSourceFilter(sock, group, "eth0") == SourceFilter(False, ())


# --- The whole filter -----------------------------------------------------------------------------


def test_theWholeFilterIsReplacedAtOnce(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily
) -> None:
    """From one mode to the other, and to other sources; what is set is read back."""
    group = GROUP[family]
    socketJoinGroup(sock, group, "eth0")
    for isInclude, numbers in ((True, (2, 3)), (True, (3, 4, 5)), (False, (6,)), (False, ())):
        wanted = SourceFilter(isInclude, [source(family, number) for number in numbers])
        setSourceFilter(sock, group, wanted, "eth0")
        assert getSourceFilter(sock, group, "eth0") == wanted
        counts = (1, 0) if isInclude else (0, 1)
        assert filtersIn(link) == {
            ("eth0", group, source(family, number), *counts) for number in numbers
        }


def test_anEmptyFilterLeavesTheGroup(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily
) -> None:
    """To hear no source is not to be a member (RFC 3376 section 3)."""
    socketJoinGroup(sock, GROUP[family], "eth0")
    setSourceFilter(sock, GROUP[family], SourceFilter(True, ()), "eth0")
    assert GROUP[family] not in groupsIn(link)


def test_moreThan16SourcesAreReadBack(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily
) -> None:
    """All of them, however many there are."""
    link.sysctl("net.ipv4.igmp_max_msf", 60)
    socketJoinGroup(sock, GROUP[family], "eth0")
    for count in (15, 16, 17, 60):
        wanted = SourceFilter(True, [source(family, number) for number in range(2, count + 2)])
        setSourceFilter(sock, GROUP[family], wanted, "eth0")
        assert getSourceFilter(sock, GROUP[family], "eth0") == wanted
        assert len(wanted.sources) == count


# --- Values ---------------------------------------------------------------------------------------


def test_aMembershipIsMadeFromWhatPeopleWrite(link: Namespace) -> None:
    """Text or objects; equal ones are equal, and can be kept in sets."""
    index = socket.if_nametoindex("eth0")
    one = Membership.of("FF3E::8000:1", "eth0", "fd00:0::2%eth0")
    assert one == Membership(parseAddress("ff3e::8000:1"), index, parseAddress("fd00::2"))
    assert len({one, Membership.of(parseAddress("ff3e::8000:1"), index, "fd00::2")}) == 1
    assert str(Membership.of("239.1.2.3")) == "239.1.2.3 on any interface"


def test_aRequestIsPackedAsRFC3678HasIt(link: Namespace) -> None:
    """An index, aligned as sockaddr_storage is, the group, and the source if there is one."""
    index = socket.if_nametoindex("eth0")
    plain = packGroupRequest(Membership.of("239.1.2.3", "eth0"))
    assert struct.unpack_from("@I", plain) == (index,)
    assert len(plain) == 8 + 128
    assert plain[8:16] == struct.pack("=H", socket.AF_INET) + b"\0\0" + bytes([239, 1, 2, 3])
    withSource = packGroupRequest(Membership.of("239.1.2.3", "eth0", "10.0.0.2"))
    assert withSource[: len(plain)] == plain
    assert withSource[len(plain) :][4:8] == bytes([10, 0, 0, 2])
    assert len(withSource) == 8 + 2 * 128
