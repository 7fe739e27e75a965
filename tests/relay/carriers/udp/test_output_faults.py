"""Outputs whose destination cannot be reached: when they try again, what they count and say."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from tests.relay.support import loggedLines, opened, runOf
from txgroupsock.primitives import GroupsockError
from txgroupsock.relay.carriers.udp.output import UDPOutput
from txgroupsock.relay.models.udp import OutputModel
from txgroupsock.testing.namespaces import Namespace
from txgroupsock.testing.wire import Capture, datagram

pytestmark = pytest.mark.lan

MAC = "02:00:00:00:00:99"
LINK = f"""
    link add name eth0 type veth peer name far
    addr add 10.0.0.1/24 dev eth0
    addr add fd00::1/64 dev eth0 nodad
    link set far up
    link set eth0 up
    neigh add 10.0.0.2 lladdr {MAC} dev eth0
    neigh add fd00::2 lladdr {MAC} dev eth0
"""
THERE = {socket.AF_INET: "10.0.0.2", socket.AF_INET6: "[fd00::2]"}
URLS = ["udp://10.0.0.2:5000", "udp://[fd00::2]:5000", "udp://239.1.1.1:5000?interface=eth0"]
PAUSES = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5, 0.5]


class Host(Namespace):
    """A host with one link, on which 10.0.0.2 and fd00::2 are, though nobody hears them."""

    def __init__(self) -> None:
        super().__init__()
        self.raiseLoopback()
        self.sysctl("net.ipv6.conf.default.addr_gen_mode", 1)
        self.sysctl("net.ipv6.conf.default.keep_addr_on_down", 1)
        self.plug()

    def plug(self) -> None:
        """Make the link, or make it anew with another index."""
        self.run("ip", "-batch", "-", stdin=LINK)

    def unplug(self) -> None:
        """Make the interface disappear."""
        self.run("ip", "link", "del", "eth0")

    def set(self, state: str) -> None:
        """Take the interface up or down; what was known of neighbours is lost."""
        self.run("ip", "link", "set", "eth0", state)
        if state == "up":
            for address in ("10.0.0.2", "fd00::2"):
                self.run("ip", "neigh", "replace", address, "lladdr", MAC, "dev", "eth0")

    def address(self, what: str, *addresses: str) -> None:
        """Add or delete addresses."""
        for each in addresses:
            prefix = ("64", "nodad") if ":" in each and what == "add" else ("64",)
            prefix = prefix if ":" in each else ("24",)
            self.run("ip", "addr", what, f"{each}/{prefix[0]}", "dev", "eth0", *prefix[1:])


@pytest.fixture
def host(namespaces: None) -> Iterator[Host]:
    """The test is inside."""
    made = Host()
    try:
        with made:
            yield made
    finally:
        made.close()


def counts(output: UDPOutput) -> tuple[int, int]:
    """Datagrams sent, and dropped."""
    counters = output.counters
    return counters.datagrams, counters.dropped.total()


def reasons(output: UDPOutput) -> set[str]:
    """Why datagrams were dropped."""
    return set(output.counters.dropped)


@pytest.mark.parametrize("url", URLS)
def test_aDeadDestinationIsTriedLessAndLessOften(host: Host, url: str) -> None:
    """The pauses double up to half a second, in which nothing is tried and all is counted."""
    clock = Clock()
    with opened(url, clock) as output:
        output.runReceived(runOf(b"x"))
        host.set("down")
        offered = 1
        for number, pause in enumerate(PAUSES):
            # The first run after each pause is tried; it may be that no socket could be had.
            output.runReceived(runOf(b"aa", b"b"))
            offered += 2
            (tried,) = clock.getDelayedCalls()
            assert tried.getTime() - clock.seconds() == pytest.approx(pause), number
            reported = output.statistics.datagramsDropped
            for _ in range(3):
                output.runReceived(runOf(b"aa", b"b"))
                offered += 2
            assert output.statistics.datagramsDropped == reported  # which counts tries only
            assert sum(counts(output)) == offered
            clock.advance(pause)
        assert reasons(output) <= {"ENETUNREACH", "ENETDOWN", "EINVAL", "ENODEV"}
        assert counts(output) == (1, offered - 1)
        host.set("up")
        clock.advance(UDPOutput.longestPause)
        output.runReceived(runOf(b"x"))
        assert counts(output) == (2, offered - 1)
        # It begins anew with the next failure.
        host.set("down")
        output.runReceived(runOf(b"x"))
        (tried,) = clock.getDelayedCalls()
        assert tried.getTime() - clock.seconds() == pytest.approx(UDPOutput.firstPause)


@pytest.mark.parametrize("url", URLS[:2])
def test_aRouteThatComesLaterIsUsed(host: Host, url: str) -> None:
    """Without a route the output opens, drops and counts; once there is one it sends."""
    clock = Clock()
    url = url.replace("10.0.0.2", "192.0.2.1").replace("fd00::2", "2001:db8::1")
    with opened(url, clock) as output:
        output.runReceived(runOf(b"aa", b"bb", b"c"))
        assert output.counters.dropped == {"ENETUNREACH": 3}
        host.run("ip", "route", "add", "192.0.2.0/24", "via", "10.0.0.2")
        host.run("ip", "route", "add", "2001:db8::/64", "via", "fd00::2")
        output.runReceived(runOf(b"c"))
        assert counts(output) == (0, 4)
        clock.advance(UDPOutput.firstPause)
        output.runReceived(runOf(b"x"))
        assert counts(output) == (1, 4)


@pytest.mark.parametrize(
    "url", ["udp://[ff05::1]:5000?interface=eth0", "udp://[fe80::2%eth0]:5000"]
)
def test_anAddressOfOursThatComesLaterIsUsed(host: Host, url: str) -> None:
    """An interface that has no IPv6 address yet is no start error; when it has one it sends."""
    host.run("ip", "-6", "addr", "flush", "dev", "eth0")
    clock = Clock()
    with opened(url, clock) as output:
        output.runReceived(runOf(b"x"))
        assert counts(output) == (0, 1)
        host.address("add", "fe80::1")
        clock.advance(UDPOutput.firstPause)
        output.runReceived(runOf(b"x"))
        assert counts(output) == (1, 1)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_aSourceAddressThatGoesIsWaitedFor(host: Host, family: socket.AddressFamily) -> None:
    """While the chosen source is no address of this host's nothing is sent; then, from it again."""
    source = "10.0.0.7" if family == socket.AF_INET else "fd00::7"
    written = source if family == socket.AF_INET else f"[{source}]"
    host.address("add", source)
    clock = Clock()
    with (
        Capture(host, "eth0") as wire,
        opened(f"udp://{written}@{THERE[family]}:5000", clock) as output,
    ):
        output.runReceived(runOf(b"first"))
        seen = wire.waitFor(datagram(b"first", outgoing=True))
        assert seen.source == source
        host.address("del", source)
        for _ in range(5):
            output.runReceived(runOf(b"lost"))
            clock.advance(UDPOutput.longestPause)
        sent, dropped = counts(output)
        assert sent + dropped == 6
        if family == socket.AF_INET:  # Linux lets IPv6 go on with an address that is gone
            assert sent == 1
            assert "EADDRNOTAVAIL" in reasons(output)
        host.address("add", source)
        clock.advance(UDPOutput.longestPause)
        output.runReceived(runOf(b"again"))
        again = wire.waitFor(datagram(b"again", outgoing=True))
        assert (again.source, again.sourcePort) == (source, seen.sourcePort)
        assert counts(output) == (sent + 1, dropped)


