"""The options of an in-memory socket, and what of them travels with a message."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from typing import TYPE_CHECKING

from attrs import define

from txgroupsock.primitives import constants
from txgroupsock.primitives.ancillary import Ancillary
from txgroupsock.primitives.sockaddr import IPAddress, isMulticast
from txgroupsock.testing.grouptable import refusal

if TYPE_CHECKING:
    from txgroupsock.testing.memorysocket import Received

_IP, _IPV6, _UDP = socket.IPPROTO_IP, socket.IPPROTO_IPV6, socket.IPPROTO_UDP
_BUFFER = 212992  # net.core.rmem_default and wmem_default

# struct in_pktinfo: ifindex, spec_dst, addr; struct in6_pktinfo: addr, ifindex
_PKTINFO, _PKTINFO6 = struct.Struct("@i4s4s"), struct.Struct("@16sI")

_UNKNOWN = frozenset({getattr(socket, "SO_BINDTODEVICE", None)})

_DEFAULTS = {
    socket.AF_INET: {
        (_IP, socket.IP_TTL): 64,
        (_IP, socket.IP_TOS): 0,
        (_IP, socket.IP_MULTICAST_TTL): 1,
        (_IP, socket.IP_MULTICAST_LOOP): 1,
        (_IP, constants.IP_MULTICAST_ALL): 1,
        (_IP, constants.IP_PKTINFO): 0,
        (_IP, constants.IP_RECVERR): 0,
    },
    socket.AF_INET6: {
        (_IPV6, socket.IPV6_V6ONLY): 0,
        (_IPV6, socket.IPV6_UNICAST_HOPS): 64,
        (_IPV6, socket.IPV6_TCLASS): 0,
        (_IPV6, socket.IPV6_MULTICAST_HOPS): 1,
        (_IPV6, socket.IPV6_MULTICAST_LOOP): 1,
        (_IPV6, socket.IPV6_MULTICAST_IF): 0,
        (_IPV6, constants.IPV6_MULTICAST_ALL): 1,
        (_IPV6, constants.IPV6_RECVPKTINFO): 0,
        (_IPV6, constants.IPV6_RECVERR): 0,
    },
}


@define
class Message:
    """What a message is sent with: ancillary data where it has some, else the socket's options."""

    dscp: int
    ttl: int | None = None
    interface: int = 0
    source: IPAddress | None = None
    segmentSize: int = 0


