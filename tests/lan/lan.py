"""A LAN on one machine: hosts on a switch that snoops and queries IGMPv3 and MLDv2.

Each host is a network namespace with an C{eth0}; the switch is a bridge in one more.  A socket
keeps the namespace it was made in, so one process with one reactor plays every host.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from string import ascii_lowercase
from typing import TypeVar

from attrs import frozen

from tests.lan.namespaces import Namespace

__all__ = ["Host", "Lan", "Link", "MDBEntry", "Switch"]

TIMEOUT = 5.0

# The bridge ignores what it has snooped until one query response interval after it became querier
# (br_multicast_set_querier), so the interval is as short as every HZ can express.  Groups that
# nobody answers for any more go after two last member intervals.
_RESPONSE_SECONDS = 0.02
_LAST_MEMBER_SECONDS = 0.1

# The ends of a cable must not have the same index in their namespaces: the kernel then takes them
# for one device and is in no hurry to say that its carrier came up (linkwatch_urgent_event: 1 s).
_FIRST_PORT_INDEX = 1000


@frozen
class MDBEntry:
    """A group that a switch forwards to a port, which has its host's name."""

    group: str
    #: None for the group as such, else the entry is for this source only.
    source: str | None
    port: str
    #: "include" or "exclude", as RFC 3376 means it; None where the bridge itself is the member.
    filterMode: str | None
    #: The source list of a group as such.
    sources: tuple[str, ...]
    #: The port has asked not to get this source.
    blocked: bool


@frozen(eq=False)
class Link:
    """One interface of a host, in a port of a switch."""

    switch: Switch
    interface: str
    index: int
    mac: str
    ipv4: str
    ipv6: str
    #: Without a scope: C{fe80::1}.
    linkLocal: str


