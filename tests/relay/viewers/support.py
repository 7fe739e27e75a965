"""What the tests of viewers share: a client on the reactor, a stream to watch, and services."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.ports.streams import authority
from tests.relay.support import SECONDS
from txgroupsock import Run
from txgroupsock.relay.viewers import AllowList, Limits, ViewerService, ViewersModel

HOST = "127.0.0.1"
ON_LOOPBACK = f"tcp:0:interface={HOST}"
GROUPS = ("239.77.0.0/16?interface=lo", "232.77.0.0/16?interface=lo")


class Client(Protocol):
    """One end of a connection: what came, and whether it is over."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.isOver = False
        self._waiting: list[tuple[Callable[[], object], Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.isOver = True
        self._look()

    def _look(self) -> None:
        due = [each for each in self._waiting if each[0]()]
        self._waiting = [each for each in self._waiting if each not in due]
        for _, waiting in due:
            waiting.callback(None)

    async def until(self, reactor: Any, reached: Callable[[], object]) -> None:
        """Wait for something about what came."""
        if not reached():
            waiting: Deferred[None] = Deferred()
            self._waiting.append((reached, waiting))
            await waiting.addTimeout(SECONDS, reactor)

    async def head(self, reactor: Any) -> bytes:
        """Status line and headers of an answer."""
        await self.until(reactor, lambda: b"\r\n\r\n" in self.data or self.isOver)
        return bytes(self.data).partition(b"\r\n\r\n")[0]

    async def answer(self, reactor: Any) -> bytes:
        """A whole answer, with which the connection ends."""
        await self.until(reactor, lambda: self.isOver)
        return bytes(self.data)

    @property
    def body(self) -> bytes:
        """What came after the headers."""
        return bytes(self.data).partition(b"\r\n\r\n")[2]

    async def bodyOf(self, reactor: Any, size: int) -> bytes:
        """A body, as soon as it has so many bytes."""
        await self.until(reactor, lambda: len(self.body) >= size or self.isOver)
        return self.body

    async def close(self, reactor: Any) -> None:
        """Close the connection."""
        transport: Any = self.transport
        transport.resumeProducing()
        transport.abortConnection()
        await self.until(reactor, lambda: self.isOver)


class Stream:
    """Sends numbered datagrams to a group on loopback."""

    def __init__(self, group: str, port: int, size: int = 1316) -> None:
        self._family = socket.AF_INET6 if ":" in group else socket.AF_INET
        index = socket.if_nametoindex("lo")
        self._socket = sock = socket.socket(self._family, socket.SOCK_DGRAM)
        if self._family == socket.AF_INET:
            request = struct.pack("@4s4si", bytes(4), bytes(4), index)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
            sock.bind((HOST, 0))
            self._target: Any = (group, port)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sock.bind(("::1", 0))
            self._target = (group, port, 0, index)
        self.size = size
        self.sent = bytearray()

    def send(self, count: int = 1) -> None:
        """Send some more."""
        for _ in range(count):
            datagram = numbered(len(self.sent) // self.size, self.size)
            self._socket.sendto(datagram, self._target)
            self.sent += datagram

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def stream() -> Iterator[Stream]:
    """Datagrams to 239.77.0.1, port 5077."""
    made = Stream("239.77.0.1", 5077)
    yield made
    made.close()


PATH = b"/udp/239.77.0.1:5077"


def numbered(number: int, size: int = 1316) -> bytes:
    """A datagram that can be told from any other."""
    return (struct.pack("!I", number) * (size // 4 + 1))[:size]


def numbersIn(data: bytes, size: int = 1316) -> list[int]:
    """The numbers of the datagrams in a stream, each of which has to be whole."""
    numbers = []
    for start in range(0, len(data) - size + 1, size):
        number = struct.unpack_from("!I", data, start)[0]
        assert data[start : start + size] == numbered(number, size)
        numbers.append(number)
    return numbers


def runOf(first: int, count: int, size: int = 1316) -> Run:
    """A run of numbered datagrams."""
    data = b"".join(numbered(number, size) for number in range(first, first + count))
    return Run(memoryview(data), size, ("192.0.2.1", 5000), 0.0)


@asynccontextmanager
async def serving(
    reactor: Any, model: ViewersModel | None = None, **changed: Any
) -> AsyncIterator[ViewerService]:
    """
    A service on a free port of loopback, which allows the groups of these tests.

    @param changed: attributes of the model, and limits.
    """
    limits = {key: changed.pop(key) for key in tuple(changed) if hasattr(Limits(), key)}
    if model is None:
        settings = {"endpoints": (ON_LOOPBACK,), "allowed": AllowList.parse(GROUPS), **changed}
        model = ViewersModel(**settings, limits=Limits(**{"lingerTime": 0.0, **limits}))
    service = ViewerService(reactor, model)
    service.startService()
    try:
        yield service
    finally:
        await service.stopService()


def portOf(service: ViewerService, index: int = 0) -> int:
    """One of the ports that a service listens on."""
    return int(service.status().listening[index].rpartition(":")[2])


async def connect(reactor: Any, service: ViewerService, index: int = 0) -> Client:
    """A connection to a service."""
    endpoint = HostnameEndpoint(reactor, HOST, portOf(service, index))
    client: Client = await connectProtocol(endpoint, Client())
    return client


async def request(
    reactor: Any,
    service: ViewerService,
    path: bytes = PATH,
    *headers: bytes,
    method: bytes = b"GET",
    version: bytes = b"HTTP/1.1",
) -> Client:
    """A connection that has sent a request."""
    client = await connect(reactor, service)
    lines = [b" ".join((method, path, version)), b"Host: localhost", *headers, b"", b""]
    client.transport.write(b"\r\n".join(lines))  # type: ignore[union-attr]
    return client


async def watch(
    reactor: Any, service: ViewerService, path: bytes = PATH, *headers: bytes
) -> Client:
    """A connection that has been told that the stream comes."""
    client = await request(reactor, service, path, *headers)
    head = await client.head(reactor)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
    return client


async def soon(reactor: Any, reached: Callable[[], object], what: str) -> None:
    """Look again and again for something that is announced to nobody."""
    deadline = reactor.seconds() + SECONDS
    while not reached():
        if reactor.seconds() > deadline:
            pytest.fail(f"not within {SECONDS} s: {what}")
        await deferLater(reactor, 0.01)


def joined(group: str = "239.77.0.1") -> int:
    """How many sockets of this host are members of a group, as the kernel has it."""
    if ":" in group:
        packed = socket.inet_pton(socket.AF_INET6, group).hex()
        lines = Path("/proc/self/net/igmp6").read_text().splitlines()
        return sum(int(each.split()[3]) for each in lines if each.split()[2] == packed)
    number = f"{struct.unpack('=I', socket.inet_aton(group))[0]:08X}"
    lines = Path("/proc/self/net/igmp").read_text().splitlines()
    return sum(int(each.split()[1]) for each in lines if each.split()[0] == number)


def assertQuiet(lines: list[str]) -> None:
    """Nothing that a client sent has left more than single lines in the log."""
    assert not [each for each in lines if "Traceback" in each or "Unhandled" in each], lines


def tlsEndpoint(folder: Path) -> str:
    """An endpoint of TLS on a free port of loopback, with a certificate that tests trust."""
    pem = folder / "server.pem"
    pem.write_bytes(authority()[1])
    return f"ssl:0:interface={HOST}:privateKey={pem}:certKey={pem}"
