from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from tests.primitives.conftest import OpenSocket
from tests.primitives.support import GROUP, LEVEL
from txgroupsock.primitives import (
    SocketOptionError,
    UnknownInterface,
    bindToDevice,
    getMulticastInterface,
    getMulticastLoop,
    getMulticastTTL,
    ignoreSigPipeOnSocket,
    makeSocketBlocking,
    makeSocketNonBlocking,
    setMulticastInterface,
    setMulticastLoop,
    setMulticastTTL,
    setReuse,
)
from txgroupsock.primitives.constants import IP_MULTICAST_ALL, IPV6_MULTICAST_ALL
from txgroupsock.primitives.options import hearOnlyOwnGroups
from txgroupsock.testing.namespaces import Namespace

MULTICAST_ALL = {socket.AF_INET: IP_MULTICAST_ALL, socket.AF_INET6: IPV6_MULTICAST_ALL}


def writeTimeout(sock: socket.socket) -> float:
    """What the kernel says SO_SNDTIMEO is, in seconds."""
    answer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.calcsize("@ll"))
    seconds, microseconds = struct.unpack("@ll", answer)
    return float(seconds + microseconds / 1e6)


def test_aSocketIsMadeNonBlockingAndBlockingAgain(sock: socket.socket) -> None:
    """O_NONBLOCK follows, as the kernel has it and as Python sees it."""
    makeSocketNonBlocking(sock)
    assert not os.get_blocking(sock.fileno())
    assert not sock.getblocking()
    makeSocketBlocking(sock)
    assert os.get_blocking(sock.fileno())
    assert sock.gettimeout() is None


@pytest.mark.parametrize("milliseconds", [1000, 20, 60_500])
def test_aWriteTimeoutIsSet(sock: socket.socket, milliseconds: int) -> None:
    """SO_SNDTIMEO has whole seconds and the rest (to a clock tick, at most 10 ms)."""
    makeSocketBlocking(sock, milliseconds)
    assert writeTimeout(sock) == pytest.approx(milliseconds / 1000, abs=0.01)


def test_noWriteTimeoutClearsAnEarlierOne(sock: socket.socket) -> None:
    """LIVE555 leaves it in place."""
    makeSocketBlocking(sock, 5000)
    makeSocketBlocking(sock)
    assert writeTimeout(sock) == 0


def test_aNegativeWriteTimeoutIsRefused(sock: socket.socket) -> None:
    """And the socket stays as it was."""
    makeSocketNonBlocking(sock)
    with pytest.raises(SocketOptionError) as caught:
        makeSocketBlocking(sock, -1)
    assert caught.value.errno == errno.EINVAL
    assert "cannot use a write timeout of -1 ms" in str(caught.value)
    assert not sock.getblocking()