class Switch:
    """
    A bridge that floods no multicast but to members, and asks for them.

    @param number: the subnet: hosts on it are 10.0.NUMBER.N and, for 0, fd00::N.
    """

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.namespace = Namespace()
        try:
            _quietAddresses(self.namespace)
            self.namespace.run("ip", "-batch", "-", stdin=self._bridge())
        except BaseException:
            self.namespace.close()
            raise
        # Twice the interval, as the kernel rounds it up to its own ticks.
        self._snoopingSince = time.monotonic() + 2 * _RESPONSE_SECONDS

    def plug(self, *hosts: Host, interface: str = "eth0") -> None:
        """
        Give each host an interface here, and wait until its reports arrive.

        C{eth0} is what a host sends IPv4 multicast on unless told otherwise.
        """
        self.namespace.run(
            *("ip", "-batch", "-"), stdin="".join(self._cable(host, interface) for host in hosts)
        )
        for host in hosts:
            host._attach(self, interface)
        self._waitForReports(hosts)

    def unplug(self, host: Host) -> None:
        """Remove the port of C{host} together with the interface that is in it."""
        self.namespace.run("ip", "link", "del", "dev", host.name)

    def setPort(self, host: Host, up: bool) -> None:
        """
        Take the port of C{host} down, or up again and wait until reports arrive by it.

        Frames stop at once; the host may see its carrier change up to a second later.
        """
        self.namespace.run("ip", "link", "set", "dev", host.name, "up" if up else "down")
        if up:
            self._waitForReports((host,))

    def mdb(self) -> tuple[MDBEntry, ...]:
        """What the bridge has snooped, with solicited-node groups and its own memberships."""
        shown = json.loads(self.namespace.run("bridge", "-j", "-d", "mdb", "show", "dev", "br0"))
        return tuple(
            MDBEntry(
                group=entry["grp"],
                source=entry.get("src"),
                port=entry["port"],
                filterMode=entry.get("filter_mode"),
                sources=tuple(source["address"] for source in entry.get("source_list", ())),
                blocked="blocked" in entry.get("flags", ()),
            )
            for bridge in shown
            for entry in bridge.get("mdb", ())
        )

    def waitForMDB(
        self, wanted: Callable[[tuple[MDBEntry, ...]], bool], timeout: float = TIMEOUT
    ) -> tuple[MDBEntry, ...]:
        """
        The first state of L{mdb} that is C{wanted}; blocks.

        @raise TimeoutError: there was none within C{timeout} seconds; says what there was.
        """
        deadline = time.monotonic() + timeout
        with self.namespace:
            changes = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        with changes:
            changes.bind((0, 0))  # without a port of its own it would be passed over
            for group in (1, 26):  # RTNLGRP_LINK, RTNLGRP_MDB
                changes.setsockopt(270, 1, group)  # SOL_NETLINK, NETLINK_ADD_MEMBERSHIP
            while True:
                entries = self.mdb()
                if wanted(entries):
                    return entries
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    shown = "\n  ".join(map(str, entries))
                    raise TimeoutError(f"not snooped in {timeout} s; the switch has\n  {shown}")
                # Not every change of a source list is announced, so look again now and then.
                _awaitChange(changes, min(remaining, 0.1))

    def close(self) -> None:
        """Remove the switch and every cable in it."""
        self.namespace.close()

    def _bridge(self) -> str:
        response, lastMember = round(_RESPONSE_SECONDS * 100), round(_LAST_MEMBER_SECONDS * 100)
        # The querier comes last: together with the interval it would take the default one, of
        # 10 s, and without a link-local address the bridge is no querier for MLD.
        return f"""\
link add name br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 1 \
mcast_igmp_version 3 mcast_mld_version 2 mcast_query_use_ifaddr 1 \
mcast_query_response_interval {response} mcast_last_member_interval {lastMember}
addr add 10.0.{self.number}.254/24 dev br0
addr add fe80::fe/64 dev br0 nodad
link set dev br0 up type bridge mcast_querier 1
"""

    def _cable(self, host: Host, interface: str) -> str:
        index = _FIRST_PORT_INDEX + host.number
        mac = _mac(self, host)
        return f"""\
link add name {host.name} index {index} type veth \
peer name {interface} address {mac} netns {host.path}
link set dev {host.name} master br0 up
"""

    def _waitForReports(self, hosts: tuple[Host, ...]) -> None:
        # Each host reports the solicited-node group of its IPv6 addresses when its link comes up or
        # it is asked.
        expected = {(host.name, f"ff02::1:ff00:{host.number:x}") for host in hosts}
        self.waitForMDB(lambda entries: expected <= {(one.port, one.group) for one in entries})
        # Nothing tells when the bridge begins to heed reports, hence the only fixed time.
        time.sleep(max(0.0, self._snoopingSince - time.monotonic()))


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
            _quietAddresses(self)
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

    def setLink(self, up: bool, interface: str = "eth0") -> None:
        """Take the switch's end of a link down, or up again: L{Switch.setPort}."""
        self.links[interface].switch.setPort(self, up)

    def unplug(self, interface: str = "eth0") -> None:
        """Make an interface disappear; L{plug} brings it back."""
        self.links[interface].switch.unplug(self)

    def plug(self, interface: str = "eth0") -> Link:
        """Make an unplugged interface anew: same name and addresses, another index."""
        self.links[interface].switch.plug(self, interface=interface)
        return self.links[interface]

    def _attach(self, switch: Switch, interface: str) -> None:
        """Set the addresses of a new interface and bring it up."""
        subnet = f"fd00:0:0:{switch.number:x}::" if switch.number else "fd00::"
        with self:
            index = socket.if_nametoindex(interface)
        link = Link(
            switch=switch,
            interface=interface,
            index=index,
            mac=_mac(switch, self),
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


def _mac(switch: Switch, host: Host) -> str:
    return f"02:00:00:00:{switch.number:02x}:{host.number:02x}"


def _forwards(entries: tuple[MDBEntry, ...], port: str, group: str, source: str | None) -> bool:
    ofPort = [entry for entry in entries if (entry.port, entry.group) == (port, group)]
    for entry in ofPort:
        if source is not None and entry.source == source:
            return not entry.blocked
    # A port that includes some sources has an entry for the group too, which forwards nothing.
    return any(entry.source is None and entry.filterMode != "include" for entry in ofPort)


def _quietAddresses(namespace: Namespace) -> None:
    """No address but those given, each usable at once; nothing dropped for where it comes from."""
    for name, value in (
        ("ipv6.conf.default.addr_gen_mode", 1),
        ("ipv6.conf.default.accept_dad", 0),
        ("ipv6.conf.default.accept_ra", 0),
        # For IPv4 a new namespace starts with the settings of the machine.
        ("ipv4.conf.default.rp_filter", 0),
        ("ipv4.conf.all.rp_filter", 0),
        ("ipv4.conf.default.force_igmp_version", 0),
        ("ipv4.conf.all.force_igmp_version", 0),
    ):
        namespace.sysctl(f"net.{name}", value)


def _awaitChange(changes: socket.socket, seconds: float) -> None:
    """Wait for a message and discard all there are."""
    poll = select.poll()
    poll.register(changes, select.POLLIN)
    if not poll.poll(seconds * 1000):
        return
    try:
        while True:
            changes.recv(65536, socket.MSG_DONTWAIT)
    except OSError:
        # There are no more, or too many came to keep (ENOBUFS); either way it is time to look.
        return
