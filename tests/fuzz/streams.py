"""Targets: what comes on a connection, or is in a file."""

from __future__ import annotations

import io
import os
import tempfile
from collections import Counter
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.web.resource import Resource

from tests.fuzz.pieces import Pieces
from txgroupsock.ports.framing import FramedDatagrams
from txgroupsock.ports.interleaving import InterleavedParser, InterleavingError
from txgroupsock.relay.http.bounded import BoundedRequest, BoundedSite
from txgroupsock.relay.http.proxied import ProxiedFactory
from txgroupsock.relay.recording.blocks import Torn, framesIn
from txgroupsock.relay.recording.frames import LINK_TYPES, Skipped, datagramIn
from txgroupsock.relay.recording.recorded import CaptureError
from txgroupsock.tools.recording import SourceError
from txgroupsock.tools.tsfile import TSFile


def _cut(data: bytes) -> list[bytes]:
    """The same in pieces of sizes that depend on it."""
    pieces, found = Pieces(data), list[bytes]()
    while pieces:
        found.append(pieces.take(1 + data[len(found) % len(data)] % 37))
    return found


def interleaved(data: bytes) -> None:
    """It is the same however it was cut, and no more is kept than the limits allow."""

    def fed(parts: list[bytes]) -> tuple[list[Any], bool]:
        parser, found = InterleavedParser(1024, 2048), list[Any]()
        try:
            for part in parts:
                found += parser.feed(part)
                assert len(parser._buffer) <= 4 + 65535 + len(part)
        except InterleavingError:
            return found, True
        return found, False

    whole, isBad = fed([data])
    cut, isCutBad = fed(_cut(data))
    assert whole == cut or isBad != isCutBad or isBad
    assert sum(len(each.data) for each in whole) <= len(data)


class _Taking(DatagramProtocol):
    """Keeps datagrams."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def datagramReceived(self, datagram: bytes, address: Any) -> None:
        self.taken.append(datagram)


def framing(data: bytes) -> None:
    """The datagrams of a stream are its frames, however it was cut."""
    results = []
    for parts in ([data], _cut(data)):
        taking, transport = _Taking(), StringTransportWithDisconnection()
        framed: Any = FramedDatagrams(taking, ("192.0.2.1", 5000))
        transport.protocol = framed
        framed.makeConnection(transport)
        for part in parts:
            framed.dataReceived(part)
        results.append(taking.taken)
    assert results[0] == results[1]
    assert sum(2 + len(each) for each in results[0]) <= len(data)


class _Answer(Resource):
    """The same for every path."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        return b"here"


class _Transport(StringTransportWithDisconnection):
    """One that is aborted, and minds as little as a real one."""

    def abortConnection(self) -> None:
        self.loseConnection()  # type: ignore[no-untyped-call] # Twisted's, without types

    def unregisterProducer(self) -> None:
        self.producer = None


def requests(data: bytes) -> None:
    """One request is answered at most, and nothing is raised, however it was cut."""
    clock = Clock()
    answer: Any = _Answer
    site: Any = BoundedSite(clock, answer(), BoundedRequest, 10.0, 5)
    made: Any = site.buildProtocol(None)
    makeTransport: Any = _Transport
    transport = makeTransport()
    transport.protocol = made
    made.makeConnection(transport)
    for part in _cut(data):
        if transport.connected:
            made.dataReceived(part)
    clock.advance(11)
    assert not transport.connected
    assert not clock.getDelayedCalls()
    assert transport.value().count(b"HTTP/1.") <= 3 + data.count(b"HTTP/1.")


def capture(data: bytes) -> None:
    """A file gives frames, and says where it is torn or that it is none; no frame is made up."""
    file = io.BytesIO(data)
    taken = 0
    with suppress(CaptureError, Torn):
        for time, linkType, frame, length in framesIn(file, "fuzz"):
            taken += len(frame)
            assert time >= -1
            assert taken <= len(data)
            if linkType in LINK_TYPES:
                _datagram(linkType, frame, length)


def frames(data: bytes) -> None:
    """A frame has a datagram or is skipped."""
    for linkType in LINK_TYPES:
        _datagram(linkType, data, len(data))
        _datagram(linkType, data, len(data) + 1)


def _datagram(linkType: int, frame: bytes, length: int) -> None:
    with suppress(Skipped):
        found = datagramIn(linkType, frame, length)
        assert found.payload in frame
        assert 0 <= found.source[1] < 65536


def transportStreamFile(data: bytes) -> None:
    """A file is played in datagrams of whole packets, at times that never go back; or is none."""
    body = data * (1 + 2000 // max(1, len(data)))
    with tempfile.NamedTemporaryFile(dir=_folder()) as file:
        file.write(body)
        file.flush()
        with suppress(SourceError):
            last, size = 0.0, 0
            for at, datagram in TSFile(file.name, rate=1e6):
                assert at >= last
                last = at
                size += len(datagram)
                assert datagram[::188] == b"\x47" * -(-len(datagram) // 188)
            assert size <= len(body)


def _folder() -> str | None:
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


class _Reading(Protocol):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.read = b""

    def dataReceived(self, data: bytes) -> None:
        self.read += data


class _Behind(Factory):
    """What listens behind a proxy."""

    noisy = False
    protocol = _Reading

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()


def proxied(data: bytes) -> None:
    """A header says addresses, or the connection is refused; however it was cut."""
    results = []
    for parts in ([data], _cut(data)):
        behind = _Behind()
        connection: Any = ProxiedFactory(behind).buildProtocol(None)  # type: ignore[no-untyped-call]
        reading = connection.wrappedProtocol
        transport = StringTransportWithDisconnection()
        transport.protocol = connection
        connection.makeConnection(transport)
        for part in parts:
            if transport.connected:
                connection.dataReceived(part)
        peer = connection.getPeer()
        ip_address(peer.host)
        assert 0 <= peer.port <= 0xFFFF
        assert behind.refused["junk"] == (not transport.connected)
        results.append((reading.read, str(peer), transport.connected))
    assert results[0] == results[1]
