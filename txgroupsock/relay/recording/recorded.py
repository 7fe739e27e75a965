"""What a capture file holds, and what can be wrong with one."""

from __future__ import annotations

from attrs import frozen

Address = tuple[str, int]
"""C{(host, port)}."""


class CaptureError(Exception):
    """A file cannot be read as a capture; the text says which, why, and what to do about it."""


@frozen
class Recorded:
    """
    One datagram of a capture.

    @ivar time: when it was captured, in nanoseconds since 1970, UTC.
    @ivar payload: of UDP, whole.
    """

    time: int
    source: Address
    destination: Address
    payload: bytes
