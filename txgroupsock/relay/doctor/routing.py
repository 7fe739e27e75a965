"""Which interface the routing table chooses, and whether there is a route at all."""

from __future__ import annotations

from txgroupsock.primitives.sockaddr import IPAddress, isMulticast
from txgroupsock.relay.doctor.finding import Finding

CHECK = "route"


def noRoute(subject: str, address: IPAddress, error: OSError, interface: str = "") -> Finding:
    """The kernel knows no way to an address, by an interface if one was asked for."""
    by = f" by {interface}" if interface else ""
    if isMulticast(address):
        prefix = "224.0.0.0/4" if address.version == 4 else "ff00::/8"
        table = "" if address.version == 4 else " table local type multicast"
        remedy = (
            "name the interface in the URL (interface=eth0), or add a route: "
            f"'ip route add {prefix} dev {interface or 'eth0'}{table}'"
        )
        if address.version == 6:
            remedy = (
                f"name the interface in the URL (interface=eth0): {prefix} has a route for each"
            )
    else:
        remedy = f"add one: 'ip route add {address} via ROUTER', or a default route"
    return Finding(
        CHECK,
        "fault",
        subject,
        f"no route leads to {address}{by}",
        (f"rtnetlink (as 'ip route get {address}'): {error.strerror or error}",),
        remedy,
    )


def elsewhere(subject: str, expected: str, found: str, evidence: str) -> Finding:
    """The stream arrives, but by another interface than the one where it is joined."""
    return Finding(
        CHECK,
        "fault",
        subject,
        f"the stream arrives by {found}, and is joined on {expected}",
        (evidence,),
        f"have interface={found} in the URL",
    )
