"""What the kernel knows of a TCP connection."""

from __future__ import annotations

import errno
import socket
import struct
import sys

from attrs import frozen

from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.constants import LINUX
from txgroupsock.primitives.errors import NotSupportedHere
from txgroupsock.primitives.options import settingOption

# struct tcp_info (linux/tcp.h) as far as every kernel since 2.6.10 has it: eight bytes, then
# 32-bit words. Later kernels append to it.
_TCP_INFO = struct.Struct("@8B24I")
_BYTES_ACKNOWLEDGED = struct.Struct("@120xQ")  # tcpi_bytes_acked; Linux 4.1
_BYTES_UNSENT = struct.Struct("@144xI")  # tcpi_notsent_bytes; Linux 4.6
_MICROSECONDS = 1_000_000  # in a second
_MILLISECONDS = 1_000

# The states' names, in the order of the kernel's numbers (include/net/tcp_states.h).
_STATES = (
    "",
    "ESTABLISHED",
    "SYN-SENT",
    "SYN-RECEIVED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "CLOSED",
    "CLOSE-WAIT",
    "LAST-ACK",
    "LISTEN",
    "CLOSING",
)


@frozen
class ConnectionState:
    """
    What the kernel knows of a TCP connection (TCP_INFO, tcp(7)).

    @ivar state: RFC 9293's name of its state, such as C{"ESTABLISHED"}.
    @ivar roundTripTime: smoothed, in seconds (RFC 6298).
    @ivar roundTripVariance: its mean deviation, in seconds.
    @ivar retransmissionTimeout: seconds until a segment without acknowledgement is sent again.
    @ivar silence: seconds since data came from the peer, or since the connection began;
        answers to keep-alive probes carry none.
    @ivar unacknowledged: segments sent and not acknowledged yet.
    @ivar retransmits: how often, in a row, the oldest of them has been sent again.
    @ivar totalRetransmits: segments sent again since the connection began.
    @ivar probes: keep-alive or window probes without an answer, in a row.
    @ivar congestionWindow: segments that may be under way at once.
    @ivar segmentSize: bytes of payload in a full segment.
    @ivar bytesAcknowledged: bytes that the peer has acknowledged since the connection began;
        L{None} before Linux 4.1.
    @ivar bytesUnsent: bytes that the kernel has not even sent yet; L{None} before Linux 4.6.
    """

    state: str
    roundTripTime: float
    roundTripVariance: float
    retransmissionTimeout: float
    silence: float
    unacknowledged: int
    retransmits: int
    totalRetransmits: int
    probes: int
    congestionWindow: int
    segmentSize: int
    bytesAcknowledged: int | None = None
    bytesUnsent: int | None = None


@checked
def getConnectionState(sock: socket.socket) -> ConnectionState:
    """
    What the kernel knows of a TCP connection now; one system call.

    @raise SocketOptionError: it could not be read: the socket is closed, or no TCP socket.
    @raise NotSupportedHere: not Linux, whose C{struct tcp_info} this reads.
    """
    if not LINUX:
        raise NotSupportedHere(
            errno.EOPNOTSUPP, "read TCP_INFO", reason=f"{sys.platform} lays it out in another way"
        )
    with settingOption("read the state of the connection", "is it a TCP socket?"):
        answer = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_UNSENT.size)
    if len(answer) < _TCP_INFO.size:
        raise NotSupportedHere(
            errno.EOPNOTSUPP, "read TCP_INFO", reason="this kernel is too old to tell all of it"
        )
    fields = _TCP_INFO.unpack_from(answer)
    number, _, retransmits, probes = fields[:4]
    words = fields[8:]
    return ConnectionState(
        state=_STATES[number] if number < len(_STATES) else str(number),
        roundTripTime=words[15] / _MICROSECONDS,
        roundTripVariance=words[16] / _MICROSECONDS,
        retransmissionTimeout=words[0] / _MICROSECONDS,
        silence=words[11] / _MILLISECONDS,
        unacknowledged=words[4],
        retransmits=retransmits,
        totalRetransmits=words[23],
        probes=probes,
        congestionWindow=words[18],
        segmentSize=words[2],
        bytesAcknowledged=_appended(_BYTES_ACKNOWLEDGED, answer),
        bytesUnsent=_appended(_BYTES_UNSENT, answer),
    )


def _appended(field: struct.Struct, answer: bytes) -> int | None:
    """A field that older kernels do not have."""
    if len(answer) < field.size:
        return None
    value: int = field.unpack_from(answer)[0]
    return value