def test_anInterfaceThatIsMadeAnewIsUsed(host: Host) -> None:
    """An interface deleted and made again, with another index, is sent by as before."""
    clock = Clock()
    with opened("udp://239.1.1.1:5000?interface=eth0&ttl=3", clock) as output:
        output.runReceived(runOf(b"x"))
        before, local = output.describe(), output.localAddress
        host.unplug()
        for _ in range(4):
            output.runReceived(runOf(b"x", b"x"))
            clock.advance(UDPOutput.longestPause)
        assert output.describe() != []
        assert counts(output) == (1, 8)
        assert "ENODEV" in reasons(output)
        # The kernel gives indexes out in turn, so it is another one.
        host.plug()
        clock.advance(UDPOutput.longestPause)
        with Capture(host, "eth0") as wire:
            output.runReceived(runOf(b"back"))
            seen = wire.waitFor(datagram(b"back", outgoing=True))
        assert counts(output) == (2, 8)
        assert local is not None
        assert seen.sourcePort == local[1]
        assert output.describe() == before


def test_failuresAreLoggedOnceInTenSeconds(host: Host) -> None:
    """The first failure is said at once, then a line in ten seconds, and one when it is over."""
    clock = Clock()
    with opened(URLS[0], clock) as output, loggedLines() as lines:
        host.set("down")
        for _ in range(250):
            output.runReceived(runOf(b"x"))
            clock.advance(0.1)
        host.set("up")
        clock.advance(UDPOutput.longestPause)
        for _ in range(3):
            output.runReceived(runOf(b"x"))
    pattern = (
        rf"{URLS[0]}: cannot send to 10\.0\.0\.2:5000: Network is unreachable; no route leads "
        r"there from the source address: name an interface, or add a route \((\d+) dropped since "
        r"the last such line\)"
    )
    failures = [re.fullmatch(pattern, line) for line in lines[:-1]]
    assert len(failures) == 3
    said = [int(each[1]) for each in failures if each is not None]
    assert said[0] == 1
    over = re.fullmatch(rf"{URLS[0]}: sending again \((\d+) dropped since .*\)", lines[-1])
    assert over is not None
    assert sum(said) + int(over[1]) == 250