class SocketOptions:
    """
    The options of one socket.

    @ivar multicastInterface: index of where multicast leaves; 0: by the routes.
    @ivar multicastSource: the address that IP_MULTICAST_IF was given with it, or L{None}.
    """

    def __init__(self, family: socket.AddressFamily) -> None:
        self._isIPv4 = family == socket.AF_INET
        self._values: dict[tuple[int, int | None], int | bytes] = {
            **_DEFAULTS[family],
            (_UDP, constants.UDP_SEGMENT): 0,
            (socket.SOL_SOCKET, socket.SO_RCVBUF): _BUFFER,
            (socket.SOL_SOCKET, socket.SO_SNDBUF): _BUFFER,
            (socket.SOL_SOCKET, socket.SO_TYPE): int(socket.SOCK_DGRAM),
        }
        self.multicastInterface = 0
        self.multicastSource: IPAddress | None = None

    def set(self, level: int, option: int, value: int | bytes) -> None:
        """
        Take a value.

        @raise OSError: ENOPROTOOPT if there is no such option here.
        """
        if (level, option) == (_IP, socket.IP_MULTICAST_IF) and isinstance(value, bytes):
            # struct ip_mreqn, ip(7); this package sends no other form
            _, packed, self.multicastInterface = struct.unpack("@4s4si", value)
            self.multicastSource = ipaddress.IPv4Address(packed) if any(packed) else None
            return
        if isinstance(value, bytes) and len(value) == 4:
            (value,) = struct.unpack("@i", value)
        isKnown = level == socket.SOL_SOCKET and option not in _UNKNOWN
        if not isKnown and (level, option) not in self._values:
            raise refusal(errno.ENOPROTOOPT)
        if (level, option) == (_IPV6, socket.IPV6_MULTICAST_IF):
            self.multicastInterface = int(value)
        self._values[level, option] = value if isinstance(value, bytes) else int(value)
        if level == socket.SOL_SOCKET and option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._values[level, option] = 2 * int(value)  # socket(7)

    def get(self, level: int, option: int, size: int = 0) -> int | bytes:
        """
        Give a value, as an integer, or as bytes if a size is given.

        @raise OSError: ENOPROTOOPT if there is no such option here.
        """
        if (level, option) == (_IP, socket.IP_MULTICAST_IF):
            return self.multicastSource.packed if self.multicastSource else bytes(4)
        isKnown = level == socket.SOL_SOCKET and option not in _UNKNOWN
        value = self._values.get((level, option), 0 if isKnown else None)
        if value is None:
            raise refusal(errno.ENOPROTOOPT)
        if size and isinstance(value, int):
            return struct.pack("@i", value)[:size]
        return value

    def isSet(self, level: int, option: int | None) -> bool:
        """Whether an option is there and not 0."""
        return bool(self._values.get((level, option), 0))

    @property
    def loops(self) -> bool:
        """Whether this host's members hear multicast that is sent."""
        if self._isIPv4:
            return self.isSet(_IP, socket.IP_MULTICAST_LOOP)
        return self.isSet(_IPV6, socket.IPV6_MULTICAST_LOOP)

    @property
    def hearsAll(self) -> bool:
        """Whether groups that other sockets joined are heard (IP_MULTICAST_ALL)."""
        if self._isIPv4:
            return self.isSet(_IP, constants.IP_MULTICAST_ALL)
        return self.isSet(_IPV6, constants.IPV6_MULTICAST_ALL)

    @property
    def reportsErrors(self) -> bool:
        """Whether what ICMP says is kept (IP_RECVERR)."""
        if self._isIPv4:
            return self.isSet(_IP, constants.IP_RECVERR)
        return self.isSet(_IPV6, constants.IPV6_RECVERR)

    @property
    def receiveBuffer(self) -> int:
        """Bytes of payload that can wait to be received."""
        return int(self._values[socket.SOL_SOCKET, socket.SO_RCVBUF])

    def ttlFor(self, destination: IPAddress) -> int:
        """The TTL or hop limit of a message that says none itself."""
        if self._isIPv4:
            option = socket.IP_MULTICAST_TTL if isMulticast(destination) else socket.IP_TTL
            return int(self._values[_IP, option])
        isGroup = isMulticast(destination)
        option = socket.IPV6_MULTICAST_HOPS if isGroup else socket.IPV6_UNICAST_HOPS
        return int(self._values[_IPV6, option])

    def forMessage(self, ancillary: Ancillary | tuple[()]) -> Message:
        """
        What a message is sent with.

        @raise OSError: EINVAL for ancillary data that nothing here knows.
        """
        trafficClass = (_IP, socket.IP_TOS) if self._isIPv4 else (_IPV6, socket.IPV6_TCLASS)
        message = Message(int(self._values[trafficClass]) >> 2)
        message.segmentSize = int(self._values[_UDP, constants.UDP_SEGMENT])
        for level, kind, data in ancillary:
            self._read(message, (level, kind), data)
        return message

    def _read(self, message: Message, which: tuple[int, int], data: bytes) -> None:
        if which in ((_IP, constants.IP_TTL_PER_MESSAGE), (_IPV6, constants.IPV6_HOPLIMIT)):
            (message.ttl,) = struct.unpack("@i", data)
        elif which in ((_IP, socket.IP_TOS), (_IPV6, socket.IPV6_TCLASS)):
            message.dscp = struct.unpack("@i", data)[0] >> 2
        elif which == (_IP, constants.IP_PKTINFO):
            message.interface, packed, _ = _PKTINFO.unpack(data)
            message.source = ipaddress.IPv4Address(packed) if any(packed) else None
        elif which == (_IPV6, constants.IPV6_PKTINFO):
            packed, message.interface = _PKTINFO6.unpack(data)
            message.source = ipaddress.IPv6Address(packed) if any(packed) else None
        elif which == (_UDP, constants.UDP_SEGMENT):
            (message.segmentSize,) = struct.unpack("@H", data)
        else:
            raise refusal(errno.EINVAL)

    def ancillaryOf(self, received: Received) -> Ancillary:
        """What was asked for with each datagram: destination and interface, time."""
        items: Ancillary = []
        packed = received.destination.packed
        if self.isSet(_IP, constants.IP_PKTINFO):
            value = _PKTINFO.pack(received.interface, packed, packed)
            items.append((_IP, constants.IP_PKTINFO or 0, value))
        if self.isSet(_IPV6, constants.IPV6_RECVPKTINFO):
            value = _PKTINFO6.pack(packed, received.interface)
            items.append((_IPV6, constants.IPV6_PKTINFO or 0, value))
        if self.isSet(socket.SOL_SOCKET, constants.SO_TIMESTAMPNS):
            seconds, fraction = divmod(received.time, 1)
            value = struct.pack("@qq", int(seconds), round(fraction * 1e9))
            items.append((socket.SOL_SOCKET, constants.SO_TIMESTAMPNS or 0, value))
        return items