@pytest.mark.parametrize("address", [True, False])
@pytest.mark.parametrize("port", [True, False])
def test_theReuseFlagsAreReadBack(openSocket: OpenSocket, *, address: bool, port: bool) -> None:
    """SO_REUSEADDR and SO_REUSEPORT, each on its own, on and off again."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        sock = openSocket(kind)
        for flip in (True, False):
            setReuse(sock, address=address ^ flip, port=port ^ flip)
        assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)) is address
        assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)) is port


@pytest.mark.parametrize("enabled", [False, True])
def test_theMulticastLoopIsReadBack(sock: socket.socket, *, enabled: bool) -> None:
    """What was set is what the kernel has."""
    setMulticastLoop(sock, enabled=not enabled)
    setMulticastLoop(sock, enabled=enabled)
    assert getMulticastLoop(sock) is enabled


@pytest.mark.parametrize("ttl", [0, 1, 64, 255])
def test_theMulticastTTLIsReadBack(sock: socket.socket, ttl: int) -> None:
    """What was set is what the kernel has; LIVE555 does this for IPv4 alone."""
    assert getMulticastTTL(sock) == 1
    setMulticastTTL(sock, ttl)
    assert getMulticastTTL(sock) == ttl


@pytest.mark.parametrize("ttl", [-1, 256])
def test_aTTLOutOfRangeIsRefused(sock: socket.socket, ttl: int) -> None:
    """-1 too, by which kernels mean the default."""
    setMulticastTTL(sock, 9)
    with pytest.raises(SocketOptionError) as caught:
        setMulticastTTL(sock, ttl)
    assert caught.value.errno == errno.EINVAL
    assert str(caught.value) == (
        f"cannot use a TTL of {ttl}: {os.strerror(errno.EINVAL)}; it is from 0 to 255"
    )
    assert getMulticastTTL(sock) == 9


@pytest.mark.lan
def test_theMulticastInterfaceIsReadBack(link: Namespace, openSocket: OpenSocket) -> None:
    """An address for IPv4, an index for IPv6; "any" undoes it."""
    sock = openSocket()
    v4 = sock.family == socket.AF_INET
    unset: str | int = "0.0.0.0" if v4 else 0
    assert getMulticastInterface(sock) == unset
    for which in ("eth0", socket.if_nametoindex("eth0"), "10.0.0.1", "fd00::1"):
        setMulticastInterface(sock, which)
        expected: str | int = "10.0.0.1" if v4 else socket.if_nametoindex("eth0")
        assert getMulticastInterface(sock) == expected
    setMulticastInterface(sock, None)
    assert getMulticastInterface(sock) == unset


@pytest.mark.lan
def test_theAddressThatNamesTheMulticastInterfaceIsTheSenders(link: Namespace) -> None:
    """Of several addresses on one interface, datagrams come from the one that was named."""
    link.run("ip", "addr", "add", "10.1.0.1/24", "dev", "eth0")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.settimeout(5)
        receiver.bind(("", 0))
        request = socket.inet_aton("239.1.2.3") + socket.inet_aton("10.0.0.1")
        receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
        setMulticastInterface(sender, "10.1.0.1")
        sender.sendto(b"x", ("239.1.2.3", receiver.getsockname()[1]))
        assert receiver.recvfrom(10)[1][0] == "10.1.0.1"
        assert getMulticastInterface(sender) == "10.1.0.1"


@pytest.mark.lan
def test_multicastLeavesByAnInterfaceWithoutAnAddress(
    namespace: Namespace, openSocket: OpenSocket
) -> None:
    """The index is enough for the kernel, in a network that has no route for the group."""
    namespace.run("ip", "link", "add", "bare", "up", "type", "veth", "peer", "bare2")
    namespace.run("ip", "link", "set", "bare2", "up")
    sender = openSocket()
    setMulticastInterface(sender, "bare")
    if sender.family == socket.AF_INET:
        assert getMulticastInterface(sender) == "0.0.0.0"
        assert sender.sendto(b"x", (GROUP[sender.family], 5004)) == 1
    else:
        assert getMulticastInterface(sender) == socket.if_nametoindex("bare")


def test_anUnknownMulticastInterfaceIsAnError(sock: socket.socket) -> None:
    """It names the interface, and nothing was set."""
    with pytest.raises(UnknownInterface, match="cannot find the interface nope"):
        setMulticastInterface(sock, "nope")


@pytest.mark.lan
def test_multicastAllIsCleared(namespace: Namespace, openSocket: OpenSocket) -> None:
    """IP_MULTICAST_ALL for IPv4, IPV6_MULTICAST_ALL for IPv6: on at first, then off."""
    sock = openSocket()
    option = MULTICAST_ALL[sock.family]
    assert option is not None
    assert sock.getsockopt(LEVEL[sock.family], option) == 1
    hearOnlyOwnGroups(sock)
    assert sock.getsockopt(LEVEL[sock.family], option) == 0


def test_whatIsNoInternetSocketCannotHearOnlyItsGroups() -> None:
    """Any errno but that of an old kernel is an error."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix,
        pytest.raises(SocketOptionError, match="cannot hear only joined groups") as caught,
    ):
        hearOnlyOwnGroups(unix)
    assert caught.value.errno == errno.EOPNOTSUPP


class OldSocket(socket.socket):
    """A socket of a kernel that does not know the option yet."""

    def setsockopt(self, *_arguments: object) -> None:
        """Refuse it."""
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))


