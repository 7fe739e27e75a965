"""How many datagrams one call may send, and what was learned of paths that cannot cut them up."""

from __future__ import annotations

import errno
from typing import Final

from txgroupsock.primitives.constants import UDP_SEGMENT

# udp(7), UDP_SEGMENT: at most 64 segments, and no more bytes than one datagram may have.
_MOST_SEGMENTS: Final = 64
_MOST_BYTES: Final = 65507
# Datagrams after which it is tried again: a path's MTU or an interface may have changed.
_RETRY: Final = 4096

CANNOT_SEGMENT: Final = frozenset(
    {errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.ENOPROTOOPT, errno.EOPNOTSUPP}
)
"""What a kernel, a device or a path answers that cannot segment; so it is done here instead."""


class Segmentation:
    """
    Whether datagrams of a size can go to one destination many in a call (UDP_SEGMENT, udp(7)).

    They can until that is refused: then datagrams of that size and above go one by one, and
    after a while it is tried again.
    """

    def __init__(self) -> None:
        self._largest = _MOST_BYTES if UDP_SEGMENT is not None else 0
        self._untilRetry: float = 0 if UDP_SEGMENT is not None else float("inf")

    def bytesPerCall(self, size: int) -> int:
        """How much one call may carry of datagrams of so many bytes; C{size} is one by one."""
        if size > self._largest:
            if self._untilRetry > 0:
                return size
            self._largest = _MOST_BYTES
        return min(_MOST_SEGMENTS, _MOST_BYTES // size) * size if size else 0

    def sentAlone(self) -> None:
        """One datagram was sent by itself."""
        self._untilRetry -= 1

    def refused(self, size: int) -> None:
        """A call with datagrams of so many bytes was refused."""
        self._largest = size - 1
        self._untilRetry = _RETRY
