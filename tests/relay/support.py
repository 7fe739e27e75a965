"""What the tests of the relay share: sockets of their own, a collecting end, and twistd."""

from __future__ import annotations

import functools
import ipaddress
import itertools
import os
import random
import re
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import Clock, deferLater
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from tests.starting import TWISTD, readable, startProgram
from txgroupsock.primitives.run import Run
from txgroupsock.relay.carriers.udp.output import UDPOutput
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.interfaces import IRelayOutput
from txgroupsock.relay.models.udp import OutputModel

IP_RECVTTL = getattr(socket, "IP_RECVTTL", 12)  # <linux/in.h>; in socket since Python 3.14
SECONDS = 30.0  # longer than anything here takes, also on a busy machine
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
BOTH_FAMILIES = pytest.mark.parametrize(
    "family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"]
)


def url(host: str, port: int, options: str = "") -> str:
    """The URL of an address."""
    return f"udp://[{host}]:{port}{options}" if ":" in host else f"udp://{host}:{port}{options}"


_first = random.randrange(20000)  # not that of another run in the same network
_ports = (10000 + (_first + number) % 20000 for number in itertools.count())


def freePort(family: int = socket.AF_INET) -> int:
    """A UDP port that nobody has now, and that the kernel gives to nobody who does not ask."""
    while True:
        port = next(_ports)  # never the same twice within a test
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind(("", port))
            except OSError:
                continue
        return port


