"""
A network that exists in memory only: hosts, links, what is lost and delayed on them, and a clock.

Nothing moves by itself: datagrams travel, and time passes, only within L{MemoryNetwork.flush} and
L{MemoryNetworkReactor.advance}, so a test is the same each time it runs.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import Any

from attrs import frozen
from twisted.internet.testing import MemoryReactorClock

from txgroupsock.primitives import IPAddress, NetworkInterface, parseAddress
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.sockaddr import isMulticast, toSocketAddress
from txgroupsock.testing.datagram import Datagram, Delay, Loss
from txgroupsock.testing.host import MemoryHost
from txgroupsock.testing.memorysocket import BROADCAST, MemorySocket

# Turns of the reactor at one moment after which the program under test is taken to be in a loop.
_MOST_TURNS = 10_000


@frozen
class _InFlight:
    """A datagram on its way, and by which interface of whose it left."""

    sender: MemorySocket
    interface: int
    isLooped: bool
    datagram: Datagram


class MemoryNetwork:
    """
    Hosts on links, and what happens to datagrams between them.

    @ivar reactor: the clock of all hosts (L{MemoryNetworkReactor}).
    @ivar loss: which datagrams are lost; L{None}, at first, for none.
    @ivar delay: how many seconds a datagram is on its way; L{None}, at first, for 0.
    @ivar sent: every datagram that was sent, lost or not, in order.
    @ivar lost: those of them that C{loss} chose.
    """

    def __init__(self) -> None:
        self.reactor = MemoryNetworkReactor(self)
        self.loss: Loss | None = None
        self.delay: Delay | None = None
        self.sent: list[Datagram] = []
        self.lost: list[Datagram] = []
        self._hosts: list[MemoryHost] = []
        self._links: dict[str, list[tuple[MemoryHost, NetworkInterface]]] = {}
        self._wire: deque[_InFlight] = deque()
        self._sockets: dict[int, MemorySocket] = {}
        self._nextFileno = 1 << 30  # more than the kernel ever gives

    @checked
    def host(self, *addresses: str, name: str = "") -> MemoryHost:
        """
        The host with these addresses on the link C{lan}; a new one, unless there is one already.

        @param addresses: of its C{eth0}; without any it has only C{lo}.
        @raise ValueError: one host has some of them, but not all.
        """
        parsed = set(map(parseAddress, addresses))
        for each in self._hosts:
            if parsed and all(each.has(address) for address in parsed):
                return each
        made = MemoryHost(self, name or (addresses[0] if addresses else f"#{len(self._hosts)}"))
        if addresses:
            made.addInterface(*addresses)
        self._hosts.append(made)
        return made

    @property
    def sockets(self) -> list[MemorySocket]:
        """Every socket that is open."""
        return list(self._sockets.values())

    def flush(self) -> None:
        """
        Let everything happen that happens now: datagrams arrive, ports read and answer.

        @raise RuntimeError: it does not come to an end.
        """
        self.reactor.advance(0)

    # What hosts, sockets and the reactor ask

    @checked
    def plug(self, host: MemoryHost, interface: NetworkInterface, link: str) -> None:
        """
        Put an interface on a link.

        @raise ValueError: an address is taken there.
        """
        there = self._links.setdefault(link, [])
        for other, its in there:
            for each in set(its.addresses) & set(interface.addresses):
                raise ValueError(f"{other.name} has the address {each} on {link} already")
        there.append((host, interface))

    def interfaceTowards(self, host: MemoryHost, destination: IPAddress) -> int:
        """Index of the interface of a host on whose link an address is; 0 if none is."""
        for there in self._links.values():
            mine = [interface.index for each, interface in there if each is host]
            if mine and any(destination in interface.addresses for _, interface in there):
                return mine[0]
        return 0

    def register(self, sock: MemorySocket) -> int:
        """A number for a socket that has just been made."""
        self._nextFileno += 1
        self._sockets[self._nextFileno] = sock
        return self._nextFileno

    def unregister(self, sock: MemorySocket) -> None:
        """Forget a socket that is being closed."""
        del self._sockets[sock.fileno()]
        sock.host.forget(sock)

    def socketOf(self, fileno: int) -> MemorySocket | None:
        """The open socket with a number."""
        return self._sockets.get(fileno)

    def transmit(self, sender: MemorySocket, interface: int, datagram: Datagram) -> None:
        """Put a datagram on the wire."""
        self.sent.append(datagram)
        if self.loss is not None and self.loss(datagram):
            self.lost.append(datagram)
            return
        item = _InFlight(sender, interface, sender.options.loops, datagram)
        seconds = self.delay(datagram) if self.delay is not None else 0
        if seconds > 0:
            self.reactor.callLater(seconds, self._wire.append, item)
        else:
            self._wire.append(item)

    def carry(self) -> bool:
        """Bring every datagram on the wire to where it goes; whether there was one."""
        hadSome = bool(self._wire)
        while self._wire:
            self._arrive(self._wire.popleft())
        return hadSome

    def _arrive(self, item: _InFlight) -> None:
        datagram, host = item.datagram, item.sender.host
        destination = parseAddress(datagram.destination)
        if not isMulticast(destination) and destination != BROADCAST:
            self._arriveAt(destination, item)
            return
        if item.isLooped or destination == BROADCAST:
            host.receive(item.interface, datagram)
        if datagram.ttl:
            for other, interface in self._linkOf(host, item.interface):
                if other is not host:
                    other.receive(interface.index, datagram)

    def _arriveAt(self, destination: IPAddress, item: _InFlight) -> None:
        host = item.sender.host
        if host.has(destination):
            there = [(host, 1)]
        else:
            link = self._linkOf(host, item.interface)
            there = [(one, each.index) for one, each in link if destination in each.addresses]
        for owner, index in there:
            if not owner.receive(index, item.datagram):
                scope = item.interface if destination.is_link_local else 0
                target = toSocketAddress(destination, item.datagram.destinationPort)
                if len(target) == 4:
                    target = (*target[:3], scope)
                item.sender.unreachable(errno.ECONNREFUSED, target)

    def _linkOf(self, host: MemoryHost, index: int) -> list[tuple[MemoryHost, NetworkInterface]]:
        for there in self._links.values():
            if any(each is host and interface.index == index for each, interface in there):
                return there
        return []


class MemoryNetworkReactor(MemoryReactorClock):
    """
    Twisted's own reactor for tests, which also runs ports on a L{MemoryNetwork}.

    Give it to L{GroupsockReactor <txgroupsock.GroupsockReactor>} with a host's C{openSocket}, or
    use C{host.reactor}, which is that.
    """

    def __init__(self, network: MemoryNetwork) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Twisted's has no annotations
        self._network = network

    @checked
    def advance(self, amount: float) -> None:
        """
        Let so many seconds pass: what is due in them happens in order, each thing at its time.

        @raise RuntimeError: what happens at one moment has no end.
        """
        end = self.rightNow + amount
        turns = 0
        while True:
            before = self.rightNow
            super().advance(0)
            isBusy = self._network.carry()
            isBusy = self._runDescriptors() or isBusy
            due = [each.getTime() for each in self.getDelayedCalls()]
            if not isBusy:
                following = min(due, default=end)
                if following > end:
                    break
                if not due:
                    break
                self.rightNow = max(before, following)
            turns = turns + 1 if self.rightNow == before else 0
            if turns > _MOST_TURNS:
                raise RuntimeError(f"the network does not come to rest at {before} s")
        self.rightNow = end

    def _runDescriptors(self) -> bool:
        """Have ports read and write for which there is something to do; whether there were any."""
        ready = sorted(self._ready(), key=lambda each: each[0].fileno())
        for sock, descriptor, isReading in ready:
            if sock.fileno() < 0:
                continue  # closed by one of those before it
            with sock.host:
                failure = descriptor.doRead() if isReading else descriptor.doWrite()
                if failure is not None:
                    descriptor.connectionLost(failure)
        return bool(ready)

    def _ready(self) -> list[tuple[MemorySocket, Any, bool]]:
        ready = []
        for descriptors, isReading in ((self.readers, True), (self.writers, False)):
            for each in descriptors:
                sock = self._network.socketOf(each.fileno())
                if sock is not None and (sock.isReadable if isReading else sock.isWritable):
                    ready.append((sock, each, isReading))
        return ready
