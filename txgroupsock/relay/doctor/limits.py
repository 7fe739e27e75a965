"""Memberships against the limits of the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from txgroupsock.primitives import MembershipError
from txgroupsock.primitives.errors import GroupsockError
from txgroupsock.relay.doctor.finding import Finding
from txgroupsock.relay.models.udp import InputModel

CHECK = "membership"


def checkLimits(
    subject: str, model: InputModel, sysctl: Callable[[str], int | None]
) -> Iterator[Finding]:
    """
    Whether an input may join what it wants to.

    @param sysctl: gives a number under C{/proc/sys}, or L{None}.
    """
    v4 = model.address.version == 4
    name = "net/ipv4/igmp_max_msf" if v4 else "net/ipv6/mld_max_msf"
    most, count = sysctl(name), len(model.sources)
    if most is not None and count > most:
        yield Finding(
            CHECK,
            "fault",
            subject,
            f"it has {count} sources, and a socket may have {most}",
            (f"/proc/sys/{name}: {most}",),
            f"'sysctl -w {name}={count}'",
        )
    memberships = sysctl("net/ipv4/igmp_max_memberships")
    if v4 and memberships is not None and memberships < 1:
        yield Finding(
            CHECK,
            "fault",
            subject,
            "a socket may have no groups at all",
            (f"/proc/sys/net/ipv4/igmp_max_memberships: {memberships}",),
            "'sysctl -w net/ipv4/igmp_max_memberships=20'",
        )


def notJoined(subject: str, error: OSError) -> Finding:
    """The group could not be joined, or no socket be had, for whatever reason the kernel gave."""
    advice = error.advice if isinstance(error, GroupsockError) else ""
    return Finding(
        CHECK,
        "fault",
        subject,
        "the group cannot be joined"
        if isinstance(error, MembershipError)
        else "no socket can be opened to listen",
        (str(error),),
        advice or "see what the error says",
    )
