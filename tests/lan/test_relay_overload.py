"""A relay that gets more than it has room for: what is counted where, and that it adds up."""

from __future__ import annotations

import socket
import struct

import pytest

from tests.lan.program import waitUntil
from tests.lan.relaying import Line, Relay, Sender, Sink, payload
from txgroupsock.primitives.constants import UDP_SEGMENT, required
from txgroupsock.testing.lan import Lan

TRAIN = 20


def drained(relay: Relay, wanted: int) -> tuple[Line, Line]:
    """What it reports once it has passed on all that was kept for it."""
    found: list[tuple[Line, Line]] = []

    def isDone() -> bool:
        incoming, (output,) = relay.report()
        found.append((incoming, output))
        return len(found) > 1 and incoming.datagrams >= wanted and found[-2] == found[-1]

    waitUntil(isDone, "the relay has passed on what there was")
    return found[-1]


def test_whatTheKernelDropsAndWhatPassesIsAllThatCame(lan: Lan) -> None:
    """Datagrams that come while the relay is stopped fill its buffer; the rest are counted."""
    a, b, *_ = lan.hosts
    with (
        Relay(b, "udp://127.0.0.1:6000") as relay,
        Sender(a, b.ipv4) as sender,
    ):
        sender.send(10)
        relay.pause()
        sender.send(12_000)
        relay.resume()
        incoming, output = drained(relay, 1000)
    assert set(incoming.reasons) == {"kernel"}
    assert incoming.dropped > 1000
    assert incoming.datagrams + incoming.dropped == sender.sent
    assert output.datagrams + output.dropped == incoming.datagrams


@pytest.mark.skipif(UDP_SEGMENT is None, reason="trains are a thing of Linux")
def test_aTrainThatTheKernelDropsCountsAsOne(lan: Lan) -> None:
    """Datagrams that arrive coalesced (GRO) are dropped together, and Linux counts one drop."""
    _, b, *_ = lan.hosts
    kind = required(UDP_SEGMENT, "UDP_SEGMENT")
    with Relay(b, "udp://127.0.0.1:6000") as relay:
        with b:
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sender:
            sender.connect(("127.0.0.1", 5000))
            segment = [(socket.IPPROTO_UDP, kind, struct.pack("@H", 1316))]
            train = b"".join(payload(number) for number in range(TRAIN))
            relay.pause()
            for _ in range(800):
                sender.sendmsg([train], segment)
            relay.resume()
            incoming, output = drained(relay, TRAIN)
    assert incoming.dropped > 50
    assert incoming.datagrams % TRAIN == 0
    assert incoming.datagrams + TRAIN * incoming.dropped == 800 * TRAIN
    assert output.datagrams + output.dropped == incoming.datagrams


@pytest.mark.parametrize(("host", "most"), [("127.0.0.1", 65507), ("::1", 65527)])
def test_theLargestDatagramFits(lan: Lan, host: str, most: int) -> None:
    """The largest that UDP carries passes whole; a larger one no sender of the family can make."""
    b = lan["b"]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    written = f"[{host}]" if ":" in host else host
    with (
        b.socket(family) as sink,
        b.socket(family) as sender,
        Relay(b, f"udp://{written}:6000", source=f"udp://{written}:5000") as relay,
    ):
        sink.bind((host, 6000))
        sink.settimeout(10)
        sender.connect((host, 5000))
        wanted = [bytes([number]) * (most - number) for number in range(4)]
        for each in wanted:
            sender.send(each)
            assert sink.recv(70_000) == each
        with pytest.raises(OSError, match="Message too long"):
            sender.send(bytes(most + 1))
        incoming, (output,) = relay.report()
    assert (incoming.datagrams, incoming.dropped) == (4, 0)
    assert (output.datagrams, output.dropped) == (4, 0)


def test_aStreamGoesOnAfterAnOverload(lan: Lan) -> None:
    """After a flood the relay passes on the next datagrams at once, and loses none."""
    a, b, c = lan.hosts
    with (
        Relay(b, f"udp://{c.ipv4}:6000") as relay,
        Sender(a, b.ipv4) as sender,
    ):
        relay.pause()
        sender.send(12_000)
        relay.resume()
        incoming, _ = drained(relay, 1000)
        with Sink(c, c.ipv4, 6000) as sink:
            first = sender.sent
            sender.send(100)
            sink.waitFor(first + 99)
        after, _ = relay.report()
    assert sink.numbers == list(range(first, first + 100))
    assert sink.slowest < 0.5
    assert (after.datagrams, after.dropped) == (incoming.datagrams + 100, incoming.dropped)
