"""A reactor whose ports are groupsock's."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from twisted.internet.interfaces import (
    IConnector,
    IListeningPort,
    IReactorFDSet,
    IReactorMulticast,
    IReactorTime,
    IReactorUDP,
)
from twisted.internet.protocol import AbstractDatagramProtocol
from zope.interface import directlyProvides, providedBy

from txgroupsock.ports.clock import SteadyReactor, steady
from txgroupsock.ports.linkwatch import LinkWatch
from txgroupsock.ports.pacing import Shared
from txgroupsock.ports.rtppair import RTPPair, openRTPPair
from txgroupsock.ports.tcp import (
    KeepAliveConnector,
    KeepAlivePort,
    applyToDescriptor,
    needFactory,
    needListening,
    needPeer,
    needPort,
)
from txgroupsock.ports.udp import UDPPort
from txgroupsock.primitives import InterfaceLike, IPAddress, KeepAlive, setupDatagramSocket
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.checks import inRange, wholeNumber

_USUAL = KeepAlive()


class GroupsockReactor:
    """
    A reactor that opens UDP ports of this package, gives TCP connections keep-alive, and is
    the wrapped one in all else.

    Provides whatever that one provides, so it can be handed to code that takes a reactor: a
    stock endpoint made with it listens and connects with keep-alive.

    @ivar wrapped: the wrapped one.
    @ivar steadied: this one with a monotonic clock, by which its ports measure
        (L{steady <txgroupsock.ports.clock.steady>}).
    @ivar keepAlive: what connections get unless a call says otherwise; L{None}: nothing.
    @ivar sharedByPorts: what its UDP ports have in common.
    @ivar linkWatch: tells of changes of this host's interfaces.
    """

    @checked
    def __init__(
        self,
        reactor: Any,
        keepAlive: KeepAlive | None = _USUAL,
        *,
        openSocket: Callable[..., socket.socket] | None = None,
    ) -> None:
        """
        @param reactor: any that can watch descriptors (all but Windows' IOCP).
        @param keepAlive: for every TCP connection that is made or accepted through this
            object: 180 s of silence, then 5 probes 20 s apart, unless given.
        @param openSocket: makes the sockets of UDP ports, with the arguments of
            C{setupDatagramSocket}; left out, as the wrapped reactor does, or the kernel.
        @raise TypeError: it cannot.
        """
        shared: Shared | None = None
        linkWatch: LinkWatch | None = None
        if isinstance(reactor, SteadyReactor) and isinstance(reactor.wrapped, GroupsockReactor):
            reactor = reactor.wrapped
        if isinstance(reactor, GroupsockReactor):
            openSocket = openSocket or reactor.openSocket
            shared = reactor.sharedByPorts
            linkWatch = reactor.linkWatch
            reactor = reactor.wrapped  # once around is enough
        missing = [each for each in (IReactorFDSet, IReactorTime) if not each.providedBy(reactor)]
        if missing:
            raise TypeError(
                f"{type(reactor).__name__} does not provide {missing[0].__name__}, which "
                "groupsock's ports need; use a select, poll, epoll, kqueue or asyncio reactor"
            )
        self.wrapped: Any = reactor
        directlyProvides(self, providedBy(reactor), IReactorMulticast, IReactorUDP)
        self.steadied: Any = None
        self.steadied = steady(self)
        self.sharedByPorts: Shared = shared or Shared(self, self.steadied)
        self.linkWatch: LinkWatch = linkWatch or LinkWatch(self)
        self.keepAlive = keepAlive
        self.openSocket: Callable[..., socket.socket] = openSocket or setupDatagramSocket

    _own: ClassVar = frozenset(
        {"keepAlive", "linkWatch", "openSocket", "sharedByPorts", "steadied", "wrapped"}
    )
    """Attributes that are this object's; all others that are set are the wrapped reactor's."""

    def __getattr__(self, name: str) -> Any:
        if name in self._own:  # not there yet, or not any more
            raise AttributeError(name)
        return getattr(self.wrapped, name)

    def _has(self, name: str) -> bool:
        return name in self._own or hasattr(type(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._has(name):
            object.__setattr__(self, name, value)
        else:
            setattr(self.wrapped, name, value)

    def __delattr__(self, name: str) -> None:
        if self._has(name):
            object.__delattr__(self, name)
        else:
            delattr(self.wrapped, name)

    def __copy__(self) -> GroupsockReactor:
        """Another one around the same reactor."""
        return GroupsockReactor(self, self.keepAlive)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            f"a {type(self).__name__} can be neither pickled nor deep-copied: there is one reactor "
            "in a process; leave it out, and give what is restored its reactor again"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} around {self.wrapped!r}>"

    @checked
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
            shared=self.sharedByPorts,
            spread=spread,
            openSocket=self.openSocket,
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

    @checked
    def listenRTP(
        self,
        port: int,
        rtp: AbstractDatagramProtocol,
        rtcp: AbstractDatagramProtocol,
        interface: InterfaceLike = "",
        maxPacketSize: int = 65535,
        *,
        group: str | IPAddress | None = None,
        sources: Iterable[str | IPAddress] = (),
        listenMultiple: bool = False,
        family: int | None = None,
    ) -> RTPPair:
        """
        Open a pair of UDP ports: an even one for RTP and the next for RTCP (RFC 3550 section 11).

        Both are opened, and have joined, before either protocol is told.

        @param port: an odd one is replaced with the next lower one, as the RFC has it; 0 lets
            the kernel choose, and chooses again if the other half of the pair is taken.
        @param interface: as in L{listenMulticast}.
        @param group: what both join, on that interface; C{""} and no C{family} then mean the
            group's family.
        @param sources: who may send to the group; nobody in particular if left out.
        @param listenMultiple: as in L{listenMulticast}; a pair that the kernel chose is not
            shared.
        @raise CannotListenError: no such pair is free.
        @raise JoinError: the group could not be joined; nothing stays open.
        """
        return openRTPPair(
            self,
            port,
            rtp,
            rtcp,
            interface,
            maxPacketSize,
            group=group,
            sources=sources,
            listenMultiple=listenMultiple,
            family=family,
        )

    # TCP

    @checked
    def listenTCP(
        self,
        port: Any,
        factory: Any,
        backlog: int = 50,
        interface: InterfaceLike = "",
        *,
        keepAlive: KeepAlive | bool = True,
        reusePort: bool = False,
    ) -> IListeningPort:
        """
        Listen for TCP connections, which have keep-alive from their first packet on.

        @param port: 0 lets the kernel choose one; or what Twisted's C{makeBinding} made.
        @param interface: what to listen on: nothing, every IPv4 address; C{"::"}, every IPv6
            one, and IPv4 too where the system allows that; an address; the name or index of an
            interface: its IPv4 address, or its IPv6 one if it has no other.
        @param keepAlive: L{True}: this reactor's; L{False}: none.
        @param reusePort: SO_REUSEPORT, so that several worker processes can listen on one port.
        @return: the wrapped reactor's own kind of port.
        @raise CannotListenError: it could not be opened; the message says how to mend that.
        """
        return self._listen(port, factory, backlog, interface, keepAlive, reusePort, "TCP")

    def _listen(
        self,
        port: Any,
        factory: Any,
        backlog: int,
        interface: Any,
        keepAlive: KeepAlive | bool,  # noqa: FBT001 - handed on
        reusePort: bool,  # noqa: FBT001 - handed on
        kind: str,
    ) -> IListeningPort:
        needFactory(factory)
        needPort(port)
        wholeNumber("backlog", backlog, None, 2**31 - 1)
        opened = KeepAlivePort(
            port,
            factory,
            backlog,
            interface,
            self.wrapped,
            self._chosen(keepAlive=keepAlive),
            reusePort=reusePort,
            kind=kind,
        )
        opened.startListening()
        return opened

    @checked
    def connectTCP(
        self,
        host: Any,
        port: Any,
        factory: Any,
        timeout: float | None = 30,
        bindAddress: Any = None,
        *,
        keepAlive: KeepAlive | bool = True,
    ) -> IConnector:
        """
        Connect by TCP, with keep-alive from the first packet on, at each attempt.

        @param host: an address, or a name, which is looked up.
        @param port: its number, or the name of a service.
        @param timeout: seconds; L{None} leaves it to the system.
        @param bindAddress: C{(host, port)} to connect from.
        @param keepAlive: L{True}: this reactor's; L{False}: none.
        """
        needFactory(factory)
        needPeer(host, port, bindAddress)
        inRange("timeout", timeout)
        chosen = self._chosen(keepAlive=keepAlive)
        connector: IConnector
        if chosen is None:
            connector = self.wrapped.connectTCP(host, port, factory, timeout, bindAddress)
        else:
            connector = KeepAliveConnector(
                host, port, factory, timeout, bindAddress, self.wrapped, chosen
            )
            connector.connect()
        return connector

    @checked
    def listenSSL(
        self,
        port: Any,
        factory: Any,
        contextFactory: Any,
        backlog: int = 50,
        interface: InterfaceLike = "",
        *,
        keepAlive: KeepAlive | bool = True,
        reusePort: bool = False,
    ) -> IListeningPort:
        """Listen for TLS connections; otherwise as L{listenTCP}."""
        from twisted.protocols.tls import TLSMemoryBIOFactory  # needs pyOpenSSL

        wrapped = TLSMemoryBIOFactory(contextFactory, False, factory)
        return self._listen(port, wrapped, backlog, interface, keepAlive, reusePort, "TLS")

    @checked
    def connectSSL(
        self,
        host: Any,
        port: Any,
        factory: Any,
        contextFactory: Any,
        timeout: float | None = 30,
        bindAddress: Any = None,
        *,
        keepAlive: KeepAlive | bool = True,
    ) -> IConnector:
        """Connect by TLS; otherwise as L{connectTCP}."""
        from twisted.protocols.tls import TLSMemoryBIOFactory  # needs pyOpenSSL

        wrapped = TLSMemoryBIOFactory(contextFactory, True, factory)
        return self.connectTCP(host, port, wrapped, timeout, bindAddress, keepAlive=keepAlive)

    @checked
    def adoptStreamPort(
        self,
        fileDescriptor: int,
        addressFamily: int,
        factory: Any,
        *,
        keepAlive: KeepAlive | bool = True,
    ) -> IListeningPort:
        """
        Listen on a socket that somebody else opened, such as systemd.

        @param keepAlive: set on the socket itself, so for all who have it.  L{True}: this
            reactor's; L{False}: the socket is left as it is.
        @raise SocketOptionError: the kernel refused keep-alive.
        @raise OSError: it is no socket that listens: maybe the number belongs to something else by
            now.
        """
        needListening(fileDescriptor)
        applyToDescriptor(fileDescriptor, self._chosen(keepAlive=keepAlive))
        port: IListeningPort = self.wrapped.adoptStreamPort(fileDescriptor, addressFamily, factory)
        return port

    @checked
    def adoptStreamConnection(
        self,
        fileDescriptor: int,
        addressFamily: int,
        factory: Any,
        *,
        keepAlive: KeepAlive | bool = True,
    ) -> Any:
        """Take over a connection; otherwise as L{adoptStreamPort}."""
        applyToDescriptor(fileDescriptor, self._chosen(keepAlive=keepAlive))
        return self.wrapped.adoptStreamConnection(fileDescriptor, addressFamily, factory)

    def _chosen(self, *, keepAlive: KeepAlive | bool) -> KeepAlive | None:
        if isinstance(keepAlive, KeepAlive):
            return keepAlive
        return self.keepAlive if keepAlive else None
