"""Reading and writing one datagram, or a piece of a stream."""

from __future__ import annotations

import errno
import socket

from attrs import frozen

from txgroupsock.primitives.ancillary import Ancillary
from txgroupsock.primitives.arguments import checked, explained
from txgroupsock.primitives.constants import LINUX
from txgroupsock.primitives.errors import (
    AddressError,
    SocketSetupError,
    TransferError,
    sendAdvice,
)
from txgroupsock.primitives.sockaddr import SocketAddress, describe, toSocketAddress, wildcard

# An ICMP error about an earlier datagram, which the kernel reports once.
_ECHOES = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH})

# Linux then returns a datagram's whole length, also when the buffer holds less (udp(7)).
REPORT_LENGTH = socket.MSG_TRUNC if LINUX else 0


class PeerClosed(TransferError):
    """The other end of a stream has closed it; there is nothing more to read."""


@frozen
class Received:
    """
    What one read gave.

    @ivar size: bytes now in the buffer; 0 is an empty datagram, which UDP allows.
    @ivar length: bytes that the datagram had; more than C{size} if it was truncated.
    @ivar sender: as L{socket.socket.recvfrom} gives it; L{None} on a stream.
    """

    size: int
    length: int
    sender: SocketAddress | None

    @property
    def isTruncated(self) -> bool:
        """Whether the buffer was too small, and the rest of the datagram is lost."""
        return self.length > self.size


def readSocket(sock: socket.socket, buffer: bytearray | memoryview) -> Received | None:
    """
    Read one datagram, or what a stream has, into a buffer.

    @return: L{None} if there is nothing to read now.  An ICMP error about an earlier datagram
        (ECONNREFUSED, EHOSTUNREACH) is no news about reading, and is L{None} too.
    @raise PeerClosed: a stream has ended.
    @raise TransferError: any other error.
    """
    isStream = getattr(sock, "type", None) == socket.SOCK_STREAM
    try:
        room = memoryview(buffer).nbytes
        length, sender = sock.recvfrom_into(buffer, 0, 0 if isStream else REPORT_LENGTH)
    except OSError as error:
        if _isWait(error) or (error.errno in _ECHOES and not isStream):
            return None
        raise TransferError(error.errno, "read from the socket") from error
    except (AttributeError, TypeError) as error:
        raise explained(error, readSocket, sock=sock, buffer=buffer) from None
    if isStream:
        if not length and room:
            raise PeerClosed(None, "read from the stream", reason="the peer has closed it")
        return Received(length, length, None)
    return Received(min(length, room), length, sender)


def writeSocket(
    sock: socket.socket,
    address: SocketAddress | None,
    data: bytes | bytearray | memoryview,
    ancillary: Ancillary | None = None,
) -> int:
    """
    Send one datagram, or a piece of a stream.  Never raises SIGPIPE (MSG_NOSIGNAL).

    @param address: numeric; L{None} on a connected socket.  See
        L{txgroupsock.primitives.sockaddr.toSocketAddress}.
    @param ancillary: TTL, interface and so on of this message alone; see
        L{txgroupsock.primitives.ancillary.ancillaryFor}.
    @return: bytes taken; on a stream these may be fewer than there were.
    @raise TransferError: with the C{errno} that the kernel gave: EAGAIN (the buffer is
        full), ENOBUFS, EMSGSIZE, ENETUNREACH, EPERM and so on stay apart.
    @raise AddressError: the address is none that this socket can send to.
    """
    try:
        return sock.sendmsg([data], ancillary or (), getattr(socket, "MSG_NOSIGNAL", 0), address)
    except socket.gaierror as error:
        raise AddressError(
            errno.EINVAL,
            f"send to {address and address[0]!r}",
            reason=f"it is no numeric address of this socket's family ({error.strerror})",
        ) from error
    except OSError as error:
        number = errno.EAGAIN if _isWait(error) else error.errno
        size = memoryview(data).nbytes
        where = f" to {describe(address)}" if address else ""
        raise TransferError(
            number, f"send {size} byte{'' if size == 1 else 's'}{where}", sendAdvice(number)
        ) from error
    except (AttributeError, TypeError) as error:
        raise explained(error, writeSocket, sock=sock, address=address, data=data) from None


@checked
def getSourcePort(sock: socket.socket) -> int:
    """
    The port that a socket sends from; an unbound one is bound to one of the kernel's choice.

    @raise SocketSetupError: it cannot be bound, or is closed.
    """
    try:
        if not sock.getsockname()[1]:
            sock.bind(toSocketAddress(wildcard(sock.family), 0))
        return int(sock.getsockname()[1])
    except OSError as error:
        raise SocketSetupError(error.errno, "bind to a port of the kernel's choice") from error


def _isWait(error: OSError) -> bool:
    """Whether a call would have waited, or did, as long as C{settimeout} lets it."""
    return isinstance(error, BlockingIOError) or (
        isinstance(error, TimeoutError) and error.errno is None  # ETIMEDOUT is a lost connection
    )
