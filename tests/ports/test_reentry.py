"""What a protocol gets that has the reactor turn, or a port read, while it is given something."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ports.kinds import KINDS, ArrivalKind, PlainKind, Waker, sendNumbered
from tests.ports.support import Listen, OpenSocket, addressOf, turn
from tests.ports.test_runs import train
from txgroupsock import UDPPort
from txgroupsock.ports.pacing import Shared
from txgroupsock.primitives.batch import Single


@pytest.fixture
def waker() -> Waker:
    """A reactor that turns when it is told to."""
    made: Any = Waker
    return made()  # type: ignore[no-any-return]


@pytest.fixture(params=["batch", "single"])
def open_(request: pytest.FixtureRequest, waker: Waker) -> Iterator[Callable[..., UDPPort]]:
    """Opens ports that share what they receive into, over both ways to receive."""
    shared = Shared(waker)
    with ExitStack() as opened:

        def open__(protocol: Any, **options: Any) -> UDPPort:
            port = UDPPort(waker, protocol, 0, "127.0.0.1", shared=shared, **options)
            port.startListening()
            opened.callback(port.connectionLost)
            if request.param == "single" and not isinstance(protocol, ArrivalKind):
                port._receiving = Single()
            return port

        yield open__


@pytest.mark.parametrize("isLone", [False, True], ids=["many", "lone"])
@pytest.mark.parametrize("other", KINDS)
@pytest.mark.parametrize("kind", KINDS)
class TestBetweenPorts:
    def test_anotherPortIsRead(
        self,
        open_: Callable[..., UDPPort],
        openSocket: OpenSocket,
        kind: type[PlainKind],
        other: type[PlainKind],
        isLone: bool,
    ) -> None:
        """A protocol that has another port read gets its own datagrams, and so does the other."""
        ours, theirs = kind(), other()
        port, second = open_(ours), open_(theirs)
        port._lone = second._lone = 16 * isLone
        sender = openSocket()
        sent = sendNumbered(sender, port, b"AAA", 0, 5)
        foreign = sendNumbered(sender, second, b"BBB", 0, 5)
        ours.log.during.append(second.doRead)
        port.doRead()
        assert (ours.log.payloads, theirs.log.payloads) == (sent, foreign)
        assert not ours.log.changed


@pytest.mark.parametrize("isLone", [False, True], ids=["many", "lone"])
@pytest.mark.parametrize("kind", KINDS)
class TestSamePort:
    def test_thePortIsRead(
        self,
        open_: Callable[..., UDPPort],
        openSocket: OpenSocket,
        kind: type[PlainKind],
        isLone: bool,
    ) -> None:
        """A protocol that has its own port read gets everything once, in order."""
        protocol = kind()
        port = open_(protocol)
        port._lone = 16 * isLone
        sender, another = openSocket(), openSocket()
        sent: list[bytes] = []

        def sendMore() -> None:
            sent.extend(sendNumbered(sender, port, b"AAA", len(sent), 3))
            sent.extend(sendNumbered(another, port, b"AA", len(sent), 2))

        def again() -> None:
            sendMore()
            port.doRead()

        protocol.log.during.extend([again, again, again])
        sendMore()
        port.doRead()
        assert protocol.log.payloads == sent
        assert len(sent) == 20
        assert not protocol.log.changed
        assert port.statistics.datagramsReceived == 20

    def test_trains(
        self,
        open_: Callable[..., UDPPort],
        openSocket: OpenSocket,
        kind: type[PlainKind],
        isLone: bool,
    ) -> None:
        """So it does if they come in trains."""
        protocol = kind()
        port = open_(protocol)
        if isinstance(port._receiving, Single):
            pytest.skip("only where the kernel coalesces")
        port._lone = 16 * isLone
        sender = openSocket()
        payloads = [b"%04d" % number for number in range(30)]
        train(sender, payloads[:10], addressOf(port))

        def again() -> None:
            train(sender, payloads[10:20], addressOf(port))
            port.doRead()
            train(sender, payloads[20:], addressOf(port))

        protocol.log.during.append(again)
        port.doRead()
        port.doRead()
        assert protocol.log.payloads == payloads
        assert not protocol.log.changed

    def test_theReactorTurnsUntilMoreComes(
        self,
        open_: Callable[..., UDPPort],
        openSocket: OpenSocket,
        waker: Waker,
        kind: type[PlainKind],
        isLone: bool,
    ) -> None:
        """A protocol that has the reactor turn gets in those turns what has been read already."""
        protocol = kind()
        port = open_(protocol)
        port._lone = 16 * isLone
        sent: list[bytes] = []
        for _ in range(5):  # of different senders, so that no two are one run
            sent += sendNumbered(openSocket(), port, b"AAA", len(sent), 1)
        had: list[int] = []

        def waitForAll() -> None:
            for _ in range(60):
                waker.iterate()
            had.append(len(protocol.log.payloads))

        protocol.log.during.append(waitForAll)
        port.doRead()
        assert had == [5]
        assert protocol.log.payloads == sent
        assert not waker.getDelayedCalls()

    def test_pausedInTurn(
        self,
        open_: Callable[..., UDPPort],
        openSocket: OpenSocket,
        waker: Waker,
        kind: type[PlainKind],
        isLone: bool,
    ) -> None:
        """A port that is paused, and goes on, in a turn that its protocol makes keeps the order."""
        protocol = kind()
        port = open_(protocol)
        port._lone = 16 * isLone
        senders = [openSocket() for _ in range(3)]
        sent: list[bytes] = []
        for number in range(9):
            sent += sendNumbered(senders[number % 3], port, b"AAA", number, 1)

        def pause() -> None:
            port.pauseProducing()
            waker.iterate()
            port.doRead()
            port.resumeProducing()
            sent.extend(sendNumbered(senders[0], port, b"AAA", len(sent), 1))
            waker.iterate()

        protocol.log.during.extend([pause, pause, port.pauseProducing])
        for _ in range(10):
            if not port.isReading:
                port.resumeProducing()
            waker.iterate()
        assert protocol.log.payloads == sent

    def test_closedInTurn(
        self,
        open_: Callable[..., UDPPort],
        openSocket: OpenSocket,
        waker: Waker,
        kind: type[PlainKind],
        isLone: bool,
    ) -> None:
        """A port that is closed, and opened again, in such a turn begins with nothing."""
        protocol = kind()
        port = open_(protocol)
        port._lone = 16 * isLone
        for number in range(3):
            sendNumbered(openSocket(), port, b"AAA", number, 1)
        sent: list[bytes] = []

        def reopen() -> None:
            port.stopListening()
            waker.iterate()
            assert not port.connected
            port.startListening()
            sent.extend(sendNumbered(openSocket(), port, b"BBB", 0, 3))

        protocol.log.during.append(reopen)
        waker.iterate()
        waker.iterate()
        assert protocol.log.payloads == [b"AAA000", *sent]


@pytest.mark.parametrize("kind", KINDS)
@pytest_twisted.ensureDeferred
async def test_realTurns(
    reactor: Any, listen: Listen, openSocket: OpenSocket, kind: type[PlainKind]
) -> None:
    """In turns of a real reactor inside one another, every protocol gets its own, in order."""
    if not hasattr(reactor, "mainLoop") or "Asyncio" in type(reactor).__name__:
        pytest.skip("an asyncio loop does not run inside itself")
    protocols = [kind() for _ in range(3)]
    ports = [listen(each) for each in protocols]
    sender = openSocket()
    sent: list[list[bytes]] = [[], [], []]
    had: list[int] = []

    def sendMore() -> None:
        for port, payloads in zip(ports, sent, strict=True):
            payloads += sendNumbered(sender, port, b"P%d" % port.getHost().port, len(payloads), 5)

    def turnAround() -> None:
        sendMore()
        for _ in range(100):
            reactor.iterate(0)
            if all(len(each.log.payloads) >= 10 for each in protocols):
                break
        had.append(sum(len(each.log.payloads) for each in protocols))

    for each in protocols:
        each.log.during.append(turnAround)
    sendMore()
    while [each.log.payloads for each in protocols] != sent or any(
        each.log.during for each in protocols
    ):
        assert sum(len(each.log.payloads) for each in protocols) <= 60
        await turn()
    assert had == [60, 60, 60]
    assert not any(each.log.changed for each in protocols)


# A loop inside itself, as nest_asyncio makes it; what is due outside stays there.
_NESTED = """
import asyncio, socket
from collections import deque
from twisted.internet import asyncioreactor
loop = asyncio.SelectorEventLoop()
asyncioreactor.install(loop)
from twisted.internet import reactor
from tests.ports.kinds import KINDS, sendNumbered
from txgroupsock import GroupsockReactor

