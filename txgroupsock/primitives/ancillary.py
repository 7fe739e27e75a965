"""
What travels with one message instead of being set on its socket.

TTL or hop limit, DSCP, outgoing interface and source address of a datagram as ancillary
data of C{sendmsg} (cmsg(3), RFC 3542 section 6): built once per destination, so one socket
serves every destination and nothing is set per packet.
"""

from __future__ import annotations

import errno
import socket
import struct

from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.constants import (
    IP_PKTINFO,
    IP_TTL_PER_MESSAGE,
    IPV6_HOPLIMIT,
    IPV6_PKTINFO,
    required,
)
from txgroupsock.primitives.errors import AddressError, SocketOptionError
from txgroupsock.primitives.sockaddr import IPAddress, familyName, familyOf, parseAddress

Ancillary = list[tuple[int, int, bytes]]
"""What L{socket.socket.sendmsg} takes: (level, type, data) of each item."""


@checked
def ancillaryFor(
    family: int,
    *,
    ttl: int | None = None,
    dscp: int | None = None,
    interface: int = 0,
    source: IPAddress | None = None,
) -> Ancillary:
    """
    The ancillary data that sends a message in this way; what is not given is left alone.

    @param ttl: IPv4 TTL or IPv6 hop limit, 1 to 255.
    @param dscp: differentiated services code point (RFC 2474), 0 to 63.
    @param interface: index of the interface that it leaves by, whatever the routes say.
    @param source: the address of this host that it comes from.
    @raise SocketOptionError: a value is out of range.
    @raise AddressError: the source is of the other family.
    @raise NotSupportedHere: this system cannot do that per message.
    """
    v4 = family == socket.AF_INET
    items: Ancillary = []
    source = None if source is None else parseAddress(source)
    if not 0 <= interface < 2**31:
        raise SocketOptionError(
            errno.EINVAL,
            f"use the interface index {interface}",
            "indexes are from 1; 0 means any",
        )
    if ttl is not None:
        if not 1 <= ttl <= 255:
            raise SocketOptionError(errno.EINVAL, f"use a TTL of {ttl}", "it is from 1 to 255")
        if v4:
            items.append((socket.IPPROTO_IP, required(IP_TTL_PER_MESSAGE, "IP_TTL"), _int(ttl)))
        else:
            kind = required(IPV6_HOPLIMIT, "IPV6_HOPLIMIT")
            items.append((socket.IPPROTO_IPV6, kind, _int(ttl)))
    if dscp is not None:
        if not 0 <= dscp <= 63:
            raise SocketOptionError(errno.EINVAL, f"use a DSCP of {dscp}", "it is from 0 to 63")
        if v4:
            items.append((socket.IPPROTO_IP, socket.IP_TOS, _int(dscp << 2)))
        else:
            items.append((socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _int(dscp << 2)))
    if source is not None and familyOf(source) != family:
        raise AddressError(
            errno.EAFNOSUPPORT, f"send from {source}", reason=f"the socket is {familyName(family)}"
        )
    if interface or source is not None:
        if v4:
            packed = source.packed if source is not None else bytes(4)
            # struct in_pktinfo: ipi_ifindex, ipi_spec_dst, ipi_addr
            value = struct.pack("@i4s4x", interface, packed)
            items.append((socket.IPPROTO_IP, required(IP_PKTINFO, "IP_PKTINFO"), value))
        else:
            packed = source.packed if source is not None else bytes(16)
            # struct in6_pktinfo: ipi6_addr, ipi6_ifindex
            value = struct.pack("@16sI", packed, interface)
            items.append((socket.IPPROTO_IPV6, required(IPV6_PKTINFO, "IPV6_PKTINFO"), value))
    return items


def _int(value: int) -> bytes:
    return struct.pack("@i", value)
