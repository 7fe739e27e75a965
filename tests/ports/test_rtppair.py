from __future__ import annotations

import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol

from tests.lan.listener import Listener
from txgroupsock import GroupsockReactor, JoinError
from txgroupsock.ports import rtppair as module
from txgroupsock.ports.udp import UDPPort


class Noting(Listener):
    """Notes when it is started and stopped, and the number of its port."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[int] = []
        self.stopped = 0

    def startProtocol(self) -> None:
        transport: Any = self.transport
        self.started.append(transport.getHost().port)

    def stopProtocol(self) -> None:
        self.stopped += 1


@pytest.fixture
def ours(reactor: Any) -> Any:
    """The reactor to open pairs with."""
    return GroupsockReactor(reactor)


def freePair() -> int:
    """An even port that is free, as is the next one."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as even:
            even.bind(("", 0))
            number: int = even.getsockname()[1]
            if number % 2:
                continue
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as odd:
                try:
                    odd.bind(("", number + 1))
                except OSError:
                    continue
                return number


@pytest.mark.parametrize(("interface", "address"), [("", "127.0.0.1"), ("::", "::1")])
@pytest_twisted.ensureDeferred
async def test_theKernelChoosesAnEvenAndTheNextPort(
    reactor: Any, ours: Any, interface: str, address: str
) -> None:
    """Each protocol is told once, and hears what comes to its port."""
    for _ in range(10):
        rtp, rtcp = Noting(), Noting()
        pair = ours.listenRTP(0, rtp, rtcp, interface)
        assert pair.rtp.getHost().port % 2 == 0
        assert pair.rtcp.getHost().port == pair.rtp.getHost().port + 1
        assert rtp.started == [pair.rtp.getHost().port]
        assert rtcp.started == [pair.rtcp.getHost().port]
        rtp.transport.write(b"to rtcp", (address, rtcp.started[0]))  # type: ignore[union-attr] # started
        await rtcp.has(reactor, 1)
        rtcp.transport.write(b"to rtp", (address, rtp.started[0]))  # type: ignore[union-attr] # started
        await rtp.has(reactor, 1)
        await pair.stopListening()
        assert (rtp.stopped, rtcp.stopped) == (1, 1)


@pytest.mark.parametrize("odd", [0, 1])
@pytest_twisted.ensureDeferred
async def test_aPairOfOnesChoice(ours: Any, odd: int) -> None:
    """An odd number stands for the even one before it."""
    number = freePair()
    rtp, rtcp = Noting(), Noting()
    pair = ours.listenRTP(number + odd, rtp, rtcp)
    assert (rtp.started, rtcp.started) == ([number], [number + 1])
    await pair.stopListening()


@pytest.mark.parametrize("taken", [0, 1])
def test_aPairThatIsTakenIsRefused(ours: Any, taken: int) -> None:
    """Either half of it; neither protocol was told, and nothing is open."""
    number = freePair()
    rtp, rtcp = Noting(), Noting()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", number + taken))
        with pytest.raises(CannotListenError, match=f":{number + taken}"):
            ours.listenRTP(number, rtp, rtcp)
    assert (rtp.started, rtcp.started, rtp.stopped, rtcp.stopped) == ([], [], 0, 0)


@pytest.mark.parametrize("port", [1, -1, 65536])
def test_aPairThatThereCannotBeIsRefused(ours: Any, port: int) -> None:
    """Port 1 has no even one before it that can be listened on."""
    with pytest.raises(CannotListenError):
        ours.listenRTP(port, Noting(), Noting())


