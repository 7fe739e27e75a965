from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

import pytest

from tests.primitives.support import (
    GROUP,
    OTHER_FAMILY,
    OTHER_GROUP,
    limitOptionMemory,
    source,
)
from txgroupsock.primitives import (
    AddressError,
    MembershipError,
    SourceFilter,
    UnknownInterface,
    getSourceFilter,
    setSourceFilter,
    socketBlockSource,
    socketJoinGroup,
    socketJoinGroupSSM,
    socketLeaveGroup,
    socketLeaveGroupSSM,
    socketUnblockSource,
)
from txgroupsock.testing.namespaces import Namespace

pytestmark = pytest.mark.lan


# --- Limits ---------------------------------------------------------------------------------------


def test_the21stIPv4GroupNamesItsLimit(link: Namespace) -> None:
    """ENOBUFS, the sysctl, its value; and what was joined stays joined."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(20):
            socketJoinGroup(sock, f"239.2.0.{number}", "eth0")
        with pytest.raises(MembershipError) as caught:
            socketJoinGroup(sock, "239.2.0.20", "eth0")
        assert caught.value.errno == errno.ENOBUFS
        assert str(caught.value) == (
            "cannot join 239.2.0.20 on eth0: this socket can have no more groups; "
            "raise net.ipv4.igmp_max_memberships (now 20) with 'sysctl -w', or use another socket"
        )
        with pytest.raises(MembershipError, match="can have no more groups"):
            socketJoinGroupSSM(sock, "232.2.0.20", "10.0.0.2", "eth0")
        assert getSourceFilter(sock, "239.2.0.19", "eth0") == SourceFilter(False, ())


def test_manyIPv6GroupsCanBeJoined(link: Namespace) -> None:
    """Only memory limits them, and the error says so."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        for number in range(100):
            socketJoinGroup(sock, f"ff3e::9000:{number:x}", "eth0")
        limitOptionMemory(link, 400)
        with pytest.raises(MembershipError) as caught:
            socketJoinGroup(sock, "ff3e::a000:0", "eth0")
        assert caught.value.errno == errno.ENOMEM
        assert str(caught.value) == (
            "cannot join ff3e::a000:0 on eth0: this socket can have no more groups; "
            "raise net.core.optmem_max (now 400) with 'sysctl -w', or use another socket"
        )


