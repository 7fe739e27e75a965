"""What a port has counted."""

from __future__ import annotations

import socket
import struct
from collections import Counter

from attrs import define, field

from txgroupsock.primitives.constants import SO_MEMINFO

# struct sock_diag's SK_MEMINFO_* array of u32 (linux/sock_diag.h); the ninth counts drops.
_MEMINFO = struct.Struct("@9I")
_SK_MEMINFO_DROPS = 8


@define
class PortStatistics:
    """
    Counts since a port was opened, in datagrams and in bytes of payload.

    @ivar datagramsReceived: handed to the protocol.
    @ivar bytesReceived: in those.
    @ivar datagramsTruncated: larger than C{maxPacketSize}; dropped, not cut.
    @ivar datagramsSent: taken by the kernel.
    @ivar bytesSent: in those.
    @ivar datagramsDropped: not sent, for whatever reason, and not going to be.
    @ivar datagramsQueued: waiting now for room in the kernel's send buffer.
    @ivar sendErrors: how often each errno kept a datagram from being sent.
    @ivar receiveErrors: how often each errno came from receiving.
    """

    datagramsReceived: int = 0
    bytesReceived: int = 0
    datagramsTruncated: int = 0
    datagramsSent: int = 0
    bytesSent: int = 0
    datagramsDropped: int = 0
    datagramsQueued: int = 0
    sendErrors: Counter[int] = field(factory=Counter)
    receiveErrors: Counter[int] = field(factory=Counter)


def kernelDrops(sock: socket.socket) -> int | None:
    """
    Datagrams that the kernel dropped because a socket's receive buffer was full.

    @return: L{None} where the kernel does not tell (SO_MEMINFO, Linux 4.12).
    """
    if SO_MEMINFO is None:
        return None
    try:
        answer = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
    except OSError:
        return None
    return int(_MEMINFO.unpack(answer)[_SK_MEMINFO_DROPS])
