"""The health of a route as /api/status has it."""

from __future__ import annotations

import json
from typing import Any

from txgroupsock.relay.health import (
    Alarm,
    HealthFigures,
    PIDFigures,
    RTPFigures,
    StreamFigures,
    TSFigures,
)

LOSS = "3 of 1,000 RTP packets were lost; look for it at the sender and in the network"


def health(*, isHeard: bool = True, hasAlarm: bool = True, **changes: Any) -> dict[str, Any]:
    """A stream of three PIDs in RTP with some errors; or nothing of it yet."""
    alarm = Alarm("news", "rtpLoss", LOSS, 0.003, 0.0, 1000.0, 12.5)
    stream = StreamFigures(
        datagrams=50_000,
        bytes=65_800_000,
        runs=40_000,
        seconds=1.0,
        datagramRate=1000.0,
        bitRate=10_528_000.0,
        least=0.0005,
        mean=0.001,
        most=0.004,
        longest=1.25,
        silences=1,
        kernelDrops=12,
    )
    rtp = RTPFigures(
        isRTP=True,
        ssrc=0x1234,
        payloadType=33,
        clockRate=90_000,
        sequence=51_000,
        expected=50_003,
        received=50_000,
        lost=3,
        recentExpected=1000,
        recentLost=3,
        reordered=2,
        duplicates=1,
        jitter=1.5,
        mostJitter=7.25,
    )
    busiest = (
        PIDFigures(256, 27, 300_000, 5, 0, 0, 0.25),
        PIDFigures(257, 4, 40_000, 0, 0, 0, None),
        PIDFigures(0, None, 1000, 0, 0, 0, None),
    )
    ts = TSFigures(
        isTS=True,
        carrier="RTP",
        packets=350_000,
        isInSync=True,
        syncByteErrors=2,
        continuityErrors=5,
        pmtErrors=1,
        pcrJitter=0.25,
        mostPCRJitter=0.5,
        nullShare=0.025,
        missing=("PID 258",),
        recentContinuityErrors=5,
        pids=3,
        busiest=busiest,
    )
    parts = (rtp, ts) if isHeard else (RTPFigures(), TSFigures())
    figures = HealthFigures(1000.0, stream, *parts, (alarm,) if hasAlarm else ())
    found: dict[str, Any] = json.loads(json.dumps(figures.toJSON()))
    return {**found, **changes}
