"""What packets are; and that no bytes at all are an error."""

from __future__ import annotations

import random
import struct
from ipaddress import ip_address

import pytest

from txgroupsock.relay.doctor.packet import ETH_P_IP, ETH_P_IPV6, Packet, Query, packetIn

A, G = ip_address("10.0.0.1"), ip_address("239.1.1.1")
A6, G6 = ip_address("fe80::1"), ip_address("ff15::1")


def four(kind: int, body: bytes, place: int = 0) -> bytes:
    """An IPv4 packet with a TTL of 7 and four bytes of options."""
    head = struct.pack("!BBHHHBBH", 0x46, 0, 24 + len(body), 1, place, 7, kind, 0)
    return head + A.packed + G.packed + bytes(4) + body


def six(kind: int, body: bytes) -> bytes:
    """An IPv6 packet with a hop limit of 7."""
    return struct.pack("!IHBB", 0x60000000, len(body), kind, 7) + A6.packed + G6.packed + body


UDP = struct.pack("!HHHH", 1, 5000, 108, 0)


def test_datagramsAreRead() -> None:
    """Addresses, port, TTL and size, of both families."""
    assert packetIn(four(17, UDP), ETH_P_IP) == Packet(A, G, 5000, 7, 100, False)
    assert packetIn(six(17, UDP), ETH_P_IPV6) == Packet(A6, G6, 5000, 7, 100, False)
    options = struct.pack("!BB6x", 17, 0)
    assert packetIn(six(60, options + UDP), ETH_P_IPV6) == Packet(A6, G6, 5000, 7, 100, False)


def test_fragmentsAreRead() -> None:
    """The first has a port, others have none."""
    assert packetIn(four(17, UDP, 0x2000), ETH_P_IP) == Packet(A, G, 5000, 7, 100, True)
    assert packetIn(four(17, bytes(80), 0x0010), ETH_P_IP) == Packet(A, G, 0, 7, 80, True)
    first = struct.pack("!BBHI", 17, 0, 1, 9) + UDP
    later = struct.pack("!BBHI", 17, 0, 0x80, 9) + bytes(80)
    assert packetIn(six(44, first), ETH_P_IPV6) == Packet(A6, G6, 5000, 7, 100, True)
    assert packetIn(six(44, later), ETH_P_IPV6) == Packet(A6, G6, 0, 7, 80, True)


@pytest.mark.parametrize(
    ("body", "version"),
    [
        (b"\x11\x00" + bytes(6), 1),
        (b"\x11\x64" + bytes(6), 2),
        (b"\x11\x64" + bytes(10), 3),
    ],
)
def test_queriesOfIGMPAreRead(body: bytes, version: int) -> None:
    """The version is known by length and by the time to answer (RFC 3376 section 7.1)."""
    assert packetIn(four(2, body), ETH_P_IP) == Query(A, version)


@pytest.mark.parametrize(("length", "version"), [(24, 1), (28, 2)])
def test_queriesOfMLDAreRead(length: int, version: int) -> None:
    """Behind the hop-by-hop options; the version is known by the length (RFC 3810 section 8.1)."""
    options = struct.pack("!BB6x", 58, 0)
    body = options + bytes([130]) + bytes(length - 1)
    assert packetIn(six(0, body), ETH_P_IPV6) == Query(A6, version)


def test_otherThingsAreNothing() -> None:
    """Reports, other protocols, other EtherTypes."""
    assert packetIn(four(2, b"\x22" + bytes(7)), ETH_P_IP) is None
    assert packetIn(four(6, bytes(20)), ETH_P_IP) is None
    assert packetIn(six(58, b"\x88" + bytes(23)), ETH_P_IPV6) is None
    assert packetIn(six(6, bytes(20)), ETH_P_IPV6) is None
    assert packetIn(four(17, UDP), 0x0806) is None


def test_noBytesAreAnError() -> None:
    """What is cut off, or was never a packet, is nothing."""
    chance = random.Random(4)
    whole = (four(17, UDP), six(44, struct.pack("!BBHI", 17, 0, 1, 9) + UDP), six(0, bytes(60)))
    for kind in (ETH_P_IP, ETH_P_IPV6):
        for each in whole:
            for length in range(len(each)):
                packetIn(each[:length], kind)
        for _ in range(3000):
            packetIn(chance.randbytes(chance.randrange(100)), kind)
