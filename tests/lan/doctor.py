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
from txgroupsock.testing.lan import Host

SECONDS = 0.3

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
