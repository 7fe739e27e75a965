"""
Internet addresses: parsing literals, classifying them, packing C{struct sockaddr_storage}.

Nothing here touches a socket or asks the system anything but the number of a scope.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from typing import TypeAlias

from txgroupsock.primitives.arguments import explained
from txgroupsock.primitives.checks import asText, wholeNumber
from txgroupsock.primitives.constants import LINUX
from txgroupsock.primitives.errors import AddressError, UnknownInterface
from txgroupsock.primitives.interfacetable import indexOfName, nameOfIndex

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
"""An IPv4 or IPv6 address; an IPv6 one may carry a C{scope_id}."""

SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""What L{socket.socket} takes: C{(host, port)} or C{(host, port, flowinfo, scope)}."""

STORAGE = 128  # sizeof(struct sockaddr_storage), RFC 3493 section 3.10, on every system here


def parseAddress(literal: str | bytes | IPAddress) -> IPAddress:
    """
    An address from its literal: C{"10.0.0.1"}, C{"ff3e::8000:1"}, C{"fe80::1%eth0"}; as Twisted
    does, this takes the literal as C{bytes} too.

    @raise AddressError: it is not one; host names are not looked up.
    @raise TypeError: it is neither text nor an address.
    """
    if not isinstance(literal, str):
        if isinstance(literal, ipaddress.IPv4Address | ipaddress.IPv6Address):
            return literal
        literal = asText("the address", literal, "a literal such as '10.0.0.1', or an IPv4Address")
    try:
        return ipaddress.ip_address(literal)
    except ValueError:
        raise AddressError(
            errno.EINVAL, f"use {literal!r}", reason="it is not an IPv4 or IPv6 address"
        ) from None


def familyOf(address: IPAddress) -> socket.AddressFamily:
    """C{AF_INET} or C{AF_INET6}."""
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def protocolLevel(family: int) -> int:
    """The C{setsockopt} level of a family: C{IPPROTO_IP} or C{IPPROTO_IPV6}."""
    return socket.IPPROTO_IP if family == socket.AF_INET else socket.IPPROTO_IPV6


def familyName(family: int) -> str:
    """C{"IPv4"} or C{"IPv6"}."""
    return "IPv4" if family == socket.AF_INET else "IPv6"


def wildcard(family: int) -> IPAddress:
    """The address that stands for every local one: C{0.0.0.0} or C{::}."""
    return parseAddress("0.0.0.0" if family == socket.AF_INET else "::")


def isSSM(address: str | IPAddress) -> bool:
    """Whether a group is in the source-specific range: 232/8 or FF3x::/32 (RFC 4607 section 1)."""
    address = parseAddress(address)
    packed = address.packed
    if address.version == 4:
        return packed[0] == 232
    return packed[0] == 0xFF and packed[1] >> 4 == 3 and packed[2:4] == b"\0\0"


def isMulticast(address: IPAddress) -> bool:
    """
    Whether an address is a group: 224/4 or ff00::/8.

    C{is_multicast} judges IPv4-mapped addresses by their IPv4 part since Python 3.13; to the
    kernel they are no IPv6 groups.
    """
    return address.packed[0] >> 4 == 14 if address.version == 4 else address.packed[0] == 0xFF


def parseGroup(literal: str | IPAddress) -> IPAddress:
    """
    A multicast group from its literal.

    @raise AddressError: it is not an address, or not a multicast one.
    """
    address = parseAddress(literal)
    if not isMulticast(address):
        expected = "224.0.0.0/4" if address.version == 4 else "ff00::/8"
        raise AddressError(
            errno.EINVAL,
            f"use {address} as a group",
            reason=f"multicast groups are in {expected}",
        )
    return address


def withoutScope(address: IPAddress) -> IPAddress:
    """The same address without its C{%scope}."""
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return ipaddress.IPv6Address(address.packed)
    return address


