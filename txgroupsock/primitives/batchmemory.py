"""What datagrams are received into, and what tells C{recvmmsg(2)} so."""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Callable
from functools import cached_property
from typing import Final
from weakref import WeakValueDictionary

LARGEST: Final = 65536
"""Bytes of room that every datagram, and every train of coalesced ones, fits into."""

MOST: Final = 64
"""Most datagrams, or trains, of one batch."""

NAME: Final = 32
"""Bytes of room for the address of a sender: a sockaddr_in6 and a bit."""

CONTROL: Final = 24
"""Bytes of room for ancillary data, CMSG_SPACE(sizeof(int))."""

# struct mmsghdr of 64-bit Linux, in words of eight bytes: msg_name, msg_namelen, msg_iov,
# msg_iovlen, msg_control, msg_controllen, msg_flags, msg_len.
_HEADER: Final = struct.Struct("@8Q")
CONTROLLEN: Final = 5
LENGTH: Final = 7
_IOVECS: Final = struct.Struct("@4Q")  # two struct iovec

_FEWEST: Final = 8
_WORKING_SET: Final = 512 * 1024  # what lies further apart falls out of the processor's cache


class Lendable:
    """
    What receives may be lent to whoever handles it, and that may have something else received.

    @ivar isLent: whether somebody is still busy with what was received last.
    """

    isLent = False


class BatchMemory(Lendable):
    """
    Room for one batch, which all ports of a reactor share, since what they receive is only lent.

    A page of it that nothing was ever written to takes up no memory.  After a fork, parent and
    child have memory of their own.

    @ivar slots: for datagrams side by side.
    @ivar overflow: for what each datagram has beyond its slot.
    @ivar names: for the addresses of senders.
    @ivar controls: for ancillary data.
    @ivar senders: the C{(host, port)} of addresses as the kernel has them; at most 1,024.
    """

    def __init__(self) -> None:
        # Not bytearrays, which are written to when they are made.
        self.slots = _privateMemory(_WORKING_SET + LARGEST)
        self.overflow = _privateMemory(MOST * LARGEST)
        self.names = bytearray(MOST * NAME)
        self.controls = bytearray(MOST * CONTROL)
        self.senders: dict[bytes, tuple[str, int]] = {}
        self._layouts: WeakValueDictionary[tuple[int, int], Layout] = WeakValueDictionary()
        self._latest: Layout | None = None
        self._other: BatchMemory | None = None

    def free(self) -> BatchMemory:
        """
        This, or another if this is lent: whoever handles what lies here has had the reactor turn.

        There are never more of them than such turns inside one another.
        """
        memory = self
        while memory.isLent:
            if memory._other is None:
                memory._other = BatchMemory()
            memory = memory._other
        return memory

    @cached_property
    def recvmmsg(self) -> Callable[..., int]:
        """The system call; not every system has it."""
        function = ctypes.CDLL(None, use_errno=True).recvmmsg
        function.argtypes = [
            *(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int),
            ctypes.c_void_p,
        ]
        return function

    def layout(self, size: int, nameSize: int) -> Layout:
        """What has the kernel fill slots of one size; shared by all who use that size."""
        found = self._layouts.get((size, nameSize))
        if found is None:
            found = self._layouts[size, nameSize] = Layout(self, size, nameSize)
        self._latest = found
        return found


class Layout:
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
        self.count = max(_FEWEST, min(MOST, _WORKING_SET // size))
        self._iovecs = bytearray(self.count * _IOVECS.size)
        slots, overflow = map(_addressOf, (memory.slots, memory.overflow))
        names, controls = map(_addressOf, (memory.names, memory.controls))
        iovecs = _addressOf(self._iovecs)
        headers = []
        for index in range(self.count):
            at = index * _IOVECS.size
            more = overflow + index * LARGEST
            _IOVECS.pack_into(self._iovecs, at, slots + index * size, size, more, LARGEST - size)
            name = (names + index * NAME, nameSize)
            control = (controls + index * CONTROL, CONTROL)
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


def _privateMemory(size: int) -> mmap.mmap:
    """Zeros that take up no memory before they are written to, and that no child shares."""
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _addressOf(buffer: bytearray | mmap.mmap) -> int:
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))
