"""What the tests of flows share: ways to be refused, and ends that say how a datagram came."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from attrs import frozen

from tests.primitives.support import LOOPBACK
from txgroupsock.primitives import Destination, Flow, flow, segmentation
from txgroupsock.primitives.constants import IP_PKTINFO, required

SECONDS = 30.0  # longer than anything here takes, also on a busy machine

IP_RECVTTL, IP_RECVTOS = 12, 13  # <linux/in.h>; in socket since Python 3.14


@frozen
class Came:
    """A datagram, and how it came."""

    data: bytes
    sender: tuple[str, int]
    ttl: int
    dscp: int
    interface: int


class Receiver:
    """A socket that says how each datagram came."""

    def __init__(self, host: str, port: int = 0, group: str = "", interface: int = 0) -> None:
        """@param group: what to join, on an interface."""
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = sock = socket.socket(self.family, socket.SOCK_DGRAM)
        sock.settimeout(SECONDS)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        index = struct.pack("@I", interface)
        if self.family == socket.AF_INET:
            for option in (IP_RECVTTL, IP_RECVTOS, required(IP_PKTINFO, "IP_PKTINFO")):
                sock.setsockopt(socket.IPPROTO_IP, option, 1)
            sock.bind((host, port))
            if group:
                request = socket.inet_aton(group) + bytes(4) + index
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        else:
            for option in (
                socket.IPV6_RECVHOPLIMIT,
                socket.IPV6_RECVTCLASS,
                socket.IPV6_RECVPKTINFO,
            ):
                sock.setsockopt(socket.IPPROTO_IPV6, option, 1)
            sock.bind((host, port))
            if group:
                request = socket.inet_pton(socket.AF_INET6, group) + index
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        self.host, self.port = host, int(sock.getsockname()[1])

    def __enter__(self) -> Receiver:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()

    def take(self) -> Came:
        """The next datagram, with how it came."""
        data, ancillary, _, sender = self.socket.recvmsg(65536, 512)
        v4 = self.family == socket.AF_INET
        ttl = socket.IP_TTL if v4 else socket.IPV6_HOPLIMIT
        tos = socket.IP_TOS if v4 else socket.IPV6_TCLASS
        found = {kind: value for _, kind, value in ancillary}
        info = found[required(IP_PKTINFO, "IP_PKTINFO") if v4 else socket.IPV6_PKTINFO]
        return Came(
            data,
            sender[:2],
            struct.unpack("@i", found[ttl])[0],
            found[tos][0] >> 2,
            struct.unpack_from("@i", info, 0 if v4 else 16)[0],
        )

    def payloads(self, count: int) -> list[bytes]:
        """The next so many datagrams."""
        return [self.socket.recv(65536) for _ in range(count)]

    def rest(self) -> list[bytes]:
        """What has come already."""
        found = []
        self.socket.setblocking(False)
        try:
            while True:
                found.append(self.socket.recv(65536))
        except BlockingIOError:
            return found
        finally:
            self.socket.settimeout(SECONDS)


@contextmanager
def opened(there: Destination, port: int = 0) -> Iterator[Flow]:
    """An open flow, closed in the end."""
    made = Flow(there, port)
    made.open()
    try:
        yield made
    finally:
        made.close()


def to(receiver: Receiver, **options: object) -> Destination:
    """The destination that a receiver is."""
    return Destination(receiver.host, receiver.port, **options)  # type: ignore[arg-type] # any of them


@contextmanager
def loopbackFlow(family: int) -> Iterator[tuple[Flow, Receiver]]:
    """A flow on loopback, and where it goes."""
    with Receiver(LOOPBACK[socket.AddressFamily(family)]) as receiver, opened(to(receiver)) as made:
        yield made, receiver


def withoutSegmentation(patch: pytest.MonkeyPatch) -> None:
    """This system has no UDP_SEGMENT, as on a BSD."""
    patch.setattr(segmentation, "UDP_SEGMENT", None)


def oldKernel(patch: pytest.MonkeyPatch) -> None:
    """The kernel does not know UDP_SEGMENT, as before Linux 4.18: it says ENOPROTOOPT."""
    patch.setattr(flow, "UDP_SEGMENT", 9999)


def numbered(count: int, size: int, first: int = 0) -> list[bytes]:
    """Datagrams of one size that all differ, and that nothing but a copy is equal to."""
    return [random.Random(first + number).randbytes(size) for number in range(count)]


def sendAll(made: Flow, datagrams: Iterable[bytes]) -> None:
    """Send datagrams of one size, the last may be shorter, as one run."""
    every = list(datagrams)
    made.sendRun(memoryview(b"".join(every)), len(every[0]))
