from __future__ import annotations

import errno
import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import MessageLengthError
from twisted.logger import capturedLogs

from tests.ports.support import FakeSocket, failing
from txgroupsock.ports.sender import NETWORK_ERRORS, DatagramSender
from txgroupsock.ports.statistics import PortStatistics
from txgroupsock.primitives import TransferError
from txgroupsock.primitives.destination import WOULD_BLOCK

THERE = ("192.0.2.1", 9)
AGAIN = OSError(errno.EAGAIN, "")


class Sending:
    """A sender on a socket that does what the test wants."""

    def __init__(self, outcomes: Iterable[OSError | None]) -> None:
        sock: Any = FakeSocket(sends=outcomes)
        self.fake: FakeSocket = sock
        self.statistics = PortStatistics()
        self.waits = 0
        self.refusals = 0
        self.again: Callable[[], object] | None = None
        self.sender = DatagramSender(sock, self.statistics, self.wait, self.refused)

    def wait(self) -> None:
        self.waits += 1

    def refused(self) -> None:
        self.refusals += 1
        if self.again is not None:
            self.again()


def test_atOnce() -> None:
    """What the kernel takes is sent at once and does not wait."""
    sending = Sending([None])
    sending.sender.send(b"abc", THERE)
    assert sending.fake.sent == [b"abc"]
    assert sending.waits == 0
    assert sending.statistics == PortStatistics(datagramsSent=1, bytesSent=3)


def test_inOrder() -> None:
    """What comes after a datagram that waits, waits behind it, though there may be room by then."""
    sending = Sending([AGAIN, None, None, AGAIN, None])
    for payload in (b"1", b"2", b"3"):
        sending.sender.send(payload, THERE)
    assert sending.fake.sent == []
    assert sending.waits == 1
    assert sending.statistics.datagramsQueued == 3
    assert not sending.sender.flush()
    assert sending.fake.sent == [b"1", b"2"]
    assert sending.statistics.datagramsQueued == 1
    assert sending.sender.flush()
    assert sending.fake.sent == [b"1", b"2", b"3"]
    assert sending.statistics == PortStatistics(datagramsSent=3, bytesSent=3)


def test_waitsAgain() -> None:
    """Once the queue is empty, the next datagram that has to wait says so again."""
    sending = Sending([AGAIN, None, AGAIN])
    sending.sender.send(b"1", THERE)
    assert sending.sender.flush()
    sending.sender.send(b"2", THERE)
    assert sending.waits == 2


def test_isACopy() -> None:
    """What waits is not changed by what the caller does with its buffer."""
    sending = Sending([AGAIN, None])
    buffer: Any = bytearray(b"before")
    sending.sender.send(buffer, THERE)
    buffer[:] = b"after!"
    sending.sender.flush()
    assert sending.fake.sent == [b"before"]


def test_boundOfBytes() -> None:
    """The queue holds a mebibyte at most; a smaller datagram may still find room."""
    sending = Sending([])
    size = 60_000
    fit = DatagramSender.maxBytes // size
    for _ in range(fit + 2):
        sending.sender.send(bytes(size), THERE)
    assert sending.statistics.datagramsQueued == fit
    assert sending.statistics.datagramsDropped == 2
    sending.sender.send(b"small", THERE)
    assert sending.statistics.datagramsQueued == fit + 1


@pytest.mark.parametrize("number", sorted(errno.errorcode), ids=errno.errorcode.get)
def test_everyErrnoOfSending(number: int) -> None:
    """An error waits, is counted, or is raised with its errno, and never two of these."""
    sending = Sending(failing(number, number))
    statistics = sending.statistics
    if number in WOULD_BLOCK or number in NETWORK_ERRORS:
        sending.sender.send(b"x", THERE)
    elif number == errno.EMSGSIZE:
        with pytest.raises(MessageLengthError):
            sending.sender.send(b"x", THERE)
    else:
        with pytest.raises(TransferError, match=r"send 1 bytes to 192\.0\.2\.1") as caught:
            sending.sender.send(b"x", THERE)
        assert caught.value.errno == number
    waits = number in WOULD_BLOCK
    assert (statistics.datagramsQueued, statistics.datagramsDropped) == (waits, not waits)
    assert statistics.sendErrors == Counter() if waits else Counter([number])
    assert statistics.datagramsSent == 0


