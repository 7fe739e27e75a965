"""
Network interfaces, and the one place that finds one by name, index or address.

Index and flags come from the kernel, and so do addresses on Linux.  On other systems those come
from C{netifaces} (the distribution C{netifaces-plus}), which nothing else imports; default routes
come from it everywhere.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import netifaces
from attrs import frozen

from txgroupsock.primitives import netlink
from txgroupsock.primitives.checks import asText
from txgroupsock.primitives.constants import LINUX, SIOCGIFFLAGS, required
from txgroupsock.primitives.errors import (
    GroupsockError,
    UnknownInterface,
    descriptorAdvice,
)
from txgroupsock.primitives.interfacetable import indexOfName, madeUp, nameOfIndex
from txgroupsock.primitives.sockaddr import (
    IPAddress,
    familyOf,
    indexFromDigits,
    scopeIndex,
    withoutScope,
)

InterfaceLike: TypeAlias = str | int | ipaddress.IPv4Address | ipaddress.IPv6Address | None
"""
Any way to name an interface: its name, its index, one of its addresses (as text or as
an object), or a link-local address with C{%scope}.  L{None}, C{""}, 0 and the wildcard
addresses mean "whichever the routing table chooses".
"""

IFF_UP = 0x1
IFF_LOOPBACK = 0x8
IFF_RUNNING = 0x40
IFF_MULTICAST = 0x1000 if LINUX else 0x8000


@frozen
class NetworkInterface:
    """
    One network interface as it was when asked.

    @ivar flags: C{IFF_*} bits (netdevice(7)).
    @ivar addresses: in the order the system lists them, without C{%scope}.
    """

    name: str
    index: int
    flags: int
    addresses: tuple[IPAddress, ...]

    @property
    def isUp(self) -> bool:
        """Somebody has switched it on (it may still lack a carrier)."""
        return bool(self.flags & IFF_UP)

    @property
    def isRunning(self) -> bool:
        """It is up and has a carrier."""
        return bool(self.flags & IFF_RUNNING)

    @property
    def isLoopback(self) -> bool:
        """It reaches this host only."""
        return bool(self.flags & IFF_LOOPBACK)

    @property
    def isMulticast(self) -> bool:
        """It claims to carry multicast; Linux's C{lo} does not, yet carries it for IPv4."""
        return bool(self.flags & IFF_MULTICAST)

    def addressOf(self, family: int) -> IPAddress | None:
        """Its first address of one family, or L{None}."""
        version = 4 if family == socket.AF_INET else 6
        return next((each for each in self.addresses if each.version == version), None)


def listInterfaces() -> list[NetworkInterface]:
    """
    Every network interface of this host (of this network namespace, on Linux).

    @raise GroupsockError: the system does not tell, for want of a descriptor, say; it takes one
        at a time.
    """
    table = madeUp.get()
    if table is not None:
        return table.listInterfaces()
    addresses = addressesByIndex()
    found = []
    with _listing():
        names = socket.if_nameindex()  # takes a descriptor, too, while it looks
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anySocket:
            for index, name in names:
                try:
                    flags = _flags(anySocket, name)
                except OSError:
                    continue  # it went away between the two calls
                found.append(NetworkInterface(name, index, flags, tuple(addresses.get(index, ()))))
    return found


def addressesByIndex() -> dict[int, list[IPAddress]]:
    """
    The addresses of all interfaces, without C{%scope}, by their indexes.

    Not by C{netifaces.allifaddresses}, of which each call leaks what it has made, 1 kB for an
    interface; C{ifaddresses} does not, but asks the system for all to give those of one: 1.1 s for
    400 interfaces, where rtnetlink takes 3 ms.

    @raise GroupsockError: as L{listInterfaces}.
    """
    table = madeUp.get()
    if table is not None:
        return {each.index: list(each.addresses) for each in table.listInterfaces()}
    with _listing():
        try:
            return netlink.addresses()
        except netlink.NoNetlink:
            return {index: list(_addressesOf(name)) for index, name in socket.if_nameindex()}


@contextmanager
def _listing() -> Iterator[None]:
    """An error of what is done meanwhile says that, and what helps."""
    try:
        yield
    except GroupsockError:
        raise
    except OSError as error:
        raise GroupsockError(
            error.errno, "list the interfaces of this host", descriptorAdvice(error.errno)
        ) from error


def flagsOf(index: int) -> int:
    """
    The C{IFF_*} bits of one interface, with no look at any other; 0 if there is none.

    @raise OSError: there is no descriptor left to ask by.
    """
    table = madeUp.get()
    if table is not None:
        return next((each.flags for each in table.listInterfaces() if each.index == index), 0)
    try:
        name = nameOfIndex(index)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anySocket:
            return _flags(anySocket, name)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.ENXIO, errno.ENODEV):
            raise
        return 0


