"""A relay as a process of its own, a numbered stream through it, and what it reports."""

from __future__ import annotations

import re
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from tests.lan.program import Program, twistd, waitUntil
from txgroupsock.primitives.constants import SO_TIMESTAMPNS, required
from txgroupsock.testing.namespaces import Namespace

SIZE = 1316
_NUMBER = struct.Struct("!Qq")  # of the datagram, and when it was sent, in ns
_FILLING = bytes(range(256)) * 6
_COUNTS = re.compile(r"(in|out), (.*?): ([\d,]+) datagrams, [\d,]+ bytes, ([\d,]+) dropped(.*)")
_REASON = re.compile(r"(\w+) ([\d,]+)")


@frozen
class Line:
    """What a relay reports of its input or of one output."""

    where: str
    datagrams: int
    dropped: int
    reasons: dict[str, int]
    rest: str

    @classmethod
    def of(cls, found: re.Match[str]) -> Line:
        """From the line itself."""
        listed, _, rest = found[5].partition(";")
        reasons = {name: _int(count) for name, count in _REASON.findall(listed)}
        return cls(found[2], _int(found[3]), _int(found[4]), reasons, rest)


def _int(text: str) -> int:
    return int(text.replace(",", ""))


class Relay(Program):
    """C{twistd groupsock-relay} on a host, from UDP port 5000 there to some URLs."""

    def __init__(
        self,
        host: Namespace,
        *outputs: str,
        source: str = "udp://:5000",
        isBound: bool = True,
    ) -> None:
        """@param isBound: whether its input can be opened at once."""
        arguments = [word for url in outputs for word in ("--to", url)]
        super().__init__(host, *twistd("--from", source, *arguments))
        self._count = len(outputs)
        self._waitsForPort = isBound

    def __enter__(self) -> Relay:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        super().__enter__()
        # The last thing it says of its outputs when it starts; signals are heard from then on.
        waitUntil(self._isReady, "the relay handles SIGUSR1")
        return self

    def _isReady(self) -> bool:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        caught = re.search(r"SigCgt:\s*(\w+)", status)
        assert caught is not None
        return bool(int(caught[1], 16) >> (signal.SIGUSR1 - 1) & 1) and (
            not self._waitsForPort or self._isBound()
        )

    def _isBound(self) -> bool:
        return ":1388 " in self._host.readNet("udp") + self._host.readNet("udp6")

    def report(self) -> tuple[Line, list[Line]]:
        """What it has counted until now: of its input, and of each output."""
        before = len(self.output)
        self.signal(signal.SIGUSR1)
        deadline = time.monotonic() + 20
        while True:
            said = self.output[before:].rpartition("\n")[0]
            lines = [(each[1], Line.of(each)) for each in _COUNTS.finditer(said)]
            if len(lines) > self._count:
                (_, first), *others = lines
                return first, [line for _, line in others]
            assert self._read(deadline), self.output

    def reportOf(self, sent: int) -> list[Line]:
        """What it has counted of each output once so much has come in, which adds up for each."""
        deadline = time.monotonic() + 20
        while True:
            incoming, outputs = self.report()
            if incoming.datagrams + incoming.dropped >= sent or time.monotonic() > deadline:
                break
        assert (incoming.datagrams, incoming.dropped) == (sent, 0), self.output
        for each in outputs:
            assert each.datagrams + each.dropped == sent, each
            assert sum(each.reasons.values()) == each.dropped, each
        return outputs

    def pause(self) -> None:
        """Stop the process where it is."""
        self.signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self._process.pid}/stat")
        waitUntil(lambda: stat.read_text().rpartition(") ")[2][0] == "T", "the relay has stopped")

    def resume(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)


class Sender:
    """
    Sends numbered datagrams from a host to a relay, whether or not it is there yet.

    @ivar sent: how many.
    """

    def __init__(self, host: Namespace, address: str, port: int = 5000) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with host:
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
        # Not connected, or it would be told of each that finds no open port (ECONNREFUSED).
        self._to = (address, port)
        self.sent = 0

    def __enter__(self) -> Sender:  # noqa: PYI034 - as above
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def send(self, count: int) -> None:
        """Send so many at once, few enough for any receive buffer."""
        for _ in range(count):
            self._socket.sendto(payload(self.sent, time.time_ns()), self._to)
            self.sent += 1

    def stream(
        self, count: int, meanwhile: Callable[[], object] = lambda: None, rate: int = 1000
    ) -> None:
        """Send so many at a rate, in bursts of five."""
        began = time.monotonic()
        for burst in range(count // 5):
            time.sleep(max(0.0, began + 5 * burst / rate - time.monotonic()))
            self.send(5)
            meanwhile()


def payload(number: int, sentAt: int = 0) -> bytes:
    """The datagram of a number."""
    start = number % 256
    header = _NUMBER.pack(number, sentAt)
    return header + _FILLING[start : start + SIZE - len(header)]


class Sink:
    """
    Keeps what arrives at a port.

    @ivar numbers: of the datagrams in the order in which they came, each found to be what was sent.
    @ivar slowest: seconds that the slowest took from its sender to here.
    """

    def __init__(self, host: Namespace, address: str, port: int, group: str = "") -> None:
        """@param group: an IPv4 group to join; the address is then that of the interface."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with host:
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self._socket.setsockopt(socket.SOL_SOCKET, required(SO_TIMESTAMPNS, "SO_TIMESTAMPNS"), 1)
        self._socket.bind((group or address, port))
        if group:
            request = socket.inet_aton(group) + socket.inet_aton(address)
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        self.numbers: list[int] = []
        self.slowest = 0.0

    def __enter__(self) -> Sink:  # noqa: PYI034 - as above
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def read(self) -> None:
        """Take what has come."""
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(65536, 64)
            except BlockingIOError:
                return
            number, sentAt = _NUMBER.unpack_from(data)
            assert data[_NUMBER.size :] == payload(number)[_NUMBER.size :]
            seconds, nanoseconds = struct.unpack("@qq", ancillary[0][2])
            came = seconds * 10**9 + nanoseconds
            self.numbers.append(number)
            self.slowest = max(self.slowest, (came - sentAt) / 1e9)

    def waitFor(self, number: int) -> None:
        """Wait for the datagram of a number."""

        def has() -> bool:
            self.read()
            return number in self.numbers[-1000:]

        waitUntil(has, f"datagram {number}; there are {len(self.numbers)}: {self.numbers[-3:]}")
