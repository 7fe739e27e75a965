"""
Receiving many datagrams with one system call, and trains that the kernel has coalesced.

C{recvmmsg(2)} through L{ctypes}, on 64-bit Linux.  Where C{recvfrom} takes 1.8 µs of CPU for a
datagram of 1,316 bytes, this takes 1.0, and 0.15 if they arrive coalesced (UDP_GRO, Linux 5.0).
C{benchmarks/ports.py} measures both.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
from typing import Final, TypeAlias

from txgroupsock.primitives.constants import LINUX, UDP_GRO
from txgroupsock.primitives.sockaddr import fromSocketAddress

Piece: TypeAlias = tuple[memoryview, int, tuple[str, int]]
"""
Datagrams of one sender, all of one size but the last: their payloads in a row, that size, and
the sender's C{(host, port)}.  The memory is lent: it is good until the next call.
"""

LARGEST: Final = 65536
"""Bytes of room that every datagram, and every train of coalesced ones, fits into."""

_MOST: Final = 64
_FEWEST: Final = 8
_WORKING_SET: Final = 512 * 1024  # what lies further apart falls out of the processor's cache
_WINDOW: Final = 8

# struct mmsghdr of 64-bit Linux, in words of eight bytes: msg_name, msg_namelen, msg_iov,
# msg_iovlen, msg_control, msg_controllen, msg_flags, msg_len.
_HEADER: Final = struct.Struct("@8Q")
_CONTROLLEN: Final = 5
_LENGTH: Final = 7
_IOVECS: Final = struct.Struct("@4Q")  # two struct iovec
_NAME: Final = 32  # room for a sockaddr_in6
_CONTROL: Final = 24  # CMSG_SPACE(sizeof(int))
_SEGMENT: Final = struct.Struct("@i")
_CMSG_DATA: Final = 16


def canBatch() -> bool:
    """Whether this system has C{recvmmsg}, with structures of the layout known here."""
    return LINUX and ctypes.sizeof(ctypes.c_void_p) == 8


def coalesceArrivals(sock: socket.socket) -> bool:
    """Have the kernel hand over trains of datagrams as one (UDP_GRO); whether it will."""
    if UDP_GRO is None:
        return False
    try:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    except OSError:  # Linux before 5.0
        return False
    return True


class Single:
    """
    Receives one datagram at a time, from any socket on any system.

    @ivar mayHaveMore: whether it is worth calling L{receive} again at once.
    """

    mayHaveMore = True

    def receive(self, sock: socket.socket, most: int = 1) -> list[Piece]:
        """
        What has arrived; never waits.

        @raise OSError: as C{recvfrom} raises it, BlockingIOError if nothing has arrived.
        """
        data, sender = sock.recvfrom(LARGEST)
        return [(memoryview(data), len(data), fromSocketAddress(sender))]


class BatchMemory:
    """
    Room for one batch, which all ports of a reactor share, since what they receive is only lent.

    A page of it that nothing was ever written to takes up no memory.
    """

    def __init__(self) -> None:
        # Not bytearrays, which are written to when they are made.
        self.slots = mmap.mmap(-1, _WORKING_SET + LARGEST)
        self.overflow = mmap.mmap(-1, _MOST * LARGEST)


class Batch:
    """
    Receives datagrams of one socket, many at a time.

    Each has a slot, and the slots lie side by side.  Datagrams of just the size of a slot are
    a run as they lie there: nothing is copied, and none is looked at by itself.  So the slots
    take the size that arrives.  What is larger than a slot ends in an overflow of its own.

    @ivar mayHaveMore: whether it is worth calling L{receive} again at once.
    """

    def __init__(self, family: int, memory: BatchMemory | None = None) -> None:
        """
        @param family: of the socket, C{AF_INET} or C{AF_INET6}.
        @param memory: what is received into; of its own if left out.
        """
        self._memory = memory or BatchMemory()
        self.mayHaveMore = False
        self._isIPv6 = family == socket.AF_INET6
        self._nameSize = 28 if self._isIPv6 else 16
        self._slots = memoryview(self._memory.slots)
        self._overflow = memoryview(self._memory.overflow)
        self._names = bytearray(_MOST * _NAME)
        self._controls = bytearray(_MOST * _CONTROL)
        self._iovecs = bytearray(_MOST * _IOVECS.size)
        self._headers = bytearray(_MOST * _HEADER.size)
        self._words = memoryview(self._headers).cast("Q")
        self._senders: dict[bytes, tuple[str, int]] = {}
        self._largestLately = 0
        self._batchesLately = 0
        self._isMixed = False
        library = ctypes.CDLL(None, use_errno=True)
        self._recvmmsg = library.recvmmsg
        self._recvmmsg.argtypes = [
            *(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int),
            ctypes.c_void_p,
        ]
        self._headersAt = _addressOf(self._headers)
        self._shape(2048)

    def receive(self, sock: socket.socket, most: int = _MOST) -> list[Piece]:
        """
        What has arrived, in order; never waits.

        @param most: datagrams, or coalesced trains of them, to receive.
        @raise OSError: as C{recvfrom} raises it, BlockingIOError if nothing has arrived.
        """
        self._headers[:] = self._template  # the kernel has written lengths into it
        most = min(most, self._count)
        count = self._recvmmsg(sock.fileno(), self._headersAt, most, socket.MSG_DONTWAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self.mayHaveMore = count == most
        words, size = self._words, self._size
        lengths: list[int] = words[_LENGTH : 8 * count : 8].tolist()
        isCoalesced = any(words[_CONTROLLEN : 8 * count : 8].tolist())
        if not isCoalesced and lengths.count(size) == count:
            names = self._names
            if count == 1 or names[: _NAME * count] == names[:_NAME] * count:
                return [(self._slots[: count * size], size, self._sender(0))]
        pieces = self._pieces(lengths)
        self._adapt(lengths, isCoalesced=isCoalesced)
        return pieces

    def _pieces(self, lengths: list[int]) -> list[Piece]:
        """Each datagram or train, with neighbours in full slots put together."""
        size, slots, controls = self._size, self._slots, self._words[_CONTROLLEN::8]
        pieces: list[Piece] = []
        last = len(lengths)
        first = 0
        while first < last:
            length = lengths[first]
            sender = self._sender(first)
            start = first * size
            after = first + 1
            if controls[first]:
                at = first * _CONTROL + _CMSG_DATA
                segment = _SEGMENT.unpack_from(self._controls, at)[0]
                pieces.append((self._whole(first, length), segment, sender))
            elif length == size:
                end = start + size
                while after < last and not controls[after] and 0 < lengths[after] <= size:
                    if not self._isSameSender(first, after):
                        break
                    end += lengths[after]
                    after += 1
                    if lengths[after - 1] < size:
                        break
                pieces.append((slots[start:end], size, sender))
            else:
                pieces.append((self._whole(first, length), length, sender))
            first = after
        return pieces

    def _whole(self, index: int, length: int) -> memoryview:
        """The payload in one slot, and in its overflow if that was not enough."""
        size, start = self._size, index * self._size
        if length <= size:
            return self._slots[start : start + length]
        more = index * LARGEST
        return memoryview(
            b"".join(
                (
                    self._slots[start : start + size],
                    self._overflow[more : more + length - size],
                )
            )
        )

    def _sender(self, index: int) -> tuple[str, int]:
        start = index * _NAME
        name = bytes(self._names[start : start + self._nameSize])
        known = self._senders.get(name)
        if known is not None:
            return known
        port = int.from_bytes(name[2:4], "big")
        if not self._isIPv6:
            sender = (socket.inet_ntop(socket.AF_INET, name[4:8]), port)
        else:
            host = socket.inet_ntop(socket.AF_INET6, name[8:24])
            scope = _SEGMENT.unpack_from(name, 24)[0]
            sender = fromSocketAddress((host, port, 0, scope))
            if scope:
                return sender  # the interface may get another name
        if len(self._senders) >= 1024:
            self._senders.clear()
        self._senders[name] = sender
        return sender

    def _isSameSender(self, one: int, other: int) -> bool:
        names = self._names
        return (
            names[one * _NAME : one * _NAME + _NAME] == names[other * _NAME : other * _NAME + _NAME]
        )

    def _adapt(self, lengths: list[int], *, isCoalesced: bool) -> None:
        """Give the slots the size that arrives: a larger one at once, a smaller one in time."""
        largest = LARGEST if isCoalesced else max(lengths)
        if largest > self._size:
            self._shape(largest)
            return
        if self._batchesLately and largest != self._largestLately:
            self._isMixed = True
        self._isMixed = self._isMixed or lengths.count(largest) != len(lengths)
        self._largestLately = max(largest, self._largestLately)
        self._batchesLately += 1
        if self._batchesLately < _WINDOW:
            return
        if not self._isMixed or self._largestLately <= self._size // 2:
            self._shape(self._largestLately or self._size)
        else:
            self._forgetLately()

    def _forgetLately(self) -> None:
        self._largestLately = self._batchesLately = 0
        self._isMixed = False

    def _shape(self, size: int) -> None:
        """Lay out slots of one size."""
        self._size = size
        self._count = max(_FEWEST, min(_MOST, _WORKING_SET // size))
        slots, overflow = map(_addressOf, (self._memory.slots, self._memory.overflow))
        names, controls, iovecs = map(_addressOf, (self._names, self._controls, self._iovecs))
        headers = []
        for index in range(self._count):
            at = index * _IOVECS.size
            more = overflow + index * LARGEST
            _IOVECS.pack_into(self._iovecs, at, slots + index * size, size, more, LARGEST - size)
            name = (names + index * _NAME, self._nameSize)
            control = (controls + index * _CONTROL, _CONTROL)
            headers.append(_HEADER.pack(*name, iovecs + at, 2, *control, 0, 0))
        self._template = b"".join(headers).ljust(len(self._headers), b"\0")
        self._forgetLately()


def _addressOf(buffer: bytearray | mmap.mmap) -> int:
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))
