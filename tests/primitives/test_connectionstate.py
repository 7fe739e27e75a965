from __future__ import annotations

import errno
import socket
from contextlib import suppress

import pytest

from txgroupsock.primitives import NotSupportedHere, SocketOptionError, getConnectionState
from txgroupsock.primitives import connectionstate as module


def connected(stream: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection through C{stream}, which listens."""
    stream.bind(("127.0.0.1" if stream.family == socket.AF_INET else "::1", 0))
    stream.listen()
    client = socket.create_connection(stream.getsockname()[:2])
    return client, stream.accept()[0]


def test_aNewSocketIsClosed(stream: socket.socket) -> None:
    """With nothing measured."""
    state = getConnectionState(stream)
    assert state.state == "CLOSED"
    assert (state.roundTripTime, state.unacknowledged, state.totalRetransmits) == (0, 0, 0)


def test_aListeningSocketListens(stream: socket.socket) -> None:
    """By RFC 9293's name."""
    stream.bind(("127.0.0.1" if stream.family == socket.AF_INET else "::1", 0))
    stream.listen()
    assert getConnectionState(stream).state == "LISTEN"


def test_aConnectionOnLoopbackIsQuick(stream: socket.socket) -> None:
    """Seconds, not microseconds: a round trip on loopback takes less than one."""
    client, server = connected(stream)
    with client, server:
        client.sendall(b"x")
        server.recv(1)
        state = getConnectionState(client)
        assert state.state == "ESTABLISHED"
        assert 0 < state.roundTripTime < 1
        assert 0 < state.roundTripVariance < 1
        assert 0.1 < state.retransmissionTimeout < 10
        assert 0 <= state.silence < 10
        assert (state.retransmits, state.totalRetransmits, state.probes) == (0, 0, 0)
        assert state.congestionWindow > 0
        assert state.segmentSize > 500


def test_whatThePeerHasNotTakenIsSeen(stream: socket.socket) -> None:
    """Bytes that it acknowledged are told from those that wait for it."""
    client, server = connected(stream)
    with client, server:
        before = getConnectionState(client).bytesAcknowledged
        client.sendall(bytes(1000))
        assert len(server.recv(2000)) == 1000
        state = getConnectionState(client)
        if before is None or state.bytesAcknowledged is None:
            pytest.skip("this kernel does not tell")
        assert state.bytesAcknowledged == before + 1000
        assert state.bytesUnsent == 0
        client.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                client.send(bytes(100_000))
        assert getConnectionState(client).bytesUnsent


def test_closingIsSeen(stream: socket.socket) -> None:
    """On both sides."""
    client, server = connected(stream)
    with client, server:
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        assert getConnectionState(server).state == "CLOSE-WAIT"
        assert getConnectionState(client).state in {"FIN-WAIT-1", "FIN-WAIT-2"}


def test_aSocketThatIsNoTCPSocketIsRefused(sock: socket.socket) -> None:
    """The error asks whether it is one."""
    with pytest.raises(SocketOptionError, match="is it a TCP socket") as caught:
        getConnectionState(sock)
    assert caught.value.errno in (errno.ENOPROTOOPT, errno.EOPNOTSUPP)


def test_elsewhereThanOnLinuxItIsNotSupported(
    stream: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other systems lay the structure out in another way, and it is never misread."""
    monkeypatch.setattr(module, "LINUX", False)
    with pytest.raises(NotSupportedHere, match="cannot read TCP_INFO"):
        getConnectionState(stream)
