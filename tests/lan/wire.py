"""What is really on a link: a capture of frames, and parsers for what multicast needs of them.

The parsers are pure, take any bytes, and give None for what they cannot make sense of.  They check
lengths but no checksums, which virtual links leave to be filled in by hardware.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.lan.namespaces import Namespace

__all__ = [
    "Capture",
    "Ethernet",
    "Frame",
    "GroupRecord",
    "IReactorForCapture",
    "Packet",
    "RecordKind",
    "UDPFrame",
    "datagram",
    "parseEthernet",
    "parseFrame",
    "parseIGMP",
    "parseIPv4",
    "parseIPv6",
    "parseMLD",
    "parseUDP",
    "report",
]

TIMEOUT = 5.0

Found = TypeVar("Found")


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


class IReactorForCapture(IReactorFDSet, IReactorTime):
    """What L{Capture.until} needs."""


@implementer(IReadDescriptor)
class Capture:
    """
    Every frame that an interface sends or receives, from now until L{close}.

    @raise OSError: the interface does not exist.
    """

    def __init__(self, namespace: Namespace, interface: str = "eth0") -> None:
        everyProtocol = 3  # ETH_P_ALL
        with namespace:
            # Protocol 0 gets nothing, so no frame of another interface slips in before bind().
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            self._socket.bind((interface, everyProtocol))
        except BaseException:
            self._socket.close()
            raise
        self._interface = interface
        self._frames: list[Frame] = []
        self._waiting: list[_Waiting] = []

    def __enter__(self) -> Capture:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def waitFor(self, wanted: Callable[[Frame], Found | None], timeout: float = TIMEOUT) -> Found:
        """
        What C{wanted} finds in a frame since the last L{drain}, in any before or one to come.

        Blocks, and forgets nothing. C{wanted} gets each frame and gives None (or anything false)
        for one it does not want: L{report} and L{datagram} make such functions.

        @raise TimeoutError: nothing within C{timeout} seconds; says what was captured.
        """
        deadline = time.monotonic() + timeout
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        self._collect()
        looked = 0
        while True:
            for frame in self._frames[looked:]:
                found = wanted(frame)
                if found:
                    return found
            looked = len(self._frames)
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise self._notSeen(timeout)
            poll.poll(remaining * 1000)
            self._collect()

    def until(
        self,
        reactor: IReactorForCapture,
        wanted: Callable[[Frame], Found | None],
        timeout: float = TIMEOUT,
    ) -> Deferred[Found]:
        """As L{waitFor}, but while the reactor runs."""
        self._collect()
        waiting = _Waiting(self, reactor, wanted, timeout)
        self._waiting.append(waiting)
        if not any(waiting.look(frame) for frame in self._frames):
            reactor.addReader(self)
        return waiting.result

    def drain(self) -> list[Frame]:
        """All frames since the last call, which later waits then do not look at."""
        self._collect()
        frames, self._frames = self._frames, []
        return frames

    def close(self) -> None:
        """Capture no more; a wait that is under way is cancelled."""
        for waiting in tuple(self._waiting):
            waiting.result.cancel()
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def doRead(self) -> None:
        self._collect()

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def logPrefix(self) -> str:
        return f"capture of {self._interface}"

    def _collect(self) -> None:
        """Read what there is, and tell who waits."""
        while True:
            try:
                data, address = self._socket.recvfrom(1 << 17)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENETDOWN:  # said once, each time the interface goes down
                    continue
                raise
            frame = parseFrame(data, outgoing=address[2] == socket.PACKET_OUTGOING)
            self._frames.append(frame)
            for waiting in tuple(self._waiting):
                if waiting in self._waiting:  # what one wait calls may end another
                    waiting.look(frame)
            if self._socket.fileno() < 0:  # or close this capture
                return

    def _notSeen(self, timeout: float) -> TimeoutError:
        shown = "".join(f"\n  {_describe(frame)}" for frame in self._frames)
        return TimeoutError(f"not seen on {self._interface} in {timeout} s; there was:{shown}")


class _Waiting:
    """One call of L{Capture.until}."""

    def __init__(
        self,
        capture: Capture,
        reactor: IReactorForCapture,
        wanted: Callable[[Frame], Any],
        timeout: float,
    ) -> None:
        self.result: Deferred[Any] = Deferred(lambda result: self._end())
        self._capture = capture
        self._reactor = reactor
        self._wanted = wanted
        self._timeout: IDelayedCall = reactor.callLater(timeout, self._giveUp, timeout)

    def look(self, frame: Frame) -> bool:
        """End the wait if this is what it was for."""
        try:
            found = self._wanted(frame)
        except Exception:  # noqa: BLE001 - the caller's function fails the caller's wait
            self._end()
            self.result.errback()
            return True
        if found:
            self._end()
            self.result.callback(found)
            return True
        return False

    def _giveUp(self, timeout: float) -> None:
        self._end()
        self.result.errback(self._capture._notSeen(timeout))

    def _end(self) -> None:
        if self._timeout.active():
            self._timeout.cancel()
        self._capture._waiting.remove(self)
        if not self._capture._waiting:
            self._reactor.removeReader(self._capture)


# --- What to wait for ----------------------------------------------------------------------------


def report(
    kind: RecordKind, group: str, *sources: str, outgoing: bool | None = None
) -> Callable[[Frame], GroupRecord | None]:
    """Find a record of exactly this content, if given only among frames sent, or received."""
    record = GroupRecord(kind, group, sources)

    def wanted(frame: Frame) -> GroupRecord | None:
        rightWay = outgoing is None or outgoing == frame.outgoing
        return record if rightWay and record in frame.records else None

    return wanted


def datagram(
    payload: bytes | None = None,
    *,
    destination: str | None = None,
    destinationPort: int | None = None,
    outgoing: bool | None = None,
) -> Callable[[Frame], UDPFrame | None]:
    """Find a datagram that has all that is given."""

    def wanted(frame: Frame) -> UDPFrame | None:
        udp = frame.udp
        if udp is None:
            return None
        matches = (
            payload in (None, udp.payload)
            and destination in (None, udp.destination)
            and destinationPort in (None, udp.destinationPort)
            and outgoing in (None, frame.outgoing)
        )
        return udp if matches else None

    return wanted


# --- Parsers -------------------------------------------------------------------------------------


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


def _describe(frame: Frame) -> str:
    way = "sent" if frame.outgoing else "received"
    what = frame.udp or frame.records or frame.packet or frame.ethernet or frame.data.hex()
    return f"{way} {what}"


_IPV4 = 0x0800
_IPV6 = 0x86DD
_PACKET_PARSERS = {_IPV4: parseIPv4, _IPV6: parseIPv6}
_KINDS = frozenset(RecordKind)
