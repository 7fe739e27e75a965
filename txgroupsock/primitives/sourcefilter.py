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

from txgroupsock.primitives.arguments import typed
from txgroupsock.primitives.checks import wrongKind
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
    if isinstance(sources, str | bytes) or not isinstance(sources, Iterable):
        raise wrongKind("sources", sources, "a list of addresses, also of a single one: [...]")
    return frozenset(withoutScope(parseAddress(each)) for each in sources)


@frozen(field_transformer=typed)
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
    request = packGroup(interface, group) + packFilter(wanted)
    sock.setsockopt(protocolLevel(sock.family), option, request)


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
        (count,) = struct.unpack_from("@I", buffer, _COUNT_AT)
        if count <= room:
            return unpackFilter(bytes(buffer))
        room = count  # it always gives the true count, and as many as there is room for


def unpackGroup(request: bytes) -> tuple[int, IPAddress]:
    """
    The interface's index and the group of a C{struct group_req}, and of the others, which begin
    like it; the inverse of L{packGroup}.
    """
    (interface,) = _INTERFACE.unpack_from(request)
    return interface, unpackSockaddr(request[_INTERFACE.size : _MODE_AT])


def unpackSource(request: bytes) -> IPAddress:
    """The source of a C{struct group_source_req}."""
    return unpackSockaddr(request[_MODE_AT : _MODE_AT + STORAGE])


def packFilter(wanted: SourceFilter) -> bytes:
    """What follows the group in a C{struct group_filter}."""
    mode = MCAST_INCLUDE if wanted.isInclude else MCAST_EXCLUDE
    sources = map(packSockaddr, sorted(wanted.sources))
    return struct.pack("@II", mode, len(wanted.sources)) + b"".join(sources)


def unpackFilter(request: bytes) -> SourceFilter:
    """The filter in a whole C{struct group_filter}."""
    mode, count = struct.unpack_from("@II", request, _MODE_AT)
    sources = (
        unpackSockaddr(request[at : at + STORAGE])
        for at in range(_SOURCES_AT, _SOURCES_AT + count * STORAGE, STORAGE)
    )
    return SourceFilter(mode == MCAST_INCLUDE, sources)


def _getsockopt(sock: socket.socket, level: int, option: int, buffer: bytearray) -> None:
    """
    C{getsockopt(2)} with a filled buffer, which Python's method cannot pass: the kernel
    reads from it which group and interface are meant.
    """
    if not isinstance(sock, socket.socket):  # one of txgroupsock.testing
        sock.getsockopt(level, option, buffer)
        return
    library = ctypes.CDLL(None, use_errno=True)
    size = ctypes.c_uint32(len(buffer))  # socklen_t
    area = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    if library.getsockopt(sock.fileno(), level, option, area, ctypes.byref(size)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
