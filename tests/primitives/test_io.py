from __future__ import annotations

import array
import errno
import os
import select
import socket
from collections.abc import Iterator

import pytest

from tests.primitives.conftest import OpenSocket
from tests.primitives.support import LOOPBACK
from txgroupsock.primitives import (
    AddressError,
    PeerClosed,
    Received,
    SocketAddress,
    SocketSetupError,
    TransferError,
    getSourcePort,
    makeSocketBlocking,
    makeSocketNonBlocking,
    parseAddress,
    readSocket,
    toSocketAddress,
    writeSocket,
)
from txgroupsock.testing.namespaces import Namespace


@pytest.fixture
def receiver(openSocket: OpenSocket, family: socket.AddressFamily) -> socket.socket:
    """A bound UDP socket that never waits."""
    sock = openSocket()
    sock.bind((LOOPBACK[family], 0))
    makeSocketNonBlocking(sock)
    return sock


@pytest.fixture
def sender(openSocket: OpenSocket, family: socket.AddressFamily) -> socket.socket:
    """Another one."""
    sock = openSocket()
    sock.bind((LOOPBACK[family], 0))
    return sock


@pytest.fixture
def connection(stream: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection; the second never waits."""
    stream.bind((LOOPBACK[socket.AddressFamily(stream.family)], 0))
    stream.listen()
    with socket.create_connection(stream.getsockname()[:2]) as ours, stream.accept()[0] as theirs:
        makeSocketNonBlocking(theirs)
        yield ours, theirs


def awaitInput(sock: socket.socket) -> None:
    """Wait until there is something to read, or an error to take."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    assert poll.poll(5000)


def writeForever(sock: socket.socket) -> None:
    """Until that fails."""
    while True:
        writeSocket(sock, None, bytes(100_000))


def unusedAddress(family: socket.AddressFamily) -> SocketAddress:
    """A port of this host that nobody listens on."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK[family], 0))
        address: SocketAddress = sock.getsockname()
        return address


# --- Reading a datagram ---------------------------------------------------------------------------


def test_aDatagramIsReadIntoTheBuffer(sender: socket.socket, receiver: socket.socket) -> None:
    """With its size and its sender, who may be answered at once."""
    assert writeSocket(sender, receiver.getsockname(), b"hello") == 5
    awaitInput(receiver)
    buffer = bytearray(10)
    received = readSocket(receiver, buffer)
    assert received == Received(5, 5, sender.getsockname())
    assert not received.isTruncated
    assert bytes(buffer) == b"hello\0\0\0\0\0"
    assert received.sender is not None
    assert writeSocket(receiver, received.sender, b"back") == 4
    assert sender.recv(10) == b"back"


def test_nothingToReadIsNone(receiver: socket.socket) -> None:
    """No exception, and no empty datagram."""
    assert readSocket(receiver, bytearray(10)) is None


def test_anEmptyDatagramIsNotNothing(sender: socket.socket, receiver: socket.socket) -> None:
    """It has a size of 0 and a sender; LIVE555 cannot tell it from nothing."""
    assert writeSocket(sender, receiver.getsockname(), b"") == 0
    awaitInput(receiver)
    assert readSocket(receiver, bytearray(10)) == Received(0, 0, sender.getsockname())
    assert readSocket(receiver, bytearray(10)) is None


def test_aTruncatedDatagramSaysSo(sender: socket.socket, receiver: socket.socket) -> None:
    """What fitted, what there was, and the rest is lost."""
    writeSocket(sender, receiver.getsockname(), b"0123456789")
    awaitInput(receiver)
    buffer = bytearray(4)
    received = readSocket(receiver, buffer)
    assert received == Received(4, 10, sender.getsockname())
    assert received.isTruncated
    assert bytes(buffer) == b"0123"
    assert readSocket(receiver, buffer) is None


def test_aBufferMayBeEmpty(sender: socket.socket, receiver: socket.socket) -> None:
    """The datagram is dropped whole, and its length told."""
    writeSocket(sender, receiver.getsockname(), b"0123456789")
    awaitInput(receiver)
    assert readSocket(receiver, bytearray()) == Received(0, 10, sender.getsockname())


def test_aBufferMayBeAPartOfAnother(sender: socket.socket, receiver: socket.socket) -> None:
    """A view at an offset, as a run is filled; sizes are in bytes whatever its items are."""
    space = bytearray(20)
    writeSocket(sender, receiver.getsockname(), b"abc")
    awaitInput(receiver)
    assert readSocket(receiver, memoryview(space)[5:]) == Received(3, 3, sender.getsockname())
    assert bytes(space[5:8]) == b"abc"
    words = memoryview(array.array("I", [0, 0]))
    writeSocket(sender, receiver.getsockname(), memoryview(array.array("I", [1, 2, 3])))
    awaitInput(receiver)
    assert readSocket(receiver, words) == Received(8, 12, sender.getsockname())
    assert list(words) == [1, 2]


def test_theEchoOfAnEarlierSendIsNothingToRead(
    openSocket: OpenSocket, family: socket.AddressFamily
) -> None:
    """An ICMP error about it comes out of a read once, and means that there was nothing."""
    sock = openSocket()
    makeSocketNonBlocking(sock)
    sock.connect(unusedAddress(family))
    writeSocket(sock, None, b"anybody?")
    awaitInput(sock)
    assert readSocket(sock, bytearray(10)) is None
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def test_aTimeLimitThatPassesIsNothingToRead(receiver: socket.socket) -> None:
    """A socket with Python's own timeout waited for it in vain."""
    receiver.settimeout(0.001)
    assert readSocket(receiver, bytearray(10)) is None


def test_readingAClosedSocketIsAnError(closedSocket: socket.socket) -> None:
    """EBADF, not nothing."""
    with pytest.raises(TransferError) as caught:
        readSocket(closedSocket, bytearray(10))
    assert caught.value.errno == errno.EBADF
    assert str(caught.value) == f"cannot read from the socket: {os.strerror(errno.EBADF)}"


# --- Reading a stream -----------------------------------------------------------------------------


def test_aStreamIsReadInPieces(connection: tuple[socket.socket, socket.socket]) -> None:
    """As many bytes as fit; nothing is truncated, and there is no sender."""
    ours, theirs = connection
    assert readSocket(theirs, bytearray(10)) is None
    assert writeSocket(ours, None, b"hello, world") == 12
    awaitInput(theirs)
    buffer = bytearray(7)
    assert readSocket(theirs, buffer) == Received(7, 7, None)
    assert bytes(buffer) == b"hello, "
    assert readSocket(theirs, buffer) == Received(5, 5, None)
    assert bytes(buffer[:5]) == b"world"
    assert readSocket(theirs, buffer) is None


def test_theEndOfAStreamIsPeerClosed(connection: tuple[socket.socket, socket.socket]) -> None:
    """Neither nothing nor an empty datagram; what came before is read first."""
    ours, theirs = connection
    ours.sendall(b"bye")
    ours.shutdown(socket.SHUT_WR)
    buffer = bytearray(10)
    awaitInput(theirs)
    assert readSocket(theirs, buffer) == Received(3, 3, None)
    awaitInput(theirs)
    for _ in range(2):
        with pytest.raises(PeerClosed) as caught:
            readSocket(theirs, buffer)
        assert str(caught.value) == "cannot read from the stream: the peer has closed it"
        assert caught.value.errno is None


def test_anEmptyBufferDoesNotEndAStream(connection: tuple[socket.socket, socket.socket]) -> None:
    """No room is no end."""
    ours, theirs = connection
    ours.sendall(b"x")
    awaitInput(theirs)
    assert readSocket(theirs, bytearray()) == Received(0, 0, None)


def test_aResetConnectionIsAnError(connection: tuple[socket.socket, socket.socket]) -> None:
    """ECONNRESET stays recognisable."""
    ours, theirs = connection
    makeSocketNonBlocking(theirs)
    theirs.sendall(b"unread")
    awaitInput(ours)
    ours.close()  # with unread data: the peer gets a reset
    awaitInput(theirs)
    with pytest.raises(TransferError) as caught:
        readSocket(theirs, bytearray(10))
    assert caught.value.errno == errno.ECONNRESET


def test_aRefusedConnectionIsAnError(stream: socket.socket, family: socket.AddressFamily) -> None:
    """On a stream ECONNREFUSED is no echo but the end; it is told only once."""
    makeSocketNonBlocking(stream)
    stream.connect_ex(unusedAddress(family))
    awaitInput(stream)
    with pytest.raises(TransferError) as caught:
        readSocket(stream, bytearray(10))
    assert caught.value.errno == errno.ECONNREFUSED


# --- Writing --------------------------------------------------------------------------------------


def test_aDatagramTooLongIsRefusedWhole(sender: socket.socket, receiver: socket.socket) -> None:
    """EMSGSIZE, the size, the destination, and what is possible."""
    with pytest.raises(TransferError) as caught:
        writeSocket(sender, receiver.getsockname(), bytes(70000))
    host, port = receiver.getsockname()[:2]
    where = f"{host}:{port}" if sender.family == socket.AF_INET else f"[{host}]:{port}"
    assert caught.value.errno == errno.EMSGSIZE
    assert str(caught.value).startswith(
        f"cannot send 70000 bytes to {where}: {os.strerror(errno.EMSGSIZE)}; UDP carries at most"
    )
    assert readSocket(receiver, bytearray(10)) is None


@pytest.mark.lan
def test_anUnreachableNetworkIsAnError(namespace: Namespace, openSocket: OpenSocket) -> None:
    """ENETUNREACH, in a namespace without routes."""
    sock = openSocket()
    v4 = sock.family == socket.AF_INET
    address = toSocketAddress(parseAddress("192.0.2.1" if v4 else "2001:db8::1"), 9)
    with pytest.raises(TransferError) as caught:
        writeSocket(sock, address, b"x")
    assert caught.value.errno == errno.ENETUNREACH
    where = "192.0.2.1:9" if v4 else "[2001:db8::1]:9"
    assert str(caught.value) == (
        f"cannot send 1 byte to {where}: {os.strerror(errno.ENETUNREACH)}; no route leads there "
        "from the source address: name an interface, or add a route"
    )


@pytest.mark.lan
def test_whatARouteForbidsIsAnError(namespace: Namespace, openSocket: OpenSocket) -> None:
    """EHOSTUNREACH and EACCES stay apart."""
    sock = openSocket()
    v4 = sock.family == socket.AF_INET
    net, host = ("192.0.2.0/24", "192.0.2.1") if v4 else ("2001:db8::/64", "2001:db8::1")
    for kind, number in (("unreachable", errno.EHOSTUNREACH), ("prohibit", errno.EACCES)):
        namespace.run("ip", "-6" if not v4 else "-4", "route", "replace", kind, net)
        with pytest.raises(TransferError) as caught:
            writeSocket(sock, toSocketAddress(parseAddress(host), 9), b"x")
        assert caught.value.errno == number


def test_broadcastNeedsItsOption() -> None:
    """EACCES, with the option's name; IPv6 has no broadcast."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(TransferError) as caught,
    ):
        writeSocket(sock, ("127.255.255.255", 9), b"xy")
    assert caught.value.errno == errno.EACCES
    assert str(caught.value) == (
        f"cannot send 2 bytes to 127.255.255.255:9: {os.strerror(errno.EACCES)}; "
        "a broadcast address needs SO_BROADCAST"
    )


def test_aFullBufferIsEAGAIN() -> None:
    """On a socket that never waits, and on one whose write timeout passes."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        for prepare in (
            makeSocketNonBlocking,
            lambda sock: makeSocketBlocking(sock, 1),
            lambda sock: sock.settimeout(0.001),
        ):
            prepare(ours)
            with pytest.raises(TransferError) as caught:
                writeForever(ours)
            assert caught.value.errno == errno.EAGAIN
            assert str(caught.value).startswith("cannot send 100000 bytes: ")
            assert "the send buffer is full" in str(caught.value)


