"""Which address is ours, and addresses to use for new groups."""

from __future__ import annotations

import errno
import ipaddress
import random
import socket
from collections.abc import Callable

from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.environment import Environment
from txgroupsock.primitives.errors import AddressError
from txgroupsock.primitives.networkinterface import (
    addressesByIndex,
    addressOf,
    defaultRouteInterface,
    interfaceIndex,
    listInterfaces,
)
from txgroupsock.primitives.sockaddr import (
    IPAddress,
    familyName,
    familyOf,
    parseAddress,
    withoutScope,
)

_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
_systemRandom = random.SystemRandom()


@checked
def ourIPv4Address(env: Environment, *, refresh: bool = False) -> str:
    """
    The IPv4 address that others reach this host by.

    That of C{env.receivingInterface}, if one is set, even a loopback one; else the first
    usable one of the interface that the default route uses; else of any interface that is up
    and is not a loopback; else what the host name resolves to.  Unspecified, loopback (all of
    127/8, so Debian's 127.0.1.1 too) and broadcast addresses are not usable.

    @param refresh: look again, instead of giving what was found the first time; an address
        may change while a program runs, as with DHCP.
    @raise AddressError: there is none.
    """
    return str(_ourAddress(env, socket.AF_INET, refresh=refresh))


@checked
def ourIPv6Address(env: Environment, *, refresh: bool = False) -> str:
    """
    The IPv6 address that others reach this host by; as L{ourIPv4Address}.

    Unspecified, loopback, link-local and site-local addresses are not usable.

    @raise AddressError: there is none.
    """
    return str(_ourAddress(env, socket.AF_INET6, refresh=refresh))


@checked
def weHaveAnIPv4Address(env: Environment) -> bool:
    """Whether L{ourIPv4Address} has an answer."""
    return _has(env, socket.AF_INET)


@checked
def weHaveAnIPv6Address(env: Environment) -> bool:
    """Whether L{ourIPv6Address} has an answer."""
    return _has(env, socket.AF_INET6)


@checked
def weHaveAnIPAddress(env: Environment) -> bool:
    """Whether this host has a usable address of either family."""
    return weHaveAnIPv4Address(env) or weHaveAnIPv6Address(env)


def chooseRandomIPv4SSMAddress() -> str:
    """
    A source-specific group, uniformly from 232.0.1.0 to 232.255.255.255 (RFC 4607
    section 4.3 keeps 232.0.0.0/24 for other uses).
    """
    return str(ipaddress.IPv4Address(_systemRandom.randint(0xE8000100, 0xE8FFFFFF)))


@checked
def chooseRandomIPv6SSMAddress(scope: int = 0xE) -> str:
    """
    A source-specific group, uniformly from FF3x::8000:0 to FF3x::FFFF:FFFF (RFC 4607
    section 4.3, dynamic allocation).

    @param scope: x, how far it may go (RFC 7346): 2 the link, 5 the site, 8 the
        organisation, 14 (the default) the world.
    """
    if not 1 <= scope <= 0xE:
        raise AddressError(
            errno.EINVAL, f"use scope {scope} for a group", "it is from 1 to 14 (RFC 7346)"
        )
    prefix = (0xFF30 | scope) << 112
    return str(ipaddress.IPv6Address(prefix | _systemRandom.randint(0x80000000, 0xFFFFFFFF)))


class OurAddresses:
    """
    Whether a host, as text, is this one; its addresses are looked up anew now and then.

    LIVE555 looks once, and never learns of a change by DHCP.
    """

    maxAge = 10.0
    """Seconds; looking costs up to a millisecond, and only a sender with our port needs it."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        """@param seconds: the time, as from a reactor."""
        self._seconds = seconds
        self._addresses: frozenset[str] = frozenset()
        self._lookedAt = float("-inf")
        self._look()

    def __contains__(self, host: str) -> bool:
        if self._seconds() - self._lookedAt >= self.maxAge:
            self._look()
        return host.partition("%")[0] in self._addresses or host.startswith("127.")

    def _look(self) -> None:
        self._lookedAt = self._seconds()
        try:
            found = [address for theirs in addressesByIndex().values() for address in theirs]
        except OSError:  # out of descriptors: what was found before has to do
            return
        self._addresses = frozenset(socket.inet_ntop(familyOf(each), each.packed) for each in found)


def _has(env: Environment, family: int) -> bool:
    try:
        _ourAddress(env, family, refresh=False)
    except AddressError:
        return False
    return True


def _ourAddress(env: Environment, family: int, *, refresh: bool) -> IPAddress:
    wanted = (family, env.receivingInterface)
    address = None if refresh else env.ourAddresses.get(wanted)
    if address is None:
        env.ourAddresses.pop(wanted, None)
        address = _find(env, family)
    if address is None:
        raise AddressError(
            errno.EADDRNOTAVAIL,
            f"find an {familyName(family)} address of this host",
            "give an interface an address ('ip address' lists them)",
            reason="no interface that is up has a usable one",
        )
    env.ourAddresses[wanted] = address
    return address


def _find(env: Environment, family: int) -> IPAddress | None:
    if interfaceIndex(env.receivingInterface):
        configured = addressOf(env.receivingInterface, family)
        if configured is not None and not configured.is_link_local:
            return configured
    preferred = defaultRouteInterface(family)
    candidates = [each for each in listInterfaces() if each.isUp and not each.isLoopback]
    candidates.sort(key=lambda each: each.name != preferred)
    for interface in candidates:
        for address in interface.addresses:
            if _isUsable(address, family):
                return address
    return _fromHostName(family)


def _fromHostName(family: int) -> IPAddress | None:
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, family, socket.SOCK_DGRAM)
    except (OSError, UnicodeError):  # the name may be no name that can be looked up
        return None
    for record in found:
        address = withoutScope(parseAddress(str(record[4][0])))
        if _isUsable(address, family):
            return address
    return None


def _isUsable(address: IPAddress, family: int) -> bool:
    if familyOf(address) != family or address.is_unspecified or address.is_loopback:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return not (address.is_link_local or address.is_site_local)
    return address != _BROADCAST
