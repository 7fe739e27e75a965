"""Figures of real streams are those that tshark and ffmpeg give for the same capture."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen

from tests.relay.health.support import SENDER, rtp
from tests.relay.support import Collector, freePort, send, until
from txgroupsock import Route, Run
from txgroupsock.relay.health import Health
from txgroupsock.relay.health.rtp import RTPHealth
from txgroupsock.relay.health.stream import StreamHealth
from txgroupsock.relay.health.ts import TSHealth

pytestmark = pytest.mark.slow

SPACING = 0.002
Trouble = Callable[[list[bytes]], list[bytes]]


def needs(*programs: str) -> None:
    """Skip a test where a program is missing."""
    for each in programs:
        if shutil.which(each) is None:
            pytest.skip(f"{each} is not installed")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Four seconds of MPEG-2 video and audio, made by ffmpeg: about 560 datagrams' worth."""
    needs("ffmpeg")
    path = tmp_path_factory.mktemp("recording") / "stream.ts"
    source = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]
    source += ["-f", "lavfi", "-i", "sine=frequency=440"]
    codecs = ["-c:v", "mpeg2video", "-b:v", "2M", "-c:a", "mp2", "-b:a", "128k"]
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", *source, "-t", "4", *codecs, "-f", "mpegts", path],
        check=True,
        timeout=50,
    )
    return path.read_bytes()


def payloadsOf(recording: bytes) -> list[bytes]:
    """Seven packets each."""
    return [recording[at : at + 1316] for at in range(0, len(recording), 1316)]


@frozen
class Captured:
    """What a capture holds: the file, and each datagram with its time."""

    path: Path
    port: int
    datagrams: list[tuple[float, bytes]]