asyncio.Handle._run = lambda self: self._context.copy().run(self._callback, *self._args)

def nested():
    ready, loop._ready = loop._ready, deque()
    for _ in range(5):
        loop.call_soon(str)
        loop._run_once()
    ready.extend(loop._ready)
    loop._ready = ready

listening = GroupsockReactor(reactor)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
kinds = [kind for kind in KINDS for _ in range(2)]
protocols = [kind() for kind in kinds]
ports = [listening.listenUDP(0, each, "127.0.0.1") for each in protocols]
sent = [sendNumbered(sender, port, b"P%d" % index, 0, 5) for index, port in enumerate(ports)]
for protocol in protocols:
    protocol.log.during.extend([nested] * 2)

def look(left=200):
    if left and [each.log.payloads for each in protocols] != sent:
        reactor.callLater(0.01, look, left - 1)
    else:
        reactor.stop()

look()
reactor.run()
assert [each.log.payloads for each in protocols] == sent, [each.log.payloads for each in protocols]
assert not any(each.log.changed for each in protocols)
"""


def test_nestedLoop() -> None:
    """In an asyncio loop that a protocol runs inside itself, every protocol gets its own, too."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", _NESTED]
    ended = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=30, cwd=root
    )
    assert ended.returncode == 0, ended.stderr


