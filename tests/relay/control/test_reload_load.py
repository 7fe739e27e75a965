"""Reloads while a hundred thousand datagrams a second pass."""

from __future__ import annotations

import re
import signal
import socket
import struct
import sys
import threading
import time
from array import array
from pathlib import Path

import pytest

from tests.relay.support import Twistd, freePort, send, url
from txgroupsock.primitives import increaseReceiveBufferTo

HOST = "127.0.0.1"
RATE = 100_000  # datagrams a second
SIZE = 200  # bytes
TRAIN = 20  # datagrams that are sent with one call
ON_THEIR_WAY = 10_000  # at most, however slow the machine is: the relay's buffer has room for them
RELOADS = 50
UDP_SEGMENT, UDP_GRO = 103, 104  # <linux/udp.h>


class Flow:
    """Numbered datagrams to one port, and what comes of them to another."""

    def __init__(self) -> None:
        self.sent = self.arrived = 0
        self.isInOrder = True
        self.isOver = threading.Event()
        self.sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sink.bind((HOST, 0))
        self.sink.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        self.sink.settimeout(0.2)
        increaseReceiveBufferTo(self.sink, 64 * 1024 * 1024, force=True)
        self.port = int(self.sink.getsockname()[1])

    def send(self, port: int) -> None:
        """Send at the rate, in trains, until it is over."""
        train = array("I", bytes(SIZE * TRAIN))
        step, begin = SIZE // 4, time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, SIZE)
            sock.connect((HOST, port))
            while not self.isOver.is_set():
                due = min(int((time.monotonic() - begin) * RATE), self.arrived + ON_THEIR_WAY)
                while self.sent < due:
                    train[::step] = array("I", range(self.sent, self.sent + TRAIN))
                    sock.send(train)
                    self.sent += TRAIN
                time.sleep(0.001)

    def receive(self) -> None:
        """Look at what comes until nothing does any more."""
        data = bytearray(65536)
        while True:
            try:
                size = self.sink.recv_into(data)
            except TimeoutError:
                if self.isOver.is_set():
                    return
                continue
            numbers = memoryview(data)[:size].cast("I")[:: SIZE // 4]
            count = len(numbers)
            expected = array("I", range(self.arrived, self.arrived + count))
            self.isInOrder = self.isInOrder and numbers.tolist() == expected.tolist()
            self.arrived += count


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform != "linux", reason="sends trains, as only Linux can")
def test_reloadsAtAHundredThousandASecondLoseNothing(tmp_path: Path) -> None:
    """Fifty reloads that open and close other routes lose and disorder nothing of what stays."""
    path, port, flow = tmp_path / "relay.toml", freePort(), Flow()
    others = [freePort() for _ in range(10)]

    def write(number: int) -> None:
        routes = [(port, flow.port), *((each, 9) for each in others[number % 2 :: 2])]
        texts = [
            f"[[route]]\nfrom = '{url(HOST, one)}'\nto = '{url(HOST, other)}'\n"
            for one, other in routes[:: 1 if number % 3 else -1]
        ]
        path.write_text("".join(texts))

    write(0)
    threads = [
        threading.Thread(target=flow.send, args=(port,)),
        threading.Thread(target=flow.receive),
    ]
    with flow.sink, Twistd(tmp_path, "--config=relay.toml") as relay:
        relay.waitFor("SIGHUP reads relay.toml again\n")
        send(struct.pack("I", 0) * (SIZE // 4), HOST, port)
        flow.sent = 1
        for each in threads:
            each.start()
        try:
            for number in range(1, RELOADS + 1):
                relay.text, before = "", flow.sent
                write(number)
                relay.signal(signal.SIGHUP)
                relay.waitFor("relay.toml was applied: 1 unchanged, 5 opened, 5 closed\n")
                while flow.sent < before + RATE // 50:
                    time.sleep(0.005)
            relay.text = ""
        finally:
            flow.isOver.set()
            for each in threads:
                each.join()
        relay.signal(signal.SIGTERM)
        relay.end()
    assert flow.isInOrder
    assert flow.arrived == flow.sent
    [line] = re.findall(rf"in, listening on {HOST} port {port}: (.*)", relay.text)
    assert line.startswith(f"{flow.sent:,} datagrams, {flow.sent * SIZE:,} bytes, 0 dropped;")
