"""The doctor as a process of its own on a host, and streams for it to look at."""

from __future__ import annotations

import re
import socket
import struct
import sys
import threading
from types import TracebackType

from attrs import frozen

from tests.lan.program import Program, twistd
from txgroupsock.testing.lan import Host, Lan

SECONDS = 0.3

GROUP = "239.1.1.1"
URL = f"udp://{GROUP}:5000?interface=eth0"
FROM_A = f"udp://10.0.0.1@{GROUP}:5000?interface=eth0"
OFF_LINK = "192.0.2.7"

LISTENER = """\
import signal, socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, {reuse})
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
sock.setsockopt(socket.IPPROTO_IP, 49, {all})
sock.bind(({address!r}, {port}))
for group in {groups!r}:
    pair = socket.inet_aton(group) + socket.inet_aton({interface!r})
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, pair)
print("ready", flush=True)
signal.pause()
"""

# <linux/prctl.h>, <linux/capability.h>: what is executed next may open no packet sockets.
_WITHOUT_RAW = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 13, 0, 0, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)

_HEAD = re.compile(r"^(FAULT|DOUBT|NOTE) \(([\w ]+)\) (\S+)$", re.MULTILINE)


@frozen
class Report:
    """
    What it said.

    @ivar findings: severity and check of each.
    """

    status: int
    text: str

    @property
    def findings(self) -> list[tuple[str, str]]:
        return [(each[1].lower(), each[2]) for each in _HEAD.finditer(self.text)]

    @property
    def words(self) -> str:
        """All of it on one line."""
        return " ".join(self.text.split())


def doctor(host: Host, *arguments: str, seconds: float = SECONDS, mayLook: bool = True) -> Report:
    """
    What C{--doctor} says on a host.

    @param mayLook: whether it may open packet sockets.
    """
    command = twistd("--doctor", *arguments, "--seconds", str(seconds))
    if not mayLook:
        command = [sys.executable, "-c", _WITHOUT_RAW, *command]
    with Program(host, *command) as program:
        status = program.end()
    assert "Traceback" not in program.output, program.output
    return Report(status, program.output)


class Stream:
    """A stream that a host sends while this is entered, 500 datagrams a second."""

    def __init__(
        self,
        host: Host,
        address: str,
        port: int = 5000,
        *,
        size: int = 1316,
        ttl: int = 8,
        source: str = "",
        interface: str = "eth0",
    ) -> None:
        """@param source: an address of the host to send from."""
        isSix = ":" in address
        self._socket = host.socket(socket.AF_INET6 if isSix else socket.AF_INET)
        if source:
            self._socket.bind((source, 0))
        link = host.links[interface]
        if isSix:
            for option, value in (
                (socket.IPV6_MULTICAST_HOPS, ttl),
                (socket.IPV6_MULTICAST_IF, link.index),
            ):
                self._socket.setsockopt(socket.IPPROTO_IPV6, option, value)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
            chosen = struct.pack("=4s4si", bytes(4), bytes(4), link.index)  # struct ip_mreqn
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, chosen)
        self._where = (address, port)
        self._payload = bytes(size)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Stream:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join()
        self._socket.close()

    def _send(self) -> None:
        while not self._ending.wait(0.002):
            self.sendOne()

    def sendOne(self) -> None:
        """Send a datagram."""
        try:
            self._socket.sendto(self._payload, self._where)
        except OSError:  # such as ECONNREFUSED, of an earlier one
            pass


class RawStream(Stream):
    """One whose packets are written by hand; what is for no group is broadcast on the link."""

    def __init__(self, host: Host, group: str, packet: bytes, port: int = 5000) -> None:
        """@param packet: an IPv4 packet, headers and all."""
        super().__init__(host, group, port)
        self._raw = host.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._raw.bind((host.interface, 0))
        packed, to = socket.inet_aton(group), b"\xff" * 6
        if packed[0] >= 224:
            to = b"\x01\x00\x5e" + bytes([packed[1] & 0x7F]) + packed[2:]
        mac = bytes.fromhex(host.mac.replace(":", ""))
        self._frame = to + mac + b"\x08\x00" + packet

    def __exit__(self, *exception: object) -> None:
        super().__exit__(None, None, None)
        self._raw.close()

    def sendOne(self) -> None:
        self._raw.send(self._frame)


def packet(
    source: str, group: str, port: int = 5000, *, ttl: int = 8, place: int = 0, checksum: int = 0
) -> bytes:
    """
    An IPv4 packet with a UDP datagram.

    @param place: flags and offset of a fragment.
    @param checksum: of UDP, for which 0 is none (RFC 768).
    """
    data = struct.pack("!HHHH", 4000, port, 108, checksum) + bytes(100)
    head = struct.pack(
        "!BBHHHBBH4s4s",
        *(0x45, 0, 20 + len(data), 7, place, ttl, socket.IPPROTO_UDP, 0),
        socket.inet_aton(source),
        socket.inet_aton(group),
    )
    total = sum(struct.unpack("!10H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:] + data


def doctorCommand(url: str) -> list[str]:
    """The command line of a doctor."""
    return twistd("--doctor", url, "--seconds", "0.4")


def listener(
    host: Host,
    address: str = "",
    port: int = 5000,
    *,
    groups: tuple[str, ...] = (),
    interface: str = "",
    reuse: int = 1,
    hearsAll: bool = True,
) -> Program:
    """Another program on a host that opens a port, and reads nothing of it."""
    text = LISTENER.format(
        address=address,
        port=port,
        groups=groups,
        interface=interface or host.ipv4,
        reuse=reuse,
        all=int(hearsAll),
    )
    return Program(host, sys.executable, "-c", text)


def assertHas(report: Report, severity: str, check: str, *words: str) -> None:
    """A finding is there, all of its words are, and a fault is the exit status."""
    assert (severity, check) in report.findings, report.text
    for each in words:
        assert each in report.words, report.text
    assert report.status == any(kind == "fault" for kind, _ in report.findings)


def assertOnly(report: Report, severity: str, check: str, *words: str) -> None:
    """So it is, and nothing else was found."""
    assert report.findings == [(severity, check)], report.text
    assertHas(report, severity, check, *words)


def assertHealthy(report: Report, *words: str) -> None:
    """Nothing was found, but that this machine's limit may be low, which no host can change."""
    assert [each for each in report.findings if each != ("note", "memory")] == [], report.text
    assert report.status == 0
    for each in words:
        assert each in report.words, report.text


def offLink(lan: Lan, by: str) -> None:
    """Have C{a} send from an address of another network, to which C{b} has that route."""
    lan["a"].run("ip", "addr", "add", f"{OFF_LINK}/32", "dev", "eth0")
    lan["b"].run("ip", "route", "add", "192.0.2.0/24", *by.split())