def test_theEchoOfAnEarlierSendIsAnErrorOfTheNext(
    openSocket: OpenSocket, family: socket.AddressFamily
) -> None:
    """The kernel reports it then and sends nothing; the one after that goes out."""
    sock = openSocket()
    sock.connect(unusedAddress(family))
    writeSocket(sock, None, b"anybody?")
    awaitInput(sock)
    with pytest.raises(TransferError) as caught:
        writeSocket(sock, None, b"hello?")
    assert caught.value.errno == errno.ECONNREFUSED
    assert "nobody had that port open" in str(caught.value)


def test_aPeerThatHasGoneIsEPIPE(connection: tuple[socket.socket, socket.socket]) -> None:
    """An error, and no SIGPIPE, which pytest itself could survive anyway."""
    ours, _ = connection
    ours.shutdown(socket.SHUT_WR)
    with pytest.raises(TransferError) as caught:
        writeSocket(ours, None, b"x")
    assert caught.value.errno == errno.EPIPE


def test_anUnconnectedSocketNeedsAnAddress(sock: socket.socket) -> None:
    """EDESTADDRREQ or, where the kernel says so, ENOTCONN."""
    with pytest.raises(TransferError, match="cannot send 1 byte: ") as caught:
        writeSocket(sock, None, b"x")
    assert caught.value.errno in (errno.EDESTADDRREQ, errno.ENOTCONN)


