"""Receiving in batches: whatever arrives, in whatever form, comes out datagram by datagram."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txgroupsock.primitives.batch import Batch, Piece, Single, canBatch, coalesceArrivals
from txgroupsock.primitives.batchmemory import LARGEST, BatchMemory
from txgroupsock.primitives.constants import UDP_SEGMENT

HOSTS = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

# A sender, the size of its datagrams and how many of them it sends in one call.
SENDINGS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.one_of(st.sampled_from([0, 1, 188, 1316, 2048, 2049, 9000]), st.integers(0, 20000)),
        st.integers(1, 5),
        st.booleans(),
    ),
    max_size=12,
)


class Pair:
    """A receiving socket, and two that send to it."""

    def __init__(self, family: int) -> None:
        self.receiver = socket.socket(family, socket.SOCK_DGRAM)
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self.receiver.bind((HOSTS[socket.AddressFamily(family)], 0))
        self.receiver.setblocking(False)
        self.senders = []
        for _ in range(2):
            sender = socket.socket(family, socket.SOCK_DGRAM)
            sender.connect(self.receiver.getsockname())
            self.senders.append(sender)

    def send(self, who: int, size: int, count: int, *, asTrain: bool) -> list[bytes]:
        """Send datagrams that differ; as a train where UDP allows such a one."""
        sent = [bytes([number + 1]) * size for number in range(count)]
        if asTrain and size and size * count < 65000 and UDP_SEGMENT:
            segment = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("@H", size))]
            self.senders[who].sendmsg([b"".join(sent)], segment)
            return sent
        for each in sent:
            self.senders[who].send(each)
        return sent

    def close(self) -> None:
        for each in (self.receiver, *self.senders):
            each.close()


@pytest.fixture(params=["batch", "single"])
def receiving(request: pytest.FixtureRequest, family: int) -> Batch | Single:
    """Both ways to receive."""
    if request.param == "batch" and not canBatch():
        pytest.skip("recvmmsg is for 64-bit Linux")
    return Batch(family) if request.param == "batch" else Single()


@pytest.fixture
def pair(family: int) -> Iterator[Pair]:
    """Sockets of that family."""
    pair = Pair(family)
    yield pair
    pair.close()


def split(pieces: list[Piece]) -> list[tuple[bytes, tuple[str, int]]]:
    """Each datagram and its sender."""
    found = []
    for data, size, sender in pieces:
        whole = bytes(data)
        starts = range(0, len(whole), size) if size else [0]
        found += [(whole[start : start + size], sender) for start in starts]
    return found


def everything(
    receiving: Batch | Single, sock: socket.socket
) -> list[tuple[bytes, tuple[str, int]]]:
    """All that waits in a socket."""
    found: list[tuple[bytes, tuple[str, int]]] = []
    try:
        while True:
            if len(found) % 3 == 2:  # both ways in turn
                found += split([receiving.receiveOne(sock)])
            found += split(receiving.receive(sock))
    except BlockingIOError:
        return found


@given(
    kind=st.sampled_from([Batch, Single]),
    family=st.sampled_from([socket.AF_INET, socket.AF_INET6]),
    sendings=SENDINGS,
    coalesced=st.booleans(),
)
def test_everyDatagramComesOutAsItWasSent(
    kind: type[Batch | Single],
    family: int,
    sendings: list[tuple[int, int, int, bool]],
    coalesced: bool,
) -> None:
    """Sizes, order, contents and senders survive, coalesced or not, batch after batch."""
    with ExitStack() as closing:
        pair = Pair(family)
        closing.callback(pair.close)
        receiving = Batch(family) if kind is Batch else Single()
        if coalesced and kind is Batch:
            assert coalesceArrivals(pair.receiver)
        sent = []
        for who, size, count, asTrain in sendings:
            sender = pair.senders[who].getsockname()[:2]
            sent += [(each, sender) for each in pair.send(who, size, count, asTrain=asTrain)]
            if count == 5:  # now and then receive what there is
                received = everything(receiving, pair.receiver)
                assert received == sent
                sent = []
        assert everything(receiving, pair.receiver) == sent


def test_nothingThereRaises(receiving: Batch | Single, pair: Pair) -> None:
    """Without a datagram waiting, receiving says so as a socket does."""
    with pytest.raises(BlockingIOError):
        receiving.receive(pair.receiver)
    with pytest.raises(BlockingIOError):
        receiving.receiveOne(pair.receiver)


def test_aClosedSocketRaises(receiving: Batch | Single, pair: Pair) -> None:
    """A closed socket is EBADF, and nothing is received from another descriptor."""
    pair.receiver.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        receiving.receive(pair.receiver)
    with pytest.raises(OSError, match="Bad file descriptor"):
        receiving.receiveOne(pair.receiver)


@pytest.mark.parametrize("size", [0, 1, 1316, 65000])
def test_oneByItself(receiving: Batch | Single, pair: Pair, size: int) -> None:
    """One datagram is received without those behind it, as it would be together with them."""
    sent = pair.send(1, size, 2, asTrain=False)
    sender = pair.senders[1].getsockname()[:2]
    data, length, who = receiving.receiveOne(pair.receiver)
    assert (bytes(data), length, who) == (sent[0], size, sender)
    assert split(receiving.receive(pair.receiver)) == [(sent[1], sender)]


def test_oneTrain(pair: Pair, family: int) -> None:
    """A train received by itself has the size of its datagrams."""
    batch = Batch(family)
    assert coalesceArrivals(pair.receiver)
    sent = pair.send(0, 1000, 40, asTrain=True)
    piece = batch.receiveOne(pair.receiver)
    assert piece[1] == 1000
    assert [each for each, _ in split([piece])] == sent


def test_aSteadyStreamIsOneRun(pair: Pair, family: int) -> None:
    """Once the size is known, what arrives together comes out as one piece, uncopied."""
    memory = BatchMemory()
    batch = Batch(family, memory)
    pieces: list[Piece] = []
    for _ in range(20):
        pair.send(0, 1316, 10, asTrain=False)
        pieces = batch.receive(pair.receiver)
    assert len(pieces) == 1
    data, size, _ = pieces[0]
    assert (len(data), size) == (13160, 1316)
    assert data.obj is memory.slots


def test_aTrainIsOneRun(pair: Pair, family: int) -> None:
    """What the kernel has coalesced comes out as one piece with the size of its datagrams."""
    batch = Batch(family)
    assert coalesceArrivals(pair.receiver)
    for _ in range(3):
        pair.send(0, 1000, 40, asTrain=True)
        pieces = batch.receive(pair.receiver)
        assert [(len(data), size) for data, size, _ in pieces] == [(40000, 1000)]


def test_largestDatagrams(receiving: Batch | Single, pair: Pair) -> None:
    """The largest datagram that UDP carries over IPv4 fits, also in the first batch."""
    assert LARGEST > 65507
    sent = pair.send(1, 65507, 3, asTrain=False)
    assert [each for each, _ in everything(receiving, pair.receiver)] == sent


def test_mixedSizesDoNotGrowTheSlotsForEver(pair: Pair, family: int) -> None:
    """After one large datagram among small ones, small ones are a run again in a while."""
    batch = Batch(family)
    pair.send(0, 30000, 1, asTrain=False)
    pieces = batch.receive(pair.receiver)
    for _ in range(20):
        pair.send(0, 200, 5, asTrain=False)
        pieces = batch.receive(pair.receiver)
    assert [(len(data), size) for data, size, _ in pieces] == [(1000, 200)]


def test_twoSocketsShareMemory(family: int) -> None:
    """Batches that use the same memory in turn do not mix up what they receive."""
    memory = BatchMemory()
    with ExitStack() as closing:
        pairs = [Pair(family), Pair(family)]
        batches = [Batch(family, memory), Batch(family, memory)]
        for pair in pairs:
            closing.callback(pair.close)
        for turn in range(5):
            for size, pair, batch in zip((100 + turn, 1400), pairs, batches, strict=True):
                sent = pair.send(0, size, 4, asTrain=False)
                assert [each for each, _ in everything(batch, pair.receiver)] == sent
