from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from zope.interface.verify import verifyObject

from tests.lan.listener import Listener
from tests.ports.test_framing import pieces, until
from txgroupsock import InterleavedRTSP
from txgroupsock.ports.interleaving import (
    InterleavedFrame,
    InterleavedParser,
    InterleavingError,
    RTSPMessage,
)

OPTIONS = b"OPTIONS rtsp://h/ RTSP/2.0\r\nCSeq: 1\r\n\r\n"
WITH_BODY = b"ANNOUNCE rtsp://h/ RTSP/1.0\r\nContent-Length: 9\r\n\r\n$\0\0\1$body"


def frame(channel: int, data: bytes) -> bytes:
    """A frame on the wire."""
    return struct.pack("!cBH", b"$", channel, len(data)) + data


def message(body: bytes, name: bytes = b"Content-Length") -> bytes:
    """A message on the wire."""
    return b"SET_PARAMETER * RTSP/2.0\r\n%b: %d\r\n\r\n%b" % (name, len(body), body)


items = st.one_of(
    st.builds(InterleavedFrame, st.integers(0, 255), st.binary(max_size=100)),
    st.builds(lambda body: RTSPMessage(message(body)), st.binary(max_size=100)),
    st.just(RTSPMessage(OPTIONS)),
)


def wire(item: InterleavedFrame | RTSPMessage) -> bytes:
    """An item on the wire."""
    return frame(item.channel, item.data) if isinstance(item, InterleavedFrame) else item.data


@given(st.lists(items, max_size=8), st.lists(st.integers(0, 5000), max_size=20))
def test_itemsArriveHoweverTheStreamIsCut(
    sent: list[InterleavedFrame | RTSPMessage], cuts: list[int]
) -> None:
    """Each whole, in order; dollar signs in a body are nothing special."""
    parser = InterleavedParser()
    data = b"".join(map(wire, sent))
    assert [each for piece in pieces(data, cuts) for each in parser.feed(piece)] == sent


def outcome(parts: list[bytes]) -> tuple[list[object], bool]:
    """What a parser finds, and whether it gave up."""
    parser = InterleavedParser(maxHead=64, maxBody=32)
    found: list[object] = []
    try:
        for each in parts:
            found += parser.feed(each)
            assert len(parser._buffer) <= 0xFFFF + 4
    except InterleavingError:
        return found, True
    return found, False


@given(
    st.lists(
        st.sampled_from(
            [
                b"$",
                b"\0",
                b"\1",
                b"\r",
                b"\n",
                b"\r\n\r\n",
                b"Content-Length",
                b": ",
                b"5",
                b"-",
                b"a",
            ]
        ),
        max_size=60,
    ).map(b"".join),
    st.lists(st.integers(0, 500), max_size=10),
)
def test_noInputIsTooStrange(data: bytes, cuts: list[int]) -> None:
    """It is parsed or refused, and alike however it was cut; nothing else is raised."""
    whole, failed = outcome([data])
    inBytes, failedInBytes = outcome([data[place : place + 1] for place in range(len(data))])
    assert failedInBytes == failed
    assert inBytes[: len(whole)] == whole if failed else inBytes == whole
    assert outcome(pieces(data, cuts))[1] == failed


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 5\r\n\r\n",
        b"CONTENT-LENGTH:5\r\n\r\n",
        b"A: b\r\nContent-Length :  5 \r\nB: c\r\n\r\n",
        b"Content-Length: 5\n\n",
        b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
    ],
)
def test_aLengthIsUnderstood(head: bytes) -> None:
    """Whatever its case and its spaces, and with bare line feeds as RFC 2326 admits."""
    data = b"X * RTSP/1.0\r\n" + head + b"12345"
    assert list(InterleavedParser().feed(data + frame(1, b"next"))) == [
        RTSPMessage(data),
        InterleavedFrame(1, b"next"),
    ]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"x" * 20_000, "head of a message is longer than 16384"),
        (b"x" * 20_000 + b"\r\n\r\n", "head of a message is longer than 16384"),
        (b"X\r\nContent-Length: -1\r\n\r\n", "no good Content-Length: b'-1'"),
        (b"X\r\nContent-Length: \r\n\r\n", "no good Content-Length: b''"),
        (b"X\r\nContent-Length: 1e3\r\n\r\n", "no good Content-Length: b'1e3'"),
        (b"X\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "no good Content-Length"),
        (b"X\r\nContent-Length: 262145\r\n\r\n", "body of a message is longer than 262144"),
        (b"X\r\nContent-Length: " + b"9" * 9000 + b"\r\n\r\n", "longer than 262144"),
    ],
)
def test_whatIsNoRTSPIsRefused(data: bytes, what: str) -> None:
    """The error says why."""
    with pytest.raises(InterleavingError, match=what):
        list(InterleavedParser().feed(data))


