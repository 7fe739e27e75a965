"""Viewers that get a stream on a TCP connection without asking for it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from txgroupsock.relay.http.halfclose import HalfCloseable
from txgroupsock.relay.viewers.channels import Channels, NoRoom
from txgroupsock.relay.viewers.model import StreamModel
from txgroupsock.relay.viewers.viewer import Viewer


class StreamProtocol(HalfCloseable, Protocol):
    """Gives its connection a stream, and throws away what comes from there, if anything does."""

    factory: StreamFactory
    _viewer: Viewer | None = None

    def connectionMade(self) -> None:
        """Begin to watch."""
        factory, transport = self.factory, self.transport
        assert transport is not None  # noqa: S101 - it has just been set
        try:
            viewer = factory.channels.watch(factory.stream, transport)
        except NoRoom as error:
            factory.refused[error.reason] += 1
            transport.loseConnection()
            return
        self._viewer = viewer
        viewer.begin(isHeadWaiting=False)

    def dataReceived(self, data: bytes) -> None:
        """There is nothing that a viewer could have to say."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Watch no more."""
        if self._viewer is not None:
            self._viewer.lost()


class StreamFactory(Factory):
    """Gives every connection one stream."""

    noisy = False

    def __init__(
        self, channels: Channels, stream: StreamModel | str, refused: Counter[str]
    ) -> None:
        """@param refused: where connections that got nothing are counted."""
        self.channels = channels
        self.stream = stream
        self.refused = refused

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Make one for a new connection."""
        made = StreamProtocol()
        made.factory = self
        return made
