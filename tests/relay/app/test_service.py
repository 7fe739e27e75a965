"""The relay as a Twisted service."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import pytest
import pytest_twisted
from twisted.application.service import Application, IService, Service
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from tests.relay.support import SECONDS, Collector, freePort, loggedLines, send
from txgroupsock.relay.app.service import RelayService
from txgroupsock.relay.carriers.udp.input import UDPInput
from txgroupsock.relay.engine.relay import Relay
from txgroupsock.relay.engine.route import Route
from txgroupsock.relay.errors import StartError
from txgroupsock.relay.models.udp import InputModel


def serviceOf(reactor: Any, url: str) -> tuple[RelayService, Collector]:
    """A service that is not started, and its output."""
    collector = Collector()
    route = Route(UDPInput(reactor, InputModel.parse(url)), [collector])
    return RelayService(reactor, Relay([route])), collector


@asynccontextmanager
async def running(service: Service) -> AsyncIterator[None]:
    """A service while it runs, started as twistd does."""
    service.privilegedStartService()
    service.startService()
    try:
        yield
    finally:
        await service.stopService()


@pytest.fixture(name="handled")
def fixtureHandled() -> Iterator[list[int]]:
    """Signals that went to a SIGUSR1 handler which was there before, as twistd's is."""
    handled: list[int] = []

    def handler(number: int, _: FrameType | None) -> None:
        handled.append(number)

    before = signal.signal(signal.SIGUSR1, handler)
    yield handled
    assert signal.getsignal(signal.SIGUSR1) is handler  # given back
    signal.signal(signal.SIGUSR1, before)


def test_itIsAService(reactor: Any) -> None:
    """A relay provides IService, and can be part of an application."""
    service, _ = serviceOf(reactor, "udp://:5000")
    verifyObject(IService, service)
    application = Application("test")
    service.setServiceParent(application)  # type: ignore[no-untyped-call]
    assert list(IService(application)) == [service]  # type: ignore[call-overload]


@pytest_twisted.ensureDeferred
async def test_theRouteIsOpenBeforePrivilegesAreGivenUp(reactor: Any) -> None:
    """In privilegedStartService the route is opened, with a line for each join and each output."""
    port = freePort()
    service, collector = serviceOf(reactor, f"udp://239.7.9.1:{port}?interface=lo")
    with loggedLines() as lines:
        service.privilegedStartService()
    assert collector.isOpen
    assert lines == [f"joined 239.7.9.1 on lo, port {port}", "collecting"]
    service.startService()
    await service.stopService()
    assert not collector.isOpen


@pytest_twisted.ensureDeferred
async def test_aServiceWithoutPrivilegesOpensWhenItStarts(reactor: Any) -> None:
    """Started alone, as by a parent that runs already, it opens its route then."""
    port = freePort()
    service, collector = serviceOf(reactor, f"udp://127.0.0.1:{port}")
    service.startService()
    send(b"x", "127.0.0.1", port)
    assert await collector.take(reactor, 1) == [b"x"]
    await service.stopService()


@pytest_twisted.ensureDeferred
async def test_theEndPrintsTheCounters(reactor: Any) -> None:
    """When it stops, the counters of the input and of each output are logged."""
    port = freePort()
    service, collector = serviceOf(reactor, f"udp://127.0.0.1:{port}")
    async with running(service):
        send(b"four", "127.0.0.1", port)
        await collector.take(reactor, 1)
        with loggedLines() as lines:
            await service.stopService()
        incoming, outgoing = lines
        assert ": 1 datagrams, 4 bytes, 0 dropped" in incoming
        assert outgoing == "out, collecting: 1 datagrams, 4 bytes, 0 dropped"


@pytest_twisted.ensureDeferred
async def test_itCanBeStartedAgain(reactor: Any) -> None:
    """A stopped relay can be started again, and goes on counting."""
    port = freePort()
    service, collector = serviceOf(reactor, f"udp://127.0.0.1:{port}")
    for count in (1, 2):
        async with running(service):
            send(b"x", "127.0.0.1", port)
            await collector.take(reactor, count)
    [status] = await service.status()
    assert status.input.counters.datagrams == 2


@pytest_twisted.ensureDeferred
async def test_SIGUSR1PrintsTheCounters(reactor: Any, handled: list[int]) -> None:
    """On SIGUSR1 the counters are logged, and the handler that was there is called as well; when
    the relay stops it is the only one again.
    """
    service, _ = serviceOf(reactor, f"udp://127.0.0.1:{freePort()}")
    async with running(service):
        printed: Deferred[None] = Deferred()

        def reached(line: str) -> None:
            if line.startswith("out, collecting") and not printed.called:
                printed.callback(None)

        with loggedLines(reached) as lines:
            os.kill(os.getpid(), signal.SIGUSR1)
            await printed.addTimeout(SECONDS, reactor)
        assert ": 0 datagrams, 0 bytes, 0 dropped" in lines[0]
        assert handled == [signal.SIGUSR1]


@pytest_twisted.ensureDeferred
async def test_noEarlierHandlerIsNeeded(reactor: Any) -> None:
    """Where nobody handled SIGUSR1, the relay does, and its end restores the default."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    try:
        service, _ = serviceOf(reactor, f"udp://127.0.0.1:{freePort()}")
        printed: Deferred[None] = Deferred()

        def reached(line: str) -> None:
            if line.startswith("in, ") and not printed.called:
                printed.callback(None)

        with loggedLines(reached):
            async with running(service):
                os.kill(os.getpid(), signal.SIGUSR1)
                await printed.addTimeout(SECONDS, reactor)
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_whatCannotBeOpenedIsAStartError(reactor: Any, handled: list[int]) -> None:
    """A route that cannot be opened raises StartError with the reason; no handler is installed."""
    service, collector = serviceOf(reactor, "udp://192.0.2.1:5000")
    with pytest.raises(StartError, match=r"cannot bind to 192\.0\.2\.1:5000: .*'ip address'"):
        service.privilegedStartService()
    assert not collector.isOpen


def test_aStartErrorEndsTheProgram() -> None:
    """A StartError is an Exception, so twistd cleans up after it, and a SystemExit, so Python
    prints its line and exits with status 1.
    """
    error = StartError("no such thing; do that")
    assert isinstance(error, Exception)
    assert isinstance(error, SystemExit)
    assert error.code == str(error) == "groupsock-relay: no such thing; do that"