def test_emptyLinesBetweenMessagesAreNothing() -> None:
    """Before messages and before frames."""
    data = b"\r\n" + OPTIONS + b"\r\n\n" + frame(2, b"x") + b"\r\n\r\n" + OPTIONS
    assert list(InterleavedParser().feed(data)) == [
        RTSPMessage(OPTIONS),
        InterleavedFrame(2, b"x"),
        RTSPMessage(OPTIONS),
    ]


def test_aLongHeadIsNotSearchedAgainAndAgain() -> None:
    """A head that comes byte by byte costs its length, not the square of it."""
    parser = InterleavedParser(maxHead=1_000_000)
    for _ in range(200_000):
        assert not list(parser.feed(b"x"))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length: 1" + b" " * 16000 + b"1",
        b"Content-Length" + b" " * 16000,
        b"Content-Length:" + b" 1" * 8000,
        b"Content-Length: 1\r" * 900,
        b"a\n" * 8000,
    ],
    ids=["spaces", "no colon", "numbers", "returns", "lines"],
)
def test_aHeadTakesTimeByItsLength(line: bytes) -> None:
    """Whatever is in it; where a head took the square of its length, this took a minute."""
    for _ in range(20):
        with contextlib.suppress(InterleavingError):
            list(InterleavedParser().feed(b"X\r\n" + line + b"\r\n\r\n"))


@pytest.mark.timeout(20)
def test_emptyLinesTakeTimeByTheirNumber() -> None:
    """Between frames, too, however many come at once."""
    parser = InterleavedParser()
    assert sum(1 for _ in parser.feed(b"\r\n$\0\0\0" * 100_000)) == 100_000


# --- The protocol ----------------------------------------------------------------------------


class Stopping(Listener):
    """Says when it is stopped."""

    stopped = 0

    def stopProtocol(self) -> None:
        self.stopped += 1


def overMemory() -> tuple[Any, Any, list[bytes]]:
    """A protocol on a connection in memory, and the messages it receives."""
    messages: list[bytes] = []
    made: Any = InterleavedRTSP(messages.append)
    transport = StringTransport()
    made.makeConnection(transport)
    return made, transport, messages


def test_eachChannelHasItsProtocol() -> None:
    """And the messages between the frames go to the function."""
    made, transport, messages = overMemory()
    rtp, rtcp = Listener(), Listener()
    assert verifyObject(IUDPTransport, made.openChannel(0, rtp))
    made.openChannel(1, rtcp, peer=("10.0.0.9", 5005))
    made.dataReceived(
        frame(0, b"rtp") + OPTIONS + frame(1, b"rtcp") + WITH_BODY + frame(7, b"nobody's")
    )
    assert rtp.received == [(b"rtp", ("192.168.1.1", 54321))]
    assert rtcp.received == [(b"rtcp", ("10.0.0.9", 5005))]
    assert messages == [OPTIONS, WITH_BODY]
    assert made.framesUnclaimed == 1
    assert rtp.transport is not None
    assert rtcp.transport is not None
    rtp.transport.write(b"to", None)
    rtcp.transport.write(b"fro", ("10.0.0.9", 5005))
    made.sendMessage(OPTIONS)
    assert transport.value() == frame(0, b"to") + frame(1, b"fro") + OPTIONS


def test_messagesMayGoToASubclass() -> None:
    """Which overrides the method."""

    class Server(InterleavedRTSP):
        def messageReceived(self, message: bytes) -> None:
            self.sendMessage(b"RTSP/1.0 200 OK\r\n\r\n")

    made: Any = Server()
    transport = StringTransport()
    made.makeConnection(transport)
    made.dataReceived(OPTIONS)
    assert transport.value() == b"RTSP/1.0 200 OK\r\n\r\n"
    InterleavedRTSP().messageReceived(OPTIONS)


def test_aChannelIsClosedAndOpenedAgain() -> None:
    """By its transport or by number; its protocol is stopped."""
    made, _, _ = overMemory()
    first, second = Stopping(), Stopping()
    transport = made.openChannel(255, first)
    with pytest.raises(ValueError, match="channel 255 is open already"):
        made.openChannel(255, second)
    transport.stopListening()
    assert first.stopped == 1
    transport.write(b"late")
    assert transport.statistics.datagramsDropped == 1
    made.openChannel(255, second)
    made.dataReceived(frame(255, b"x"))
    assert (len(first.received), len(second.received)) == (0, 1)
    made.closeChannel(255)
    made.closeChannel(255)
    assert second.stopped == 1


