"""What is played again: files of datagrams, or of what is cut into datagrams, with their times."""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Final, Protocol

from attrs import define, field

from txgroupsock.relay.recording.reader import Capture, CaptureError, readDatagrams

_RTP: Final = struct.Struct("!BBHII")  # RFC 3550 section 5.1
_MP2T: Final = 33  # RFC 3551 section 6
_CLOCK: Final = 90_000  # Hz, RFC 2250 section 2

Timed = tuple[float, bytes]
"""Seconds from the beginning, never less than in the one before, and a payload."""


class SourceError(Exception):
    """A file cannot be played; the text says which, why, and what to do about it."""


class Recording(Protocol):
    """
    Datagrams of a file; to iterate is to read it from its beginning, a piece at a time.

    @ivar path: of the file.
    @ivar length: seconds that it takes until it could begin anew, known once it has been read.
    @ivar progress: how much has been read, 0 to 1.
    """

    @property
    def path(self) -> str:
        """See above."""

    @property
    def length(self) -> float:
        """See above."""

    @property
    def progress(self) -> float | None:
        """See above."""

    def __iter__(self) -> Iterator[Timed]:
        """
        Each datagram.

        @raise SourceError: the file cannot be read, or is not what it has to be.
        """


def looped(recording: Recording) -> Iterator[Timed]:
    """A recording again and again, with times that go on."""
    offset = 0.0
    while True:
        for seconds, payload in recording:
            yield offset + seconds, payload
        if recording.length <= 0:
            raise SourceError(
                "it takes no time, so it cannot be played in a loop: leave out --loop"
            )
        offset += recording.length


def limited(
    datagrams: Iterator[Timed], count: int | None, seconds: float | None
) -> Iterator[Timed]:
    """
    No more than so many datagrams, or what is due within so many seconds.

    @param count: L{None} for any number.
    @param seconds: L{None} for all.
    """
    for number, each in enumerate(datagrams):
        if (count is not None and number >= count) or (seconds is not None and each[0] >= seconds):
            return
        yield each


def inRTP(datagrams: Iterator[Timed], ssrc: int, sequence: int, start: int) -> Iterator[Timed]:
    """
    Packets of a transport stream as RTP (RFC 2250 section 2): payload type 33, and a timestamp of
    90 kHz that is the time that the datagram is due.

    @param ssrc: 32 bits.
    @param sequence: the first sequence number, 16 bits.
    @param start: the first timestamp, 32 bits.
    """
    for seconds, payload in datagrams:
        timestamp = (start + round(seconds * _CLOCK)) & 0xFFFFFFFF
        yield seconds, _RTP.pack(0x80, _MP2T, sequence, timestamp, ssrc) + payload
        sequence = (sequence + 1) & 0xFFFF


@define(eq=False)
class ConstantRate:
    """
    A file of anything, cut into datagrams and played at a bit rate.

    @ivar rate: bits a second.
    @ivar size: bytes of a datagram; the last may be shorter.
    """

    path: str
    rate: float
    size: int = 1316
    length: float = 0.0
    _read: int = 0
    _whole: int = 0

    @property
    def progress(self) -> float | None:
        """See L{Recording}."""
        return self._read / self._whole if self._whole else None

    def __iter__(self) -> Iterator[Timed]:
        """See L{Recording}."""
        at = 0
        try:
            with open(self.path, "rb") as file:
                self._whole = os.fstat(file.fileno()).st_size
                while payload := file.read(self.size):
                    yield at * 8 / self.rate, payload
                    at += len(payload)
                    self._read = at
        except OSError as error:
            raise unreadable(self.path, error) from error
        if not at:
            raise SourceError(f"{self.path} is empty")
        self.length = at * 8 / self.rate


@define(eq=False)
class Replay:
    """
    The datagrams of captures that went to one address, with their times.

    @ivar paths: of files that follow each other.
    @ivar flow: C{(host, port)} that they went to; L{None} until it is known, if it shall be that of
        the first.
    @ivar longestGap: seconds; longer ones are played as such; L{None} for all as they are.
    @ivar others: datagrams that went elsewhere, in the last reading.
    """

    paths: tuple[str, ...]
    flow: tuple[str, int] | None = None
    longestGap: float | None = None
    length: float = 0.0
    others: int = 0
    _captures: list[Capture] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._captures = [readDatagrams(each) for each in self.paths]

    @property
    def path(self) -> str:
        """See L{Recording}."""
        return ", ".join(self.paths)

    @property
    def progress(self) -> float | None:
        """See L{Recording}: captures do not tell."""
        return None

    @property
    def tear(self) -> str | None:
        """Where files are torn; see L{Capture}."""
        return "; ".join(each.tear for each in self._captures if each.tear) or None

    def __iter__(self) -> Iterator[Timed]:
        """See L{Recording}."""
        at, before, count = 0, None, 0
        longest = None if self.longestGap is None else int(self.longestGap * 1e9)
        self.others = 0
        try:
            for each in chain.from_iterable(self._captures):
                if self.flow is None:
                    self.flow = each.destination
                if each.destination != self.flow:
                    self.others += 1
                    continue
                if before is not None:
                    gap = max(0, each.time - before)  # clocks are set back
                    at += gap if longest is None else min(gap, longest)
                before = each.time
                count += 1
                yield at / 1e9, each.payload
        except CaptureError as error:
            raise SourceError(str(error)) from error
        if not count:
            raise SourceError(self._nothing())
        # As if the first followed the last as the others do each other.
        self.length = at / 1e9 * count / (count - 1) if count > 1 else 0.0

    def _nothing(self) -> str:
        if self.others and self.flow is not None:
            host, port = self.flow
            return f"{self.path} has no datagram to {host} port {port}, but {self.others:,} others"
        why = f": {self.tear}" if self.tear else ""
        counts = sum((each.skipped for each in self._captures), Counter[str]())
        skipped = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        return f"{self.path} has no UDP datagram{why}" + (f" ({skipped})" if skipped else "")


def unreadable(path: str, error: OSError) -> SourceError:
    """What to say of a file that the system does not give."""
    return SourceError(f"{path} cannot be read: {error.strerror or error}")
