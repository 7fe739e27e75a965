"""LIVE555's C{GroupsockLookupTable}: one Groupsock for each group, source and port."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred, succeed

from txgroupsock.groupsock.groupsock import Groupsock
from txgroupsock.groupsock.statistics import GroupsockStatistics
from txgroupsock.ports.clock import needReactor
from txgroupsock.primitives import Environment, IPAddress, parseAddress
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.sockaddr import scopeIndex


class GroupsockLookupTable:
    """
    Finds the open Groupsocks that it has made, by what they receive now, also after a change.

    A table is an object like any other; two share nothing.

    @ivar statistics: of all Groupsocks ever made here, in total.
    """

    @checked
    def __init__(self, reactor: Any, env: Environment | None = None) -> None:
        """
        @param reactor: for the Groupsocks.
        @param env: the same.
        """
        needReactor(reactor)
        self.statistics = GroupsockStatistics()
        self._reactor = reactor
        self._env = Environment() if env is None else env
        self._made: list[Groupsock] = []

    def __iter__(self) -> Iterator[Groupsock]:
        """The open ones, in the order they were made."""
        self._made = [each for each in self._made if each.isOpen]
        return iter(self._made)

    def __len__(self) -> int:
        return len(list(iter(self)))

    @checked
    def fetch(
        self,
        group: str | IPAddress,
        port: int,
        source: str | IPAddress | None = None,
        **settings: Any,
    ) -> Groupsock:
        """
        The Groupsock for a group, a source (L{None}: any) and a port; made if there is none.

        @param settings: further arguments of L{Groupsock}, if one is made.  What already
            exists stays as it is.
        @raise GroupsockError: one is to be made and cannot be.
        """
        found = self.lookup(group, port, source)
        if found is None:
            found = Groupsock(
                self._reactor,
                group,
                port,
                source=source,
                **{"env": self._env, **settings, "total": self.statistics},
            )
            self._made.append(found)
        return found

    @checked
    def lookup(
        self, group: str | IPAddress, port: int, source: str | IPAddress | None = None
    ) -> Groupsock | None:
        """
        The Groupsock for a group, a source and a port, or L{None}.

        @raise AddressError: one of them is not an address.
        """
        wanted = _key(group, port, source)
        return next((each for each in self if _keyOf(each) == wanted), None)

    @checked
    def lookupSocket(self, descriptor: int) -> Groupsock | None:
        """The Groupsock whose socket has this descriptor, or L{None}."""
        return next((each for each in self if each.fileno() == descriptor), None)

    @checked
    def remove(self, groupsock: Groupsock) -> Deferred[None]:
        """Close a Groupsock and forget it; nothing happens to one that is not of this table."""
        return groupsock.close() if groupsock in list(self) else succeed(None)

    # LIVE555's spelling, for programs that are ported.
    Fetch = fetch
    Lookup = lookup
    Remove = remove


def _key(
    group: str | IPAddress, port: int, source: str | IPAddress | None
) -> tuple[bytes, int, bytes | None, int]:
    """What makes two the same, however their addresses are written."""
    parsed = parseAddress(group)
    sender = None if source is None else parseAddress(source).packed
    return parsed.packed, scopeIndex(parsed), sender, port


def _keyOf(groupsock: Groupsock) -> tuple[bytes, int, bytes | None, int]:
    return _key(groupsock.group, groupsock.port, groupsock.source)
