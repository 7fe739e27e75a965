"""
Parsers for what multicast needs of the frames on a link.

They are pure, take any bytes, and give None for what they cannot make sense of.  They check
lengths but no checksums, which virtual links leave to be filled in by hardware.
"""

from __future__ import annotations

import socket
import struct
from enum import IntEnum

from attrs import frozen

__all__ = [
    "Ethernet",
    "Frame",
    "GroupRecord",
    "Packet",
    "RecordKind",
    "UDPFrame",
    "parseEthernet",
    "parseFrame",
    "parseIGMP",
    "parseIPv4",
    "parseIPv6",
    "parseMLD",
    "parseUDP",
]


class RecordKind(IntEnum):
    """What a group record says (RFC 3376, 4.2.12; the same in RFC 3810)."""

    MODE_IS_INCLUDE = 1
    MODE_IS_EXCLUDE = 2
    CHANGE_TO_INCLUDE_MODE = 3
    CHANGE_TO_EXCLUDE_MODE = 4
    ALLOW_NEW_SOURCES = 5
    BLOCK_OLD_SOURCES = 6


@frozen
class Ethernet:
    """An Ethernet frame without its addresses' meaning."""

    destination: str
    source: str
    type: int
    payload: bytes


@frozen
class Packet:
    """An unfragmented IPv4 or IPv6 packet; C{protocol} is that after all extension headers."""

    source: str
    destination: str
    protocol: int
    #: Time to live or hop limit.
    ttl: int
    dscp: int
    #: Whether routers have to look at it (RFC 2113, RFC 2711), as at every membership report.
    routerAlert: bool
    payload: bytes


@frozen
class GroupRecord:
    """
    What a report says of one group.

    The messages of older versions are given as RFC 3376, 7.3.2 translates them: a report is
    MODE_IS_EXCLUDE, a leave CHANGE_TO_INCLUDE_MODE, both without sources.
    """

    kind: RecordKind
    group: str
    sources: tuple[str, ...]


@frozen
class UDPFrame:
    """A datagram as it is on the link."""

    source: str
    destination: str
    sourcePort: int
    destinationPort: int
    #: Time to live or hop limit.
    ttl: int
    dscp: int
    payload: bytes
    sourceMAC: str


@frozen
class Frame:
    """A captured frame; what it does not contain is None, or empty."""

    data: bytes
    #: Sent by the host that was captured on, not received by it.
    outgoing: bool
    ethernet: Ethernet | None
    packet: Packet | None
    #: The records of an IGMP or MLD report.
    records: tuple[GroupRecord, ...]
    udp: UDPFrame | None


def parseFrame(data: bytes, *, outgoing: bool = False) -> Frame:
    """All that can be known of a frame."""
    ethernet = parseEthernet(data)
    packet: Packet | None = None
    records: tuple[GroupRecord, ...] | None = None
    udp: UDPFrame | None = None
    if ethernet is not None and ethernet.type in _PACKET_PARSERS:
        packet = _PACKET_PARSERS[ethernet.type](ethernet.payload)
    if ethernet is not None and packet is not None:
        if packet.protocol == socket.IPPROTO_UDP:
            udp = parseUDP(ethernet, packet)
        elif (ethernet.type, packet.protocol) == (_IPV4, socket.IPPROTO_IGMP):
            records = parseIGMP(packet.payload)
        elif (ethernet.type, packet.protocol) == (_IPV6, socket.IPPROTO_ICMPV6):
            records = parseMLD(packet.payload)
    return Frame(data, outgoing, ethernet, packet, records or (), udp)


def parseEthernet(data: bytes) -> Ethernet | None:
    """An Ethernet II frame."""
    if len(data) < 14:
        return None
    (ethernetType,) = struct.unpack_from("!H", data, 12)
    return Ethernet(data[:6].hex(":"), data[6:12].hex(":"), ethernetType, data[14:])


def parseIPv4(data: bytes) -> Packet | None:
    """An IPv4 packet with its options (RFC 791); a fragment is not one."""
    if len(data) < 20 or data[0] >> 4 != 4:
        return None
    headerLength = (data[0] & 0xF) * 4
    (totalLength,) = struct.unpack_from("!H", data, 2)
    (fragment,) = struct.unpack_from("!H", data, 6)
    if not 20 <= headerLength <= totalLength <= len(data) or fragment & 0x3FFF:
        return None
    options = _options(data[20:headerLength], pad=1, end=0, lengthIncludesHeader=True)
    if options is None:
        return None
    return Packet(
        source=socket.inet_ntop(socket.AF_INET, data[12:16]),
        destination=socket.inet_ntop(socket.AF_INET, data[16:20]),
        protocol=data[9],
        ttl=data[8],
        dscp=data[1] >> 2,
        routerAlert=0x94 in options,
        payload=data[headerLength:totalLength],
    )


