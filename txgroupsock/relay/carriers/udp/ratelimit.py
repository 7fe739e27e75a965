"""A limit to what an output sends: a token bucket."""

from __future__ import annotations

from typing import Final

from txgroupsock.primitives.run import Run

BURST: Final = 0.1
"""Seconds of the allowed rate that may be sent at once after a pause."""

_LARGEST: Final = 65535  # a datagram of any size gets through a bucket that is full


class RateLimit:
    """
    Lets through as much of each run as a rate allows; time is that of the runs themselves.

    The bucket holds what is allowed in L{BURST}, and fills at the rate.  A datagram passes if
    the bucket holds as many bytes as it has; so what is sent over any time t is at most
    rate times t and one bucket.
    """

    def __init__(self, rate: float) -> None:
        """@param rate: bits of payload per second."""
        self._bytesPerSecond = rate / 8
        self._most = max(self._bytesPerSecond * BURST, _LARGEST)
        self._tokens = self._most
        self._at: float | None = None

    def allowed(self, run: Run) -> int:
        """How many datagrams of a run may be sent, from its beginning; they are counted as sent."""
        now = run.arrival
        if self._at is not None and now > self._at:
            self._tokens = min(self._most, self._tokens + (now - self._at) * self._bytesPerSecond)
        self._at = now
        length, size = len(run.data), run.segmentSize
        if length <= self._tokens:
            self._tokens -= length
            return len(run)
        count = int(self._tokens // size)
        self._tokens -= count * size
        return count