def test_anOldKernelIsNoError(family: socket.AddressFamily) -> None:
    """IPV6_MULTICAST_ALL is of Linux 4.20; without it a socket hears more, as it always did."""
    with OldSocket(family, socket.SOCK_DGRAM) as sock:
        hearOnlyOwnGroups(sock)


@pytest.mark.lan
def test_aSocketIsBoundToADeviceAndFreedAgain(link: Namespace, openSocket: OpenSocket) -> None:
    """SO_BINDTODEVICE has the device's name, however it was named; an empty one undoes it."""
    sock = openSocket()
    for name in ("eth0", "10.0.0.1", "fd00::1", str(socket.if_nametoindex("eth0"))):
        bindToDevice(sock, name)
        device = sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
        assert device.rstrip(b"\0") == b"eth0"
    bindToDevice(sock, "")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b""


def test_anUnknownDeviceIsAnError(sock: socket.socket) -> None:
    """It is looked up before the socket is touched."""
    with pytest.raises(UnknownInterface, match="cannot find the interface nope"):
        bindToDevice(sock, "nope")


@pytest.mark.parametrize(
    ("attempt", "operation"),
    [
        (makeSocketNonBlocking, "make the socket non-blocking"),
        (makeSocketBlocking, "make the socket blocking with a write timeout of 0 ms"),
        (lambda sock: setReuse(sock, address=True, port=True), "share the port"),
        (lambda sock: setMulticastLoop(sock, enabled=True), "set the multicast loop"),
        (getMulticastLoop, "read the multicast loop"),
        (lambda sock: setMulticastTTL(sock, 5), "set a multicast TTL of 5"),
        (getMulticastTTL, "read the multicast TTL"),
        (lambda sock: setMulticastInterface(sock, "lo"), "send multicast by lo"),
        (getMulticastInterface, "read the multicast interface"),
        (lambda sock: bindToDevice(sock, "lo"), "bind to the device lo"),
        (hearOnlyOwnGroups, "hear only joined groups"),
    ],
)
def test_aClosedSocketIsAnErrorThatNamesTheOperation(
    closedSocket: socket.socket, attempt: Callable[[socket.socket], object], operation: str
) -> None:
    """EBADF, and what was attempted."""
    with pytest.raises(SocketOptionError) as caught:
        attempt(closedSocket)
    assert caught.value.errno == errno.EBADF
    assert str(caught.value).startswith(f"cannot {operation}: {os.strerror(errno.EBADF)}")
    assert isinstance(caught.value.__cause__, OSError)


def test_aBrokenPipeIsAnErrorAgain() -> None:
    """After the host program chose to die of SIGPIPE, a write to a closed peer does not end it."""
    program = """
import signal, socket
from txgroupsock.primitives import TransferError, ignoreSigPipeOnSocket, writeSocket
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
ours, theirs = socket.socketpair()
ignoreSigPipeOnSocket(ours)
theirs.close()
try:
    ours.send(b"x", 0)
except BrokenPipeError:
    print("survived", signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "survived True\n", "")


def test_aHandlerOfTheProgramsOwnIsLeftAlone(sock: socket.socket) -> None:
    """It does not end the process, so there is nothing to mend."""
    seen: list[int] = []
    before = signal.signal(signal.SIGPIPE, lambda number, _frame: seen.append(number))
    try:
        mine = signal.getsignal(signal.SIGPIPE)
        ignoreSigPipeOnSocket(sock)
        assert signal.getsignal(signal.SIGPIPE) is mine
    finally:
        signal.signal(signal.SIGPIPE, before)
    ignoreSigPipeOnSocket(sock)
    assert signal.getsignal(signal.SIGPIPE) is before


def test_sigPipeCannotBeIgnoredFromAnotherThread(sock: socket.socket) -> None:
    """Python refuses that; the error says what to do."""
    errors: list[SocketOptionError] = []

    def attempt() -> None:
        try:
            ignoreSigPipeOnSocket(sock)
        except SocketOptionError as error:
            errors.append(error)

    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    finally:
        signal.signal(signal.SIGPIPE, before)
    (error,) = errors
    assert error.errno is None
    assert str(error) == (
        "cannot ignore SIGPIPE: Python lets only the main thread do that; "
        "call this once in the main thread"
    )
