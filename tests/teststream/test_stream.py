"""What a test stream is made of."""

from __future__ import annotations

import struct

import pytest

from txgroupsock.primitives.run import Run
from txgroupsock.teststream.checker import StreamReceiver
from txgroupsock.teststream.stream import TestStream


def test_aDatagramIsAsItIsDocumented() -> None:
    """Magic, stream, total, number and time, in network byte order, and zeros."""
    stream = TestStream(1000.0, size=50, total=3, clock=lambda: 77)
    [(data, size)] = stream.take(1.0)
    assert (size, len(data)) == (50, 150)
    assert bytes(data[50:100]) == struct.pack("!4s8sQQQ14x", b"txgs", stream.stream, 3, 1, 77)


def test_whatIsSentIsReceived() -> None:
    """Everything that is made is accepted by the receiver of the stream, of any size."""
    for size in (36, 100, 1316, 65507):
        stream = TestStream(1000.0, size=size)
        receiver = StreamReceiver(stream.stream, size)
        for at in (0.0, 0.1, 0.35):
            for data, each in stream.take(at):
                receiver.runReceived(Run(data, each, ("127.0.0.1", 5), 0.0))
        assert receiver.received == stream.sent == 351
        assert receiver.bytes == size * stream.sent
        assert (receiver.missing, receiver.duplicates, receiver.reordered) == (0, 0, 0)
        assert (receiver.damaged, receiver.foreign) == (0, 0)


@pytest.mark.parametrize("rate", [0.1, 3.0, 7.7, 1000.0, 123_456.789])
def test_whatIsDueIsMade(rate: float) -> None:
    """At the time that the next datagram is due it is there to be taken, at any rate."""
    stream = TestStream(rate, size=40)
    for number in range(1000):
        assert stream.sent == number
        assert stream.nextAt == pytest.approx(number / rate)
        [(data, _)] = stream.take(number / rate)
        assert len(data) == 40


def test_streamsDiffer() -> None:
    """No two have the same name."""
    assert len({TestStream().stream for _ in range(50)}) == 50


@pytest.mark.parametrize("size", [0, 35, 65508])
def test_theHeaderNeedsItsRoom(size: int) -> None:
    """A datagram that could not hold the header, or not be sent, is refused."""
    with pytest.raises(ValueError, match=f"at least 36 bytes and at most 65507, not {size}"):
        TestStream(size=size)


def test_progressIsKnownIfThereIsAnEnd() -> None:
    """It is a share of the total, if there is one."""
    stream = TestStream(total=4)
    list(stream.take(0.0011))
    assert stream.progress == 0.5
    assert TestStream().progress is None
