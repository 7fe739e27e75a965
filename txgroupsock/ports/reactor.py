"""A reactor whose ports are groupsock's."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorFDSet, IReactorMulticast, IReactorTime, IReactorUDP
from twisted.internet.protocol import AbstractDatagramProtocol
from zope.interface import directlyProvides, providedBy

from txgroupsock.ports.udp import UDPPort
from txgroupsock.primitives import InterfaceLike
from txgroupsock.primitives.batch import BatchMemory


class GroupsockReactor:
    """
    A reactor that opens UDP ports of this package, and is the wrapped one in all else.

    Provides whatever that one provides, so it can be handed to code that takes a reactor.
    """

    def __init__(self, reactor: Any) -> None:
        """
        @param reactor: any that can watch descriptors (all but Windows' IOCP).
        @raise TypeError: it cannot.
        """
        missing = [each for each in (IReactorFDSet, IReactorTime) if not each.providedBy(reactor)]
        if missing:
            raise TypeError(
                f"{type(reactor).__name__} does not provide {missing[0].__name__}, which "
                "groupsock's ports need; use a select, poll, epoll, kqueue or asyncio reactor"
            )
        self._reactor = reactor
        self._memory = BatchMemory()
        directlyProvides(self, providedBy(reactor), IReactorMulticast, IReactorUDP)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} around {self._reactor!r}>"

    def listenMulticast(
        self,
        port: int,
        protocol: AbstractDatagramProtocol,
        interface: InterfaceLike = "",
        maxPacketSize: int = 65535,
        listenMultiple: bool = False,  # noqa: FBT001, FBT002 - Twisted's interface
        *,
        reusePort: bool | None = None,
        family: int | None = None,
        latency: float | None = None,
        spread: bool = False,
    ) -> UDPPort:
        """
        Open a UDP port that can join groups, from any source or from chosen ones.

        @param port: 0 lets the kernel choose one.
        @param interface: what to listen on.

            - C{""} (the default): every IPv4 address; C{"::"}: every IPv6 address;
            - a name or an index, such as C{"eth0"} or 2: the same, with groups joined and
              multicast sent on that interface; for IPv6 C{"::%eth0"} says both;
            - a unicast address: bound to it, as in Twisted.  The kernel then delivers no
              multicast to it;
            - a group: bound to it, so that no other group on that port is heard.
        @param maxPacketSize: bytes; a larger datagram is dropped, counted and logged once.
        @param listenMultiple: other sockets may have the same port (SO_REUSEADDR; on Linux
            each of them then gets every multicast datagram).
        @param reusePort: SO_REUSEPORT too, which on Linux deals unicast datagrams out among
            the sockets.  Left out: as the system needs it for C{listenMultiple}.
        @param family: C{AF_INET} or C{AF_INET6}, where C{interface} does not tell.
        @param latency: seconds that datagrams may gather under load, which saves the cost of
            waking up for each few of them; 0 reads at once.  Left out, 0.001 for a protocol
            that takes runs and 0 for any other.
        @param spread: where groups or sources are beyond the limits of one socket (20 and 10 in
            Linux), open further ones, which feed the same protocol.  The port is then shared
            as with C{listenMultiple}.
        @raise CannotListenError: it could not be opened; the message says how to mend that.
        """
        opened = UDPPort(
            self,
            protocol,
            port,
            interface,
            maxPacketSize,
            listenMultiple=listenMultiple,
            reusePort=reusePort,
            family=family,
            latency=latency,
            memory=self._memory,
            spread=spread,
        )
        opened.startListening()
        return opened

    def listenUDP(
        self,
        port: int,
        protocol: AbstractDatagramProtocol,
        interface: InterfaceLike = "",
        maxPacketSize: int = 65535,
    ) -> UDPPort:
        """Open a UDP port; see L{listenMulticast}, from which it differs only in name."""
        return self.listenMulticast(port, protocol, interface, maxPacketSize)
