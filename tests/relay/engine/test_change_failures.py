"""A change of routes that cannot be made, and one that has to wait for a port."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from tests.relay.engine.test_change import HOST, NOWHERE, modelOf, relaying, reports, socketOf
from tests.relay.support import Listener, freePort, loggedLines, send, url
from txgroupsock.relay.engine.relay import Relay


@pytest.mark.parametrize("problem", ["udp://192.0.2.1:5000", "udp://239.1.1.1:5000?interface=nope"])
@pytest_twisted.ensureDeferred
async def test_allIsAsBeforeIfAnInputCannotBeOpened(reactor: Any, problem: str) -> None:
    """If one new route cannot be opened none is, and everything else is as it was before."""
    port, new = freePort(), freePort()
    with Listener(reactor, HOST) as listener:
        source, to = url(HOST, port), [url(HOST, listener.port)]
        async with relaying(reactor, (source, to, "a")) as relay:
            before = relay.routes, relay.model, socketOf(relay.routes[0]), relay.routes[0].outputs
            with pytest.raises(OSError, match="cannot "):
                await relay.change(
                    modelOf(
                        (url(HOST, new), [NOWHERE]), (source, [NOWHERE], "b"), (problem, [NOWHERE])
                    )
                )
            after = relay.routes, relay.model, socketOf(relay.routes[0]), relay.routes[0].outputs
            assert after == before
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind((HOST, new))
            send(b"x", HOST, port)
            assert await listener.payloads(1) == [b"x"]
            assert [each[0].partition(": ")[2] for each in reports(relay)] == [
                "1 datagrams, 1 bytes, 0 dropped"
            ]


@pytest_twisted.ensureDeferred
async def test_allIsAsBeforeIfAnOutputCannotBeOpened(reactor: Any) -> None:
    """Nor does an output that cannot be opened change anything, inputs that were open by then
    included.
    """
    source, new = url(HOST, freePort()), freePort()
    async with relaying(reactor, (source, [NOWHERE])) as relay:
        before = relay.routes[0].outputs
        with pytest.raises(OSError, match="nope"):
            await relay.change(
                modelOf(
                    (url(HOST, new), ["udp://127.0.0.1:8", "udp://239.1.1.1:8?interface=nope"]),
                    (source, [NOWHERE, "udp://127.0.0.1:8"]),
                )
            )
        assert relay.routes[0].outputs == before
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((HOST, new))


@pytest_twisted.ensureDeferred
async def test_aPortThatIsGivenUpCanBeTaken(reactor: Any) -> None:
    """A new input may need a port of one that goes: that is closed first then."""
    port = freePort()
    with Listener(reactor, HOST) as listener:
        to = [url(HOST, listener.port)]
        async with relaying(reactor, (f"udp://:{port}", to)) as relay:
            other = url(HOST, freePort())
            outcome = await relay.change(modelOf((other, [NOWHERE]), (url(HOST, port), to)))
            assert str(outcome) == "2 opened, 1 closed"
            send(b"x", HOST, port)
            assert await listener.payloads(1) == [b"x"]


@pytest_twisted.ensureDeferred
async def test_aPortThatWasGivenUpIsTakenBack(reactor: Any) -> None:
    """If the change fails after that, the one that was to go is opened again, and counts on."""
    port = freePort()
    with Listener(reactor, HOST) as listener:
        to = [url(HOST, listener.port)]
        async with relaying(reactor, (f"udp://:{port}", to)) as relay:
            send(b"one", HOST, port)
            await listener.take(1)
            with pytest.raises(OSError, match=r"192\.0\.2\.1"):
                await relay.change(modelOf((url(HOST, port), to), ("udp://192.0.2.1:5000", to)))
            send(b"two", HOST, port)
            assert await listener.payloads(2) == [b"one", b"two"]
            assert relay.routes[0].input.counters.datagrams == 2
            assert relay.routes[0].outputs[0].counters.datagrams == 2


@pytest_twisted.ensureDeferred
async def test_aPortThatSomebodyElseTakesMeanwhileIsMissed(reactor: Any) -> None:
    """A port that was given up and cannot be had again is logged, and the rest runs on."""
    port = freePort()
    async with relaying(reactor, (f"udp://:{port}", [NOWHERE])) as relay:
        [route] = relay.routes
        taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        closing = route.input.closeInput

        def closeAndTake() -> Any:
            return closing().addCallback(lambda _: taken.bind((HOST, port)))

        route.input.closeInput = closeAndTake  # type: ignore[method-assign]
        with taken, loggedLines() as lines:
            with pytest.raises(OSError, match="Address already in use") as caught:
                await relay.change(modelOf((url(HOST, port), [NOWHERE])))
            assert caught.value.errno == errno.EADDRINUSE
            del route.input.closeInput
        assert any("could not be opened again" in line for line in lines)
        assert relay.routes == (route,)


@pytest_twisted.ensureDeferred
async def test_aPortOfSomebodyElseIsRefused(reactor: Any) -> None:
    """A port that another program has cannot be had by closing anything, so nothing is closed."""
    source = url(HOST, freePort())
    with Listener(reactor, HOST) as listener:
        async with relaying(reactor, (source, [NOWHERE])) as relay:
            before = socketOf(relay.routes[0])
            with pytest.raises(OSError, match="Address already in use"):
                await relay.change(modelOf((url(HOST, listener.port), [NOWHERE])))
            assert socketOf(relay.routes[0]) == before


@pytest_twisted.ensureDeferred
async def test_oneChangeIsMadeAfterAnother(reactor: Any) -> None:
    """Changes that are asked for at once are all made, in order."""
    source, ports = url(HOST, freePort()), [freePort() for _ in range(4)]
    async with relaying(reactor, (source, [NOWHERE])) as relay:
        before = socketOf(relay.routes[0])
        models = [modelOf((source, [NOWHERE]), (url(HOST, each), [NOWHERE])) for each in ports]
        changes = [relay.change(each) for each in models]
        for each in changes:
            assert str(await each).startswith("1 unchanged")
        assert relay.model == models[-1]
        assert socketOf(relay.routes[0]) == before


@pytest_twisted.ensureDeferred
async def test_aClosedRelayIsNotChanged(reactor: Any) -> None:
    """Neither before it is open, nor after, nor while a change waits, is anything opened."""
    port = freePort()
    relay = Relay.of(reactor, modelOf((f"udp://:{port}", [NOWHERE])))
    with pytest.raises(RuntimeError, match="not open"):
        await relay.change(modelOf((url(HOST, port), [NOWHERE])))
    relay.openRelay()
    changing = relay.change(modelOf((url(HOST, port), [NOWHERE])))  # waits for the port
    closing = relay.closeRelay()
    with pytest.raises(OSError, match="Address already in use"):
        await changing
    await closing
    with pytest.raises(RuntimeError, match="not open"):
        await relay.change(modelOf())
    assert [each.input.describe() for each in relay.routes] == [[]]


@pytest.mark.parametrize("isWanted", [True, False])
@pytest_twisted.ensureDeferred
async def test_aChangeMayNeedAgreement(reactor: Any, isWanted: bool) -> None:
    """Whoever is asked finds all that is new open, what is in its way closed, and the rest as it
    was; if the answer is no, all is as it was before.  What arrives before the answer is for
    nobody.
    """
    port, new, third = freePort(), freePort(), freePort()
    with Listener(reactor, HOST) as listener:
        to, asked, answer = [url(HOST, listener.port)], Deferred[None](), Deferred[bool]()

        async def agree() -> bool:
            asked.callback(None)
            return await answer

        stays = (url(HOST, third), to, "stays")
        async with relaying(reactor, (f"udp://:{port}", to, "wide"), stays) as relay:
            changing = relay.change(
                modelOf((url(HOST, port), to, "wide"), stays, (url(HOST, new), to, "new")), agree
            )
            await asked
            for each in (new, port, third):
                send(b"%d" % each, HOST, each)
            assert await listener.payloads(1) == [b"%d" % third]
            await deferLater(reactor, 0)
            answer.callback(isWanted)
            if isWanted:
                assert str(await changing) == "1 unchanged, 1 changed, 1 opened"
            else:
                with pytest.raises(CancelledError):
                    await changing
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.bind((HOST, new))
            send(b"x", HOST, port)
            assert (await listener.payloads(2))[1:] == [b"x"]
            names = [("wide", 1), ("stays", 1), ("new", 0)][: 3 if isWanted else 2]
            assert [(each.name, each.input.counters.datagrams) for each in relay.routes] == names


@pytest_twisted.ensureDeferred
async def test_whatIsAgreedOnTooLateIsNotDone(reactor: Any) -> None:
    """A relay that is closed while it waits for the answer opens nothing again."""
    port, asked, answer = freePort(), Deferred[None](), Deferred[bool]()

    async def agree() -> bool:
        asked.callback(None)
        return await answer

    relay = Relay.of(reactor, modelOf((f"udp://:{port}", [NOWHERE])))
    relay.openRelay()
    changing = relay.change(modelOf((url(HOST, port), [NOWHERE])), agree)
    await asked
    closing = relay.closeRelay()
    answer.callback(True)
    with pytest.raises(CancelledError):
        await changing
    await closing
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, port))


def test_routesOfOnesOwnAreNotChanged() -> None:
    """A relay of routes that were made by hand has no model to leave."""
    with pytest.raises(RuntimeError, match="only a relay"):
        Relay([]).change(modelOf())
