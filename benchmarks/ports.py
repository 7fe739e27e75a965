#!/usr/bin/env python3
"""
How many datagrams a CPU-second delivers to a protocol: this package's UDP port beside others.

    python benchmarks/ports.py [--rounds N] [--json FILE]

Each contender is a process of its own, and they take turns, round after round, so that all see
the same noise.  In each measurement a socket's buffer is filled first, on loopback, and then the
contender's own event loop drains it; what is measured is the CPU time of that alone.  (Needs
CAP_NET_ADMIN, or a net.core.rmem_max of 32 MiB, for a buffer that holds it all.)  "Coalesced"
arrivals are sent as trains (UDP_SEGMENT), as a network card with GRO gives them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

SIZES = (200, 1316)
ARRIVALS = ("plain", "coalesced")
BATCH = 5000
FILLS = 20
UDP_SEGMENT = 103
SO_RCVBUFFORCE = 33


def fill(target: tuple[str, int], size: int, arrivals: str, want: int) -> int:
    """Send so many datagrams, or a few less; how many."""
    payload = bytes(size)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(target)
        if arrivals == "plain":
            for _ in range(want):
                sender.send(payload)
            return want
        train = min(64, 65000 // size)
        ancillary = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("@H", size))]
        for _ in range(want // train):
            sender.sendmsg([payload * train], ancillary)
        return want // train * train


def enlarge(sock: socket.socket) -> None:
    """Room for everything that is sent before anything is received."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 * 1024 * 1024)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024 * 1024)


def measure(
    sock: socket.socket,
    size: int,
    arrivals: str,
    received: Callable[[], int],
    drain: Callable[[int], None],
) -> float:
    """Datagrams per CPU-second."""
    enlarge(sock)
    target = sock.getsockname()
    spent = 0.0
    total = 0
    for number in range(FILLS + 1):
        before = received()
        sent = fill(target, size, arrivals, BATCH)
        expected = before + sent
        start = time.process_time()
        drain(expected)
        if number:  # the first is to warm up
            spent += time.process_time() - start
            total += received() - before
    return total / spent


def onTwisted(kind: str, size: int, arrivals: str) -> float:
    """Twisted's own port, or ours, with one or the other sort of protocol."""
    from twisted.internet import reactor
    from twisted.internet.protocol import DatagramProtocol
    from zope.interface import implementer

    from txgroupsock import GroupsockReactor
    from txgroupsock.interfaces import IRunReceiver

    class Datagrams(DatagramProtocol):
        noisy = False
        received = 0

        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            self.received += 1

    @implementer(IRunReceiver)
    class Runs(DatagramProtocol):
        noisy = False
        received = 0

        def runReceived(self, run: Any) -> None:
            self.received += len(run)

    protocol = Runs() if kind == "runs" else Datagrams()
    loop: Any = reactor
    listening: Any = loop if kind == "twisted" else GroupsockReactor(loop)
    port = listening.listenMulticast(0, protocol, interface="127.0.0.1")

    def drain(expected: int) -> None:
        while protocol.received < expected:
            loop.iterate(0.001)

    return measure(port.getHandle(), size, arrivals, lambda: protocol.received, drain)


def onAsyncio(kind: str, size: int, arrivals: str) -> float:
    """A datagram protocol of asyncio, on its own loop or on uvloop's."""

    class Datagrams(asyncio.DatagramProtocol):
        received = 0
        expected = -1
        done: asyncio.Future[None]

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.received += 1
            if self.received == self.expected:
                self.done.set_result(None)

    loop: asyncio.AbstractEventLoop
    if kind == "uvloop":
        import uvloop

        loop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    made = loop.create_datagram_endpoint(Datagrams, sock=sock)
    _, protocol = loop.run_until_complete(made)

    def drain(expected: int) -> None:
        protocol.expected = expected
        protocol.done = loop.create_future()
        loop.run_until_complete(protocol.done)

    return measure(sock, size, arrivals, lambda: protocol.received, drain)


CONTENDERS: dict[str, tuple[str, Callable[[str, int, str], float]]] = {
    "twisted": ("Twisted's listenMulticast", onTwisted),
    "asyncio": ("asyncio", onAsyncio),
    "uvloop": ("uvloop", onAsyncio),
    "datagrams": ("txgroupsock, datagramReceived", onTwisted),
    "runs": ("txgroupsock, runReceived", onTwisted),
}


def main() -> None:
    """Run every contender in turn, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (5)")
    parser.add_argument("--json", help="write every measurement to this file")
    parser.add_argument("--one", nargs=3, metavar=("CONTENDER", "SIZE", "ARRIVALS"))
    options = parser.parse_args()
    if options.one:
        kind, size, arrivals = options.one
        if kind not in CONTENDERS or not size.isdecimal() or arrivals not in ARRIVALS:
            known = f"{', '.join(CONTENDERS)}; a size; {' or '.join(ARRIVALS)}"
            parser.error(f"--one takes a contender, a size and arrivals: {known}")
        print(CONTENDERS[kind][1](kind, int(size), arrivals))
        return
    cases = [(size, arrivals) for size in SIZES for arrivals in ARRIVALS]
    measured: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for size, arrivals in cases:
            for kind in CONTENDERS:
                command = [sys.executable, __file__, "--one", kind, str(size), arrivals]
                output = subprocess.run(
                    command, check=True, capture_output=True, text=True, timeout=60
                )
                measured.setdefault(f"{kind} {size} {arrivals}", []).append(float(output.stdout))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(measured, file, indent=1)
    print(f"Thousands of datagrams per CPU-second (median of {options.rounds}), ", end="")
    print("and times Twisted's own port.", end=" ")
    print(f"Python {platform.python_version()}, {platform.system()} {platform.release()}.\n")
    print("| | " + " | ".join(f"{size} bytes, {arrivals}" for size, arrivals in cases) + " |")
    print("|---" * (len(cases) + 1) + "|")
    for kind, (name, _) in CONTENDERS.items():
        cells = []
        for size, arrivals in cases:
            rate = statistics.median(measured[f"{kind} {size} {arrivals}"])
            base = statistics.median(measured[f"twisted {size} {arrivals}"])
            cells.append(f"{rate / 1000:,.0f} ({rate / base:.2f})")
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
