"""
Who asks for members, in which version, and whether anybody does.

A host answers in the version that it is asked in (RFC 3376 section 7, RFC 3810 section 8); before
IGMPv3 and MLDv2 it cannot say which sources it wants.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from txgroupsock.primitives.sockaddr import IPAddress
from txgroupsock.relay.doctor.finding import Finding
from txgroupsock.relay.doctor.kernel import Kernel
from txgroupsock.relay.doctor.netlink import Link
from txgroupsock.relay.doctor.packet import Query
from txgroupsock.relay.models.udp import InputModel

CHECK = "querier"
INTERVAL = 125  # seconds from one query to the next, unless somebody changed it
ENOUGH = 130.0  # seconds after which one should have come


def checkVersion(
    subject: str,
    model: InputModel,
    name: str,
    igmp: int | None,
    forced: int | None,
    queries: Collection[Query],
) -> Iterator[Finding]:
    """
    Whether the membership is reported as it should be.

    @param igmp: the version that the kernel uses there; for IPv6 it does not tell.
    @param forced: what C{force_igmp_version} or C{force_mld_version} says; 0 or L{None} if nothing.
    @param queries: those that were heard on the interface.
    """
    v4 = model.address.version == 4
    protocol, newest = ("IGMP", 3) if v4 else ("MLD", 2)
    family, sysctl = ("ipv4", "force_igmp_version") if v4 else ("ipv6", "force_mld_version")
    oldest = min(queries, key=lambda each: each.version, default=None)
    heard = None if oldest is None else oldest.version
    version = forced or igmp or heard
    if version is None or version >= newest:
        return
    evidence = []
    if forced:
        evidence.append(f"net.{family}.conf.{{all,{name}}}.{sysctl}: {forced} holds")
        remedy = f"'sysctl -w net/{family}/conf/{name}/{sysctl}=0', and the same for all"
    else:
        who = f"the querier {oldest.source}" if oldest else "the querier (a router or switch)"
        remedy = f"set {who} to {protocol}v{newest}"
    if v4 and igmp:
        evidence.append(f"/proc/net/igmp: {name} uses V{igmp}")
    if oldest is not None:
        evidence.append(f"a query of {protocol}v{oldest.version} came from {oldest.source}")
    old = f"{name} has to use {protocol}v{version}"
    if model.sources:
        text = (
            f"{old}, which knows no sources: the network is asked for the group from everybody, "
            "and routers pass no source-specific group"
        )
        yield Finding(CHECK, "fault", subject, text, tuple(evidence), remedy)
    else:
        text = f"{old}; groups from chosen sources would not work there"
        yield Finding(CHECK, "note", subject, text, tuple(evidence), remedy)


def checkBridge(subject: str, link: Link, group: IPAddress) -> Iterator[Finding]:
    """Whether a bridge of this host that snoops has anybody who asks for members."""
    bridge = link.bridge
    if bridge is None or not bridge.snoops:
        return
    querier = bridge.querier4 if group.version == 4 else bridge.querier6
    if querier is not None:
        return
    protocol = "IGMP" if group.version == 4 else "MLD"
    yield Finding(
        CHECK,
        "doubt",
        subject,
        f"{link.name} snoops, and nobody on it asks for members: such a bridge of Linux floods "
        "groups to every port, and other switches stop forwarding them after some minutes",
        (f"rtnetlink: {link.name} has mcast_snooping 1, and no {protocol} querier",),
        f"'ip link set dev {link.name} type bridge mcast_igmp_version 3 mcast_mld_version 2 "
        "mcast_querier 1', or have a router ask",
    )


def checkAbsence(
    subject: str, name: str, queries: Collection[Query], seconds: float
) -> Iterator[Finding]:
    """
    Whether anybody on the link asks for members at all.

    @param seconds: how long was listened to the link itself.
    """
    if seconds >= ENOUGH and not queries:
        yield Finding(
            CHECK,
            "doubt",
            subject,
            f"nobody asks for members on the link of {name}: a snooping switch forgets them after "
            "some minutes, and then the stream stops",
            (f"AF_PACKET: no query came in {seconds:.0f} s; queriers ask every {INTERVAL} s",),
            "switch on the querier of the switch, or multicast routing on a router of that link",
        )


def unasked(queries: Collection[Query], seconds: float) -> str:
    """What was heard of a querier, for who wonders why nothing arrives."""
    if queries:
        who = ", ".join(sorted({str(each.source) for each in queries}))
        return f"queries for members were heard from {who}"
    return (
        f"no query for members was heard in {seconds:.1f} s; there is one every {INTERVAL} s if "
        "there is a querier, without which a snooping switch forgets members: listen longer with "
        f"--seconds {ENOUGH + 5:.0f}"
    )


def forcedVersion(kernel: Kernel, version: int, interface: str) -> int:
    """What sysctls force; 0 for nothing.  What is set for all interfaces goes first."""
    family, name = ("ipv4", "force_igmp_version") if version == 4 else ("ipv6", "force_mld_version")
    values = [kernel.sysctl(f"net/{family}/conf/{each}/{name}") for each in ("all", interface)]
    return next((each for each in values if each), 0)
