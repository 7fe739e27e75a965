"""Thousands of viewers that take nothing, or little, cost a bounded amount of memory only."""

from __future__ import annotations

import os
import resource
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from attrs import define, field

from tests.relay.viewers.support import HOST

SLOW, FAST = 2000, 20
RATE, SIZE = 10_000, 1316
DATAGRAMS = 5 * RATE
WINDOW = 1000  # datagrams that are on their way at a time: less than the receive buffer has
SEND_BUFFER = 64 * 1024
BACKLOG = 2 * 1024 * 1024
PERIOD = 1009  # datagrams until they repeat; prime, so that no loss of a round number hides
PATTERN = b"".join((struct.pack("!I", n) * (SIZE // 4)) for n in range(PERIOD))
TWICE = memoryview(PATTERN * 2)

SERVICE = f"""
import sys

from twisted.internet import reactor
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver

from txgroupsock.relay.viewers import AllowList, Limits, ViewerService, ViewersModel

limits = Limits(
    viewers=3000, viewersPerChannel=3000, stallTime=60, sendBuffer={SEND_BUFFER}, backlog={BACKLOG}
)
allowed = AllowList.parse(["239.77.0.1?interface=lo"])
service = ViewerService(reactor, ViewersModel(("tcp:0:interface={HOST}",), allowed, limits=limits))
service.startService()


class Answers(LineOnlyReceiver):
    delimiter = b"\\n"

    def lineReceived(self, line):
        status = service.status()
        channel = status.channels[0]
        behind = sum(each.isBehind for each in channel.viewers)
        print(status.viewers, behind, sum(channel.counters.dropped.values()), flush=True)

    def connectionLost(self, reason):
        reactor.stop()


StandardIO(Answers())
print(service.status().listening[0].rpartition(":")[2], flush=True)
reactor.run()
"""


@define
class Service:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    port: int

    def ask(self) -> tuple[int, int, int]:
        """How many watch, how many of them are behind, and how many datagrams were dropped."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        watching, behind, dropped = map(int, self.process.stdout.readline().split())
        return watching, behind, dropped

    def resident(self) -> int:
        """Bytes of memory that it has."""
        text = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def running() -> Iterator[Service]:
    """A service, which is ended afterwards."""
    command = [sys.executable, "-u", "-c", SERVICE]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield Service(process, int(process.stdout.readline()))
        finally:
            process.kill()


def kernelMemory() -> int:
    """Bytes that the kernel holds for the data of all TCP sockets."""
    (line,) = [
        each for each in Path("/proc/net/sockstat").read_text().splitlines() if each[:4] == "TCP:"
    ]
    return int(line.split()[-1]) * os.sysconf("SC_PAGE_SIZE")


@define
class Viewer:
    """A connection whose body has to be the pattern, again and again."""

    sock: socket.socket
    size: int = 0
    isRight: bool = True

    @classmethod
    def of(cls, port: int, buffer: int) -> Viewer:
        """One that has been told that its stream comes."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.connect((HOST, port))
        sock.sendall(b"GET /udp/239.77.0.1:5077 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = sock.recv(4096)
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert head.endswith(b"\r\n\r\n")
        sock.setblocking(False)
        return cls(sock)

    def read(self, into: memoryview) -> None:
        """Take what there is."""
        count = self.sock.recv_into(into)
        at = self.size % len(PATTERN)
        self.size += count
        self.isRight = self.isRight and into[:count] == TWICE[at : at + count]


@define
class Sender:
    """Sends at a rate, or as quickly as the viewers take it if the machine is busy."""

    sent: int = 0
    sock: socket.socket = field(factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    begun: float = field(factory=time.monotonic)

    def __attrs_post_init__(self) -> None:
        self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HOST))

    def send(self, taken: int) -> None:
        """@param taken: bytes that all viewers have by now."""
        due = int((time.monotonic() - self.begun) * RATE)
        for number in range(self.sent, min(due, DATAGRAMS, taken // SIZE + WINDOW)):
            at = number % PERIOD * SIZE
            self.sock.sendto(TWICE[at : at + SIZE], ("239.77.0.1", 5077))
            self.sent += 1


@pytest.fixture
def manyFiles() -> Iterator[None]:
    """Enough descriptors, or it is skipped."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SLOW + FAST + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"{wanted} open files are needed, and 'ulimit -Hn' is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what memory sockets have")
@pytest.mark.usefixtures("manyFiles")
def test_slowViewersCostBoundedMemory() -> None:
    """Beside 2,000 that take nothing or little 20 get every byte, and memory keeps its bounds."""
    with running() as service, ExitStack() as opened:
        kernelBefore = kernelMemory()
        slow = [Viewer.of(service.port, 4096) for _ in range(SLOW)]
        fast = [Viewer.of(service.port, 1024 * 1024) for _ in range(FAST)]
        for each in (*slow, *fast):
            opened.callback(each.sock.close)
        before = service.resident()
        assert service.ask() == (SLOW + FAST, 0, 0)
        poll = opened.enter_context(select.epoll())
        byNumber = {each.sock.fileno(): each for each in fast}
        for number in byNumber:
            poll.register(number, select.EPOLLIN)
        buffer = memoryview(bytearray(256 * 1024))
        # Half of them take nothing.
        dripping = iter(slow[: SLOW // 2] * 1000)
        sizes, kernel = [before], [kernelMemory()]
        sender = Sender()
        opened.callback(sender.sock.close)
        lastLook = time.monotonic()
        while sum(each.size for each in fast) < FAST * DATAGRAMS * SIZE:
            sender.send(min(each.size for each in fast))
            for number, _ in poll.poll(0.001):
                byNumber[number].read(buffer)
            if time.monotonic() > lastLook + 0.02:
                lastLook = time.monotonic()
                sizes.append(service.resident())
                kernel.append(kernelMemory())
                for _ in range(20):  # each of them once a second
                    with suppress(BlockingIOError):
                        next(dripping).sock.recv(2048)
            assert all(each.isRight for each in fast)
            assert lastLook < sender.begun + 40, service.ask()
        assert service.ask() == (SLOW + FAST, SLOW, 0)
        # In the process: what is kept for all, the blocks that somebody has got a part of, and
        # what each connection needs for itself anyway.
        assert max(sizes) - before < BACKLOG + 8 * 1024 * 1024
        # In the kernel: it grants twice what it is asked for (socket(7)), and gives each socket
        # at the other end, here on the same host, some room too.
        assert max(kernel) - kernelBefore < SLOW * (2 * SEND_BUFFER + 64 * 1024)
