"""Real programs send to the relay and receive from it, each on a host of its own."""

from __future__ import annotations

import secrets
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import frozen

from tests.lan.program import Program, needs, twistd, waitForPort, waitUntil
from txgroupsock.testing.lan import Host, Lan

PICTURES = 50
RATE = 25


@frozen
class Stream:
    """
    Addresses of one family: a group that comes in from C{a}, and where it goes.

    @ivar incoming: the source-specific group.
    @ivar outgoing: the group that the relay sends to.
    """

    incoming: str
    outgoing: str

    def addressOf(self, host: Host) -> str:
        return f"[{host.ipv6}]" if self.incoming.startswith("[") else host.ipv4

    def local(self, host: Host) -> str:
        """What tells ffmpeg its interface; it knows that for IPv4 only."""
        return "" if self.incoming.startswith("[") else f"localaddr={host.ipv4}"


STREAMS = [
    pytest.param(Stream("232.1.1.1", "239.2.2.2"), id="IPv4"),
    pytest.param(Stream("[ff3e::8000:1]", "[ff15::2]"), id="IPv6"),
]


def sender(host: Host, stream: Stream) -> Program:
    """Three seconds of a test picture and a tone as MPEG-TS, in datagrams of seven packets."""
    url = f"udp://{stream.incoming}:5000?pkt_size=1316&ttl=1&{stream.local(host)}"
    return Program(
        host,
        *(needs("ffmpeg"), "-nostdin", "-hide_banner", "-loglevel", "error", "-re"),
        *("-f", "lavfi", "-i", f"testsrc2=size=320x240:rate={RATE}"),
        *("-f", "lavfi", "-i", "sine=frequency=440", "-t", str(PICTURES / RATE + 1)),
        *("-c:v", "mpeg2video", "-b:v", "1500k", "-g", "12", "-c:a", "mp2", "-f", "mpegts", url),
    )


def receiver(host: Host, address: str, local: str = "") -> Program:
    """An ffmpeg that decodes so many pictures and fails on any error in them."""
    return Program(
        host,
        *(needs("ffmpeg"), "-nostdin", "-hide_banner", "-loglevel", "warning", "-xerror"),
        *("-err_detect", "explode", "-probesize", "200000", "-i", f"udp://{address}:5000?{local}"),
        *("-map", "0:v", "-frames:v", str(PICTURES), "-f", "null", "-"),
    )


@pytest.mark.slow
@pytest.mark.parametrize("stream", STREAMS)
def test_ffmpegPlaysWhatFfmpegSends(lan: Lan, stream: Stream) -> None:
    """
    A test picture from the chosen source plays without an error, by unicast and by multicast.

    Another host sends to the same group and port all the while; any of its datagrams that got
    through would spoil the picture.
    """
    a, b, c = lan.hosts
    relay = twistd(
        *("--from", f"udp://{stream.addressOf(a)}@{stream.incoming}:5000?interface=eth0"),
        *("--to", f"udp://{stream.addressOf(c)}:5000"),
        *("--to", f"udp://{stream.outgoing}:5000?interface=eth0&ttl=4"),
    )
    with ExitStack() as running:
        relaying = running.enter_context(Program(b, *relay))
        relaying.waitFor("with TTL 4")
        unicast = running.enter_context(receiver(c, stream.addressOf(c)))
        multicast = running.enter_context(receiver(a, stream.outgoing, stream.local(a)))
        waitForPort(c, 5000)
        waitForPort(a, 5000)
        lan.waitForMember(b, stream.incoming.strip("[]"), stream.addressOf(a).strip("[]"))
        lan.waitForMember(a, stream.outgoing.strip("[]"))
        intruding = running.enter_context(sender(c, stream))
        sending = running.enter_context(sender(a, stream))
        for player in (unicast, multicast):
            assert player.end() == 0, player.output
            said = player.output.lower()
            assert not any(word in said for word in ("error", "corrupt", "invalid")), said
        assert intruding.end() == 0, intruding.output
        assert sending.end() == 0, sending.output
        relaying.end(signal.SIGINT)
        assert relaying.output.count(" 0 dropped") == 3, relaying.output


def test_socatAtTheAddressesOfLIVE555(lan: Lan, tmp_path: Path) -> None:
    """What LIVE555's testRelay does, from 239.255.42.42:8888 to 239.255.43.43:4444, is done."""
    a, b, c = lan.hosts
    sent, received = tmp_path / "sent", tmp_path / "received"
    sent.write_bytes(secrets.token_bytes(60 * 1316))
    relay = twistd(
        *("--from", "udp://239.255.42.42:8888?interface=eth0"),
        *("--to", "udp://239.255.43.43:4444?interface=eth0&ttl=255"),
    )
    hearing = (
        f"UDP4-RECV:4444,ip-add-membership=239.255.43.43:{c.ipv4}",
        f"CREATE:{received}",
    )
    saying = (f"FILE:{sent}", f"UDP4-DATAGRAM:239.255.42.42:8888,ip-multicast-if={a.ipv4}")
    socat = (needs("socat"), "-u", "-b1316")
    with (
        Program(b, *relay) as relaying,
        Program(c, *socat, *hearing),
    ):
        relaying.waitFor("with TTL 255")
        waitForPort(c, 4444)
        lan.waitForMember(b, "239.255.42.42")
        lan.waitForMember(c, "239.255.43.43")
        with Program(a, *socat, *saying) as sending:
            assert sending.end() == 0, sending.output
        waitUntil(lambda: received.stat().st_size >= sent.stat().st_size, "all received")
        relaying.signal(signal.SIGUSR1)
        relaying.waitFor("with TTL 255: 60 datagrams, 78,960 bytes, 0 dropped")
        relaying.end(signal.SIGTERM)
    assert received.read_bytes() == sent.read_bytes()
