"""Where to listen on this host: an address, an interface, or a name of it."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, ip_address
from typing import Final

from twisted.internet.abstract import isIPAddress, isIPv6Address

from txgroupsock.ports.tcp import addressToListenOn
from txgroupsock.primitives import GroupsockError

_BROADCAST: Final = IPv4Address("255.255.255.255")


def checkAddress(host: str) -> None:
    """
    See that an address, if it is one, could be that of an interface.

    @raise ValueError: it could not.
    """
    if not isAddress(host):
        return
    address = ip_address(host)
    if address.is_multicast or address == _BROADCAST:
        raise ValueError(f"interface={host}: no interface has that address; give one of its own")
    if address.is_link_local and address.version == 6 and "%" not in host:
        raise ValueError(f"interface={host}: say on which interface, as in {host}%eth0")


def addressIn(host: str) -> str:
    """The address that it is or that an interface of that name has; else the same."""
    try:
        return addressToListenOn(host)
    except GroupsockError:
        return host


def needInterface(host: str) -> None:
    """
    See that the interface is there that an address has after its "%".

    @raise OSError: it is not.
    """
    name = host.partition("%")[2]
    if name.isdecimal():
        return
    try:
        socket.if_nametoindex(name)
    except OSError as error:
        raise OSError(
            errno.ENODEV, f"{host}: no interface is called {name!r}; 'ip address' lists them"
        ) from error


def isAddress(host: str) -> bool:
    """Whether it is an address of IPv4 or IPv6."""
    return isIPAddress(host) or isIPv6Address(host)


def lookedUp(host: str, family: int) -> str:
    """
    The address of a host; it asks name servers.

    @raise OSError: there is none, and no interface of that name.
    """
    try:
        found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise OSError(
            errno.ENODEV,
            f"{host}: no interface has that name, and no host that could be found "
            f"({getattr(error, 'strerror', None) or error}); 'ip address' lists the interfaces",
        ) from error
    return str(found[0][4][0])
