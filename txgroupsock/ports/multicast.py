"""The multicast half of a port, as Twisted's callers expect it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.internet.error import MulticastJoinError
from twisted.logger import Logger

from txgroupsock.ports.listen import Where
from txgroupsock.ports.memberships import Memberships
from txgroupsock.primitives import (
    AddressError,
    GroupsockError,
    InterfaceLike,
    IPAddress,
    Membership,
    SourceFilter,
    getMulticastInterface,
    getMulticastLoop,
    getMulticastTTL,
    parseAddress,
    setMulticastInterface,
    setMulticastLoop,
    setMulticastTTL,
)
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.checks import asText

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class JoinError(GroupsockError, MulticastJoinError):
    """
    A membership could not be had, or not be given up.

    An L{OSError} with its C{errno} and also what Twisted's callers look for.  Its
    C{__cause__} says more exactly what was wrong: a
    L{MembershipError <txgroupsock.primitives.MembershipError>}, an
    L{AddressError <txgroupsock.primitives.AddressError>} or an
    L{UnknownInterface <txgroupsock.primitives.UnknownInterface>}.
    """

    def __init__(self, cause: GroupsockError) -> None:
        OSError.__init__(self, cause.errno, cause.strerror)
        self.operation = cause.operation
        self.advice = cause.advice
        self.__cause__ = self._cause = cause

    def __reduce__(self) -> tuple[Any, ...]:
        return JoinError, (self._cause,), self.__dict__


def _attempt(
    operation: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> Deferred[_Result]:
    """Call, and give the outcome as Twisted's callers expect it."""
    try:
        return succeed(operation(*args, **kwargs))
    except GroupsockError as error:
        return fail(JoinError(error))


