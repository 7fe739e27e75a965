"""Whether the interface can carry the stream at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from txgroupsock.primitives.networkinterface import IFF_LOOPBACK, IFF_MULTICAST, IFF_UP
from txgroupsock.primitives.sockaddr import IPAddress
from txgroupsock.relay.doctor.finding import Finding
from txgroupsock.relay.doctor.netlink import Link

CHECK = "interface"

# What of a part of them gets no datagrams itself: they are the whole's.
_TAKING = {"bridge": "bridge", "bond": "bond", "team": "team", "openvswitch": "switch"}


def missingInterface(subject: str, error: OSError) -> Finding:
    """There is no interface as the URL says."""
    return Finding(
        CHECK,
        "fault",
        subject,
        "the interface that the URL names is not there",
        (str(error),),
        "name one that is there ('ip address' lists them), or bring it up; the relay waits for it",
    )


def checkInterface(
    subject: str,
    link: Link,
    links: Mapping[int, Link],
    addresses: tuple[IPAddress, ...],
    group: IPAddress | None,
) -> Iterator[Finding]:
    """
    Whether an interface is up, has a carrier, and carries multicast.

    @param addresses: those of the interface.
    @param group: the group to be received there; L{None} for unicast, and for what is sent.
    """
    name = link.name
    if not link.flags & IFF_UP:
        yield Finding(
            CHECK,
            "fault",
            subject,
            f"{name} is switched off",
            (f"rtnetlink: {name} has no flag UP, state {link.state}",),
            f"'ip link set dev {name} up'",
        )
        return
    if not link.hasCarrier:
        yield Finding(
            CHECK,
            "fault",
            subject,
            f"{name} has no carrier: nothing is plugged in, or the other end is down",
            (f"rtnetlink: {name} is UP without a carrier, state {link.state}",),
            "plug in the cable, or switch on the port of the switch or the peer "
            f"('ip link show dev {name}' tells)",
        )
        return
    master = links.get(link.master)
    if master is not None and master.kind in _TAKING:
        yield Finding(
            CHECK,
            "fault",
            subject,
            f"{name} is part of the {_TAKING[master.kind]} {master.name}, which gets what arrives; "
            f"nothing of it is received on {name}",
            (f"rtnetlink: the master of {name} is {master.name}, a {master.kind}",),
            f"have interface={master.name} in the URL instead of {name}",
        )
    if group is None:
        return
    if not link.flags & (IFF_MULTICAST | IFF_LOOPBACK):
        yield Finding(
            CHECK,
            "fault",
            subject,
            f"{name} carries no multicast",
            (f"rtnetlink: {name} has no flag MULTICAST",),
            f"'ip link set dev {name} multicast on'",
        )
    if not link.flags & IFF_LOOPBACK:
        yield from _checkAddress(subject, name, addresses, group)


def _checkAddress(
    subject: str, name: str, addresses: tuple[IPAddress, ...], group: IPAddress
) -> Iterator[Finding]:
    """Whether memberships can be reported from an address (RFC 3376 section 4.2.13, RFC 3810 5)."""
    listed = ", ".join(map(str, addresses)) or "none"
    if group.version == 4 and not any(each.version == 4 for each in addresses):
        yield Finding(
            CHECK,
            "doubt",
            subject,
            f"{name} has no IPv4 address, so memberships are reported from 0.0.0.0, which some "
            "switches and routers ignore",
            (f"addresses of {name}: {listed}",),
            f"give it one: 'ip address add ADDRESS/LENGTH dev {name}'",
        )
    if group.version == 6 and not any(each.is_link_local for each in addresses):
        yield Finding(
            CHECK,
            "fault",
            subject,
            f"{name} has no IPv6 link-local address, so its memberships are not heeded",
            (f"addresses of {name}: {listed}",),
            f"'sysctl -w net/ipv6/conf/{name}/disable_ipv6=0' "
            f"'net/ipv6/conf/{name}/addr_gen_mode=0', then switch it off and on",
        )
