"""The stage that configuration gives a route: changed in place, with hooks that routes share."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.task import Clock

from tests.relay.health.support import rtp, runOf
from tests.relay.health.test_stage import Taking
from tests.relay.support import SECONDS, Listener, freePort, loggedLines, send, until
from tests.relay.viewers.support import Stream, serving, stream, watch
from txgroupsock.relay.engine.model import RelayModel, RouteModel
from txgroupsock.relay.engine.relay import Relay
from txgroupsock.relay.health import (
    CommandHook,
    Health,
    HealthModel,
    HookModel,
    SharedHooks,
    Thresholds,
    URLHook,
)
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.viewers import StreamModel, ViewerService
from txgroupsock.relay.workers.assignment import Share

__all__ = ["stream"]  # a fixture

NOTE = "import os, sys; open(sys.argv[1], 'a').write(os.environ['GROUPSOCK_ALARM_STATE'] + ' ')"
COMMAND = HookModel(("true",))
MODEL = HealthModel()


def healthOf(relay: Relay, index: int = 0) -> Mapping[str, Any]:
    """What the status of a route has."""
    found = relay.status()[index].health
    assert found is not None
    return found


def modelOf(port: int, to: int, health: HealthModel | None, name: str = "news") -> RelayModel:
    """A relay of one route."""
    route = RouteModel.of([f"udp://127.0.0.1:{port}"], [f"udp://127.0.0.1:{to}"])
    return RelayModel((evolve(route, name=name, health=health),))


# --- Hooks ---------------------------------------------------------------------------------------


def test_equalHooksAreOne() -> None:
    """Hooks are made for the first who takes them, and finished by the last who gives them back."""
    shared = SharedHooks(Clock())
    both = HookModel(("true",), "http://127.0.0.1:9/")
    first, second = shared.take(both), shared.take(both)
    assert first is second
    assert [type(each) for each in first] == [CommandHook, URLHook]
    assert shared.take(COMMAND) != first
    assert shared.take(HookModel()) == ()
    shared.giveBack(both)
    assert shared.take(both) is first
    for _ in range(2):
        shared.giveBack(both)
    assert shared.take(both) is not first


@pytest_twisted.ensureDeferred
async def test_whatWaitsIsToldYet(reactor: Any, tmp_path: Path) -> None:
    """When a route goes, its alarms are cleared, and whoever is told of alarms is told that."""
    told = tmp_path / "told"
    hooks = HookModel((sys.executable, "-c", NOTE, str(told)))
    model = HealthModel(Thresholds(silence=0.01), hooks=hooks)
    health = Health.of(reactor, "news", model, SharedHooks(reactor))
    with loggedLines() as lines:
        health.openStage(Taking())
        [hook] = health._hooks
        hook.lastSeconds = SECONDS  # type: ignore[misc]
        await until(reactor, lambda: health.status().alarms)
        await health.closeStage()
        await until(reactor, lambda: hook.told == 2)
    assert told.read_text() == "raised cleared "
    assert health.status().alarms == ()
    assert lines[-1].startswith("news: no longer watched, after 0 s: nothing has come")


# --- The stage -----------------------------------------------------------------------------------


def test_itGoesOnInAnotherWay() -> None:
    """Figures go on with other limits and another name; what is looked for newly begins."""
    clock = Clock()
    health = Health.of(clock, "news", evolve(MODEL, ts=False), SharedHooks(clock))
    health.openStage(Taking())
    clock.advance(0.5)
    for number in range(5):
        health.runReceived(runOf([rtp(number if number < 4 else 9)], clock.seconds()))
    clock.advance(0.5)
    assert [each.name for each in health.status().alarms] == ["rtpLoss"]
    other = HealthModel(Thresholds(rtpLoss=None, clearAfter=0, silence=5))
    with loggedLines() as lines:
        health.adapt("sports", other)
        clock.advance(1)
    [line] = lines
    assert line.startswith("sports: over after 1 s: 5 of")
    figures = health.status().toJSON()
    assert (figures["rtp"]["lost"], figures["ts"]) == (5, None)
    health.adapt("sports", evolve(other, rtp=False))
    clock.advance(1)
    assert health.status().rtp is None
    assert health.status().ts is not None
    with pytest.raises(RuntimeError, match=r"Health\.of"):
        Health(clock, "news").adapt("news", MODEL)
    health.closeStage()


@pytest_twisted.ensureDeferred
async def test_whatHasNotBeenReadIsNoSilence(reactor: Any) -> None:
    """If something else takes the reactor's time, what came meanwhile is read first."""
    port = freePort()
    relay = Relay.of(reactor, modelOf(port, 9, HealthModel(Thresholds(silence=0.5))))
    with loggedLines() as lines:
        relay.openRelay()
        time.sleep(1.4)  # so long nothing is read
        send(b"x", "127.0.0.1", port)
        await until(reactor, lambda: healthOf(relay)["stream"]["seconds"])
        assert healthOf(relay)["stream"]["datagrams"] == 1
        assert healthOf(relay)["alarms"] == []
        await relay.closeRelay()
    assert not [each for each in lines if "nothing has come" in each]


