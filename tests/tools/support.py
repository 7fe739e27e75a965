"""What the tests of the tools share: processes, and files to play."""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from tests.starting import TWISTD, readable, startProgram

SECONDS = 30.0
ROUND = (1 << 33) * 300
NULL = 8191


class Tool:
    """
    A tool as a process of its own, which never outlives the test.

    @ivar said: what it has printed to standard error so far.
    """

    def __init__(
        self, folder: Path, name: str, *arguments: str, options: tuple[str, ...] = ("-n",)
    ) -> None:
        """@param options: of twistd itself."""
        self.said = ""
        self._out = b""
        command = [sys.executable, TWISTD, *options, name, *arguments]
        self._process = startProgram(command, folder, isOneText=False)

    def __enter__(self) -> Tool:  # noqa: PYI034 - Self is new in Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        for each in (self._process.stdout, self._process.stderr):
            assert each is not None
            each.close()

    @property
    def out(self) -> str:
        """What it has printed to standard output so far."""
        return self._out.decode()

    @property
    def result(self) -> Any:
        """The JSON that it has printed."""
        return json.loads(self._out)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def waitFor(self, text: str) -> None:
        """Wait until it has said something."""
        deadline = time.monotonic() + SECONDS
        while text not in self.said:
            if not self._read(deadline):
                pytest.fail(f"it ended without {text!r}:\n{self.said}")

    def end(self) -> int:
        """Wait until it ends; its exit status, or minus the signal that ended it."""
        deadline = time.monotonic() + SECONDS
        while self._read(deadline):
            pass
        return self._process.wait(max(0.1, deadline - time.monotonic()))

    def _read(self, deadline: float) -> bool:
        out, error = self._process.stdout, self._process.stderr
        assert out is not None
        assert error is not None
        ready = readable([out, error], deadline - time.monotonic())
        if not ready:
            pytest.fail(f"it takes too long; so far it said:\n{self.said}")
        read = [(each, os.read(each.fileno(), 65536)) for each in ready]
        for each, data in read:
            if each is error:
                self.said += data.decode(errors="replace")
            else:
                self._out += data
        return any(data for _, data in read)


def receiving(folder: Path, *arguments: str) -> Tool:
    """groupsock-receive, which listens already."""
    tool = Tool(folder, "groupsock-receive", *arguments)
    try:
        tool.waitFor("\n")
    except BaseException:
        tool.__exit__(None, None, None)
        raise
    return tool


def isOfRate(sent: Any, bitRate: float) -> bool:
    """Whether a file was sent at a rate, to within 1 %, but for what the machine held it up."""
    seconds = float(sent["bytes"]) * 8 / bitRate
    latest = float(sent["lateness"]["max"]) / 1000
    return 0.99 * seconds <= float(sent["seconds"]) <= 1.01 * seconds + latest


def tsPacket(pid: int, counter: int, pcr: int | None = None, *, isNew: bool = False) -> bytes:
    """A packet of a transport stream, with a PCR in ticks of 27 MHz if there is one."""
    control = 0x10 if pcr is None else 0x30
    head = struct.pack("!BHB", 0x47, pid, control | counter & 15)
    if pcr is not None:
        base, extension = divmod(pcr % ROUND, 300)
        flags = 0x10 | 0x80 * isNew
        head += struct.pack("!BB", 7, flags) + (base << 15 | 0x7E00 | extension).to_bytes(6, "big")
    return head.ljust(188, b"\xff")


def constantTS(
    packets: int, bitRate: float, every: int = 20, first: int = 0, pid: int = 256
) -> bytes:
    """A transport stream of a constant rate, with a PCR in each so many packets."""
    perPacket = 188 * 8 * 27e6 / bitRate
    made = []
    for number in range(packets):
        pcr = first + round(number * perPacket) if number % every == 0 else None
        made.append(tsPacket(pid, number, pcr))
    return b"".join(made)


def pcap(
    datagrams: Iterable[tuple[float, bytes]],
    destination: tuple[str, int] = ("239.1.1.1", 5000),
    start: int = 1_700_000_000,
) -> bytes:
    """A capture file of raw IPv4 with nanoseconds; times in seconds from its beginning."""
    made = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 101)]
    made += [capturedPacket(at, payload, destination, start) for at, payload in datagrams]
    return b"".join(made)


def capturedPacket(
    at: float,
    payload: bytes,
    destination: tuple[str, int] = ("239.1.1.1", 5000),
    start: int = 1_700_000_000,
) -> bytes:
    """One record of such a file."""
    host = bytes(int(each) for each in destination[0].split("."))
    udp = struct.pack("!HHHH", 4000, destination[1], 8 + len(payload), 0) + payload
    ip = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 16, 17, 0, bytes((10, 0, 0, 1)), host
    )
    nanoseconds = round(at * 1e9)
    whole, rest = divmod(nanoseconds, 1_000_000_000)
    length = len(ip) + len(udp)
    return struct.pack("<IIII", start + whole, rest, length, length) + ip + udp
