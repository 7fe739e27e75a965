"""Loops over real sockets: what a relay has sent comes back to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest_twisted

from tests.relay.support import Listener, freePort, loggedLines, send, until
from txgroupsock.relay.engine.model import RelayModel, RouteModel
from txgroupsock.relay.engine.relay import Relay
from txgroupsock.relay.interfaces import IRelayInput

GROUPS = [f"239.7.9.{number}" for number in range(1, 4)]


@asynccontextmanager
async def relaying(reactor: Any, *routes: tuple[str, str]) -> AsyncIterator[Relay]:
    """Open routes of one relay, each from one URL to another, that nobody has checked."""
    models = [RouteModel.of([source], [target]) for source, target in routes]
    relay = Relay.of(reactor, RelayModel(tuple(models)))
    relay.openRelay()
    try:
        yield relay
    finally:
        await relay.closeRelay()


@pytest_twisted.ensureDeferred
async def test_anInputThatIsItsOwnOutputDropsThat(reactor: Any) -> None:
    """A host name that is this host makes a loop that no check sees: each datagram goes out once,
    and is dropped when it comes in again; the log says so once.
    """
    port = freePort()
    output = f"udp://127.0.0.1@localhost:{port}"
    async with relaying(reactor, (f"udp://:{port}", output)) as relay:
        [route] = relay.routes
        incoming, outgoing = route.input, route.outputs[0]
        await until(reactor, lambda: outgoing.describe()[0].endswith("from 127.0.0.1"))
        with loggedLines() as lines:
            for number in range(1, 4):
                send(b"datagram %d" % number, "127.0.0.1", port)
                await until(reactor, partial(_hasDropped, incoming, number))
                assert incoming.counters.datagrams == outgoing.counters.datagrams == number
        assert len([line for line in lines if line.startswith("loop: ")]) == 1


@pytest_twisted.ensureDeferred
async def test_aCircleOfRoutesIsCutOnce(reactor: Any) -> None:
    """Of routes that lead in a circle, each passes everything on once, and the last one's output
    is dropped where it would begin anew.
    """
    port = freePort()
    urls = [f"udp://{group}:{port}?interface=lo" for group in GROUPS]
    circle = [(urls[0], urls[1]), (urls[1], urls[2]), (urls[2], urls[0])]
    with Listener(reactor, GROUPS[2], port, group=GROUPS[2], shared=True) as listener:
        async with relaying(reactor, *circle) as relay:
            payloads = [b"%d" % number for number in range(100)]
            for each in payloads:
                send(each, GROUPS[0], port)
            assert await listener.payloads(100) == payloads
            first = relay.routes[0].input
            await until(reactor, lambda: first.counters.dropped["loop"] == 100)
            assert first.counters.datagrams == 100
            assert listener.nowPayloads() == payloads


@pytest_twisted.ensureDeferred
async def test_aChainOfRoutesIsNoLoop(reactor: Any) -> None:
    """A route may take up what another one of the same process sends."""
    port = freePort()
    urls = [f"udp://{group}:{port}?interface=lo" for group in GROUPS]
    with Listener(reactor, GROUPS[2], port, group=GROUPS[2], shared=True) as listener:
        async with relaying(reactor, (urls[0], urls[1]), (urls[1], urls[2])) as relay:
            send(b"hello", GROUPS[0], port)
            assert await listener.payloads(1) == [b"hello"]
            assert all(each.input.counters.dropped.total() == 0 for each in relay.routes)


def _hasDropped(incoming: IRelayInput, count: int) -> bool:
    return bool(incoming.counters.dropped["loop"] == count)
