"""A relay whose outputs fail, each in its way, while a numbered stream runs through it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.lan.program import needs
from tests.lan.relaying import Relay, Sender, Sink
from txgroupsock.testing.lan import Host, Lan

GROUP = "239.5.5.5"


@pytest.fixture
def far(lan: Lan) -> Host:
    """A host that only C{b} reaches, by its eth1."""
    _, peer = lan.addLink(lan["b"], "far", 4)
    for version in ("all", "default"):
        lan["b"].sysctl(f"net.ipv6.conf.{version}.keep_addr_on_down", 1)
    return peer


@pytest.fixture
def live(lan: Lan) -> Iterator[Sink]:
    """A destination that nothing is wrong with: port 6000 of C{c}."""
    with Sink(lan["c"], lan["c"].ipv4, 6000) as sink:
        yield sink


def urlOf(sink: Host, port: int = 6000) -> str:
    """The URL of a port of a host."""
    return f"udp://{sink.ipv4}:{port}"


def limitQueue(host: Host, interface: str, rate: str, limit: int) -> None:
    """Have an interface send slowly, and queue so many bytes only."""
    needs("tc")
    queue = f"tbf rate {rate} burst 1600 limit {limit}"
    host.run("tc", "qdisc", "add", "dev", interface, "root", *queue.split())


@pytest.mark.parametrize("way", ["IPv4", "IPv6", "group"])
def test_aLinkThatComesBackIsUsedWithinASecond(lan: Lan, far: Host, live: Sink, way: str) -> None:
    """While the link is down all is dropped and counted; up again, the stream goes on."""
    a, b, c, *_ = lan.hosts
    address = far.ipv6 if way == "IPv6" else far.ipv4
    url = {
        "IPv4": f"udp://{address}:6000",
        "IPv6": f"udp://[{address}]:6000",
        "group": f"udp://{GROUP}:6000?interface=eth1",
    }[way]
    with (
        Sink(far, address, 6000, GROUP if way == "group" else "") as sink,
        Relay(b, url, urlOf(c)) as relay,
        Sender(a, b.ipv4) as sender,
    ):
        if way == "group":
            far.links["eth0"].switch.waitForMDB(
                lambda entries: any(each.group == GROUP for each in entries)
            )
        sender.stream(100)
        sink.waitFor(99)
        b.run("ip", "link", "set", "eth1", "down")
        sender.stream(300)
        b.run("ip", "link", "set", "eth1", "up")
        first = sender.sent
        came = len(sink.numbers)
        began = time.monotonic()
        while len(sink.numbers) == came:
            assert time.monotonic() - began < 1.0
            sender.stream(10, sink.read)
        sender.stream(200, sink.read)
        sink.waitFor(sender.sent - 1)
        live.waitFor(sender.sent - 1)
        failing, good = relay.reportOf(sender.sent)
    assert sink.numbers[:100] == list(range(100))
    again = sink.numbers[100]
    assert again >= first
    assert sink.numbers[100:] == list(range(again, sender.sent))
    assert failing.dropped >= 300
    assert failing.datagrams >= len(sink.numbers)
    assert set(failing.reasons) <= {"ENETUNREACH", "ENETDOWN", "EINVAL", "ENODEV"}
    assert good.dropped == 0
    assert live.numbers == list(range(sender.sent))


def test_anInterfaceThatIsMadeAnewIsUsed(lan: Lan, far: Host, live: Sink) -> None:
    """An output interface may disappear and come back, with another index; the rest goes on."""
    a, b, c, *_ = lan.hosts
    with (
        Relay(b, f"udp://{GROUP}:6000?interface=eth1", urlOf(c)) as relay,
        Sender(a, b.ipv4) as sender,
        Sink(far, far.ipv4, 6000, GROUP) as sink,
    ):
        sender.stream(50)
        b.unplug("eth1")
        sender.stream(200)
        b.links["eth1"].switch.plug(b, interface="eth1")
        began = time.monotonic()
        came = len(sink.numbers)
        while len(sink.numbers) == came:
            assert time.monotonic() - began < 5.0
            sender.stream(10, sink.read)
        live.waitFor(sender.sent - 1)
        failing, _ = relay.reportOf(sender.sent)
    assert failing.dropped >= 200
    assert "ENODEV" in failing.reasons
    assert live.numbers == list(range(sender.sent))


def test_anMTULoweredUnderWayLosesNothing(lan: Lan, far: Host) -> None:
    """Datagrams that no longer fit the output's link go in fragments, one by one, all of them."""
    a, b, *_ = lan.hosts
    with (
        Sink(far, far.ipv4, 6000) as sink,
        Relay(b, urlOf(far)) as relay,
        Sender(a, b.ipv4) as sender,
    ):
        for mtu in ("1500", "1280", "576", "1500"):
            b.run("ip", "link", "set", "eth1", "mtu", mtu)
            for _ in range(20):
                sender.send(30)  # at once, so that they make runs
                sink.waitFor(sender.sent - 1)
        (output,) = relay.reportOf(sender.sent)
    assert sink.numbers == list(range(sender.sent))
    assert (output.datagrams, output.dropped) == (2400, 0)
    assert "datagrams go one by one" in output.rest


