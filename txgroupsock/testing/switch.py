"""The switch of a LAN of network namespaces: a bridge that snoops and queries IGMPv3 and MLDv2."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen

from txgroupsock.testing.namespaces import Namespace

if TYPE_CHECKING:
    from txgroupsock.testing.lan import Host

__all__ = ["Link", "MDBEntry", "Switch", "macOf", "quietAddresses"]

TIMEOUT = 20.0

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
            quietAddresses(self.namespace)
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
            host.attach(self, interface)
        self._waitForReports(hosts)

    def unplug(self, host: Host) -> None:
        """Remove the port of C{host} together with the interface that is in it."""
        self.namespace.run("ip", "link", "del", "dev", host.name)

    def setPort(self, host: Host, *, up: bool) -> None:
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
        mac = macOf(self, host)
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


def macOf(switch: Switch, host: Host) -> str:
    """The hardware address of a host on a switch."""
    return f"02:00:00:00:{switch.number:02x}:{host.number:02x}"


def quietAddresses(namespace: Namespace) -> None:
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
