"""A LAN on one machine: hosts on a switch that snoops and queries IGMPv3 and MLDv2.

Each host is a network namespace with an C{eth0}; the switch is a bridge in one more.  A socket
keeps the namespace it was made in, so one process with one reactor plays every host.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from string import ascii_lowercase
from typing import TypeVar

from txgroupsock.testing.namespaces import Namespace
from txgroupsock.testing.switch import Link, MDBEntry, Switch, macOf, quietAddresses

__all__ = ["Host", "Lan", "Link", "MDBEntry", "Switch"]

TIMEOUT = 20.0


class Host(Namespace):
    """
    A machine on a LAN.

    @param name: also that of its port in each switch.
    @param number: the N of its addresses 10.0.0.N, fd00::N and fe80::N; 1 to 253.
    """

    def __init__(self, name: str, number: int) -> None:
        super().__init__()
        self.name = name
        self.number = number
        self.links: dict[str, Link] = {}
        try:
            quietAddresses(self)
            self.raiseLoopback()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Host {self.name}>"

    @property
    def interface(self) -> str:
        """The name of the first interface: C{eth0}."""
        return self.links["eth0"].interface

    @property
    def index(self) -> int:
        """The index of C{eth0}; it changes when L{plug} makes a new one."""
        return self.links["eth0"].index

    @property
    def mac(self) -> str:
        """The hardware address of C{eth0}."""
        return self.links["eth0"].mac

    @property
    def ipv4(self) -> str:
        """The IPv4 address of C{eth0}, in a /24."""
        return self.links["eth0"].ipv4

    @property
    def ipv6(self) -> str:
        """The global IPv6 address of C{eth0}, in a /64."""
        return self.links["eth0"].ipv6

    @property
    def linkLocal(self) -> str:
        """The link-local address of C{eth0}, without a scope."""
        return self.links["eth0"].linkLocal

    def socket(
        self, family: int, kind: int = socket.SOCK_DGRAM, protocol: int = 0
    ) -> socket.socket:
        """A socket of this host, whichever namespace it is used from."""
        with self:
            return socket.socket(family, kind, protocol)

    def setLink(self, interface: str = "eth0", *, up: bool) -> None:
        """Take the switch's end of a link down, or up again: L{Switch.setPort}."""
        self.links[interface].switch.setPort(self, up=up)

    def unplug(self, interface: str = "eth0") -> None:
        """Make an interface disappear; L{plug} brings it back."""
        self.links[interface].switch.unplug(self)

    def plug(self, interface: str = "eth0") -> Link:
        """Make an unplugged interface anew: same name and addresses, another index."""
        self.links[interface].switch.plug(self, interface=interface)
        return self.links[interface]

    def attach(self, switch: Switch, interface: str) -> None:
        """Set the addresses of a new interface and bring it up."""
        subnet = f"fd00:0:0:{switch.number:x}::" if switch.number else "fd00::"
        with self:
            index = socket.if_nametoindex(interface)
        link = Link(
            switch=switch,
            interface=interface,
            index=index,
            mac=macOf(switch, self),
            ipv4=f"10.0.{switch.number}.{self.number}",
            ipv6=f"{subnet}{self.number:x}",
            linkLocal=f"fe80::{self.number:x}",
        )
        commands = [
            f"addr add {link.ipv4}/24 dev {interface}",
            f"addr add {link.ipv6}/64 dev {interface} nodad",
            f"addr add {link.linkLocal}/64 dev {interface} nodad",
            f"link set dev {interface} up",
        ]
        if interface == "eth0":
            # IPv6 needs no such route: the kernel adds ff00::/8 for each interface.
            commands.append(f"route add 224.0.0.0/4 dev {interface}")
        self.run("ip", "-batch", "-", stdin="\n".join(commands))
        self.links[interface] = link


Part = TypeVar("Part", Switch, Host)


class Lan:
    """
    Hosts C{a}, C{b}, C{c}… with the numbers 1, 2, 3… on one switch.

    @param count: how many hosts.
    """

    def __init__(self, count: int = 3) -> None:
        self._owned = ExitStack()
        self._subnets = 1
        with ExitStack() as onFailure:
            onFailure.callback(self.close)
            self.switch = self._own(Switch())
            self.hosts = tuple(
                self._own(Host(name, number))
                for number, name in enumerate(ascii_lowercase[:count], 1)
            )
            self.switch.plug(*self.hosts)
            onFailure.pop_all()

    def __enter__(self) -> Lan:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getitem__(self, name: str) -> Host:
        """The host of that name."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    def addLink(self, host: Host, peerName: str, peerNumber: int = 2) -> tuple[Link, Host]:
        """
        A second link for C{host}, as C{eth1}, eth2…, on a switch of its own with one new peer.

        C{host} has the link-local address there that it has on C{eth0}, and the peer that of
        every host with C{peerNumber}, so equal addresses are on both links.

        @return: the new interface of C{host}, and the peer.
        """
        if peerNumber == host.number:
            raise ValueError(f"{host} has the number {peerNumber} itself")
        if peerName in {host.name, *(other.name for other in self.hosts)}:
            raise ValueError(f"there is a host {peerName} already")
        switch = self._own(Switch(self._subnets))
        self._subnets += 1
        peer = self._own(Host(peerName, peerNumber))
        interface = f"eth{len(host.links)}"
        switch.plug(host, interface=interface)
        switch.plug(peer)
        self.hosts += (peer,)
        return host.links[interface], peer

    def mdb(self) -> tuple[MDBEntry, ...]:
        """What the first switch has snooped: L{Switch.mdb}."""
        return self.switch.mdb()

    def waitForMDB(
        self, wanted: Callable[[tuple[MDBEntry, ...]], bool], timeout: float = TIMEOUT
    ) -> tuple[MDBEntry, ...]:
        """Wait for a state of the first switch: L{Switch.waitForMDB}."""
        return self.switch.waitForMDB(wanted, timeout)

    def waitForMember(
        self, host: Host, group: str, source: str | None = None, timeout: float = TIMEOUT
    ) -> None:
        """Block until the first switch forwards the group, or this source of it, to C{host}."""
        self.waitForMDB(lambda entries: _forwards(entries, host.name, group, source), timeout)

    def waitForNoMember(
        self, host: Host, group: str, source: str | None = None, timeout: float = TIMEOUT
    ) -> None:
        """Block until the first switch does not forward the group, or this source of it."""
        self.waitForMDB(lambda entries: not _forwards(entries, host.name, group, source), timeout)

    def close(self) -> None:
        """Close everything; sockets still open keep their host, but no link."""
        self._owned.close()

    def _own(self, part: Part) -> Part:
        self._owned.callback(part.close)
        return part


def _forwards(entries: tuple[MDBEntry, ...], port: str, group: str, source: str | None) -> bool:
    ofPort = [entry for entry in entries if (entry.port, entry.group) == (port, group)]
    for entry in ofPort:
        if source is not None and entry.source == source:
            return not entry.blocked
    # A port that includes some sources has an entry for the group too, which forwards nothing.
    return any(entry.source is None and entry.filterMode != "include" for entry in ofPort)
