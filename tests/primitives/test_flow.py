"""Flows on loopback: every path gives the same datagrams, and each is counted."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.primitives.flows import (
    Receiver,
    loopbackFlow,
    numbered,
    oldKernel,
    opened,
    sendAll,
    to,
    withoutSegmentation,
)
from tests.primitives.support import LOOPBACK, noMoreDescriptors
from txgroupsock.primitives import (
    Destination,
    Flow,
    SocketSetupError,
    TransferError,
)
from txgroupsock.testing.namespaces import Namespace

SMALL_MTU = 1280  # the least that IPv6 has
_AT_ONCE = 100_000  # bytes that any receive buffer has room for, with what the kernel adds

# Sizes at which something changes: a datagram more or less in a call, a fragment, a call for each.
SIZES = st.one_of(
    st.sampled_from(
        [1, 2, 100, 188, 1023, 1024, 1252, 1253, 1316, 1472, 1473, 9000, 32753, 32754, 65507]
    ),
    st.integers(1, 65507),
)


@st.composite
def run(draw: Any) -> tuple[int, int, int]:
    """The size, number and last size of the datagrams of a run; size 0 is one empty datagram."""
    size = draw(st.one_of(st.just(0), SIZES, SIZES, SIZES))
    if not size:
        return 0, 1, 0
    most = max(1, _AT_ONCE // (size + 700))
    return size, draw(st.integers(1, min(130, most))), draw(st.integers(1, size))


@pytest.fixture(scope="module")
def smallMTU(namespaces: None) -> Iterator[Namespace]:
    """A network whose loopback interface has the smallest MTU."""
    made = Namespace()
    made.raiseLoopback()
    made.run("ip", "link", "set", "lo", "mtu", str(SMALL_MTU))
    yield made
    made.close()


def untouched(patch: pytest.MonkeyPatch) -> None:
    """Nothing is in the way."""


PATHS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "segmented": untouched,
    "refused by the path": untouched,
    "absent": withoutSegmentation,
    "old kernel": oldKernel,
}


@pytest.mark.lan
@settings(max_examples=250)
@given(
    host=st.sampled_from(list(LOOPBACK.values())),
    path=st.sampled_from(list(PATHS)),
    runs=st.lists(run(), min_size=1, max_size=8),
)
def test_everyPathGivesTheSameDatagrams(
    smallMTU: Namespace, host: str, path: str, runs: list[tuple[int, int, int]]
) -> None:
    """Runs of any sizes arrive bit-identical and in order, however they are sent."""
    with ExitStack() as entered:
        patch = entered.enter_context(pytest.MonkeyPatch.context())
        PATHS[path](patch)
        if path == "refused by the path":
            entered.enter_context(smallMTU)
        receiver = entered.enter_context(Receiver(host))
        made = entered.enter_context(opened(to(receiver)))
        statistics = made.destination.statistics
        wanted: list[bytes] = []
        count = total = waiting = 0
        several = False
        for size, number, last in runs:
            datagrams = numbered(number, size, count)
            datagrams[-1] = datagrams[-1][:last]
            sendAll(made, datagrams)
            wanted += datagrams
            count += number
            total += sum(map(len, datagrams))
            waiting += number * (size + 700)
            several = several or (number > 1 and SMALL_MTU < size < 32000)
            if waiting > _AT_ONCE:
                assert receiver.payloads(len(wanted)) == wanted
                wanted, waiting = [], 0
        assert receiver.payloads(len(wanted)) == wanted
        assert receiver.rest() == []
    assert (statistics.datagramsSent, statistics.bytesSent) == (count, total)
    assert (statistics.datagramsDropped, statistics.errors) == (0, {})
    if several and path == "refused by the path":
        assert statistics.segmentationRefused in {errno.EINVAL, errno.EMSGSIZE, None}
        assert statistics.datagramsSegmented < count
    elif several and path == "segmented":
        assert statistics.datagramsSegmented
        assert statistics.segmentationRefused is None
    elif path in {"absent", "old kernel"}:
        assert not statistics.datagramsSegmented


def test_aKernelThatHasNoSegmentationIsShown(family: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the option is refused the datagrams go one by one, and the statistics say why."""
    oldKernel(monkeypatch)
    with loopbackFlow(family) as (made, receiver):
        sendAll(made, numbered(5, 100))
        assert receiver.payloads(5) == numbered(5, 100)
        assert made.destination.statistics.segmentationRefused == errno.ENOPROTOOPT
        assert made.destination.statistics.datagramsSegmented == 0


