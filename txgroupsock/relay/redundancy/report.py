"""What an operator is told about an input that is made of several, and about each of these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from txgroupsock.primitives import BufferSize
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.redundancy.failover import Candidate
from txgroupsock.relay.redundancy.legs import LegStatus

if TYPE_CHECKING:
    from txgroupsock.relay.engine.inputs import InputShare


@frozen
class LegReport:
    """
    One leg at one moment.

    What only a merge, or only a failover that looks at losses, knows is L{None} elsewhere.

    @ivar name: its URL.
    @ivar counters: what has come in, and what was dropped on the way in.
    @ivar state: what is open, for people.
    @ivar used: datagrams that were given on.
    @ivar lost: missing on this leg; less again if some come late.
    @ivar duplicates: that had come on this very leg before.
    @ivar late: that came when they had been given up.
    @ivar strays: of another stream than is given on.
    @ivar lossRate: share of the datagrams of the last seconds, 0 to 1.
    @ivar skew: least, most and mean seconds behind whichever leg was first.
    @ivar silence: seconds since its last datagram; L{None} before the first.
    @ivar isSilent: whether that is longer than the configuration lets pass.
    @ivar isActive: whether it is the one that a failover gives on; L{None} for a merge.
    @ivar buffer: the kernel's buffer for it; L{None} while it is closed.
    """

    name: str
    counters: Counters
    state: tuple[str, ...]
    used: int
    lost: int | None = None
    duplicates: int | None = None
    late: int | None = None
    strays: int | None = None
    lossRate: float | None = None
    skew: tuple[float, float, float] | None = None
    silence: float | None = None
    isSilent: bool = True
    isActive: bool | None = None
    buffer: BufferSize | None = None

    @classmethod
    def ofMerged(cls, share: InputShare, status: LegStatus, patience: float) -> LegReport:
        """
        @param share: what the route has of it.
        @param patience: seconds without a datagram from which on it is silent.
        """
        skew = status.skew
        return cls(
            *_of(share),
            used=status.used,
            lost=status.lost,
            duplicates=status.duplicates,
            late=status.late,
            strays=status.strays,
            lossRate=status.lossRate,
            skew=(skew.least, skew.most, skew.mean),
            silence=status.silence,
            isSilent=status.silence is None or status.silence >= patience,
            buffer=share.buffer,
        )

    @classmethod
    def ofCandidate(
        cls,
        share: InputShare,
        leg: Candidate,
        now: float,
        patience: float,
        *,
        isActive: bool,
        isLossKnown: bool,
    ) -> LegReport:
        """The same for a leg of a failover."""
        silence = None if leg.lastHeard is None else max(0.0, now - leg.lastHeard)
        return cls(
            *_of(share),
            used=leg.passed,
            lossRate=leg.lossRate if isLossKnown else None,
            silence=silence,
            isSilent=silence is None or silence >= patience,
            isActive=isActive,
            buffer=share.buffer,
        )

    def __str__(self) -> str:
        """For the log: what came of it."""
        parts = [str(self.counters), f"{self.used:,} used"]
        if self.lost is not None:
            parts.append(f"{self.lost:,} lost, {self.late:,} late")
        if self.skew is not None:
            least, most, mean = (1000 * each for each in self.skew)
            parts.append(f"{least:.1f} to {most:.1f} ms behind (mean {mean:.1f})")
        return ", ".join(parts)

    @classmethod
    def fromJSON(cls, value: Mapping[str, Any]) -> LegReport:
        """The report whose fields JSON had."""
        counted, skew, buffer = value["counters"], value["skew"], value["buffer"]
        dropped = Counter(counted["dropped"])
        return cls(
            **{
                **value,
                "counters": Counters(counted["datagrams"], counted["bytes"], dropped),
                "state": tuple(value["state"]),
                "skew": skew and (skew[0], skew[1], skew[2]),
                "buffer": buffer and BufferSize(**buffer),
            }
        )


@frozen
class RedundancyReport:
    """
    An input that is made of several, at one moment.

    @ivar kind: C{"merge"} or C{"failover"}.
    @ivar changes: how often a failover went over to another leg, or the stream of a merge began
        anew.
    """

    kind: str
    changes: int
    legs: tuple[LegReport, ...]

    def report(self) -> list[str]:
        """A line for each leg."""
        return [
            f"leg {number}{', given on' if leg.isActive else ''}, {leg.name}: {leg}"
            for number, leg in enumerate(self.legs, 1)
        ]

    @classmethod
    def fromJSON(cls, value: Mapping[str, Any]) -> RedundancyReport:
        """The report whose fields JSON had."""
        legs = tuple(LegReport.fromJSON(each) for each in value["legs"])
        return cls(value["kind"], value["changes"], legs)


def _of(share: InputShare) -> tuple[str, Counters, tuple[str, ...]]:
    return share.model.name, share.counters.copy(), tuple(share.describe())