def test_aSlowLinkHoldsUpNoOther(lan: Lan, far: Host, live: Sink) -> None:
    """What a slow link's send buffer has no room for is EAGAIN; others get everything in time."""
    a, b, c, *_ = lan.hosts
    limitQueue(b, "eth1", "64kbit", 100_000_000)
    with (
        Relay(b, urlOf(far), urlOf(c)) as relay,
        Sender(a, b.ipv4) as sender,
    ):
        sender.stream(3000, live.read, rate=5000)
        live.waitFor(sender.sent - 1)
        slow, good = relay.reportOf(sender.sent)
    assert set(slow.reasons) == {"EAGAIN"}
    assert 0 < slow.datagrams < 2500
    assert good.dropped == 0
    assert live.numbers == list(range(sender.sent))
    assert live.slowest < 0.5


@pytest.mark.slow
def test_fiftyDeadDestinationsHarmNoLiveOne(lan: Lan, far: Host) -> None:
    """
    Of a hundred destinations half are dead, in five ways; the others get every datagram, in order.

    Nobody has the port; nobody has the address; no route; no such name; a queue that is full.
    """
    a, b, c, *_ = lan.hosts
    limitQueue(b, "eth1", "8kbit", 3000)
    living = [urlOf(c, 6000 + number) for number in range(50)]
    ways = {
        "nobody's port": [urlOf(c, 7000 + number) for number in range(10)],
        "nobody's address": [f"udp://10.0.0.{100 + number}:6000" for number in range(10)],
        "no route": [f"udp://192.0.2.{1 + number}:6000" for number in range(10)],
        "no name": [f"udp://host{number}.invalid:6000" for number in range(10)],
        "full queue": [f"udp://{GROUP}:{6000 + number}?interface=eth1" for number in range(10)],
    }
    dead = [url for urls in ways.values() for url in urls]
    # Dead and living in turns, so that each living one comes after a dead one.
    urls = [url for pair in zip(dead, living, strict=True) for url in pair]
    with ExitStack() as entered:
        sinks = [entered.enter_context(Sink(c, c.ipv4, 6000 + number)) for number in range(50)]
        relay = entered.enter_context(Relay(b, *urls))
        sender = entered.enter_context(Sender(a, b.ipv4))
        sender.stream(600, rate=200)
        for sink in sinks:
            sink.waitFor(sender.sent - 1)
        outputs = relay.reportOf(sender.sent)
    for sink in sinks:
        assert sink.numbers == list(range(sender.sent))
    assert max(sink.slowest for sink in sinks) < 1.0
    lines = dict(zip(urls, outputs, strict=True))
    assert all(lines[url].dropped == 0 for url in living)
    refusing = [lines[url] for url in ways["nobody's port"]]
    assert sum(each.dropped for each in refusing) == 0
    # A host sends only so many of these a second.
    assert any("came back: ECONNREFUSED" in each.rest for each in refusing)
    # No neighbour is given up within these seconds, but datagrams go out at least to be asked for.
    assert all(set(lines[url].reasons) <= {"EHOSTUNREACH"} for url in ways["nobody's address"])
    assert all(lines[url].reasons == {"ENETUNREACH": sender.sent} for url in ways["no route"])
    assert all(lines[url].reasons == {"lookup": sender.sent} for url in ways["no name"])
    full = [lines[url] for url in ways["full queue"]]
    assert {name for each in full for name in each.reasons} == {"ENOBUFS"}
    assert sum(each.dropped for each in full) > 5 * sender.sent


def test_aNeighbourThatIsGivenUpIsReported(lan: Lan, live: Sink) -> None:
    """What was sent to a neighbour that never answers counts as sent, and the report says so."""
    a, b, c, *_ = lan.hosts
    for version in ("ipv4", "ipv6"):
        b.sysctl(f"net/{version}/neigh/eth0/retrans_time_ms", 50)
    with (
        Relay(b, "udp://10.0.0.77:6000", "udp://[fd00::77]:6000", urlOf(c)) as relay,
        Sender(a, b.ipv4) as sender,
    ):
        deadline = time.monotonic() + 20
        while True:
            sender.stream(100, live.read)
            live.waitFor(sender.sent - 1)
            *dead, _ = relay.reportOf(sender.sent)
            if all("came back: EHOSTUNREACH" in each.rest for each in dead):
                break
            assert time.monotonic() < deadline, dead
    assert [each.dropped for each in dead] == [0, 0]
    assert live.numbers == list(range(sender.sent))


def test_aReceiverThatStartsLaterIsServedAtOnce(lan: Lan) -> None:
    """Nobody has the port at first; who opens it gets the very next datagram and all after it."""
    a, b, c, *_ = lan.hosts
    with Relay(b, urlOf(c), f"udp://[{c.ipv6}]:6000") as relay, Sender(a, b.ipv4) as sender:
        sender.stream(100)
        relay.reportOf(sender.sent)
        with Sink(c, c.ipv4, 6000) as four, Sink(c, c.ipv6, 6000) as six:
            first = sender.sent
            sender.stream(100)
            for each in (four, six):
                each.waitFor(sender.sent - 1)
                assert each.numbers == list(range(first, sender.sent))
        for line in relay.reportOf(sender.sent):
            assert line.dropped == 0
            assert "came back: ECONNREFUSED" in line.rest
