"""
The memberships of one in-memory socket, by the rules of Linux (net/ipv4/igmp.c, net/ipv6/mcast.c).

Its oddities are there too, since programs meet them; C{tests/testing} compares the two.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from attrs import define

from txgroupsock.primitives import constants
from txgroupsock.primitives.sockaddr import IPAddress, isMulticast
from txgroupsock.primitives.sourcefilter import (
    SourceFilter,
    packFilter,
    packGroup,
    unpackFilter,
    unpackGroup,
    unpackSource,
)

MOST_GROUPS = 20
"""Groups of an IPv4 socket (net.ipv4.igmp_max_memberships); IPv6 has no such limit."""

MOST_SOURCES = {socket.AF_INET: 10, socket.AF_INET6: 64}
"""Sources of one group of a socket (net.ipv4.igmp_max_msf, net.ipv6.mld_max_msf)."""


def refusal(number: int) -> OSError:
    """The error that a kernel's errno becomes."""
    return OSError(number, os.strerror(number))


@define
class _Entry:
    """
    One group on one interface.

    @ivar sources: L{None} if there has never been a filter; Linux tells that from an empty one.
    """

    group: IPAddress
    interface: int
    isInclude: bool
    sources: list[IPAddress] | None = None


class GroupTable:
    """What one socket has joined, and so what it hears."""

    def __init__(self, family: int, deviceFor: Callable[[int, IPAddress], int]) -> None:
        """
        @param deviceFor: the interface that is meant by an index, which may be 0, and a group;
            0 if there is none.
        """
        self._isIPv4 = family == socket.AF_INET
        self._deviceFor = deviceFor
        self._entries: list[_Entry] = []  # the last joined is the first, as in the kernel
        self._mostSources = MOST_SOURCES[socket.AF_INET if self._isIPv4 else socket.AF_INET6]
        self._changes: dict[int | None, Callable[[bytes], None]] = {
            constants.MCAST_JOIN_GROUP: self._joinGroup,
            constants.MCAST_LEAVE_GROUP: self._leaveGroup,
            constants.MCAST_JOIN_SOURCE_GROUP: self._joinSource,
            constants.MCAST_LEAVE_SOURCE_GROUP: self._leaveSource,
            constants.MCAST_BLOCK_SOURCE: self._block,
            constants.MCAST_UNBLOCK_SOURCE: self._unblock,
            constants.MCAST_MSFILTER: self._replace,
        }

    def hears(self, group: IPAddress, source: IPAddress, interface: int, *, others: bool) -> bool:
        """
        Whether a datagram passes (C{ip_mc_sf_allow}, C{inet6_mc_check}).

        @param others: the answer for a group that this socket did not join (IP_MULTICAST_ALL).
        """
        for each in self._entries:
            # IPv6 does not look at the interface here.
            if each.group == group and (each.interface == interface or not self._isIPv4):
                return (source in (each.sources or ())) == each.isInclude
        return others

    def admits(self, group: IPAddress, source: IPAddress, interface: int) -> bool:
        """Whether this socket has its interface let a datagram in (C{ip_check_mc_rcu})."""
        return any(
            (each.group, each.interface) == (group, interface)
            and (source in (each.sources or ())) == each.isInclude
            for each in self._entries
        )

    def setOption(self, option: int, request: bytes) -> bool:
        """
        Do what C{setsockopt} asks for.

        @return: false if the option is none about memberships.
        @raise OSError: as the kernel refuses it.
        """
        change = self._changes.get(option)
        if change is not None:
            change(request)
        return change is not None

    def readFilter(self, buffer: bytearray) -> None:
        """
        Answer C{getsockopt(MCAST_MSFILTER)}, whose question is in the buffer.

        @raise OSError: the socket is not a member there (EADDRNOTAVAIL).
        """
        interface, group = unpackGroup(bytes(buffer))
        for each in self._entries:
            if (each.group, each.interface) == (group, interface):
                held = SourceFilter(each.isInclude, each.sources or ())
                answer = packGroup(interface, group) + packFilter(held)
                buffer[: len(answer)] = answer[: len(buffer)]
                return
        raise refusal(errno.EADDRNOTAVAIL)

    def clear(self) -> None:
        """Leave everything, as closing a socket does."""
        self._entries.clear()

    # What can be asked for

    def _joinGroup(self, request: bytes) -> None:
        self._join(*unpackGroup(request), isInclude=False)

    def _join(self, interface: int, group: IPAddress, *, isInclude: bool) -> None:
        self._checkGroup(group)
        device = self._deviceFor(interface, group)
        if self._isIPv4 and not device:
            raise refusal(errno.ENODEV)
        if self._find(device if self._isIPv4 else interface, group) is not None:
            raise refusal(errno.EADDRINUSE)
        if not device:
            raise refusal(errno.ENODEV)
        if self._isIPv4 and len(self._entries) >= MOST_GROUPS:
            raise refusal(errno.ENOBUFS)
        self._entries.insert(0, _Entry(group, device, isInclude))

    def _leaveGroup(self, request: bytes) -> None:
        self._leave(*unpackGroup(request))

    def _leave(self, interface: int, group: IPAddress) -> None:
        self._checkGroup(group)
        if self._isIPv4 and not interface:
            interface = self._existing(interface, group)
        entry = self._find(interface, group)
        if entry is None:
            raise refusal(errno.EADDRNOTAVAIL)
        self._entries.remove(entry)

    def _joinSource(self, request: bytes) -> None:
        interface, group = unpackGroup(request)
        try:
            self._join(interface, group, isInclude=True)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:  # joined with another source
                raise
        self._add(request, isInclude=True)

    def _leaveSource(self, request: bytes) -> None:
        self._remove(request, isInclude=True)

    def _block(self, request: bytes) -> None:
        self._add(request, isInclude=False)

    def _unblock(self, request: bytes) -> None:
        self._remove(request, isInclude=False)

    def _add(self, request: bytes, *, isInclude: bool) -> None:
        entry, source = self._inMode(request, isInclude=isInclude), unpackSource(request)
        sources = entry.sources or []
        if len(sources) >= self._mostSources:
            raise refusal(errno.ENOBUFS)
        if source in sources:
            raise refusal(errno.EADDRNOTAVAIL)
        entry.sources = [*sources, source]

    def _remove(self, request: bytes, *, isInclude: bool) -> None:
        entry, source = self._inMode(request, isInclude=isInclude), unpackSource(request)
        if entry.sources is None or source not in entry.sources:
            raise refusal(errno.EADDRNOTAVAIL)
        if isInclude and len(entry.sources) == 1:
            self._entries.remove(entry)  # to hear nobody is to leave
        else:
            entry.sources.remove(source)

    def _inMode(self, request: bytes, *, isInclude: bool) -> _Entry:
        """The membership that a source is to be changed of."""
        interface, group = unpackGroup(request)
        self._checkGroup(group)
        device = self._existing(interface, group)
        entry = self._find(device if self._isIPv4 else interface, group)
        if entry is None or (entry.sources is not None and entry.isInclude != isInclude):
            raise refusal(errno.EINVAL)
        entry.isInclude = isInclude  # Linux changes it even if it then refuses the source
        return entry

    def _replace(self, request: bytes) -> None:
        interface, group = unpackGroup(request)
        wanted = unpackFilter(request)
        if len(wanted.sources) > self._mostSources:
            raise refusal(errno.ENOBUFS)
        self._checkGroup(group)
        interface = self._existing(interface, group)
        if wanted.isInclude and not wanted.sources:
            self._leave(interface, group)
            return
        entry = self._find(interface, group)
        if entry is None:
            raise refusal(errno.EINVAL)
        entry.isInclude = wanted.isInclude
        entry.sources = sorted(wanted.sources) or None

    # What they share

    def _find(self, interface: int, group: IPAddress) -> _Entry | None:
        for each in self._entries:
            if each.group == group and interface in (0, each.interface):
                return each
        return None

    def _checkGroup(self, group: IPAddress) -> None:
        if not isMulticast(group):
            raise refusal(errno.EINVAL)

    def _existing(self, interface: int, group: IPAddress) -> int:
        device = self._deviceFor(interface, group)
        if not device:
            raise refusal(errno.ENODEV)
        return device
