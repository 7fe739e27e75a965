"""The run: many datagrams in one buffer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from txgroupsock.primitives.run import Run

SENDER = ("127.0.0.1", 5000)


@given(st.binary(min_size=1, max_size=5000), st.integers(1, 6000))
def test_segmentsJoinToTheBuffer(data: bytes, segmentSize: int) -> None:
    """The datagrams of a run, one after the other, are its buffer; len() is their number."""
    run = Run(memoryview(data), segmentSize, SENDER, 0.0)
    segments = [bytes(each) for each in run]
    assert b"".join(segments) == data
    assert len(run) == len(segments)


@given(st.binary(min_size=1, max_size=5000), st.integers(1, 6000))
def test_onlyTheLastSegmentIsShorter(data: bytes, segmentSize: int) -> None:
    """Every datagram of a run has its segment size but the last, which is not empty."""
    sizes = [len(each) for each in Run(memoryview(data), segmentSize, SENDER, 0.0)]
    assert all(size == segmentSize for size in sizes[:-1])
    assert 0 < sizes[-1] <= segmentSize


def test_anEmptyDatagramIsOne() -> None:
    """A run of one empty datagram has one datagram, and it is empty."""
    run = Run(memoryview(b""), 0, SENDER, 0.0)
    assert len(run) == 1
    assert [bytes(each) for each in run] == [b""]


def test_datagramsAreNotCopied() -> None:
    """What iterating gives are views of the run's own buffer."""
    buffer = bytearray(b"aaabbbc")
    segments = list(Run(memoryview(buffer), 3, SENDER, 0.0))
    buffer[3:6] = b"xyz"
    assert [bytes(each) for each in segments] == [b"aaa", b"xyz", b"c"]
