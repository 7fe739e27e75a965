"""What other programs capture is read, while they write it and afterwards."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.relay.support import LOOPBACK, SECONDS, freePort, send
from txgroupsock.relay.recording import CaptureError, Recorded, readDatagrams

pytestmark = pytest.mark.slow

BEGUN = b"begun"
PROGRAMS = {
    "dumpcap, pcapng": ["dumpcap", "-q", "-i", "lo", "-f", "udp port {port}", "-w", "{path}"],
    "dumpcap, pcap": ["dumpcap", "-q", "-P", "-i", "lo", "-f", "udp port {port}", "-w", "{path}"],
    "dumpcap, any": ["dumpcap", "-q", "-i", "any", "-f", "udp port {port}", "-w", "{path}"],
    "tshark": ["tshark", "-q", "-i", "lo", "-f", "udp port {port}", "-w", "{path}"],
    "tcpdump": ["tcpdump", "-Z", "root", "-U", "-i", "lo", "-w", "{path}", "udp port {port}"],
    "tcpdump, nanoseconds": [
        *["tcpdump", "-Z", "root", "-U", "-i", "lo", "--time-stamp-precision=nano"],
        *["-w", "{path}", "udp port {port}"],
    ],
    "tcpdump, any": [
        *["tcpdump", "-Z", "root", "-U", "-i", "any", "-w", "{path}", "udp port {port}"],
    ],
}


@contextmanager
def capturing(command: list[str]) -> Iterator[None]:
    """A program captures."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield
        finally:
            process.terminate()
            assert process.stderr is not None
            process.stderr.read()


def begin(path: Path, host: str, port: int) -> None:
    """Send until a program really captures."""
    deadline = time.monotonic() + SECONDS
    while True:
        with suppress(CaptureError):
            if list(readDatagrams(path)):
                return
        if time.monotonic() > deadline:
            pytest.skip("nothing can be captured here")
        send(BEGUN, host, port)
        time.sleep(0.05)


def captured(path: Path) -> list[Recorded]:
    """What was sent after that."""
    return [each for each in readDatagrams(path) if each.payload != BEGUN]


@pytest.mark.parametrize("host", LOOPBACK.values())
@pytest.mark.parametrize("command", PROGRAMS.values(), ids=PROGRAMS)
def test_whatAProgramCapturesIsRead(command: list[str], host: str, tmp_path: Path) -> None:
    """Payloads, addresses and times are those that were sent, and when."""
    path, port = tmp_path / "capture", freePort()
    path.touch(mode=0o666)
    before = time.time()
    with capturing([each.format(port=port, path=path) for each in command]):
        begin(path, host, port)
        payloads = [bytes([each]) * (each * 60 + 1) for each in range(20)]
        senders = [send(each, host, port) for each in payloads]
        deadline = time.monotonic() + SECONDS
        while len(captured(path)) < len(payloads) and time.monotonic() < deadline:
            time.sleep(0.1)
    found = captured(path)
    capture = readDatagrams(path)
    assert list(capture)
    assert capture.tear is None
    if "any" not in command:  # where loopback is seen once only by some kernels
        assert [each.payload for each in found] == payloads
        assert [each.source for each in found] == senders
    assert {each.payload for each in found} == set(payloads)
    assert {each.destination for each in found} == {(host, port)}
    assert all(before - 1 <= each.time / 1e9 <= time.time() + 1 for each in found)
