"""
What the kernel knows of one datagram's arrival: where it was sent to, by which interface it
came, when, and how long it was.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Final

from attrs import frozen

from txgroupsock.primitives.arguments import checked, explained
from txgroupsock.primitives.constants import (
    IP_PKTINFO,
    IP_RECVERR,
    IPV6_PKTINFO,
    IPV6_RECVERR,
    IPV6_RECVPKTINFO,
    SO_TIMESTAMPNS,
    UDP_GRO,
    required,
)
from txgroupsock.primitives.io import REPORT_LENGTH
from txgroupsock.primitives.options import settingOption
from txgroupsock.primitives.sockaddr import IPAddress, fromSocketAddress

_PKTINFO: Final = struct.Struct("@i4s4s")  # struct in_pktinfo: ifindex, spec_dst, addr
_PKTINFO6: Final = struct.Struct("@16sI")  # struct in6_pktinfo: addr, ifindex
_TIMESPEC: Final = struct.Struct("@qq")  # seconds, nanoseconds
_SEGMENT: Final = struct.Struct("@i")
_ROOM: Final = sum(socket.CMSG_SPACE(each.size) for each in (_PKTINFO6, _TIMESPEC, _SEGMENT))

# struct sock_extended_err (linux/errqueue.h): ee_errno, origin, type, code, pad, info, data
_EXTENDED_ERROR: Final = struct.Struct("@I4BII")
_ERRORS: Final = frozenset({(socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)})


@frozen
class Arrival:
    """
    How one datagram arrived.

    @ivar sender: C{(host, port)}.
    @ivar destination: the address that it was sent to, which tells groups apart; L{None}
        where the system does not say.
    @ivar interface: index of the interface that it came by; 0 where the system does not say.
    @ivar time: when the kernel had it, in seconds since the epoch; L{None} where it does not
        say.
    @ivar length: bytes that it had; more than there are if it was truncated.
    """

    sender: tuple[str, int]
    destination: IPAddress | None
    interface: int
    time: float | None
    length: int


@checked
def recordArrivals(sock: socket.socket, *, wanted: bool = True) -> None:
    """
    Have the kernel tell what L{receiveArrival} gives (IP_PKTINFO, IPV6_RECVPKTINFO,
    SO_TIMESTAMPNS), as far as this system can.

    @param wanted: L{False} has it tell no longer.
    @raise SocketOptionError: the kernel refused.
    """
    v4 = sock.family == socket.AF_INET
    option = IP_PKTINFO if v4 else IPV6_RECVPKTINFO
    if option is not None:
        with settingOption("ask for each datagram's destination"):
            sock.setsockopt(socket.IPPROTO_IP if v4 else socket.IPPROTO_IPV6, option, wanted)
    if SO_TIMESTAMPNS is not None:
        with settingOption("ask for each datagram's time"):
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, wanted)


def receiveArrival(sock: socket.socket, buffer: bytearray | memoryview) -> tuple[int, Arrival]:
    """
    Receive one datagram into a buffer.

    @return: how many bytes of the buffer it fills, and how it arrived.
    @raise OSError: as C{recvmsg} raises it, BlockingIOError if nothing has arrived.
    """
    size, _, arrival = receiveArrivals(sock, buffer)
    return size, arrival


def receiveArrivals(
    sock: socket.socket, buffer: bytearray | memoryview
) -> tuple[int, int, Arrival]:
    """
    Receive one datagram into a buffer, or, on a socket where UDP_GRO is set, maybe a train of
    them.

    @return: how many bytes of the buffer are filled, the size of each datagram in them but the
        last, and how they arrived, with the length of all.
    @raise OSError: as C{recvmsg} raises it, BlockingIOError if nothing has arrived.
    """
    try:
        size, ancillary, flags, sender = sock.recvmsg_into([buffer], _ROOM, REPORT_LENGTH)
    except (AttributeError, TypeError) as error:
        raise explained(error, receiveArrivals, sock=sock, buffer=buffer) from None
    length = size
    segment = None
    if flags & socket.MSG_TRUNC:
        size = min(size, len(buffer))
        length = max(length, size + 1)
    destination: IPAddress | None = None
    interface = 0
    time: float | None = None
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            interface, _, packed = _PKTINFO.unpack(data)
            destination = ipaddress.IPv4Address(packed)
        elif level == socket.IPPROTO_IPV6 and kind == IPV6_PKTINFO:
            packed, interface = _PKTINFO6.unpack(data)
            destination = ipaddress.IPv6Address(packed)
        elif level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            time = seconds + nanoseconds / 1e9
        elif level == socket.IPPROTO_UDP and kind == UDP_GRO:
            segment = _SEGMENT.unpack(data)[0]
    arrival = Arrival(fromSocketAddress(sender), destination, interface, time, length)
    return size, segment or length, arrival


@checked
def recordDestinationErrors(sock: socket.socket, *, wanted: bool = True) -> None:
    """
    Have the kernel keep what ICMP says of datagrams that this socket sent (IP_RECVERR,
    IPV6_RECVERR, ip(7); Linux), for L{receiveDestinationReport}.

    @param wanted: L{False} has it keep them no longer, and forget those that it has.
    @raise NotSupportedHere: this system cannot.
    """
    v4 = sock.family == socket.AF_INET
    option = required(IP_RECVERR if v4 else IPV6_RECVERR, "IP_RECVERR")
    with settingOption("ask for errors about destinations"):
        sock.setsockopt(socket.IPPROTO_IP if v4 else socket.IPPROTO_IPV6, option, wanted)


def receiveDestinationReport(sock: socket.socket) -> tuple[tuple[str, int], int] | None:
    """
    The next thing that ICMP said of a datagram.

    @return: where that datagram was sent to, and the errno, such as ECONNREFUSED (nobody
        listens there) or EHOSTUNREACH; L{None} for what is no such report.
    @raise OSError: as C{recvmsg} raises it, BlockingIOError if there is nothing.
    """
    try:
        _, ancillary, _, destination = sock.recvmsg(0, 512, socket.MSG_ERRQUEUE)
    except (AttributeError, TypeError) as error:
        raise explained(error, receiveDestinationReport, sock=sock) from None
    for level, kind, data in ancillary:
        if (level, kind) in _ERRORS and destination and len(data) >= _EXTENDED_ERROR.size:
            return fromSocketAddress(destination), _EXTENDED_ERROR.unpack_from(data)[0]
    return None
