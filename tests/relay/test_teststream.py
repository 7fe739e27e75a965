"""A stream whose every datagram is accounted for."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from txgroupsock.relay.teststream import Latencies, StreamReceiver, StreamSender

STREAM = b"12345678"
SIZE = 40


def datagram(number: int, stream: bytes = STREAM, size: int = SIZE, age: float = 0.0) -> bytes:
    """One datagram of a test stream, written out by hand."""
    sentAt = time.monotonic_ns() - int(age * 1e9)
    return struct.pack("!4s8sQQ", b"txgs", stream, number, sentAt).ljust(size, b"\0")


def receiverOf(*numbers: int) -> StreamReceiver:
    """A receiver that has had these numbers."""
    receiver = StreamReceiver(STREAM, SIZE)
    for each in numbers:
        receiver.datagramReceived(datagram(each))
    return receiver


# The sender


def test_theRateIsKept() -> None:
    """So many datagrams a second are sent, however the clock ticks."""
    clock = Clock()
    sent: list[bytes] = []
    sender = StreamSender(clock, sent.append, rate=1000.0, size=SIZE)
    sender.start()
    clock.pump([0.005] * 100 + [0.013] * 20 + [0.001] * 240)
    sender.stop()
    assert len(sent) == sender.sent == pytest.approx(1000, abs=5)


def test_nothingIsSentBeforeTheStartOrAfterTheStop() -> None:
    """A sender is silent until it is started, and once it is stopped; to stop twice is no error."""
    clock = Clock()
    sent: list[bytes] = []
    sender = StreamSender(clock, sent.append)
    sender.stop()
    clock.advance(1)
    assert not sent
    sender.start()
    clock.pump([0.005] * 4)
    sender.stop()
    sender.stop()
    before = len(sent)
    assert before
    clock.advance(1)
    assert len(sent) == before
    assert not clock.getDelayedCalls()


def test_aSenderHeldUpCatchesUpInSteps() -> None:
    """After a pause what is due goes out at no more than 50 datagrams a tick, and all of it."""
    clock = Clock()
    sender = StreamSender(clock, lambda _: None, rate=1000.0)
    sender.start()
    clock.advance(3)
    assert sender.sent == 50
    clock.pump([0.005] * 70)
    assert sender.sent == pytest.approx(3350, abs=5)
    sender.stop()


def test_whatIsSentIsReceived() -> None:
    """Everything that a sender sends is accepted by the receiver of its stream, of that size."""
    clock = Clock()
    receiver = StreamReceiver(b"", size=100)
    sender = StreamSender(clock, receiver.datagramReceived, size=100)
    receiver._stream = sender.stream
    sender.start()
    clock.pump([0.005] * 20)
    sender.stop()
    assert receiver.received == sender.sent > 0
    assert receiver.bytes == 100 * sender.sent
    assert (receiver.missing, receiver.duplicates, receiver.reordered) == (0, 0, 0)
    assert (receiver.damaged, receiver.foreign) == (0, 0)


def test_streamsDiffer() -> None:
    """No two senders have the same stream."""
    senders = [StreamSender(Clock(), lambda _: None) for _ in range(50)]
    assert len({each.stream for each in senders}) == 50


def test_theHeaderNeedsItsRoom() -> None:
    """A datagram that could not hold the header is refused, with the least that can."""
    with pytest.raises(ValueError, match="at least 28 bytes, not 27"):
        StreamSender(Clock(), lambda _: None, size=27)
    StreamSender(Clock(), lambda _: None, size=28)


# The receiver


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
        datagram(0)[:28],
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
    [b"", b"x", datagram(0)[:27], b"X" + datagram(0)[1:], datagram(0, stream=b"another!")],
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
    assert latencies.total == pytest.approx(0.040, abs=0.01)
    assert 0.030 <= latencies.most < 0.040


def test_latenciesAreTakenSinceTheLastTime() -> None:
    """Taken latencies are those since they were last taken; the whole is kept apart."""
    receiver = receiverOf(0, 1)
    assert receiver.takeLatencies().count == 2
    assert receiver.takeLatencies().count == 0
    receiver.datagramReceived(datagram(2))
    assert receiver.takeLatencies().count == 1
    assert receiver.latencies.count == 3


def test_latenciesAreMilliseconds() -> None:
    """Their text has mean and maximum in milliseconds, or says that there are none."""
    latencies = Latencies()
    assert str(latencies) == "latency unknown"
    latencies.add(0.001)
    latencies.add(0.002)
    assert str(latencies) == "latency 1.50 ms (at most 2.00)"
