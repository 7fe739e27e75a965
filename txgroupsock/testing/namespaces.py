"""
Network namespaces without names: each lives exactly as long as a descriptor or a socket in it.

Nothing appears under C{/run/netns}, so a killed test process leaves nothing behind.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from types import TracebackType

from txgroupsock.primitives.errors import Restorable

__all__ = ["CommandFailed", "Namespace", "enterPrivateNetwork", "whyNoNamespaces"]

# <linux/sched.h>
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000

# The namespace of the calling *thread*; /proc/self would give the main thread's.
_CURRENT = "/proc/thread-self/ns/net"

# Distributions keep ip(8) and bridge(8) in sbin, which a plain user's PATH often lacks.
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class CommandFailed(Restorable, Exception):
    """A command inside a namespace ended with an error or wrote to its stderr."""

    def __init__(self, command: tuple[str, ...], status: int, stderr: str, stdin: str) -> None:
        self.command = command
        self.status = status
        self.stderr = stderr
        self.stdin = stdin
        lines = [f"{' '.join(command)!r} ended with status {status}: {stderr.strip()}"]
        lines += [f"  {number}: {line}" for number, line in enumerate(stdin.splitlines(), 1)]
        super().__init__("\n".join(lines))


class Namespace:
    """
    A new network namespace, entered with C{with namespace:} by the calling thread only.

    A socket made inside belongs to it for good, so enter, make the socket, leave. Never hold
    one entered across a C{yield} to the reactor: whatever runs meanwhile would be inside too.

    @raise OSError: the kernel refuses a new namespace.
    """

    def __init__(self) -> None:
        previous = _openCurrent()
        try:
            _unshare(_CLONE_NEWNET)
            try:
                self._fd = _openCurrent()
            finally:
                _setns(previous)
        finally:
            os.close(previous)

    def __enter__(self) -> None:
        previous = _openCurrent()
        try:
            _setns(self.fileno())
        except BaseException:
            os.close(previous)
            raise
        _entered.stack.append((self, previous))

    def __exit__(
        self,
        exceptionType: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not _entered.stack or _entered.stack[-1][0] is not self:
            raise RuntimeError(
                "namespaces were left in another order than entered; "
                "was one held across a yield to the reactor?"
            )
        _, previous = _entered.stack.pop()
        try:
            _setns(previous)
        finally:
            os.close(previous)

    def fileno(self) -> int:
        """The descriptor that keeps the namespace alive."""
        if self._fd < 0:
            raise ValueError("this namespace is closed")
        return self._fd

    @property
    def path(self) -> str:
        """A name any child process can use, as in C{ip link set eth0 netns PATH}."""
        return f"/proc/{os.getpid()}/fd/{self.fileno()}"

    @property
    def closed(self) -> bool:
        """Whether L{close} was called."""
        return self._fd < 0

    def close(self) -> None:
        """Let go of the namespace; the kernel removes it once no socket or process is inside."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def run(self, *command: str, stdin: str = "", timeout: float = 10.0) -> str:
        """
        What C{command}, run inside, writes to stdout.

        @raise CommandFailed: a status other than 0, or anything on stderr.
        @raise subprocess.TimeoutExpired: after C{timeout} seconds.
        """
        with self:
            ended = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=timeout,
                env=_environment(),
                check=False,
            )
        if ended.returncode or ended.stderr:
            raise CommandFailed(command, ended.returncode, ended.stderr, stdin)
        return ended.stdout

    def popen(self, *command: str) -> subprocess.Popen[bytes]:
        """Start C{command} inside, with pipes; the caller ends and reaps it."""
        with self:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
            )

    def sysctl(self, name: str, value: int | str) -> None:
        """
        Set a C{net.*} variable of this namespace, as C{net.ipv4.igmp_max_memberships}.

        An interface whose name has a dot needs slashes: C{net/ipv4/conf/eth0.5/rp_filter}.
        """
        path = name if "/" in name else name.replace(".", "/")
        # /proc/sys/net shows the namespace of the task that opens it.
        with self:
            _write(f"/proc/sys/{path}", str(value))

    def readNet(self, name: str) -> str:
        """The text of C{/proc/net/NAME} in this namespace, as C{mcfilter6} or C{snmp}."""
        with self, open(f"/proc/thread-self/net/{name}", encoding="utf-8") as file:
            return file.read()

    def raiseLoopback(self) -> None:
        """Bring C{lo} up with multicast allowed on it."""
        with self:
            _raiseLoopback()


def enterPrivateNetwork(*, othersStay: bool = False) -> str | None:
    """
    Move this process into a network with nothing but C{lo}, so no test traffic can leave.

    Root gets a new network namespace; anyone else first a user namespace where they are root.
    C{lo} is up, carries multicast of both families and is the default interface for it. Call
    once, before any thread exists: threads that already run stay outside.

    @param othersStay: do it all the same if some do; only root can, of this or of a user namespace.
    @return: None, or why the kernel refused; the process is unchanged then.
    """
    if sys.platform != "linux":
        return "network namespaces need Linux"
    if not othersStay and len(os.listdir("/proc/self/task")) > 1:
        return "other threads already run and would stay in the machine's own network"
    try:
        _unshare(_CLONE_NEWNET)
    except PermissionError:
        # A refusal half-way would leave the process as nobody, so try in a child first.
        refusal = _inChild(_becomeRootOfPrivateNetwork)
        if refusal is not None:
            return (
                f"no private network: {refusal} (as root it works; "
                "Ubuntu 24.04 wants sysctl kernel.apparmor_restrict_unprivileged_userns=0)"
            )
        _becomeRootOfPrivateNetwork()
    except OSError as error:
        return f"no private network: {error}"
    else:
        _raiseLoopback()
        _routeMulticastToLoopback()
    return None


