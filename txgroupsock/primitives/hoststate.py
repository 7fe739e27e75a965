"""What this host's interfaces are, and what its kernel has joined on them, at one moment."""

from __future__ import annotations

import ipaddress
import sys
from functools import cached_property
from pathlib import Path

from txgroupsock.primitives.interfacetable import allIndexes, madeUp
from txgroupsock.primitives.networkinterface import (
    IFF_RUNNING,
    IFF_UP,
    InterfaceLike,
    NetworkInterface,
    addressesByIndex,
    flagsOf,
    interfaceIndex,
    listInterfaces,
)
from txgroupsock.primitives.sockaddr import IPAddress, withoutScope

# Of the thread's own network namespace; /proc/net would give the main thread's.
_PROC = Path("/proc/thread-self/net")


class HostState:
    """
    Interfaces and groups as they were when first looked at; each is read once, and only if asked
    for, so that a thousand inputs cost one look, and one that names its interface costs no look
    at the others or at any address.
    """

    @cached_property
    def interfaces(self) -> dict[int, NetworkInterface]:
        """Every interface, by its index."""
        return {each.index: each for each in listInterfaces()}

    def indexOf(self, which: InterfaceLike) -> int:
        """
        The index of an interface, as L{interfaceIndex} gives it.

        @raise UnknownInterface: there is none.
        """
        try:
            address = ipaddress.ip_address(which or "")
        except ValueError:
            return interfaceIndex(which)
        owners = [index for index, theirs in self._addresses.items() if address in theirs]
        return owners[0] if len(owners) == 1 else interfaceIndex(which)

    def isRunning(self, index: int) -> bool:
        """Whether there is one, up and with a carrier; true if that cannot be told."""
        if index not in self._running:
            try:
                flags = flagsOf(index)
            except OSError:  # out of descriptors, which says nothing about the interface
                return True
            self._running[index] = bool(flags & IFF_UP and flags & IFF_RUNNING)
        return self._running[index]

    def hasJoined(self, index: int, group: IPAddress) -> bool:
        """
        Whether an interface exists and the kernel has a group joined on it; true too where it
        does not tell and the interface exists (all but Linux).
        """
        joined = self._joined4 if group.version == 4 else self._joined6
        if joined is None:
            return index in allIndexes()
        return (index, withoutScope(group)) in joined

    def igmpVersion(self, index: int) -> int | None:
        """
        The version of IGMP that the querier on an interface has this host use (RFC 3376
        section 7.2.1): 1, 2 or 3; L{None} where the kernel does not tell.
        """
        for line in self._igmp:
            number, _, rest = line.partition("\t")
            if number == str(index):
                version = rest.split()[-1]
                return int(version[1:]) if version[1:].isdecimal() else None
        return None

    @cached_property
    def _addresses(self) -> dict[int, list[IPAddress]]:
        return addressesByIndex()

    @cached_property
    def _running(self) -> dict[int, bool]:
        return {}

    @cached_property
    def _igmp(self) -> list[str]:
        return _lines("igmp") or []

    @cached_property
    def _joined4(self) -> set[tuple[int, IPAddress]] | None:
        if not self._igmp:
            return None
        found: set[tuple[int, IPAddress]] = set()
        index = 0
        for line in self._igmp[1:]:
            if line[:1].isdecimal():
                index = int(line.split()[0])
            else:  # the group as the kernel's integer, whose bytes are in network order
                packed = int(line.split()[0], 16).to_bytes(4, sys.byteorder)
                found.add((index, ipaddress.IPv4Address(packed)))
        return found

    @cached_property
    def _joined6(self) -> set[tuple[int, IPAddress]] | None:
        lines = _lines("igmp6")
        if lines is None:
            return None
        fields = (line.split() for line in lines)
        return {(int(each[0]), ipaddress.IPv6Address(bytes.fromhex(each[2]))) for each in fields}


def _lines(name: str) -> list[str] | None:
    """A table of the kernel's; L{None} where there is none, or the host is in memory only."""
    if madeUp.get() is not None:
        return None
    try:
        return (_PROC / name).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
