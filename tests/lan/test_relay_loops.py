"""Loops through relays on other hosts."""

from __future__ import annotations

import pytest

from tests.lan.program import waitUntil
from tests.lan.relaying import Relay, Sender, Sink
from txgroupsock.testing.lan import Lan

pytestmark = [pytest.mark.lan, pytest.mark.slow]


def test_aLoopThroughAnotherRelayIsStopped(lan: Lan) -> None:
    """Two relays that send to each other's hosts: the loop ends within seconds, both say so, and
    from then on every datagram of the true source is relayed, once.
    """
    a, b, c, *_ = lan.hosts
    with (
        Sink(a, a.ipv4, 6000) as sink,
        Relay(b, f"udp://{c.ipv4}:5000", f"udp://{a.ipv4}:6000") as one,
        Relay(c, f"udp://{b.ipv4}:5000") as other,
        Sender(a, b.ipv4) as sender,
    ):

        def isStopped() -> bool:
            sender.stream(50, sink.read)
            return "loop" in one.output + other.output or one.report()[0].reasons.get("loop", 0) > 0

        waitUntil(isStopped, "the loop is found")
        # What was under way has come round, and is dropped, by now.
        sender.stream(500, sink.read)
        sink.waitFor(sender.sent - 1)
        sink.numbers.clear()
        first = sender.sent
        sender.stream(2000, sink.read)
        sink.waitFor(sender.sent - 1)
        incoming, outgoing = one.report()
        elsewhere, _ = other.report()
    assert sink.numbers == list(range(first, sender.sent))
    assert incoming.reasons["loop"] + elsewhere.reasons.get("loop", 0) > 2000
    assert incoming.datagrams == outgoing[0].datagrams + outgoing[0].dropped