def scopeIndex(address: IPAddress) -> int:
    """
    The interface index that an IPv6 address's C{%scope} names; 0 where it has none.

    @raise UnknownInterface: no interface has that name.
    """
    scope = getattr(address, "scope_id", None)
    if scope is None:
        return 0
    try:
        return indexOfName(scope)
    except (OSError, ValueError):
        index = indexFromDigits(scope)
    if index is None:
        raise UnknownInterface(
            errno.ENODEV, f"use {address}", reason=f"there is no interface {scope!r}"
        )
    return index


def indexFromDigits(text: str) -> int | None:
    """The number that a text of decimal digits stands for, if it could be an interface's index."""
    return int(text) if text.isdecimal() and len(text) < 10 else None


def toSocketAddress(address: str | IPAddress, port: int) -> SocketAddress:
    """
    The tuple for C{bind}, C{connect} and C{sendto}, with the scope kept.

    CPython drops C{%scope} from a 2-tuple, so IPv6 always gets all four fields.

    @raise AddressError: there is no such port, or it is no address.
    @raise TypeError: the port is no whole number, or the address neither text nor an address.
    @raise UnknownInterface: no interface has the name in the scope.
    """
    address = parseAddress(address)
    if not 0 <= wholeNumber("the port", port, None) <= 0xFFFF:
        raise AddressError(
            errno.EINVAL, f"use port {port} of {address}", reason="ports are from 0 to 65535"
        )
    if address.version == 4:
        return (str(address), port)
    return (str(withoutScope(address)), port, 0, scopeIndex(address))


def fromSocketAddress(sockaddr: SocketAddress) -> tuple[str, int]:
    """
    The C{(host, port)} of an address that the kernel gave, with the scope in the host.

    Asks for the interface's name each time: names change, and only link-local
    addresses have a scope (1 µs then, 0.1 µs for all others).
    """
    try:
        if len(sockaddr) == 2 or not sockaddr[3]:
            return sockaddr[0], sockaddr[1]
        host = sockaddr[0].partition("%")[0]
    except (TypeError, LookupError, AttributeError) as error:
        raise explained(error, fromSocketAddress, sockaddr=sockaddr) from None
    try:
        scope: str | int = nameOfIndex(sockaddr[3])
    except OSError:
        scope = sockaddr[3]
    return f"{host}%{scope}", sockaddr[1]


def describe(sockaddr: SocketAddress) -> str:
    """C{"10.0.0.1:5000"} or C{"[fe80::1%eth0]:5000"}, for messages."""
    host, port = fromSocketAddress(sockaddr)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def packSockaddr(address: IPAddress, port: int = 0, scope: int = 0) -> bytes:
    """
    C{struct sockaddr_storage}: 128 bytes holding a C{sockaddr_in} or C{sockaddr_in6}.

    @param scope: C{sin6_scope_id}; ignored for IPv4.
    """
    family = familyOf(address)
    if family == socket.AF_INET:
        body = struct.pack("!H4s8x", port, address.packed)
    else:
        body = struct.pack("!HI16s", port, 0, address.packed) + struct.pack("=I", scope)
    # Linux begins with sa_family, two bytes; the BSDs with sa_len and sa_family, one each.
    head = struct.pack("=H", family) if LINUX else struct.pack("=BB", 2 + len(body), family)
    return (head + body).ljust(STORAGE, b"\0")


def unpackSockaddr(storage: bytes) -> IPAddress:
    """
    The address in a C{struct sockaddr_storage}; the inverse of L{packSockaddr}.

    @raise AddressError: it holds another address family.
    """
    family = struct.unpack_from("=H", storage)[0] if LINUX else storage[1]
    if family == socket.AF_INET:
        return ipaddress.IPv4Address(storage[4:8])
    if family == socket.AF_INET6:
        return ipaddress.IPv6Address(storage[8:24])
    raise AddressError(
        errno.EAFNOSUPPORT, "read an address", reason=f"address family {family} is not IP"
    )
