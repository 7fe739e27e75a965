#!/usr/bin/env python3
"""
What made-up datagrams cost a relay, and the route beside those that get them.

    python benchmarks/attacks.py [--seconds 5] [--rate 5000] [--json FILE] [--only NAME,...]

One relay has a bystander (500 datagrams a second), merges with windows of 50 ms and 10 s, a
failover, twelve routes whose health is looked at, and a viewer; each attack sends so many datagrams
a second to some of them.  It prints, for each: the relay's share of a core, how late the
bystander's datagrams were, how many of them were lost, for how long the relay waited for a
processor that others had (in the 100 ms in which it did so most: what is late by less says nothing
of the relay), and by how much its memory grew, at most.  It needs Linux and no root: it moves into
a network namespace of its own, and no packet leaves that.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
BYSTANDER, MERGE, LONG_MERGE, FAILOVER, HEALTH, VIEWED, SINK, PLAIN, HTTP = (
    6000, 6010, 6012, 6014, 6020, 6040, 6050, 6060, 6080,
)  # fmt: skip
ROUTES = 12
READY_SECONDS = 20.0
CONFIGURATION = "\n".join(
    [
        f'viewers = {{ listen = "tcp:{HTTP}:interface={HOST}" }}',
        f'[[route]]\nname = "bystander"\nfrom = "udp://{HOST}:{BYSTANDER}"',
        f'to = "udp://{HOST}:{BYSTANDER + 1}"',
        *(
            f'[[route]]\nname = "{name}"\n'
            f'from = ["udp://{HOST}:{port}", "udp://{HOST}:{port + 1}"]\n'
            f'to = "udp://{HOST}:{SINK}"\n{how}'
            for name, port, how in (
                ("merge", MERGE, "[route.merge]"),
                ("long", LONG_MERGE, '[route.merge]\nwindow = "10s"\nsilence = "20s"'),
                ("failover", FAILOVER, "[route.failover]\nloss = 0.1"),
            )
        ),
        *(
            f'[[route]]\nname = "health{number}"\nfrom = "udp://{HOST}:{HEALTH + number}"\n'
            f'to = "udp://{HOST}:{SINK}"\nhealth = true'
            for number in range(ROUTES)
        ),
        f'[[route]]\nname = "plain"\nfrom = "udp://{HOST}:{PLAIN}"\nto = "udp://{HOST}:{SINK}"',
        f'[[route]]\nname = "viewed"\nfrom = "udp://{HOST}:{VIEWED}"\nviewers = "rtp"',
    ]
)

Datagram = tuple[bytes, int]
"""A payload, and the port to which it goes."""

SENDERS = {"many senders of one byte": 2000, "many senders and a flood": 3000}
"""From how many sockets an attack comes, in turn; all others from one."""

FLOODS = {"many senders and a flood": 0.4}
"""Seconds for which the last datagram is sent as fast as can be, once all have been sent once."""


# What is sent


def rtp(number: int, ssrc: int = 1, kind: int = 33, payload: bytes = bytes(1316)) -> bytes:
    """An RTP packet."""
    return struct.pack("!BBHII", 0x80, kind, number & 0xFFFF, 0, ssrc & 0xFFFFFFFF) + payload


def section(table: int, program: int, body: bytes, version: int) -> bytes:
    """A section of a table, with its CRC (ISO/IEC 13818-1 2.4.4 and annex A)."""
    size = len(body) + 9
    head = bytes((table, 0xB0 | size >> 8, size & 255, program >> 8, program & 255))
    content = head + bytes((0xC1 | (version & 31) << 1, 0, 0)) + body
    turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in content)
    crc = int(f"{zlib.crc32(turned) ^ 0xFFFFFFFF:032b}"[::-1], 2)
    return content + crc.to_bytes(4, "big")


def tables(chance: random.Random) -> list[bytes]:
    """Datagrams of tables that never stay as they are, and name PIDs at random."""
    packets: list[bytes] = []

    def add(pid: int, content: bytes) -> None:
        data, isStart = b"\0" + content, 0x40
        while data:
            head = bytes((0x47, isStart | pid >> 8, pid & 255, 0x10 | len(packets) & 15))
            packets.append((head + data[:184]).ljust(188, b"\xff"))
            data, isStart = data[184:], 0

    for version in range(20):
        programs = range(1, 254)
        body = b"".join(struct.pack("!HH", each, 0xE000 | 100 + each) for each in programs)
        add(0, section(0, 1, body, version))
        for program in chance.sample(programs, 40):
            streams = b"".join(
                b"\2" + struct.pack("!HH", 0xE000 | chance.randrange(8191), 0xF000)
                for _ in range(190)
            )
            add(100 + program, section(2, program, b"\xff\xff\xf0\0" + streams, version))
    return [b"".join(packets[at : at + 7]) for at in range(0, len(packets) - 6, 7)]


def attacks(chance: random.Random) -> dict[str, Sequence[Datagram]]:
    """Each attack by its name: datagrams that are sent again and again."""
    every = range(5000)
    merges = (MERGE, LONG_MERGE + 1, FAILOVER)
    wild = [chance.randbytes(chance.randrange(1, 1400)) for _ in every]
    ports = (*merges, HEALTH, VIEWED)
    tabled = tables(chance)
    packets = b"".join(b"\x47\x01\0" + bytes((0x10 | each,)) + bytes(184) for each in range(7))
    return {
        "none": (),
        "numbers of the right SSRC": [(rtp(chance.randrange(65536)), merges[n % 3]) for n in every],
        "another SSRC": [(rtp(n, 2), merges[n % 3]) for n in every],
        "any SSRC": [(rtp(n, chance.randrange(1 << 32)), merges[n % 3]) for n in every],
        "the largest datagrams": [
            (rtp(chance.randrange(65536), payload=bytes(60000)), merges[n % 3]) for n in every[:300]
        ],
        "tables of a transport stream": [
            (each, HEALTH + n % ROUTES) for n, each in enumerate(tabled * ROUTES)
        ],
        "PIDs": [
            (packets.replace(b"\x01\0", struct.pack("!H", n % 8191)), HEALTH + n % ROUTES)
            for n in every
        ],
        "a viewer's stream": [
            (rtp(n, chance.randrange(1 << 32), chance.randrange(128), packets), VIEWED)
            for n in every
        ],
        "anything": [(each, ports[n % 5]) for n, each in enumerate(wild)],
        "many senders of one byte": [(b"\0", PLAIN)] * 2000,
        "many senders and a flood": [(b"%8d" % (n // 2), PLAIN) for n in range(6000)],
    }


def attack(name: str, rate: int, seconds: float) -> None:
    """Send an attack, and beside it what the attacked routes get rightly."""
    datagrams = attacks(random.Random(1))[name]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as stack:
        senders = [
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            for _ in range(SENDERS.get(name, 1))
        ]
        sender = senders[0]
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        sys.stdin.readline()  # until everything else is ready
        began, sent, good = time.monotonic(), 0, 0
        while (past := time.monotonic() - began) < seconds:
            for number in range(good, int(past * 200)):
                right = rtp(number, payload=b"\x47" + bytes(187))
                for port in (MERGE, MERGE + 1, LONG_MERGE, LONG_MERGE + 1, FAILOVER, VIEWED):
                    sender.sendto(right, (HOST, port))
                good = number + 1
            due = int(past * rate) if datagrams else 0
            if name in FLOODS:
                due = min(due, len(datagrams))
            for number in range(sent, due):
                payload, port = datagrams[number % len(datagrams)]
                senders[number % len(senders)].sendto(payload, (HOST, port))
            if name in FLOODS and sent < due == len(datagrams):
                end = time.monotonic() + FLOODS[name]
                while time.monotonic() < end:
                    sender.sendto(payload, (HOST, port))
            sent = due
            time.sleep(0.002)


# What is measured


class Bystander:
    """
    The route beside: 500 datagrams a second, each of which tells when it was sent.

    @ivar late: seconds that each took to come through.
    """

    def __init__(self) -> None:
        self.late: list[float] = []
        self.sent = 0
        self._isOver = False
        self._in = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._in.bind((HOST, BYSTANDER + 1))
        self._in.settimeout(0.5)
        self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._threads = [threading.Thread(target=each) for each in (self._receive, self._send)]

    def begin(self) -> None:
        """Send and receive, each in a thread."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Send nothing more, and wait for what is on its way."""
        self._isOver = True
        for thread in self._threads:
            thread.join()
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        self._in.close()
        self._out.close()

    def passes(self) -> bool:
        """Whether the route is open: it passes a datagram."""
        self._out.sendto(bytes(1316), (HOST, BYSTANDER))
        try:
            return bool(self._in.recv(2000))
        except TimeoutError:
            return False

    def _send(self) -> None:
        began = time.monotonic()
        while not self._isOver:
            for _ in range(self.sent, int((time.monotonic() - began) * 500)):
                now = struct.pack("!d", time.monotonic())
                self._out.sendto(now.ljust(1316, b"\0"), (HOST, BYSTANDER))
                self.sent += 1
            time.sleep(0.002)

    def _receive(self) -> None:
        while True:
            try:
                datagram = self._in.recv(2000)
            except TimeoutError:
                if self._isOver:
                    return
                continue
            self.late.append(time.monotonic() - struct.unpack_from("!d", datagram)[0])


