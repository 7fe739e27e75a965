"""Where a route's datagrams come from: one UDP port, and the groups it has joined."""

from __future__ import annotations

import errno
from collections import Counter
from contextlib import suppress
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.ports import GroupsockReactor, UDPPort
from txgroupsock.ports.clock import steady
from txgroupsock.ports.udp import RUN_LATENCY
from txgroupsock.primitives import (
    BufferSize,
    IPAddress,
    MembershipError,
    NotSupportedHere,
    SocketOptionError,
    UnknownInterface,
    bindToDevice,
    increaseReceiveBufferTo,
)
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.checks import needClosed
from txgroupsock.primitives.hoststate import HostState
from txgroupsock.primitives.run import Run
from txgroupsock.primitives.sockaddr import isMulticast
from txgroupsock.relay.carriers.udp.membership import StandingMembership
from txgroupsock.relay.carriers.udp.refresh import Refreshing, Senders
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.interfaces import IRelayInput, IWarning
from txgroupsock.relay.loops.guard import EchoGuard
from txgroupsock.relay.loops.local import Feedback
from txgroupsock.relay.models.udp import InputModel, withScope

SHORTEST_DELAY = 1.0
LONGEST_DELAY = 30.0
"""Seconds until what was refused is tried again, though nothing is known to have changed."""

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Bytes: 0.3 s of a 100 Mbit/s stream, for when this process is kept waiting."""


@implementer(IRelayInput, IRunReceiver, IWarning)
class UDPInput(DatagramProtocol):
    """
    Receives a group, from any source or from chosen ones, or unicast datagrams.

    A group's port is shared with other programs on this host, as is usual for multicast,
    and bound to the group, so that no other group on that port gets in; a unicast port
    is not shared.

    @ivar buffer: the receive buffer that was asked for and granted; L{None} until it is open.
    """

    noisy = False  # Twisted would log when it starts and stops

    _log = Logger()
    _receivers: tuple[IRunReceiver, ...] = ()

    @checked
    def __init__(
        self,
        reactor: Any,
        model: InputModel,
        *,
        isShared: bool | None = None,
        feedback: Feedback | None = None,
        isRelayed: bool = True,
    ) -> None:
        """
        @param reactor: provides C{IReactorFDSet} and C{IReactorTime}.  Inputs of one
            L{GroupsockReactor <txgroupsock.GroupsockReactor>} share what they receive into.
        @param isShared: whether other sockets may have the same port; left out, a group's is.
        @param feedback: knows the outputs of this process, so that what they send is not
            relayed round and round.
        @param isRelayed: whether what comes is sent on, so that there may be a loop to be stopped.
        """
        self.model = model
        self.buffer: BufferSize | None = None
        isOurs = isinstance(reactor, GroupsockReactor)
        self._reactor = reactor if isOurs else GroupsockReactor(reactor)
        self._isShared = model.isMulticast if isShared is None else isShared
        self._feedback = feedback or Feedback()
        self._port: UDPPort | None = None
        self._counters = Counters()
        self._droppedBefore = Counter[str]()  # by ports that have been closed
        self._standing: StandingMembership | None = None
        self._isOpen = self._isWatching = False
        self._boundTo = 0  # index of the interface
        self._trouble = self._problem = ""
        self._delay = SHORTEST_DELAY
        self._retry: IDelayedCall | None = None
        self._joinsBefore = self._refreshed = 0  # of sockets that have been closed
        self._senders = Senders()
        self._refreshing = Refreshing(self._reactor, self._received, self._refresh)
        self._guard = EchoGuard(self._counters, model) if isRelayed else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model}>"

    @property
    def counters(self) -> Counters:
        """See L{IRelayInput}."""
        if self._port is not None and self._port.connected:
            dropped, before = self._counters.dropped, self._droppedBefore
            truncated = self._port.statistics.datagramsTruncated
            for reason, count in (("truncated", truncated), ("kernel", self._port.kernelDrops())):
                if count:
                    dropped[reason] = before[reason] + count
        return self._counters

    def openInput(self, receiver: IRunReceiver, *, waits: bool = False) -> None:
        """
        See L{IRelayInput}.

        @param waits: where the interface or the address is not there yet, wait until it is
            instead of raising.
        """
        needClosed(self, self._isOpen)
        self._receivers = (receiver,)
        try:
            self._acquire(HostState(), waits=waits)
        except OSError as error:
            if not (waits and _mayCome(error)):
                self._dropPort()
                raise
            self._lost(error)
        except BaseException:
            self._dropPort()
            raise
        self._isOpen = True
        self._watch()
        self._refreshing.start(self.model.refresh)

    def giveTo(self, *receivers: IRunReceiver) -> None:
        """Give what comes from now on to these."""
        self._receivers = receivers

    def _acquire(self, state: HostState, *, waits: bool) -> None:
        """Open the port and join what there is to join, or what of that is still missing."""
        if self._port is None:
            self._openPort(state, waits=waits)
        if self._standing is not None and not self._standing.isJoined:
            self._standing.join(state)

    def _openPort(self, state: HostState, *, waits: bool) -> None:
        model = self.model
        try:
            self._boundTo = state.indexOf(model.interface)
        except UnknownInterface:
            if not waits or _isOfOneLink(model.address):
                raise
            self._boundTo = 0
        try:
            port = self._reactor.listenMulticast(
                model.port,
                self,
                str(withScope(model.address, self._boundTo)),
                listenMultiple=self._isShared,
                latency=model.latency,
            )
        except CannotListenError as error:
            raise error.socketError from None
        self._port = port
        self._prepare(port)
        if model.isMulticast:
            self._standing = StandingMembership(model, port.memberships)

    def _dropPort(self) -> None:
        """Close the port at once; its counts remain."""
        self._droppedBefore = self.counters.dropped.copy()  # the kernel's go with the socket
        self._joinsBefore = self._joins
        port, self._port, self._standing = self._port, None, None
        if port is not None:
            port.connectionLost()

    # Staying joined

    def _watch(self) -> None:
        """Hear of changes if they matter: to a group, or while there is something to wait for."""
        model = self.model
        isWanted = self._isOpen and (
            model.isMulticast or self._port is None or _isOfOneLink(model.address)
        )
        if isWanted and not self._isWatching:
            routes = model.isMulticast and not model.interface
            self._reactor.linkWatch.add(self._changed, routes=routes)
        elif self._isWatching and not isWanted:
            self._reactor.linkWatch.remove(self._changed)
        self._isWatching = isWanted

    def _changed(self, state: HostState) -> None:
        """Something about interfaces or routes is not as it was: have again what is missing."""
        before = self._joins
        try:
            if self._hasMoved(state):
                self._dropPort()
            isBack = False
            if self._standing is not None and self._isReceived():
                isBack = self._standing.check(state)
            else:
                self._acquire(state, waits=True)
        except OSError as error:
            # Out of descriptors, it cannot be seen whether anything has changed, and nothing has
            # been touched.
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._isReceived():
                self._lost(error)
        else:
            self._found(isOther=self._joins != before)
            if isBack:
                self._log.info("{model}: the carrier is back", model=self.model)
                self._refresh(mayLose=self.model.address.version == 4, state=state)
        self._watch()

    def _hasMoved(self, state: HostState) -> bool:
        """Whether the socket is bound to an interface that is another one by now."""
        if self._port is None or not _isOfOneInterface(self.model):
            return False
        try:
            return state.indexOf(self.model.interface) != self._boundTo
        except UnknownInterface:
            return False

    def _isReceived(self) -> bool:
        """Whether the port is open, and has joined what there is to join."""
        return self._port is not None and (self._standing is None or self._standing.isJoined)

    def _lost(self, error: OSError) -> None:
        """Nothing is received: say so once, and try again now and then."""
        if str(error) != self._trouble:
            self._log.warn(
                "{model} is not received: {error}; retrying",
                model=self.model,
                error=error,
            )
        self._trouble = str(error)
        if self._retry is None:
            self._retry = steady(self._reactor).callLater(self._delay, self._tryAgain)
            self._delay = min(2 * self._delay, LONGEST_DELAY)

    def _found(self, *, isOther: bool) -> None:
        """Something is received, if not from where it should be; say so if that is new."""
        trouble, self._trouble = self._trouble, ""
        self._delay = SHORTEST_DELAY
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if trouble or isOther:
            lines = "; ".join(self.describe())
            self._log.info("{model} is received again: {lines}", model=self.model, lines=lines)
        problem = "" if self._standing is None else self._standing.problem
        if problem and problem != self._problem:
            self._log.warn("{model}: {problem}", model=self.model, problem=problem)
        self._problem = problem

    def _tryAgain(self) -> None:
        self._retry = None
        self._changed(HostState())

    def _refresh(self, *, mayLose: bool, state: HostState | None = None) -> None:
        """Report the membership again."""
        standing = self._standing
        if standing is None or not standing.isJoined:
            return
        senders, state = self._senders.latest(), state or HostState()
        try:
            self._refreshed += standing.refresh(senders, state, mayLose=mayLose)
        except OSError as error:
            self._log.warn("{model} cannot be refreshed: {error}", model=self.model, error=error)
            self._changed(HostState())

    @property
    def _joins(self) -> int:
        return self._joinsBefore + (0 if self._standing is None else self._standing.joins)

    def _received(self) -> int:
        """Datagrams that have come, whatever became of them."""
        return 0 if self._port is None else self._port.statistics.datagramsReceived

    def setRefresh(self, refresh: float | None) -> None:
        """
        Refresh memberships at other times from now on.

        @param refresh: as in L{InputModel}.
        """
        self.model = evolve(self.model, refresh=refresh)
        if self._isOpen:
            self._refreshing.start(refresh)

    def setLatency(self, latency: float | None) -> None:
        """
        Let datagrams gather for another time from now on.

        @param latency: seconds; L{None} for the usual.
        """
        self.model = evolve(self.model, latency=latency)
        if self._port is not None:
            self._port.latency = RUN_LATENCY if latency is None else latency

    def _prepare(self, port: UDPPort) -> None:
        """Have room for what arrives, and hear only what arrives where it is to."""
        model = self.model
        if self._boundTo and _isOfOneInterface(model):
            # Linux gives a socket what a group gets on any interface, if it has joined it on one.
            with suppress(NotSupportedHere, SocketOptionError):
                bindToDevice(port.getHandle(), model.interface)
        self.buffer = buffer = increaseReceiveBufferTo(port.getHandle(), RECEIVE_BUFFER, force=True)
        if buffer.isClamped:
            self._log.warn(
                "the receive buffer of {model} has {buffer.granted:,} bytes instead of "
                "{buffer.requested:,}; {buffer.advice}",
                model=model,
                buffer=buffer,
            )

    def closeInput(self) -> Deferred[None]:
        """See L{IRelayInput}."""
        self._droppedBefore = self.counters.dropped.copy()  # the kernel's go with the socket
        if self._guard is not None:
            self._guard.close()
        self._isOpen = False
        self._watch()
        self._refreshing.stop()
        self._joinsBefore = self._refreshed = 0
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._trouble = self._problem = ""
        port, self._port, self._standing = self._port, None, None
        return succeed(None) if port is None else port.stopListening()

    def describe(self) -> list[str]:
        """See L{IRelayInput}."""
        if self._port is None:
            return []
        host = self._port.getHost()
        if self._standing is None:
            return [f"listening on {host.host} port {host.port}"]
        if not self._standing.isJoined:
            return []
        done = [
            f", {verb} {_times(count)}"
            for verb, count in (("joined again", self._joins - 1), ("refreshed", self._refreshed))
            if count
        ]
        memberships = self._port.memberships
        return [f"joined {each}, port {host.port}{''.join(done)}" for each in memberships]

    def warnings(self) -> list[str]:
        """See L{IWarning}."""
        advice = "" if self.buffer is None else self.buffer.advice
        found = [f"the receive buffer is small: {advice}"] if advice else []
        if self._trouble:
            found.append(f"nothing is received: {self._trouble}; retrying")
        return found + ([self._problem] if self._problem else [])

    def runReceived(self, run: Run) -> None:
        """Pass a run on, unless it is what this process has sent, or what came in before."""
        if self._standing is not None:
            self._senders.heard(run.sender[0], run.arrival)
        if self._guard is None:
            self._pass(run)
        elif self._feedback.isLoop(self, run):
            self._counters.dropped["loop"] += len(run)
        else:
            for part in self._guard.newOf(run):
                self._pass(part)

    def _pass(self, run: Run) -> None:
        # Counters.passed(), which takes 0.2 µs more with the two calls that tell it how many.
        counters, size = self._counters, len(run.data)
        counters.datagrams += 1 if size <= run.segmentSize else len(run)
        counters.bytes += size
        for receiver in self._receivers:
            receiver.runReceived(run)


def _mayCome(error: OSError) -> bool:
    """Whether what an input lacks may come by itself: an interface, an address, a route."""
    isOfInterface = isinstance(error, MembershipError) and error.errno == errno.EINVAL
    return isOfInterface or error.errno in (errno.ENODEV, errno.EADDRNOTAVAIL, errno.ENETDOWN)


def _isOfOneInterface(model: InputModel) -> bool:
    """Whether the socket of an input is bound to an interface."""
    isGroup = model.address.version == 6 and model.isMulticast and bool(model.interface)
    return isGroup or _isOfOneLink(model.address)


def _isOfOneLink(address: IPAddress) -> bool:
    """Whether a socket bound to an address is bound to the interface, too (RFC 4007 section 6)."""
    isGroupOfLink = address.version == 6 and isMulticast(address) and address.packed[1] & 0xF <= 2
    return isGroupOfLink or (address.version == 6 and address.is_link_local)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
