"""
Programs as users write them; C{make types} checks them as strictly as the package itself.

What is wrong here must be an error, so each C{type: ignore} below is itself checked:
mypy's C{warn_unused_ignores} fails if the error goes away.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IMulticastTransport, IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from txgroupsock import GroupsockReactor, JoinError, Membership, Route, Run, UDPPort
from txgroupsock.interfaces import (
    IArrivalReceiver,
    IRunReceiver,
    IRunTransport,
    ISourceMulticastTransport,
)
from txgroupsock.primitives import Arrival, Destination, SourceFilter, findInterface


class Listener(DatagramProtocol):
    """Joins from one source, and answers."""

    def __init__(self, port: ISourceMulticastTransport) -> None:
        self.joined: Deferred[Membership] = port.joinSourceGroup("232.1.1.1", "10.0.0.1", "eth0")

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        answer: int = len(datagram)
        del answer


@implementer(IRunReceiver)
class Runs(DatagramProtocol):
    """Takes runs, and sends them on."""

    def __init__(self, transport: IRunTransport, there: Destination) -> None:
        self.out = transport
        self.there = there

    def runReceived(self, run: Run) -> None:
        self.out.writeRun(run, self.there)
        sizes: list[int] = [len(each) for each in run]
        del sizes


@implementer(IArrivalReceiver)
class Arrivals(DatagramProtocol):
    """Wants to know how datagrams arrived."""

    def datagramArrived(self, datagram: bytes, arrival: Arrival) -> None:
        group: str = str(arrival.destination)
        del group


@implementer(IRunReceiver)
class Wrong(DatagramProtocol):  # type: ignore[misc] # lacks runReceived
    """Claims to take runs."""


def listen(reactor: GroupsockReactor) -> UDPPort:
    """A port is every kind of transport that it provides."""
    port = reactor.listenMulticast(5000, DatagramProtocol(), interface=2, listenMultiple=True)
    listening: IListeningPort = port
    plain: IUDPTransport = port
    multicast: IMulticastTransport = port
    sourceSpecific: ISourceMulticastTransport = port
    runs: IRunTransport = port
    Listener(sourceSpecific)
    Runs(runs, Destination("10.0.0.1", 5000, ttl=8, dscp=34, interface="eth0"))
    plain.write(b"x", ("10.0.0.1", 5000))
    multicast.setTTL(8)
    multicast.setTTL("8")  # type: ignore[arg-type]
    del listening
    return port


async def filters(port: UDPPort) -> list[Membership]:
    """Deferreds say what they fire with."""
    try:
        joined: Membership = await port.joinSourceGroup("232.1.1.1", "10.0.0.1")
    except JoinError as error:
        number: int | None = error.errno
        advice: str = error.advice
        del number, advice
    else:
        index: int = joined.interface
        del index
    wanted: SourceFilter = await port.getSourceFilter("232.1.1.1")
    await port.setSourceFilter("232.1.1.1", wanted, findInterface("eth0").index)
    wrong: str = await port.joinSourceGroup("232.1.1.1", "10.0.0.1")  # type: ignore[assignment]
    del wrong
    return port.getMemberships()


def relay(reactor: GroupsockReactor) -> list[str]:
    """A relay in a program of one's own."""
    route = Route.fromURLs(reactor, ["udp://:5000"], ["udp://10.0.0.1:5000?ttl=2"])
    route.openRoute()
    lines: list[str] = route.status().report()
    return lines