def test_comingAndGoingFillsNoLog(host: Host) -> None:
    """A destination that fails and recovers all the time is said as often as one that is dead."""
    clock = Clock()
    with opened(URLS[0], clock) as output, loggedLines() as lines:
        for _ in range(10):
            host.set("down")
            output.runReceived(runOf(b"x"))
            host.set("up")
            clock.advance(UDPOutput.longestPause)
            output.runReceived(runOf(b"x"))
        assert counts(output) == (10, 10)
        assert len(lines) == 2  # in five seconds
        assert "sending again" in lines[1]


def test_whatIsNotThereToBeOpenedIsSaidAgainToo(host: Host) -> None:
    """That no socket can be had for it is said every ten seconds, like any failure."""
    clock = Clock()
    with opened("udp://239.1.1.1:5000?interface=eth0", clock) as output, loggedLines() as lines:
        host.unplug()
        for _ in range(101):
            output.runReceived(runOf(b"x"))
            clock.advance(0.25)
    assert len(lines) == 3
    assert all("ENODEV" in line or "eth0" in line for line in lines[1:])


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.EAGAIN, errno.EMSGSIZE, errno.ENOMEM])
def test_whatPassesByItselfIsNoReasonToWait(
    host: Host, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """After a full queue or buffer, or a datagram that is too large, the next one is sent."""
    clock = Clock()
    with opened(URLS[0], clock) as output:
        flow = output._flow
        assert flow is not None
        real, left = flow._send, 3  # as often as one datagram is tried

        def send(data: memoryview) -> int:
            nonlocal left
            left -= 1
            if left >= 0:
                raise OSError(number, "for once")
            return real(data)

        monkeypatch.setattr(flow, "_send", send)
        while left > 0:
            output.runReceived(runOf(b"x"))
        _, dropped = counts(output)
        assert dropped == output.counters.dropped[errno.errorcode[number]] > 0
        assert clock.getDelayedCalls() == []
        output.runReceived(runOf(b"x"))
        assert counts(output) == (1, dropped)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("udp://192.0.2.9@10.0.0.2:5000", errno.EADDRNOTAVAIL),
        ("udp://[2001:db8::9]@[fd00::2]:5000", errno.EADDRNOTAVAIL),
        ("udp://10.0.0.2:5000?interface=nope0", errno.ENODEV),
    ],
)
def test_whatCanNeverBeIsAStartError(host: Host, text: str, number: int) -> None:
    """A source that is not ours, or an interface that is not there, is raised, leaving nothing."""
    clock = Clock()
    output = UDPOutput(clock, OutputModel.parse(text))
    with pytest.raises(GroupsockError) as raised:
        output.openOutput()
    assert raised.value.errno == number
    output.runReceived(runOf(b"x"))
    assert output.counters.dropped == {"closed": 1}
    assert clock.getDelayedCalls() == []
    output.closeOutput()


def test_closingWhileItWaitsLeavesNothing(host: Host) -> None:
    """An output that is closed in a pause tries nothing more, and can be opened again."""
    clock = Clock()
    with opened("udp://192.0.2.1:5000", clock) as output:
        assert len(clock.getDelayedCalls()) == 1
    output.runReceived(runOf(b"x"))
    assert output.counters.dropped == {"closed": 1}
    host.run("ip", "route", "add", "192.0.2.0/24", "via", "10.0.0.2")
    output.openOutput()
    output.runReceived(runOf(b"x"))
    assert counts(output) == (1, 1)
    output.closeOutput()