@pytest.mark.lan
def test_segmentationIsTriedAgain(smallMTU: Namespace, family: int) -> None:
    """What was refused once is tried again after 4,096 datagrams, and used if it works by then."""
    with smallMTU, loopbackFlow(family) as (made, receiver):
        statistics = made.destination.statistics
        datagrams = numbered(60, 1300)
        smallMTU.run("ip", "link", "set", "lo", "mtu", str(SMALL_MTU))
        sendAll(made, datagrams)
        assert receiver.payloads(60) == datagrams
        assert statistics.segmentationRefused is not None
        smallMTU.run("ip", "link", "set", "lo", "mtu", "65536")
        try:
            for _ in range(4096 // 60):
                sendAll(made, datagrams)
                assert receiver.payloads(60) == datagrams
            assert statistics.datagramsSegmented == 0
            sendAll(made, datagrams)
            sendAll(made, datagrams)
        finally:
            smallMTU.run("ip", "link", "set", "lo", "mtu", str(SMALL_MTU))
        assert receiver.payloads(120) == 2 * datagrams
        assert statistics.datagramsSegmented >= 60
        assert statistics.segmentationRefused is None


def test_whatUDPCannotHoldIsDropped(family: int) -> None:
    """A datagram over the limit of its family is EMSGSIZE; the largest one arrives."""
    most = 65507 if family == socket.AF_INET else 65527
    with loopbackFlow(family) as (made, receiver):
        made.sendRun(memoryview(bytes(most + 1)), most + 1)
        sendAll(made, numbered(1, most))
        assert receiver.payloads(1) == numbered(1, most)
        statistics = made.destination.statistics
        assert statistics.errors == {errno.EMSGSIZE: 1}
        assert (statistics.datagramsSent, statistics.bytesSent) == (1, most)


def test_everyPartOfAnOversizeRunIsCounted() -> None:
    """Where each datagram of a run is too large, each is dropped by itself, and a last one goes."""
    with loopbackFlow(socket.AF_INET) as (made, receiver):
        made.sendRun(memoryview(bytes(2 * 65510 + 7)), 65510)
        assert receiver.payloads(1) == [bytes(7)]
        statistics = made.destination.statistics
        assert statistics.errors == {errno.EMSGSIZE: 2}
        assert (statistics.datagramsSent, statistics.datagramsDropped) == (1, 2)


@pytest.mark.parametrize("count", [1, 5])
def test_aPortThatNobodyHasCostsNoDatagram(family: int, count: int) -> None:
    """ICMP port unreachable is counted as reported; all that is sent once somebody has it comes."""
    with Receiver(LOOPBACK[socket.AddressFamily(family)]) as gone:
        port = gone.port
    with opened(Destination(gone.host, port)) as made:
        statistics = made.destination.statistics
        for _ in range(10):
            sendAll(made, numbered(count, 50))
        assert (statistics.datagramsSent, statistics.datagramsDropped) == (10 * count, 0)
        before = statistics.reported.copy()
        assert before[errno.ECONNREFUSED] > 0
        with Receiver(gone.host, port) as receiver:
            for _ in range(10):
                sendAll(made, numbered(count, 50))
            assert receiver.payloads(10 * count) == 10 * numbered(count, 50)
        assert statistics.datagramsDropped == 0
        # The last of those before, and none of those that were heard.
        assert statistics.reported[errno.ECONNREFUSED] <= before[errno.ECONNREFUSED] + 1
        assert set(statistics.reported) == {errno.ECONNREFUSED}


@pytest.mark.parametrize(
    ("answers", "reported", "dropped"),
    [
        (["ECONNREFUSED"], {"ECONNREFUSED": 1}, {}),
        (["ECONNREFUSED", "EHOSTUNREACH"], {"ECONNREFUSED": 1, "EHOSTUNREACH": 1}, {}),
        (["ECONNREFUSED", "ENOBUFS"], {"ECONNREFUSED": 1}, {"ENOBUFS": 3}),
        (["ENETUNREACH"] * 3, {}, {"ENETUNREACH": 3}),
        (
            ["ECONNREFUSED", "EHOSTUNREACH", "EHOSTUNREACH"],
            {"ECONNREFUSED": 1},
            {"EHOSTUNREACH": 3},
        ),
        (["ENOBUFS"], {}, {"ENOBUFS": 3}),
    ],
)
def test_echoesAreToldFromRefusals(
    answers: list[str],
    reported: dict[str, int],
    dropped: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a try meets and the next does not came from the network; what stays is why it failed."""
    with loopbackFlow(socket.AF_INET) as (made, receiver):
        real, left = made._send, list(answers)

        def answer(data: memoryview) -> int:
            if left:
                raise OSError(getattr(errno, left.pop(0)), "an answer")
            return real(data)

        monkeypatch.setattr(made, "_send", answer)
        sendAll(made, numbered(3, 10))
        statistics = made.destination.statistics
        names = errno.errorcode
        assert {names[key]: value for key, value in statistics.reported.items()} == reported
        assert {names[key]: value for key, value in statistics.errors.items()} == dropped
        assert statistics.datagramsSent == (0 if dropped else 3)
        assert len(receiver.rest()) == statistics.datagramsSent


def test_aClosedFlowDropsAndCounts(family: int) -> None:
    """Before it is opened and after it is closed, what is sent is dropped as EBADF."""
    with Receiver(LOOPBACK[socket.AddressFamily(family)]) as receiver:
        made = Flow(to(receiver))
        sendAll(made, numbered(3, 10))
        assert (made.isOpen, made.localAddress, made.port) == (False, None, 0)
        made.open()
        assert made.isOpen
        sendAll(made, numbered(70, 10))
        made.close()
        made.close()
        sendAll(made, numbered(4, 10))
        made.sendRun(memoryview(b""), 0)
        assert receiver.payloads(70) == numbered(70, 10)
        assert receiver.rest() == []
    statistics = made.destination.statistics
    assert statistics.errors == {errno.EBADF: 8}
    assert (statistics.datagramsSent, statistics.datagramsDropped) == (70, 8)


def test_reopeningKeepsTheLocalPort(family: int) -> None:
    """Receivers see the same sender after a flow was opened anew, also after it was closed."""
    with loopbackFlow(family) as (made, receiver):
        assert made.localAddress is not None
        before = made.localAddress
        made.open()
        assert made.localAddress == before
        made.close()
        made.open()
        sendAll(made, numbered(3, 10))
        assert receiver.take().sender == before
        assert made.port == before[1]


def test_aLocalPortThatWasTakenIsReplaced(family: int) -> None:
    """If another socket has the port by then, the flow gets another one and works."""
    with loopbackFlow(family) as (made, receiver):
        before = made.port
        made.close()
        with Receiver(receiver.host, before):
            made.open()
            assert made.port not in {0, before}
            sendAll(made, numbered(2, 10))
            assert receiver.take().sender[1] == made.port


def test_aPortCanBeAskedFor(family: int) -> None:
    """A flow has the local port that it was given."""
    with Receiver(LOOPBACK[socket.AddressFamily(family)]) as receiver:
        with Receiver(receiver.host) as other:
            port = other.port
        with opened(to(receiver), port) as made:
            assert made.port == port


@pytest.mark.usefixtures("namespace")
@pytest.mark.parametrize(
    ("there", "kind", "number"),
    [
        (Destination("192.0.2.1", 9), TransferError, errno.ENETUNREACH),
        (Destination("2001:db8::1", 9), TransferError, errno.ENETUNREACH),
        (Destination("127.0.0.1", 9, source="192.0.2.1"), SocketSetupError, errno.EADDRNOTAVAIL),
    ],
)
def test_whatCannotBeOpenedStaysClosed(
    there: Destination, kind: type[OSError], number: int
) -> None:
    """A flow that cannot be opened says why, has no socket, and drops as EBADF."""
    made = Flow(there)
    with pytest.raises(kind) as raised:
        made.open()
    assert raised.value.errno == number
    assert not made.isOpen
    made.sendRun(memoryview(b"x"), 1)
    assert there.statistics.errors == {errno.EBADF: 1}


def test_withoutDescriptorsItStaysClosed(family: int) -> None:
    """A process that has no descriptor left is told so, and the flow opens once there is one."""
    with Receiver(LOOPBACK[socket.AddressFamily(family)]) as receiver:
        made = Flow(to(receiver))
        with noMoreDescriptors(), pytest.raises(SocketSetupError) as raised:
            made.open()
        assert raised.value.errno == errno.EMFILE
        made.open()
        made.close()
