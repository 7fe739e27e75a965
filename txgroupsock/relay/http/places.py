"""Places that outsiders may take, of which there are so many, and who has to go for others."""

from __future__ import annotations

import os
from collections.abc import Callable
from ipaddress import IPv6Address as IPv6
from ipaddress import ip_address
from typing import Any, Generic, TypeVar

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

_T = TypeVar("_T")


class Places(Generic[_T]):
    """
    Who has a place, and from where each came, in the order of coming.

    Nobody is kept out by those who came from elsewhere: of the origin that has most the oldest
    goes.  Where all come from one, as behind a proxy, that is the oldest of all.
    """

    def __init__(self) -> None:
        self._taken: dict[str, dict[_T, None]] = {}
        self._origins: dict[_T, str] = {}

    def __len__(self) -> int:
        return len(self._origins)

    def takenFrom(self, origin: str) -> int:
        """How many an origin has."""
        return len(self._taken.get(origin, ()))

    def take(self, who: _T, origin: str) -> None:
        """Give somebody a place."""
        self._origins[who] = origin
        self._taken.setdefault(origin, {})[who] = None

    def leave(self, who: _T) -> None:
        """Somebody has no place any more, if there was one."""
        origin = self._origins.pop(who, None)
        if origin is None:
            return
        there = self._taken[origin]
        del there[who]
        if not there:
            del self._taken[origin]

    def first(self, mayGo: Callable[[_T], bool]) -> _T | None:
        """Who goes first, of those who may; L{None} if nobody may."""
        groups = [[who for who in there if mayGo(who)] for there in self._taken.values()]
        most = max(groups, key=len, default=[])
        return most[0] if most else None


def originOf(peer: Any) -> str:
    """
    Where somebody is who may have any number of addresses: an IPv4 address, or 64 bits of IPv6
    (RFC 6177 section 2); C{""} for this host, where all may come from behind a proxy.

    @param peer: an address of Twisted.
    """
    if not isinstance(peer, IPv4Address | IPv6Address):
        return ""
    try:
        address = ip_address(peer.host.partition("%")[0])
    except ValueError:
        return str(peer.host)
    if isinstance(address, IPv6):
        mapped = address.ipv4_mapped
        if mapped is None:
            return "" if address.is_loopback else f"{IPv6(int(address) >> 64 << 64)}/64"
        address = mapped
    return "" if address.is_loopback else str(address)


def addressOf(peer: Any) -> str:
    """An address for people: C{"10.0.0.1:5000"}, C{"[fe80::1%eth0]:5000"}, C{"/run/x"}."""
    if isinstance(peer, IPv6Address):
        return f"[{peer.host}]:{peer.port}"
    if isinstance(peer, IPv4Address):
        return f"{peer.host}:{peer.port}"
    if isinstance(peer, UNIXAddress):
        return os.fsdecode(peer.name or b"unix")
    return str(peer)


def mostFrom(origin: str, places: int, share: float = 0.9) -> int:
    """How many of so many places an origin may have: others find some left; this host all."""
    return places if not origin else max(1, int(share * places))
