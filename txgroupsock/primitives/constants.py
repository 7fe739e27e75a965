"""
The one table of platform constants: what CPython's L{socket} leaves out.

Python gained the source-specific IPv4 options in 3.12 and has none of the
protocol-independent C{MCAST_*} ones (RFC 3678 section 5), so both the numbers and
the places where they differ between kernels stand here and nowhere else.  A
constant that a kernel does not have is L{None}; L{required} turns that into an
error which says so.
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import Final

from txgroupsock.primitives.errors import NotSupportedHere

LINUX: Final = sys.platform.startswith("linux")
DARWIN: Final = sys.platform == "darwin"
FREEBSD: Final = sys.platform.startswith("freebsd")


def _pick(*, linux: int, darwin: int | None = None, freebsd: int | None = None) -> int | None:
    """The number that this kernel gives a constant, or L{None}."""
    if LINUX:
        return linux
    if DARWIN:
        return darwin
    if FREEBSD:
        return freebsd
    return None


# Protocol-independent membership, RFC 3678 section 5.1 (linux/in.h, netinet/in.h).
# The numbers are the same at level IPPROTO_IP and IPPROTO_IPV6.
MCAST_JOIN_GROUP = _pick(linux=42, darwin=80, freebsd=80)
MCAST_LEAVE_GROUP = _pick(linux=45, darwin=81, freebsd=81)
MCAST_JOIN_SOURCE_GROUP = _pick(linux=46, darwin=82, freebsd=82)
MCAST_LEAVE_SOURCE_GROUP = _pick(linux=47, darwin=83, freebsd=83)
MCAST_BLOCK_SOURCE = _pick(linux=43, darwin=84, freebsd=84)
MCAST_UNBLOCK_SOURCE = _pick(linux=44, darwin=85, freebsd=85)

# The full filter.  Linux alone takes a struct group_filter as a socket option; elsewhere
# setsourcefilter(3) makes an ioctl-like call with a pointer, out of Python's reach.
MCAST_MSFILTER = _pick(linux=48)
MCAST_EXCLUDE: Final = 0 if LINUX else 2
MCAST_INCLUDE: Final = 1

# Linux: 1 (the default) delivers to a wildcard socket whatever any process on the host joined.
IP_MULTICAST_ALL = _pick(linux=49)
IPV6_MULTICAST_ALL = _pick(linux=29)

# The interface that unicast leaves by, as its index in network byte order.
IP_UNICAST_IF = _pick(linux=50)
IPV6_UNICAST_IF = _pick(linux=76)
# Ancillary data that chooses the sending interface and source address of one message.
IP_PKTINFO = _pick(linux=8, darwin=26)
IPV6_PKTINFO = getattr(socket, "IPV6_PKTINFO", _pick(linux=50, darwin=46, freebsd=46))
# Ancillary data that sets the TTL of one message; only Linux takes IP_TTL there.
IP_TTL_PER_MESSAGE = _pick(linux=2)
IPV6_HOPLIMIT = getattr(socket, "IPV6_HOPLIMIT", _pick(linux=52, darwin=47, freebsd=47))

# Segmentation offload: many datagrams of one size handed over, or received, as one (udp(7)).
UDP_SEGMENT = _pick(linux=103)
UDP_GRO = _pick(linux=104)
# Kernel timestamps of arrival in nanoseconds (socket(7)); the numbers are of 64-bit Linux.
SO_TIMESTAMPNS = _pick(linux=35)
# The destination address and arriving interface of each datagram.
IP_RECVERR = _pick(linux=11)
IPV6_RECVERR = _pick(linux=25)
IPV6_RECVPKTINFO = getattr(socket, "IPV6_RECVPKTINFO", _pick(linux=49, darwin=61, freebsd=36))
# Ancillary data that tells the TTL or hop limit of each datagram, and the size of its largest
# fragment, if it came in some.
IP_RECVTTL = _pick(linux=12, darwin=24, freebsd=65)
IPV6_RECVHOPLIMIT = getattr(socket, "IPV6_RECVHOPLIMIT", _pick(linux=51, darwin=37, freebsd=37))
IP_RECVFRAGSIZE = _pick(linux=25)
IPV6_RECVFRAGSIZE = _pick(linux=77)

# Messages about changes (linux/rtnetlink.h): of links, of IPv4 and of IPv6 addresses as a mask to
# bind to; of IPv4 and of IPv6 routes as groups to join.
RTMGRP_CHANGES = _pick(linux=0x1 | 0x10 | 0x100)
RTNLGRP_ROUTES: Final = (7, 11)
SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP: Final = 1

SIOCGIFFLAGS = _pick(linux=0x8913, darwin=0xC0206911, freebsd=0xC0206911)

# Buffer sizes beyond net.core.[rw]mem_max, for CAP_NET_ADMIN (socket(7)).
SO_SNDBUFFORCE = _pick(linux=32)
SO_RCVBUFFORCE = _pick(linux=33)
# Memory accounting of a socket, an array of nine u32 (linux/sock_diag.h); [8] counts drops.
SO_MEMINFO = _pick(linux=55)

TCP_KEEPALIVE_DARWIN: Final = 0x10  # netinet/tcp.h: the idle time, in seconds
TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", _pick(linux=18))
SO_NOSIGPIPE = None if LINUX else _pick(linux=0, darwin=0x1022, freebsd=0x0800)


def required(value: int | None, name: str) -> int:
    """
    The value of a constant that the call at hand cannot do without.

    @raise NotSupportedHere: this system has no such option.
    """
    if value is None:
        raise NotSupportedHere(
            errno.EOPNOTSUPP, f"use {name}", reason=f"{sys.platform} does not offer it to Python"
        )
    return value
