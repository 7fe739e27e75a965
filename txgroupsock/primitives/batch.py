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
from collections.abc import Callable
from functools import cached_property
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

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
_DONTWAIT: Final = int(getattr(socket, "MSG_DONTWAIT", 0))


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
        return [self.receiveOne(sock)]

    def receiveOne(self, sock: socket.socket) -> Piece:
        """One datagram; see L{receive}."""
        data, sender = sock.recvfrom(LARGEST)
        return memoryview(data), len(data), fromSocketAddress(sender)


class BatchMemory:
    """
    Room for one batch, which all ports of a reactor share, since what they receive is only lent.

    A page of it that nothing was ever written to takes up no memory.

    @ivar slots: for datagrams side by side.
    @ivar overflow: for what each datagram has beyond its slot.
    @ivar names: for the addresses of senders.
    @ivar controls: for ancillary data.
    @ivar senders: the C{(host, port)} of addresses as the kernel has them; at most 1,024.
    """

    def __init__(self) -> None:
        # Not bytearrays, which are written to when they are made.
        self.slots = mmap.mmap(-1, _WORKING_SET + LARGEST)
        self.overflow = mmap.mmap(-1, _MOST * LARGEST)
        self.names = bytearray(_MOST * _NAME)
        self.controls = bytearray(_MOST * _CONTROL)
        self.senders: dict[bytes, tuple[str, int]] = {}
        self._layouts: WeakValueDictionary[tuple[int, int], _Layout] = WeakValueDictionary()

    @cached_property
    def recvmmsg(self) -> Callable[..., int]:
        """The system call; not every system has it."""
        function = ctypes.CDLL(None, use_errno=True).recvmmsg
        function.argtypes = [
            *(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int),
            ctypes.c_void_p,
        ]
        return function

    def layout(self, size: int, nameSize: int) -> _Layout:
        """What has the kernel fill slots of one size; shared by all who use that size."""
        found = self._layouts.get((size, nameSize))
        if found is None:
            found = self._layouts[size, nameSize] = _Layout(self, size, nameSize)
        return found


class _Layout:
    """
    The argument of C{recvmmsg} for slots of one size.

    @ivar size: bytes of a slot.
    @ivar count: how many slots there are.
    @ivar at: address of the C{struct mmsghdr}s.
    @ivar words: these, in words of eight bytes.
    @ivar dirty: how many of them the kernel has written to.
    """

    def __init__(self, memory: BatchMemory, size: int, nameSize: int) -> None:
        self.size = size
        self.count = max(_FEWEST, min(_MOST, _WORKING_SET // size))
        self._iovecs = bytearray(self.count * _IOVECS.size)
        slots, overflow = map(_addressOf, (memory.slots, memory.overflow))
        names, controls = map(_addressOf, (memory.names, memory.controls))
        iovecs = _addressOf(self._iovecs)
        headers = []
        for index in range(self.count):
            at = index * _IOVECS.size
            more = overflow + index * LARGEST
            _IOVECS.pack_into(self._iovecs, at, slots + index * size, size, more, LARGEST - size)
            name = (names + index * _NAME, nameSize)
            control = (controls + index * _CONTROL, _CONTROL)
            headers.append(_HEADER.pack(*name, iovecs + at, 2, *control, 0, 0))
        self._clean = memoryview(b"".join(headers))
        written = bytearray(self._clean)
        self._headers = memoryview(written)
        self.words = self._headers.cast("Q")
        self.at = _addressOf(written)
        self.dirty = 0

    def reset(self) -> None:
        """Undo what the kernel has written; 4 KB if all of it, 64 bytes after one datagram."""
        end = self.dirty * _HEADER.size
        self._headers[:end] = self._clean[:end]
        self.dirty = 0


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
        self._whole = self._slots[:LARGEST]
        self._one = [self._whole]
        self._overflow = memoryview(self._memory.overflow)
        self._names = self._memory.names
        self._controls = self._memory.controls
        self._recvmmsg = self._memory.recvmmsg
        self._senders = self._memory.senders
        self._largestLately = self._batchesLately = 0
        self._isMixed = False
        self._shape(2048)

    def receive(self, sock: socket.socket, most: int = _MOST) -> list[Piece]:
        """
        What has arrived, in order; never waits.

        @param most: datagrams, or coalesced trains of them, to receive.
        @raise OSError: as C{recvfrom} raises it, BlockingIOError if nothing has arrived.
        """
        layout = self._layout
        layout.reset()
        most = min(most, layout.count)
        count = self._recvmmsg(sock.fileno(), layout.at, most, _DONTWAIT, None)
        if count < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        layout.dirty = count
        self.mayHaveMore = count == most
        words, size = layout.words, layout.size
        if count == 1:
            if words[_LENGTH] == size and not words[_CONTROLLEN]:
                return [(self._slots[:size], size, self._sender(0))]
            lengths, isCoalesced = [words[_LENGTH]], words[_CONTROLLEN] > 0
        else:
            lengths = words[_LENGTH : 8 * count : 8].tolist()
            isCoalesced = any(words[_CONTROLLEN : 8 * count : 8].tolist())
            if not isCoalesced and lengths.count(size) == count:
                names = self._names
                if names[: _NAME * count] == names[:_NAME] * count:
                    return [(self._slots[: count * size], size, self._sender(0))]
        pieces = self._pieces(lengths)
        self._adapt(lengths, isCoalesced=isCoalesced)
        return pieces

    def receiveOne(self, sock: socket.socket) -> Piece:
        """
        One datagram, or one coalesced train, that has arrived; see L{receive}.

        For one that comes to an idle processor this takes 6 µs less than a batch does, of 65 from
        one wake-up to the next; for many in a row it takes twice as long.
        """
        length, ancillary, _, sender = sock.recvmsg_into(self._one, _CONTROL, _DONTWAIT)
        size = length
        for level, kind, data in ancillary:
            if level == socket.IPPROTO_UDP and kind == UDP_GRO:
                size = _SEGMENT.unpack(data)[0]
        if self._isIPv6:
            sender = fromSocketAddress(sender)
        return self._whole[:length], size, sender

    def _pieces(self, lengths: list[int]) -> list[Piece]:
        """Each datagram or train, with neighbours in full slots put together."""
        layout, slots = self._layout, self._slots
        size, controls = layout.size, layout.words[_CONTROLLEN::8]
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
                pieces.append((self._joined(first, length), segment, sender))
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
                pieces.append((self._joined(first, length), length, sender))
            first = after
        return pieces

    def _joined(self, index: int, length: int) -> memoryview:
        """The payload in one slot, and in its overflow if that was not enough."""
        size = self._layout.size
        start = index * size
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
        size = self._layout.size
        if largest > size:
            self._shape(largest)
            return
        if self._batchesLately and largest != self._largestLately:
            self._isMixed = True
        self._isMixed = self._isMixed or lengths.count(largest) != len(lengths)
        self._largestLately = max(largest, self._largestLately)
        self._batchesLately += 1
        if self._batchesLately < _WINDOW:
            return
        if not self._isMixed or self._largestLately <= size // 2:
            self._shape(self._largestLately or size)
        else:
            self._forgetLately()

    def _forgetLately(self) -> None:
        self._largestLately = self._batchesLately = 0
        self._isMixed = False

    def _shape(self, size: int) -> None:
        """Lay out slots of one size."""
        self._layout = self._memory.layout(size, self._nameSize)
        self._forgetLately()


def _addressOf(buffer: bytearray | mmap.mmap) -> int:
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))