@contextmanager
def relaying() -> Iterator[int]:
    """A relay with all routes; its process."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "relay.toml").write_text(CONFIGURATION)
        command = [sys.executable, "-m", "twisted", "groupsock-relay", "--config", "relay.toml"]
        with (folder / "log").open("wb") as log:
            relay = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            probe, deadline = Bystander(), time.monotonic() + READY_SECONDS
            while not probe.passes():
                if relay.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((folder / "log").read_text())
            probe.close()
            yield relay.pid
            if b"Traceback" in (folder / "log").read_bytes():
                raise RuntimeError((folder / "log").read_text()[-4000:])
        finally:
            relay.send_signal(signal.SIGTERM)
            try:
                relay.wait(10)
            except subprocess.TimeoutExpired:
                relay.kill()
                relay.wait()


def watching(isOver: Callable[[], bool]) -> None:
    """Be a viewer."""
    with closing(socket.create_connection((HOST, HTTP), 5)) as connection:
        connection.sendall(b"GET /viewed HTTP/1.0\r\n\r\n")
        connection.settimeout(0.2)
        while not isOver():
            try:
                if not connection.recv(1 << 20):
                    return
            except TimeoutError:
                continue


def processorSeconds(process: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def waitedSeconds(process: int) -> float:
    """For how long a process wanted a processor that something else had (proc(5), schedstat)."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9