class _Play:
    """Three ports, and what happens while their protocols are given something."""

    def __init__(
        self, opened: ExitStack, kinds: tuple[type[PlainKind], ...], ways: tuple[str, ...]
    ):
        made: Any = Waker
        self.waker: Waker = made()
        self.protocols = [kind() for kind in kinds]
        self.sent: list[list[bytes]] = [[], [], []]
        self._senders = [
            opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)
        ]
        self.ports = []
        shared = Shared(self.waker)
        for protocol, way in zip(self.protocols, ways, strict=True):
            port = UDPPort(self.waker, protocol, 0, "127.0.0.1", shared=shared)
            port.startListening()
            opened.callback(port.connectionLost)
            port._lone = 16 * (way == "lone")
            if way == "single" and not isinstance(protocol, ArrivalKind):
                port._receiving = Single()
            self.ports.append(port)

    @property
    def got(self) -> list[list[bytes]]:
        return [each.log.payloads for each in self.protocols]

    @property
    def isOver(self) -> bool:
        return self.got == self.sent and not any(each.log.during for each in self.protocols)

    def read(self, which: int) -> None:
        if self.ports[which].isReading:
            self.ports[which].doRead()

    def turn(self, which: int) -> None:
        self.waker.iterate()

    def pause(self, which: int) -> None:
        port = self.ports[which]
        if port.isReading:
            port.pauseProducing()
            self.waker.callLater(0.002, port.resumeProducing)

    def send(self, which: int) -> None:
        for number in range(4):
            sender, have = self._senders[number // 3], len(self.sent[which])
            self.sent[which] += sendNumbered(sender, self.ports[which], b"P%d" % which, have, 1)


_STEP = st.tuples(
    st.integers(0, 2), st.sampled_from(["read", "turn", "pause", "send"]), st.integers(0, 2)
)


@settings(max_examples=40, deadline=None)
@given(
    script=st.lists(_STEP, min_size=1, max_size=25),
    kinds=st.tuples(*[st.sampled_from(KINDS)] * 3),
    ways=st.tuples(*[st.sampled_from(["batch", "single", "lone"])] * 3),
)
def test_whateverProtocolsDo(
    script: list[tuple[int, str, int]], kinds: tuple[type[PlainKind], ...], ways: tuple[str, ...]
) -> None:
    """Whatever protocols do while they are given something, each gets its own, once, in order."""
    with ExitStack() as opened:
        play = _Play(opened, kinds, ways)
        for owner, action, which in script:
            during = play.protocols[owner].log.during
            during.append(partial(getattr(play, action), which))
        for _ in range(100):
            if play.got == play.sent:
                if play.sent[0] and play.isOver:
                    break
                for which in range(3):
                    play.send(which)
            play.waker.iterate()
        assert play.got == play.sent
        assert not any(each.log.changed for each in play.protocols)