@pytest.mark.parametrize("channel", [-1, 256])
def test_thereAre256Channels(channel: int) -> None:
    """And no others."""
    made, _, _ = overMemory()
    with pytest.raises(ValueError, match="channels are from 0 to 255"):
        made.openChannel(channel, Listener())


def test_withoutAConnectionThereAreNoChannels() -> None:
    """Before it is made and after it was lost."""
    made = InterleavedRTSP()
    made.loseConnection()
    made.sendMessage(b"nowhere")
    with pytest.raises(RuntimeError, match="no connection"):
        made.openChannel(0, Listener())
    made, _, _ = overMemory()
    made.loseConnection()
    with pytest.raises(RuntimeError, match="no connection"):
        made.openChannel(0, Listener())


def test_aProtocolThatDoesNotStartHasNoChannel() -> None:
    """What it raised goes to the caller."""

    class Bad(DatagramProtocol):
        noisy = False

        def startProtocol(self) -> None:
            raise RuntimeError("on purpose")

    made, _, _ = overMemory()
    with pytest.raises(RuntimeError, match="on purpose"):
        made.openChannel(0, Bad())
    made.openChannel(0, Listener())


def test_whatIsNoRTSPIsCutOff() -> None:
    """At once; every channel's protocol is stopped when the connection is lost."""
    made, transport, messages = overMemory()
    listener = Stopping()
    made.openChannel(0, listener)
    made.dataReceived(frame(0, b"x") + b"X\r\nContent-Length: x\r\n\r\n" + OPTIONS)
    assert transport.disconnected
    assert len(listener.received) == 1
    assert messages == []
    made.connectionLost()
    assert listener.stopped == 1


def test_whatTheFunctionRaisesIsLogged() -> None:
    """And what comes after it arrives."""
    got: list[bytes] = []

    def fail(message: bytes) -> None:
        got.append(message)
        raise RuntimeError("on purpose")

    made: Any = InterleavedRTSP(fail)
    made.makeConnection(StringTransport())
    made.dataReceived(OPTIONS + OPTIONS)
    assert got == [OPTIONS, OPTIONS]


def test_afterClosingNothingIsHandedOn() -> None:
    """Not even what had arrived already."""
    got: list[bytes] = []
    made: Any = None

    def closing(message: bytes) -> None:
        got.append(message)
        made.loseConnection()

    made = InterleavedRTSP(closing)
    transport = StringTransport()
    made.makeConnection(transport)
    made.dataReceived(OPTIONS + OPTIONS)
    assert got == [OPTIONS]
    assert transport.disconnecting


def test_whileThePeerTakesNothing() -> None:
    """Datagrams are dropped, messages wait up to a limit, and then it is given up."""
    made, transport, _ = overMemory()
    channel = made.openChannel(0, Listener())
    transport.producer.pauseProducing()
    channel.write(b"dropped")
    made.sendMessage(bytes(200_000))
    transport.producer.resumeProducing()
    transport.producer.pauseProducing()
    made.sendMessage(bytes(200_000))
    assert len(transport.value()) == 400_000
    assert channel.statistics.datagramsDropped == 1
    assert not transport.disconnected
    made.sendMessage(bytes(200_000))
    assert transport.disconnected
    assert len(transport.value()) == 400_000
    made.sendMessage(b"nowhere")


@pytest_twisted.ensureDeferred
async def test_aPeerThatAsksWithoutEndAndReadsNothingIsGivenUp(reactor: Any) -> None:
    """What its answers cost in memory is bounded."""
    servers: list[Any] = []

    class Server(InterleavedRTSP):
        answered = 0
        lost = False

        def messageReceived(self, message: bytes) -> None:
            self.answered += 1
            self.sendMessage(b"RTSP/1.0 200 OK\r\nX: " + bytes(1000) + b"\r\n\r\n")

        def connectionLost(self, *reason: Any) -> None:
            super().connectionLost(*reason)
            self.lost = True

    class Servers(Factory):
        noisy = False

        def buildProtocol(self, addr: object) -> Server:
            built = Server()
            servers.append(built)
            return built

    port = reactor.listenTCP(0, Servers(), interface="127.0.0.1")
    with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
        client.setblocking(False)
        for _ in range(2000):
            try:
                client.send(OPTIONS * 100)
            except BlockingIOError:
                pass
            except OSError:
                break
            await deferLater(reactor, 0)
            if servers and servers[0].lost:
                break
        await until(reactor, lambda: servers[0].lost)
    await port.stopListening()
