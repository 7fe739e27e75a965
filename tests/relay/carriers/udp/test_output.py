"""Where a route's datagrams go: real sockets on loopback."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from tests.relay.support import BOTH_FAMILIES, LOOPBACK, Listener, opened, runOf, url
from txgroupsock.interfaces import IRunReceiver
from txgroupsock.primitives import UnknownInterface
from txgroupsock.primitives.run import Run
from txgroupsock.relay.carriers.udp.output import UDPOutput
from txgroupsock.relay.interfaces import IRelayOutput, IWarning
from txgroupsock.relay.models.udp import OutputModel

GROUP = {socket.AF_INET: "239.7.7.7", socket.AF_INET6: "ff15::7777"}
LINK_GROUP = "ff02::7777"
NOWHERE = "udp://192.0.2.1:9"  # RFC 5737


@pytest.fixture(name="noRoute")
def fixtureNoRoute() -> None:
    """Skips where some route leads everywhere: outside the private network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if sock.connect_ex(("192.0.2.1", 9)) != errno.ENETUNREACH:
            pytest.skip("a default route leads to 192.0.2.1 here")


def test_itIsWhatItSays() -> None:
    """An output provides IRelayOutput, and with it IRunReceiver."""
    output = UDPOutput(Clock(), OutputModel.parse("udp://127.0.0.1:9"))
    verifyObject(IRelayOutput, output)
    verifyObject(IRunReceiver, output)
    verifyObject(IWarning, output)
    assert repr(output) == "<UDPOutput udp://127.0.0.1:9>"


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_everyDatagramOfARunIsSent(reactor: Any, family: int) -> None:
    """A run of several datagrams arrives as those datagrams, in order, and each is counted."""
    host = LOOPBACK[socket.AddressFamily(family)]
    with Listener(reactor, host) as listener, opened(url(host, listener.port)) as output:
        output.runReceived(runOf(b"aaa", b"bbb", b"c"))
        output.runReceived(runOf(b""))
        assert await listener.payloads(4) == [b"aaa", b"bbb", b"c", b""]
        assert str(output.counters) == "4 datagrams, 7 bytes, 0 dropped"


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_eachOutputHasItsOwnTTL(reactor: Any, family: socket.AddressFamily) -> None:
    """Two groups get the TTLs of their outputs; one without gets the kernel's 1."""
    group, other = GROUP[family], GROUP[family][:-1] + "8"
    with (
        Listener(reactor, group, group=group) as one,
        Listener(reactor, other, group=other) as two,
        opened(url(group, one.port, "?interface=lo&ttl=7")) as low,
        opened(url(other, two.port, "?interface=lo&ttl=200")) as high,
        opened(url(group, one.port, "?interface=lo")) as usual,
    ):
        for each in (low, high, usual):
            each.runReceived(runOf(b"x"))
        assert [each.ttl for each in await one.take(2)] == [7, 1]
        assert [each.ttl for each in await two.take(1)] == [200]


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_unicastHasItsTTL(reactor: Any, family: socket.AddressFamily) -> None:
    """A host gets the TTL of its output too; without one it is the kernel's, which is not 1."""
    host = LOOPBACK[family]
    with (
        Listener(reactor, host) as listener,
        opened(url(host, listener.port, "?ttl=33")) as chosen,
        opened(url(host, listener.port)) as usual,
    ):
        chosen.runReceived(runOf(b"x"))
        usual.runReceived(runOf(b"x"))
        first, second = await listener.take(2)
        assert first.ttl == 33
        assert second.ttl > 1


@pytest.mark.parametrize("text", ["[ff02::7777%lo]:{}", "[ff02::7777]:{}?interface=lo"])
@pytest_twisted.ensureDeferred
async def test_aLinkLocalGroupIsReached(reactor: Any, text: str) -> None:
    """A link-local group is sent to by its scope or by interface=, which mean the same."""
    with (
        Listener(reactor, LINK_GROUP, group=LINK_GROUP) as listener,
        opened("udp://" + text.format(listener.port)) as output,
    ):
        output.runReceived(runOf(b"hello"))
        assert await listener.payloads(1) == [b"hello"]
        assert output.describe() == [f"sending to ff02::7777 port {listener.port} by lo"]


def test_anUnknownInterfaceIsSaid() -> None:
    """Opening an output on an interface that does not exist raises, naming those that do."""
    output = UDPOutput(Clock(), OutputModel.parse("udp://239.1.1.1:5?interface=nope0"))
    with pytest.raises(UnknownInterface, match=r"nope0.*there are: .*lo"):
        output.openOutput()


def test_aSocketThatCannotBePreparedIsClosed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong once there is a socket, it does not stay open, and nothing is tried."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOBUFS, "no memory")

    monkeypatch.setattr("txgroupsock.primitives.flow.increaseSendBufferTo", refuse)
    clock = Clock()
    output = UDPOutput(clock, OutputModel.parse("udp://127.0.0.1:9"))
    with pytest.raises(OSError, match="no memory"):
        output.openOutput()
    output.runReceived(runOf(b"aa", b"b"))
    assert output.counters.dropped == {"closed": 2}
    assert (output.describe(), output.localAddress, clock.getDelayedCalls()) == ([], None, [])


