"""
LIVE555's C{Groupsock}: one incoming group, any number of destinations, and their counts.

The main path is L{Groupsock.handleRead} and L{Groupsock.output}.  What the network does is
counted, what a caller asks for in vain is raised, and neither closes anything.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.groupsock.destinations import DEFAULT_TTL, Destinations, SessionDestination
from txgroupsock.groupsock.interfaces import IGroupsock
from txgroupsock.groupsock.statistics import GroupsockStatistics
from txgroupsock.ports import GroupsockReactor, UDPPort
from txgroupsock.ports.clock import steady
from txgroupsock.primitives import (
    Environment,
    InterfaceLike,
    IPAddress,
    Membership,
    SocketSetupError,
    TransferError,
    bindToDevice,
    getReceiveBufferSize,
    getSendBufferSize,
    interfaceIndex,
    parseAddress,
    setMulticastInterface,
    setMulticastTTL,
    setReceiveBufferTo,
    setSendBufferTo,
    writeSocket,
)
from txgroupsock.primitives.arguments import checked, explained
from txgroupsock.primitives.ouraddress import OurAddresses
from txgroupsock.primitives.sockaddr import familyOf, isMulticast, scopeIndex

Received = Callable[[bytes, tuple[str, int]], Any]
"""What is called with each datagram and its sender, C{(host, port)}."""


@implementer(IGroupsock, ISystemHandle)
class Groupsock:
    """
    A socket for one incoming group and any number of destinations; see L{IGroupsock}.

    Constructing it opens the socket and joins the group; L{close} leaves.  The group is also
    the first destination, with session id 0.

    @ivar received: called with each datagram and its sender; may be changed at any time.
    @ivar transport: the port that it receives on (L{UDPPort}); another one after a change of
        port.
    """

    _log = Logger()

    @checked
    def __init__(
        self,
        reactor: Any,
        group: str | IPAddress,
        port: int,
        received: Received | None = None,
        *,
        source: str | IPAddress | None = None,
        ttl: int = DEFAULT_TTL,
        interface: InterfaceLike = None,
        sendOnly: bool = False,
        env: Environment | None = None,
        total: GroupsockStatistics | None = None,
    ) -> None:
        """
        @param reactor: provides C{IReactorFDSet} and C{IReactorTime}.
        @param group: what to join.  A unicast address is a destination only; C{"0.0.0.0"} and
            C{"::"} only say the family.
        @param port: to receive on, and that of the first destination; 0 lets the kernel choose.
        @param source: the one sender to hear (source-specific), or L{None} for any.
        @param ttl: TTL or hop limit for the first destination, 0 to 255; with 0 multicast stays
            on this host.
        @param interface: where the group is joined and multicast leaves, by name, index or
            address; left out, those of C{env}, or the routing table's choice.
        @param sendOnly: never join; see L{multicastSendOnly}.
        @param env: reuse of the port, interfaces, and the device to bind to.
        @param total: statistics that everything here is added to as well.
        @raise GroupsockError: an address, the socket or the membership is not to be had, each
            with an error of its own; nothing stays open.
        """
        self.received = received
        self.group = parseAddress(group)
        self.source = None if source is None else Membership.of(self.group, None, source).source
        self.family = familyOf(self.group)
        self.ttl = ttl
        self.statistics = GroupsockStatistics()
        self._tallies = [self.statistics] if total is None else [self.statistics, total]
        self._reactor = reactor = steady(reactor)
        self._env = Environment() if env is None else env
        self._interface = interface
        self._sendOnly = sendOnly
        self._socketTTL: int | None = None
        self._closing: set[Deferred[None]] = set()
        self._isClosed = False
        # As senders are written, without a scope.
        self._sourceHost = (
            "" if self.source is None else socket.inet_ntop(self.family, self.source.packed)
        )
        self._destinations = Destinations(self.family)
        self._membership: Membership | None = None
        self.transport = self._open(port)
        try:
            self._ours = OurAddresses(reactor.seconds)
            self.port = self.transport.getHost().port
            if not self.group.is_unspecified:
                self._destinations.add(self.group, self.port, 0, ttl)
            self._membership = self._join(self.transport, self.group)
        except BaseException:
            self.transport.connectionLost()
            raise

    def __repr__(self) -> str:
        source = f"{self.source}@" if self.source is not None else ""
        state = "" if self.isOpen else " closed"
        return (
            f"<{type(self).__name__} {source}{self.group} port {self.port} "
            f"to {len(self._destinations)} destinations{state}>"
        )

    # Receiving

    def handleRead(self, datagram: bytes, sender: tuple[str, int]) -> None:
        """See L{IGroupsock}."""
        try:
            size, host = len(datagram), sender[0]
        except (TypeError, LookupError) as error:
            raise explained(error, Groupsock.handleRead, datagram=datagram, sender=sender) from None
        if self._sourceHost and host.partition("%")[0] != self._sourceHost:
            for each in self._tallies:
                each.otherSources.countPacket(size)
            return
        looped = self.wasLoopedBackFromUs(sender)
        for each in self._tallies:
            (each.loopedBack if looped else each.incoming).countPacket(size)
        if self.received is not None:
            self.received(datagram, sender)

    def wasLoopedBackFromUs(self, sender: tuple[str, int]) -> bool:
        """See L{IGroupsock}."""
        try:
            return sender[1] == self.port and sender[0] in self._ours
        except (TypeError, LookupError) as error:
            raise explained(error, Groupsock.wasLoopedBackFromUs, sender=sender) from None

    # Sending

    def output(self, data: bytes | bytearray | memoryview) -> int:
        """See L{IGroupsock}."""
        try:
            return sum([self._send(data, destination) for destination in self._destinations])
        except TypeError as error:
            raise explained(error, Groupsock.output, data=data) from None

    def _send(self, data: bytes | bytearray | memoryview, destination: SessionDestination) -> bool:
        """Send to one destination; whether the kernel took it."""
        sock = self.transport.getHandle()
        try:
            if self._isClosed:
                raise TransferError(errno.EBADF, f"send to {destination}", reason="it is closed")
            if destination.ancillary is None and destination.ttl != self._socketTTL:
                setMulticastTTL(sock, destination.ttl)
                self._socketTTL = destination.ttl
            size = writeSocket(sock, destination.target, data, destination.ancillary)
        except OSError as error:
            self._dropped(destination, error)
            return False
        destination.sent.countPacket(size)
        for each in self._tallies:
            each.outgoing.countPacket(size)
        return True

    def _dropped(self, destination: SessionDestination, error: OSError) -> None:
        number = error.errno or 0
        destination.dropped[number] += 1
        for each in self._tallies:
            each.dropped[number] += 1
        if destination.dropped[number] == 1:
            self._log.warn("{groupsock}: {error}", groupsock=self, error=error)

    # Destinations

    @property
    def destinations(self) -> tuple[SessionDestination, ...]:
        """See L{IGroupsock}."""
        return tuple(self._destinations)

    @checked
    def changeDestinationParameters(
        self,
        address: str | IPAddress | None = None,
        port: int | None = None,
        ttl: int | None = None,
        sessionId: int = 0,
    ) -> None:
        """See L{IGroupsock}."""
        isNew = self._destinations.ofSession(sessionId) is None
        wanted = self._destinations.changed(sessionId, address, port, ttl)
        if sessionId == 0 and not isNew:
            if isMulticast(wanted.address) and not self._sendOnly:
                self._move(wanted.address, wanted.port)
            self.ttl = wanted.ttl
        self._destinations.put(wanted)

    @checked
    def addDestination(
        self, address: str | IPAddress, port: int, sessionId: int = 0, ttl: int = DEFAULT_TTL
    ) -> None:
        """See L{IGroupsock}."""
        self._destinations.add(address, port, sessionId, ttl)

    @checked
    def removeDestination(self, sessionId: int) -> int:
        """See L{IGroupsock}."""
        return self._destinations.remove(sessionId)

    def removeAllDestinations(self) -> None:
        """See L{IGroupsock}."""
        self._destinations.clear()

    def hasMultipleDestinations(self) -> bool:
        """See L{IGroupsock}."""
        return len(self._destinations) > 1

    @checked
    def lookupSessionIdFromDestination(self, address: str | IPAddress, port: int) -> int | None:
        """See L{IGroupsock}."""
        found = self._destinations.at(address, port)
        return None if found is None else found.sessionId

    # The group

    @property
    def isSSM(self) -> bool:
        """See L{IGroupsock}."""
        return self.source is not None

    def multicastSendOnly(self) -> None:
        """See L{IGroupsock}."""
        self._sendOnly = True
        if self._membership is not None:
            membership, self._membership = self._membership, None
            self._leave(membership)

    @checked
    def changePort(self, port: int) -> None:
        """See L{IGroupsock}."""
        self._move(self.group, port)

    def _move(self, group: IPAddress, port: int) -> None:
        """Receive another group, or on another port; what cannot be had changes nothing."""
        if self._isClosed:
            raise SocketSetupError(errno.EBADF, f"receive {group}", reason="it has been closed")
        if port != self.port:
            self._reopen(group, port)
        elif self._wouldJoin(group) != self._membership:
            before, self._membership = self._membership, self._join(self.transport, group)
            if before is not None:
                self._leave(before)
        self.group = group

    def _reopen(self, group: IPAddress, port: int) -> None:
        opened = self._open(port)
        try:
            before = self.transport.getHandle()
            setReceiveBufferTo(opened.socket, getReceiveBufferSize(before), force=True)
            setSendBufferTo(opened.socket, getSendBufferSize(before), force=True)
            self._membership = self._join(opened, group)
        except BaseException:
            opened.connectionLost()
            raise
        left, self.transport = self.transport, opened
        self.port = opened.getHost().port
        self._socketTTL = None
        closing = left.stopListening()
        self._closing.add(closing)
        closing.addBoth(lambda _: self._closing.discard(closing))

    def _wouldJoin(self, group: IPAddress) -> Membership | None:
        """What is to be joined to receive a group; L{None} for what is none."""
        if self._sendOnly or not isMulticast(group):
            return None
        where = self._interface or (scopeIndex(group) or self._env.receivingInterface)
        return Membership.of(group, where, self.source)

    def _join(self, transport: UDPPort, group: IPAddress) -> Membership | None:
        wanted = self._wouldJoin(group)
        if wanted is None:
            return None
        if wanted.source is None:
            return transport.memberships.join(wanted.group, wanted.interface)
        return transport.memberships.joinSource(wanted.group, wanted.source, wanted.interface)

    def _leave(self, membership: Membership) -> None:
        try:
            self.transport.memberships.leave(membership.group, membership.interface)
        except OSError as error:  # the interface has gone, and the membership with it
            self._log.info("{groupsock}: {error}", groupsock=self, error=error)

    # Life

    def _open(self, port: int) -> UDPPort:
        env = self._env
        sending = self._interface or env.sendingInterface
        try:
            transport = GroupsockReactor(self._reactor).listenMulticast(
                port,
                _Reader(self),
                interfaceIndex(self._interface or env.receivingInterface),
                listenMultiple=env.reuseFlag,
                family=self.family,
            )
        except CannotListenError as error:
            raise error.socketError from None
        try:
            if interfaceIndex(sending):
                setMulticastInterface(transport.socket, sending)
            if env.interfaceBindToDevice:
                bindToDevice(transport.socket, env.interfaceBindToDevice)
        except BaseException:
            transport.connectionLost()
            raise
        return transport

    @property
    def isOpen(self) -> bool:
        """See L{IGroupsock}."""
        return not self._isClosed and self.transport.connected

    def close(self) -> Deferred[None]:
        """See L{IGroupsock}."""
        self._isClosed = True
        waiting = gatherResults([self.transport.stopListening(), *self._closing])
        return waiting.addCallback(lambda _: None)

    def getHandle(self) -> socket.socket:
        """The socket, for options of one's own."""
        return self.transport.getHandle()

    def fileno(self) -> int:
        """See L{IGroupsock}."""
        return self.transport.fileno()


class _Reader(DatagramProtocol):
    """Gives what a port receives to a Groupsock."""

    noisy = False

    def __init__(self, groupsock: Groupsock) -> None:
        self._groupsock = groupsock

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self._groupsock.handleRead(datagram, addr)
