"""What can be told of any stream."""

from __future__ import annotations

import pytest

from tests.relay.health.support import runOf
from txgroupsock.relay.health.stream import StreamFigures, StreamHealth


def test_ratesAreThoseOfTheLastInterval() -> None:
    """Counts are since the beginning; rates begin anew with each interval."""
    health = StreamHealth(100.0)
    for number in range(10):
        health.take(runOf([bytes(1000)] * 4, 100 + number / 10))
    first = health.measure(102.0)
    assert (first.datagrams, first.bytes, first.runs) == (40, 40_000, 10)
    assert (first.seconds, first.datagramRate, first.bitRate) == (2.0, 20.0, 160_000.0)
    health.take(runOf([bytes(500)], 102.0))
    second = health.measure(103.0)
    assert (second.datagrams, second.datagramRate, second.bitRate) == (41, 1.0, 4000.0)


def test_gapsAreBetweenRuns() -> None:
    """The least and the most are gaps between runs, and the mean counts every datagram."""
    health = StreamHealth(0.0)
    assert health.measure(0.0) == StreamFigures()
    for arrival, count in ((1.0, 3), (1.5, 1), (1.75, 4)):
        health.take(runOf([bytes(10)] * count, arrival))
    figures = health.measure(2.0)
    assert (figures.least, figures.most, figures.longest) == (0.25, 0.5, 0.5)
    assert figures.mean == 0.75 / 5  # from the last of the first run to the last of the last
    health.take(runOf([bytes(10)], 2.0))
    figures = health.measure(3.0)
    assert (figures.least, figures.mean, figures.most, figures.longest) == (0.25, 0.25, 0.25, 0.5)


def test_aSilenceIsCountedOnceWhenItBegins() -> None:
    """A silence shows while it lasts, and counts once however often one looks."""
    health = StreamHealth(0.0, silence=0.5)
    health.take(runOf([b"x"], 0.0))
    assert health.measure(0.4).silence == 0.0
    figures = health.measure(0.5)
    assert (figures.silence, figures.silences, figures.datagramRate) == (0.5, 1, 0.0)
    figures = health.measure(3.0)
    assert (figures.silence, figures.silences) == (3.0, 1)
    health.take(runOf([b"x"], 3.5))
    figures = health.measure(3.6)
    assert (figures.silence, figures.silences, figures.longest) == (0.0, 1, 3.5)
    health.take(runOf([b"x"], 4.5))
    assert health.measure(4.6).silences == 2  # nobody looked during that one


def test_aStreamThatNeverCameIsSilent() -> None:
    """Silence is measured from the beginning until something comes."""
    health = StreamHealth(10.0)
    assert health.measure(15.0).silence == 5.0
    health.take(runOf([b"x"], 15.0))
    figures = health.measure(15.5)
    assert (figures.silences, figures.silence, figures.longest) == (1, 0.0, 0.0)


def test_aClockThatIsSetBackIsNoGap() -> None:
    """Time that goes backward counts as none."""
    health = StreamHealth(1000.0)
    health.take(runOf([b"x"], 1000.0))
    health.take(runOf([b"x"], 10.0))
    figures = health.measure(9.0)
    assert (figures.least, figures.most, figures.silence, figures.bitRate) == (0.0, 0.0, 0.0, 0.0)


def test_kernelDropsAreAnothersCount() -> None:
    """What the kernel drops is handed over, and told apart by interval."""
    health = StreamHealth(0.0)
    assert health.measure(1.0, 5).recentKernelDrops == 5
    figures = health.measure(2.0, 7)
    assert (figures.kernelDrops, figures.recentKernelDrops) == (7, 2)
    assert health.measure(3.0).toJSON()["kernelDrops"] is None


def test_anEmptyDatagramIsADatagram() -> None:
    """It counts, with no bytes."""
    health = StreamHealth(0.0)
    health.take(runOf([b""], 1.0))
    assert (health.measure(2.0).datagrams, health.measure(2.0).bytes) == (1, 0)


def test_aSilenceLasts() -> None:
    """No silence is a mistake."""
    with pytest.raises(ValueError, match="more than 0 s, not 0"):
        StreamHealth(0.0, silence=0)
