"""Addresses as callers of a transport write them: a literal host and a port."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from twisted.internet.error import InvalidAddressError

from txgroupsock.primitives import (
    AddressError,
    SocketAddress,
    parseAddress,
    toSocketAddress,
)
from txgroupsock.primitives.checks import asText, wholeNumber
from txgroupsock.primitives.sockaddr import familyName


def checkDestination(address: SocketAddress, family: int) -> SocketAddress:
    """
    What to hand C{sendto} or C{connect} for an address; 0.4 µs unless it has a scope.

    CPython would drop the scope of a host, so IPv6 always gets all four fields.

    @param address: C{(host, port)}, or the four fields of an IPv6 address; the host may be
        C{bytes}, as in Twisted.
    @raise InvalidAddressError: the host is not a literal address of that family, or the port
        none.
    @raise TypeError: it is no such pair.
    @raise UnknownInterface: its scope names no interface.
    """
    try:
        host, port = address[0], address[1]
        if port & ~0xFFFF:
            raise InvalidAddressError(host, f"ports are from 0 to 65535, not {port}")
        if family == socket.AF_INET6:
            if "%" in host:
                return _scoped(host, port)
            _check(host, family)
            return (host, port, 0, address[3] if len(address) == 4 else 0)
        if host != "<broadcast>":
            _check(host, family)
    except (TypeError, IndexError, KeyError):
        return checkDestination(_asDestination(address), family)
    return (host, port)


def checkPeer(host: str, port: int, family: int) -> SocketAddress:
    """
    What to hand C{connect} for an address, as L{checkDestination}; for IPv4 also an IPv4-mapped
    one, which to the C library, and so to Twisted, is that IPv4 address.
    """
    try:
        return checkDestination((host, port), family)
    except InvalidAddressError:
        try:
            mapped = getattr(parseAddress(host), "ipv4_mapped", None)
        except AddressError:
            mapped = None
        if mapped is None or family != socket.AF_INET:
            raise
        return checkDestination((str(mapped), port), family)


def _asDestination(address: Any) -> SocketAddress:
    """
    The same address as Twisted's callers may also write it.

    @raise TypeError: it is none.
    """
    if not isinstance(address, tuple | list) or len(address) not in (2, 4):
        raise TypeError(f"the address is {address!r}: it has to be (host, port)")
    host, *numbers = address
    for name, number in zip(("port", "flow", "scope"), numbers, strict=False):
        wholeNumber(f"the {name} of {address!r}", number, None)
    text = asText("the host", host, "a literal address")
    if text is host:
        raise TypeError(f"the address is {address!r}: it has to be (host, port)")
    return (text, *numbers)


def _scoped(host: str, port: int) -> SocketAddress:
    try:
        return toSocketAddress(ipaddress.IPv6Address(host), port)
    except ipaddress.AddressValueError:
        raise _invalid(host, socket.AF_INET6) from None


def _check(host: str, family: int) -> None:
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        raise _invalid(host, family) from None


def _invalid(host: str, family: int) -> InvalidAddressError:
    return InvalidAddressError(
        host, f"this port takes literal {familyName(family)} addresses, no host names"
    )