@BOTH_FAMILIES
@pytest_twisted.ensureDeferred
async def test_theLargestDatagramIsSentAndALargerOneIsDropped(
    reactor: Any, family: socket.AddressFamily
) -> None:
    """What a UDP datagram can hold is sent; a byte more is EMSGSIZE, counted and dropped."""
    most = 65507 if family == socket.AF_INET else 65527
    host = LOOPBACK[family]
    with Listener(reactor, host) as listener, opened(url(host, listener.port)) as output:
        output.runReceived(runOf(bytes(most + 1)))
        output.runReceived(runOf(bytes(most)))
        assert await listener.payloads(1) == [bytes(most)]
        assert output.counters.dropped == {"EMSGSIZE": 1}
        assert output.counters.datagrams == 1


@pytest.mark.usefixtures("noRoute")
def test_anOutputThatWaitsSaysWhatFor() -> None:
    """While a destination cannot be reached that is among the warnings, with what to do."""
    with opened(NOWHERE) as output:
        output.runReceived(runOf(b"x"))
        assert output.warnings() == [
            (
                "cannot be reached now (ENETUNREACH): no route leads there from the source "
                "address: name an interface, or add a route"
            )
        ]


@pytest.mark.usefixtures("noRoute")
def test_whatCannotBeSentIsCounted() -> None:
    """Without a route every datagram is dropped and counted as ENETUNREACH; nothing is raised."""
    with opened(NOWHERE) as output:
        output.runReceived(runOf(b"aa", b"bb", b"c"))
        assert str(output.counters) == "0 datagrams, 0 bytes, 3 dropped (ENETUNREACH 3)"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_aRunArrivesAsItsDatagrams(host: str) -> None:
    """A run of many datagrams is sent whole, its shorter last one too, and counted exactly."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as receiver:
        receiver.bind((host, 0))
        receiver.settimeout(5)
        written = f"[{host}]" if ":" in host else host
        with opened(f"udp://{written}:{receiver.getsockname()[1]}") as output:
            data = b"".join(bytes([number]) * 100 for number in range(70)) + b"last"
            output.runReceived(Run(memoryview(data), 100, ("", 0), 0.0))
            received = [receiver.recv(1000) for _ in range(71)]
            assert b"".join(received) == data
            assert [len(each) for each in received] == [100] * 70 + [4]
            assert (output.counters.datagrams, output.counters.bytes) == (71, 7004)


def test_aClosedOutputDropsAndCounts() -> None:
    """What reaches an output before it is open or after it is closed is counted as dropped."""
    output = UDPOutput(Clock(), OutputModel.parse("udp://127.0.0.1:9"))
    output.runReceived(runOf(b"aa", b"b"))
    output.openOutput()
    output.closeOutput()
    output.closeOutput()
    output.runReceived(runOf(b""))
    assert str(output.counters) == "0 datagrams, 0 bytes, 3 dropped (closed 3)"


def test_whereItSendsIsSaid() -> None:
    """The description has address, port, interface and TTL, as far as they were given."""
    with opened("udp://239.1.1.1:5000?interface=127.0.0.1&ttl=8") as output:
        assert output.describe() == ["sending to 239.1.1.1 port 5000 by lo with TTL 8"]
    with opened("udp://127.0.0.1:5000") as output:
        assert output.describe() == ["sending to 127.0.0.1 port 5000"]
    with opened("udp://127.0.0.1@127.0.0.1:5000?dscp=AF41&rate=20M") as output:
        assert output.describe() == [
            "sending to 127.0.0.1 port 5000 from 127.0.0.1 with DSCP 34, 20.0 Mbit/s at most"
        ]


def test_whatIsFoundFailingStaysCounted() -> None:
    """What a route adds to an output's counters is still there when they are asked for again."""
    output = UDPOutput(Clock(), OutputModel.parse("udp://127.0.0.1:9"))
    output.runReceived(runOf(b"aa", b"b"))
    output.counters.dropped["error"] += 3
    output.runReceived(runOf(b"c"))
    assert output.counters.dropped == {"closed": 3, "error": 3}


@pytest_twisted.ensureDeferred
async def test_aRateLimitDropsAndCounts(reactor: Any) -> None:
    """What is over the rate is dropped as such; what passes is the beginning of each run."""
    clock = Clock()
    with (
        Listener(reactor, "127.0.0.1") as listener,
        opened(f"udp://127.0.0.1:{listener.port}?rate=1M", clock) as output,
    ):
        sizes = [bytes([number]) * 10_000 for number in range(10)]
        output.runReceived(runOf(*sizes))
        assert output.counters.dropped == {"rate": 4}  # of a bucket of 65,535 bytes
        output.runReceived(runOf(bytes(6000)))
        assert output.counters.dropped == {"rate": 5}
        assert await listener.payloads(6) == sizes[:6]
        later = Run(memoryview(bytes(12_500)), 12_500, ("", 0), 0.1)
        output.runReceived(later)
        assert len(await listener.payloads(7)) == 7
        assert str(output.counters) == "7 datagrams, 72,500 bytes, 5 dropped (rate 5)"


def test_warningsSayWhatCameBackAndHowItIsSent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings tell what came back, why datagrams go one by one, and of a small buffer."""
    monkeypatch.setattr("txgroupsock.primitives.flow.UDP_SEGMENT", 9999)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    with opened(f"udp://127.0.0.1:{port}") as output:
        assert output.warnings() == []
        output.runReceived(runOf(b"aa", b"b"))
        assert output.warnings() == [
            "datagrams go one by one: the way there cannot cut them up (ENOPROTOOPT)",
            "came back: ECONNREFUSED 1",
        ]
        assert output.buffer is not None
        assert not output.buffer.isClamped
        monkeypatch.setattr(output._flow, "buffer", evolve(output.buffer, granted=4096))
        assert output.warnings()[-1].startswith("the send buffer is small: raise net.core.wmem_max")
