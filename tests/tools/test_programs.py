"""groupsock-send and groupsock-receive as processes, over loopback."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lan.program import waitUntil
from tests.relay.support import freePort, send
from tests.starting import TWISTD
from tests.tools.support import SECONDS, Tool, constantTS, isOfRate, pcap, receiving
from txgroupsock.primitives.constants import SO_TIMESTAMPNS, required

pytestmark = pytest.mark.slow

GROUP = "udp://239.1.1.1:{port}?interface=127.0.0.1"


def bound(*, stamped: bool = False) -> socket.socket:
    """A socket on loopback that waits for datagrams."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    if stamped:
        sock.setsockopt(socket.SOL_SOCKET, required(SO_TIMESTAMPNS, "SO_TIMESTAMPNS"), 1)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(SECONDS)
    return sock


def urlOf(sock: socket.socket) -> str:
    """The URL of such a socket."""
    return f"udp://127.0.0.1:{sock.getsockname()[1]}"


def pending(sock: socket.socket) -> list[bytes]:
    """What a socket has received."""
    sock.settimeout(0.2)
    found = []
    while True:
        try:
            found.append(sock.recv(65536))
        except TimeoutError:
            return found


# Test streams


def test_aTestStreamIsAccountedFor(tmp_path: Path) -> None:
    """Both end by themselves with status 0, nothing but JSON on standard output, and no file left
    behind; the far end knows all about every datagram.
    """
    url = GROUP.format(port=freePort())
    with receiving(tmp_path, "--from", url) as receiver:
        with Tool(
            tmp_path, "groupsock-send", "--to", url, "--rate=2000/s", "--seconds=1", "--size=500"
        ) as sender:
            assert sender.end() == 0, sender.said
            sent = sender.result
        assert receiver.end() == 0, receiver.said
        received = receiver.result
    assert (sent["datagrams"], sent["bytes"], sent["succeeded"]) == (2000, 1_000_000, True)
    assert 1000 < sent["datagramRate"] < 2020
    assert sent["outputs"] == [
        {"url": url, "datagrams": 2000, "bytes": 1_000_000, "dropped": {}, "warnings": []}
    ]
    [stream] = received["test"]
    assert stream["stream"] == sent["source"]["stream"]
    assert (received["kind"], received["lost"], received["succeeded"]) == ("test", 0, True)
    assert (stream["first"], stream["last"], stream["total"]) == (0, 1999, 2000)
    assert (stream["received"], stream["size"]) == (2000, 500)
    assert (stream["reordered"], stream["duplicates"], stream["damaged"]) == (0, 0, 0)
    latency = stream["latency"]
    assert 0 < latency["min"] <= latency["median"] <= latency["p99"] <= latency["max"] < 1000
    assert stream["jitter"] < 100
    for each in (sender, receiver):
        assert "Traceback" not in each.said
        assert "twistd" not in each.said
    assert "2,000 datagrams sent in 1." in sender.said
    assert "joined 239.1.1.1 on lo" in receiver.said
    assert os.listdir(tmp_path) == []


def test_lossIsAStatusOfOne(tmp_path: Path) -> None:
    """What never comes, comes late or twice is counted, also at the end; loss gives status 1."""
    port = freePort()
    with receiving(tmp_path, f"--from=udp://127.0.0.1:{port}", "--silence=0.5") as receiver:
        for number in (0, 1, 3, 2, 2, 5, 6):
            header = struct.pack("!4s8sQQQ", b"txgs", b"12345678", 9, number, 0)
            send(header.ljust(100, b"\0"), "127.0.0.1", port)
        assert receiver.end() == 1, receiver.said
        [stream] = receiver.result["test"]
    assert (stream["received"], stream["lost"]) == (6, 3)
    assert (stream["reordered"], stream["duplicates"]) == (1, 1)
    assert receiver.result["succeeded"] is False