@contextmanager
def capturing(path: Path, port: int) -> Iterator[None]:
    """Tshark captures what is sent to a port of loopback."""
    command = ["tshark", "-i", "lo", "-w", str(path), "-f", f"udp port {port}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if "Capture started" in line or "Capturing on" in line:
                break
        else:
            pytest.skip(f"tshark cannot capture here: {said}")
        try:
            yield
        finally:
            process.terminate()
            process.stderr.read()


def capture(path: Path, datagrams: list[bytes]) -> Captured:
    """Send datagrams by loopback, a little apart, and capture them."""
    needs("tshark")
    port = freePort()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", port))
        with (
            capturing(path, port),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            began = time.monotonic()
            while not path.exists() or not path.stat().st_size:
                sender.sendto(b"", ("127.0.0.1", port))  # until it really captures
                assert time.monotonic() < began + 20, "tshark captures nothing"
                time.sleep(0.05)
            for each in datagrams:
                sender.sendto(each, ("127.0.0.1", port))
                time.sleep(SPACING)
            held = fieldsOf(path, port)
            while len(held) < len(datagrams):
                assert time.monotonic() < began + 40, f"{len(held)} of {len(datagrams)} captured"
                time.sleep(0.2)
                held = fieldsOf(path, port)
    return Captured(path, port, held)


def fieldsOf(path: Path, port: int) -> list[tuple[float, bytes]]:
    """Time and payload of each datagram of a capture that has one."""
    fields = ["-T", "fields", "-e", "frame.time_epoch", "-e", "udp.payload"]
    done = subprocess.run(
        ["tshark", "-r", str(path), *fields],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    lines = [each.split("\t") for each in done.stdout.splitlines()]
    return [(float(each[0]), bytes.fromhex(each[1])) for each in lines if each[1:] and each[1]]


def lossy(datagrams: list[bytes]) -> list[bytes]:
    """Single ones and some in a row are lost, also the 40 after 200."""
    lost = {37, 90, 91, 92, 150, *range(200, 240), 301}
    return [each for number, each in enumerate(datagrams) if number not in lost]


def reordered(datagrams: list[bytes]) -> list[bytes]:
    """Every 25th comes after the next two."""
    result = list(datagrams)
    for at in range(25, len(result) - 3, 25):
        result[at : at + 3] = [result[at + 1], result[at + 2], result[at]]
    return result


def repeated(datagrams: list[bytes]) -> list[bytes]:
    """Every 30th comes twice."""
    return [
        each for number, each in enumerate(datagrams) for _ in range(2 if number % 30 == 15 else 1)
    ]


def everything(datagrams: list[bytes]) -> list[bytes]:
    """All of it."""
    return repeated(reordered(lossy(datagrams)))


TROUBLES = [list, lossy, reordered, repeated, everything]


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("first", [1000, 65_400])
def test_rtpIsAsTsharkHasIt(trouble: Trouble, first: int, recording: bytes, tmp_path: Path) -> None:
    """Packets, loss, jitter and the longest gap of a capture are those of tshark."""
    packets = [
        rtp(first + number, int(number * SPACING * 90_000), payload=each)
        for number, each in enumerate(payloadsOf(recording)[:400])
    ]
    sent = trouble(packets)
    held = capture(tmp_path / "rtp.pcapng", sent)
    assert [each for _, each in held.datagrams] == sent
    done = subprocess.run(
        ["tshark", "-r", held.path, "-d", f"udp.port=={held.port},rtp", "-q", "-z", "rtp,streams"],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    [line] = [each for each in done.stdout.splitlines() if "0x00001234" in each.lower()]
    health, stream = RTPHealth(), StreamHealth(held.datagrams[0][0])
    for arrival, datagram in held.datagrams:
        run = Run(memoryview(datagram), len(datagram), SENDER, arrival)
        health.take(run)
        stream.take(run)
    figures, times = health.measure(), stream.measure(held.datagrams[-1][0])
    found = re.search(r"(\d+)\s+(-?\d+) \(", line)
    assert found is not None
    assert figures.received + figures.duplicates == int(found[1])
    assert figures.cumulativeLost == int(found[2])
    assert figures.lost == len(packets) - len(set(sent))
    assert figures.duplicates == len(sent) - len(set(sent))
    decimals = [float(each) for each in re.findall(r"\d+\.\d+", line.split("%)")[1])]
    assert times.longest * 1000 == pytest.approx(decimals[2], abs=0.01)
    assert figures.mostJitter == pytest.approx(decimals[-1], abs=0.01)


def continuityOf(stream: bytes) -> dict[int, int]:
    """How often ffmpeg finds the continuity of each PID broken."""
    copying = ["-map", "0", "-c", "copy", "-f", "null", "-"]
    # By a pipe: ffmpeg reads the beginning of a file several times.
    done = subprocess.run(
        ["ffmpeg", "-loglevel", "debug", "-f", "mpegts", "-i", "pipe:0", *copying],
        input=stream,
        capture_output=True,
        timeout=50,
        check=False,
    )
    found: dict[int, int] = {}
    for each in re.findall(rb"Continuity check failed for pid (\d+)", done.stderr):
        found[int(each)] = found.get(int(each), 0) + 1
    return found


@pytest_twisted.ensureDeferred
async def test_aRouteSeesWhatFfmpegSees(reactor: Any, recording: bytes) -> None:
    """Through real sockets, in whatever runs the port makes, too."""
    sent = lossy(payloadsOf(recording))
    port = freePort()
    collector = Collector()
    health = Health(reactor, "news", interval=0.05)
    route = Route.fromURLs(reactor, [f"udp://127.0.0.1:{port}"], [collector], [health])
    route.openRoute()
    for number, each in enumerate(sent):
        send(each, "127.0.0.1", port)
        if number % 50 == 49:  # the kernel's buffer has room for these
            await collector.take(reactor, number + 1)
    assert await collector.take(reactor, len(sent)) == sent
    await until(reactor, lambda: health.status().stream.datagrams == len(sent))
    figures = health.status().ts
    assert figures is not None
    errors = {each.pid: each.continuityErrors for each in figures.busiest if each.continuityErrors}
    assert errors == continuityOf(b"".join(sent))
    assert figures.crcErrors == figures.syncByteErrors == figures.transportErrors == 0
    await route.closeRoute()


@pytest.mark.parametrize("most", [1, 16])
@pytest.mark.parametrize("trouble", [list, lossy, reordered])
def test_continuityIsAsFfmpegHasIt(trouble: Trouble, most: int, recording: bytes) -> None:
    """Errors of continuity of each PID are those that ffmpeg finds in the same packets."""
    needs("ffmpeg")
    datagrams = trouble(payloadsOf(recording))
    health = TSHealth()
    for at in range(0, len(datagrams), most):
        data = b"".join(datagrams[at : at + most])
        health.take(Run(memoryview(data), 1316, SENDER, at * SPACING))
    found = continuityOf(b"".join(datagrams))
    assert {each.number: each.errors for each in health.pids.values() if each.errors} == found
    assert bool(found) == (trouble is not list)
