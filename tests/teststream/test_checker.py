"""A stream whose every datagram is accounted for, at its far end."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.primitives.run import Run
from txgroupsock.teststream.checker import StreamReceiver
from txgroupsock.teststream.stream import TestStream

STREAM = b"12345678"
SIZE = 48


def datagram(number: int, stream: bytes = STREAM, size: int = SIZE, age: float = 0.0) -> bytes:
    """One datagram of a test stream, written out by hand."""
    sentAt = time.time_ns() - int(age * 1e9)
    return struct.pack("!4s8sQQQ", b"txgs", stream, 0, number, sentAt).ljust(size, b"\0")


def receiverOf(*numbers: int) -> StreamReceiver:
    """A receiver that has had these numbers."""
    receiver = StreamReceiver(STREAM, SIZE)
    for each in numbers:
        receiver.datagramReceived(datagram(each))
    return receiver


def test_lossIsCounted() -> None:
    """Numbers left out are missing, at once."""
    receiver = receiverOf(0, 1, 5)
    assert (receiver.received, receiver.missing) == (3, 3)


def test_aStreamHeardFromItsMiddleIsMissingItsBeginning() -> None:
    """The first number of a stream is 0: what came before the first datagram heard is missing."""
    assert receiverOf(3).missing == 3


def test_whatComesLateIsNotMissing() -> None:
    """A datagram after a later one is reordered, and no longer missing."""
    receiver = receiverOf(0, 2, 1)
    assert (receiver.received, receiver.missing, receiver.reordered) == (3, 0, 1)


def test_duplicatesCountApart() -> None:
    """A datagram that came before, in order or late, is a duplicate and not received again."""
    receiver = receiverOf(0, 0, 2, 1, 1, 2)
    assert (receiver.received, receiver.duplicates, receiver.reordered) == (3, 3, 1)


@pytest.mark.parametrize(
    "bad",
    [
        datagram(0)[:-1],
        datagram(0) + b"\0",
        datagram(0)[:-1] + b"\1",
        datagram(0)[:36],
    ],
    ids=["shorter", "longer", "changed", "header only"],
)
def test_damageIsCounted(bad: bytes) -> None:
    """A datagram of another size or content is damaged, and so not received."""
    receiver = receiverOf()
    receiver.datagramReceived(bad)
    assert (receiver.damaged, receiver.received, receiver.foreign) == (1, 0, 0)


@pytest.mark.parametrize(
    "other",
    [b"", b"x", datagram(0)[:35], b"X" + datagram(0)[1:], datagram(0, stream=b"another!")],
    ids=["empty", "short", "cut", "magic", "stream"],
)
def test_foreignDatagramsAreLeftAlone(other: bytes) -> None:
    """What is not of this stream is counted as foreign and changes nothing else."""
    receiver = receiverOf(0)
    receiver.datagramReceived(other)
    assert (receiver.foreign, receiver.received, receiver.damaged) == (1, 1, 0)
    assert (receiver.missing, receiver.duplicates, receiver.reordered) == (0, 0, 0)


@given(st.binary(max_size=80))
def test_anyDatagramIsSurvived(data: bytes) -> None:
    """No datagram raises, whatever is in it."""
    receiver = receiverOf()
    receiver.datagramReceived(data)
    receiver.datagramReceived(datagram(0)[:4] + data)
    assert receiver.received + receiver.foreign + receiver.damaged == 2


@given(st.lists(st.integers(0, 60), max_size=150))
def test_aSequenceIsCountedAsASetWould(numbers: list[int]) -> None:
    """Shuffled, thinned out and doubled, a sequence gives the counts that sets of numbers give."""
    receiver = receiverOf(*numbers)
    seen: set[int] = set()
    duplicates = reordered = 0
    for each in numbers:
        if each in seen:
            duplicates += 1
        elif seen and each < max(seen):
            reordered += 1
        seen.add(each)
    assert receiver.received == len(seen)
    assert receiver.missing == (max(seen) + 1 - len(seen) if seen else 0)
    assert (receiver.duplicates, receiver.reordered) == (duplicates, reordered)


@given(st.lists(st.integers(0, 200_000) | st.integers(0, 2**64 - 1), max_size=12))
@settings(max_examples=30)  # each long jump takes some milliseconds
def test_numbersFarApartAreCountedAsASetWouldWithinTheWindow(numbers: list[int]) -> None:
    """Jumps of any size are counted; what is more than 65,536 behind counts as a duplicate."""
    receiver = receiverOf(*numbers)
    seen: set[int] = set()
    duplicates = reordered = 0
    for each in numbers:
        highest = max(seen, default=-1)
        if each in seen or each <= highest - 65536:
            duplicates += 1
            continue
        reordered += each < highest
        seen.add(each)
    assert (receiver.received, receiver.duplicates) == (len(seen), duplicates)
    assert receiver.reordered == reordered
    assert receiver.missing == max(seen, default=-1) + 1 - len(seen)


def test_hugeJumpsTakeLittleTimeAndMemory() -> None:
    """Numbers up to the largest there is, back and forth, cost no memory and next to no time."""
    receiver = receiverOf()
    before = len(receiver._has)
    began = time.monotonic()
    for number in (2**63, 0, 2**64 - 1, 2**63, 2**64 - 65536, 2**64 - 1):
        receiver.datagramReceived(datagram(number))
    assert time.monotonic() - began < 1
    assert len(receiver._has) == before
    assert (receiver.received, receiver.duplicates, receiver.reordered) == (3, 3, 1)


# Latencies


def test_latencyIsMeasured() -> None:
    """The time since a datagram was sent is in the latencies: mean, most, and how many."""
    receiver = receiverOf()
    receiver.datagramReceived(datagram(0, age=0.010))
    receiver.datagramReceived(datagram(1, age=0.030))
    latencies = receiver.latencies
    assert latencies.count == 2
    assert latencies.mean == pytest.approx(20e6, abs=5e6)
    assert 30e6 <= latencies.most < 40e6


def test_latenciesAreTakenSinceTheLastTime() -> None:
    """Taken latencies are those since they were last taken; the whole is kept apart."""
    receiver = receiverOf(0, 1)
    assert receiver.takeLatencies().count == 2
    assert receiver.takeLatencies().count == 0
    receiver.datagramReceived(datagram(2))
    assert receiver.takeLatencies().count == 1
    assert receiver.latencies.count == 3


# Runs


def checked(run: bytes, size: int, *, whole: bool, first: int = 0) -> dict[str, object]:
    """What a receiver counts of a run that it gets as one, or datagram by datagram."""
    receiver = StreamReceiver(STREAM, SIZE, first=first)
    if whole:
        receiver.runReceived(Run(memoryview(run), size, ("127.0.0.1", 5), 0.0))
    else:
        for at in range(0, len(run), size):
            receiver.datagramReceived(run[at : at + size])
    counted = receiver.toJSON(isOver=True)
    return {**counted, "latency": None, "jitter": None, "foreign": receiver.foreign}


@given(
    st.lists(st.integers(0, 9) | st.integers(60, 140), min_size=1, max_size=150),
    st.sampled_from([SIZE, SIZE - 1, SIZE + 8]),
    st.integers(0, 5),
)
def test_aRunCountsAsItsDatagrams(numbers: list[int], size: int, cut: int) -> None:
    """Whatever is in a run, it counts as if its datagrams came one by one."""
    run = b"".join(datagram(each, size=size) for each in numbers)
    run = run[: len(run) - cut]
    assert checked(run, size, whole=True) == checked(run, size, whole=False)


@pytest.mark.parametrize("at", [0, 4, 12, 20, 36, 47])
@pytest.mark.parametrize("which", [0, 7, 15])
def test_oneChangedByteInARunIsFound(which: int, at: int) -> None:
    """A byte changed anywhere but in the time is as in a datagram that comes alone."""
    run = bytearray(b"".join(datagram(each) for each in range(16)))
    run[which * SIZE + at] ^= 0x80
    counted = checked(bytes(run), SIZE, whole=True)
    assert counted == checked(bytes(run), SIZE, whole=False)
    assert counted != checked(b"".join(datagram(each) for each in range(16)), SIZE, whole=True)


def test_aLongRunGoesRoundTheWindow() -> None:
    """Runs in order are counted past the 65,536 numbers that are remembered, and so are doubles."""
    receiver = StreamReceiver(STREAM, SIZE)
    for start in range(0, 70_000, 1000):
        run = b"".join(datagram(each) for each in range(start, start + 1000))
        receiver.runReceived(Run(memoryview(run), SIZE, ("127.0.0.1", 5), 0.0))
    assert (receiver.received, receiver.missing) == (70_000, 0)
    receiver.datagramReceived(datagram(69_999))
    receiver.datagramReceived(datagram(10_000))
    assert (receiver.received, receiver.duplicates) == (70_000, 2)


def test_whatWasBeforeTheFirstIsNotLost() -> None:
    """Who joins under way misses nothing before the first number, unless that was overtaken."""
    receiver = StreamReceiver(STREAM, SIZE, first=1000)
    for number in (1000, 1002):
        receiver.datagramReceived(datagram(number))
    assert receiver.missing == 1
    receiver.datagramReceived(datagram(999))
    assert (receiver.first, receiver.missing, receiver.reordered) == (999, 1, 1)


def test_theEndIsKnownFromTheTotal() -> None:
    """What is missing at the end is lost, too, if the datagrams say how many there will be."""
    stream = TestStream(total=5, size=SIZE)
    made = [bytes(run) for run, _ in stream.take(10.0)]
    assert stream.sent == 5
    assert stream.nextAt is None
    receiver = StreamReceiver(stream.stream, SIZE, total=5)
    for at in (0, 1, 3):
        receiver.datagramReceived(made[0][at * SIZE : (at + 1) * SIZE])
    assert (receiver.missing, receiver.lost(isOver=True), receiver.isAll) == (1, 2, False)
    assert receiver.lost(isOver=False) == 1
    for at in (2, 4):
        receiver.datagramReceived(made[0][at * SIZE : (at + 1) * SIZE])
    assert (receiver.missing, receiver.lost(isOver=True), receiver.isAll) == (0, 0, True)


def test_jitterIsThatOfRFC3550() -> None:
    """The jitter is the running mean of the change in transit time, with a gain of 1/16."""
    now = [0]
    receiver = StreamReceiver(STREAM, SIZE, clock=lambda: now[0])
    expected, before = 0.0, 0
    for number, transit in enumerate((5, 9, 2, 2, 30)):
        sentAt = number * 1000
        now[0] = sentAt + transit
        packed = struct.pack("!4s8sQQQ", b"txgs", STREAM, 0, number, sentAt).ljust(SIZE, b"\0")
        receiver.datagramReceived(packed)
        if number:
            expected += (abs(transit - before) - expected) / 16
        before = transit
    assert receiver.jitter == pytest.approx(expected)


def test_itIsARunReceiver() -> None:
    """It provides IRunReceiver."""
    verifyObject(IRunReceiver, StreamReceiver(STREAM))
