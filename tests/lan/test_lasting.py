"""A relay's memberships while its interface goes, comes back, moves, and the switch forgets."""

from __future__ import annotations

import ctypes
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import frozen

from tests.lan.program import waitUntil
from tests.lan.relaying import Relay, Sender, Sink
from txgroupsock.testing.lan import Lan
from txgroupsock.testing.switch import MDBEntry
from txgroupsock.testing.wire import Capture, RecordKind, report

PORT = 5000
SECONDS = 2.0
"""In which a stream is to be back, counted from when the network is ready."""


@frozen
class Family:
    """What differs between the ways to join."""

    group: str
    source: str = ""

    @property
    def url(self) -> str:
        """The input, joined by name of the interface."""
        group = f"[{self.group}]" if ":" in self.group else self.group
        source = f"[{self.source}]" if ":" in self.source else self.source
        return f"udp://{source}{'@' * bool(source)}{group}:{PORT}?interface=eth0"

    @property
    def reported(self) -> RecordKind:
        """The record that a refresh has."""
        return (
            RecordKind.CHANGE_TO_INCLUDE_MODE if self.source else RecordKind.CHANGE_TO_EXCLUDE_MODE
        )


FAMILIES = {
    "IPv4": Family("239.5.5.5"),
    "IPv4 from one source": Family("232.5.5.5", "10.0.0.1"),
    "IPv6": Family("ff15::5555"),
    "IPv6 from one source": Family("ff3e::8000:5", "fd00::1"),
}
pytestmark = pytest.mark.slow
everyFamily = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())


@pytest.fixture
def out(lan: Lan) -> Iterator[Sink]:
    """What the relay on C{b} sends, by another link than the one that fails."""
    _, peer = lan.addLink(lan["b"], "far", 4)
    with Sink(peer, peer.ipv4, 6000) as sink:
        yield sink


@contextmanager
def streaming(lan: Lan, url: str, *, isJoined: bool = True) -> Iterator[tuple[Relay, Stream]]:
    """A relay on C{b} to the sink, and a stream from C{a} to a group, 200 datagrams a second."""
    far = lan["b"].links["eth1"]
    to = f"udp://10.0.{far.switch.number}.4:6000"
    where = url.partition("?")[0].removeprefix("udp://")
    source, _, group = where.rpartition("@")
    address = group.rpartition(":")[0].strip("[]")
    with Relay(lan["b"], to, source=url) as relay, Sender(lan["a"], address) as sender:
        if isJoined:
            lan.waitForMember(lan["b"], address, source.strip("[]") or None)
        with Stream(sender, 200) as stream:
            yield relay, stream


