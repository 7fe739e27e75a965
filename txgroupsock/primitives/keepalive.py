"""TCP keep-alive: finding out that a silent peer has gone."""

from __future__ import annotations

import errno
import socket
import sys

from attrs import frozen

from txgroupsock.primitives.arguments import checked, typed
from txgroupsock.primitives.constants import (
    DARWIN,
    TCP_KEEPALIVE_DARWIN,
    TCP_USER_TIMEOUT,
    required,
)
from txgroupsock.primitives.errors import SocketOptionError
from txgroupsock.primitives.options import settingOption

# The largest that Linux takes (include/net/tcp.h): MAX_TCP_KEEPIDLE, _KEEPINTVL, _KEEPCNT.
_MOST_SECONDS = 32767
_MOST_PROBES = 127
_MOST_USER_TIMEOUT = 2**31 // 1000


@frozen(field_transformer=typed)
class KeepAlive:
    """
    When to look for a silent peer, and when to give it up: after
    C{idle + interval * count} seconds of silence the connection is lost.

    @ivar idle: seconds of silence before the first probe (TCP_KEEPIDLE, tcp(7)).
    @ivar interval: seconds between probes (TCP_KEEPINTVL).
    @ivar count: unanswered probes that end the connection (TCP_KEEPCNT).
    @ivar userTimeout: seconds that sent data may stay unacknowledged before the
        connection is lost (TCP_USER_TIMEOUT, RFC 5482; Linux), or L{None} to leave that to
        the kernel's retransmission limit.  Keep-alive probes are not sent while data is
        unacknowledged, so without it a peer that vanishes under traffic is noticed late.
        With it, C{count} no longer matters: a silent connection is lost at the first probe
        that falls due when so much silence has passed (tcp(7)).
    """

    idle: int = 180
    interval: int = 20
    count: int = 5
    userTimeout: float | None = None

    def __attrs_post_init__(self) -> None:
        for name, value, most in (
            ("idle", self.idle, _MOST_SECONDS),
            ("interval", self.interval, _MOST_SECONDS),
            ("count", self.count, _MOST_PROBES),
        ):
            if not 1 <= value <= most:
                raise SocketOptionError(
                    errno.EINVAL, f"use a keep-alive {name} of {value}", f"it is from 1 to {most}"
                )
        if self.userTimeout is not None and not 0.001 <= self.userTimeout <= _MOST_USER_TIMEOUT:
            raise SocketOptionError(
                errno.EINVAL,
                f"use a user timeout of {self.userTimeout} s",
                f"it is from 0.001 to {_MOST_USER_TIMEOUT}",
            )


@checked
def setSocketKeepAlive(
    sock: socket.socket,
    idle: int = 180,
    interval: int = 20,
    count: int = 5,
    userTimeout: float | None = None,
) -> None:
    """
    Have the kernel probe a silent peer; the parameters are those of L{KeepAlive}.

    @raise SocketOptionError: a value is out of range (then no option was set), or the
        kernel refused one.
    """
    wanted = KeepAlive(idle, interval, count, userTimeout)
    if sys.platform == "win32":  # one call sets all; the count is fixed at 10
        sock.ioctl(socket.SIO_KEEPALIVE_VALS, (1, wanted.idle * 1000, wanted.interval * 1000))
        return
    options: list[tuple[int, int]] = [
        (TCP_KEEPALIVE_DARWIN if DARWIN else socket.TCP_KEEPIDLE, wanted.idle),
        (socket.TCP_KEEPINTVL, wanted.interval),
        (socket.TCP_KEEPCNT, wanted.count),
    ]
    if wanted.userTimeout is not None:
        option = required(TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT")
        options.append((option, round(wanted.userTimeout * 1000)))
    elif TCP_USER_TIMEOUT is not None:
        options.append((TCP_USER_TIMEOUT, 0))  # an earlier one is not left in place
    timing = f"{wanted.idle} s idle, {wanted.count} probes {wanted.interval} s apart"
    with settingOption(f"keep the connection alive ({timing})", "is it a TCP socket?"):
        for option, value in options:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


@checked
def clearSocketKeepAlive(sock: socket.socket) -> None:
    """
    Have the kernel probe no more, and clear the user timeout.

    @raise SocketOptionError: the kernel refused that.
    """
    with settingOption("no longer keep the connection alive", "is it a TCP socket?"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
        if TCP_USER_TIMEOUT is not None:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, 0)


@checked
def getSocketKeepAlive(sock: socket.socket) -> KeepAlive | None:
    """
    What the kernel will do about a silent peer; L{None} if it probes for none.

    A time that is longer than can be set (the C{net.ipv4.tcp_keepalive_*} sysctls allow that)
    is given as the longest that can be.

    @raise SocketOptionError: it could not be read.
    @raise NotSupportedHere: this system does not tell.
    """
    idleOption = required(
        TCP_KEEPALIVE_DARWIN if DARWIN else getattr(socket, "TCP_KEEPIDLE", None), "TCP_KEEPIDLE"
    )
    with settingOption("read how the connection is kept alive", "is it a TCP socket?"):
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
            return None
        idle = sock.getsockopt(socket.IPPROTO_TCP, idleOption)
        interval = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        count = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        milliseconds = 0
        if TCP_USER_TIMEOUT is not None:
            milliseconds = sock.getsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT)
    return KeepAlive(
        min(idle, _MOST_SECONDS),
        min(interval, _MOST_SECONDS),
        min(count, _MOST_PROBES),
        min(milliseconds / 1000, _MOST_USER_TIMEOUT) or None,
    )
