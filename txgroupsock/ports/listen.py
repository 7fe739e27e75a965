"""What the C{interface} argument of a port means."""

from __future__ import annotations

import socket

from attrs import frozen

from txgroupsock.primitives import (
    AddressError,
    InterfaceLike,
    IPAddress,
    UnknownInterface,
    interfaceIndex,
    parseAddress,
)
from txgroupsock.primitives.networkinterface import interfaceLike
from txgroupsock.primitives.sockaddr import (
    familyName,
    familyOf,
    isMulticast,
    scopeIndex,
    withoutScope,
)


@frozen
class Where:
    """
    Where a port listens.

    @ivar family: C{AF_INET} or C{AF_INET6}.
    @ivar address: what it is bound to.
    @ivar interface: index of the interface where it joins groups and sends multicast unless
        told otherwise; 0 leaves that to the routing table.
    """

    family: int
    address: IPAddress
    interface: int

    def hears(self, group: IPAddress) -> bool:
        """Whether its address lets a group in: a wildcard any, a group itself, others none."""
        return self.address.is_unspecified or withoutScope(self.address) == withoutScope(group)

    @classmethod
    def of(cls, interface: InterfaceLike, family: int | None = None) -> Where:
        """
        What one argument says.

        - C{""}, C{None}: every interface;
        - a name or an index, C{"eth0"}, 2: every address, groups on that interface;
        - C{"::"}, C{"::%eth0"}, C{"0.0.0.0"}: the same, and the family;
        - a unicast address: bound to it, as in Twisted (the kernel then delivers no
          multicast); groups on its interface;
        - a group: bound to it, so that only this group's datagrams arrive.

        @param family: for those that do not tell; C{AF_INET} if left out.
        @raise UnknownInterface: there is no such interface.
        @raise ValueError: there is no such family, or the address is of the other.
        """
        if family not in (None, socket.AF_INET, socket.AF_INET6):
            raise ValueError(f"family is {family!r}: it has to be AF_INET, AF_INET6 or None")
        interface = interfaceLike(interface)
        if not interface:
            interface = "::" if family == socket.AF_INET6 else "0.0.0.0"
        elif isinstance(interface, int) or not _isAddress(interface):
            index = interfaceIndex(interface)
            return cls.of(None, family).on(index)
        address = parseAddress(interface)
        if family not in (None, familyOf(address)):
            raise ValueError(
                f"interface is {interface!r}, which is {familyName(familyOf(address))}, and family "
                f"is {familyName(family)}: leave one out, or give the name of the interface"
            )
        return cls(familyOf(address), address, _interfaceOf(address))

    def on(self, index: int) -> Where:
        """The same, with another interface."""
        return Where(self.family, self.address, index)


def _isAddress(text: str | IPAddress) -> bool:
    try:
        parseAddress(text)
    except AddressError:
        return False
    return True


def _interfaceOf(address: IPAddress) -> int:
    """The interface that an address says: by its scope, or as one of its addresses."""
    scope = scopeIndex(address)
    if scope or isMulticast(address):
        return interfaceIndex(scope)
    try:
        return interfaceIndex(address)
    except UnknownInterface:
        return 0  # not ours now (ip_nonlocal_bind); bind will say if that is wrong