class Kernel:
    """Chooses ports from a list where a port of its own choice is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, choices: list[int]) -> None:
        self.choices = choices

        class Chosen(UDPPort):
            def startListening(inner) -> None:
                if inner.port == 0:
                    inner.port = self.choices.pop(0)
                super().startListening()

        monkeypatch.setattr(module, "UDPPort", Chosen)


@pytest.mark.parametrize("half", [0, 1])
@pytest_twisted.ensureDeferred
async def test_whereTheOtherHalfIsTakenTheKernelChoosesAgain(
    ours: Any, monkeypatch: pytest.MonkeyPatch, half: int
) -> None:
    """What it chose first is given back."""
    first, second = freePair(), freePair()
    while second == first:
        second = freePair()
    Kernel(monkeypatch, [first + half, second + half])
    rtp, rtcp = Noting(), Noting()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", first + 1 - half))
        pair = ours.listenRTP(0, rtp, rtcp)
        assert (rtp.started, rtcp.started) == ([second], [second + 1])
        await pair.stopListening()


def test_whenNoPairIsFreeItEnds(ours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some tries, with the last one's error."""
    monkeypatch.setattr(module, "_TRIES", 3)
    number = freePair()

    class Same(UDPPort):
        def startListening(self) -> None:
            if self.port == 0:
                self.listenMultiple = True
                self.port = number
            super().startListening()

    monkeypatch.setattr(module, "UDPPort", Same)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", number + 1))
        with pytest.raises(CannotListenError, match=f":{number + 1}"):
            ours.listenRTP(0, Noting(), Noting())


@pytest.mark.parametrize("group", ["232.1.1.1", "ff3e::8000:1"])
@pytest.mark.parametrize("count", [0, 2])
@pytest_twisted.ensureDeferred
async def test_bothJoinTheGroup(ours: Any, group: str, count: int) -> None:
    """From any source or from chosen ones, in the group's family."""
    sources = ["fd00::1", "fd00::2"] if ":" in group else ["10.0.0.1", "10.0.0.2"]
    pair = ours.listenRTP(0, Noting(), Noting(), "lo", group=group, sources=sources[:count])
    for port in (pair.rtp, pair.rtcp):
        joined = port.getMemberships()
        assert {str(each.group) for each in joined} == {group}
        assert [str(each.source) for each in joined] == (sources[:count] or ["None"])
    await pair.stopListening()


@pytest.mark.parametrize(
    ("group", "sources", "what"),
    [("10.0.0.1", [], "as a group"), ("232.1.1.1", ["x"], "use 'x'"), ("nonsense", [], "nonsense")],
)
def test_aGroupThatCannotBeJoinedLeavesNothing(
    ours: Any, group: str, sources: list[str], what: str
) -> None:
    """Neither port stays open, and neither protocol was told."""
    rtp, rtcp = Noting(), Noting()
    with pytest.raises(JoinError, match=what):
        ours.listenRTP(0, rtp, rtcp, group=group, sources=sources)
    assert (rtp.started, rtcp.started) == ([], [])


def test_sourcesNeedAGroup(ours: Any) -> None:
    """They are nobody's otherwise."""
    with pytest.raises(ValueError, match="name it"):
        ours.listenRTP(0, Noting(), Noting(), sources=["10.0.0.1"])


class Bad(DatagramProtocol):
    """Does not start."""

    noisy = False

    def startProtocol(self) -> None:
        raise RuntimeError("on purpose")


def test_aProtocolThatDoesNotStartLeavesNothing(ours: Any) -> None:
    """The other one, if it was started, is stopped."""
    other = Noting()
    with pytest.raises(RuntimeError, match="on purpose"):
        ours.listenRTP(0, other, Bad())
    assert (len(other.started), other.stopped) == (1, 1)
    unstarted = Noting()
    with pytest.raises(RuntimeError, match="on purpose"):
        ours.listenRTP(0, Bad(), unstarted)
    assert (len(unstarted.started), unstarted.stopped) == (0, 0)


@pytest_twisted.ensureDeferred
async def test_aPairMayBeShared(ours: Any) -> None:
    """As several receivers of one group on a host do; not one that the kernel chose."""
    number = freePair()
    pairs = [ours.listenRTP(number, Noting(), Noting(), listenMultiple=True) for _ in range(2)]
    chosen = ours.listenRTP(0, Noting(), Noting(), listenMultiple=True)
    assert not chosen.rtp.listenMultiple
    for each in (*pairs, chosen):
        await each.stopListening()
