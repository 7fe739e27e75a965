"""What is opened twice says so, and what is closed twice does nothing, in any order of calls."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from tests.relay.support import freePort, url
from txgroupsock import Groupsock, GroupsockReactor, Relay, RelayModel, Route, Run, Stage, UDPPort
from txgroupsock.relay.app.service import RelayService
from txgroupsock.relay.carriers.udp.input import UDPInput
from txgroupsock.relay.carriers.udp.output import UDPOutput
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.engine.inputs import SharedInputs
from txgroupsock.relay.engine.model import RouteModel
from txgroupsock.relay.engine.route import NOBODY
from txgroupsock.relay.interfaces import IRelayInput, IRelayOutput
from txgroupsock.relay.models.udp import InputModel, OutputModel
from txgroupsock.relay.recording import Recorder
from txgroupsock.relay.redundancy.failoverinput import FailoverInput
from txgroupsock.relay.redundancy.merged import MergedInput
from txgroupsock.relay.viewers import ViewerService


def here(reactor: Any) -> InputModel:
    """An input on a free port."""
    return InputModel.parse(url("127.0.0.1", freePort()))


def routeModel() -> RouteModel:
    """A route from a free port to nowhere."""
    return RouteModel.of([url("127.0.0.1", freePort())], ["udp://127.0.0.1:9"])


Make = Callable[[Any, Path], Any]

OPENED: dict[str, tuple[Make, str, tuple[Any, ...], str]] = {
    "Route": (lambda reactor, _: Route.of(reactor, routeModel()), "openRoute", (), "closeRoute"),
    "Relay": (
        lambda reactor, _: Relay.of(reactor, RelayModel((routeModel(),))),
        *("openRelay", (), "closeRelay"),
    ),
    "UDPInput": (
        lambda reactor, _: UDPInput(reactor, here(reactor)),
        *("openInput", (NOBODY,), "closeInput"),
    ),
    "InputShare": (
        lambda reactor, _: SharedInputs(reactor).share(here(reactor)),
        *("openInput", (NOBODY,), "closeInput"),
    ),
    "MergedInput": (
        lambda reactor, _: MergedInput(
            reactor, [UDPInput(reactor, here(reactor)) for _ in range(2)], window=0.1
        ),
        *("openInput", (NOBODY,), "closeInput"),
    ),
    "FailoverInput": (
        lambda reactor, _: FailoverInput(
            reactor, [UDPInput(reactor, here(reactor)) for _ in range(2)]
        ),
        *("openInput", (NOBODY,), "closeInput"),
    ),
    "UDPOutput": (
        lambda reactor, _: UDPOutput(reactor, OutputModel.parse("udp://127.0.0.1:9")),
        *("openOutput", (), "closeOutput"),
    ),
    "Stage": (lambda _, __: Stage(), "openStage", (NOBODY,), "closeStage"),
    "Recorder": (
        lambda reactor, path: Recorder(reactor, "news", ("239.1.1.1", 5000), path),
        *("openStage", (NOBODY,), "closeStage"),
    ),
    "UDPPort": (
        lambda reactor, _: UDPPort(reactor, DatagramProtocol(), interface="127.0.0.1"),
        *("startListening", (), "stopListening"),
    ),
}


@pytest.mark.parametrize("name", OPENED)
@pytest_twisted.ensureDeferred
async def test_whatIsOpenIsNotOpenedAgain(reactor: Any, tmp_path: Path, name: str) -> None:
    """It says what to do; closed in vain or twice, it does nothing; then it opens again."""
    make, opening, arguments, closing = OPENED[name]
    thing = make(reactor, tmp_path)
    if name != "UDPPort":  # as in Twisted, nothing comes of that
        await maybeDeferred(getattr(thing, closing))
    for _ in range(2):
        getattr(thing, opening)(*arguments)
        with pytest.raises(RuntimeError, match="is open already: close it"):
            getattr(thing, opening)(*arguments)
        closed = [maybeDeferred(getattr(thing, closing)) for _ in range(2)]
        for each in closed:
            await each
        await maybeDeferred(getattr(thing, closing))


@pytest_twisted.ensureDeferred
async def test_aServiceIsStartedOnce(reactor: Any) -> None:
    """A second start does nothing; what a signal did before it does again after a stop."""
    before = signal.getsignal(signal.SIGUSR1)
    services = [
        RelayService(reactor, Relay.of(reactor, RelayModel((routeModel(),)))),
        ViewerService(reactor),
    ]
    for service in services:
        for _ in range(2):
            service.privilegedStartService()
        for _ in range(2):
            service.startService()
        for _ in range(2):
            await service.stopService()
    assert signal.getsignal(signal.SIGUSR1) == before


@pytest_twisted.ensureDeferred
async def test_aGroupsockIsClosedOnce(reactor: Any) -> None:
    """However often it is asked to."""
    groupsock = Groupsock(GroupsockReactor(reactor), "0.0.0.0", 0)
    for each in [groupsock.close() for _ in range(2)]:
        await each
    await groupsock.close()


# --- Any order -------------------------------------------------------------------------------


class Part:
    """A part of a route that tells when it is used in a state in which it must not be."""

    def __init__(self, slow: list[Deferred[None]]) -> None:
        self.counters = Counters()
        self.isOpen = False
        self.got = 0
        self.receiver: Any = None
        self._slow = slow

    def _open(self, receiver: Any = None) -> None:
        assert not self.isOpen
        self.isOpen, self.receiver = True, receiver

    openInput = openOutput = openStage = _open

    def _close(self) -> Deferred[None]:
        assert self.isOpen
        self.isOpen = False
        closing: Deferred[None] = Deferred()
        self._slow.append(closing)
        return closing

    closeInput = closeOutput = closeStage = _close

    def describe(self) -> list[str]:
        return []

    def runReceived(self, run: Run) -> None:
        assert self.isOpen
        self.got += len(run)
        if self.receiver is not None:
            self.receiver.runReceived(run)


@implementer(IRelayInput)
class AnInput(Part):
    """An input."""


@implementer(IRelayOutput)
class AnOutput(Part):
    """An output."""


class RouteInAnyOrder(RuleBasedStateMachine):
    """A route whose methods are called in any order, with parts that take their time to close."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: list[Deferred[None]] = []
        self.input: Any = AnInput(self.slow)
        self.outputs: list[Any] = [AnOutput(self.slow) for _ in range(2)]
        stage: Any = Part(self.slow)
        self.route = Route(self.input, self.outputs, [stage])
        self.isOpen = False
        self.pending: list[list[Any]] = []
        self.given = 0

    @rule()
    def open(self) -> None:
        if self.isOpen or self.slow:
            with pytest.raises(RuntimeError, match=r"open already: close it|is closing: wait"):
                self.route.openRoute()
        else:
            self.route.openRoute()
            self.isOpen = True

    @rule()
    def close(self) -> None:
        self.isOpen = False
        closing: list[Any] = []
        self.route.closeRoute().addCallback(closing.append)
        self.pending.append(closing)

    @precondition(lambda self: self.slow)
    @rule()
    def partCloses(self) -> None:
        self.slow.pop(0).callback(None)

    @precondition(lambda self: self.isOpen)
    @rule()
    def run(self) -> None:
        self.input.runReceived(Run(memoryview(b"abcd"), 2, ("192.0.2.1", 5), 0.0))
        self.given += 2

    @invariant()
    def everyDatagramIsGivenOnce(self) -> None:
        assert [each.got for each in self.outputs] == [self.given] * 2

    @invariant()
    def closingEndsWithItsParts(self) -> None:
        self.pending = [each for each in self.pending if not each]
        assert bool(self.pending) == bool(self.slow)
        assert self.route.isOpen == self.isOpen


TestRouteInAnyOrder = RouteInAnyOrder.TestCase
TestRouteInAnyOrder.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
