"""Loops through relays on other hosts."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack

import pytest

from tests.lan.program import Program, waitUntil
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


@pytest.mark.timeout(120)
def test_aLoopIsBoundedOnABusyHost(lan: Lan) -> None:
    """Two relays that send to each other, on a host whose cores others want, too: of 10 datagrams
    a second in five seconds no more than 4,000 are relayed, most of them in the first, and from
    then on each once; both copies and true datagrams are counted.
    """
    a, b, c, *_ = lan.hosts
    hog = (sys.executable, "-c", "while True: pass")
    with ExitStack() as stack:
        sink = stack.enter_context(Sink(a, a.ipv4, 6000))
        one = stack.enter_context(Relay(b, f"udp://{c.ipv4}:5000", f"udp://{a.ipv4}:6000"))
        stack.enter_context(Relay(c, f"udp://{b.ipv4}:5000"))
        sender = stack.enter_context(Sender(a, b.ipv4))
        for _ in range(2 * (os.cpu_count() or 1)):
            stack.enter_context(Program(a, *hog))
        for _ in range(50):
            sender.send(1)
            sink.read()
            time.sleep(0.1)
        sink.waitFor(49)
        relayed = len(sink.numbers)
        sender.stream(50, rate=10, meanwhile=sink.read)
        sink.waitFor(99)
        incoming, _ = one.report()
    assert 50 <= relayed <= 4000
    assert 50 <= len(sink.numbers) - relayed <= 100
    assert incoming.reasons["loop"] > 0
    assert "comes back to it from" in one.output
