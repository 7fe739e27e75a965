"""
MPEG transport stream files, played at their own rate.

A transport stream has the time at which its bytes are due in its program clock references: samples
of a clock of 27 MHz (ISO/IEC 13818-1 2.4.2.1, 2.4.3.5).  Between two of them its rate is constant.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BufferedIOBase
from typing import Final

from attrs import define, field

from txgroupsock.tools.pcr import Clock, clocksIn
from txgroupsock.tools.recording import SourceError, Timed, unreadable

PACKET: Final = 188
DATAGRAM: Final = 7 * PACKET
"""Bytes of seven packets, which is as many as fit into an Ethernet frame."""

_PIECE: Final = 64 * DATAGRAM
_SYNC: Final = 0x47
_SYNCS: Final = 5  # so many sync bytes where they should be are no accident
_FAR: Final = 64 * 1024  # bytes in which there must be some
_MOST: Final = 16 * 1024 * 1024  # bytes without a PCR

_REMEDY: Final = "give --rate, such as 5M, to send it at a constant bit rate"


@define(eq=False)
class TSFile:
    """
    A transport stream, cut into datagrams of seven packets.

    The PCRs of one PID count, the first that has any; if that has no more, those of another.
    Across a discontinuity, told or not, the rate goes on as it was before.

    @ivar rate: bits a second between the last two PCRs; 0 until that is known.
    @ivar skipped: bytes that were not sent, because they are in no packet.
    @ivar discontinuities: PCRs that do not follow the one before, in the last reading.
    """

    path: str
    rate: float = 0.0
    length: float = 0.0
    skipped: int = 0
    discontinuities: int = 0
    _read: int = 0
    _whole: int = 0
    _cut: _Cut = field(init=False)

    @property
    def progress(self) -> float | None:
        """See L{Recording <txgroupsock.tools.recording.Recording>}."""
        return self._read / self._whole if self._whole else None

    def __iter__(self) -> Iterator[Timed]:
        """See L{Recording <txgroupsock.tools.recording.Recording>}."""
        self._cut = _Cut()
        self._read = self.skipped = 0
        clock = Clock()
        waiting: list[bytes] = []  # since the last PCR that counts
        size = lead = 0  # bytes of those, and of what is before the first that has a rate
        try:
            with open(self.path, "rb") as file:
                self._whole = os.fstat(file.fileno()).st_size
                for piece in self._pieces(file):
                    start = 0
                    for at, pid, value, isNew in clocksIn(piece):
                        ticks = clock.take(pid, value, isNew=isNew)
                        if ticks is None:
                            continue
                        waiting.append(piece[start:at])
                        size += at - start
                        start = at
                        if ticks <= 0:
                            if not self.rate:
                                lead = size
                                continue
                        elif size > lead:
                            self.rate = (size - lead) * 8 * 27e6 / ticks
                        yield from self._cut.take(waiting, self.rate)
                        waiting, size, lead = [], 0, 0
                    waiting.append(piece[start:])
                    size += len(piece) - start
                    if size > _MOST:
                        self._checkRate()
                        yield from self._cut.take(waiting, self.rate)
                        waiting, size, lead = [], 0, 0
        except OSError as error:
            raise unreadable(self.path, error) from error
        self._checkRate()
        yield from self._cut.take(waiting, self.rate)
        yield from self._cut.rest()
        self.length = self._cut.seconds
        self.discontinuities = clock.discontinuities

    def _checkRate(self) -> None:
        if not self.rate:
            raise SourceError(
                f"{self.path} has no clock (two PCRs that follow each other), so its rate is "
                f"unknown: {_REMEDY}"
            )

    def _pieces(self, file: BufferedIOBase) -> Iterator[bytes]:
        """Whole packets, many at a time."""
        rest = b""
        isFirst = True
        while data := file.read(_PIECE):
            self._read += len(data)
            data = rest + data
            if isFirst:
                isFirst = False
                data = data[self._beginning(data) :]
            while True:
                whole = len(data) // PACKET * PACKET
                good = _goodUntil(data, whole)
                if good:
                    yield data[:good]
                rest = data[good:]
                if good == whole:
                    break
                at = _findSync(rest)
                self.skipped += len(rest) if at is None else at
                data = rest = b"" if at is None else rest[at:]
                if at is None or len(rest) < PACKET:
                    break
        if isFirst:
            raise SourceError(f"{self.path} is empty")
        self.skipped += len(rest)

    def _beginning(self, data: bytes) -> int:
        at = _findSync(data[:_FAR])
        if at is not None:
            self.skipped += at
            return at
        for step, name in ((192, "a time before each (M2TS)"), (204, "Reed-Solomon codes")):
            if _findSync(data[:_FAR], step) is not None:
                raise SourceError(
                    f"{self.path} has packets of {step} bytes, with {name}, not 188; "
                    f"'ffmpeg -i {self.path} -map 0 -c copy -f mpegts FILE' makes it plain"
                )
        raise SourceError(f"{self.path} is no MPEG transport stream: {_REMEDY}")


class _Cut:
    """
    Cuts bytes, with the rate at which they are due, into datagrams.

    @ivar seconds: when what comes next is due.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._carried = b""
        self._carriedAt = 0.0

    def take(self, parts: list[bytes], rate: float) -> Iterator[Timed]:
        """
        Go on with these bytes.

        @param rate: bits a second, more than 0.
        """
        data = b"".join(parts)
        if not data:
            return
        perByte = 8 / rate
        at = 0
        if self._carried:
            at = DATAGRAM - len(self._carried)
            self._carried += data[:at]
            if len(self._carried) == DATAGRAM:
                yield self._carriedAt, self._carried
                self._carried = b""
        while at + DATAGRAM <= len(data):
            yield self.seconds + at * perByte, data[at : at + DATAGRAM]
            at += DATAGRAM
        if at < len(data):
            self._carriedAt = self.seconds + at * perByte
            self._carried = data[at:]
        self.seconds += len(data) * perByte

    def rest(self) -> Iterator[Timed]:
        """What is left, as a shorter datagram."""
        if self._carried:
            yield self._carriedAt, self._carried
            self._carried = b""


def _goodUntil(data: bytes, whole: int) -> int:
    """How many bytes are packets that begin with a sync byte; C{whole} is a multiple of 188."""
    syncs = data[:whole:PACKET]
    if syncs.count(_SYNC) == len(syncs):
        return whole
    return next(at for at, each in enumerate(syncs) if each != _SYNC) * PACKET


def _findSync(data: bytes, step: int = PACKET) -> int | None:
    """Where sync bytes begin to be where they should be; near the end, as many as there can be."""
    at = data.find(_SYNC)
    while at >= 0:
        syncs = data[at : at + _SYNCS * step : step]
        if syncs.count(_SYNC) == len(syncs) and len(data) - at >= min(2 * step, len(data)):
            return at
        at = data.find(_SYNC, at + 1)
    return None
