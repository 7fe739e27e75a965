"""Runs and packets, as the tests of health need them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from txgroupsock import Run

SENDER = ("192.0.2.1", 5000)


def runOf(datagrams: Sequence[bytes], arrival: float = 0.0) -> Run:
    """One run; all the datagrams but the last have the size of the first."""
    data = b"".join(datagrams)
    run = Run(memoryview(data), len(datagrams[0]), SENDER, arrival)
    assert list(map(bytes, run)) == list(datagrams)
    return run


def runsOf(datagrams: Iterable[bytes], most: int, arrival: float = 0.0) -> list[Run]:
    """Datagrams as an input gives them: runs of one size, with at most so many."""
    runs: list[list[bytes]] = []
    for each in datagrams:
        last = runs[-1] if runs else []
        if last and len(last) < most and len(each) == len(last[0]):
            last.append(each)
        else:
            runs.append([each])
    return [runOf(each, arrival) for each in runs]


def rtp(
    sequence: int,
    timestamp: int = 0,
    ssrc: int = 0x1234,
    payloadType: int = 33,
    payload: bytes = bytes(20),
    *,
    isMarked: bool = False,
) -> bytes:
    """An RTP packet."""
    second = payloadType | 0x80 * isMarked
    numbers = (sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
    return struct.pack("!BBHII", 0x80, second, *numbers) + payload
