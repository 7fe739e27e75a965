"""Capture files as the tests need them, made from bytes here, not by what is tested."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

Frame = tuple[float, bytes]
"""Seconds since 1970, and bytes."""


def pcap(
    frames: Sequence[Frame], link: int = 101, order: str = "<", magic: int = 0xA1B23C4D
) -> bytes:
    """A pcap file."""
    scale = 1_000_000_000 if magic == 0xA1B23C4D else 1_000_000
    file = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262_144, link)
    for time, frame in frames:
        seconds = int(time)
        parts = round((time - seconds) * scale)
        file += struct.pack(f"{order}IIII", seconds, parts, len(frame), len(frame)) + frame
    return file


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A block of pcapng."""
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + size + body + size


def section(order: str = "<") -> bytes:
    """The header of a section of pcapng."""
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int = 101, order: str = "<", options: bytes = b"") -> bytes:
    """The description of an interface in pcapng."""
    return block(1, struct.pack(f"{order}HHI", link, 0, 0) + options, order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """An option in a block of pcapng."""
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def packet(ticks: int, frame: bytes, number: int = 0, order: str = "<") -> bytes:
    """An enhanced packet block of pcapng."""
    numbers = (number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(6, struct.pack(f"{order}IIIII", *numbers) + frame, order)


def udp(payload: bytes, ports: tuple[int, int] = (5000, 5004)) -> bytes:
    """A UDP datagram without checksum."""
    return struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload


def ipv4(
    datagram: bytes,
    source: str = "192.0.2.1",
    destination: str = "232.1.1.1",
    *,
    protocol: int = 17,
    fragment: int = 0,
    options: bytes = b"",
) -> bytes:
    """An IPv4 packet without checksum."""
    size = 20 + len(options)
    return (
        struct.pack(
            "!BBHHHBBH", 0x40 | size // 4, 0, size + len(datagram), 0, fragment, 8, protocol, 0
        )
        + socket.inet_aton(source)
        + socket.inet_aton(destination)
        + options
        + datagram
    )


def ipv6(
    datagram: bytes,
    source: str = "2001:db8::1",
    destination: str = "ff3e::1",
    following: int = 17,
) -> bytes:
    """An IPv6 packet."""
    return (
        struct.pack("!IHBB", 0x60000000, len(datagram), following, 8)
        + socket.inet_pton(socket.AF_INET6, source)
        + socket.inet_pton(socket.AF_INET6, destination)
        + datagram
    )


def tshark(path: Path, *fields: str) -> list[list[str]]:
    """Fields of each frame of a capture, as tshark has them; it checks every checksum."""
    wanted = [part for each in fields for part in ("-e", each)]
    checks = ("-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE")
    done = subprocess.run(
        ["tshark", "-n", "-r", str(path), *checks, "-T", "fields", *wanted],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]
