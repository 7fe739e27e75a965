"""What the tests of the ports share."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from twisted.internet.defer import DeferredQueue
from twisted.internet.protocol import AbstractDatagramProtocol, DatagramProtocol
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock

from txgroupsock import UDPPort
from txgroupsock.primitives.batch import Single

V4, V6 = socket.AF_INET, socket.AF_INET6
LOOPBACK = {V4: "127.0.0.1", V6: "::1"}
WILDCARD = {V4: "0.0.0.0", V6: "::"}
GROUP = {V4: "239.1.2.3", V6: "ff15::1:2:3"}
OTHER_GROUP = {V4: "239.1.2.4", V6: "ff15::1:2:4"}
SSM_GROUP = {V4: "232.1.2.3", V6: "ff35::8000:1"}
LEVEL = {V4: socket.IPPROTO_IP, V6: socket.IPPROTO_IPV6}

# Two addresses that every test inside the fixture `multicastLoopback` has on `lo`.
ONE = {V4: "127.0.0.1", V6: "fd00::1"}
TWO = {V4: "127.0.0.2", V6: "fd00::2"}

IP_RECVERR = 11  # linux/in.h

Datagram = tuple[bytes, tuple[str, int]]


class Recorder(DatagramProtocol):
    """
    Keeps everything that it is told.

    Who waits for something goes on only after the turn of the reactor in which it came, so that
    nothing of a test runs inside the port.
    """

    noisy = False

    def __init__(self) -> None:
        self.datagrams: DeferredQueue[Datagram] = DeferredQueue()
        self.refusals: DeferredQueue[None] = DeferredQueue()
        self.calls: list[str] = []

    def startProtocol(self) -> None:
        self.calls.append("startProtocol")

    def stopProtocol(self) -> None:
        self.calls.append("stopProtocol")

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self.datagrams.put((datagram, addr))

    def connectionRefused(self) -> None:
        self.refusals.put(None)

    async def nextDatagram(self) -> Datagram:
        """The next datagram and its sender, also if it has arrived already."""
        found = await self.datagrams.get()
        await turn()
        return found

    async def next(self) -> bytes:
        """The payload of the next datagram."""
        return (await self.nextDatagram())[0]

    async def refusal(self) -> None:
        """The next call of connectionRefused."""
        await self.refusals.get()
        await turn()

    @property
    def payloads(self) -> list[bytes]:
        """Those of the datagrams that have arrived and that nobody has asked for."""
        return [payload for payload, _sender in self.datagrams.pending]


async def turn() -> None:
    """The turn of the reactor has ended, and another begun."""
    from twisted.internet import reactor

    await deferLater(reactor, 0)


class Listen(Protocol):
    """The fixture C{listen}."""

    def __call__(
        self,
        protocol: AbstractDatagramProtocol,
        interface: Any = ...,
        port: int = ...,
        **options: Any,
    ) -> UDPPort: ...


class OpenSocket(Protocol):
    """The fixture C{openSocket}."""

    def __call__(self, host: str = ..., port: int = ...) -> socket.socket: ...


def addressOf(port: UDPPort | socket.socket) -> tuple[str, int]:
    """Where to send to reach a port that is bound to one address."""
    if isinstance(port, UDPPort):
        host = port.getHost()
        return host.host, host.port
    host_, number = port.getsockname()[:2]
    return host_, number


def failing(*numbers: int) -> Iterator[OSError]:
    """One error for each number."""
    return (OSError(number, os.strerror(number)) for number in numbers)


class FakeSocket:
    """
    For what a kernel cannot be made to do: receives and sends give the outcomes in turn, and
    then EAGAIN.  An outcome is an error, which is raised, or the payload that is received, or
    L{None}, which means that a datagram is taken.
    """

    def __init__(
        self,
        receives: Iterable[OSError | bytes] = (),
        sends: Iterable[OSError | None] = (),
        pending: int = 0,
    ) -> None:
        self.receives, self.sends = iter(receives), iter(sends)
        self.pending = pending
        self.receiveCalls = 0
        self.sent: list[bytes] = []
        self.isClosed = False

    def recvfrom(self, size: int) -> tuple[bytes, Any]:
        self.receiveCalls += 1
        outcome = next(self.receives, None) or next(failing(errno.EAGAIN))
        if isinstance(outcome, OSError):
            raise outcome
        return outcome, ("192.0.2.1", 9)

    def sendto(self, packet: bytes, target: Any) -> None:
        self.send(packet)

    def send(self, packet: bytes) -> None:
        outcome = next(self.sends, next(failing(errno.EAGAIN)))
        if outcome is not None:
            raise outcome
        self.sent.append(packet)

    def recvmsg(self, size: int, ancillarySize: int, flags: int) -> None:
        raise next(failing(errno.EAGAIN))

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR)
        pending, self.pending = self.pending, 0
        return pending

    def getsockname(self) -> tuple[str, int]:
        return "192.0.2.2", 9

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self.isClosed = True


def openFake(
    reactor: Any = None,
    receives: Iterable[OSError | bytes] = (),
    sends: Iterable[OSError | None] = (),
    pending: int = 0,
    protocol: Recorder | None = None,
) -> UDPPort:
    """A port on a L{FakeSocket}; the reactor does nothing by itself either."""
    port = UDPPort(reactor or MemoryReactorClock(), protocol or Recorder(), 0, "127.0.0.1")
    port.startListening()
    port.socket.close()
    fake: Any = FakeSocket(receives, sends, pending)
    port.socket = port._sender._socket = fake
    port._receiving = Single()
    return port
