"""Being told that interfaces, addresses or routes have changed."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.memory import blocksKept
from txgroupsock import GroupsockReactor
from txgroupsock.ports import linkwatch
from txgroupsock.ports.linkwatch import ANYWAY, POLLING, SPACING, LinkWatch
from txgroupsock.primitives import parseAddress
from txgroupsock.primitives.hoststate import HostState
from txgroupsock.testing.namespaces import Namespace


class Told:
    """Remembers being told, and can be waited for."""

    def __init__(self, watch: LinkWatch, reactor: Any, *, routes: bool = False) -> None:
        self.count = 0
        self._watch = watch
        self._reactor = reactor
        self._next: Deferred[None] = Deferred()
        watch.add(self.changed, routes=routes)

    def changed(self, state: HostState) -> None:
        self.count += 1
        self.state = state
        waiting, self._next = self._next, Deferred()
        waiting.callback(None)

    def next(self) -> Deferred[None]:
        """Fires the next time."""
        return self._next.addTimeout(5, self._reactor)

    def stop(self) -> None:
        self._watch.remove(self.changed)


@pytest.fixture
def watch(groupsockReactor: GroupsockReactor, namespace: Namespace) -> LinkWatch:
    """One in a network of its own."""
    return groupsockReactor.linkWatch


@pytest.fixture
def told(watch: LinkWatch, reactor: Any) -> Iterator[Told]:
    """A listener, who goes after the test."""
    made = Told(watch, reactor)
    yield made
    made.stop()


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    "change",
    [
        "ip link add name new type veth peer name other",
        "ip link set lo down",
        "ip addr add 10.9.9.9/32 dev lo",
        "ip addr add fd00::99/128 dev lo nodad",
    ],
)
@pytest_twisted.ensureDeferred
async def test_aChangeIsToldOf(told: Told, namespace: Namespace, change: str) -> None:
    """An interface or an address that comes or goes, and an interface that is switched off."""
    changed = told.next()
    namespace.run(*change.split())
    await changed


@pytest_twisted.ensureDeferred
async def test_theStateIsThatAfterTheChange(told: Told, namespace: Namespace) -> None:
    """Who is told finds the new address there, and can tell whether an interface is running."""
    changed = told.next()
    namespace.run("ip", "addr", "add", "10.9.9.9/32", "dev", "lo")
    await changed
    assert told.state.indexOf("10.9.9.9") == told.state.indexOf("lo") == 1
    assert told.state.isRunning(1)
    assert not told.state.isRunning(99)
    assert told.state.hasJoined(1, parseAddress("224.0.0.1"))
    assert told.state.hasJoined(1, parseAddress("ff02::1"))
    assert not told.state.hasJoined(1, parseAddress("239.9.9.9"))
    assert not told.state.hasJoined(99, parseAddress("224.0.0.1"))


@pytest_twisted.ensureDeferred
async def test_routesAreToldOfOnlyIfWanted(
    watch: LinkWatch, reactor: Any, namespace: Namespace
) -> None:
    """Who joined where the routes led wants them; nobody else is woken up by a busy router."""
    first = Told(watch, reactor)
    namespace.run("ip", "route", "add", "10.8.0.0/24", "dev", "lo")
    second = Told(watch, reactor, routes=True)
    changed = second.next()
    namespace.run("ip", "route", "add", "10.8.1.0/24", "dev", "lo")
    await changed
    assert first.count == 1
    first.stop()
    second.stop()


@pytest_twisted.ensureDeferred
async def test_manyChangesAreToldOfTogether(told: Told, namespace: Namespace, reactor: Any) -> None:
    """The first at once, and what follows within a tenth of a second as one, overruns included."""
    changed, began = told.next(), reactor.seconds()
    commands = [
        f"addr {verb} 10.{number}.0.1/32 dev lo" for number in range(200) for verb in ("add", "del")
    ]
    namespace.run("ip", "-batch", "-", stdin="\n".join([*commands, "addr add 10.7.7.7/32 dev lo"]))
    await changed
    assert reactor.seconds() - began < 1
    if parseAddress("10.7.7.7") not in told.state.interfaces[1].addresses:
        await told.next()
    assert parseAddress("10.7.7.7") in told.state.interfaces[1].addresses
    assert told.count <= 2 + (reactor.seconds() - began) / SPACING


@pytest_twisted.ensureDeferred
async def test_aListenerThatFailsHarmsNoOther(
    watch: LinkWatch, reactor: Any, namespace: Namespace, caplog: Any
) -> None:
    """What it raises is logged, and the next one is told."""

    def fail(state: HostState) -> None:
        watch.remove(fail)
        raise RuntimeError("no")

    watch.add(fail)
    told = Told(watch, reactor)
    changed = told.next()
    namespace.run("ip", "addr", "add", "10.9.9.9/32", "dev", "lo")
    await changed
    told.stop()


def test_whileNobodyListensThereIsNothing(groupsockReactor: GroupsockReactor) -> None:
    """No descriptor, no reader and no timer; reactors around one reactor share the watch."""
    watch = groupsockReactor.linkWatch
    assert GroupsockReactor(groupsockReactor).linkWatch is watch
    before = descriptors(), len(groupsockReactor.getReaders()), groupsockReactor.getDelayedCalls()
    for _ in range(2):
        watch.add(print)
        assert descriptors() > before[0]
        watch.remove(print)
        after = (
            descriptors(),
            len(groupsockReactor.getReaders()),
            groupsockReactor.getDelayedCalls(),
        )
        assert after == before


class ClockReactor(Clock):
    """A clock that can be told to watch descriptors, and does not."""

    def addReader(self, reader: Any) -> None:
        self.reader = reader

    def removeReader(self, reader: Any) -> None:
        pass


def test_withoutNetlinkItLooksEverySecond(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel does not tell, a change is found at the next look."""
    monkeypatch.setattr(linkwatch, "RTMGRP_CHANGES", None)
    clock = ClockReactor()
    watch = LinkWatch(clock)
    told = Told(watch, clock)
    assert watch.isPolling
    clock.pump([POLLING] * 3)
    assert told.count == 0
    namespace.run("ip", "addr", "add", "10.9.9.9/32", "dev", "lo")
    clock.pump([POLLING, SPACING])
    assert told.count == 1
    told.stop()
    assert clock.getDelayedCalls() == []


