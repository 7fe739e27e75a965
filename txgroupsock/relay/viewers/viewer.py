"""
A viewer: one connection that a channel's blocks are given to.

A block goes straight to its socket, which costs half of what C{transport.write} does: that
copies, queues, and sends from the reactor's next turn.  Twisted allows it: C{getHandle} is
public, and a pull producer is told when the transport's buffer is empty and the socket has
room, so that the order is kept.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IPullProducer,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from zope.interface import implementer

from txgroupsock.interfaces import IKeepAlive
from txgroupsock.ports.clock import steady
from txgroupsock.ports.keepalive import handleOf
from txgroupsock.primitives import GroupsockError, setSendBufferTo
from txgroupsock.primitives.destination import WOULD_BLOCK
from txgroupsock.relay.http.halfclose import hasHungUp
from txgroupsock.relay.http.places import addressOf, originOf
from txgroupsock.relay.viewers.block import Position
from txgroupsock.relay.viewers.status import ViewerStatus

_NO_ROOM = WOULD_BLOCK | {errno.ENOBUFS}


class Viewer:
    """
    What viewers have in common; see L{viewerOf}.

    @ivar peer: the other end, for people.
    @ivar origin: where that is; see L{originOf}.
    @ivar began: where in the channel it began.
    @ivar position: up to where it has been given everything, or skipped it, while it is behind.
    @ivar lastTaken: when it was last seen to take something, in seconds of the reactor's clock.
    """

    began: Position
    position: Position
    lastTaken = 0.0

    def __init__(self, reactor: Any, transport: Any, channel: Any) -> None:
        """
        @param transport: of its connection, on which nobody else writes from now on.
        @param channel: the L{Channel} that it watches.
        """
        self.peer = addressOf(transport.getPeer())
        self._reactor = reactor = steady(reactor)
        self.origin = originOf(transport.getPeer())
        self._transport = transport
        self._channel = channel
        self._since: float = reactor.seconds()
        self._skips = self._skippedDatagrams = self._skippedBytes = 0
        self._acknowledged: int | None = None
        self._lastPosition: Position | None = None
        self._isLost = False
        self._isEnding = False
        self._waiting: list[Deferred[None]] = []

    # For its channel

    def send(self, data: bytes | memoryview) -> int:
        """Take what it can of a block; how many bytes that is."""
        raise NotImplementedError

    def take(self, data: bytes) -> bool:
        """Take a whole block, if need be in time; whether it can take another one now."""
        raise NotImplementedError

    def keep(self, rest: memoryview) -> None:
        """Take the rest of a block in time."""
        raise NotImplementedError

    def refused(self, data: bytes | memoryview, error: OSError) -> None:
        """Its socket raised this when it was given a block."""
        if error.errno in _NO_ROOM:
            self.keep(memoryview(data))
        else:
            self.end(error.strerror or str(error))

    def skipTo(self, position: Position) -> None:
        """Go on from there; what it has not got by now it never will."""
        self._skips += 1
        self._skippedDatagrams += position.datagrams - self.position.datagrams
        self._skippedBytes += position.bytes - self.position.bytes
        self.position = position

    def hasTaken(self) -> bool:
        """Whether it has taken anything since this was last asked, or nothing was there to take."""
        position = self._reached()
        hasMoved, self._lastPosition = position != self._lastPosition, position
        keepAlive: Any = IKeepAlive(self._transport, None)
        try:
            state = None if keepAlive is None else keepAlive.getConnectionState()
        except GroupsockError:  # not on this system, or the connection is no longer
            state = None
        if state is None or state.bytesAcknowledged is None:
            return hasMoved or self._channel.isLive(self)
        before, self._acknowledged = self._acknowledged, state.bytesAcknowledged
        isWaiting = bool(state.bytesUnsent or state.unacknowledged)
        return before != self._acknowledged or not (isWaiting or not self._channel.isLive(self))

    def hasGone(self) -> bool:
        """Whether its connection is dead, which the reactor does not see of a half-closed one."""
        return hasHungUp(self._transport)

    # For its connection

    def begin(self, *, isHeadWaiting: bool) -> None:
        """
        Begin to watch.

        @param isHeadWaiting: whether something was written to the transport just now.
        """
        raise NotImplementedError

    def end(self, reason: str) -> None:
        """Close the connection, without waiting for a peer that takes nothing."""
        if self._isEnding or self._isLost:
            return
        self._isEnding = True
        isLive = self._channel.isLive(self)
        self._say("{peer} disconnected from {name}: {reason}", reason=reason)
        self._channel.remove(self)
        # Nothing closes while a producer is registered.
        self._transport.unregisterProducer()
        if isLive and not ISSLTransport.providedBy(self._transport):
            self._transport.loseConnection()
        else:  # TLS waits for the peer to agree
            self._transport.abortConnection()

    def lost(self) -> None:
        """The connection has been closed."""
        if self._isLost:
            return
        self._isLost = True
        if not self._isEnding:
            self._say("{peer} disconnected from {name}")
            self._channel.remove(self)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def whenLost(self) -> Deferred[None]:
        """Fires when the connection has been closed."""
        if self._isLost:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def stopProducing(self) -> None:
        """See C{IProducer}."""
        self.lost()

    def status(self) -> ViewerStatus:
        """What it has got."""
        reached = self._reached()
        return ViewerStatus(
            self.peer,
            self._reactor.seconds() - self._since,
            reached.bytes - self.began.bytes - self._skippedBytes,
            self._skips,
            self._skippedDatagrams,
            self._skippedBytes,
            not self._channel.isLive(self),
        )

    def _reached(self) -> Position:
        reached: Position = self._channel.position if self._channel.isLive(self) else self.position
        return reached

    def _say(self, text: str, **values: str) -> None:
        words = {"peer": self.peer, "name": self._channel.name, **values}
        self._channel.sayings.info(self.origin, text, **words)


@implementer(IPullProducer)
class DirectViewer(Viewer):
    """Is given blocks by its socket, and by its transport what does not go into that at once."""

    def __init__(self, reactor: Any, transport: Any, channel: Any) -> None:
        Viewer.__init__(self, reactor, transport, channel)
        self.send = transport.getHandle().send  # type: ignore[method-assign]
        self._isBeginning = False
        self._rest: memoryview | None = None

    def begin(self, *, isHeadWaiting: bool) -> None:
        """See L{Viewer}."""
        self._isBeginning = True  # it is resumed at once, whatever waits in the transport
        self._transport.registerProducer(self, False)
        self._isBeginning = False
        if not isHeadWaiting:
            self._channel.catchUp(self)

    def take(self, data: bytes | memoryview) -> bool:
        """See L{Viewer}."""
        try:
            sent = self.send(data)
        except OSError as error:
            self.refused(data, error)
            return False
        if sent == len(data):
            return True
        self.keep(memoryview(data)[sent:])
        return False

    def keep(self, rest: memoryview) -> None:
        """
        See L{Viewer}.

        The transport would copy it, for each of those that are behind; so it is only asked to
        say, by L{resumeProducing}, when the socket has room again.
        """
        self._rest = rest
        self._channel.fellBehind(self)
        self._transport.startWriting()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty, and the socket has room."""
        if self._isBeginning or self._isEnding:
            return
        rest, self._rest = self._rest, None
        if rest is None or self.take(rest):
            self._channel.catchUp(self)