def parseIPv6(data: bytes) -> Packet | None:
    """An IPv6 packet with its extension headers (RFC 8200); a fragment is not one."""
    if len(data) < 40 or data[0] >> 4 != 6:
        return None
    payloadLength, protocol, hopLimit = struct.unpack_from("!HBB", data, 4)
    payload = data[40 : 40 + payloadLength]
    if len(payload) < payloadLength:
        return None
    routerAlert = False
    while protocol in (socket.IPPROTO_HOPOPTS, socket.IPPROTO_ROUTING, socket.IPPROTO_DSTOPTS):
        if len(payload) < 8:
            return None
        length = (payload[1] + 1) * 8
        if len(payload) < length:
            return None
        if protocol == socket.IPPROTO_HOPOPTS:
            options = _options(payload[2:length], pad=0, end=None, lengthIncludesHeader=False)
            if options is None:
                return None
            routerAlert = 0x05 in options
        protocol, payload = payload[0], payload[length:]
    if protocol == socket.IPPROTO_FRAGMENT:
        return None
    return Packet(
        source=socket.inet_ntop(socket.AF_INET6, data[8:24]),
        destination=socket.inet_ntop(socket.AF_INET6, data[24:40]),
        protocol=protocol,
        ttl=hopLimit,
        dscp=(struct.unpack_from("!H", data)[0] >> 6) & 0x3F,
        routerAlert=routerAlert,
        payload=payload,
    )


def parseUDP(ethernet: Ethernet, packet: Packet) -> UDPFrame | None:
    """A UDP datagram (RFC 768)."""
    if len(packet.payload) < 8:
        return None
    sourcePort, destinationPort, length = struct.unpack_from("!HHH", packet.payload)
    if not 8 <= length <= len(packet.payload):
        return None
    return UDPFrame(
        source=packet.source,
        destination=packet.destination,
        sourcePort=sourcePort,
        destinationPort=destinationPort,
        ttl=packet.ttl,
        dscp=packet.dscp,
        payload=packet.payload[8:length],
        sourceMAC=ethernet.source,
    )


def parseIGMP(data: bytes) -> tuple[GroupRecord, ...] | None:
    """The records of an IGMP report or leave of any version (RFC 3376, 4.2)."""
    if len(data) < 8:
        return None
    if data[0] == 0x22:
        return _groupRecords(data, socket.AF_INET)
    kinds = {
        0x12: RecordKind.MODE_IS_EXCLUDE,
        0x16: RecordKind.MODE_IS_EXCLUDE,
        0x17: RecordKind.CHANGE_TO_INCLUDE_MODE,
    }
    if data[0] not in kinds:
        return None
    return (GroupRecord(kinds[data[0]], socket.inet_ntop(socket.AF_INET, data[4:8]), ()),)


def parseMLD(data: bytes) -> tuple[GroupRecord, ...] | None:
    """The records of an MLD report or done of either version (RFC 3810, 5.2; RFC 2710)."""
    if len(data) < 8:
        return None
    if data[0] == 143:
        return _groupRecords(data, socket.AF_INET6)
    kinds = {131: RecordKind.MODE_IS_EXCLUDE, 132: RecordKind.CHANGE_TO_INCLUDE_MODE}
    if data[0] not in kinds or len(data) < 24:
        return None
    return (GroupRecord(kinds[data[0]], socket.inet_ntop(socket.AF_INET6, data[8:24]), ()),)


def _groupRecords(data: bytes, family: socket.AddressFamily) -> tuple[GroupRecord, ...] | None:
    """IGMPv3 and MLDv2 reports differ in nothing but the size of an address."""
    size = 4 if family == socket.AF_INET else 16
    (count,) = struct.unpack_from("!H", data, 6)
    records = []
    offset = 8
    for _ in range(count):
        if len(data) < offset + 4:
            return None
        kind, auxiliaryWords, sourceCount = struct.unpack_from("!BBH", data, offset)
        start = offset + 4
        offset = start + size * (1 + sourceCount) + 4 * auxiliaryWords
        if len(data) < offset:
            return None
        group, *sources = (
            socket.inet_ntop(family, data[at : at + size])
            for at in range(start, start + size * (1 + sourceCount), size)
        )
        if kind in _KINDS:  # others are to be ignored (RFC 3376, 4.2.12)
            records.append(GroupRecord(RecordKind(kind), group, tuple(sources)))
    return tuple(records)


def _options(
    data: bytes, *, pad: int, end: int | None, lengthIncludesHeader: bool
) -> set[int] | None:
    """The types of the options in an IPv4 header or a hop-by-hop header; None if they overrun."""
    types = set()
    offset = 0
    while offset < len(data) and data[offset] != end:
        if data[offset] == pad:
            offset += 1
            continue
        if len(data) < offset + 2:
            return None
        length = data[offset + 1] + (0 if lengthIncludesHeader else 2)
        if length < 2 or len(data) < offset + length:
            return None
        types.add(data[offset])
        offset += length
    return types


_IPV4 = 0x0800
_IPV6 = 0x86DD
_PACKET_PARSERS = {_IPV4: parseIPv4, _IPV6: parseIPv6}
_KINDS = frozenset(RecordKind)
