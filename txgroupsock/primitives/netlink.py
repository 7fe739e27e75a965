"""Asking Linux by rtnetlink(7), and the addresses of this host, which it tells so."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

from txgroupsock.primitives.sockaddr import IPAddress

# linux/rtnetlink.h, linux/if_addr.h
_GET_ADDRESS: Final = 22
_REQUEST: Final = 0x1
_DUMP: Final = 0x300
_DONE: Final = 3
_ERROR: Final = 2
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_NEST: Final = 0x3FFF  # without the flags of an attribute's type

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_ADDRESS: Final = struct.Struct("=4BI")  # struct ifaddrmsg

_MOST: Final = 1 << 16  # bytes; the kernel puts up to 32,768 into one answer


class NoNetlink(OSError):
    """The kernel, or a sandbox, offers no such socket."""


def addresses() -> dict[int, list[IPAddress]]:
    """
    The addresses of every interface that has any, by its index, in the kernel's order.

    With 200 interfaces of two addresses 3 ms, most of them for making the objects.

    @raise OSError: the kernel does not tell, or there is no descriptor left to ask by.
    """
    found: dict[int, list[IPAddress]] = {}
    for message in dump(_GET_ADDRESS, bytes(_ADDRESS.size)):
        parts = dict(attributes(message[_ADDRESS.size :]))
        # Of a point-to-point link the one is the other end, and the other ours.
        packed = parts.get(_IFA_LOCAL) or parts.get(_IFA_ADDRESS)
        if packed:
            index = _ADDRESS.unpack_from(message)[4]
            found.setdefault(index, []).append(ipaddress.ip_address(packed))
    return found


def dump(kind: int, body: bytes) -> list[bytes]:
    """
    The bodies of all messages that list what there is of a kind.

    @raise NoNetlink: there is no such socket.
    @raise OSError: the kernel refuses.
    """
    return _ask(kind, _DUMP, body)


def get(kind: int, body: bytes) -> list[bytes]:
    """The body of the one message that answers; otherwise as L{dump}."""
    return _ask(kind, 0, body)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in a message behind its header, or in one of them: types and values."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            return
        yield kind & _NEST, data[at + 4 : at + length]
        at += length + 3 & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, with the padding behind it."""
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _ask(kind: int, flags: int, body: bytes) -> list[bytes]:
    """The bodies of all messages that answer one."""
    if not hasattr(socket, "AF_NETLINK"):
        raise NoNetlink(errno.EAFNOSUPPORT, "only Linux has rtnetlink")
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    except OSError as error:
        raise NoNetlink(error.errno, str(error)) from error
    with sock:
        sock.settimeout(2.0)
        sock.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 1, 0) + body)
        found: list[bytes] = []
        while True:
            for number, content in _messages(sock.recv(_MOST)):
                if number == _DONE:
                    return found
                if number == _ERROR:
                    code = -struct.unpack_from("=i", content)[0]
                    raise OSError(code, os.strerror(code))
                found.append(content)
            if not flags & _DUMP:
                return found


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + length]
        at += max(length + 3 & ~3, _HEADER.size)
