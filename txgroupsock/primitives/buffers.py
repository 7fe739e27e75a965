"""
Socket buffer sizes, without Linux's doubling.

Linux keeps, and reports, twice what it was asked for, the other half being for its own
book-keeping (socket(7)).  Here every figure is in the unit in which one asks, so what was
requested and what was granted can be compared.
"""

from __future__ import annotations

import errno
import socket

from attrs import frozen

from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.constants import LINUX, SO_RCVBUFFORCE, SO_SNDBUFFORCE
from txgroupsock.primitives.errors import SocketOptionError, readSysctl, sysctlAdvice
from txgroupsock.primitives.options import settingOption


@frozen
class BufferSize:
    """
    What became of a request for a buffer.

    @ivar requested: bytes asked for.
    @ivar granted: bytes that the kernel gives.
    @ivar sysctl: the limit that holds for those who may not pass it, or C{""}.
    """

    requested: int
    granted: int
    sysctl: str

    @property
    def isClamped(self) -> bool:
        """Whether the kernel gave less than was asked for."""
        return self.granted < self.requested

    @property
    def advice(self) -> str:
        """How to get what was requested, or C{""} if it was granted."""
        if not self.isClamped or not self.sysctl:
            return ""
        return sysctlAdvice(self.sysctl)


@frozen
class _Direction:
    name: str
    option: int
    force: int | None
    sysctl: str


_SEND = _Direction("send", socket.SO_SNDBUF, SO_SNDBUFFORCE, "net.core.wmem_max" if LINUX else "")
_RECEIVE = _Direction(
    "receive", socket.SO_RCVBUF, SO_RCVBUFFORCE, "net.core.rmem_max" if LINUX else ""
)


@checked
def getSendBufferSize(sock: socket.socket) -> int:
    """Bytes of the send buffer (SO_SNDBUF; half of what Linux reports)."""
    return _get(sock, _SEND)


@checked
def getReceiveBufferSize(sock: socket.socket) -> int:
    """Bytes of the receive buffer (SO_RCVBUF; half of what Linux reports)."""
    return _get(sock, _RECEIVE)


@checked
def setSendBufferTo(sock: socket.socket, size: int, *, force: bool = False) -> BufferSize:
    """
    Ask for a send buffer of this many bytes.

    @param force: pass net.core.wmem_max where permitted (SO_SNDBUFFORCE, CAP_NET_ADMIN).
    """
    return _set(sock, _SEND, size, force=force)


@checked
def setReceiveBufferTo(sock: socket.socket, size: int, *, force: bool = False) -> BufferSize:
    """
    Ask for a receive buffer of this many bytes.

    @param force: pass net.core.rmem_max where permitted (SO_RCVBUFFORCE, CAP_NET_ADMIN).
    """
    return _set(sock, _RECEIVE, size, force=force)


@checked
def increaseSendBufferTo(sock: socket.socket, size: int, *, force: bool = False) -> BufferSize:
    """Ask for a send buffer of at least this many bytes; never makes it smaller."""
    return _increase(sock, _SEND, size, force=force)


@checked
def increaseReceiveBufferTo(sock: socket.socket, size: int, *, force: bool = False) -> BufferSize:
    """Ask for a receive buffer of at least this many bytes; never makes it smaller."""
    return _increase(sock, _RECEIVE, size, force=force)


def _get(sock: socket.socket, direction: _Direction) -> int:
    with settingOption(f"read the size of the {direction.name} buffer"):
        reported = sock.getsockopt(socket.SOL_SOCKET, direction.option)
    return reported // 2 if LINUX else reported


def _set(sock: socket.socket, direction: _Direction, size: int, *, force: bool) -> BufferSize:
    _check(direction, size)
    if not (force and _forced(sock, direction, size)):
        with settingOption(f"set a {direction.name} buffer of {size} bytes"):
            sock.setsockopt(socket.SOL_SOCKET, direction.option, size)
    return BufferSize(size, _get(sock, direction), direction.sysctl)


def _check(direction: _Direction, size: int) -> None:
    if not 0 <= size < 2**30:  # Linux doubles it into an int
        raise SocketOptionError(
            errno.EINVAL,
            f"use a {direction.name} buffer of {size} bytes",
            "it is from 0 to less than 1 GiB",
        )


def _forced(sock: socket.socket, direction: _Direction, size: int) -> bool:
    if direction.force is None:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, direction.force, size)
    except OSError:  # whatever it is, the plain option fails in the same way or works
        return False
    return True


def _accepts(sock: socket.socket, direction: _Direction, size: int) -> bool:
    try:
        sock.setsockopt(socket.SOL_SOCKET, direction.option, size)
    except OSError:  # the BSDs refuse what they cannot give
        return False
    return True


def _increase(sock: socket.socket, direction: _Direction, size: int, *, force: bool) -> BufferSize:
    _check(direction, size)
    before = _get(sock, direction)
    if before < size and force and _forced(sock, direction, size):
        return BufferSize(size, _get(sock, direction), direction.sysctl)
    # Linux does not refuse a size over its limit but cuts it, below `before` if that was forced.
    limit = readSysctl(direction.sysctl) if direction.sysctl else None
    wanted = size if limit is None else min(size, limit)
    while wanted > before and not _accepts(sock, direction, wanted):
        wanted = before + (wanted - before) // 2
    return BufferSize(size, _get(sock, direction), direction.sysctl)
