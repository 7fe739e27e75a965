"""Where a stream can be joined."""

from __future__ import annotations

import pytest

from tests.relay.redundancy.support import rtp, run
from txgroupsock.relay.redundancy import (
    RTPFrame,
    TransportStreamRandomAccess,
    TransportStreamUnit,
)
from txgroupsock.relay.redundancy.boundary import Boundary

PLAIN = bytes([0x47, 0x01, 0x00, 0x10]) + bytes(184)
UNIT = bytes([0x47, 0x41, 0x00, 0x10]) + bytes(184)
RANDOM = bytes([0x47, 0x41, 0x00, 0x30, 7, 0x50]) + bytes(182)
NO_FLAGS = bytes([0x47, 0x01, 0x00, 0x30, 0, 0x40]) + bytes(182)  # an adaptation field of no length


def test_aFrameBeginsAfterAMarker() -> None:
    """The packet after a marker bit begins a frame, also in the next run."""
    packets = [rtp(1), rtp(2, marker=True), rtp(3), rtp(4)]
    assert RTPFrame().find(run(*packets), b"") == 2
    assert RTPFrame().find(run(*packets[2:]), packets[1][:16]) == 0
    assert RTPFrame().find(run(*packets[:2]), packets[2][:16]) is None


def test_aFrameBeginsWithATimestamp() -> None:
    """A packet with another timestamp than the one before begins a frame; no RTP does not."""
    assert RTPFrame().find(run(rtp(1), rtp(2, timestamp=3000)), b"") == 1
    assert RTPFrame().find(run(rtp(1, timestamp=3000)), rtp(0)[:16]) == 0
    assert RTPFrame().find(run(bytes(40), rtp(1)), b"") is None


@pytest.mark.parametrize("header", [b"", rtp(1, size=20)[:12]])
@pytest.mark.parametrize(
    ("boundary", "begins"),
    [(TransportStreamUnit(), [UNIT, RANDOM]), (TransportStreamRandomAccess(), [RANDOM])],
)
def test_aTransportStreamIsLookedInto(
    boundary: Boundary, begins: list[bytes], header: bytes
) -> None:
    """A datagram is found by any of its packets, in RTP and without."""
    for packet in (PLAIN, UNIT, RANDOM, NO_FLAGS):
        taken = run(header + PLAIN * 7, header + PLAIN * 5 + packet + PLAIN)
        assert boundary.find(taken, b"") == (1 if packet in begins else None)


def test_whatIsNoTransportStreamHasNoUnits() -> None:
    """Other datagrams, and empty ones, begin nothing."""
    for odd in (b"", b"G", bytes(188), UNIT[:187]):
        assert TransportStreamUnit().find(run(odd), b"") is None
        assert TransportStreamRandomAccess().find(run(odd), b"") is None
