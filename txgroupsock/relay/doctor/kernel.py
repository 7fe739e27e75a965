"""What Linux tells in text, C{/proc/net} and C{/proc/sys}; what cannot be read is not known."""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from txgroupsock.primitives.sockaddr import IPAddress

Read = TypeVar("Read")

_ENDIAN = sys.byteorder
_SOCKET = re.compile(r"socket:\[([0-9]+)\]")


@frozen
class Kernel:
    """
    The kernel's tables.

    @ivar proc: where proc(5) is.
    """

    proc: Path = Path("/proc")

    def net(self, name: str) -> str | None:
        """A table of the network namespace of this thread, such as C{"udp"}; or L{None}."""
        return _read(self.proc / "thread-self" / "net" / name)

    def sysctl(self, name: str) -> int | None:
        """
        A number under C{/proc/sys}, or L{None}.

        @param name: with slashes, as interfaces may have dots: C{"net/ipv4/conf/lo/rp_filter"}.
        """
        text = _read(self.proc / "sys" / name)
        try:
            return None if text is None else int(text)
        except ValueError:
            return None

    def effective(self, family: str, name: str, interface: str) -> int | None:
        """The larger of what all interfaces and one have; the kernel takes that of rp_filter."""
        values = [self.sysctl(f"net/{family}/conf/{each}/{name}") for each in ("all", interface)]
        return max((each for each in values if each is not None), default=None)

    def counters(self) -> dict[str, int]:
        """Everything that C{snmp}, C{snmp6} and C{netstat} count: C{"Udp.RcvbufErrors"}."""
        found: dict[str, int] = {}
        for name in ("snmp", "netstat"):
            found |= pairedCounters(self.net(name) or "")
        return found | listedCounters(self.net("snmp6") or "")

    def sockets(self, family: int) -> list[UDPSocket] | None:
        """
        Every UDP socket.

        @param family: 4 or 6.
        @return: L{None} where the kernel does not tell.
        """
        text = self.net("udp" if family == 4 else "udp6")
        return None if text is None else udpSockets(text)

    def joined(self, version: int) -> frozenset[IPAddress] | None:
        """The groups that this host has joined on any interface; L{None} if it does not tell."""
        text = self.net("igmp" if version == 4 else "igmp6")
        if text is None:
            return None
        return frozenset(joined4(text) if version == 4 else joined6(text))

    def ownSockets(self) -> set[int]:
        """The inodes of the sockets of this process."""
        links = (_SOCKET.fullmatch(link) for _, link in _linksIn(self.proc / "self" / "fd"))
        return {int(each[1]) for each in links if each is not None}

    def ownersOf(self, inodes: set[int]) -> dict[int, Program]:
        """The programs that have these sockets, as far as this user may see."""
        found: dict[int, Program] = {}
        for process in self.proc.glob("[0-9]*"):
            for descriptor, link in _linksIn(process / "fd"):
                socket = _SOCKET.fullmatch(link)
                if socket and int(socket[1]) in inodes:
                    program = self._program(process, int(descriptor))
                    found.setdefault(int(socket[1]), program)
        return found

    def _program(self, process: Path, descriptor: int) -> Program:
        pid, name = int(process.name), (_read(process / "comm") or "?").strip()
        words = (_read(process / "cmdline") or "").split("\0")
        return Program(pid, name, descriptor, pid == os.getpid() or isRelay(words))


@frozen
class Program:
    """
    A process that has a socket.

    @ivar descriptor: that of the socket there.
    @ivar isRelay: whether it is one of this relay's kind, or this process itself.
    """

    pid: int
    name: str
    descriptor: int = -1
    isRelay: bool = False

    def __str__(self) -> str:
        return f"{'a groupsock-relay' if self.isRelay else self.name} (process {self.pid})"


@frozen
class UDPSocket:
    """
    A line of C{/proc/net/udp}.

    @ivar queued: bytes that wait to be read.
    @ivar drops: datagrams that it had no room for, since it was opened.
    """

    address: IPAddress
    port: int
    queued: int
    inode: int
    drops: int
    isConnected: bool

    def has(self, address: IPAddress) -> bool:
        """Whether what is sent to an address may be for it."""
        if self.address.is_unspecified:
            # An IPv6 socket may carry IPv4, too; the table does not say whether it does.
            return self.address.version == 6 or address.version == 4
        mapped = getattr(self.address, "ipv4_mapped", None)
        return address.is_unspecified or address in (self.address, mapped)


def isRelay(words: Sequence[str]) -> bool:
    """Whether a command line is a relay's, or a worker's, which has only Python's C{-c} to tell."""
    if any(each.startswith("--doctor") for each in words):
        return False
    return any(each == "groupsock-relay" or "txgroupsock.relay" in each for each in words)


def udpSockets(text: str) -> list[UDPSocket]:
    """The lines of C{/proc/net/udp} or C{udp6} (proc(5)); what is none is passed over."""
    return list(_each(_socketIn, text.splitlines()[1:]))


def _socketIn(line: str) -> UDPSocket:
    words = line.split()
    address, _, port = words[1].rpartition(":")
    remotePort = words[2].rpartition(":")[2]
    return UDPSocket(
        _addressIn(address),
        int(port, 16),
        int(words[4].partition(":")[2], 16),
        int(words[9]),
        int(words[12]),
        remotePort != "0000",
    )


def joined4(text: str) -> Iterator[IPAddress]:
    """The groups in C{/proc/net/igmp}."""
    lines = (line for line in text.splitlines()[1:] if line[:1].isspace())
    return _each(lambda line: _addressIn(line.split()[0]), lines)


def joined6(text: str) -> Iterator[IPAddress]:
    """The groups in C{/proc/net/igmp6}, whose bytes are in network order."""
    return _each(
        lambda line: ipaddress.IPv6Address(bytes.fromhex(line.split()[2])), text.splitlines()
    )


def _each(read: Callable[[str], Read], lines: Iterable[str]) -> Iterator[Read]:
    """What is read of each line; one that cannot be is passed over."""
    for line in lines:
        with suppress(ValueError, IndexError, OverflowError):
            yield read(line)


def pairedCounters(text: str) -> dict[str, int]:
    """C{/proc/net/snmp} and C{netstat}: a line of names, then one of numbers."""
    found = {}
    lines = text.splitlines()
    for names, numbers in zip(lines[::2], lines[1::2], strict=False):
        table = names.partition(":")[0]
        for name, number in zip(names.split()[1:], numbers.split()[1:], strict=False):
            with suppress(ValueError):
                found[f"{table}.{name}"] = int(number)
    return found


def listedCounters(text: str) -> dict[str, int]:
    """C{/proc/net/snmp6}: a name and a number a line."""
    found = {}
    for words in (line.split() for line in text.splitlines()):
        with suppress(ValueError):
            if len(words) == 2:
                found[words[0]] = int(words[1])
    return found


def rise(before: dict[str, int], after: dict[str, int], name: str) -> int:
    """By how much a counter has risen; 0 if there is none."""
    return after.get(name, 0) - before.get(name, 0)


def _addressIn(hexadecimal: str) -> IPAddress:
    """An address as the kernel prints it: 32-bit words in its own byte order."""
    words = [hexadecimal[at : at + 8] for at in range(0, len(hexadecimal), 8)]
    return ipaddress.ip_address(b"".join(int(each, 16).to_bytes(4, _ENDIAN) for each in words))


def _linksIn(folder: Path) -> Iterator[tuple[str, str]]:
    """The names in a folder, and where each leads, as far as this user may see."""
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        try:
            yield name, os.readlink(folder / name)
        except OSError:  # closed meanwhile
            continue


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None