@pytest.mark.parametrize("number", sorted(errno.errorcode), ids=errno.errorcode.get)
def test_everyErrnoOfFlushing(number: int) -> None:
    """An error of a datagram that waited is counted and logged, and those behind it go on."""
    sending = Sending([AGAIN, *failing(number), None, None])
    for payload in (b"1", b"2"):
        sending.sender.send(payload, THERE)
    with capturedLogs() as events:
        isEmpty = sending.sender.flush()
    assert isEmpty is (number not in WOULD_BLOCK)
    if isEmpty:
        assert sending.fake.sent == [b"2"]
        assert sending.statistics.sendErrors == Counter([number])
        assert sending.statistics.datagramsDropped == 1
        assert len(events) == 1


@pytest.mark.parametrize("number", sorted(errno.errorcode), ids=errno.errorcode.get)
def test_everyEchoOnAConnectedSocket(number: int) -> None:
    """An ICMP error about an earlier datagram, whatever its errno, does not cost the next one."""
    sending = Sending([*failing(number), None])
    sending.sender.send(b"x", None)
    if number in WOULD_BLOCK:
        assert sending.statistics.datagramsQueued == 1
    else:
        assert sending.fake.sent == [b"x"]
        assert sending.statistics == PortStatistics(datagramsSent=1, bytesSent=1)
    assert sending.refusals == (number == errno.ECONNREFUSED)


def test_flushedWhileRefused() -> None:
    """Who is told of a refusal may have the queue flushed: all is sent once, and in order."""
    sending = Sending([AGAIN, ConnectionRefusedError(errno.ECONNREFUSED, ""), *[None] * 5])
    for payload in (b"1", b"2", b"3"):
        sending.sender.send(payload, None)
    sending.again = sending.sender.flush
    assert sending.sender.flush()
    assert sending.fake.sent == [b"1", b"2", b"3"]
    assert sending.refusals == 1
    assert sending.statistics.datagramsQueued == 0


def test_closedWhileRefused() -> None:
    """So may it be closed: nothing more is sent."""
    sending = Sending([AGAIN, ConnectionRefusedError(errno.ECONNREFUSED, ""), *[None] * 5])
    for payload in (b"1", b"2", b"3"):
        sending.sender.send(payload, None)
    sending.again = sending.sender.close
    sending.sender.flush()
    assert sending.fake.sent == [b"1"]
    assert sending.statistics.datagramsDropped == 2


def test_secondErrorOnAConnectedSocket() -> None:
    """The second error is about this datagram."""
    sending = Sending(failing(errno.ECONNREFUSED, errno.EINVAL))
    with pytest.raises(TransferError, match="send 1 bytes:") as caught:
        sending.sender.send(b"x", None)
    assert caught.value.errno == errno.EINVAL
    assert sending.statistics.sendErrors == Counter([errno.EINVAL])


def test_close() -> None:
    """What waits when the sender is closed is dropped and counted."""
    sending = Sending([])
    for _ in range(3):
        sending.sender.send(b"x", THERE)
    sending.sender.close()
    assert sending.statistics == PortStatistics(datagramsDropped=3)
    assert sending.sender.flush()
    assert sending.fake.sent == []


OUTCOMES = st.sampled_from([None, *failing(errno.EAGAIN, errno.ENOBUFS, errno.EINVAL)])


@given(st.lists(OUTCOMES, max_size=40), st.lists(st.integers(-1, 1500), max_size=40))
def test_nothingIsLost(outcomes: list[OSError | None], steps: list[int]) -> None:
    """In any course of events each datagram is sent, dropped or waiting, and order is kept."""
    sending = Sending(itertools.chain(outcomes, itertools.repeat(None)))
    statistics = sending.statistics
    written: list[bytes] = []
    for number, size in enumerate(steps):
        if size < 0:
            sending.sender.flush()
            continue
        payload = number.to_bytes(2, "big") + bytes(size)
        written.append(payload)
        with suppress(TransferError):
            sending.sender.send(payload, THERE)
        total = statistics.datagramsSent + statistics.datagramsDropped + statistics.datagramsQueued
        assert total == len(written)
    while not sending.sender.flush():
        pass
    assert statistics.datagramsQueued == 0
    assert statistics.datagramsSent == len(sending.fake.sent)
    assert statistics.bytesSent == sum(map(len, sending.fake.sent))
    assert sending.fake.sent == [each for each in written if each in set(sending.fake.sent)]