def whyNoNamespaces() -> str | None:
    """
    Why a LAN of namespaces cannot be built by this process, or None when it can.

    It tries: a namespace, a bridge and a veth pair, made with iproute2.
    """
    if sys.platform != "linux":
        return "network namespaces need Linux"
    for tool in ("ip", "bridge"):
        if shutil.which(tool, path=PATH) is None:
            return f"{tool}(8) is missing; install iproute2"
    try:
        namespace = Namespace()
    except OSError as error:
        return f"no new network namespace: {error}"
    try:
        namespace.run(
            *("ip", "-batch", "-"),
            stdin=(
                "link add name br0 type bridge mcast_snooping 1\n"
                "link add name a type veth peer name b\n"
                "addr add fe80::1/64 dev br0 nodad\n"
            ),
        )
    except (OSError, CommandFailed, subprocess.TimeoutExpired) as error:
        return f"no bridge of virtual links: {error}"
    finally:
        namespace.close()
    return None


class _Entered(threading.local):
    """The namespaces this thread is inside of, each with the one to return to."""

    def __init__(self) -> None:
        self.stack: list[tuple[Namespace, int]] = []


_entered = _Entered()


def _openCurrent() -> int:
    return os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": PATH, "LC_ALL": "C"}


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        error.filename = path  # which is known only where open() fails
        raise


if sys.version_info >= (3, 12):

    def _unshare(flags: int) -> None:
        os.unshare(flags)

    def _setns(fd: int) -> None:
        os.setns(fd, _CLONE_NEWNET)

else:

    def _unshare(flags: int) -> None:
        _check(_libc().unshare(flags))

    def _setns(fd: int) -> None:
        _check(_libc().setns(fd, _CLONE_NEWNET))

    def _libc() -> ctypes.CDLL:
        return ctypes.CDLL(None, use_errno=True)

    def _check(status: int) -> None:
        if status != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def _becomeRootOfPrivateNetwork() -> None:
    uid, gid = os.geteuid(), os.getegid()
    # Both at once: the network namespace then belongs to the user namespace.
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    for name, text in (
        ("setgroups", "deny"),  # user_namespaces(7): required before an unprivileged gid_map
        ("uid_map", f"0 {uid} 1"),
        ("gid_map", f"0 {gid} 1"),
    ):
        _write(f"/proc/self/{name}", text)
    _raiseLoopback()
    _routeMulticastToLoopback()


def _inChild(action: Callable[[], None]) -> str | None:
    """What C{action} raises in a forked child, as text, or None when it succeeds."""
    readEnd, writeEnd = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            action()
            status = 0
        except BaseException as error:  # noqa: BLE001 - the parent tells it
            os.write(writeEnd, str(error).encode())
        finally:
            os._exit(status)
    os.close(writeEnd)
    with open(readEnd, "rb") as file:
        refusal = file.read().decode()
    _, waitStatus = os.waitpid(child, 0)
    return (refusal or f"status {waitStatus}") if waitStatus else None


def _raiseLoopback() -> None:
    # <linux/sockios.h>, <linux/if.h>
    getFlags, setFlags, up, multicast = 0x8913, 0x8914, 0x1, 0x1000
    ifreq = struct.Struct("16sH22x")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, getFlags, ifreq.pack(b"lo", 0))
        flags = ifreq.unpack(request)[1] | up | multicast
        fcntl.ioctl(control, setFlags, ifreq.pack(b"lo", flags))


def _routeMulticastToLoopback() -> None:
    # <linux/rtnetlink.h>: tables, scopes and types of the two routes
    main, local, link, universe, unicast, localType = 254, 255, 253, 0, 1, 2
    _addRoute(socket.AF_INET, "224.0.0.0", 4, table=main, scope=link, kind=unicast)
    if socket.has_ipv6 and os.path.exists("/proc/sys/net/ipv6"):
        # Every other type of IPv6 route to lo discards silently.
        _addRoute(socket.AF_INET6, "ff00::", 8, table=local, scope=universe, kind=localType)


def _addRoute(family: int, prefix: str, length: int, *, table: int, scope: int, kind: int) -> None:
    """Route C{prefix/length} to C{lo} over rtnetlink; C{ip} itself may not be installed."""
    newRoute, requestAckCreateExclusive, static, toDestination, toInterface = 24, 0x605, 4, 1, 4
    destination = socket.inet_pton(family, prefix)
    body = struct.pack("=8BI", family, length, 0, 0, table, static, scope, kind, 0)
    body += struct.pack("=HH", 4 + len(destination), toDestination) + destination
    body += struct.pack("=HHI", 8, toInterface, socket.if_nametoindex("lo"))
    header = struct.pack("=IHHII", 16 + len(body), newRoute, requestAckCreateExclusive, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.send(header + body)
        answer = netlink.recv(4096)
    number = -struct.unpack_from("=i", answer, 16)[0]
    if number not in (0, errno.EEXIST):
        raise OSError(number, f"route {prefix}/{length} dev lo: {os.strerror(number)}")
