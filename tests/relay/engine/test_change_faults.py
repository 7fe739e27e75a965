"""Whatever goes wrong in the midst of a change, all is as it was before, and said as what it is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.conftest import openDescriptors
from tests.relay.engine.test_change import HOST, NOWHERE, relaying
from tests.relay.support import Listener, freePort, loggedLines, send, url
from txgroupsock.relay.carriers.udp.output import UDPOutput
from txgroupsock.relay.config.document import Configuration
from txgroupsock.relay.control.control import Control
from txgroupsock.relay.engine.inputs import InputShare
from txgroupsock.relay.engine.model import RelayModel, RouteModel
from txgroupsock.relay.engine.relay import Relay
from txgroupsock.relay.engine.route import Route
from txgroupsock.relay.health.stage import Health
from txgroupsock.relay.recording.recorder import Recorder

STEPS = [
    (InputShare, ("openInput", "begin", "countFrom", "setTimes", "describe")),
    (UDPOutput, ("openOutput", "describe")),
    (Route, ("outputOpened", "outputClosed", "lookWith", "recordWith")),
    (Health, ("openStage", "adapt")),
    (Recorder, ("openStage",)),
]


class Fault(Exception):
    """What no part of a relay expects."""


class Faults:
    """Has the one of all steps of a change fail whose number it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        for kind, names in STEPS:
            for name in names:
                wrapped = self._wrapped(getattr(kind, name))
                monkeypatch.setattr(kind, name, wrapped)

    def _wrapped(self, step: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(step)
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise Fault(step.__qualname__)
            return step(*arguments, **options)

        return wrapped


def modelFrom(text: str) -> RelayModel:
    """The routes of a file."""
    from txgroupsock.relay.config.file import parseConfiguration

    return parseConfiguration(text, "test").relay


def stateOf(relay: Relay) -> list[object]:
    """What can be seen of its routes."""
    return [
        (
            each.name,
            each.input,
            each.outputs,
            each.stages,
            each.recordings,
            each.status().describe(),
        )
        for each in relay.routes
    ]


@pytest_twisted.ensureDeferred
async def test_aFaultAtAnyStepLeavesAllAsItWas(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of a change fails, each in its turn: no descriptor is left open, every route has what
    it had, and its stream goes on.
    """
    ports = [freePort() for _ in range(4)]
    with Listener(reactor, HOST) as listener:
        to = url(HOST, listener.port)
        first = modelFrom(
            f"[[route]]\nname = 'a'\nfrom = '{url(HOST, ports[0])}'\nto = ['{to}', '{NOWHERE}']\n"
            f"[[route]]\nname = 'b'\nfrom = '{url(HOST, ports[1])}'\nto = '{to}'\nhealth = true\n"
            f"[[route]]\nname = 'gone'\nfrom = '{url(HOST, ports[2])}'\nto = '{to}'\n"
        )
        record = f"record = {{ folder = '{tmp_path}' }}\n"
        second = modelFrom(
            f"[[route]]\nname = 'a'\nfrom = '{url(HOST, ports[3])}'\nto = ['{to}', '{NOWHERE}0']\n"
            f"health = true\n{record}"
            f"[[route]]\nname = 'bb'\nfrom = '{url(HOST, ports[1])}?latency=5ms'\nto = '{to}'\n"
            f"health = {{ silence = '3s' }}\n"
            f"[[route]]\nname = 'new'\nfrom = '{url(HOST, freePort())}'\nto = '{to}'\n"
        )
        relay = Relay.of(reactor, first)
        relay.openRelay()
        try:
            faults = Faults(monkeypatch)
            state, descriptors, sent = stateOf(relay), set(openDescriptors()), 0
            for number in range(1, 200):
                faults.left = number
                try:
                    await relay.change(second)
                except Fault:
                    faults.left = -1
                else:
                    break
                assert stateOf(relay) == state, number
                assert set(openDescriptors()) == descriptors, number
                assert relay.model is first
                for port in ports[:3]:
                    send(b"x", HOST, port)
                    sent += 1
                await listener.payloads(sent)
            assert number > 20
            assert [each.name for each in relay.routes] == ["a", "bb", "new"]
        finally:
            faults.left = -1
            await relay.closeRelay()


@pytest_twisted.ensureDeferred
async def test_aChangeThatFailsSomehowIsToldSo(
    reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no mistake of a file is logged as a fault, and is no success."""
    source = url(HOST, freePort())
    async with relaying(reactor, (source, [NOWHERE])) as relay:
        model = relay.model
        assert model is not None
        control = Control(reactor, Configuration(model), relay)

        def make() -> Configuration:
            raise Fault("no reason")

        with loggedLines() as lines, pytest.raises(Fault):
            await control.change("the file", make)
        assert control.last is not None
        assert not control.last.isDone
        assert "Fault('no reason')" in control.last.text
        assert any("rejected, which" in each for each in lines)
        assert RouteModel.of([source], [NOWHERE]).input == model.routes[0].input
