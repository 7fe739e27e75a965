"""A host of an in-memory network: interfaces, addresses, ports, and the sockets that have them."""

from __future__ import annotations

import errno
import ipaddress
import socket
import zlib
from collections.abc import Callable
from contextvars import Token
from typing import TYPE_CHECKING, Any

from attrs import evolve

from txgroupsock.primitives import (
    Environment,
    IPAddress,
    NetworkInterface,
    UnknownInterface,
    parseAddress,
    setupDatagramSocket,
)
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.interfacetable import InterfaceTable, madeUp
from txgroupsock.primitives.networkinterface import (
    IFF_LOOPBACK,
    IFF_MULTICAST,
    IFF_RUNNING,
    IFF_UP,
)
from txgroupsock.primitives.sockaddr import isMulticast
from txgroupsock.testing.datagram import Datagram
from txgroupsock.testing.grouptable import refusal
from txgroupsock.testing.hostreactor import HostReactor
from txgroupsock.testing.memorysocket import BROADCAST, MemorySocket, Received

if TYPE_CHECKING:
    from txgroupsock.testing.network import MemoryNetwork

_FIRST_FREE_PORT = 49152
_REUSEPORT = getattr(socket, "SO_REUSEPORT", None)
# Every host is a member of these on every interface (RFC 1112, RFC 4291).
_ALL_NODES = frozenset(map(ipaddress.ip_address, ("224.0.0.1", "ff01::1", "ff02::1")))