def test_the11thIPv4SourceNamesItsLimit(link: Namespace) -> None:
    """ENOBUFS, the sysctl and its value, for joined, blocked and set sources alike."""
    advice = (
        "on eth0: this socket can have no more sources of it; "
        "raise net.ipv4.igmp_max_msf (now 10) with 'sysctl -w', or use another socket"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        socketJoinGroup(sock, "239.2.0.2", "eth0")
        for number in range(2, 12):
            socketJoinGroupSSM(sock, "239.2.0.1", f"10.0.0.{number}", "eth0")
            socketBlockSource(sock, "239.2.0.2", f"10.0.0.{number}", "eth0")
        with pytest.raises(MembershipError) as caught:
            socketJoinGroupSSM(sock, "239.2.0.1", "10.0.0.12", "eth0")
        assert caught.value.errno == errno.ENOBUFS
        assert str(caught.value) == f"cannot join 239.2.0.1 from 10.0.0.12 {advice}"
        with pytest.raises(MembershipError) as caught:
            socketBlockSource(sock, "239.2.0.2", "10.0.0.12", "eth0")
        assert str(caught.value) == f"cannot block 239.2.0.2 from 10.0.0.12 {advice}"
        wanted = SourceFilter(True, [f"10.0.0.{number}" for number in range(2, 13)])
        with pytest.raises(MembershipError) as caught:
            setSourceFilter(sock, "239.2.0.1", wanted, "eth0")
        assert caught.value.errno == errno.ENOBUFS
        assert str(caught.value) == f"cannot set the source filter of 239.2.0.1 {advice}"
        assert len(getSourceFilter(sock, "239.2.0.1", "eth0").sources) == 10


def test_theLimitIsNamedWhereTheKernelChoseTheInterface(link: Namespace) -> None:
    """That it is a member is found out without knowing where."""
    link.sysctl("net.ipv4.igmp_max_msf", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        socketJoinGroupSSM(sock, "239.2.0.1", "10.0.0.2")
        with pytest.raises(MembershipError, match=r"net\.ipv4\.igmp_max_msf \(now 1\)"):
            socketJoinGroupSSM(sock, "239.2.0.1", "10.0.0.3")


def joinManySources(sock: socket.socket) -> None:
    """More than any host allows."""
    for number in range(2, 10_000):
        socketJoinGroupSSM(sock, "ff3e::1", f"fd00::{number:x}", "eth0")


def test_the65thIPv6SourceNamesItsLimit(link: Namespace) -> None:
    """ENOBUFS and the sysctl, which exists only in the first network namespace."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        with pytest.raises(MembershipError) as caught:
            joinManySources(sock)
        assert caught.value.errno == errno.ENOBUFS
        assert len(getSourceFilter(sock, "ff3e::1", "eth0").sources) >= 64
        assert str(caught.value).startswith("cannot join ff3e::1 from fd00::")
        assert (
            " on eth0: this socket can have no more sources of it; raise net.ipv6.mld_max_msf ("
        ) in str(caught.value)


# --- Refusals -------------------------------------------------------------------------------------

Attempt = Callable[[socket.socket, str, str], object]


def join(sock: socket.socket, group: str, one: str) -> object:
    """From any source."""
    return socketJoinGroup(sock, group, "eth0")


def joinSSM(sock: socket.socket, group: str, one: str) -> object:
    """From one source."""
    return socketJoinGroupSSM(sock, group, one, "eth0")


def leave(sock: socket.socket, group: str, one: str) -> object:
    """The whole group."""
    return socketLeaveGroup(sock, group, "eth0")


def leaveSSM(sock: socket.socket, group: str, one: str) -> object:
    """One source."""
    return socketLeaveGroupSSM(sock, group, one, "eth0")


def block(sock: socket.socket, group: str, one: str) -> object:
    """One source."""
    return socketBlockSource(sock, group, one, "eth0")


def unblock(sock: socket.socket, group: str, one: str) -> object:
    """One source."""
    return socketUnblockSource(sock, group, one, "eth0")


def getFilter(sock: socket.socket, group: str, one: str) -> object:
    """The whole filter."""
    return getSourceFilter(sock, group, "eth0")


def setFilter(sock: socket.socket, group: str, one: str) -> object:
    """The whole filter."""
    setSourceFilter(sock, group, SourceFilter(True, [one]), "eth0")
    return None


NOT_THAT_SOURCE = "this socket did not join it from that source"
NO_MEMBER = "this socket is not a member"
CHOSEN = "this socket hears it from chosen sources already; leave it first"
NO_ANY_SOURCE_MEMBER = "this socket is not a member that hears any source"


@pytest.mark.parametrize(
    ("before", "attempt", "number", "operation", "why"),
    [
        ([join], join, errno.EADDRINUSE, "join {g}", "this socket is a member already"),
        ([joinSSM], join, errno.EADDRINUSE, "join {g}", CHOSEN),
        (
            *([joinSSM], joinSSM, errno.EADDRNOTAVAIL, "join {g} from {s}"),
            "this socket has that source already",
        ),
        (
            *([join, block], joinSSM, errno.EINVAL, "join {g} from {s}"),
            "this socket blocks sources of it; unblock them, or leave it first",
        ),
        ([], leave, errno.EADDRNOTAVAIL, "leave {g}", NO_MEMBER),
        ([], leaveSSM, errno.EINVAL, "leave {g} from {s}", NOT_THAT_SOURCE),
        ([join, block], leaveSSM, errno.EINVAL, "leave {g} from {s}", NOT_THAT_SOURCE),
        ([], block, errno.EINVAL, "block {g} from {s}", NO_ANY_SOURCE_MEMBER),
        ([joinSSM], block, errno.EINVAL, "block {g} from {s}", NO_ANY_SOURCE_MEMBER),
        (
            *([join, block], block, errno.EADDRNOTAVAIL, "block {g} from {s}"),
            "that source is blocked already",
        ),
        ([], unblock, errno.EINVAL, "unblock {g} from {s}", NO_ANY_SOURCE_MEMBER),
        (
            [join],
            unblock,
            errno.EADDRNOTAVAIL,
            "unblock {g} from {s}",
            "that source is not blocked",
        ),
        (
            *([], getFilter, errno.EADDRNOTAVAIL, "read the source filter of {g}"),
            f"{NO_MEMBER}; join it first",
        ),
        (
            *([], setFilter, errno.EADDRNOTAVAIL, "set the source filter of {g}"),
            f"{NO_MEMBER}; join it first",
        ),
    ],
)
def test_aRefusalSaysWhatTheErrnoMeansHere(
    link: Namespace,
    sock: socket.socket,
    family: socket.AddressFamily,
    before: list[Attempt],
    attempt: Attempt,
    number: int,
    operation: str,
    why: str,
) -> None:
    """What was attempted, on which group, source and interface, and why not; in both families."""
    group, one = GROUP[family], source(family, 2)
    for step in before:
        step(sock, group, one)
    with pytest.raises(MembershipError) as caught:
        attempt(sock, group, one)
    assert caught.value.errno == number
    assert str(caught.value) == f"cannot {operation.format(g=group, s=one)} on eth0: {why}"
    assert str(caught.value.membership.group) == group


def test_leavingAnotherSourceIsRefused(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily
) -> None:
    """The source that was joined stays."""
    socketJoinGroupSSM(sock, GROUP[family], source(family, 2), "eth0")
    with pytest.raises(MembershipError, match=f"{NOT_THAT_SOURCE}$") as caught:
        socketLeaveGroupSSM(sock, GROUP[family], source(family, 3), "eth0")
    assert caught.value.errno == errno.EADDRNOTAVAIL
    expected = SourceFilter(True, [source(family, 2)])
    assert getSourceFilter(sock, GROUP[family], "eth0") == expected


ALL = [join, joinSSM, leave, leaveSSM, block, unblock, getFilter, setFilter]


@pytest.mark.parametrize("attempt", ALL)
def test_aGroupOfTheOtherFamilyIsRefused(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily, attempt: Attempt
) -> None:
    """Each function says of which family the socket is."""
    other = OTHER_FAMILY[family]
    with pytest.raises(MembershipError) as caught:
        attempt(sock, GROUP[other], source(socket.AddressFamily(other), 2))
    assert caught.value.errno == errno.EAFNOSUPPORT
    name = "IPv4" if family == socket.AF_INET else "IPv6"
    assert str(caught.value).endswith(f" on eth0: the socket is {name}")


@pytest.mark.parametrize("attempt", ALL)
def test_aClosedSocketIsRefused(
    link: Namespace,
    closedSocket: socket.socket,
    family: socket.AddressFamily,
    attempt: Attempt,
) -> None:
    """EBADF stays EBADF in each function."""
    with pytest.raises(MembershipError) as caught:
        attempt(closedSocket, GROUP[family], source(family, 2))
    assert caught.value.errno == errno.EBADF
    assert str(caught.value).endswith(f" on eth0: {os.strerror(errno.EBADF)}")


@pytest.mark.parametrize("attempt", ALL)
def test_whatIsNoGroupIsRefused(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily, attempt: Attempt
) -> None:
    """LIVE555 takes a unicast address for a group and reports success."""
    with pytest.raises(AddressError, match="as a group: multicast groups are in") as caught:
        attempt(sock, source(family, 9), source(family, 2))
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("attempt", [joinSSM, leaveSSM, block, unblock])
def test_whatIsNoSourceIsRefused(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily, attempt: Attempt
) -> None:
    """A group, the wildcard, an address of the other family, or no address."""
    group = GROUP[family]
    wildcard = "0.0.0.0" if family == socket.AF_INET else "::"
    for wrong in (OTHER_GROUP[family], wildcard):
        with pytest.raises(AddressError) as caught:
            attempt(sock, group, wrong)
        assert caught.value.errno == errno.EINVAL
        assert str(caught.value) == (
            f"cannot use {wrong} as a source of {group}: a source is one host's unicast address"
        )
    other = source(socket.AddressFamily(OTHER_FAMILY[family]), 2)
    with pytest.raises(AddressError) as caught:
        attempt(sock, group, other)
    assert caught.value.errno == errno.EAFNOSUPPORT
    assert str(caught.value) == (
        f"cannot use {other} as a source of {group}: one is IPv4 and the other IPv6"
    )
    with pytest.raises(AddressError, match="it is not an IPv4 or IPv6 address"):
        attempt(sock, group, "sender.example")


def test_theSourcesOfAFilterAreCheckedToo(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily
) -> None:
    """Before anything is changed."""
    socketJoinGroup(sock, GROUP[family], "eth0")
    other = source(socket.AddressFamily(OTHER_FAMILY[family]), 2)
    for wrong in (OTHER_GROUP[family], other):
        with pytest.raises(AddressError, match=f"cannot use {wrong} as a source of"):
            setSourceFilter(sock, GROUP[family], SourceFilter(True, [wrong]), "eth0")
    assert getSourceFilter(sock, GROUP[family], "eth0") == SourceFilter(False, ())


def test_anUnknownInterfaceIsRefused(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily
) -> None:
    """Before the kernel is asked; the error lists those there are."""
    with pytest.raises(UnknownInterface, match=r"cannot find the interface eth9: .*eth0"):
        socketJoinGroup(sock, GROUP[family], "eth9")


def test_withoutARouteTheInterfaceHasToBeNamed(
    namespace: Namespace, sock: socket.socket, family: socket.AddressFamily
) -> None:
    """ENODEV, with what to do, for the source-specific join too."""
    group, one = GROUP[family], source(family, 2)
    with pytest.raises(MembershipError) as plain:
        socketJoinGroup(sock, group)
    with pytest.raises(MembershipError) as specific:
        socketJoinGroupSSM(sock, group, one)
    for caught, what in ((plain, group), (specific, f"{group} from {one}")):
        assert caught.value.errno == errno.ENODEV
        assert str(caught.value) == (
            f"cannot join {what} on any interface: no route leads to the group; "
            "name an interface, or add a route for it ('ip route add ... dev ...')"
        )


def test_anInterfaceWithoutIPv6IsRefused(link: Namespace) -> None:
    """One whose MTU is less than 1280, for example."""
    link.run("ip", "link", "set", "eth0", "mtu", "1000")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        for attempt in (join, joinSSM):
            with pytest.raises(MembershipError) as caught:
                attempt(sock, "ff3e::1", "fd00::2")
            assert caught.value.errno == errno.EINVAL
            assert str(caught.value).endswith(" on eth0: the interface carries no IPv6")


def test_anInterfaceThatGoesTakesItsMembershipsAlong(
    link: Namespace, sock: socket.socket, family: socket.AddressFamily
) -> None:
    """Leaving then is an error that can be told from others."""
    index = socket.if_nametoindex("eth0")
    socketJoinGroup(sock, GROUP[family], "eth0")
    link.run("ip", "link", "delete", "eth0")
    with pytest.raises(UnknownInterface):
        socketLeaveGroup(sock, GROUP[family], index)
