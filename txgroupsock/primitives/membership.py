"""
Joining and leaving groups, from any source or from chosen ones (RFC 3678, RFC 4607).

One set of functions for both families: the protocol-independent C{MCAST_*} options name
the interface by index, so an IPv6 group can be joined where it is wanted.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import evolve

from txgroupsock.primitives import constants
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.constants import required
from txgroupsock.primitives.errors import (
    GroupsockError,
    NotSupportedHere,
    readSysctl,
    sysctlAdvice,
)
from txgroupsock.primitives.interfacetable import allIndexes
from txgroupsock.primitives.networkinterface import InterfaceLike
from txgroupsock.primitives.options import hearOnlyOwnGroups
from txgroupsock.primitives.sockaddr import (
    IPAddress,
    familyName,
    familyOf,
    packSockaddr,
    protocolLevel,
)
from txgroupsock.primitives.sourcefilter import SourceFilter, packGroup, readFilter, writeFilter
from txgroupsock.primitives.subscription import Membership, MembershipError, checkSource


@checked
def socketJoinGroup(
    sock: socket.socket, group: str | IPAddress, interface: InterfaceLike = None
) -> Membership:
    """
    Receive a group, from any source (MCAST_JOIN_GROUP).

    From then on the socket hears only groups that it joined itself.

    @raise MembershipError: the kernel refused; ENOBUFS names the limit to raise.
    @raise AddressError: C{group} is not multicast.
    @raise UnknownInterface: there is no such interface.
    """
    membership = Membership.of(group, interface)
    changeMembership(sock, "MCAST_JOIN_GROUP", membership, "join")
    hearOnlyOwnGroups(sock)
    return membership


@checked
def socketLeaveGroup(
    sock: socket.socket, group: str | IPAddress, interface: InterfaceLike = None
) -> Membership:
    """
    Stop receiving a group, whatever its source filter was (MCAST_LEAVE_GROUP).

    @raise MembershipError: the kernel refused, or the socket was not a member.
    """
    membership = Membership.of(group, interface)
    changeMembership(sock, "MCAST_LEAVE_GROUP", membership, "leave")
    return membership


@checked
def socketJoinGroupSSM(
    sock: socket.socket,
    group: str | IPAddress,
    source: str | IPAddress,
    interface: InterfaceLike = None,
) -> Membership:
    """
    Receive a group from one source (MCAST_JOIN_SOURCE_GROUP); call again for more sources.

    Works for groups outside the source-specific range too, in both families.  There is no
    fallback to any source: where this cannot be done, it fails.

    @raise MembershipError: the kernel refused, and ENOBUFS names the limit to raise; or, with
        EINVAL, the socket hears the group from any source (RFC 3678 section 4.1.3).
    @raise AddressError: C{group} is not multicast, or C{source} is not a unicast address of
        the same family.
    @raise UnknownInterface: there is no such interface.
    """
    membership = Membership.of(group, interface, source)
    try:
        with _keepingAnySource(sock, membership, "join"):
            changeMembership(sock, "MCAST_JOIN_SOURCE_GROUP", membership, "join")
    except MembershipError:
        held = _filterOf(sock, membership)
        if held == SourceFilter(True, ()):  # Linux joined the group before it refused the source
            changeMembership(sock, "MCAST_LEAVE_GROUP", evolve(membership, source=None), "leave")
        raise
    hearOnlyOwnGroups(sock)
    return membership


@contextmanager
def _keepingAnySource(sock: socket.socket, membership: Membership, verb: str) -> Iterator[None]:
    """
    While the sources of a group are chosen: where it is heard from any source, refuse that.

    RFC 3678 (section 4.1.3) has it refused; Linux first makes such a membership one for chosen
    sources, of which there are none yet, and only then looks at what is asked.

    @raise MembershipError: EINVAL; or what the call inside raises.
    """
    before = _anySourceFilters(sock, membership)
    if membership.interface in before:
        raise _bothKinds(membership, verb, before[membership.interface])
    refused: MembershipError | None = None
    try:
        yield
    except MembershipError as error:
        refused = error
    for index in before.keys() - _anySourceFilters(sock, membership).keys():
        # The kernel chose an interface where it was joined from any source.
        writeFilter(sock, index, membership.group, before[index])
        raise _bothKinds(evolve(membership, interface=index), verb, before[index])
    if refused is not None:
        raise refused


def _anySourceFilters(sock: socket.socket, membership: Membership) -> dict[int, SourceFilter]:
    """The filters by which a socket hears a group from any source, by interface."""
    held: dict[int, SourceFilter] = {}
    if familyOf(membership.group) != sock.family:
        return held
    for index in [membership.interface] if membership.interface else allIndexes():
        try:
            found = readFilter(sock, index, membership.group)
        except OSError:  # no member there; or no Linux, where the kernel itself refuses
            continue
        if not found.isInclude:
            held[index] = found
    return held


def _bothKinds(membership: Membership, verb: str, held: SourceFilter) -> MembershipError:
    if verb == "leave":
        reason, advice = "this socket did not join it from that source", ""
    elif held.sources:
        reason, advice = "this socket blocks sources of it", "unblock them, or leave it first"
    else:
        reason, advice = "this socket hears it from any source already", "leave it first"
    return MembershipError(membership, errno.EINVAL, verb, advice, reason)


@checked
def socketLeaveGroupSSM(
    sock: socket.socket,
    group: str | IPAddress,
    source: str | IPAddress,
    interface: InterfaceLike = None,
) -> Membership:
    """
    Stop receiving a group from one source (MCAST_LEAVE_SOURCE_GROUP); with the last one
    the group is left.

    @raise MembershipError: the kernel refused, or the socket was not a member.
    """
    membership = Membership.of(group, interface, source)
    with _keepingAnySource(sock, membership, "leave"):
        changeMembership(sock, "MCAST_LEAVE_SOURCE_GROUP", membership, "leave")
    return membership


@checked
def socketBlockSource(
    sock: socket.socket,
    group: str | IPAddress,
    source: str | IPAddress,
    interface: InterfaceLike = None,
) -> Membership:
    """
    Stop hearing one source of a group joined from any source (MCAST_BLOCK_SOURCE).

    @raise MembershipError: the group was not joined from any source, the source is blocked
        already, or there are too many.
    """
    membership = Membership.of(group, interface, source)
    changeMembership(sock, "MCAST_BLOCK_SOURCE", membership, "block")
    return membership


@checked
def socketUnblockSource(
    sock: socket.socket,
    group: str | IPAddress,
    source: str | IPAddress,
    interface: InterfaceLike = None,
) -> Membership:
    """
    Hear a blocked source again (MCAST_UNBLOCK_SOURCE).

    @raise MembershipError: it was not blocked.
    """
    membership = Membership.of(group, interface, source)
    changeMembership(sock, "MCAST_UNBLOCK_SOURCE", membership, "unblock")
    return membership


@checked
def setSourceFilter(
    sock: socket.socket,
    group: str | IPAddress,
    wanted: SourceFilter,
    interface: InterfaceLike = None,
) -> None:
    """
    Replace the whole source filter of a joined group at once (MCAST_MSFILTER, RFC 3678
    section 5.2.1; Linux).  An empty INCLUDE filter leaves the group.

    @param interface: where it was joined; left out, the first where the socket is a member.
    @raise MembershipError: the socket is not a member, or there are too many sources.
    @raise AddressError: a source is not a unicast address of the group's family.
    @raise NotSupportedHere: this system has no such option.
    """
    verb = "set the source filter of"
    membership, _ = findMembership(sock, Membership.of(group, interface), verb)
    for each in wanted.sources:
        checkSource(membership.group, each)
    try:
        writeFilter(sock, membership.interface, membership.group, wanted)
    except OSError as error:
        raise _refused(sock, membership, verb, error, sources=len(wanted.sources)) from error


@checked
def getSourceFilter(
    sock: socket.socket, group: str | IPAddress, interface: InterfaceLike = None
) -> SourceFilter:
    """
    The source filter that the kernel holds for a joined group (MCAST_MSFILTER; Linux).

    @param interface: where it was joined; left out, the first where the socket is a member.
    @raise MembershipError: the socket is not a member.
    @raise NotSupportedHere: this system has no such option.
    """
    return findMembership(sock, Membership.of(group, interface), "read the source filter of")[1]


def packGroupRequest(membership: Membership) -> bytes:
    """
    C{struct group_req}, or C{struct group_source_req} where there is a source (RFC 3678
    section 5.1.1).
    """
    packed = packGroup(membership.interface, membership.group)
    return packed if membership.source is None else packed + packSockaddr(membership.source)


def _checkFamily(sock: socket.socket, membership: Membership, verb: str) -> None:
    if familyOf(membership.group) != sock.family:
        raise MembershipError(
            membership, errno.EAFNOSUPPORT, verb, reason=f"the socket is {familyName(sock.family)}"
        )


def changeMembership(sock: socket.socket, option: str, membership: Membership, verb: str) -> None:
    """
    Ask the kernel for one of the C{MCAST_*} changes; the interface need not exist any more.

    @raise MembershipError: it refused.
    """
    _checkFamily(sock, membership, verb)
    number = required(getattr(constants, option), option)
    try:
        sock.setsockopt(protocolLevel(sock.family), number, packGroupRequest(membership))
    except OSError as error:
        raise _refused(sock, membership, verb, error) from error


def findMembership(
    sock: socket.socket, membership: Membership, verb: str
) -> tuple[Membership, SourceFilter]:
    """
    The same membership with the interface that it is on, and the filter that it has there.

    The kernel looks filters up by the exact index, and does not tell which one it chose.
    """
    _checkFamily(sock, membership, verb)
    index = membership.interface
    for each in [index] if index else allIndexes():
        found = evolve(membership, interface=each)
        try:
            return found, readFilter(sock, each, membership.group)
        except NotSupportedHere:
            raise
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise _refused(sock, membership, verb, error) from error
    raise MembershipError(membership, errno.EADDRNOTAVAIL, verb, "join it first", _NO_MEMBER)


def _filterOf(sock: socket.socket, membership: Membership) -> SourceFilter | None:
    """The filter of a membership, or L{None} if there is none or it cannot be read."""
    try:
        return findMembership(sock, membership, "read")[1]
    except GroupsockError:
        return None


def _hearsChosen(sock: socket.socket, membership: Membership) -> bool:
    """Whether the group is joined from chosen sources, and any source was asked for."""
    held = _filterOf(sock, membership) if membership.source is None else None
    return held is not None and held.isInclude


_NO_MEMBER = "this socket is not a member"
_NO_ANY_SOURCE_MEMBER = "this socket is not a member that hears any source"
_NOT_JOINED = (errno.EADDRNOTAVAIL, errno.EINVAL)
_REASONS = {
    ("join", errno.EADDRINUSE): "this socket is a member already",
    ("join", errno.EADDRNOTAVAIL): "this socket has that source already",
    ("leave", errno.EADDRNOTAVAIL): _NO_MEMBER,
    ("block", errno.EADDRNOTAVAIL): "that source is blocked already",
    ("block", errno.EINVAL): _NO_ANY_SOURCE_MEMBER,
    ("unblock", errno.EADDRNOTAVAIL): "that source is not blocked",
    ("unblock", errno.EINVAL): _NO_ANY_SOURCE_MEMBER,
}


def _refused(
    sock: socket.socket, membership: Membership, verb: str, error: OSError, sources: int = 0
) -> MembershipError:
    """
    The error that says what the kernel's errno means for this request.

    @param sources: how many the group would have had.
    """
    number = error.errno or 0
    reason, advice = _REASONS.get((verb, number)), ""
    if number in (errno.ENOBUFS, errno.ENOMEM):
        reason, advice = _limit(sock, membership, sources)
    elif (verb, number) == ("join", errno.EADDRINUSE) and _hearsChosen(sock, membership):
        reason, advice = "this socket hears it from chosen sources already", "leave it first"
    elif number == errno.ENODEV and not membership.interface:
        reason = "no route leads to the group"
        advice = "name an interface, or add a route for it ('ip route add ... dev ...')"
    elif (verb, number) == ("join", errno.EINVAL):
        if _filterOf(sock, membership) is not None:
            reason, advice = "this socket blocks sources of it", "unblock them, or leave it first"
        else:
            reason = f"the interface carries no {familyName(sock.family)}"
    elif verb == "leave" and membership.source is not None and number in _NOT_JOINED:
        reason = "this socket did not join it from that source"
    return MembershipError(membership, number, verb, advice, reason)


def _limit(sock: socket.socket, membership: Membership, sources: int) -> tuple[str, str]:
    """Which limit was met: Linux gives the same errno for groups, sources and memory."""
    v4 = sock.family == socket.AF_INET
    held = _filterOf(sock, membership)
    if held is not None and membership.source is not None:
        sources = len(held.sources) + 1
    if sources:
        what, name = "sources of it", "net.ipv4.igmp_max_msf" if v4 else "net.ipv6.mld_max_msf"
        if sources <= (readSysctl(name) or 0):
            name = _MEMORY
    else:
        what, name = "groups", "net.ipv4.igmp_max_memberships" if v4 else _MEMORY
    return f"this socket can have no more {what}", f"{sysctlAdvice(name)}, or use another socket"


_MEMORY = "net.core.optmem_max"  # what a socket's options may take, among them its memberships
