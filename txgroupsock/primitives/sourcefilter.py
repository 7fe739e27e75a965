"""
The set of sources that a socket hears in one group, and how Linux is asked for it and told.

Linux takes and gives a whole filter as C{struct group_filter} (MCAST_MSFILTER, RFC 3678
section 5.2.1).  Elsewhere setsourcefilter(3) makes a call with a pointer, which is out of
Python's reach.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterable

from attrs import field, frozen

from txgroupsock.primitives.constants import (
    MCAST_EXCLUDE,
    MCAST_INCLUDE,
    MCAST_MSFILTER,
    required,
)
from txgroupsock.primitives.sockaddr import (
    STORAGE,
    IPAddress,
    packSockaddr,
    parseAddress,
    protocolLevel,
    unpackSockaddr,
    withoutScope,
)

# struct group_filter: gf_interface, padding to the alignment of sockaddr_storage, gf_group,
# gf_fmode, gf_numsrc, gf_slist[].  group_req and group_source_req begin in the same way.
_INTERFACE = struct.Struct("@I4x" if struct.calcsize("@P") == 8 else "@I")
_MODE_AT = _INTERFACE.size + STORAGE
_COUNT_AT = _MODE_AT + 4
_SOURCES_AT = _COUNT_AT + 4


def _sourcesOf(sources: Iterable[str | IPAddress]) -> frozenset[IPAddress]:
    return frozenset(withoutScope(parseAddress(each)) for each in sources)


@frozen
class SourceFilter:
    """
    Which sources of one group a socket hears (RFC 3376 section 2).

    @ivar isInclude: true: only C{sources} (INCLUDE mode); false: all but them (EXCLUDE).
    @ivar sources: addresses.
    """

    isInclude: bool
    sources: frozenset[IPAddress] = field(converter=_sourcesOf)


def packGroup(interface: int, group: IPAddress) -> bytes:
    """C{struct group_req}: an interface's index and a group."""
    return _INTERFACE.pack(interface) + packSockaddr(group)


def writeFilter(
    sock: socket.socket, interface: int, group: IPAddress, wanted: SourceFilter
) -> None:
    """
    Replace the filter that a socket has for a group on one interface.

    @raise OSError: as the kernel gives it.
    @raise NotSupportedHere: this system has no such option.
    """
    option = required(MCAST_MSFILTER, "MCAST_MSFILTER")
    mode = MCAST_INCLUDE if wanted.isInclude else MCAST_EXCLUDE
    sources = map(packSockaddr, sorted(wanted.sources))
    request = packGroup(interface, group) + struct.pack("@II", mode, len(wanted.sources))
    sock.setsockopt(protocolLevel(sock.family), option, request + b"".join(sources))


def readFilter(sock: socket.socket, interface: int, group: IPAddress) -> SourceFilter:
    """
    The filter that the kernel holds for a group on one interface.

    @raise OSError: as the kernel gives it; EADDRNOTAVAIL if the socket is not a member there.
    @raise NotSupportedHere: this system has no such option.
    """
    option = required(MCAST_MSFILTER, "MCAST_MSFILTER")
    room = 16
    while True:
        head = packGroup(interface, group) + struct.pack("@II", 0, room)
        buffer = bytearray(head + bytes(room * STORAGE))
        _getsockopt(sock, protocolLevel(sock.family), option, buffer)
        mode, count = struct.unpack_from("@II", buffer, _MODE_AT)
        if count <= room:
            break
        room = count  # it always gives the true count, and as many as there is room for
    sources = (
        unpackSockaddr(bytes(buffer[at : at + STORAGE]))
        for at in range(_SOURCES_AT, _SOURCES_AT + count * STORAGE, STORAGE)
    )
    return SourceFilter(mode == MCAST_INCLUDE, sources)


def _getsockopt(sock: socket.socket, level: int, option: int, buffer: bytearray) -> None:
    """
    C{getsockopt(2)} with a filled buffer, which Python's method cannot pass: the kernel
    reads from it which group and interface are meant.
    """
    library = ctypes.CDLL(None, use_errno=True)
    size = ctypes.c_uint32(len(buffer))  # socklen_t
    area = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    if library.getsockopt(sock.fileno(), level, option, area, ctypes.byref(size)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