@implementer(IPushProducer)
class WrittenViewer(Viewer):
    """Is given blocks by its transport, which encrypts them or does whatever else it does."""

    _isPaused = False

    def begin(self, *, isHeadWaiting: bool) -> None:
        """See L{Viewer}."""
        self._transport.registerProducer(self, True)
        self._channel.catchUp(self)

    def send(self, data: bytes | memoryview) -> int:
        """See L{Viewer}."""
        self._transport.write(data)
        return len(data)

    def take(self, data: bytes) -> bool:
        """See L{Viewer}."""
        self._transport.write(data)
        return not self._isPaused

    def keep(self, rest: memoryview) -> None:
        """See L{Viewer}."""
        self._transport.write(bytes(rest))

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._isPaused = True
        self._channel.fellBehind(self)

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        self._isPaused = False
        if not self._isEnding:
            self._channel.catchUp(self)


def viewerOf(reactor: Any, transport: Any, channel: Any, sendBuffer: int) -> Viewer:
    """
    A viewer on a connection, which does not watch yet.

    @param transport: any stream transport of Twisted.  Only one that is a socket's own, and not
        TLS's nor that of another protocol wrapper, is passed by.
    @param channel: the L{Channel} to watch.
    @param sendBuffer: bytes that the kernel may hold for it.  Left alone, the kernel lets it
        grow to 4 MiB and more for each that is slow.
    """
    if ITCPTransport.providedBy(transport):
        transport.setTcpNoDelay(True)  # a block is not held back to wait for another
    handle = handleOf(transport)
    if handle is not None:
        with suppress(GroupsockError):  # it is closed; whoever owns it will hear of that
            setSendBufferTo(handle, sendBuffer, force=True)
    isOwn = isinstance(transport, FileDescriptor) and not ISSLTransport.providedBy(transport)
    made = DirectViewer if isOwn and handle is not None else WrittenViewer
    return made(reactor, transport, channel)