def test_severalStreamsAreToldApart(tmp_path: Path) -> None:
    """Two streams to one port are each accounted for, and both have to be complete."""
    port = freePort()
    with receiving(tmp_path, f"--from=udp://127.0.0.1:{port}") as receiver:
        for name, number in ((b"A", 0), (b"B", 0), (b"A", 1), (b"B", 1), (b"B", 2)):
            total = {b"A": 2, b"B": 3}[name]
            header = struct.pack("!4s8sQQQ", b"txgs", name * 8, total, number, 0)
            send(header.ljust(100, b"\0"), "127.0.0.1", port)
        assert receiver.end() == 0, receiver.said
        streams = receiver.result["test"]
    assert [(each["stream"], each["received"], each["lost"]) for each in streams] == [
        ("41" * 8, 2, 0),
        ("42" * 8, 3, 0),
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_aSignalEndsItWithAResult(tmp_path: Path, number: signal.Signals) -> None:
    """Interrupted, both give their results, and the status that goes with them."""
    port = freePort()
    url = GROUP.format(port=port)
    with (
        receiving(tmp_path, "--from", url, "--json=result") as receiver,
        bound() as watching,
        Tool(
            tmp_path, "groupsock-send", "--to", url, f"--to={urlOf(watching)}", "--rate=2000/s"
        ) as sender,
    ):
        for _ in range(500):
            watching.recv(2000)
        sender.signal(number)
        assert sender.end() == 0, sender.said
        receiver.signal(number)
        assert receiver.end() == 0, receiver.said
    assert sender.result["datagrams"] >= 500
    assert sender.result["source"]["total"] is None
    assert receiver.out == ""
    assert json.loads((tmp_path / "result").read_text())["lost"] == 0


def test_itKeepsUpWithAHundredThousandASecond(tmp_path: Path) -> None:
    """Large numbers of datagrams are sent evenly, and all of them are accounted for."""
    url = f"udp://127.0.0.1:{freePort()}"
    with receiving(tmp_path, "--from", url) as receiver:
        arguments = ("--to", url, "--rate=100k/s", "--seconds=2")
        with Tool(tmp_path, "groupsock-send", *arguments) as sender:
            assert sender.end() == 0, sender.said
            assert sender.result["datagramRate"] == pytest.approx(100_000, rel=0.3)
        receiver.end()
        result = receiver.result
    assert result["datagrams"] + result["kernelDrops"] == 200_000
    assert result["lost"] == result["kernelDrops"]


@pytest.mark.parametrize("kind", ["poll", "select", "asyncio"])
def test_itEndsAndExitsOnAnyReactor(tmp_path: Path, kind: str) -> None:
    """Timers, signals and the exit status are those of twistd's usual reactor."""
    port = freePort()
    options = ("-n", f"--reactor={kind}")
    with Tool(
        tmp_path, "groupsock-receive", f"--from=udp://127.0.0.1:{port}", options=options
    ) as receiver:
        receiver.waitFor("listening")
        with Tool(
            tmp_path,
            *("groupsock-send", f"--to=udp://127.0.0.1:{port}", "--count=100"),
            options=options,
        ) as sender:
            assert sender.end() == 0, sender.said
        assert receiver.end() == 0, receiver.said
    with Tool(
        tmp_path, "groupsock-receive", f"--from=udp://127.0.0.1:{port}", options=options
    ) as receiver:
        receiver.waitFor("listening")
        receiver.signal(signal.SIGINT)
        assert receiver.end() == 1, receiver.said


# How it ends otherwise


@pytest.mark.parametrize(
    ("arguments", "sent", "expected"),
    [(["--count=3"], 5, 3), (["--seconds=0.3"], 2, 2), (["--silence=0.2"], 4, 4)],
    ids=["count", "seconds", "silence"],
)
def test_receivingEnds(tmp_path: Path, arguments: list[str], sent: int, expected: int) -> None:
    """After so many datagrams, or seconds, or when nothing comes any more."""
    port = freePort()
    with receiving(tmp_path, f"--from=udp://127.0.0.1:{port}", *arguments) as receiver:
        for _ in range(sent):
            send(b"some bytes", "127.0.0.1", port)
        assert receiver.end() == 0, receiver.said
        assert (receiver.result["kind"], receiver.result["datagrams"]) == ("UDP", expected)


def test_whatComesAfterTheEndIsNotLost(tmp_path: Path) -> None:
    """Who ends before a stream does has lost nothing of the rest."""
    port = freePort()
    with receiving(tmp_path, f"--from=udp://127.0.0.1:{port}", "--count=100") as receiver:
        to = f"--to=udp://127.0.0.1:{port}"
        with Tool(tmp_path, "groupsock-send", to, "--count=300") as sender:
            assert receiver.end() == 0, receiver.said
            sender.end()
    [stream] = receiver.result["test"]
    assert (stream["total"], stream["received"], stream["lost"]) == (300, 100, 0)


def test_nothingIsAFailure(tmp_path: Path) -> None:
    """When nothing comes in the time to wait for it, the status is 1."""
    with receiving(tmp_path, f"--from=udp://127.0.0.1:{freePort()}", "--wait=0.2") as receiver:
        assert receiver.end() == 1
        assert "nothing has come within 0.2 s" in receiver.said
        assert receiver.result["kind"] is None


def test_aFullDiskIsSaid(tmp_path: Path) -> None:
    """What cannot be kept ends it, with the reason and status 1."""
    port = freePort()
    arguments = (f"--from=udp://127.0.0.1:{port}", "--output=/dev/full", "--silence=0.3")
    with receiving(tmp_path, *arguments) as receiver:
        send(b"some bytes", "127.0.0.1", port)
        assert receiver.end() == 1, receiver.said
        assert "/dev/full cannot be written: No space left on device" in receiver.said
        assert "Traceback" not in receiver.said
        assert receiver.result["problem"] == "/dev/full cannot be written: No space left on device"


def test_droppedIsAFailure(tmp_path: Path) -> None:
    """What a destination does not take is counted there, and gives status 1."""
    with bound() as sock, bound() as limited:
        with Tool(
            tmp_path,
            *("groupsock-send", "--to", urlOf(sock), "--to", urlOf(limited) + "?rate=1M"),
            *("--count=1000", "--rate=10000/s"),
        ) as sender:
            assert sender.end() == 1, sender.said
        one, two = sender.result["outputs"]
        assert (one["datagrams"], one["dropped"]) == (1000, {})
        assert two["datagrams"] + two["dropped"]["rate"] == 1000
        assert len(pending(sock)) == 1000


def test_nobodyListeningIsSaid(tmp_path: Path) -> None:
    """What comes back from a destination is told, and costs nothing else."""
    to = f"--to=udp://127.0.0.1:{freePort()}"
    with Tool(tmp_path, "groupsock-send", to, "--count=100") as sender:
        assert sender.end() == 0, sender.said
    assert "came back: ECONNREFUSED" in sender.said
    [output] = sender.result["outputs"]
    assert "came back: ECONNREFUSED" in output["warnings"][0]


# Files


@pytest.mark.parametrize("scheme", ["udp", "rtp"])
def test_aTransportStreamArrivesAsItWas(tmp_path: Path, scheme: str) -> None:
    """At its rate, to within 1 %, and byte for byte; in RTP the timestamps go with it."""
    (tmp_path / "a.ts").write_bytes(constantTS(3500, 4e6))
    url = GROUP.format(port=freePort())
    with receiving(tmp_path, "--from", url, "--output=b.ts", "--silence=0.5") as receiver:
        to = url.replace("udp", scheme)
        with Tool(tmp_path, "groupsock-send", "--to", to, "--file=a.ts") as sender:
            assert sender.end() == 0, sender.said
        assert receiver.end() == 0, receiver.said
        result = receiver.result
    overhead = 1328 / 1316 if scheme == "rtp" else 1
    assert isOfRate(sender.result, 4e6 * overhead)
    assert (tmp_path / "b.ts").read_bytes() == (tmp_path / "a.ts").read_bytes()
    assert result["kind"] == {"udp": "TS", "rtp": "RTP"}[scheme]
    if scheme == "rtp":
        assert (result["rtp"]["payloadType"], result["rtp"]["clockRate"]) == (33, 90000)
        assert result["rtp"]["jitter"] < 20
    assert result["ts"]["continuityErrors"] == 0


def test_aLoopedTransportStreamGoesOn(tmp_path: Path) -> None:
    """A file shorter than the time it is to be sent for begins again; RTP never notices."""
    (tmp_path / "a.ts").write_bytes(constantTS(700, 10e6))  # 0.1 s
    with bound() as sock:
        with Tool(
            tmp_path,
            *("groupsock-send", "--to", urlOf(sock), "--file=a.ts", "--rtp", "--loop"),
            "--seconds=0.5",
        ) as sender:
            assert sender.end() == 0, sender.said
        packets = pending(sock)
    assert len(packets) == pytest.approx(0.5 * 10e6 / 8 / 1316, rel=0.05)
    headers = [struct.unpack_from("!BBHII", each) for each in packets]
    steps = [b[3] - a[3] & 0xFFFFFFFF for a, b in itertools.pairwise(headers)]
    assert set(steps) <= {94, 95}  # 90,000 Hz for 1.0528 ms
    assert {b[2] - a[2] & 0xFFFF for a, b in itertools.pairwise(headers)} == {1}


def test_aFileWithoutAClockNeedsARate(tmp_path: Path) -> None:
    """Without PCRs it says what to do, and then does it."""
    content = bytes(range(256)) * 100
    (tmp_path / "a").write_bytes(content)
    with bound() as sock:
        command = ("groupsock-send", "--to", urlOf(sock), "--file=a")
        with Tool(tmp_path, *command) as sender:
            assert sender.end() == 1
        assert "Traceback" not in sender.said
        [line] = sender.said.splitlines()
        assert line.startswith("groupsock-send: ")
        assert "is no MPEG transport stream: give --rate, such as 5M" in line
        with Tool(tmp_path, *command, "--rate=1M", "--size=1000") as sender:
            assert sender.end() == 0, sender.said
        assert b"".join(pending(sock)) == content
        assert 0.199 < sender.result["seconds"] < 2  # 25 times 8 ms from first to last


# Replay


def test_aReplayKeepsTheTimesAtTheReceiver(tmp_path: Path) -> None:
    """By the kernel's clock, uneven times of some seconds arrive as they were to within 1 ms at
    the median.
    """
    times = [each * 0.01 + each * 7919 % 13 * 0.0007 for each in range(400)]
    (tmp_path / "a.pcap").write_bytes(
        pcap((each, b"%d" % number) for number, each in enumerate(times))
    )
    arrivals: list[float] = []
    with bound(stamped=True) as sock:
        command = ("groupsock-send", "--to", urlOf(sock), "--replay=a.pcap")
        with Tool(tmp_path, *command) as sender:
            for number in range(len(times)):
                data, ancillary, _, _ = sock.recvmsg(100, 100)
                assert data == b"%d" % number
                seconds, nanoseconds = struct.unpack("@qq", ancillary[0][2])
                arrivals.append(seconds + nanoseconds / 1e9)
            assert sender.end() == 0, sender.said
    errors = [(a - arrivals[0]) - (b - times[0]) for a, b in zip(arrivals, times, strict=True)]
    assert statistics.median(abs(each - statistics.median(errors)) for each in errors) < 0.001
    # Nor are they late by more and more.
    assert abs(statistics.median(errors[-100:]) - statistics.median(errors[:100])) < 0.001


def test_aTornCaptureIsSentUpToItsTear(tmp_path: Path) -> None:
    """What is whole is sent, at the speed asked for, and the tear is told of."""
    data = pcap((each, b"x" * 100) for each in range(20))
    (tmp_path / "a.pcap").write_bytes(data[:-10])
    with bound() as sock:
        with Tool(
            tmp_path,
            *("groupsock-send", "--to", urlOf(sock), "--replay=a.pcap", "--speed=100"),
        ) as sender:
            assert sender.end() == 0, sender.said
        assert pending(sock) == [b"x" * 100] * 19
    assert "the capture is torn: at byte" in sender.said
    assert "ends within a record" in sender.result["source"]["tear"]
    assert sender.result["source"]["flow"] == ["239.1.1.1", 5000]
    assert 0.17 < sender.result["seconds"] < 2


# What twistd is asked for


def test_aDaemonNeedsAFileForItsResult(tmp_path: Path) -> None:
    """Without -n a result that would be lost is refused; with a file it is written there."""
    with bound() as sock:
        arguments = ("groupsock-send", "--to", urlOf(sock), "--count=3")
        with Tool(tmp_path, *arguments, options=()) as daemon:
            assert daemon.end() == 1
            assert "groupsock-send: a daemon has nowhere to print its result: 'twistd -n" in (
                daemon.said
            )
        with Tool(tmp_path, *arguments, "--json=result", options=()) as daemon:
            assert daemon.end() == 0, daemon.said
        assert len([sock.recv(2000) for _ in range(3)]) == 3
        result = tmp_path / "result"
        pidFile = tmp_path / "twistd.pid"
        waitUntil(
            lambda: result.exists() and bool(result.read_text()) and not pidFile.exists(),
            "the daemon has written its result and ended",
        )
        assert json.loads(result.read_text())["datagrams"] == 3
        assert "3 datagrams sent" in (tmp_path / "twistd.log").read_text()


def test_twistdsOwnOptionsAreKept(tmp_path: Path) -> None:
    """A log file and a file for the process id are written if they are asked for."""
    with bound() as sock:
        with Tool(
            tmp_path,
            *("groupsock-send", "--to", urlOf(sock), "--count=3"),
            options=("-n", "--logfile=log", "--pidfile=pid"),
        ) as sender:
            assert sender.end() == 0, sender.said
        assert "3 datagrams sent" in (tmp_path / "log").read_text()
        assert "3 datagrams sent" not in sender.said
        assert sender.result["datagrams"] == 3


def test_aTerminalHasALineThatChanges(tmp_path: Path) -> None:
    """On a terminal one line is shown again and again, and cleared in the end."""
    ours, its = pty.openpty()
    with bound() as sock:
        process = subprocess.Popen(
            [sys.executable, TWISTD, "-n", "groupsock-send", "--to", urlOf(sock), "--seconds=1.3"],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=its,
        )
        os.close(its)
        shown = b""
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:
                break
            if not data:
                break
            shown += data
        out, _ = process.communicate(timeout=SECONDS)
    os.close(ours)
    assert process.returncode == 0
    result: Any = json.loads(out)
    assert result["succeeded"]
    text = shown.decode()
    assert text.count("\r\x1b[K") >= 3
    assert re.search(r"\r\x1b\[K0\.5 s: \d+ datagrams sent, [\d,]+/s, [\d.]+ Mbit/s, \d+ %", text)
    assert "\r\x1b[K1,300 datagrams sent in 1." in text


def test_anUnknownHostIsSaid(tmp_path: Path) -> None:
    """A name that is not found ends it with a line, instead of sending nowhere."""
    with Tool(tmp_path, "groupsock-send", "--to=udp://nobody.invalid:5000", "--count=3") as sender:
        assert sender.end() == 1
        assert "nobody.invalid was not found by name" in sender.said
        assert "Traceback" not in sender.said
        assert sender.result["problem"] == "nobody.invalid was not found by name"