class MemoryHost:
    """
    A machine on a L{MemoryNetwork <txgroupsock.testing.MemoryNetwork>}, with C{lo} and, if it was
    given addresses, C{eth0}.

    C{with host:} makes its interfaces those that names, indexes and addresses stand for, as a
    network namespace does that was entered.  What its own L{reactor} calls is always inside.

    @ivar name: for people.
    @ivar reactor: a L{GroupsockReactor} whose ports are on this host.
    """

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self.network = network
        self.name = name
        self.reactor = HostReactor(self)
        self._interfaces = [
            NetworkInterface(
                "lo",
                1,
                IFF_UP | IFF_RUNNING | IFF_LOOPBACK,
                (parseAddress("127.0.0.1"), parseAddress("::1")),
            )
        ]
        self._sockets: list[MemorySocket] = []
        self._entered: list[Token[InterfaceTable | None]] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def __enter__(self) -> None:
        self._entered.append(madeUp.set(self))

    def __exit__(self, *exception: object) -> None:
        madeUp.reset(self._entered.pop())

    # Interfaces

    @checked
    def addInterface(self, *addresses: str, link: str = "lan") -> NetworkInterface:
        """
        A further interface, C{eth0}, C{eth1}...

        @param link: what it is plugged into: it reaches every interface on the link of that name.
        @raise ValueError: an address is no unicast one, or is on that link already.
        """
        parsed = tuple(map(parseAddress, addresses))
        for each in parsed:
            if isMulticast(each) or each.is_unspecified or each.is_loopback:
                raise ValueError(f"{each} cannot be the address of an interface")
        index = len(self._interfaces) + 1
        made = NetworkInterface(
            f"eth{index - 2}", index, IFF_UP | IFF_RUNNING | IFF_MULTICAST, parsed
        )
        self.network.plug(self, made, link)
        self._interfaces.append(made)
        return made

    def listInterfaces(self) -> list[NetworkInterface]:
        """Every interface, C{lo} first."""
        return list(self._interfaces)

    @property
    def interface(self) -> str:
        """The name of the first interface that is not C{lo}."""
        return self._first.name

    @property
    def index(self) -> int:
        """The index of that interface."""
        return self._first.index

    @property
    def ipv4(self) -> str:
        """The first IPv4 address of that interface."""
        return self._firstAddress(lambda each: each.version == 4)

    @property
    def ipv6(self) -> str:
        """The first IPv6 address of that interface which is not link-local."""
        return self._firstAddress(lambda each: each.version == 6 and not each.is_link_local)

    @property
    def linkLocal(self) -> str:
        """The link-local address of that interface, without a scope."""
        return self._firstAddress(lambda each: each.version == 6 and each.is_link_local)

    # Sockets

    @checked
    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM) -> MemorySocket:
        """
        A socket of this host.

        @raise OSError: C{kind} is not C{SOCK_DGRAM} (EPROTONOSUPPORT).
        """
        if kind != socket.SOCK_DGRAM:
            raise refusal(errno.EPROTONOSUPPORT)
        made = MemorySocket(self, family)
        self._sockets.append(made)
        return made

    def openSocket(self, env: Environment, port: int, family: int, **options: Any) -> Any:
        """
        A bound L{MemorySocket}: what C{GroupsockReactor(reactor, openSocket=...)} takes.

        The arguments are those of C{setupDatagramSocket}, which also does the work.
        """
        create: Any = self.socket
        with self:
            return setupDatagramSocket(evolve(env, createSocket=create), port, family, **options)

    @property
    def sockets(self) -> list[MemorySocket]:
        """Those that are open, in the order they were made."""
        return list(self._sockets)

    def forget(self, sock: MemorySocket) -> None:
        """Take back what a closed socket had."""
        self._sockets.remove(sock)

    # What sockets ask

    def has(self, address: IPAddress) -> bool:
        """Whether an address is one of this host's; of 127/8, all are."""
        if address.version == 4 and address.is_loopback:
            return True
        return any(address in each.addresses for each in self._interfaces)

    def deviceFor(self, index: int, group: IPAddress) -> int:
        """The interface for a group: the one asked for, or the first but C{lo}; 0 if none."""
        if index:
            return index if 0 < index <= len(self._interfaces) else 0
        return self._interfaces[min(1, len(self._interfaces) - 1)].index

    def scopeOf(self, address: IPAddress) -> int:
        """The interface that a link-local address of this host is on; 0 for any other."""
        if address.version == 4 or not address.is_link_local:
            return 0
        return next((each.index for each in self._interfaces if address in each.addresses), 0)

    def claimPort(self, sock: MemorySocket, address: IPAddress, port: int) -> int:
        """
        A port for a socket: the one wanted, or for 0 one that nobody has.

        @raise OSError: somebody has it and the two do not share it (EADDRINUSE).
        """
        if not port:
            taken = {each.port for each in self._sockets}
            return next(each for each in range(_FIRST_FREE_PORT, 0x10000) if each not in taken)
        for other in self._sockets:
            if other is sock or (other.port, other.family) != (port, sock.family):
                continue
            overlap = other.address == address or any(
                each.is_unspecified for each in (other.address, address)
            )
            if overlap and not _shareThePort(other, sock):
                raise refusal(errno.EADDRINUSE)
        return port

    def route(
        self,
        sock: MemorySocket,
        destination: IPAddress,
        interface: int = 0,
        source: IPAddress | None = None,
    ) -> tuple[int, IPAddress]:
        """
        The interface that a datagram leaves by, and the address that it is sent from.

        @raise OSError: there is no such interface (ENODEV) or address (EINVAL), or the interface
            has no address to send from (ENETUNREACH).
        """
        if source is not None and not self.has(source):
            raise refusal(errno.EINVAL)
        bound = None if sock.address.is_unspecified or isMulticast(sock.address) else sock.address
        source = source or bound
        options = sock.options
        isGroup = isMulticast(destination)
        if not isGroup and self.has(destination):
            return 1, source or destination
        if isGroup and not interface:
            interface = options.multicastInterface
            if interface:
                source = source or options.multicastSource
            elif source is not None and source.version == 4:
                interface = self._ownerOf(source)
        if not isGroup and not interface:
            if destination.version == 6 and destination.is_link_local:
                raise refusal(errno.EINVAL)
            interface = self.network.interfaceTowards(self, destination)
        index = self.deviceFor(interface, destination)
        if not index:
            raise refusal(errno.ENODEV)
        source = source or self._sourceOn(index, destination)
        if source is None:
            raise refusal(errno.ENETUNREACH)
        return index, source

    def send(
        self,
        sock: MemorySocket,
        interface: int,
        source: IPAddress,
        target: tuple[IPAddress, int],
        ttl: int,
        dscp: int,
        payload: bytes,
    ) -> None:
        """Put a datagram on the wire."""
        datagram = Datagram(
            source=str(source),
            destination=str(target[0]),
            sourcePort=sock.port,
            destinationPort=target[1],
            ttl=ttl,
            dscp=dscp,
            payload=payload,
            time=self.network.reactor.seconds(),
        )
        self.network.transmit(sock, interface, datagram)

    # What the wire brings

    def receive(self, interface: int, datagram: Datagram) -> bool:
        """Give a datagram to whom it is for; whether there was anybody."""
        source, destination = parseAddress(datagram.source), parseAddress(datagram.destination)
        # The one bound last comes first, as in the kernel.
        suitable = [
            (score, sock)
            for sock in reversed(self._sockets)
            for score in [
                sock.accepts(destination, datagram.destinationPort, source, datagram.sourcePort)
            ]
            if score
        ]
        scope = interface if source.version == 6 and source.is_link_local else 0
        port = datagram.sourcePort
        received = Received(
            datagram.payload,
            (str(source), port) if source.version == 4 else (str(source), port, 0, scope),
            destination,
            interface,
            self.network.reactor.seconds(),
        )
        if isMulticast(destination):
            found = [
                each for _, each in suitable if self._hears(each, destination, source, interface)
            ]
        elif destination == BROADCAST:
            found = [each for _, each in suitable]
        else:
            found = _best(suitable, datagram)
        for each in found:
            each.deliver(received)
        return bool(found)

    def _hears(
        self, sock: MemorySocket, group: IPAddress, source: IPAddress, interface: int
    ) -> bool:
        if group not in _ALL_NODES and not any(
            each.memberships.admits(group, source, interface) for each in self._sockets
        ):
            return False  # the interface itself lets in only what some socket wants
        return sock.memberships.hears(group, source, interface, others=sock.options.hearsAll)

    # What they share

    @property
    def _first(self) -> NetworkInterface:
        if len(self._interfaces) < 2:
            raise UnknownInterface(
                errno.ENODEV,
                f"find an interface of {self.name}",
                "give it an address",
                reason="it has none but lo",
            )
        return self._interfaces[1]

    def _firstAddress(self, isWanted: Callable[[IPAddress], bool]) -> str:
        for each in self._first.addresses:
            if isWanted(each):
                return str(each)
        raise UnknownInterface(
            errno.EADDRNOTAVAIL,
            f"find such an address of {self.name}",
            "give it one",
            reason="it has none of that kind",
        )

    def _ownerOf(self, address: IPAddress) -> int:
        return next((each.index for each in self._interfaces if address in each.addresses), 0)

    def _sourceOn(self, index: int, destination: IPAddress) -> IPAddress | None:
        """The address that the kernel would choose: of the destination's family and scope."""
        version = destination.version
        isNear = destination.is_link_local or destination.packed[:2] == b"\xff\x02"
        interfaces = sorted(self._interfaces[1:], key=lambda each: each.index != index)
        if index == 1:
            interfaces = self._interfaces[:1]
        elif version == 6:
            interfaces = interfaces[:1]
        found = [each for one in interfaces for each in one.addresses if each.version == version]
        found.sort(key=lambda each: version == 6 and each.is_link_local != isNear)
        return found[0] if found else None


def _shareThePort(one: MemorySocket, other: MemorySocket) -> bool:
    both = (one.options, other.options)
    return any(
        all(each.isSet(socket.SOL_SOCKET, option) for each in both)
        for option in (socket.SO_REUSEADDR, _REUSEPORT)
    )


def _best(suitable: list[tuple[int, MemorySocket]], datagram: Datagram) -> list[MemorySocket]:
    """The one socket that gets a unicast datagram."""
    if not suitable:
        return []
    highest = max(score for score, _ in suitable)
    best = [sock for score, sock in suitable if score == highest]
    sharing = [each for each in best if each.options.isSet(socket.SOL_SOCKET, _REUSEPORT)]
    if best[0] not in sharing:
        return best[:1]
    # Dealt out by where it comes from, as by the kernel's hash.
    key = f"{datagram.source} {datagram.sourcePort}".encode()
    return [sharing[zlib.crc32(key) % len(sharing)]]
