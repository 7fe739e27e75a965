"""What an operator is told about a leg, made of what the route has of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from txgroupsock.relay.counters import Counters
from txgroupsock.relay.redundancy.failover import Candidate
from txgroupsock.relay.redundancy.legs import LegStatus
from txgroupsock.relay.status import LegReport

if TYPE_CHECKING:
    from txgroupsock.relay.engine.inputs import InputShare


def mergedLeg(share: InputShare, status: LegStatus, patience: float) -> LegReport:
    """
    One leg of a merge at one moment.

    @param share: what the route has of it.
    @param patience: seconds without a datagram from which on it is silent.
    """
    skew = status.skew
    return LegReport(
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


def candidateLeg(
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
    return LegReport(
        *_of(share),
        used=leg.passed,
        lossRate=leg.lossRate if isLossKnown else None,
        silence=silence,
        isSilent=silence is None or silence >= patience,
        isActive=isActive,
        buffer=share.buffer,
    )


def _of(share: InputShare) -> tuple[str, Counters, tuple[str, ...]]:
    return share.model.name, share.counters.copy(), tuple(share.describe())
