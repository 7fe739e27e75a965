"""What datagrams pass between an input and its outputs, also as docs/relay.md shows it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from zope.interface.verify import verifyObject

from tests.relay.support import Collector, Listener, freePort, loggedLines, send
from txgroupsock import Route, Run, Stage
from txgroupsock.relay.carriers.udp.input import UDPInput
from txgroupsock.relay.engine.inputs import SharedInputs
from txgroupsock.relay.interfaces import IRelayOutput, IRelayStage
from txgroupsock.relay.models.udp import InputModel

PAGE = Path(__file__).parent.parent.parent / "docs" / "relay.md"
RTP = bytes([0x80]) + bytes(11)


class Doubling(Stage):
    """Gives everything on twice."""

    def runReceived(self, run: Run) -> None:
        self.give(run)
        self.give(run)


class Dropping(Stage):
    """Gives nothing on."""

    def runReceived(self, run: Run) -> None:
        self.drop(len(run), "unwanted")


class Failing(Stage):
    """Raises what no stage should."""

    def runReceived(self, run: Run) -> None:
        raise RuntimeError("broken on purpose")


def routeThrough(reactor: Any, port: int, *stages: Stage) -> tuple[Route, Collector]:
    """A route from a port through stages, and what collects its output."""
    collector = Collector()
    source = UDPInput(reactor, InputModel.parse(f"udp://127.0.0.1:{port}"))
    return Route(source, [collector], stages), collector


def test_itIsWhatItSays() -> None:
    """A stage provides IRelayStage."""
    verifyObject(IRelayStage, Stage())


@pytest_twisted.ensureDeferred
async def test_runsPassTheStagesInOrder(reactor: Any) -> None:
    """Each stage gets what the one before gives on, and counts that."""
    port = freePort()
    stages = (Stage(), Doubling(), Doubling())
    route, collector = routeThrough(reactor, port, *stages)
    route.openRoute()
    send(b"hello", "127.0.0.1", port)
    assert await collector.take(reactor, 4) == [b"hello"] * 4
    assert [each.counters.datagrams for each in stages] == [1, 2, 4]
    assert [each.name for each in route.status().stages] == ["Stage", "Doubling", "Doubling"]
    await route.closeRoute()


def test_whatAStageDropsIsCounted(reactor: Any) -> None:
    """What is not given on is counted under the stage's own word, and shown."""
    dropping = Dropping()
    route, collector = routeThrough(reactor, freePort(), dropping)
    dropping.runReceived(Run(memoryview(bytes(250)), 100, ("127.0.0.1", 1), 0.0))
    assert route.status().report()[1] == "Dropping: 0 datagrams, 0 bytes, 3 dropped (unwanted 3)"
    assert collector.payloads == []


@pytest_twisted.ensureDeferred
async def test_aStageThatRaisesStopsNothingElse(reactor: Any) -> None:
    """What a stage raises is logged once and counted there; stages before it, and other routes
    of the same input, go on.
    """
    port = freePort()
    incoming = InputModel.parse(f"udp://127.0.0.1:{port}")
    inputs = SharedInputs(reactor)
    before, failing, collector = Stage(), Failing(), Collector()
    broken = Route(inputs.share(incoming), [], [before, failing])
    sound = Route(inputs.share(incoming), [collector])
    broken.openRoute()
    sound.openRoute()
    with loggedLines() as lines:
        for count in (1, 2):
            send(b"hello", "127.0.0.1", port)
            await collector.take(reactor, count)
    assert [each for each in lines if "failed" in each] == lines[:1]
    assert before.counters.datagrams == 2
    assert failing.counters.dropped == {"error": 2}
    await broken.closeRoute()
    await sound.closeRoute()


@pytest_twisted.ensureDeferred
async def test_theExampleOfTheDocumentationWorks(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage and the output that docs/relay.md shows do what it says they do."""
    [block] = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    port = freePort()
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with Listener(reactor, "127.0.0.1") as listener:
        # The page's own addresses, but a destination that is here.
        exec(
            block.replace("127.0.0.1:5004", f"127.0.0.1:{port}").replace(
                "10.0.0.3:5004", f"127.0.0.1:{listener.port}"
            ),
            names,
        )
        route = names["route"]
        verifyObject(IRelayOutput, route.outputs[1])
        route.openRoute()
        send(b"no RTP", "127.0.0.1", port)
        send(RTP, "127.0.0.1", port)
        assert await listener.payloads(1) == [RTP]
        await route.closeRoute()
    assert (tmp_path / "stream.rtp").read_bytes() == RTP
    assert route.stages[0].counters.dropped == {"not RTP": 1}
