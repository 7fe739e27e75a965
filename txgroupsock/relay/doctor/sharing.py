"""
Other programs that have the port: who keeps it, and who hears what it never asked for.

A socket that is bound to the wildcard hears, on Linux, every group that anybody on the host has
joined (IP_MULTICAST_ALL, ip(7)), unless it was told not to.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from txgroupsock.primitives.constants import IP_MULTICAST_ALL, IPV6_MULTICAST_ALL, LINUX
from txgroupsock.relay.doctor.finding import Finding
from txgroupsock.relay.doctor.kernel import Program, UDPSocket
from txgroupsock.relay.models.udp import InputModel

_PIDFD_GETFD: Final = 438  # on every architecture of Linux, since 5.6


def taken(
    subject: str,
    model: InputModel,
    error: OSError,
    sockets: Sequence[UDPSocket],
    owners: Mapping[int, Program],
    *,
    isKnown: bool = True,
) -> Finding | None:
    """
    Somebody has the port and does not share it; L{None} if that is a relay, as it should be.

    @param error: what binding to it gave.
    @param sockets: those of others that have it.
    @param isKnown: whether these are all.
    """
    if not sockets and isKnown:
        return Finding(
            "port",
            "fault",
            subject,
            f"two of these inputs want port {model.port}, and unicast does not share it",
            (str(error), "/proc/net/udp: no other program has it"),
            "give one of them another port, or the unicast one an address of this host",
        )
    known = [owners[each.inode] for each in sockets if each.inode in owners]
    if any(each.isRelay for each in known):
        return None
    lines = tuple(
        f"/proc/net/udp: {each.address} port {each.port}, inode {each.inode}, "
        f"{owners.get(each.inode, 'a program that this user may not see')}"
        for each in sockets
    )
    port = model.port
    remedy = f"stop that program ('ss -lnup sport = :{port}' names it), or choose another port"
    if known:
        who = ", ".join(dict.fromkeys(map(str, known)))
        text = f"{who} has port {port} and does not share it"
        return Finding("port", "fault", subject, text, (str(error), *lines), remedy)
    text = f"some program has port {port} and does not share it; if it is the relay, all is well"
    return Finding("port", "doubt", subject, text, (str(error), *lines), f"if not: {remedy}")


def checkLeaks(
    subject: str,
    model: InputModel,
    sockets: Sequence[UDPSocket],
    owners: Mapping[int, Program],
    hearsAll: Mapping[int, bool],
) -> Iterator[Finding]:
    """
    Whether other programs hear this group without having joined it.

    @param sockets: those that have the port.
    @param hearsAll: by inode, whether a socket hears every group; those of which that is not known
        are left out.
    """
    for each in sockets:
        if not each.address.is_unspecified or hearsAll.get(each.inode) is False:
            continue
        who = owners.get(each.inode)
        name = "a program that this user may not see" if who is None else str(who)
        isKnown = each.inode in hearsAll
        option = "IP_MULTICAST_ALL" if model.address.version == 4 else "IPV6_MULTICAST_ALL"
        evidence = [f"/proc/net/udp: {each.address} port {each.port}, inode {each.inode}, {name}"]
        if isKnown:
            evidence.append(f"getsockopt of that socket: {option} is 1")
        yield Finding(
            "leak",
            "doubt" if isKnown else "note",
            subject,
            f"{name} is bound to every address of this host on port {each.port}, and so "
            f"{'hears' if isKnown else 'may hear'} every group that is joined here, this one too",
            tuple(evidence),
            f"have that program bind to the group that it wants, or clear {option}; or give this "
            "stream another port",
        )


def optionsOf(
    sockets: Sequence[UDPSocket], owners: Mapping[int, Program], version: int
) -> dict[int, bool]:
    """
    Which sockets of other programs hear every group, by inode; those that may not be asked are
    left out (pidfd_getfd(2), with the rights of ptrace(2)).

    @param version: of IP, 4 or 6.
    """
    found = {}
    for each in sockets:
        owner = owners.get(each.inode)
        if owner is None or not each.address.is_unspecified:
            continue
        try:
            found[each.inode] = _hearsAll(owner, version)
        except OSError:
            continue
    return found


def _hearsAll(owner: Program, version: int) -> bool:
    option = IP_MULTICAST_ALL if version == 4 else IPV6_MULTICAST_ALL
    if not LINUX or option is None:
        raise OSError("only Linux lets the sockets of others be asked")
    process = os.pidfd_open(owner.pid)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        copy = libc.syscall(_PIDFD_GETFD, process, owner.descriptor, 0)
        if copy < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
    finally:
        os.close(process)
    with socket.socket(fileno=copy) as sock:
        if version == 4:
            isOnlySix = sock.family == socket.AF_INET6 and sock.getsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
            )
            return not isOnlySix and bool(sock.getsockopt(socket.IPPROTO_IP, option))
        return bool(sock.getsockopt(socket.IPPROTO_IPV6, option))
