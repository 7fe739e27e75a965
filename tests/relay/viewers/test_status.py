"""What an operator is told about viewers is true, has the shape of the API, and costs little."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.testing import StringTransport

from tests.relay.viewers.support import (
    ON_LOOPBACK,
    Stream,
    request,
    runOf,
    serving,
    soon,
    stream,
    watch,
)
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.turns import PIECE, Work, atOnce
from txgroupsock.relay.viewers import (
    Channel,
    Form,
    Limits,
    StreamModel,
    TCPModel,
    ViewerService,
    ViewersModel,
)
from txgroupsock.relay.viewers.status import ViewersStatus, ViewerStatus
from txgroupsock.relay.viewers.viewer import Viewer, viewerOf

__all__ = ["stream"]

API = (Path(__file__).parents[3] / "docs" / "api.md").read_text("utf-8")
NEWS = StreamModel(InputModel.parse("udp://239.77.0.1:5077?interface=lo"))


@pytest_twisted.ensureDeferred
async def test_shapeIsThatOfThePage(reactor: Any, stream: Stream) -> None:
    """The JSON has the keys, in their order, and the kinds of values of docs/api.md."""
    blocks = re.findall(r"^```json\n(.*?)^```$", API, re.MULTILINE | re.DOTALL)
    (expected,) = [each for each in map(json.loads, blocks) if "watching" in each]
    for each in expected["channels"]:
        del each["rate"]  # which one look cannot tell
    async with serving(reactor, named={"news": NEWS}) as service:
        await (await request(reactor, service, b"/udp/224.0.0.1:5077")).answer(reactor)
        client = await watch(reactor, service)
        stream.send(3)
        await client.bodyOf(reactor, len(stream.sent))
        told = json.loads(json.dumps(service.status().toJSON()))
    assert shapeOf(told) == shapeOf(expected)
    assert told["watching"] == 1
    assert told["refused"] == {"403": 1}
    assert told["limits"] == {"viewers": 500, "viewersPerChannel": 500, "channels": 64}
    (channel,) = told["channels"]
    assert told["streams"] == [{"path": "/news", "name": channel["name"]}]
    assert (channel["datagrams"], channel["bytes"], channel["dropped"]) == (3, 3 * 1316, {})
    assert channel["given"]["bytes"] == channel["viewers"][0]["bytes"] == 3 * 1316
    assert re.fullmatch(r"127\.0\.0\.1:\d+", channel["viewers"][0]["peer"])


def shapeOf(value: Any) -> Any:
    """Keys and types; of a list those of its first item, of counts by reason nothing."""
    if isinstance(value, dict):
        return [(key, shapeOf(value[key])) for key in value if not re.fullmatch(r"\d+", key)]
    if isinstance(value, list):
        return [shapeOf(each) for each in value[:1]]
    return type(value).__name__


@pytest_twisted.ensureDeferred
async def test_streamsWithNames(reactor: Any) -> None:
    """Each path is there with the name of the channel that it is, opened or not."""
    named = {
        "news": NEWS,
        "radio": StreamModel(InputModel.parse("udp://127.0.0.1@232.77.0.1:5078"), Form.RTP),
        "mine": Channel(reactor, "a route of mine"),
    }
    async with serving(reactor, named=named) as service:
        status = service.status().toJSON()
    assert status["streams"] == [
        {"path": "/news", "name": "/udp/239.77.0.1:5077"},
        {"path": "/radio", "name": "/rtp/127.0.0.1@232.77.0.1:5078"},
        {"path": "/mine", "name": "a route of mine"},
    ]
    assert [each["name"] for each in status["channels"]] == ["a route of mine"]


@pytest_twisted.ensureDeferred
async def test_whatNeverReachedAChannelIsTold(reactor: Any, stream: Stream) -> None:
    """What is no RTP, or was lost by the kernel, counts among what the channel dropped."""
    named = {"rtp": evolve(NEWS, form=Form.RTP)}
    tcp = (TCPModel(ON_LOOPBACK, "rtp"),)
    async with serving(reactor, named=named, tcp=tcp) as service:
        client = await watch(reactor, service, b"/rtp")
        opened = next(iter(service._channels._opened.values()))
        port: Any = opened.input.input._port  # type: ignore[union-attr]
        port.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        port.pauseProducing()
        stream.send(500)
        port.resumeProducing()

        def dropped() -> dict[str, int]:
            (channel,) = service.status().toJSON()["channels"]
            assert channel["datagrams"] == 0
            told: dict[str, int] = channel["dropped"]
            return told

        await soon(reactor, lambda: sum(dropped().values()) == 500, "all are counted")
        assert dropped().keys() == {"kernel", "not RTP"}
        assert client.body == b""


def test_manyAreToldOf(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What each of a thousand viewers got adds up to what was given to all; they are looked at a few
    at a time, and who comes or goes meanwhile makes no difference.
    """
    count = 1000
    channel = Channel(reactor, "many", Limits(blockSize=1))
    viewers = [viewerOf(reactor, StringTransport(), channel, 4096) for _ in range(count)]
    for viewer in viewers:
        channel.add(viewer)
        viewer.begin(isHeadWaiting=False)
    channel.runReceived(runOf(0, 1))
    service = ViewerService(reactor, ViewersModel(endpoints=(), named={"many": channel}))
    looked: list[int] = [0]
    lookAt = Viewer.status

    def looking(viewer: Viewer) -> ViewerStatus:
        looked[-1] += 1
        return lookAt(viewer)

    monkeypatch.setattr(Viewer, "status", looking)

    def making() -> Work[ViewersStatus]:
        work = service.makingStatus()
        for _ in range(3):
            next(work)
            looked.append(0)
        channel.remove(viewers[-1])
        channel.add(viewerOf(reactor, StringTransport(), channel, 4096))
        while True:
            try:
                next(work)
            except StopIteration as end:
                status: ViewersStatus = end.value
                return status
            looked.append(0)
            yield

    told = atOnce(making()).toJSON()
    assert max(looked) <= PIECE + 1  # the one who goes is looked at for the last time
    [shown] = told["channels"]
    assert sum(each["bytes"] for each in shown["viewers"]) == count * 1316
    assert told["totals"]["bytes"] == shown["given"]["bytes"] == count * 1316
    channel._cancel()