class Stream:
    """Sends from a thread, at a rate, until the context is left."""

    def __init__(self, sender: Sender, rate: int) -> None:
        self.sender = sender
        self._rate = rate
        self._isOver = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        began, burst = time.monotonic(), max(1, self._rate // 1000)
        while not self._isOver.is_set():
            time.sleep(max(0.0, began + self.sender.sent / self._rate - time.monotonic()))
            self.sender.send(burst)

    def __enter__(self) -> Stream:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Send no more; how many there were."""
        self._isOver.set()
        self._thread.join()
        return self.sender.sent


def comes(sink: Sink) -> bool:
    """Whether something new has come."""
    before = len(sink.numbers)
    sink.read()
    return len(sink.numbers) > before


def onlyOutgoing(wire: Capture) -> None:
    """Have a capture leave out what arrives, which would fill its buffer."""
    # Classic BPF (linux/filter.h): of the packet type PACKET_OUTGOING all, else nothing
    program = [(0x20, 0, 0, 0xFFFFF004), (0x15, 0, 1, 4), (0x06, 0, 0, 1 << 18), (0x06, 0, 0, 0)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in program))
    attach = 26  # SO_ATTACH_FILTER
    filtering = struct.pack("@HP", len(program), ctypes.addressof(code))
    wire._socket.setsockopt(socket.SOL_SOCKET, attach, filtering)


def say(line: str) -> None:
    """A figure, for pytest -rP or -s."""
    print(line)  # noqa: T201 - that is what it is for


def resumes(sink: Sink, what: str) -> None:
    """The stream is back within two seconds from now, and goes on."""
    sink.read()
    began = time.monotonic()
    for _ in range(5):
        waitUntil(lambda: comes(sink), f"datagrams after {what}", SECONDS)
    seconds = time.monotonic() - began
    say(f"{what}: {seconds * 1000:.0f} ms")
    assert seconds < SECONDS


def stops(sink: Sink, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Nothing comes any more."""
    quiet = time.monotonic()
    while time.monotonic() - quiet < 0.2:
        meanwhile()
        if comes(sink):
            quiet = time.monotonic()
        time.sleep(0.01)


@everyFamily
def test_anInterfaceThatIsMadeAnewIsJoinedAgain(lan: Lan, out: Sink, family: Family) -> None:
    """Deleted and created again with another index, twice; the log says when it goes and comes."""
    b = lan["b"]
    with streaming(lan, family.url) as (relay, _):
        resumes(out, "the start")
        for times in ("once", "2 times"):
            b.unplug()
            relay.waitFor("is not received: cannot find the interface eth0")
            stops(out)
            b.plug()
            resumes(out, "the interface was made anew")
            relay.waitFor(f"is received again: joined {family.group}")
            relay.waitFor(f"joined again {times}")


@everyFamily
def test_downAndUpIsNoEnd(lan: Lan, out: Sink, family: Family) -> None:
    """Switched off and on again, at either end of the cable."""
    b = lan["b"]
    b.sysctl("net.ipv6.conf.eth0.keep_addr_on_down", 1)
    with streaming(lan, family.url) as _:
        resumes(out, "the start")
        b.run("ip", "link", "set", "eth0", "down")
        stops(out)
        b.run("ip", "link", "set", "eth0", "up")
        resumes(out, "the interface was down")
        b.setLink(up=False)
        stops(out)
        b.setLink(up=True)
        resumes(out, "the port of the switch was down")


def test_aSwitchThatHasForgottenIsTold(
    lan: Lan, out: Sink, capture: Callable[..., Capture]
) -> None:
    """When the carrier is back the membership is reported, though no querier asked."""
    b = lan["b"]
    lan.switch.namespace.run(*("ip", "link", "set", "br0", "type", "bridge", "mcast_querier", "0"))
    with streaming(lan, "udp://239.5.5.5:5000?interface=eth0") as (relay, _):
        resumes(out, "the start")
        wire = capture(b)
        b.setLink(up=False)
        stops(out)
        b.setLink(up=True)
        resumes(out, "a silent switch came back")
        wire.waitFor(report(RecordKind.CHANGE_TO_EXCLUDE_MODE, "239.5.5.5", outgoing=True))
        relay.waitFor("the carrier is back")


@everyFamily
def test_anotherQuerierCostsNothing(lan: Lan, out: Sink, family: Family) -> None:
    """One that speaks IGMPv2 or MLDv1 takes over, with nothing snooped so far, and goes again."""
    b = lan["b"]
    isIPv4 = ":" not in family.group
    key, versions = ("igmp", (2, 3, 2, 3)) if isIPv4 else ("mld", (1, 2, 1, 2))

    bridge = lan.switch.namespace
    settings = ["ip", "link", "set", "br0", "type", "bridge"]

    def entries() -> list[MDBEntry]:
        snooped = lan.switch.mdb()
        return [one for one in snooped if (one.group, one.port) == (family.group, b.name)]

    def forget() -> None:
        for one in entries():
            where = ["dev", "br0", "port", one.port, "grp", one.group]
            where += ["src", one.source] if one.source else []
            bridge.run("bridge", "mdb", "del", *where)

    # An IGMPv2 query has tenths of a second, and 0 would be one of IGMPv1.
    bridge.run(*settings, "mcast_query_response_interval", "20")
    with streaming(lan, family.url) as (relay, stream):
        resumes(out, "the start")
        for version in versions:
            stops(out, forget)  # more than once, since the kernel repeats its reports
            bridge.run(*settings, f"mcast_{key}_version", str(version), "mcast_querier", "0")
            bridge.run(*settings, "mcast_querier", "1")  # asks at once
            resumes(out, f"the querier speaks version {version}")
            waitUntil(lambda: bool(entries()), "the report is snooped", SECONDS)
            if isIPv4:
                # It speaks the version of the oldest querier until that has been silent for long.
                assert re.search(r"eth0 .*V2", b.readNet("igmp"))
        stream.stop()
        assert "joined again" not in relay.report()[0].where


@everyFamily
def test_aNewNameOrAddressCostsNothing(lan: Lan, out: Sink, family: Family) -> None:
    """What is joined stays so when the interface is renamed, or has another address."""
    b = lan["b"]
    b.sysctl("net.ipv6.conf.eth0.keep_addr_on_down", 1)
    with streaming(lan, family.url) as (relay, stream):
        resumes(out, "the start")
        first = out.numbers[-1]
        b.run("ip", "link", "property", "add", "dev", "eth0", "altname", "other")
        b.run("ip", "addr", "add", "10.0.0.77/24", "dev", "eth0")
        b.run("ip", "addr", "del", "10.0.0.2/24", "dev", "eth0")
        resumes(out, "the address was changed")
        b.run("ip", "link", "set", "eth0", "down")
        b.run("ip", "link", "set", "eth0", "name", "lan0")
        b.run("ip", "link", "set", "lan0", "up")
        relay.waitFor("It stays joined on lan0")
        resumes(out, "the interface was renamed")
        b.run("ip", "link", "set", "lan0", "down")
        b.run("ip", "link", "set", "lan0", "name", "eth0")
        b.run("ip", "link", "set", "eth0", "up")
        resumes(out, "the interface was named back")
        assert first in out.numbers
        sent = stream.stop()
        assert sent > 0
        incoming, _ = relay.report()
        assert "It stays joined" not in incoming.rest


def test_anAddressThatMovesIsFollowed(lan: Lan, out: Sink) -> None:
    """An input whose interface is named by its address goes where the address goes."""
    b = lan["b"]
    with streaming(lan, "udp://239.5.5.5:5000?interface=10.0.0.2") as (relay, _):
        resumes(out, "the start")
        b.run("ip", "addr", "del", "10.0.0.2/24", "dev", "eth0")
        relay.waitFor("It stays joined on eth0")
        resumes(out, "the address was taken away")
        b.run("ip", "addr", "add", "10.0.0.2/24", "dev", "eth1")
        relay.waitFor("is received again: joined 239.5.5.5 on eth1")
        lan.waitForNoMember(b, "239.5.5.5")
        b.run("ip", "addr", "del", "10.0.0.2/24", "dev", "eth1")
        b.run("ip", "addr", "add", "10.0.0.2/24", "dev", "eth0")
        resumes(out, "the address was back")


def test_theRoutesAreFollowed(lan: Lan, out: Sink) -> None:
    """An input without an interface is joined where the routes lead, when that changes, too."""
    b = lan["b"]
    with streaming(lan, "udp://239.5.5.5:5000") as (relay, _):
        resumes(out, "the start")
        b.run("ip", "route", "replace", "224.0.0.0/4", "dev", "eth1")
        relay.waitFor("is received again")
        lan.waitForNoMember(b, "239.5.5.5")
        b.run("ip", "route", "replace", "224.0.0.0/4", "dev", "eth0")
        resumes(out, "the route was back")
        b.unplug()
        relay.waitFor("is not received: cannot join 239.5.5.5 on any interface: no route leads")
        b.plug()
        resumes(out, "the interface was made anew")


@everyFamily
def test_aRelayMayStartBeforeItsInterface(lan: Lan, out: Sink, family: Family) -> None:
    """It says what is missing, and joins when that is there."""
    b = lan["b"]
    b.unplug()
    with streaming(lan, family.url, isJoined=False) as (relay, _):
        relay.waitFor("is not received: cannot find the interface eth0: no interface has that name")
        b.plug()
        resumes(out, "the interface came late")


def test_aRelayMayStartBeforeItsAddress(lan: Lan, out: Sink) -> None:
    """A unicast input is bound when the address is there."""
    b = lan["b"]
    far = b.links["eth1"]
    to = f"udp://10.0.{far.switch.number}.4:6000"
    with (
        Relay(b, to, source="udp://10.0.0.99:5000", isBound=False) as relay,
        Sender(lan["a"], "10.0.0.99") as sender,
    ):
        relay.waitFor("is not received: cannot bind to 10.0.0.99:5000")
        b.run("ip", "addr", "add", "10.0.0.99/24", "dev", "eth0")
        with Stream(sender, 200):
            resumes(out, "the address came late")
        relay.waitFor("is received again: listening on 10.0.0.99 port 5000")


def skippedByKernel() -> int:
    """Datagrams that it has dropped since its processors had no time for them."""
    lines = Path("/proc/net/softnet_stat").read_text().splitlines()
    return sum(int(line.split()[1], 16) for line in lines)


@everyFamily
def test_aRefreshLosesNothing(
    lan: Lan, out: Sink, family: Family, capture: Callable[..., Capture]
) -> None:
    """
    At 10,000 datagrams a second, once a second, and each is seen on the wire.

    What a machine without time loses, the kernel counts: before the socket, or at it.
    """
    sources = [family.source] if family.source else []
    refreshed = report(family.reported, family.group, *sources, outgoing=True)
    with streaming(lan, f"{family.url}&refresh=1s") as (relay, stream):
        stream.stop()
        wire = capture(lan["b"])
        onlyOutgoing(wire)
        began, before, skipped = time.monotonic(), stream.sender.sent, skippedByKernel()
        with Stream(stream.sender, 10000) as fast:
            time.sleep(5)
            sent = fast.stop()
        seconds = time.monotonic() - began

        def missing() -> int:
            incoming, _ = relay.report()
            lost = incoming.dropped + skippedByKernel() - skipped
            say(f"{sent} sent, {incoming.datagrams} relayed, {lost} lost by the kernel")
            return sent - incoming.datagrams - lost

        waitUntil(lambda: missing() <= 0, "all of it relayed", 5)
        incoming, (outgoing,) = relay.report()
    seen = sum(1 for frame in wire.drain() if refreshed(frame))
    say(f"{(sent - before) / seconds:.0f}/s, {seen} reports, {incoming.where}")
    assert (outgoing.datagrams, outgoing.dropped) == (incoming.datagrams, 0)
    assert (sent - before) / seconds > 8000
    # A report is repeated at random within a second, or merged with the next one.
    assert seen >= 4
    assert "refreshed" in incoming.where


def test_aSilentGroupIsRefreshed(lan: Lan, out: Sink) -> None:
    """A switch that has forgotten it is told within seconds, though the carrier never went."""
    b = lan["b"]
    with streaming(lan, "udp://239.5.5.5:5000?interface=eth0") as _:
        resumes(out, "the start")
        time.sleep(2)  # the kernel repeats its first report in this time
        lan.switch.namespace.run(*f"bridge mdb del dev br0 port {b.name} grp 239.5.5.5".split())
        stops(out)
        began = time.monotonic()
        waitUntil(lambda: comes(out), "the stream after a silence", 9)
        say(f"after a silence: {time.monotonic() - began:.1f} s")
