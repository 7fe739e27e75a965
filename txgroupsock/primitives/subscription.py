"""What a socket subscribes to, and the error that there is about it."""

from __future__ import annotations

import errno

from attrs import frozen

from txgroupsock.primitives.arguments import typed
from txgroupsock.primitives.errors import AddressError, GroupsockError
from txgroupsock.primitives.networkinterface import InterfaceLike, interfaceIndex, interfaceName
from txgroupsock.primitives.sockaddr import (
    IPAddress,
    isMulticast,
    parseAddress,
    parseGroup,
    scopeIndex,
    withoutScope,
)


@frozen(field_transformer=typed)
class Membership:
    """
    One subscription of a socket: a group, on one interface, from one source or from any.

    @ivar group: the group's address.
    @ivar interface: index of the interface; 0 where the kernel chose it by its routes.
    @ivar source: the one source (source-specific), or L{None} for any source.
    """

    group: IPAddress
    interface: int = 0
    source: IPAddress | None = None

    @classmethod
    def of(
        cls,
        group: str | IPAddress,
        interface: InterfaceLike = None,
        source: str | IPAddress | None = None,
    ) -> Membership:
        """
        A membership from what people write.

        An IPv6 group may name its interface itself: C{"ff02::1234%eth0"}.

        @raise AddressError: C{group} is not multicast, or C{source} not a unicast address
            of the same family.
        @raise UnknownInterface: there is no such interface.
        """
        parsed = parseGroup(group)
        index = interfaceIndex(interface) or scopeIndex(parsed)
        parsed = withoutScope(parsed)
        if source is None:
            return cls(parsed, index)
        address = withoutScope(parseAddress(source))
        checkSource(parsed, address)
        return cls(parsed, index, address)

    def __str__(self) -> str:
        who = f" from {self.source}" if self.source is not None else ""
        return f"{self.group}{who} on {interfaceName(self.interface)}"


class MembershipError(GroupsockError):
    """
    A group could not be joined or left, or its sources not changed.

    @ivar membership: which one.
    """

    def __init__(
        self,
        membership: Membership,
        number: int | None,
        verb: str,
        advice: str = "",
        reason: str | None = None,
    ) -> None:
        super().__init__(number, f"{verb} {membership}", advice, reason)
        self.membership = membership


def checkSource(group: IPAddress, source: IPAddress) -> None:
    """
    Refuse what can be no source of a group.

    @raise AddressError: it is not a unicast address of the same family.
    """
    if source.version != group.version:
        raise AddressError(
            errno.EAFNOSUPPORT,
            f"use {source} as a source of {group}",
            reason="one is IPv4 and the other IPv6",
        )
    if isMulticast(source) or source.is_unspecified:
        raise AddressError(
            errno.EINVAL,
            f"use {source} as a source of {group}",
            reason="a source is one host's unicast address",
        )