# --- Routes --------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_aChangeLosesNothing(reactor: Any) -> None:
    """Whether there is a stage before or after a change, or another one: all comes through, and
    the input stays open.
    """
    port = freePort()
    with Listener(reactor, "127.0.0.1") as listener:
        to = listener.port
        relay = Relay.of(reactor, modelOf(port, to, None))
        relay.openRelay()
        sent = 0
        incoming = relay.routes[0].input
        strict = HealthModel(Thresholds(jitter=0.001))
        for health, kind in [
            (MODEL, "changed"),
            (MODEL, "unchanged"),
            (strict, "changed"),
            (None, "changed"),
            (None, "unchanged"),
        ]:
            for _ in range(5):
                send(rtp(sent), "127.0.0.1", port)
                sent += 1
            outcome = await relay.change(modelOf(port, to, health))
            assert getattr(outcome, kind) == ("news",)
            assert relay.routes[0].input is incoming
        await until(reactor, lambda: relay.status()[0].outputs[0].counters.datagrams == sent)
        assert await listener.payloads(sent) == [rtp(each) for each in range(sent)]
        assert relay.status()[0].health is None
        await relay.closeRelay()


@pytest_twisted.ensureDeferred
async def test_figuresStayWithTheInput(reactor: Any) -> None:
    """A route that is unchanged, or has another output or name, counts on; with another input its
    figures begin anew, and are those of that.
    """
    port, other = freePort(), freePort()
    relay = Relay.of(reactor, modelOf(port, 9, MODEL))
    relay.openRelay()
    stage = relay.routes[0].health
    assert stage is not None
    for number in range(5):
        send(rtp(number), "127.0.0.1", port)
    await until(reactor, lambda: healthOf(relay)["stream"]["datagrams"] == 5)
    await relay.change(modelOf(port, 10, MODEL, "sports"))
    assert relay.routes[0].health is stage
    assert stage.name == "sports"
    send(rtp(5), "127.0.0.1", port)
    await until(reactor, lambda: healthOf(relay)["stream"]["datagrams"] == 6)
    await relay.change(modelOf(other, 10, MODEL, "sports"))
    assert relay.routes[0].health is stage
    for number in range(3):
        send(rtp(700 + number), "127.0.0.1", other)
    await until(reactor, lambda: healthOf(relay)["stream"]["datagrams"] == 3)
    found = healthOf(relay)
    assert (found["rtp"]["received"], found["rtp"]["lost"]) == (3, 0)
    await relay.closeRelay()


@pytest_twisted.ensureDeferred
async def test_aNewRouteHasIt(reactor: Any) -> None:
    """A route that a change opens is looked at from its first datagram on."""
    port = freePort()
    relay = Relay.of(reactor, RelayModel(()))
    relay.openRelay()
    await relay.change(modelOf(port, 9, MODEL))
    send(rtp(1), "127.0.0.1", port)
    await until(reactor, lambda: healthOf(relay)["stream"]["datagrams"] == 1)
    await relay.change(RelayModel(()))
    await relay.closeRelay()


def test_whatIsCarriedFitsTheRoute() -> None:
    """What a route has counted goes on in a worker that is down meanwhile, stage or none."""
    [plain] = modelOf(5000, 9, None).routes
    [looked] = modelOf(5000, 9, MODEL).routes
    shares = [Share((each,), (0,)) for each in (plain, looked)]
    for before in shares:
        [counted] = Share().carry([], before)
        for end in counted.ends:
            end.counters.passed(3, 300)
        for wanted in shares:
            [carried] = before.carry([counted], wanted)
            assert len(carried.stages) == (wanted.routes[0].health is not None)
            again = carried.after(carried)  # as when the next one runs
            counts = [each.counters.datagrams for each in (again.input, *again.outputs)]
            assert counts == [6, 6]
            if before is wanted:
                assert [each.counters.datagrams for each in carried.stages] == [3] * len(
                    carried.stages
                )


# --- Viewers -------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_onDemandItIsLookedAtWhileSomebodyWatches(reactor: Any, stream: Stream) -> None:
    """There is no alarm for silence while nobody watches; with a viewer there is, until it goes.
    Other limits hold at once.
    """
    model = HealthModel(Thresholds(silence=0.2))
    news = StreamModel(InputModel.parse("udp://239.77.0.1:5077?interface=lo"), health=model)
    with loggedLines() as lines:
        async with serving(reactor, named={"news": news}) as service:
            assert service.status().channels == ()
            for path in (b"/news", b"/udp/239.77.0.1:5077"):  # which is the same channel
                client = await watch(reactor, service, path)
                stream.send(3)
                await until(reactor, lambda: alarmsOf(service) == ["silence"])
                [channel] = service.status().toJSON()["channels"]
                assert channel["health"]["stream"]["datagrams"] == 3
                await client.close(reactor)
                await until(reactor, lambda: service.status().channels == ())
            client = await watch(reactor, service, b"/news")
            await until(reactor, lambda: alarmsOf(service) == ["silence"])
            await becoming(service, evolve(news, health=None))
            assert alarmsOf(service) is None
            await becoming(service, news)
            await until(reactor, lambda: alarmsOf(service) == ["silence"])
            await client.close(reactor)
    told = [each for each in lines if each.startswith("news: ")]
    assert ["no longer watched" in each for each in told] == [False, True] * 4


async def becoming(service: ViewerService, news: StreamModel) -> None:
    """Have a service give another stream under that name."""
    change = await service.prepare(evolve(service.model, named={"news": news}))
    await change.commit()


def alarmsOf(service: ViewerService) -> list[str] | None:
    """The alarms of the only channel; L{None} if its health is not looked at."""
    [channel] = service.status().channels
    if channel.health is None:
        return None
    return [each["name"] for each in channel.health["alarms"]]
