"""Targets: what is in datagrams."""

from __future__ import annotations

import struct
from contextlib import suppress

from tests.fuzz.pieces import SENDER, Pieces
from txgroupsock.packets.rtp import isRTCP, isRTP, payloadOf
from txgroupsock.primitives.run import Run
from txgroupsock.relay.doctor.netlink import linkIn, routeIn
from txgroupsock.relay.doctor.packet import Packet, Query, packetIn
from txgroupsock.relay.health import RTPHealth, TSHealth
from txgroupsock.relay.health.psi import ProgramAssociation, ProgramMap, Sections
from txgroupsock.relay.redundancy.boundary import (
    RTPFrame,
    TransportStreamRandomAccess,
    TransportStreamUnit,
)
from txgroupsock.relay.redundancy.sequencing import RTP, SequenceField
from txgroupsock.teststream.checker import StreamReceiver
from txgroupsock.tools.pcr import Clock, clocksIn
from txgroupsock.tools.recognition import Recognition


def rtp(data: bytes) -> None:
    """A payload is a part of its packet, and RTCP has none."""
    packet = memoryview(data)
    payload = payloadOf(packet)
    if payload is not None:
        assert isRTP(packet)
        assert not isRTCP(packet)
        assert len(payload) <= len(data) - 12
        assert bytes(payload) in data


def sequencing(data: bytes) -> None:
    """The parts of a run are in it, in order, and consecutive."""
    pieces = Pieces(data)
    ways = RTP(), SequenceField(1, 1), SequenceField(2, 3, "little")
    for run in pieces.runs():
        for way in ways:
            parts = way.parts(run)
            assert sum(part.length for part in parts) <= len(run)
            for part in parts:
                assert 0 <= part.number < way.modulus
                for index, datagram in enumerate(part.run):
                    [again] = way.parts(Run(datagram, len(datagram), SENDER, 0.0))
                    number = (part.number + index) % way.modulus
                    assert (again.key, again.number, again.kind) == (part.key, number, part.kind)


def boundaries(data: bytes) -> None:
    """A boundary is one of the datagrams of a run."""
    last = b""
    for run in Pieces(data).runs():
        for boundary in (RTPFrame(), TransportStreamUnit(), TransportStreamRandomAccess()):
            found = boundary.find(run, last)
            assert found is None or 0 <= found < len(run)
        *_, end = run
        last = bytes(end[:16])


def sections(data: bytes) -> None:
    """However its parts come, no more than a section and a packet are kept."""
    pieces, whole = Pieces(data), Sections()
    while pieces:
        isStart = bool(pieces.number(2))
        for section in whole.take(pieces.take(pieces.number(185)), isStart=isStart):
            ProgramAssociation.of(section)
            ProgramMap.of(section)
            assert 12 <= len(section) <= 1024
        assert len(whole._parts) <= 1024 + 184
    for read in (ProgramAssociation.of(data), ProgramMap.of(data)):
        assert read is None or len(getattr(read, "pids", read).__repr__()) < 40 * len(data) + 200


def transportStream(data: bytes) -> None:
    """Every packet counts once, and what is remembered has a bound."""
    pieces, health = Pieces(data), TSHealth()
    for run in pieces.runs():
        health.take(run)
    figures = health.measure(pieces.later())
    assert figures.packets >= sum(each.packets for each in health.pids.values())
    assert figures.nullShare <= 1
    assert len(figures.busiest) <= 64
    assert len(health.pids) <= 2043
    health.measure(pieces.later())


def rtpHealth(data: bytes) -> None:
    """Each datagram counts once, as something."""
    pieces, health, came = Pieces(data), RTPHealth(), 0
    for run in pieces.runs():
        health.take(run)
        came += len(run)
        assert len(health._sources) <= 16
    figures = health.measure()
    known = figures.received + figures.duplicates
    assert known + figures.rejected + figures.rtcp + figures.notRTP <= came + 2 * came
    assert figures.lost == figures.expected - figures.received
    assert figures.jitter >= 0


def clocks(data: bytes) -> None:
    """Each PCR is in a packet, and within its 42 bits."""
    whole = data[: len(data) // 188 * 188]
    clock = Clock()
    for at, pid, value, isNew in clocksIn(whole):
        assert not at % 188
        assert at < len(whole)
        assert 0 <= value < (1 << 33) * 300 + 512
        clock.take(pid, value, isNew=isNew)
        assert len(clock._others) <= 8192


def testStream(data: bytes) -> None:
    """Each datagram is received, a duplicate, damaged or foreign."""
    pieces = Pieces(data)
    receiver = StreamReceiver(b"\0" * 8, 40, clock=lambda: 10**9)
    came = 0
    while pieces:
        datagrams = []
        for _ in range(pieces.number(4) + 1):
            number = pieces.number(1 << 20) if pieces.number(4) else pieces.number(1 << 64)
            sentAt = pieces.number(1 << 64)
            head = receiver._name if pieces.number(8) else pieces.take(12)
            body = struct.pack("!12sQQQ", head, 0, number, sentAt) + bytes(4)
            datagrams.append(body if pieces.number(8) else body[: pieces.number(40)].ljust(40))
        receiver.runReceived(pieces.run(b"".join(datagrams), 40))
        came += len(datagrams)
    counted = receiver.received + receiver.duplicates + receiver.damaged + receiver.foreign
    assert counted == came
    assert len(receiver._has) == 65536
    receiver.toJSON(isOver=False)


def recognition(data: bytes) -> None:
    """Whatever a stream is, it can be told, and all of it is counted."""
    pieces = Pieces(data)
    found, came = Recognition(0.0), 0
    for run in pieces.runs():
        found.runReceived(run)
        came += len(run)
    assert found.datagrams == came
    assert len(found.streams) <= 16
    assert found.line(pieces.later(), 0)
    found.toJSON(0)


def capturedPacket(data: bytes) -> None:
    """A packet is one of the few kinds, or nothing; its fields are within their bits."""
    for protocol in (0x0800, 0x86DD):
        found = packetIn(data, protocol)
        assert found is None or isinstance(found, Packet | Query)
        if isinstance(found, Packet):
            assert 0 <= found.port < 65536
            assert found.size < 65536


def netlink(data: bytes) -> None:
    """What is no message raises one of three errors."""
    for read in (linkIn, routeIn):
        with suppress(struct.error, ValueError, IndexError):
            read(data)
