"""
A relay at work for a long time: all it took is given back, and its memory stays as it is.

``TXGROUPSOCK_SOAK_SECONDS`` says for how long (6).  From 300 on, memory after the first quarter
has to stay within 1 MiB, which is what a soak of ten minutes or an hour is for.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import time
from collections import Counter, deque
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lan.program import Program, twistd, waitUntil
from tests.lan.relaying import Sender, Sink
from txgroupsock.testing.lan import Host, Lan

pytestmark = [pytest.mark.lan, pytest.mark.slow]

SECONDS = float(os.environ.get("TXGROUPSOCK_SOAK_SECONDS", "6"))
ROUND = 0.1  # seconds
WARM_UP = 0.25  # of the time
FLAT = 1024 * 1024 if SECONDS >= 300 else 16 * 1024 * 1024  # bytes
VIEWERS = 10
GROUPS = [f"239.9.9.{number}" for number in range(1, 11)]
CONFIGURATION = """
[health]
silence = "5s"

[[route]]
name = "watched"
from = "udp://:5000"
to = "udp://{sink}:6000"

[[route]]
name = "both"
from = ["udp://239.9.8.1:5100?interface=eth0", "udp://239.9.8.2:5100?interface=eth0"]
to = "udp://{sink}:6001"
[route.merge]
window = "20ms"

[viewers]
listen = "tcp:8080"
allow = "239.9.9.0/24?interface=eth0"
[viewers.limits]
lingerTime = "200ms"

[admin]
listen = "tcp:8088:interface=127.0.0.1"
"""
EXTRA = """
[[route]]
name = "sometimes"
from = "udp://239.9.8.3:5200?interface=eth0"
to = "udp://{sink}:6002"
"""


class Soak:
    """
    What is done to a relay on one host from another, a little of everything each round.

    @ivar changes: veth interfaces made and removed.
    @ivar reloads: of the configuration.
    @ivar zaps: viewers that have come and gone.
    """

    def __init__(self, relay: Program, path: Path, host: Host, other: Host) -> None:
        self._relay, self._path, self._host, self._other = relay, path, host, other
        self._rand = random.Random(11)
        self._viewers: deque[socket.socket] = deque()
        self._multicast = other.socket(socket.AF_INET)
        self._multicast.setsockopt(
            socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(other.ipv4)
        )
        self._number = 0
        self.changes = self.reloads = self.zaps = 0

    def round(self) -> None:
        """A tenth of a second in an operator's life."""
        self.send()
        self._zap()
        self.ask("/api/status")
        if self._number % 5 == 0:
            self.ask("/metrics")
            self._changeLink()
        if self._number % 20 == 0:
            self._reload(isExtended=self._number % 40 == 0)

    def send(self) -> None:
        """Send a datagram to each group."""
        self._number += 1
        payload = self._number.to_bytes(4, "big") * 200
        for group in GROUPS:
            self._multicast.sendto(payload, (group, 5077))
        for group in ("239.9.8.1", "239.9.8.2"):
            self._multicast.sendto(payload, (group, 5100))

    def settle(self) -> None:
        """Bring all back to how it was at first."""
        while self._viewers:
            self._viewers.popleft().close()
        if self.changes % 2:
            self._changeLink()
        self._reload(isExtended=False)

    def close(self) -> None:
        """Give back what is ours."""
        self._multicast.close()
        while self._viewers:
            self._viewers.popleft().close()

    def _zap(self) -> None:
        viewer = self._other.socket(socket.AF_INET, socket.SOCK_STREAM)
        viewer.settimeout(10)
        viewer.connect((self._host.ipv4, 8080))
        group = self._rand.choice(GROUPS)
        viewer.sendall(f"GET /udp/{group}:5077 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self._viewers.append(viewer)
        self.zaps += 1
        if len(self._viewers) > VIEWERS:
            leaving = self._viewers.popleft()
            assert leaving.recv(65536).startswith(b"HTTP/1.1 200 ")
            leaving.close()

    def ask(self, path: str) -> None:
        """Ask the API for something, and get it."""
        with self._host.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(10)
            sock.connect(("127.0.0.1", 8088))
            sock.sendall(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:8088\r\nConnection: close\r\n\r\n".encode()
            )
            answer = b""
            while data := sock.recv(65536):
                answer += data
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:200]

    def _changeLink(self) -> None:
        verb = "del" if self.changes % 2 else "add"
        kind = "" if self.changes % 2 else "type veth peer name soak1"
        self._host.run("ip", "link", verb, "soak0", *kind.split())
        self.changes += 1

    def _reload(self, *, isExtended: bool) -> None:
        text = CONFIGURATION + (EXTRA if isExtended else "")
        new = self._path.with_suffix(".new")
        new.write_text(text.format(sink=self._other.ipv4))
        new.replace(self._path)
        before = len(self._relay.output)
        self._relay.signal(signal.SIGHUP)
        self.reloads += 1
        self._relay.waitFor("applied", after=before)


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> list[str]:
    """What a process has open, by kind."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it has been closed meanwhile
            found.append(re.sub(r"\d+", "", os.readlink(link)))
    return sorted(found)


def connections(host: Host) -> list[str]:
    """The connections to the admin server (port 8088), but those that are only remembered."""
    lines = host.readNet("tcp").splitlines()
    return [line for line in lines if re.search(r":1F98 \S+ (?!0A|06)", line)]


@pytest.mark.timeout(SECONDS + 60)
def test_aRelayAtWorkKeepsNothing(lan: Lan, tmp_path: Path) -> None:
    """While viewers zap, links come and go, files are read again and everybody asks for the
    status, a stream loses nothing; afterwards there are no more descriptors than before, and memory
    is as it was when all had been done once.
    """
    a, b, *_ = lan.hosts
    path = tmp_path / "relay.toml"
    path.write_text(CONFIGURATION.format(sink=a.ipv4))
    with (
        Sink(a, a.ipv4, 6000) as sink,
        Program(b, *twistd("--config", str(path))) as relay,
        Sender(a, b.ipv4) as sender,
    ):
        relay.waitFor("status, API and metrics are at")
        soak, pid = Soak(relay, path, b, a), relay.pid
        try:
            soak.ask("/healthz")  # when that is answered, the reactor runs and all is open
            waitUntil(lambda: not connections(b), "the end of that connection")
            before = descriptors(pid)
            began, sizes = time.monotonic(), []
            while (past := time.monotonic() - began) < SECONDS:
                soak.round()
                sender.stream(50, sink.read, rate=int(50 / ROUND))
                if past > SECONDS * WARM_UP:
                    sizes.append(resident(pid))
            sink.waitFor(sender.sent - 1)
            soak.settle()

            def hasGivenBack() -> bool:
                soak.send()  # that a viewer has gone shows when it is sent something
                # There may be less: what is asked of the kernel at the start takes a socket, too.
                return not Counter(descriptors(pid)) - Counter(before)

            waitUntil(hasGivenBack, f"no more descriptors than before, {before}")
        finally:
            soak.close()
    assert sink.numbers == list(range(sender.sent))
    growth = max(sizes) - sizes[0]
    print(  # noqa: T201 - the figure of a long run is what it is for
        f"{SECONDS:.0f} s: {soak.zaps} viewers, {soak.reloads} reloads, {soak.changes} links, "
        f"{sender.sent} datagrams; memory {sizes[0] / 2**20:.1f} MiB, "
        f"at most {growth / 2**20:.2f} MiB more"
    )
    assert growth < FLAT, [size // 1024 for size in sizes[:: max(1, len(sizes) // 40)]]
