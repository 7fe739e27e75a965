"""
What is in a captured frame: the UDP datagram behind the headers of its link and of IP.

Link types are those of https://www.tcpdump.org/linktypes.html.  Checksums are not looked at: where
the network card makes them, a capture has them wrong.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from txgroupsock.relay.recording.recorded import Address

NULL: Final = 0
ETHERNET: Final = 1
RAW: Final = 101
LOOP: Final = 108
LINUX_SLL: Final = 113
IPV4: Final = 228
IPV6: Final = 229
LINUX_SLL2: Final = 276

_TYPE_IPV4, _TYPE_IPV6 = 0x0800, 0x86DD
_TYPES_VLAN = frozenset((0x8100, 0x88A8, 0x9100))  # IEEE 802.1Q, 802.1ad, and what was before it
# AF_INET is 2 everywhere; AF_INET6 is 10 on Linux, 24, 28 and 30 on the BSDs and macOS.
_FAMILIES = frozenset((2, 10, 24, 28, 30))
_UDP, _FRAGMENT, _AUTHENTICATION = 17, 44, 51
# Hop-by-hop options, routing, destination options, mobility, HIP, shim6 (RFC 8200, RFC 7045).
_EXTENSIONS = frozenset((0, 43, 60, 135, 139, 140))


class Datagram(NamedTuple):
    """Addresses and payload of a UDP datagram."""

    source: Address
    destination: Address
    payload: bytes


class Skipped(Exception):
    """A frame holds no whole UDP datagram; the text is one word or two that say why."""


_NOT_UDP, _BROKEN = "not UDP", "malformed"
_FRAGMENTED, _CUT = "fragment", "truncated"


def datagramIn(linkType: int, frame: bytes, length: int) -> Datagram:
    """
    The UDP datagram of a frame.

    @param linkType: one of L{LINK_TYPES}.
    @param frame: as much of it as was captured.
    @param length: bytes that it had.
    @raise Skipped: it holds none: C{"not UDP"}, a C{"fragment"} of one, one that was C{"truncated"}
        when it was captured, or what is C{"malformed"}.
    """
    try:
        return _ofIP(frame, LINK_TYPES[linkType](frame))
    except IndexError:
        raise Skipped(_CUT if len(frame) < length else _BROKEN) from None


# Links: each has where IP begins.  IndexError: the frame is too short.


def _afterNull(frame: bytes) -> int:
    # In the byte order of the host that captured, which need not be that of the file.
    if frame[3] in _FAMILIES or frame[0] in _FAMILIES:
        return 4
    raise Skipped(_NOT_UDP)


def _afterType(frame: bytes, at: int, following: int) -> int:
    """Where IP begins, if an EtherType says so, or one behind VLAN tags that follow."""
    found = frame[at] << 8 | frame[at + 1]
    while found in _TYPES_VLAN:
        found = frame[following + 2] << 8 | frame[following + 3]
        following += 4
    if found not in (_TYPE_IPV4, _TYPE_IPV6):
        raise Skipped(_NOT_UDP)
    return following


LINK_TYPES: Final[dict[int, Callable[[bytes], int]]] = {
    NULL: _afterNull,
    LOOP: _afterNull,
    ETHERNET: lambda frame: _afterType(frame, 12, 14),
    LINUX_SLL: lambda frame: _afterType(frame, 14, 16),
    LINUX_SLL2: lambda frame: _afterType(frame, 0, 20),
    RAW: lambda _: 0,
    12: lambda _: 0,  # RAW, as some systems number it
    14: lambda _: 0,
    IPV4: lambda _: 0,
    IPV6: lambda _: 0,
}
"""Those that can be read, and what finds IP in a frame of each."""


# IP


def _ofIP(frame: bytes, at: int) -> Datagram:
    version = frame[at] >> 4
    if version == 4:
        return _ofIPv4(frame, at)
    if version == 6:
        return _ofIPv6(frame, at)
    raise Skipped(_NOT_UDP)


def _ofIPv4(frame: bytes, at: int) -> Datagram:
    """RFC 791 section 3.1."""
    size = (frame[at] & 0xF) * 4
    if size < 20:
        raise Skipped(_BROKEN)
    header = frame[at : at + size]
    if header[9] != _UDP:
        raise Skipped(_NOT_UDP)
    if (header[6] << 8 | header[7]) & 0x3FFF:  # more fragments, or not the first
        raise Skipped(_FRAGMENTED)
    total = header[2] << 8 | header[3]
    # What the network card has yet to divide may say 0.
    end = at + total if total else len(frame)
    if len(header) < size:
        raise IndexError
    return _ofUDP(frame, at + size, end, socket.AF_INET, header[12:16], header[16:20])


def _ofIPv6(frame: bytes, at: int) -> Datagram:
    """RFC 8200 section 3."""
    header = frame[at : at + 40]
    following, total = header[6], header[4] << 8 | header[5]
    end = at + 40 + total if total else len(frame)
    if len(header) < 40:
        raise IndexError
    at += 40
    while following != _UDP:
        if following == _FRAGMENT:
            if (frame[at + 2] << 8 | frame[at + 3]) & 0xFFF9:
                raise Skipped(_FRAGMENTED)
            size = 8
        elif following == _AUTHENTICATION:
            size = (frame[at + 1] + 2) * 4
        elif following in _EXTENSIONS:
            size = (frame[at + 1] + 1) * 8
        else:
            raise Skipped(_NOT_UDP)
        following = frame[at]
        at += size
    return _ofUDP(frame, at, end, socket.AF_INET6, header[8:24], header[24:40])


def _ofUDP(
    frame: bytes, at: int, end: int, family: int, source: bytes, destination: bytes
) -> Datagram:
    """RFC 768; for IPv6, a length of 0 means all there is (RFC 2675 section 4)."""
    sender = (socket.inet_ntop(family, source), frame[at] << 8 | frame[at + 1])
    receiver = (socket.inet_ntop(family, destination), frame[at + 2] << 8 | frame[at + 3])
    length = frame[at + 4] << 8 | frame[at + 5]
    last = at + length if length else end
    if not at + 8 <= last <= end:
        raise Skipped(_BROKEN)
    if last > len(frame):
        raise IndexError
    return Datagram(sender, receiver, frame[at + 8 : last])
