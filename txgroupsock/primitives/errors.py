"""
Errors of the primitives: what was attempted, on what, the errno, and what to do about it.

Every one is an L{OSError} that keeps C{errno}, so code that looks at that still works.
"""

from __future__ import annotations

import errno as _errno
import os
from typing import Any, TypeVar


class Restorable(BaseException):
    """
    An exception that can be copied and pickled whatever its constructor takes: it comes back with
    its C{args} and attributes, without the constructor being called again.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


_Error = TypeVar("_Error", bound=BaseException)


def _restored(kind: type[_Error], args: tuple[Any, ...], attributes: dict[str, Any]) -> _Error:
    error = kind.__new__(kind, *args)
    builtin = next(each for each in kind.__mro__ if each.__module__ == "builtins")
    builtin.__init__(error, *args)  # type: ignore[misc] # what sets errno, or code
    error.__dict__.update(attributes)
    return error


class GroupsockError(Restorable, OSError):
    """
    A socket operation failed.

    @ivar operation: what was attempted, such as C{"join 232.1.1.1 from 10.0.0.1 on eth0"}.
    @ivar advice: what to do about it, or C{""}.
    """

    operation = ""
    advice = ""

    def __init__(
        self, number: int | None, operation: str, advice: str = "", reason: str | None = None
    ) -> None:
        """
        @param number: the errno, or L{None} when the kernel was never asked.
        @param operation: what was attempted.
        @param advice: what to do about it.
        @param reason: what went wrong, where the errno's own text would mislead.
        """
        if reason is None:
            reason = os.strerror(number) if number is not None else ""
        parts = [f"cannot {operation}"]
        if reason:
            parts.append(f": {reason}")
        if advice:
            parts.append(f"; {advice}")
        super().__init__(number, "".join(parts))
        self.operation = operation
        self.advice = advice

    def __str__(self) -> str:
        return str(self.strerror)


class SocketSetupError(GroupsockError):
    """A socket could not be created or bound; its descriptor is closed."""


class SocketOptionError(GroupsockError):
    """A socket option was refused."""


class TransferError(GroupsockError):
    """A datagram could not be sent or received."""


class AddressError(GroupsockError, ValueError):
    """Something that should be an IP address, or an address of one kind, is not."""


class UnknownInterface(GroupsockError, LookupError):
    """No network interface has that name, index or address."""


class NotSupportedHere(GroupsockError):
    """This operating system, or this kernel, cannot do that."""


def readSysctl(name: str) -> int | None:
    """
    The present value of a Linux sysctl, or L{None} where it cannot be read.

    @param name: dotted, such as C{"net.ipv4.igmp_max_memberships"}.
    """
    try:
        with open("/proc/sys/" + name.replace(".", "/")) as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def sysctlAdvice(name: str) -> str:
    """How to raise a limit: the sysctl, and what it is now."""
    now = readSysctl(name)
    # Some exist only in the first network namespace, and are hidden from containers.
    known = "not visible in this network namespace" if now is None else f"now {now}"
    return f"raise {name} ({known}) with 'sysctl -w'"


_SEND_ADVICE = {
    _errno.EAGAIN: "the send buffer is full: wait until the socket is writable, or enlarge it",
    _errno.EACCES: "a broadcast address needs SO_BROADCAST",
    _errno.ECONNREFUSED: "nobody had that port open when an earlier message arrived there",
    _errno.EINVAL: "is the port 0, or the source address not one of this host's?",
    _errno.EPERM: "a firewall on this host refuses it: look at 'nft list ruleset'",
    _errno.EMSGSIZE: "UDP carries at most 65,507 bytes over IPv4; less where the path "
    "forbids fragments",
    _errno.ENETUNREACH: "no route leads there from the source address: name an interface, or add "
    "a route",
    _errno.EHOSTUNREACH: "nobody answers for that address on its link",
    _errno.ENOBUFS: "the interface's queue is full: send slower or raise its txqueuelen",
    _errno.ENODEV: "the interface is gone",
    _errno.EADDRNOTAVAIL: "the source address is not one of this host's",
}


def sendAdvice(number: int | None) -> str:
    """What to do about an errno from sending a datagram, or C{""}."""
    return _SEND_ADVICE.get(number or 0, "")


def descriptorAdvice(number: int | None) -> str:
    """What to do if an errno says that there are no descriptors left, or C{""}."""
    if number in (_errno.EMFILE, _errno.ENFILE):
        return "close sockets or raise the limit of open files ('ulimit -n')"
    return ""


def bindAdvice(number: int | None, port: int) -> str:
    """What to do about an errno from binding a socket to a port, or C{""}."""
    if number == _errno.EADDRINUSE:
        return (
            "another socket has this port and does not share it: stop that program "
            f"('ss -lntup sport = :{port}' names it), or choose another port"
        )
    if number == _errno.EACCES:
        start = readSysctl("net.ipv4.ip_unprivileged_port_start")
        return (
            f"ports below {1024 if start is None else start} need root or "
            "CAP_NET_BIND_SERVICE: start as root, or choose a higher port"
        )
    if number == _errno.EADDRNOTAVAIL:
        return "no interface of this host has that address ('ip address' lists them)"
    if number == _errno.EINVAL:
        return "a link-local address needs its interface, as in 'fe80::1%eth0'"
    return ""
