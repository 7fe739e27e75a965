"""
Receiving many datagrams with one system call, and trains that the kernel has coalesced.

C{recvmmsg(2)} through L{ctypes}, on 64-bit Linux.  Where C{recvfrom} takes 1.8 µs of CPU for a
datagram of 1,316 bytes, this takes 1.0, and 0.15 if they arrive coalesced (UDP_GRO, Linux 5.0).
C{benchmarks/ports.py} measures both.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import termios
from array import array
from typing import Final, TypeAlias

from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.batchmemory import (
    CONTROL,
    CONTROLLEN,
    LARGEST,
    LENGTH,
    MOST,
    NAME,
    BatchMemory,
    Lendable,
)
from txgroupsock.primitives.constants import LINUX, UDP_GRO
from txgroupsock.primitives.sockaddr import fromSocketAddress

Piece: TypeAlias = tuple[memoryview, int, tuple[str, int]]
"""
Datagrams of one sender, all of one size but the last: their payloads in a row, that size, and
the sender's C{(host, port)}.  The memory is lent: it is good until the next call.
"""

_WINDOW: Final = 8
_SEGMENT: Final = struct.Struct("@i")
_CMSG_DATA: Final = 16
_DONTWAIT: Final = int(getattr(socket, "MSG_DONTWAIT", 0))


def canBatch() -> bool:
    """Whether this system has C{recvmmsg}, with structures of the layout known here."""
    return LINUX and ctypes.sizeof(ctypes.c_void_p) == 8


@checked
def coalesceArrivals(sock: socket.socket, *, wanted: bool = True) -> bool:
    """
    Have the kernel hand over trains of datagrams as one (UDP_GRO); whether it will.

    @param wanted: L{False} has it make no more of them, for whoever has this socket too; those
        that wait stay what they are.
    """
    if UDP_GRO is None:
        return False
    try:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, wanted)
    except OSError:  # Linux before 5.0
        return False
    return True


def dataWaits(sock: socket.socket, room: array[int]) -> bool:
    """
    Whether a datagram waits that is not empty (FIONREAD, udp(7)), or reading will tell.

    @param room: for an int; to make it each time would take as long as to ask.

    This takes 0.7 µs where trying to receive takes 2.2.
    """
    try:
        fcntl.ioctl(sock.fileno(), termios.FIONREAD, room)
    except (OSError, ValueError):
        return True
    return room[0] > 0


class Single:
    """
    Receives one datagram at a time, from any socket on any system.

    @ivar mayHaveMore: whether it is worth calling L{receive} again at once.
    @ivar memory: never looked at: each datagram has memory of its own.
    """

    mayHaveMore = True

    def __init__(self) -> None:
        self.memory = Lendable()

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

    def hasMore(self, sock: socket.socket) -> bool:
        """Whether something may wait; reading will tell."""
        return True


class Batch:
    """
    Receives datagrams of one socket, many at a time.

    Each has a slot, and the slots lie side by side.  Datagrams of just the size of a slot are
    a run as they lie there: nothing is copied, and none is looked at by itself.  So the slots
    take the size that arrives.  What is larger than a slot ends in an overflow of its own.

    @ivar mayHaveMore: whether it is worth calling L{receive} again at once.
    @ivar memory: what was received into last.  Whoever lets others run while he is busy with
        that sets its C{isLent}, and then clears it.
    """

    def __init__(self, family: int, memory: BatchMemory | None = None) -> None:
        """
        @param family: of the socket, C{AF_INET} or C{AF_INET6}.
        @param memory: what is received into, or another like it while it is lent; of its own if
            left out.
        """
        self._usual = memory or BatchMemory()
        self.mayHaveMore = False
        self._isIPv6 = family == socket.AF_INET6
        self._nameSize = 28 if self._isIPv6 else 16
        self._recvmmsg = self._usual.recvmmsg
        self._senders = self._usual.senders
        self._waiting = array("i", [0])
        self._largestLately = self._batchesLately = 0
        self._isMixed = False
        self._receiveInto(self._usual, 2048)

    def receive(self, sock: socket.socket, most: int = MOST) -> list[Piece]:
        """
        What has arrived, in order; never waits.

        @param most: datagrams, or coalesced trains of them, to receive.
        @raise OSError: as C{recvfrom} raises it, BlockingIOError if nothing has arrived.
        """
        usual = self._usual
        if usual.isLent or self.memory is not usual:
            self._receiveInto(usual.free(), self._layout.size)
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
            if words[LENGTH] == size and not words[CONTROLLEN]:
                return [(self._slots[:size], size, self._sender(0))]
            lengths, isCoalesced = [words[LENGTH]], words[CONTROLLEN] > 0
        else:
            lengths = words[LENGTH : 8 * count : 8].tolist()
            isCoalesced = any(words[CONTROLLEN : 8 * count : 8].tolist())
            if not isCoalesced and lengths.count(size) == count:
                names = self._names
                if names[: NAME * count] == names[:NAME] * count:
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
        usual = self._usual
        if usual.isLent or self.memory is not usual:
            self._receiveInto(usual.free(), self._layout.size)
        length, ancillary, _, sender = sock.recvmsg_into(self._one, CONTROL, _DONTWAIT)
        size = length
        for level, kind, data in ancillary:
            if level == socket.IPPROTO_UDP and kind == UDP_GRO:
                size = _SEGMENT.unpack(data)[0]
        if self._isIPv6:
            sender = fromSocketAddress(sender)
        return self._whole[:length], size, sender

    def hasMore(self, sock: socket.socket) -> bool:
        """Whether a datagram waits that is not empty."""
        return dataWaits(sock, self._waiting)

    def _pieces(self, lengths: list[int]) -> list[Piece]:
        """Each datagram or train, with neighbours in full slots put together."""
        layout, slots = self._layout, self._slots
        size, controls = layout.size, layout.words[CONTROLLEN::8]
        pieces: list[Piece] = []
        last = len(lengths)
        first = 0
        while first < last:
            length = lengths[first]
            sender = self._sender(first)
            start = first * size
            after = first + 1
            if controls[first]:
                at = first * CONTROL + _CMSG_DATA
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
        start = index * NAME
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
        return names[one * NAME : one * NAME + NAME] == names[other * NAME : other * NAME + NAME]

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
        self._layout = self.memory.layout(size, self._nameSize)
        self._forgetLately()

    def _receiveInto(self, memory: BatchMemory, size: int) -> None:
        """Use a memory from now on, with slots of one size."""
        self.memory = memory
        self._slots = memoryview(memory.slots)
        self._whole = self._slots[:LARGEST]
        self._one = [self._whole]
        self._overflow = memoryview(memory.overflow)
        self._names = memory.names
        self._controls = memory.controls
        self._layout = memory.layout(size, self._nameSize)
