"""
A destination: an address, and what travels with each message that goes there.

Built once, so that one socket serves any number of destinations and nothing is set per packet.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from typing import Final

from attrs import define, field

from txgroupsock.primitives.ancillary import Ancillary, ancillaryFor
from txgroupsock.primitives.arguments import checked, explained
from txgroupsock.primitives.constants import UDP_SEGMENT, required
from txgroupsock.primitives.errors import AddressError
from txgroupsock.primitives.networkinterface import InterfaceLike, interfaceIndex
from txgroupsock.primitives.segmentation import CANNOT_SEGMENT, Segmentation
from txgroupsock.primitives.sockaddr import (
    IPAddress,
    familyOf,
    parseAddress,
    scopeIndex,
    toSocketAddress,
    withoutScope,
)

WOULD_BLOCK: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK})


@define
class DestinationStatistics:
    """
    What became of the datagrams for one destination.

    @ivar datagramsSent: taken by the kernel.
    @ivar bytesSent: of payload, in those.
    @ivar datagramsSegmented: those of them that were sent many in one call (UDP_SEGMENT).
    @ivar datagramsDropped: not sent.
    @ivar errors: how many of those were lost to each errno.
    @ivar reported: how often each errno came back after datagrams had been sent (ICMP); only
        a L{Flow} is told.
    @ivar segmentationRefused: the errno that sending many in one call met, after which it was
        done one by one; L{None} while it works, or was not tried.
    """

    datagramsSent: int = 0
    bytesSent: int = 0
    datagramsSegmented: int = 0
    datagramsDropped: int = 0
    errors: Counter[int] = field(factory=Counter)
    reported: Counter[int] = field(factory=Counter)
    segmentationRefused: int | None = None


class Destination:
    """
    Somewhere to send to.

    @ivar family: C{AF_INET} or C{AF_INET6}: that of the socket to send by.
    @ivar address: where, with its scope.
    @ivar port: UDP port.
    @ivar ttl: TTL or hop limit; L{None} for the socket's.
    @ivar dscp: differentiated services code point; L{None} for the socket's.
    @ivar interface: index of the interface; 0 leaves it to the routing table.
    @ivar source: the address of this host that it is sent from; L{None} leaves it to the kernel.
    @ivar target: the address as C{sendto} takes it.
    @ivar statistics: what became of what was sent (L{DestinationStatistics}).
    """

    @checked
    def __init__(
        self,
        address: str | IPAddress,
        port: int,
        *,
        ttl: int | None = None,
        dscp: int | None = None,
        interface: InterfaceLike = None,
        source: str | IPAddress | None = None,
    ) -> None:
        """
        @param address: a literal address; an IPv6 one may have a C{%scope}.
        @param port: 1 to 65535.
        @param ttl: 1 to 255.
        @param dscp: 0 to 63 (RFC 2474).
        @param interface: what it leaves by: name, index or address.  For IPv6 with a source
            as well, Linux takes a more specific route by another interface all the same;
            a L{Flow} does not.
        @raise AddressError: an address is none, or the two are of different families.
        @raise SocketOptionError: a number is out of range.
        @raise UnknownInterface: there is no such interface.
        """
        parsed = parseAddress(address)
        if not 1 <= port <= 65535:
            raise AddressError(
                errno.EINVAL, f"send to port {port}", reason="ports are from 1 to 65535"
            )
        self.family = familyOf(parsed)
        self.interface = interfaceIndex(interface)
        needsScope = parsed.version == 6 and (parsed.is_link_local or parsed.is_multicast)
        if needsScope and self.interface and not scopeIndex(parsed):
            parsed = parseAddress(f"{withoutScope(parsed)}%{self.interface}")
        self.address = parsed
        self.port = port
        self.ttl = ttl
        self.dscp = dscp
        self.source = None if source is None else parseAddress(source)
        self.statistics = DestinationStatistics()
        self.target = toSocketAddress(parsed, port)
        self._ancillary: Ancillary = ancillaryFor(
            self.family, ttl=ttl, dscp=dscp, interface=self.interface, source=self.source
        )
        self._segmentation = Segmentation()
        self._segmentSize = 0
        self._segmenting: Ancillary = []

    def __repr__(self) -> str:
        options = [
            f"{name}={value}"
            for name, value in (
                ("ttl", self.ttl),
                ("dscp", self.dscp),
                ("interface", self.interface or None),
                ("source", self.source),
            )
            if value is not None
        ]
        return f"<{type(self).__name__} {' '.join([str(self.address), str(self.port), *options])}>"

    def send(self, sock: socket.socket, datagram: bytes | memoryview) -> bool:
        """
        Send one datagram.  Whatever goes wrong is counted, never raised.

        @return: false if the socket's buffer is full (EAGAIN); then nothing was counted, and
            it is the caller's to try again, or to call L{dropped}.
        """
        try:
            self._hand(sock, datagram, self._ancillary)
        except OSError as error:
            if error.errno in WOULD_BLOCK:
                return False
            self.dropped(1, error.errno)
        except (AttributeError, TypeError) as error:
            raise explained(error, Destination.send, sock=sock, datagram=datagram) from None
        else:
            self.statistics.datagramsSent += 1
            self.statistics.bytesSent += len(datagram)
        return True

    def sendRun(self, sock: socket.socket, data: bytes | memoryview, size: int) -> int:
        """
        Send a run: datagrams of one size, of which the last may be shorter.

        Up to 64 of them with one call where the kernel can cut them up itself (UDP_SEGMENT,
        Linux 4.18), and otherwise one by one.

        @return: how many datagrams were seen to, by sending or by counting them as dropped;
            fewer than there are only if the socket's buffer is full (EAGAIN).
        """
        try:
            total = len(data)
            if total <= size:
                return int(self.send(sock, data))
            view = memoryview(data)
        except TypeError as error:
            raise explained(error, Destination.sendRun, data=data, size=size) from None
        if size < 1:
            raise ValueError(f"size is {size}: a datagram of a run has at least 1 byte")
        at = 0
        while at < total:
            part = view[at : at + self._segmentation.bytesPerCall(size)]
            if len(part) <= size:
                if not self.send(sock, part):
                    break
                self._segmentation.sentAlone()
            else:
                try:
                    self._hand(sock, part, self._segmentingAt(size))
                except (AttributeError, TypeError) as error:
                    raise explained(error, Destination.sendRun, sock=sock, size=size) from None
                except OSError as error:
                    number = error.errno
                    if number in WOULD_BLOCK:
                        break
                    if number in CANNOT_SEGMENT:
                        self._segmentation.refused(size)
                        self.statistics.segmentationRefused = number
                        continue
                    self.dropped(-(-len(part) // size), number)
                else:
                    self._countSegmented(-(-len(part) // size), len(part))
            at += len(part)
        return -(-at // size)

    def dropped(self, count: int, number: int | None) -> None:
        """Count datagrams that were not sent because of an errno."""
        try:
            self.statistics.datagramsDropped += count
            self.statistics.errors[number or 0] += count
        except TypeError as error:
            raise explained(error, Destination.dropped, count=count, number=number) from None

    def _hand(self, sock: socket.socket, data: bytes | memoryview, ancillary: Ancillary) -> None:
        if ancillary:
            sock.sendmsg((data,), ancillary, 0, self.target)
        else:
            sock.sendto(data, self.target)  # 0.4 µs less than sendmsg

    def _segmentingAt(self, size: int) -> Ancillary:
        if size != self._segmentSize:
            self._segmentSize = size
            kind = required(UDP_SEGMENT, "UDP_SEGMENT")
            segment = (socket.IPPROTO_UDP, kind, struct.pack("@H", size))
            self._segmenting = [*self._ancillary, segment]
        return self._segmenting

    def _countSegmented(self, count: int, size: int) -> None:
        statistics = self.statistics
        statistics.datagramsSent += count
        statistics.datagramsSegmented += count
        statistics.bytesSent += size
        statistics.segmentationRefused = None
