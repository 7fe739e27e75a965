"""
What an IP packet is, as far as the doctor wants to know: pure.

IPv4 (RFC 791), IPv6 (RFC 8200), UDP (RFC 768), queries of IGMP (RFC 3376 section 7.1) and of MLD
(RFC 3810 section 8.1).
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

from attrs import frozen

from txgroupsock.primitives.sockaddr import IPAddress

ETH_P_IP: Final = 0x0800
ETH_P_IPV6: Final = 0x86DD
_IGMP, _UDP, _ICMP6 = 2, 17, 58
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _OPTIONS = 0, 43, 44, 60


@frozen
class Packet:
    """
    A UDP datagram, or a fragment of one.

    @ivar port: where it is sent to; 0 for a fragment that is not the first.
    @ivar size: bytes of payload, as its header says.
    """

    source: IPAddress
    destination: IPAddress
    port: int
    ttl: int
    size: int
    isFragment: bool


@frozen
class Query:
    """
    Somebody asks who is a member of a group.

    @ivar version: of IGMP, 1 to 3, or of MLD, 1 or 2.
    """

    source: IPAddress
    version: int


def packetIn(data: bytes, protocol: int) -> Packet | Query | None:
    """
    What a packet is; L{None} if it is something else, or no packet.

    @param data: its beginning at least, headers included.
    @param protocol: its EtherType.
    """
    try:
        if protocol == ETH_P_IP:
            return _in4(data)
        if protocol == ETH_P_IPV6:
            return _in6(data)
    except (struct.error, IndexError, ValueError):  # it is too short
        pass
    return None


def _in4(data: bytes) -> Packet | Query | None:
    header = 4 * (data[0] & 0xF)
    length, _, place, ttl, kind = struct.unpack_from("!HHHBB", data, 2)
    source, destination = (ipaddress.IPv4Address(data[at : at + 4]) for at in (12, 16))
    if kind == _IGMP:
        if data[header] != 0x11:
            return None
        isNew = length - header >= 12
        return Query(source, 3 if isNew else 2 if data[header + 1] else 1)
    if kind != _UDP:
        return None
    if place & 0x1FFF:  # the offset of a fragment
        return Packet(source, destination, 0, ttl, length - header, isFragment=True)
    port, size = struct.unpack_from("!HH", data, header + 2)
    return Packet(source, destination, port, ttl, size - 8, isFragment=bool(place & 0x2000))


def _in6(data: bytes) -> Packet | Query | None:
    length, kind, ttl = struct.unpack_from("!HBB", data, 4)
    source, destination = (ipaddress.IPv6Address(data[at : at + 16]) for at in (8, 24))
    at = 40
    isFragment = False
    while kind in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _OPTIONS):
        following = data[at]
        if kind == _FRAGMENT:
            isFragment = True
            if struct.unpack_from("!H", data, at + 2)[0] & 0xFFF8:
                size = length + 40 - at - 8
                isOurs = following == _UDP
                return (
                    Packet(source, destination, 0, ttl, size, isFragment=True) if isOurs else None
                )
            at += 8
        else:
            at += 8 * (data[at + 1] + 1)
        kind = following
    if kind == _ICMP6:
        return Query(source, 2 if length + 40 - at >= 28 else 1) if data[at] == 130 else None
    if kind != _UDP:
        return None
    port, size = struct.unpack_from("!HH", data, at + 2)
    return Packet(source, destination, port, ttl, size - 8, isFragment=isFragment)
