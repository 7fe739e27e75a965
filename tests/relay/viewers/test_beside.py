"""What comes to a group beside a transport stream never gets to its viewers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import pytest_twisted

from tests.relay.viewers.support import Stream, serving, soon, watch
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.redundancy.model import MergeModel, RedundantModel
from txgroupsock.relay.viewers import Form, StreamModel

NEWS = InputModel.parse("udp://239.77.0.1:5077?interface=lo")
OTHER = InputModel.parse("udp://239.77.0.2:5078?interface=lo")
MERGED = RedundantModel((NEWS, OTHER), MergeModel())
TS = b"".join(b"\x47\x01\x00" + bytes([0x10 | n]) + bytes(184) for n in range(7))
REPORT = bytes.fromhex("80c80006") + bytes(24)


def inRTP(number: int, payload: bytes = TS, kind: int = 33, ssrc: int = 7) -> bytes:
    """An RTP packet."""
    return struct.pack("!BBHII", 0x80, kind, number, number * 90, ssrc) + payload


def correction(number: int) -> bytes:
    """Forward error correction, under the SSRC of the stream."""
    return inRTP(number // 10 + 30000, bytes(1332), 127)


@pytest.mark.parametrize(
    ("model", "wrap", "reasons"),
    [
        (StreamModel(NEWS), lambda number: TS, {"not TS"}),
        (StreamModel(NEWS, Form.RTP), inRTP, {"RTCP", "other stream", "not RTP"}),
        (StreamModel(MERGED, Form.RTP), inRTP, {"stray", "unnumbered"}),
    ],
    ids=["udp", "rtp", "merged"],
)
@pytest_twisted.ensureDeferred
async def test_aTransportStreamStaysOnItsGrid(
    reactor: Any, model: StreamModel, wrap: Callable[[int], bytes], reasons: set[str]
) -> None:
    """Reports, error correction and stray datagrams are left out, and counted by reason."""
    groups = [("239.77.0.1", 5077), ("239.77.0.2", 5078)]
    senders = [Stream(*group) for group in groups[: 2 if model.input is MERGED else 1]]
    count = 300
    with closing(senders[0]), closing(senders[-1]):
        async with serving(reactor, named={"news": model}) as service:
            client = await watch(reactor, service, b"/news")
            for number in range(count):
                for sender in senders:
                    beside = [REPORT, correction(number), b"stray"] if not number % 10 else []
                    for datagram in (wrap(number), *beside):
                        sender._socket.sendto(datagram, sender._target)
                if not number % 10:
                    await client.bodyOf(reactor, 1316 * (number // 2))

            def told() -> dict[str, int]:
                (channel,) = service.status().toJSON()["channels"]
                found: dict[str, int] = channel["dropped"]
                return found

            body = await client.bodyOf(reactor, 1316 * count)
            assert body == TS * count
            assert reasons <= told().keys()

            def left() -> int:
                # A merge that has heard nothing for a while may follow the other stream for as
                # long; of that it passes on what came on both legs once.
                found = told()
                return sum(found.values()) + (len(senders) - 1) * found.get("other stream", 0)

            # One leg is enough for the body; the other may be read later.
            outside = 3 * (count // 10) * len(senders)
            await soon(reactor, lambda: left() == outside, "all others are counted")