def addressOf(which: InterfaceLike, family: int) -> IPAddress | None:
    """
    The address of one family that stands for an interface: the one that named it, or else
    its first; a link-local one with its C{%scope}.  L{None} if it has none.

    @raise UnknownInterface: there is no such interface.
    """
    index = _indexOfOne(which)
    usable = [each for each in addressesByIndex().get(index, ()) if familyOf(each) == family]
    found = usable[0] if usable else None
    with suppress(ValueError):
        named = withoutScope(ipaddress.ip_address(which or ""))
        if named in usable:
            found = named
    if found is not None and found.version == 6 and found.is_link_local:
        return ipaddress.IPv6Address(f"{found}%{interfaceName(index)}")
    return found


def findInterface(which: InterfaceLike) -> NetworkInterface:
    """
    The interface that has this name, index or address.

    @raise UnknownInterface: none has; the message lists those there are.
    """
    index = _indexOfOne(which)
    for each in listInterfaces():
        if each.index == index:
            return each
    raise _unknown(which)


def interfaceIndex(which: InterfaceLike) -> int:
    """
    The index of the interface that has this name, index or address; 0 for "any".  The label
    of an IPv4 alias, as C{"eth0:1"}, stands for its device.

    A name or an index costs one system call; an address is looked for on every interface.

    @raise UnknownInterface: none has.
    @raise TypeError: it is nothing that could name one.
    """
    which = interfaceLike(which)
    if not which:
        return 0
    if isinstance(which, int):
        return _existing(which)
    return _indexOfName(which) if isinstance(which, str) else _indexOfAddress(which)


def interfaceLike(which: InterfaceLike | bytes) -> InterfaceLike:
    """
    What names an interface; bytes, as Twisted takes them, as text.

    @raise TypeError: it is nothing that could.
    """
    if which is None or isinstance(which, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return which
    if isinstance(which, int) and not isinstance(which, bool):
        return which
    return asText("the interface", which, "a name, an index or an address of one, or None")


def interfaceName(index: int) -> str:
    """The name of an interface for messages: C{"any interface"} for 0, its number if it is gone."""
    if index == 0:
        return "any interface"
    try:
        return nameOfIndex(index)
    except OSError:
        return f"interface {index}"


def defaultRouteInterface(family: int) -> str | None:
    """The name of the interface that the default route of a family uses, or L{None}."""
    default: Any = netifaces.gateways().get("default", {})
    route = default.get(family)
    return str(route[1]) if route else None


def _indexOfOne(which: InterfaceLike) -> int:
    index = interfaceIndex(which)
    if not index:
        raise UnknownInterface(
            errno.EINVAL, f"find the interface {which!r}", reason="that means any interface"
        )
    return index


def _existing(index: int) -> int:
    try:
        nameOfIndex(index)
    except (OSError, OverflowError):
        raise _unknown(index) from None
    return index


def _indexOfName(name: str) -> int:
    """The index for a text: a name, else an address, else the digits of an index."""
    try:
        return indexOfName(name)
    except (OSError, ValueError):
        pass
    index = indexFromDigits(name)
    if index is not None:
        return _existing(index)
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        raise _unknown(name) from None
    return _indexOfAddress(address)


def _indexOfAddress(address: IPAddress) -> int:
    scope = scopeIndex(address)
    if scope:
        return _existing(scope)
    if address.is_unspecified:
        return 0
    owners = [index for index, theirs in addressesByIndex().items() if address in theirs]
    if not owners:
        raise _unknown(address)
    if len(owners) > 1 and address.is_link_local:
        names = ", ".join(f"{address}%{interfaceName(each)}" for each in owners)
        raise UnknownInterface(
            errno.EINVAL,
            f"find the interface {address}",
            f"say which: {names}",
            reason=f"{len(owners)} interfaces have that link-local address",
        )
    return owners[0]


def _unknown(which: InterfaceLike) -> UnknownInterface:
    known = ", ".join(
        f"{each.name} ({', '.join(map(str, each.addresses)) or 'no address'})"
        for each in listInterfaces()
    )
    return UnknownInterface(
        errno.ENODEV,
        f"find the interface {which}",
        f"there are: {known or 'none'}",
        reason="no interface has that name, index or address",
    )


def _addressesOf(name: str) -> Iterator[IPAddress]:
    try:
        families = netifaces.ifaddresses(name)
    except ValueError:  # it has none, or went away just now
        return
    for family in (socket.AF_INET, socket.AF_INET6):
        for record in families.get(family, ()):
            if "addr" in record:
                yield withoutScope(ipaddress.ip_address(record["addr"]))


def _flags(anySocket: socket.socket, name: str) -> int:
    # struct ifreq: 16 bytes of name, then a union whose ifr_flags is a short
    request = struct.pack("16s24x", name.encode())
    answer = fcntl.ioctl(anySocket, required(SIOCGIFFLAGS, "SIOCGIFFLAGS"), request)
    return int(struct.unpack_from("=H", answer, 16)[0])
