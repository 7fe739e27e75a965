"""What the sockets of a port have joined."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Iterator

from attrs import evolve

from txgroupsock.primitives import (
    GroupsockError,
    InterfaceLike,
    IPAddress,
    Membership,
    MembershipError,
    SourceFilter,
    UnknownInterface,
    forgetMembership,
    getSourceFilter,
    listInterfaces,
    setSourceFilter,
    socketBlockSource,
    socketJoinGroup,
    socketJoinGroupSSM,
    socketLeaveGroup,
    socketLeaveGroupSSM,
    socketUnblockSource,
)
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.checks import wholeNumber
from txgroupsock.primitives.sockaddr import parseGroup, withoutScope

_MOST_INDEX = 2**31 - 1


class Memberships:
    """
    The groups that one UDP socket has joined.

    Every method raises a L{GroupsockError <txgroupsock.primitives.GroupsockError>} when it
    cannot do what it was asked, and then nothing has changed.
    """

    def __init__(
        self,
        sock: socket.socket,
        interface: InterfaceLike = None,
        spread: Callable[[], Memberships] | None = None,
    ) -> None:
        """
        @param sock: the socket that is to receive the groups.
        @param interface: where groups are joined when the caller does not say.
        @param spread: gives the memberships of one more socket, for what is beyond the limits
            of this one; L{None} makes the limits errors.
        """
        self.socket = sock
        self._interface = interface
        self._spread = spread
        self._memberships: list[Membership] = []
        self._more: list[Memberships] = []

    def __iter__(self) -> Iterator[Membership]:
        yield from self._memberships
        for each in self._more:
            yield from each

    @checked
    def join(self, group: str | IPAddress, interface: InterfaceLike = None) -> Membership:
        """Receive a group from any source."""
        where = self._where(group, interface)
        try:
            return self._add(socketJoinGroup(self.socket, group, where))
        except MembershipError as error:
            return self._elsewhere(error, lambda other: other.join(group, where))

    @checked
    def joinEverywhere(
        self, group: str | IPAddress, source: str | IPAddress | None = None
    ) -> list[Membership]:
        """
        Receive a group on every interface that is up and carries multicast.

        An interface that refuses, for want of an address of this family say, is passed over.

        @raise MembershipError: all of them did, and this is why the last one did.
        @raise UnknownInterface: there is none.
        """
        group = Membership.of(group, None, source).group
        joined = []
        refused: GroupsockError = UnknownInterface(
            errno.ENODEV, f"join {group} everywhere", reason="no interface that is up carries it"
        )
        for each in listInterfaces():
            if not (each.isUp and each.isMulticast):
                continue
            try:
                if source is None:
                    joined.append(self.join(group, each.index))
                else:
                    joined.append(self.joinSource(group, source, each.index))
            except MembershipError as error:
                refused = error
        if not joined:
            raise refused
        return joined

    @checked
    def joinSources(
        self,
        group: str | IPAddress,
        sources: Iterable[str | IPAddress],
        interface: InterfaceLike = None,
    ) -> list[Membership]:
        """Receive a group from each of several sources, or, where one is refused, from none."""
        joined: list[Membership] = []
        try:
            for each in sources:
                joined += [self.joinSource(group, each, interface)]
        except GroupsockError:
            for done in joined:
                self.leaveSource(done.group, done.source or "", done.interface)
            raise
        return joined

    @checked
    def getFilter(self, group: str | IPAddress, interface: InterfaceLike = None) -> SourceFilter:
        """Which sources of a joined group are heard (Linux)."""
        wanted = Membership.of(group, self._where(group, interface))
        for each in self._more:
            if each.holds(wanted):
                return each.getFilter(wanted.group, wanted.interface)
        return getSourceFilter(self.socket, wanted.group, self._held(wanted)[1])

    @checked
    def setFilter(
        self, group: str | IPAddress, wanted: SourceFilter, interface: InterfaceLike = None
    ) -> None:
        """
        Replace which sources of a joined group are heard, at once (Linux).

        An INCLUDE filter without sources leaves the group.
        """
        membership = Membership.of(group, self._where(group, interface))
        for each in self._more:
            if each.holds(membership):
                each.setFilter(membership.group, wanted, membership.interface)
                return
        recorded, where = self._held(membership)
        setSourceFilter(self.socket, membership.group, wanted, where)
        kept = recorded or membership
        sources = sorted(wanted.sources, key=str) if wanted.isInclude else [None]
        self._forget(kept)
        self._memberships += [Membership(kept.group, kept.interface, each) for each in sources]

    @checked
    def leave(self, group: str | IPAddress, interface: InterfaceLike = None) -> Membership:
        """Stop receiving a group, whatever its sources were."""
        wanted = Membership.of(group, self._where(group, interface))
        others = [each for each in self._more if each.holds(wanted)]
        for each in others:
            each.leave(wanted.group, wanted.interface)
        if others and not self.holds(wanted):
            return wanted
        recorded, where = self._held(wanted)
        left = socketLeaveGroup(self.socket, group, where)
        if recorded is not None:
            self._forget(recorded)
        return left

    @checked
    def forget(
        self, group: str | IPAddress, interface: int, *, recorded: int | None = None
    ) -> None:
        """
        Leave a group, whatever its sources were, on an interface that may be gone; no error if
        the kernel has forgotten it already.

        @param interface: the index that it was joined on; 0 if that is not known.
        @param recorded: the index in the list, where that is another: 0 for a group that was
            joined where the routes led.
        """
        wholeNumber("interface", interface, 0, _MOST_INDEX)
        wholeNumber("recorded", recorded or 0, 0, _MOST_INDEX)
        held = Membership(withoutScope(parseGroup(group)), interface)
        forgetMembership(self.socket, held)
        self._forget(held if recorded is None else evolve(held, interface=recorded))

    @checked
    def joinSource(
        self, group: str | IPAddress, source: str | IPAddress, interface: InterfaceLike = None
    ) -> Membership:
        """Receive a group from one source."""
        where = self._where(group, interface)
        try:
            joined = socketJoinGroupSSM(self.socket, group, source, where)
        except MembershipError as error:
            return self._elsewhere(error, lambda other: other.joinSource(group, source, where))
        return self._add(joined)

    @checked
    def leaveSource(
        self, group: str | IPAddress, source: str | IPAddress, interface: InterfaceLike = None
    ) -> Membership:
        """Stop receiving a group from one source."""
        wanted = Membership.of(group, self._where(group, interface), source)
        for each in self._more:
            if each.holds(wanted):
                return each.leaveSource(wanted.group, source, wanted.interface)
        recorded, where = self._held(wanted)
        left = socketLeaveGroupSSM(self.socket, group, source, where)
        if recorded is not None:
            self._memberships.remove(recorded)
        return left

    @checked
    def block(
        self, group: str | IPAddress, source: str | IPAddress, interface: InterfaceLike = None
    ) -> Membership:
        """Stop hearing one source of a group joined from any source."""
        wanted = Membership.of(group, self._where(group, interface), source)
        sock = self._socketOf(wanted)
        return socketBlockSource(sock, group, source, wanted.interface)

    @checked
    def unblock(
        self, group: str | IPAddress, source: str | IPAddress, interface: InterfaceLike = None
    ) -> Membership:
        """Hear a blocked source again."""
        wanted = Membership.of(group, self._where(group, interface), source)
        sock = self._socketOf(wanted)
        return socketUnblockSource(sock, group, source, wanted.interface)

    def _where(self, group: str | IPAddress, interface: InterfaceLike) -> InterfaceLike:
        """The interface to use; a group with a C{%scope} of its own names one already."""
        return interface or (None if "%" in str(group) else self._interface)

    def _add(self, membership: Membership) -> Membership:
        self._memberships.append(membership)
        return membership

    def _forget(self, left: Membership) -> None:
        """Strike out every source of a group on one interface."""
        self._memberships = [
            each
            for each in self._memberships
            if (each.group, each.interface) != (left.group, left.interface)
        ]

    def _elsewhere(
        self, error: MembershipError, join: Callable[[Memberships], Membership]
    ) -> Membership:
        """Join by another socket, if it was a limit of this one that was met."""
        if self._spread is None or error.errno not in {errno.ENOBUFS, errno.ENOMEM}:
            raise error
        for each in self._more:
            try:
                return join(each)
            except MembershipError as full:
                if full.errno != error.errno:
                    raise
        self._more.append(self._spread())
        return join(self._more[-1])

    @checked
    def holds(self, wanted: Membership) -> bool:
        """Whether this very socket has a membership, or, without a source, any of a group."""
        return self._held(wanted)[0] is not None

    def _socketOf(self, wanted: Membership) -> socket.socket:
        """The socket that has joined a group."""
        anySource = evolve(wanted, source=None)
        holders = (each for each in self._more if each.holds(anySource))
        return next(holders, self).socket

    def _held(self, wanted: Membership) -> tuple[Membership | None, int]:
        """
        What a membership to be left is in the list, and the interface to leave it on.

        One that was joined where the routes led (interface 0) may be left by the name of
        that interface.  Where none is named, it is the one joined last, as in Linux.
        """
        alike = [
            each
            for each in reversed(self._memberships)
            if each.group == wanted.group and wanted.source in (None, each.source)
        ]
        if wanted.interface:
            alike = [each for each in alike if each.interface == wanted.interface] or [
                each for each in alike if not each.interface
            ]
        if not alike:
            return None, wanted.interface  # joined behind our back, or never
        return alike[0], wanted.interface or alike[0].interface
