"""What an operator is told about viewers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from txgroupsock.relay.counters import Counters
from txgroupsock.relay.turns import Work, atOnce, inPieces
from txgroupsock.relay.viewers.model import Limits


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

    def toJSON(self) -> dict[str, Any]:
        """As docs/api.md has it."""
        return {
            "peer": self.peer,
            "seconds": self.seconds,
            **_givenOf(self),
            "isBehind": self.isBehind,
        }


@frozen
class ChannelStatus:
    """
    One channel since it was opened; what it counts includes viewers that have gone.

    @ivar name: its path, such as C{"/udp/239.1.1.1:5000"}, or what somebody else called it.
    @ivar counters: what has come in, and what was lost on the way: by the kernel, or as no RTP.
    @ivar viewers: who watches.
    @ivar viewersBefore: how many have gone.
    @ivar stalled: how many of those were closed because they took nothing.
    @ivar bytes: given to all.
    @ivar skips: of all.
    @ivar skippedDatagrams: of all.
    @ivar skippedBytes: of all.
    @ivar backlog: bytes kept for those that are behind.
    @ivar health: as docs/health.md has it; L{None} if it is not looked at.
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
    health: Mapping[str, Any] | None = None

    def including(self, viewer: ViewerStatus) -> ChannelStatus:
        """The same, with a viewer that has gone."""
        return evolve(self._plus([viewer]), viewersBefore=self.viewersBefore + 1)

    def withOneStalled(self) -> ChannelStatus:
        """The same, with a viewer that took nothing."""
        return evolve(self, stalled=self.stalled + 1)

    def during(
        self, counters: Counters, backlog: int, viewers: tuple[ViewerStatus, ...]
    ) -> ChannelStatus:
        """The same, with who watches now."""
        return evolve(self._plus(viewers), counters=counters, backlog=backlog, viewers=viewers)

    def droppingBefore(self, dropped: Counter[str]) -> ChannelStatus:
        """The same, with datagrams that were lost on their way to the channel."""
        counters = self.counters
        dropped = counters.dropped + dropped
        return evolve(self, counters=Counters(counters.datagrams, counters.bytes, dropped))

    def _plus(self, viewers: Sequence[ViewerStatus]) -> ChannelStatus:
        """The same, with what viewers got."""
        return evolve(
            self,
            bytes=self.bytes + sum(each.bytes for each in viewers),
            skips=self.skips + sum(each.skips for each in viewers),
            skippedDatagrams=self.skippedDatagrams + sum(each.skippedDatagrams for each in viewers),
            skippedBytes=self.skippedBytes + sum(each.skippedBytes for each in viewers),
        )

    def makingJSON(self) -> Work[dict[str, Any]]:
        """As docs/api.md has it, but for the rate, which needs an earlier one too."""
        counters = self.counters
        viewers = yield from inPieces(ViewerStatus.toJSON, self.viewers)
        return {
            "name": self.name,
            "datagrams": counters.datagrams,
            "bytes": counters.bytes,
            "dropped": dict(+counters.dropped),
            "given": _givenOf(self),
            "viewersBefore": self.viewersBefore,
            "stalled": self.stalled,
            "backlog": self.backlog,
            "viewers": viewers,
            "health": self.health,
        }


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
    @ivar limits: that hold for what comes now.
    @ivar streams: the path of each that has a name, and the name of its channel.
    @ivar channels: that are open.
    @ivar viewers: how many watch now.
    @ivar totals: since the start.
    @ivar refused: requests and connections that got no stream, by HTTP status code or, for
        what came to no answer, by a word of docs/viewers.md.
    """

    listening: tuple[str, ...]
    limits: Limits
    streams: Mapping[str, str]
    channels: tuple[ChannelStatus, ...]
    viewers: int
    totals: Totals
    refused: Mapping[str, int]

    def toJSON(self) -> dict[str, Any]:
        """What C{viewers} is in docs/api.md, but for the rates of channels."""
        return atOnce(self.makingJSON())

    def makingJSON(self) -> Work[dict[str, Any]]:
        """The same, some viewers at a time."""
        limits = self.limits
        channels = []
        for channel in self.channels:
            channels.append((yield from channel.makingJSON()))
            yield
        return {
            "listening": list(self.listening),
            "watching": self.viewers,
            "limits": {
                "viewers": limits.viewers,
                "viewersPerChannel": limits.viewersPerChannel,
                "channels": limits.channels,
            },
            "streams": [{"path": path, "name": name} for path, name in self.streams.items()],
            "refused": dict(self.refused),
            "totals": {
                "channels": self.totals.channels,
                "viewers": self.totals.viewers,
                "stalled": self.totals.stalled,
                **_givenOf(self.totals),
            },
            "channels": channels,
        }


def _givenOf(status: ViewerStatus | ChannelStatus | Totals) -> dict[str, int]:
    # attrs.asdict takes ten times as long, which counts where there are many viewers.
    return {
        "bytes": status.bytes,
        "skips": status.skips,
        "skippedDatagrams": status.skippedDatagrams,
        "skippedBytes": status.skippedBytes,
    }
