"""Sequence numbers of any width, at any place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.relay.redundancy.support import partsOf, rtp, run
from txgroupsock.relay.redundancy import RTP, SequenceField


@given(data=st.data())
def test_partsAreWhatCountsUp(data: Any) -> None:
    """The parts of a run are its longest stretches of numbers that count up, over any wrap."""
    width = data.draw(st.integers(1, 8))
    offset = data.draw(st.integers(0, 4))
    order = data.draw(st.sampled_from(["big", "little"]))
    modulus = 1 << 8 * width
    near = st.sampled_from([0, 200, 65000, 65530, modulus - 3, modulus // 2]).map(modulus.__rmod__)
    numbers: list[int] = []
    for first, count in data.draw(st.lists(st.tuples(near, st.integers(1, 70)), min_size=1)):
        numbers += [(first + each) % modulus for each in range(count)]
    sequencing = SequenceField(offset, width, order)
    taken = run(*(bytes(offset) + each.to_bytes(width, order) + b"x" for each in numbers))
    expected: list[list[int]] = []
    for each in numbers:
        if expected and (expected[-1][-1] + 1) % modulus == each:
            expected[-1].append(each)
        else:
            expected.append([each])
    assert partsOf(sequencing, taken) == [(0, each[0], len(each)) for each in expected]


def test_aLastDatagramMayBeShorter() -> None:
    """A shorter last datagram counts if it has the number, and is left out if it has none."""
    sequencing = SequenceField(0, 2)
    assert partsOf(sequencing, run(b"\0\1xx", b"\0\2xx", b"\0\3")) == [(0, 1, 3)]
    assert partsOf(sequencing, run(b"\0\1xx", b"\0\2xx", b"\0")) == [(0, 1, 2)]
    assert partsOf(sequencing, run(b"\0")) == []
    assert partsOf(sequencing, run(b"")) == []


@pytest.mark.parametrize("width", range(1, 9))
def test_aNumberIsMoreThanItsLastBytes(width: int) -> None:
    """Numbers that count up in some of their bytes only are not consecutive."""
    first = (1 << 8 * width) - 250
    for changed in range(width - 1):
        wrong = bytearray((first + 1).to_bytes(width, "big"))
        wrong[changed] ^= 1
        taken = run(first.to_bytes(width, "big"), bytes(wrong))
        assert len(SequenceField(0, width).parts(taken)) == 2


def test_rtpHasAStreamForEachSSRC() -> None:
    """A run of RTP packets is parted where the SSRC changes, and where there is no RTP."""
    packets = [rtp(1), rtp(2), rtp(3, ssrc=8), rtp(4, ssrc=8), bytes(40), rtp(5), rtp(7)]
    assert partsOf(RTP(), run(*packets)) == [(7, 1, 2), (8, 3, 2), (7, 5, 1), (7, 7, 1)]
    assert partsOf(RTP(), run(*packets[:2])) == [(7, 1, 2)]
    assert partsOf(RTP(), run(*packets[:2], rtp(3)[:11])) == [(7, 1, 2)]
    assert partsOf(RTP(), run(rtp(65535), rtp(65536))) == [(7, 65535, 2)]
    assert partsOf(RTP(), run(bytes(40), bytes(40))) == []
    assert partsOf(RTP(), run(b"x")) == []


def test_aMarkedPacketIsNoOtherStream() -> None:
    """Marker bits and contributing sources part nothing."""
    header = bytearray(rtp(2))
    header[0] = 0x81
    assert partsOf(RTP(), run(rtp(1), bytes(header), rtp(3, marker=True))) == [(7, 1, 3)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((-1, 4), "the offset of a sequence number is -1; it is 0 or more"),
        ((0, 9), "a sequence number has 1 to 8 bytes, not 9"),
        ((0, 4, "middle"), "the byte order is 'middle'; it is 'big' or 'little'"),
    ],
)
def test_whatCannotBeIsSaid(arguments: Any, said: str) -> None:
    """A field that there cannot be is a ValueError that says what it may be."""
    with pytest.raises(ValueError, match=said):
        SequenceField(*arguments)
