"""
Whether the kernel drops what comes by an interface that does not lead back to its sender.

C{rp_filter} (RFC 3704): 1 wants the route to the sender to leave by the same interface, 2 any route
to it; the larger one of C{conf/all} and the interface holds.  IPv6 has none.
"""

from __future__ import annotations

from collections.abc import Callable

from txgroupsock.primitives.sockaddr import IPAddress
from txgroupsock.relay.doctor.finding import Finding
from txgroupsock.relay.doctor.kernel import Kernel
from txgroupsock.relay.doctor.netlink import Link, Route

CHECK = "rp_filter"
COUNTER = "TcpExt.IPReversePathFilter"


def checkReversePath(
    subject: str,
    link: Link,
    source: IPAddress,
    mode: int | None,
    route: Callable[[IPAddress], Route | None],
    nameOf: Callable[[int], str],
    dropped: int,
) -> Finding | None:
    """
    Whether a sender's datagrams are dropped, for where they come by.

    @param mode: of C{rp_filter}, 0 to 2; L{None} if it is not known.
    @param route: how the kernel would send to an address; raises L{OSError}.
    @param dropped: how many datagrams it has dropped for that while somebody listened.
    """
    if not mode or source.version == 6:
        return None
    name = link.name
    setting = f"net.ipv4.conf.{{all,{name}}}.rp_filter: {mode} holds"
    counted = (f"/proc/net/netstat: IPReversePathFilter rose by {dropped:,}",) if dropped else ()
    try:
        found = route(source)
    except OSError as error:
        return Finding(
            CHECK,
            "fault",
            subject,
            f"the kernel drops what {source} sends, since it has no route back to it (rp_filter)",
            (setting, f"the route to {source}: {error.strerror or error}", *counted),
            f"add a route to {source} by {name}: 'ip route add {source} dev {name}'",
        )
    if mode != 1 or found is None or found.interface == link.index:
        return None
    other = nameOf(found.interface)
    return Finding(
        CHECK,
        "fault",
        subject,
        f"the kernel drops what {source} sends: it comes by {name}, and the route back leaves by "
        f"{other} (rp_filter is strict)",
        (setting, f"the route to {source} leaves by {other}", *counted),
        f"'sysctl -w net/ipv4/conf/{name}/rp_filter=2'",
    )


def modeOf(kernel: Kernel, interface: str) -> int | None:
    """What holds for an interface."""
    return kernel.effective("ipv4", "rp_filter", interface)


def droppedAnyway(subject: str, name: str, mode: int | None, dropped: int) -> Finding | None:
    """Datagrams were dropped for that, though nobody knows whose they were."""
    if not mode or not dropped:
        return None
    return Finding(
        CHECK,
        "doubt",
        subject,
        "the kernel drops datagrams for the way that they come by (rp_filter), maybe these",
        (
            f"/proc/net/netstat: IPReversePathFilter rose by {dropped:,}",
            f"net.ipv4.conf.{{all,{name}}}.rp_filter: {mode} holds",
        ),
        f"'sysctl -w net/ipv4/conf/{name}/rp_filter=2'",
    )