def longestWait(process: int, isOver: Callable[[], bool], found: list[float]) -> None:
    """Note for how long it did so, at most, within 100 ms."""
    before = waitedSeconds(process)
    found.append(0.0)
    while not isOver():
        time.sleep(0.1)
        now = waitedSeconds(process)
        found[0] = max(found[0], now - before)
        before = now


def memory(process: int, name: str) -> int:
    """Bytes: C{VmRSS}, what it has now, or C{VmHWM}, the most that it ever had."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/{process}/status has no {name}")


def measured(name: str, rate: int, seconds: float) -> dict[str, Any]:
    """What one attack does to a relay that has just begun."""
    isOver = threading.Event()
    with relaying() as relay:
        viewer = threading.Thread(target=watching, args=(isOver.is_set,))
        viewer.start()
        time.sleep(0.5)
        waited: list[float] = []
        clock = threading.Thread(target=longestWait, args=(relay, isOver.is_set, waited))
        clock.start()
        bystander, before = Bystander(), memory(relay, "VmRSS")
        command = [sys.executable, __file__, "--attack", name, "--rate", str(rate)]
        command += ["--seconds", str(seconds)]
        attacker = subprocess.Popen(command, stdin=subprocess.PIPE)
        time.sleep(2.0)
        cpu, began = processorSeconds(relay), time.monotonic()
        bystander.begin()
        attacker.communicate(b"\n")
        share = (processorSeconds(relay) - cpu) / (time.monotonic() - began)
        bystander.end()
        isOver.set()
        viewer.join()
        clock.join()
        grown = memory(relay, "VmHWM") - before
    late = sorted(bystander.late) or [0.0]
    return {
        "attack": name,
        "rate": rate,
        "cores": round(share, 3),
        "sent": bystander.sent,
        "lost": bystander.sent - len(bystander.late),
        "p50": round(late[len(late) // 2] * 1000, 1),
        "p99": round(late[len(late) * 99 // 100] * 1000, 1),
        "most": round(late[-1] * 1000, 1),
        "waited": round(waited[0] * 1000, 1),
        "grown": round(grown / 1e6, 1),
    }


def main() -> None:
    """Measure every attack."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=int, default=5000, help="datagrams a second")
    parser.add_argument("--only", help="names of attacks, with commas between them")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--attack", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.attack is not None:
        attack(options.attack, options.rate, options.seconds)
        return
    if "GROUPSOCK_ATTACKS" not in os.environ:
        script = 'ip link set lo up && exec "$@"'
        inside = ["unshare", "--map-root-user", "--net", "sh", "-c", script, "sh", sys.executable]
        os.environ["GROUPSOCK_ATTACKS"] = "1"
        os.execvp("unshare", [*inside, *sys.argv])
    known = attacks(random.Random(1))
    names = options.only.split(",") if options.only else known
    if unknown := [name for name in names if name not in known]:
        parser.error(f"there is no attack {unknown[0]!r}; there are {', '.join(known)}")
    found = []
    print("| attack | cores | lost | late: median, 99 %, most (ms) | waited (ms) | memory (MB) |")
    print("|---|---|---|---|---|---|")
    for name in names:
        one = measured(name, options.rate, options.seconds)
        found.append(one)
        late = f"{one['p50']}, {one['p99']}, {one['most']}"
        print(
            f"| {name} | {one['cores']:.2f} | {one['lost']} of {one['sent']:,} | {late} "
            f"| {one['waited']} | {one['grown']} |",
            flush=True,
        )
    if options.json is not None:
        options.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