def test_aHostThatIsNoAddressIsAnAddressError(sock: socket.socket) -> None:
    """Not the number of a resolver's error, which looks like an errno and is none."""
    other = "::1" if sock.family == socket.AF_INET else "no address"
    with pytest.raises(AddressError) as caught:
        writeSocket(sock, (other, 9), b"x")
    assert caught.value.errno == errno.EINVAL
    assert str(caught.value).startswith(
        f"cannot send to {other!r}: it is no numeric address of this socket's family ("
    )


def test_writingToAClosedSocketIsAnError(closedSocket: socket.socket) -> None:
    """EBADF."""
    with pytest.raises(TransferError) as caught:
        writeSocket(closedSocket, None, b"x")
    assert caught.value.errno == errno.EBADF


# --- The port -------------------------------------------------------------------------------------


def test_anUnboundSocketGetsAPort(sock: socket.socket) -> None:
    """The first time; after that it keeps it."""
    port = getSourcePort(sock)
    assert port == sock.getsockname()[1] > 0
    assert getSourcePort(sock) == port


def test_aBoundSocketKeepsItsPort(receiver: socket.socket, stream: socket.socket) -> None:
    """Nothing is bound again; a stream has a port too."""
    assert getSourcePort(receiver) == receiver.getsockname()[1]
    assert getSourcePort(stream) == stream.getsockname()[1] > 0


def test_aClosedSocketHasNoPort(closedSocket: socket.socket) -> None:
    """EBADF."""
    with pytest.raises(SocketSetupError, match="cannot bind to a port of the kernel's choice") as e:
        getSourcePort(closedSocket)
    assert e.value.errno == errno.EBADF
