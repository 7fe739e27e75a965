"""Alarms are raised and cleared, neither at once nor twice, and say what to do."""

from __future__ import annotations

from typing import Any

import pytest

from txgroupsock.relay.health import RTPFigures, StreamFigures, Thresholds, TSFigures
from txgroupsock.relay.health.alarms import Alarms
from txgroupsock.relay.health.thresholds import Finding

WRONG = Finding("rtpLoss", "packets were lost; look", 0.5, 0.1)


def namesOf(
    thresholds: Thresholds,
    stream: StreamFigures | None = None,
    rtp: RTPFigures | None = None,
    ts: TSFigures | None = None,
) -> list[str]:
    """Which thresholds are crossed; each says what to do about it, after a semicolon."""
    found = thresholds.findings(stream or StreamFigures(), rtp, ts)
    assert all("; " in each.text for each in found)
    return [each.name for each in found]


def having(name: str, limit: Any) -> Thresholds:
    """Thresholds of which one is not the usual."""
    return Thresholds(**{name: limit})


def test_anAlarmWaitsAndStays() -> None:
    """It is raised after having been found for a while, and cleared after not having been."""
    alarms = Alarms("news", raiseAfter=2, clearAfter=5)
    assert alarms.take([WRONG], 100) == []
    assert alarms.take([WRONG], 101) == []
    assert alarms.raised(101) == ()
    [raised] = alarms.take([WRONG], 102)
    assert (raised.source, raised.name, raised.isRaised) == ("news", "rtpLoss", True)
    assert alarms.take([WRONG], 103) == alarms.take([], 104) == alarms.take([], 108) == []
    assert [each.seconds for each in alarms.raised(108)] == [6]
    [cleared] = alarms.take([], 109)
    assert (cleared.isRaised, cleared.seconds, cleared.text) == (False, 7, WRONG.text)
    assert str(cleared) == "news: over after 7 s: packets were lost; look"
    assert alarms.raised(109) == ()


def test_whatComesAndGoesIsOneAlarm() -> None:
    """Found again before it is cleared, an alarm goes on; what goes in time is none."""
    alarms = Alarms("news", raiseAfter=2, clearAfter=5)
    assert alarms.take([WRONG], 0) == alarms.take([], 1) == alarms.take([WRONG], 2) == []
    assert alarms.take([WRONG], 3.9) == []
    assert len(alarms.take([WRONG], 4)) == 1
    for now in range(5, 30):
        assert alarms.take([WRONG] if now % 4 == 0 else [], now) == []
    assert len(alarms.raised(30)) == 1


def test_silenceIsAllThatIsSaidInSilence() -> None:
    """What follows from it is not said as well."""
    ts = TSFigures(isTS=True, missing=("PAT",))
    silent = StreamFigures(silence=1.5)
    assert namesOf(Thresholds(leastBitRate=1e6), silent, None, ts) == ["silence"]
    assert namesOf(Thresholds(silence=None), silent, None, ts) == ["missing"]


@pytest.mark.parametrize(
    ("name", "limit", "stream", "rtp", "ts"),
    [
        ("leastBitRate", 1e6, StreamFigures(bitRate=9e5), None, None),
        ("mostBitRate", 1e6, StreamFigures(bitRate=2e6), None, None),
        ("kernelDrops", 5, StreamFigures(recentKernelDrops=6), None, None),
        ("rtpLoss", 0.1, None, RTPFigures(isRTP=True, recentLost=2, recentExpected=10), None),
        ("jitter", 10, None, RTPFigures(isRTP=True, jitter=11.0), None),
        ("continuityErrors", 3, None, None, TSFigures(isTS=True, recentContinuityErrors=4)),
        ("syncByteErrors", 3, None, None, TSFigures(isTS=True, recentSyncByteErrors=4)),
        ("transportErrors", 3, None, None, TSFigures(isTS=True, recentTransportErrors=4)),
        ("missing", True, None, None, TSFigures(isTS=True, missing=("PAT",) * 7)),
        ("pcrJitter", 3, None, None, TSFigures(isTS=True, pcrJitter=4.0)),
        ("scrambled", True, None, None, TSFigures(isTS=True, scrambledPIDs=(256,))),
    ],
)
def test_eachThresholdIsWatched(
    name: str,
    limit: Any,
    stream: StreamFigures | None,
    rtp: RTPFigures | None,
    ts: TSFigures | None,
) -> None:
    """What crosses its limit is found, what is at it is not, and what is not watched neither."""
    assert namesOf(having(name, limit), stream, rtp, ts) == [name]
    assert namesOf(having(name, False if limit is True else None), stream, rtp, ts) == []
    [found] = having(name, limit).findings(stream or StreamFigures(), rtp, ts)
    if limit is not True:
        assert namesOf(having(name, found.value), stream, rtp, ts) == []


def test_aStreamThatIsNoneHasNoFaults() -> None:
    """Without RTP or a transport stream, nothing is said of them."""
    assert namesOf(Thresholds(jitter=0), None, RTPFigures(jitter=9), TSFigures(pcrJitter=9)) == []


@pytest.mark.parametrize(
    ("name", "value"), [("rtpLoss", 1.5), ("silence", 0), ("jitter", -1), ("clearAfter", -1)]
)
def test_limitsHaveToMakeSense(name: str, value: Any) -> None:
    """A share is at most 1, and nothing is negative."""
    with pytest.raises(ValueError, match=name):
        having(name, value)
