"""Real players watch what a real encoder sends, each on a host of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import frozen

from tests.lan.program import Program, needs, waitUntil
from txgroupsock.testing.lan import Host, Lan

PICTURES = 50
RATE = 25
SERVICE = """
import sys

from twisted.internet import reactor
from twisted.python import log

from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.viewers import (
    AllowList, Limits, StreamModel, TCPModel, ViewerService, ViewersModel
)

interface, host = sys.argv[1:]
allowed = ("239.1.0.0/16", "232.1.0.0/16", "[ff3e::/32]")
allowed = [f"{each}?interface={interface}" for each in allowed]
stream = StreamModel(InputModel.parse(f"udp://239.1.1.1:5000?interface={interface}"))
model = ViewersModel(
    (f"tcp:8080:interface={host}", "tcp6:8081"),
    AllowList.parse(allowed),
    tcp=(TCPModel(f"tcp:9000:interface={host}", stream),),
    limits=Limits(lingerTime=0.5),
)
log.startLogging(sys.stdout)
service = ViewerService(reactor, model)
service.startService()
reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
print("ready", flush=True)
reactor.run()
print("totals", service.status().totals)
"""


def serviceOn(host: Host) -> Program:
    """A service for viewers on a host."""
    return Program(host, sys.executable, "-u", "-c", SERVICE, "eth0", host.ipv4)


@frozen
class Stream:
    """
    What an encoder sends, and how it is asked for.

    @ivar group: where it is sent to.
    @ivar muxer: MPEG-TS as it is, or in RTP.
    @ivar path: of the relay.
    """

    group: str
    muxer: str
    path: str

    def sender(self, host: Host, seconds: float = 30) -> Program:
        """A test picture and a tone; long enough for players to come late."""
        local = "" if self.group.startswith("[") else f"&localaddr={host.ipv4}"
        scheme = "rtp" if self.muxer == "rtp_mpegts" else "udp"
        return Program(
            host,
            *(needs("ffmpeg"), "-nostdin", "-hide_banner", "-loglevel", "error", "-re"),
            *("-f", "lavfi", "-i", f"testsrc2=size=320x240:rate={RATE}"),
            *("-f", "lavfi", "-i", "sine=frequency=440", "-t", str(seconds)),
            *("-c:v", "mpeg2video", "-b:v", "1500k", "-g", "12", "-c:a", "mp2"),
            *("-f", self.muxer, f"{scheme}://{self.group}:5000?pkt_size=1316&ttl=1{local}"),
        )


def player(host: Host, url: str) -> Program:
    """An ffmpeg that decodes so many pictures and fails on any error after the first one."""
    return Program(
        host,
        *(needs("ffmpeg"), "-nostdin", "-hide_banner", "-loglevel", "warning"),
        *("-probesize", "400000", "-i", url),
        *("-map", "0:v", "-frames:v", str(PICTURES), "-f", "null", "-"),
    )


def vlc(host: Host, url: str, file: Path, seconds: int = 4) -> Program:
    """
    A VLC that plays for some time, and saves what it got: pictures and sound, put into a new
    MPEG-TS by its own demultiplexer and multiplexer.
    """
    command: tuple[str, ...] = (
        *("env", "HOME=/nonexistent", needs("cvlc"), "--no-dbus", "--play-and-exit"),
        *(f"--run-time={seconds}", "--sout", "#std{access=file,mux=ts,dst=-}", url),
    )
    if not os.geteuid():  # VLC does not want to be root
        other = (needs("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups")
        if subprocess.run([*other, "true"], check=False, capture_output=True).returncode:
            pytest.skip("VLC does not run as root, and here is nobody else to be")
        command = (*other, *command)
    # The file is opened before it becomes somebody who may not.
    return Program(host, "sh", "-c", f'exec "$@" > "{file}"', "sh", *command)


STREAMS = [
    pytest.param(Stream("239.1.1.1", "mpegts", "/udp/239.1.1.1:5000"), id="UDP"),
    pytest.param(Stream("239.1.1.2", "rtp_mpegts", "/rtp/239.1.1.2:5000"), id="RTP"),
    pytest.param(Stream("[ff3e::8000:1]", "mpegts", "/udp/[ff3e::8000:1]:5000"), id="IPv6"),
]


@pytest.mark.slow
@pytest.mark.parametrize("stream", STREAMS)
def test_playersPlayWhatAnEncoderSends(lan: Lan, stream: Stream) -> None:
    """Players (ffmpeg) decode pictures, and ffprobe finds the streams, of what ffmpeg sends."""
    a, b, c = lan.hosts
    url = f"http://{b.ipv4}:8080{stream.path}"
    with ExitStack() as running:
        serving = running.enter_context(serviceOn(b))
        serving.waitFor("ready")
        sending = running.enter_context(stream.sender(a))
        players = [running.enter_context(player(c, url)) for _ in range(3)]
        probe = (needs("ffprobe"), "-loglevel", "error", "-show_entries", "stream=codec_name")
        probing = running.enter_context(Program(c, *probe, "-of", "csv=p=0", url))
        assert probing.end() == 0, probing.output
        assert {"mpeg2video", "mp2"} <= set(probing.output.replace(",", " ").split())
        for each in players:
            assert each.end() == 0, each.output
            # A player that begins between two key pictures complains of the first few.
            assert "corrupt" not in each.output, each.output
        sending.end(signal.SIGINT)
        waitUntil(lambda: not isJoined(b, stream.group), "the group is left")
        serving.end(signal.SIGTERM)
        assert "skips=0" in serving.output, serving.output
        assert "Traceback" not in serving.output


@pytest.mark.slow
@pytest.mark.parametrize("stream", STREAMS)
def test_VLCPlaysWhatAnEncoderSends(lan: Lan, tmp_path: Path, stream: Stream) -> None:
    """VLC gets pictures and sound that decode without an error, by URLs as udpxy has them."""
    a, b, c = lan.hosts
    file = tmp_path / "vlc.ts"
    with ExitStack() as running:
        serving = running.enter_context(serviceOn(b))
        serving.waitFor("ready")
        sending = running.enter_context(stream.sender(a))
        playing = running.enter_context(vlc(c, f"http://{b.ipv4}:8080{stream.path}", file))
        assert playing.end() == 0, playing.output
        sending.end(signal.SIGINT)
        serving.end(signal.SIGTERM)
        assert "skips=0" in serving.output, serving.output
        assert "Traceback" not in serving.output
    counts = (needs("ffprobe"), "-v", "error", "-count_frames", "-of", "csv=p=0", "-show_entries")
    counted = subprocess.run(
        [*counts, "stream=codec_name,nb_read_frames", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    frames = {name: int(count) for name, count in re.findall(r"(\w+),(\d+)", counted.stdout)}
    # Of 4 s it waits about one before it plays, and begins at the next key picture.
    assert frames["mpeg2video"] > 1.5 * RATE, (frames, playing.output)
    assert frames["mp2"] > 1.5 * 44100 / 1152, (frames, playing.output)
    assert not counted.stderr


@pytest.mark.slow
def test_curlAndPlainTCP(lan: Lan, tmp_path: Path) -> None:
    """HTTP by IPv4 and IPv6 (curl) and plain TCP (socat) get the same MPEG-TS packets."""
    a, b, c = lan.hosts
    stream = Stream("239.1.1.1", "mpegts", "/udp/239.1.1.1:5000")
    curl = (needs("curl"), "-g", "-s", "-S", "-m", "3", "-o")
    files = [tmp_path / name for name in ("four", "six", "plain")]
    with ExitStack() as running:
        serving = running.enter_context(serviceOn(b))
        serving.waitFor("ready")
        plain = ("socat", "-u", f"TCP:{b.ipv4}:9000", f"CREATE:{files[2]}")
        assert needs(plain[0])
        clients = [
            Program(c, *curl, str(files[0]), f"http://{b.ipv4}:8080{stream.path}"),
            Program(c, *curl, str(files[1]), f"http://[{b.ipv6}]:8081{stream.path}"),
            Program(c, *plain),
        ]
        for each in clients:
            running.enter_context(each)
        serving.waitFor("watches")
        running.enter_context(stream.sender(a))
        for each in clients[:2]:
            assert each.end() == 28, each.output  # it was still coming when the time was over
        waitUntil(lambda: files[2].exists() and files[2].stat().st_size > 0, "the plain client")
        clients[2].end(signal.SIGTERM)
    datas = [each.read_bytes() for each in files]
    for data in datas:
        assert len(data) > 100_000
        assert set(data[::188]) == {0x47}
    shared = datas[0][1316 * 20 : 1316 * 60]
    assert all(shared in data for data in datas)


def test_curlIsToldWhatItMayNot(lan: Lan) -> None:
    """The ways that curl has of writing a path get nothing that is not allowed."""
    _, b, c = lan.hosts
    curl = (needs("curl"), "-g", "-s", "-o", "/dev/null", "-m", "5", "-w", "%{http_code}\n")
    with serviceOn(b) as serving:
        serving.waitFor("ready")
        for arguments, status in (
            (("/udp/239.2.1.1:5000",), "403"),
            (("/udp/232.1.1.1:5000?interface=eth0",), "403"),
            (("/udp/[ff3e::1%25eth0]:5000",), "403"),
            (("--path-as-is", "/x/../udp/239.1.1.1:5000"), "404"),
            (("-d", "x=y", "/udp/239.1.1.1:5000"), "405"),
            (("-I", "/udp/239.1.1.1:5000"), "200"),
            (("--http2-prior-knowledge", "/"), "000"),
        ):
            *options, path = arguments
            with Program(c, *curl, *options, f"http://{b.ipv4}:8080{path}") as client:
                client.end()
                assert client.output.split()[-1] == status, (arguments, client.output)
        serving.end(signal.SIGTERM)
        assert "Traceback" not in serving.output


def isJoined(host: Host, group: str) -> bool:
    """Whether a host is a member of a group, as its kernel has it."""
    if group.startswith("["):
        packed = socket.inet_pton(socket.AF_INET6, group.strip("[]")).hex()
        return packed in host.readNet("igmp6")
    number = int.from_bytes(socket.inet_aton(group), sys.byteorder)
    return f"{number:08X}" in host.readNet("igmp")