@functools.cache
def carriesIPv6Multicast() -> bool:
    """Whether the loopback interface does; outside the private network it may have no route."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("lo"))
        try:
            sock.sendto(b"", ("ff15::9999", 9))
        except OSError:
            return False
    return True


def needMulticast(host: str) -> None:
    """Skip the test if this is an IPv6 group and the loopback interface carries none."""
    address = ipaddress.ip_address(host)
    if address.version == 6 and address.is_multicast and not carriesIPv6Multicast():
        pytest.skip("lo carries no IPv6 multicast here")


def send(data: bytes, host: str, port: int, source: str = "") -> tuple[str, int]:
    """Send one datagram over the loopback interface; returns the address it came from."""
    needMulticast(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    index = socket.if_nametoindex("lo")
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        if family == socket.AF_INET:
            mreqn = struct.pack("@4s4si", bytes(4), bytes(4), index)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, mreqn)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sock.bind((source or LOOPBACK[family], 0))
        name = sock.getsockname()
        target = (host, port) if family == socket.AF_INET else (host, port, 0, index)
        sock.sendto(data, target)
    return str(name[0]), int(name[1])


@frozen
class Arrival:
    """One datagram as the kernel gave it."""

    data: bytes
    sender: tuple[str, int]
    ttl: int


@implementer(IReadDescriptor)
class Listener:
    """A plain socket on the reactor, independent of the code under test."""

    def __init__(
        self, reactor: Any, host: str, port: int = 0, *, shared: bool = False, group: str = ""
    ) -> None:
        """@param group: what to join on the loopback interface."""
        needMulticast(group or host)
        self._reactor = reactor
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.arrivals: list[Arrival] = []
        self._waiting: tuple[int, Deferred[None]] | None = None
        self.socket = sock = socket.socket(self.family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        index = socket.if_nametoindex("lo")
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        if self.family == socket.AF_INET:
            sock.bind((host, port))
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
            if group:
                request = struct.pack("@4s4si", socket.inet_aton(group), bytes(4), index)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        else:
            sock.bind((host, port, 0, index if group else 0))
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            if group:
                request = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        self.port = int(sock.getsockname()[1])
        reactor.addReader(self)

    def __enter__(self) -> Listener:  # noqa: PYI034 - Self is new in Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._reactor.removeReader(self)
        self.socket.close()

    def fileno(self) -> int:
        return self.socket.fileno()

    def logPrefix(self) -> str:
        return "listener"

    def connectionLost(self, reason: Any) -> None:
        raise AssertionError(reason)

    def doRead(self) -> None:
        while True:
            try:
                data, ancillary, _, sender = self.socket.recvmsg(70000, 256)
            except BlockingIOError:
                break
            ttl = struct.unpack("@i", ancillary[0][2])[0]
            self.arrivals.append(Arrival(data, sender[:2], ttl))
        if self._waiting is not None and len(self.arrivals) >= self._waiting[0]:
            _, waiting = self._waiting
            self._waiting = None
            waiting.callback(None)

    def nowPayloads(self) -> list[bytes]:
        """The payloads that the kernel already holds, and those before."""
        self.doRead()
        return [each.data for each in self.arrivals]

    async def take(self, count: int) -> list[Arrival]:
        """The first so many datagrams, as soon as they have come."""
        if len(self.arrivals) < count:
            waiting: Deferred[None] = Deferred()
            self._waiting = (count, waiting)
            await waiting.addTimeout(SECONDS, self._reactor)
        return self.arrivals[:count]

    async def payloads(self, count: int) -> list[bytes]:
        """The payloads of the first so many datagrams."""
        return [each.data for each in await self.take(count)]


@implementer(IRelayOutput)
@define(eq=False)
class Collector:
    """An output that keeps what it gets; what is before it in a route has had that by then."""

    counters: Counters = field(factory=Counters)
    payloads: list[bytes] = field(factory=list)
    senders: list[tuple[str, int]] = field(factory=list)
    isOpen: bool = False
    _waiting: list[tuple[int, Deferred[None]]] = field(factory=list)

    def openOutput(self) -> None:
        self.isOpen = True

    def closeOutput(self) -> Deferred[None]:
        self.isOpen = False
        return succeed(None)

    def describe(self) -> list[str]:
        return ["collecting"]

    def runReceived(self, run: Run) -> None:
        for datagram in run:
            self.payloads.append(bytes(datagram))
            self.senders.append(run.sender)
            self.counters.passed(1, len(datagram))
        due = [waiting for count, waiting in self._waiting if count <= len(self.payloads)]
        self._waiting = [each for each in self._waiting if each[1] not in due]
        for waiting in due:
            waiting.callback(None)

    async def take(self, reactor: Any, count: int) -> list[bytes]:
        """The first so many payloads, as soon as they have come."""
        if len(self.payloads) < count:
            waiting: Deferred[None] = Deferred()
            self._waiting.append((count, waiting))
            await waiting.addTimeout(SECONDS, reactor)
        return self.payloads[:count]


def runOf(*datagrams: bytes) -> Run:
    """One run; all the datagrams but the last have the size of the first."""
    data = b"".join(datagrams)
    return Run(memoryview(data), len(datagrams[0]), ("127.0.0.1", 1), 0.0)


@contextmanager
def opened(text: str, clock: Clock | None = None) -> Iterator[UDPOutput]:
    """An open output, closed in the end; nothing of it is left to the clock."""
    clock = clock or Clock()
    output = UDPOutput(clock, OutputModel.parse(text))
    output.openOutput()
    try:
        yield output
    finally:
        output.closeOutput()
    assert clock.getDelayedCalls() == []


async def until(reactor: Any, condition: Callable[[], object]) -> None:
    """Wait for something that nobody tells."""
    deadline = reactor.seconds() + SECONDS
    while not condition():
        assert reactor.seconds() < deadline, "it takes too long"
        await deferLater(reactor, 0.005)


def isAlive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def loggedLines(reached: Callable[[str], object] = lambda _: None) -> Iterator[list[str]]:
    """
    What is logged meanwhile, formatted.

    @param reached: called with each line.
    """
    lines: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        line = formatEvent(event)
        lines.append(line)
        reached(line)

    globalLogPublisher.addObserver(observe)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(observe)


class Twistd:
    """
    C{twistd groupsock-relay} as a process of its own, which never outlives the test.

    @ivar text: what it has printed so far, errors included.
    """

    def __init__(
        self, folder: Path, *arguments: str, options: tuple[str, ...] = ("-n",), through: str = ""
    ) -> None:
        """
        @param options: of twistd itself, besides that of its pid file.
        @param through: Python to run first in the process that becomes twistd.
        """
        self.pidFile = folder / "twistd.pid"
        command = [sys.executable, TWISTD, f"--pidfile={self.pidFile}", *options]
        command += ["groupsock-relay", *arguments]
        if through:
            become = f"import os, sys\n{through}\nos.execv(sys.argv[1], sys.argv[1:])"
            command = [sys.executable, "-c", become, *command]
        self.text = ""
        self._process = startProgram(command, folder)

    def __enter__(self) -> Twistd:  # noqa: PYI034 - as above
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def messages(self) -> list[str]:
        """The lines it printed, without time and system."""
        return [re.sub(r"^\S+ \[[^]]*\] ", "", line) for line in self.text.splitlines()]

    def waitFor(self, pattern: str, seconds: float = 30.0) -> re.Match[str]:
        """Wait until it has printed something, which is then no longer looked at."""
        deadline = time.monotonic() + seconds
        while (found := re.search(pattern, self.text)) is None:
            if not self._read(deadline):
                pytest.fail(f"it ended without printing {pattern!r}:\n{self.text}")
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self, seconds: float = 30.0) -> int:
        """Wait until it ends; its exit status, or minus the signal that ended it."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        return self._process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, deadline: float) -> bool:
        assert self._process.stdout is not None
        if not readable([self._process.stdout], deadline - time.monotonic()):
            pytest.fail(f"it takes too long; so far it printed:\n{self.text}")
        chunk = os.read(self._process.stdout.fileno(), 65536)
        self.text += chunk.decode(errors="replace")
        return bool(chunk)
