"""
What comes to the interfaces of this host, before the kernel's filters: AF_PACKET (packet(7)).

It only looks: no datagram is taken from anybody.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from typing import Final

from txgroupsock.primitives.sockaddr import IPAddress, isMulticast, withoutScope
from txgroupsock.relay.doctor.packet import ETH_P_IP, ETH_P_IPV6, Packet, Query, packetIn
from txgroupsock.relay.doctor.tally import Flow, Tallies, tallyOf

_SO_ATTACH_FILTER: Final = 26
_SOL_PACKET, _PACKET_VNET_HDR = 263, 15
_OTHER_HOST, _OUTGOING = 3, 4
_WITH_ETHERNET: Final = (1, 772)  # ARPHRD_ETHER, ARPHRD_LOOPBACK
_SNAP: Final = 160  # bytes of a packet: its headers
_VNET: Final = struct.Struct("=BBHHHH")  # struct virtio_net_hdr
_BUFFER: Final = 4 * 1024 * 1024
_MOST_READS: Final = 1000  # before others have their turn

# Classic BPF (linux/filter.h); offsets are from the network header.
_NET: Final = 0x100000000 - 0x100000
_LDB, _LDH, _LDW, _LDX, _LDH_X = 0x30, 0x28, 0x20, 0xB1, 0x48
_JEQ, _JSET, _RET = 0x15, 0x45, 0x06


class Capture:
    """
    Counts the datagrams to a group, or to a port, on every interface, and hears queries.

    @ivar tallies: what came of each stream.
    @ivar queries: each with the name of the interface.
    """

    def __init__(self, address: IPAddress, port: int) -> None:
        """
        @param address: a group, of which every port is looked at; of others, only C{port}.
        @raise OSError: it may not be done, or not here.
        """
        if not hasattr(socket, "AF_PACKET"):
            raise OSError(errno.EAFNOSUPPORT, "this system has no packet sockets")
        protocol = ETH_P_IP if address.version == 4 else ETH_P_IPV6
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_PACKET, kind, socket.htons(protocol))
        self.tallies: Tallies = {}
        self.queries: set[tuple[str, Query]] = set()
        self._segments = False
        try:
            self._attach(filterFor(address, port))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._countSegments(wanted=True)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Capture:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor."""
        return self._socket.fileno()

    def read(self) -> None:
        """Count what has come."""
        for _ in range(_MOST_READS):
            try:
                data, where = self._socket.recvfrom(_SNAP + _VNET.size)
            except BlockingIOError:
                return
            except OSError as error:
                # Before Linux 6.2 it cannot say of a train of datagrams that it is one.
                if error.errno != errno.EINVAL or not self._segments:
                    return  # such as ENETDOWN, of one interface
                self._countSegments(wanted=False)
                continue
            self._take(data, where)

    def _take(self, data: bytes, where: tuple[str, int, int, int, bytes]) -> None:
        name, protocol, direction, hardware, _ = where
        if direction in (_OTHER_HOST, _OUTGOING):
            return
        segment = 0
        if self._segments:
            segment = _VNET.unpack_from(data)[3]
            data = data[_VNET.size :]
        if hardware in _WITH_ETHERNET:
            data = data[14:]
        found = packetIn(data, protocol)
        if isinstance(found, Query):
            if len(self.queries) < 64:
                self.queries.add((name, found))
        elif isinstance(found, Packet):
            flow = Flow(found.source, found.destination, found.port, name)
            count = -(-found.size // segment) if segment and found.size else 1
            size = min(found.size, segment) if segment else found.size
            tally = tallyOf(flow, self.tallies)
            tally.add(size, found.ttl, count=count, isFragment=found.isFragment)

    def _attach(self, program: list[tuple[int, int, int, int]]) -> None:
        code = ctypes.create_string_buffer(
            b"".join(struct.pack("=HBBI", *each) for each in program)
        )
        described = struct.pack("HP", len(program), ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)

    def _countSegments(self, *, wanted: bool) -> None:
        """Have each packet come with the size of the datagrams in it, if it is a train of some."""
        try:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, int(wanted))
            self._segments = wanted
        except OSError:
            self._segments = False


def filterFor(address: IPAddress, port: int) -> list[tuple[int, int, int, int]]:
    """
    Classic BPF that lets through what a L{Capture} looks at: UDP to a group, or to a port;
    queries; fragments.  Each instruction is its code, two jumps and an operand.
    """
    packed = withoutScope(address).packed
    group = packed if isMulticast(address) else b""
    return _filter4(group, port) if address.version == 4 else _filter6(group, port)


def _filter4(group: bytes, port: int) -> list[tuple[int, int, int, int]]:
    isGroup = [(_LDW, 0, 0, _NET + 16), (_JEQ, 5, 0, int.from_bytes(group, "big"))] if group else []
    rest = len(isGroup)
    return [
        (_LDB, 0, 0, _NET + 9),
        (_JEQ, 6 + rest, 0, 2),
        (_JEQ, 0, 6 + rest, _UDP),
        *isGroup,
        (_LDH, 0, 0, _NET + 6),
        (_JSET, 4, 0, 0x1FFF),
        (_LDX, 0, 0, _NET),
        (_LDH_X, 0, 0, _NET + 2),
        (_JEQ, 0, 1, port),
        (_RET, 0, 0, _SNAP),
        (_RET, 0, 0, 0),
    ]


def _filter6(group: bytes, port: int) -> list[tuple[int, int, int, int]]:
    words = [int.from_bytes(group[at : at + 4], "big") for at in range(0, len(group), 4)]
    isGroup: list[tuple[int, int, int, int]] = []
    for place, word in enumerate(words):
        left = 2 * (len(words) - place - 1)  # instructions of the words that follow
        isGroup += [(_LDW, 0, 0, _NET + 24 + 4 * place), (_JEQ, 0, left + 1, word)]
    if not words:
        isGroup = [(_RET, 0, 0, 0)]
    count = len(isGroup)
    return [
        (_LDB, 0, 0, _NET + 6),
        (_JEQ, 4 + count, 0, 0),  # hop-by-hop options, as MLD has
        (_JEQ, 3 + count, 0, 44),
        (_JEQ, 0, 3 + count, _UDP),
        (_LDH, 0, 0, _NET + 42),
        (_JEQ, count, 0, port),
        *isGroup,
        (_RET, 0, 0, _SNAP),
        (_RET, 0, 0, 0),
    ]


_UDP: Final = 17
