from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txgroupsock.primitives import (
    KeepAlive,
    SocketOptionError,
    clearSocketKeepAlive,
    getSocketKeepAlive,
    setSocketKeepAlive,
)
from txgroupsock.testing.namespaces import Namespace


def settings(sock: socket.socket) -> tuple[int, int, int, int, int]:
    """On or off, idle, interval and count, user timeout: what the kernel has."""
    return (
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    )


def test_theDefaultsAreThoseOfLIVE555(stream: socket.socket) -> None:
    """180 s, then 5 probes 20 s apart; no user timeout."""
    setSocketKeepAlive(stream)
    assert settings(stream) == (1, 180, 20, 5, 0)
    assert KeepAlive() == KeepAlive(180, 20, 5, None)


def test_everyParameterReachesTheKernel(stream: socket.socket) -> None:
    """The user timeout in milliseconds."""
    setSocketKeepAlive(stream, idle=7, interval=3, count=2, userTimeout=12.5)
    assert settings(stream) == (1, 7, 3, 2, 12500)


@pytest.mark.parametrize(
    "extreme", [KeepAlive(1, 1, 1, 0.001), KeepAlive(32767, 32767, 127, 2147483)]
)
def test_theKernelTakesTheExtremes(stream: socket.socket, extreme: KeepAlive) -> None:
    """What the ranges allow, Linux allows."""
    setSocketKeepAlive(stream, extreme.idle, extreme.interval, extreme.count, extreme.userTimeout)
    assert extreme.userTimeout is not None
    milliseconds = round(extreme.userTimeout * 1000)
    assert settings(stream) == (1, extreme.idle, extreme.interval, extreme.count, milliseconds)


WRONG = [
    ({"idle": 0}, "keep-alive idle of 0", "it is from 1 to 32767"),
    ({"idle": 32768}, "keep-alive idle of 32768", "it is from 1 to 32767"),
    ({"interval": 0}, "keep-alive interval of 0", "it is from 1 to 32767"),
    ({"interval": -5}, "keep-alive interval of -5", "it is from 1 to 32767"),
    ({"count": 128}, "keep-alive count of 128", "it is from 1 to 127"),
    ({"userTimeout": 0.0}, "user timeout of 0.0 s", "it is from 0.001 to 2147483"),
    ({"userTimeout": 2147484.0}, "user timeout of 2147484.0 s", "it is from 0.001 to 2147483"),
]


@pytest.mark.parametrize(("parameter", "what", "advice"), WRONG)
def test_aValueOutOfRangeIsRefusedBeforeAnythingIsSet(
    stream: socket.socket, parameter: dict[str, int], what: str, advice: str
) -> None:
    """The error names it and its range, and the socket is as it was."""
    before = settings(stream)
    with pytest.raises(SocketOptionError) as caught:
        setSocketKeepAlive(stream, **parameter)
    assert caught.value.errno == errno.EINVAL
    assert str(caught.value) == f"cannot use a {what}: {os.strerror(errno.EINVAL)}; {advice}"
    assert settings(stream) == before


@given(st.integers(), st.integers(), st.integers())
def test_aKeepAliveIsEitherInRangeOrRefused(idle: int, interval: int, count: int) -> None:
    """No other outcome for any numbers."""
    inRange = 1 <= idle <= 32767 and 1 <= interval <= 32767 and 1 <= count <= 127
    try:
        KeepAlive(idle, interval, count)
    except SocketOptionError:
        assert not inRange
    else:
        assert inRange


def test_aSocketThatIsNoTCPSocketIsRefused(sock: socket.socket) -> None:
    """The error asks whether it is one."""
    with pytest.raises(SocketOptionError) as caught:
        setSocketKeepAlive(sock)
    assert caught.value.errno == errno.ENOPROTOOPT
    assert str(caught.value) == (
        "cannot keep the connection alive (180 s idle, 5 probes 20 s apart): "
        f"{os.strerror(errno.ENOPROTOOPT)}; is it a TCP socket?"
    )


def test_aClosedSocketIsRefused(closedSocket: socket.socket) -> None:
    """EBADF, and what was attempted."""
    with pytest.raises(SocketOptionError, match="cannot keep the connection alive") as caught:
        setSocketKeepAlive(closedSocket)
    assert caught.value.errno == errno.EBADF


def test_anAcceptedConnectionInheritsTheSettings(stream: socket.socket) -> None:
    """Set on a listening socket, they hold for every connection that it accepts (Linux)."""
    address = "127.0.0.1" if stream.family == socket.AF_INET else "::1"
    stream.bind((address, 0))
    setSocketKeepAlive(stream, 30, 5, 3, 9)
    stream.listen()
    with socket.create_connection(stream.getsockname()[:2]), stream.accept()[0] as accepted:
        assert settings(accepted) == (1, 30, 5, 3, 9000)


@pytest.mark.parametrize("wanted", [KeepAlive(), KeepAlive(7, 3, 2, 12.5)])
def test_whatIsSetCanBeRead(stream: socket.socket, wanted: KeepAlive) -> None:
    """The values come back as they were given."""
    setSocketKeepAlive(stream, wanted.idle, wanted.interval, wanted.count, wanted.userTimeout)
    assert getSocketKeepAlive(stream) == wanted


def test_aSocketWithoutKeepAliveSaysSo(stream: socket.socket) -> None:
    """As every new one is."""
    assert getSocketKeepAlive(stream) is None


def test_clearingSwitchesOff(stream: socket.socket) -> None:
    """No probes, and no user timeout."""
    setSocketKeepAlive(stream, userTimeout=5)
    clearSocketKeepAlive(stream)
    assert getSocketKeepAlive(stream) is None
    assert settings(stream)[4] == 0


def test_anEarlierUserTimeoutIsNotLeftInPlace(stream: socket.socket) -> None:
    """Setting parameters without one clears it."""
    setSocketKeepAlive(stream, userTimeout=5)
    setSocketKeepAlive(stream)
    assert getSocketKeepAlive(stream) == KeepAlive()


def test_aTimeThatTheKernelHasButNobodyCanSetIsTheLongest(namespace: Namespace) -> None:
    """The sysctls may hold more than the options take."""
    namespace.sysctl("net.ipv4.tcp_keepalive_time", 100_000)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 100_000
        assert getSocketKeepAlive(sock) == KeepAlive(32767, 75, 9)


@pytest.mark.parametrize("function", [getSocketKeepAlive, clearSocketKeepAlive])
def test_readingAndClearingAClosedSocketAreRefused(
    closedSocket: socket.socket, function: Callable[[socket.socket], object]
) -> None:
    """EBADF."""
    with pytest.raises(SocketOptionError) as caught:
        function(closedSocket)
    assert caught.value.errno == errno.EBADF
