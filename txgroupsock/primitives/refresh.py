"""
Reporting a membership again, unasked, for switches and routers that may have forgotten it.

A report is sent by the kernel, when what it has joined on an interface changes.  So here it is
changed and changed back at once, in a way that never shuts out who is heard: no root needed.
Linux waits two ticks of its clock before it reports a change (C{igmp_ifc_event},
C{mld_ifc_event}), so only one record goes out, for what is so in the end; a second time up to a
second later (RFC 3376 section 4.1.6, RFC 3810 section 5.1.8: the robustness variable).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress

from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.constants import MCAST_MSFILTER, required
from txgroupsock.primitives.errors import GroupsockError, readSysctl
from txgroupsock.primitives.membership import (
    changeMembership,
    findMembership,
    socketJoinGroup,
    socketJoinGroupSSM,
)
from txgroupsock.primitives.networkinterface import InterfaceLike
from txgroupsock.primitives.sockaddr import IPAddress, parseAddress, withoutScope
from txgroupsock.primitives.sourcefilter import SourceFilter, writeFilter
from txgroupsock.primitives.subscription import Membership, MembershipError

_VERB = "report"


@checked
def refreshMembership(
    sock: socket.socket,
    group: str | IPAddress,
    interface: InterfaceLike = None,
    senders: Iterable[str | IPAddress] = (),
) -> None:
    """
    Have the kernel report a group that a socket has joined, and its sources, without ceasing to
    hear any of C{senders} (Linux, under IGMPv3 and MLDv2).

    From any source: the filter becomes INCLUDE C{senders}, then what it was, which sends
    CHANGE_TO_EXCLUDE_MODE.  Who is not among them is not heard in between, some 50 us.  Without
    senders the group is left and joined.

    From chosen sources: another socket joins from any source and is closed.  What this one hears
    never changes; CHANGE_TO_INCLUDE_MODE is sent with the sources.

    Nothing is sent if another socket of this host hears the group from any source on the same
    interface, since then nothing changes there; under IGMPv2 and MLDv1, L{rejoin} instead.

    @param interface: where it was joined; left out, the first where the socket is a member.
    @param senders: the most important first: those beyond what L{mostSenders} tells are left
        out.
    @raise MembershipError: the socket is not a member, or the kernel refused; it may have lost
        the membership.
    @raise NotSupportedHere: not Linux.
    """
    required(MCAST_MSFILTER, "MCAST_MSFILTER")
    held, current = findMembership(sock, Membership.of(group, interface), _VERB)
    if current.isInclude:
        with socket.socket(sock.family, socket.SOCK_DGRAM) as other:
            socketJoinGroup(other, held.group, held.interface)
        return
    addresses = (withoutScope(parseAddress(each)) for each in senders)
    heard = [each for each in addresses if each not in current.sources]
    if not heard:
        _leaveAndJoin(sock, held, current)
        return
    only = SourceFilter(True, heard[: mostSenders(sock.family)])
    try:
        try:
            writeFilter(sock, held.interface, held.group, only)
        finally:  # whatever happens, it is to hear all
            writeFilter(sock, held.interface, held.group, current)
    except OSError as error:
        raise MembershipError(held, error.errno, _VERB) from error


@checked
def rejoin(sock: socket.socket, group: str | IPAddress, interface: InterfaceLike = None) -> None:
    """
    Leave a group and join it as it was, so that it is reported under IGMPv2 and MLDv1, too.

    What comes in between is lost, and under those versions the network is told that the group is
    left (RFC 2236 section 3): for a group that nothing is heard of.

    @raise MembershipError: the socket is not a member, or could not join again.
    @raise NotSupportedHere: not Linux.
    """
    held, current = findMembership(sock, Membership.of(group, interface), _VERB)
    _leaveAndJoin(sock, held, current)


@checked
def forgetMembership(sock: socket.socket, membership: Membership) -> None:
    """
    Leave a group, on an interface that may be gone: a socket keeps an entry for it, and the
    kernel counts that.  That there is none is no error.
    """
    with suppress(GroupsockError):
        changeMembership(
            sock, "MCAST_LEAVE_GROUP", Membership(membership.group, membership.interface), "leave"
        )


@checked
def memberInterface(
    sock: socket.socket, group: str | IPAddress, interface: InterfaceLike = None
) -> int:
    """
    The index of an interface where a socket has joined a group, such as the one that the kernel
    chose; 0 if there is none, or the kernel does not tell (all but Linux).
    """
    try:
        return findMembership(sock, Membership.of(group, interface), _VERB)[0].interface
    except GroupsockError:
        return 0


def mostSenders(family: int) -> int:
    """How many sources a filter can have (C{net.ipv4.igmp_max_msf}, C{net.ipv6.mld_max_msf})."""
    name = "net.ipv4.igmp_max_msf" if family == socket.AF_INET else "net.ipv6.mld_max_msf"
    found = readSysctl(name)
    return 10 if found is None else found


def _leaveAndJoin(sock: socket.socket, held: Membership, current: SourceFilter) -> None:
    changeMembership(sock, "MCAST_LEAVE_GROUP", held, "leave")
    if current.isInclude:
        for source in sorted(current.sources, key=str):
            socketJoinGroupSSM(sock, held.group, source, held.interface)
        return
    socketJoinGroup(sock, held.group, held.interface)
    if current.sources:
        writeFilter(sock, held.interface, held.group, current)
