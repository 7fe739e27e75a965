"""What an operator is told about viewers."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from txgroupsock.relay.counters import Counters


@frozen
class ViewerStatus:
    """
    One viewer.

    @ivar peer: where it is: C{"10.0.0.7:51234"}.
    @ivar seconds: how long it has been watching.
    @ivar bytes: given to its connection, those in the kernel's buffer included.
    @ivar skips: gaps in what it got, because it took too little.
    @ivar skippedDatagrams: in those.
    @ivar skippedBytes: in those.
    @ivar isBehind: whether something waits for it outside the kernel.
    """

    peer: str
    seconds: float
    bytes: int
    skips: int
    skippedDatagrams: int
    skippedBytes: int
    isBehind: bool


@frozen
class ChannelStatus:
    """
    One channel since it was opened; what it counts includes viewers that have gone.

    @ivar name: its path, such as C{"/udp/239.1.1.1:5000"}, or what somebody else called it.
    @ivar counters: what has come in.
    @ivar viewers: who watches.
    @ivar viewersBefore: how many have gone.
    @ivar stalled: how many of those were closed because they took nothing.
    @ivar bytes: given to all.
    @ivar skips: of all.
    @ivar skippedDatagrams: of all.
    @ivar skippedBytes: of all.
    @ivar backlog: bytes kept for those that are behind.
    """

    name: str
    counters: Counters = field(factory=Counters)
    viewers: tuple[ViewerStatus, ...] = ()
    viewersBefore: int = 0
    stalled: int = 0
    bytes: int = 0
    skips: int = 0
    skippedDatagrams: int = 0
    skippedBytes: int = 0
    backlog: int = 0

    def including(self, viewer: ViewerStatus) -> ChannelStatus:
        """The same, with a viewer that has gone."""
        return evolve(self.plus(viewer), viewersBefore=self.viewersBefore + 1)

    def withOneStalled(self) -> ChannelStatus:
        """The same, with a viewer that took nothing."""
        return evolve(self, stalled=self.stalled + 1)

    def during(
        self, counters: Counters, backlog: int, viewers: tuple[ViewerStatus, ...]
    ) -> ChannelStatus:
        """The same, with who watches now."""
        now = evolve(self, counters=counters, backlog=backlog, viewers=viewers)
        for viewer in viewers:
            now = now.plus(viewer)
        return now

    def plus(self, viewer: ViewerStatus) -> ChannelStatus:
        """The same, with what a viewer got."""
        return evolve(
            self,
            bytes=self.bytes + viewer.bytes,
            skips=self.skips + viewer.skips,
            skippedDatagrams=self.skippedDatagrams + viewer.skippedDatagrams,
            skippedBytes=self.skippedBytes + viewer.skippedBytes,
        )


@frozen
class Totals:
    """
    Sums over all channels since the start, those that have been closed included.

    @ivar channels: that have been opened.
    @ivar viewers: that got a stream.
    """

    channels: int = 0
    viewers: int = 0
    stalled: int = 0
    bytes: int = 0
    skips: int = 0
    skippedDatagrams: int = 0
    skippedBytes: int = 0

    def withOneMoreChannel(self) -> Totals:
        """The same, with a channel that has been opened."""
        return evolve(self, channels=self.channels + 1)

    def plus(self, channel: ChannelStatus) -> Totals:
        """The same, with a channel; it is not counted as one more."""
        return Totals(
            self.channels,
            self.viewers + channel.viewersBefore + len(channel.viewers),
            self.stalled + channel.stalled,
            self.bytes + channel.bytes,
            self.skips + channel.skips,
            self.skippedDatagrams + channel.skippedDatagrams,
            self.skippedBytes + channel.skippedBytes,
        )


@frozen
class ViewersStatus:
    """
    All channels and viewers of a service.

    @ivar listening: the addresses that viewers may connect to.
    @ivar channels: that are open.
    @ivar viewers: how many watch now.
    @ivar totals: since the start.
    @ivar refused: requests and connections that got no stream, by HTTP status code or, for
        what came to no answer, by a word of docs/viewers.md.
    """

    listening: tuple[str, ...]
    channels: tuple[ChannelStatus, ...]
    viewers: int
    totals: Totals
    refused: Mapping[str, int]