class MulticastTransport:
    """
    The multicast half of a port: Twisted's L{IMulticastTransport} and
    L{ISourceMulticastTransport <txgroupsock.interfaces.ISourceMulticastTransport>}, for both
    families.

    @ivar memberships: what is joined, and the same operations without deferreds.
    """

    reactor: Any
    socket: socket.socket
    memberships: Memberships
    _where: Where

    _log = Logger()

    def joinGroup(self, addr: str, interface: InterfaceLike = "") -> Deferred[Any]:
        """
        Receive a group from any source.

        @param addr: a literal address, or a host name (IPv4), which is looked up.
        @param interface: name, index or address.
        @return: fires with the L{Membership}; fails with L{JoinError}.
        """
        return self._resolved(addr).addCallback(
            lambda group: self._joined(_attempt(self.memberships.join, group, interface))
        )

    def leaveGroup(self, addr: str, interface: InterfaceLike = "") -> Deferred[Any]:
        """Stop receiving a group, whatever its sources were; see L{joinGroup}."""
        return self._resolved(addr).addCallback(
            lambda group: _attempt(self.memberships.leave, group, interface)
        )

    def joinSourceGroup(
        self, group: str | IPAddress, source: str | IPAddress, interface: InterfaceLike = None
    ) -> Deferred[Membership]:
        """See L{ISourceMulticastTransport.joinSourceGroup}."""
        return self._joined(_attempt(self.memberships.joinSource, group, source, interface))

    def leaveSourceGroup(
        self, group: str | IPAddress, source: str | IPAddress, interface: InterfaceLike = None
    ) -> Deferred[Membership]:
        """See L{ISourceMulticastTransport.leaveSourceGroup}."""
        return _attempt(self.memberships.leaveSource, group, source, interface)

    @checked
    def joinSourceGroups(
        self,
        group: str | IPAddress,
        sources: Iterable[str | IPAddress],
        interface: InterfaceLike = None,
    ) -> Deferred[list[Membership]]:
        """See L{ISourceMulticastTransport.joinSourceGroups}."""
        joined = _attempt(self.memberships.joinSources, group, sources, interface)
        return joined.addCallback(self._warnOfEach)

    def joinGroupEverywhere(
        self, group: str | IPAddress, source: str | IPAddress | None = None
    ) -> Deferred[list[Membership]]:
        """See L{ISourceMulticastTransport.joinGroupEverywhere}."""
        joined = _attempt(self.memberships.joinEverywhere, group, source)
        return joined.addCallback(self._warnOfEach)

    def getSourceFilter(
        self, group: str | IPAddress, interface: InterfaceLike = None
    ) -> Deferred[SourceFilter]:
        """See L{ISourceMulticastTransport.getSourceFilter}."""
        return _attempt(self.memberships.getFilter, group, interface)

    @checked
    def setSourceFilter(
        self, group: str | IPAddress, wanted: SourceFilter, interface: InterfaceLike = None
    ) -> Deferred[None]:
        """See L{ISourceMulticastTransport.setSourceFilter}."""
        return _attempt(self.memberships.setFilter, group, wanted, interface)

    def blockSource(
        self, group: str | IPAddress, source: str | IPAddress, interface: InterfaceLike = None
    ) -> Deferred[Membership]:
        """See L{ISourceMulticastTransport.blockSource}."""
        return _attempt(self.memberships.block, group, source, interface)

    def unblockSource(
        self, group: str | IPAddress, source: str | IPAddress, interface: InterfaceLike = None
    ) -> Deferred[Membership]:
        """See L{ISourceMulticastTransport.unblockSource}."""
        return _attempt(self.memberships.unblock, group, source, interface)

    def getMemberships(self) -> list[Membership]:
        """See L{ISourceMulticastTransport.getMemberships}."""
        return list(self.memberships)

    def getOutgoingInterface(self) -> str | int:
        """Where multicast leaves: an address (IPv4) or an index (IPv6), as in Twisted."""
        return getMulticastInterface(self.socket)

    def setOutgoingInterface(self, addr: InterfaceLike) -> Deferred[int]:
        """
        Have multicast leave by an interface.

        @param addr: name, index or address; 0 or C{""} leaves it to the routing table.
        @return: fires with 1, as in Twisted; fails with
            L{UnknownInterface <txgroupsock.primitives.UnknownInterface>}.
        """

        def change() -> int:
            setMulticastInterface(self.socket, addr)
            return 1

        return execute(change)

    def getLoopbackMode(self) -> bool:
        """Whether members on this host hear what this port sends to their group."""
        return getMulticastLoop(self.socket)

    @checked
    def setLoopbackMode(self, mode: bool) -> None:  # noqa: FBT001 - Twisted's interface
        """Whether members on this host hear what this port sends to their group."""
        setMulticastLoop(self.socket, enabled=bool(mode))

    def getTTL(self) -> int:
        """The TTL or hop limit of multicast that this port sends."""
        return getMulticastTTL(self.socket)

    @checked
    def setTTL(self, ttl: int) -> None:
        """
        Set the TTL or hop limit of multicast that this port sends.

        @param ttl: 0 stays on this host, 1 (the default) on the link, up to 255.
        """
        setMulticastTTL(self.socket, ttl)

    def _resolved(self, host: str) -> Deferred[str]:
        try:
            parseAddress(host)
        except AddressError:
            host = asText("addr", host, "a literal address, or a host name")
            name = host.partition("%")[0]
            if ":" in name or not name:
                return succeed(host)  # not a host name either: joining will say so
            found: Deferred[str] = self.reactor.resolve(host)
            return found
        return succeed(host)

    def _joined(self, joining: Deferred[Membership]) -> Deferred[Membership]:
        return joining.addCallback(self._warnIfDeaf)

    def _warnOfEach(self, joined: list[Membership]) -> list[Membership]:
        return [self._warnIfDeaf(each) for each in joined]

    def _warnIfDeaf(self, joined: Membership) -> Membership:
        if not self._where.hears(joined.group):
            self._log.warn(
                "{port} is bound to {address}, so the kernel gives it no datagrams of {group}; "
                "listen with interface=NAME instead of an address",
                port=self,
                address=self._where.address,
                group=joined.group,
            )
        return joined
