"""Protocols of each kind that a port feeds, which do something while they are given something."""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from tests.ports.support import addressOf
from txgroupsock import UDPPort
from txgroupsock.interfaces import IArrivalReceiver, IRunReceiver
from txgroupsock.primitives import Arrival
from txgroupsock.primitives.run import Run


@define(eq=False)
class Log:
    """
    Keeps what a protocol is given.

    @ivar during: what is called, once each, while something is being given.
    @ivar changed: whether what was given was no longer the same when that returned.
    """

    payloads: list[bytes] = field(factory=list)
    during: deque[Callable[[], Any]] = field(factory=deque)
    changed: bool = False
    depth: int = 0

    def add(self, payloads: list[bytes]) -> None:
        self.payloads += payloads
        self.depth += 1
        if self.during and self.depth < 10:
            self.during.popleft()()
        self.depth -= 1


class PlainKind(DatagramProtocol):
    """Gets datagrams."""

    noisy = False

    def __init__(self) -> None:
        self.log = Log()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.log.add([datagram])


@implementer(IRunReceiver)
class RunKind(PlainKind):
    """Gets runs."""

    def runReceived(self, run: Run) -> None:
        given = [bytes(payload) for payload in run]
        self.log.add(given)
        self.log.changed |= [bytes(payload) for payload in run] != given


@implementer(IArrivalReceiver)
class ArrivalKind(PlainKind):
    """Gets datagrams with their arrivals."""

    def datagramArrived(self, datagram: bytes, arrival: Arrival) -> None:
        self.log.add([datagram])


KINDS = [PlainKind, RunKind, ArrivalKind]


class Waker(MemoryReactorClock):
    """A reactor that turns when it is told to."""

    def iterate(self, delay: float = 0.001) -> None:
        self.advance(delay)
        for port in select.select(list(self.readers), [], [], 0)[0]:
            if port in self.readers:
                port.doRead()


def sendNumbered(
    sender: socket.socket, port: UDPPort, name: bytes, first: int, count: int
) -> list[bytes]:
    """Send so many datagrams, with a name and a number; the payloads."""
    payloads = [b"%s%03d" % (name, number) for number in range(first, first + count)]
    for payload in payloads:
        sender.sendto(payload, addressOf(port))
    return payloads