def test_aRefusedSocketMakesItLook(namespace: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit file without AF_NETLINK makes it slower, not blind."""

    def refuse(*arguments: Any) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    clock = ClockReactor()
    watch = LinkWatch(clock)
    with monkeypatch.context() as patched:
        patched.setattr(linkwatch, "_Messages", refuse)
        watch.add(print)
    assert watch.isPolling
    watch.remove(print)


@pytest.mark.parametrize("isPolling", [False, True])
def test_nowAndThenItIsCalledAnyway(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, isPolling: bool
) -> None:
    """Every half minute, whatever is known."""
    if isPolling:
        monkeypatch.setattr(linkwatch, "RTMGRP_CHANGES", None)
    clock = ClockReactor()
    watch = LinkWatch(clock)
    told = Told(watch, clock)
    clock.pump([1] * round(3 * ANYWAY + 6))
    assert told.count == 3
    told.stop()


def test_aSocketThatFailsIsReplacedByLooking(namespace: Namespace) -> None:
    """Whatever the kernel does to it."""
    clock = ClockReactor()
    watch = LinkWatch(clock)
    told = Told(watch, clock)
    other = socket.socket(socket.AF_INET, socket.SOCK_STREAM)  # reading from it fails: ENOTCONN
    clock.reader._socket.close()
    clock.reader._socket = other
    clock.reader.doRead()
    assert watch.isPolling
    clock.advance(SPACING)
    assert told.count == 1
    assert other.fileno() == -1
    told.stop()
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("isPolling", [False, True])
def test_changesTakeNoMemory(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch, isPolling: bool
) -> None:
    """Interfaces that come and go all day, as on a host of containers, leave nothing behind."""
    if isPolling:
        monkeypatch.setattr(linkwatch, "RTMGRP_CHANGES", None)
    clock = ClockReactor()
    watch = LinkWatch(clock)
    seen: Counter[int] = Counter()

    def changed(state: HostState) -> None:
        state.indexOf("127.0.0.1")
        state.hasJoined(1, parseAddress("239.9.9.9"))
        seen[len(state.interfaces)] += 1

    def comeAndGo() -> None:
        commands = "link add new type veth peer other\nlink del new\n" * 8
        changing = namespace.popen("ip", "-batch", "-")
        assert changing.stdin is not None
        changing.stdin.write(commands.encode())
        changing.stdin.close()
        while changing.poll() is None:
            if not isPolling:
                clock.reader.doRead()
            clock.advance(POLLING)
            clock.advance(SPACING)
        for pipe in (changing.stdout, changing.stderr):
            assert pipe is not None
            pipe.close()

    watch.add(changed)
    comeAndGo()
    before = seen.total()
    kept = blocksKept(comeAndGo, 1)
    assert seen.total() > before
    assert kept < 2 * (seen.total() - before)
    watch.remove(changed)
