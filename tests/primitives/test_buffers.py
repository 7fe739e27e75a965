from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from txgroupsock.primitives import (
    BufferSize,
    SocketOptionError,
    getReceiveBufferSize,
    getSendBufferSize,
    increaseReceiveBufferTo,
    increaseSendBufferTo,
    setReceiveBufferTo,
    setSendBufferTo,
)
from txgroupsock.primitives.errors import readSysctl

Get = Callable[[socket.socket], int]
Set = Callable[..., BufferSize]
EACH = pytest.mark.parametrize(
    ("get", "put", "increase", "option", "sysctl"),
    [
        (
            getSendBufferSize,
            setSendBufferTo,
            increaseSendBufferTo,
            socket.SO_SNDBUF,
            "net.core.wmem_max",
        ),
        (
            getReceiveBufferSize,
            setReceiveBufferTo,
            increaseReceiveBufferTo,
            socket.SO_RCVBUF,
            "net.core.rmem_max",
        ),
    ],
    ids=["send", "receive"],
)


def limitOf(sysctl: str) -> int:
    """The present limit; a test that needs it is skipped where it cannot be read."""
    limit = readSysctl(sysctl)
    if limit is None:
        pytest.skip(f"{sysctl} is not visible in this network namespace")
    return limit


def force(sock: socket.socket, put: Set, size: int) -> None:
    """Pass the limit, or skip the test."""
    if put(sock, size, force=True).granted < size:
        pytest.skip("passing the limit needs CAP_NET_ADMIN over the machine, not a namespace")


@EACH
def test_sizesAreInTheUnitInWhichOneAsks(
    sock: socket.socket, get: Get, put: Set, increase: Set, option: int, sysctl: str
) -> None:
    """What is granted equals what was asked; Linux itself reports twice as much."""
    granted = put(sock, 65536)
    assert granted == BufferSize(65536, 65536, sysctl)
    assert not granted.isClamped
    assert granted.advice == ""
    assert get(sock) == 65536
    assert sock.getsockopt(socket.SOL_SOCKET, option) == 2 * 65536


@EACH
def test_aBufferCanBeMadeSmaller(
    sock: socket.socket, get: Get, put: Set, increase: Set, option: int, sysctl: str
) -> None:
    """By `set`, down to the kernel's least."""
    put(sock, 65536)
    assert put(sock, 16384).granted == get(sock) == 16384
    least = put(sock, 0)
    assert least.granted == get(sock) > 0
    assert not least.isClamped


@EACH
def test_aClampIsVisibleAndNamesTheSysctl(
    sock: socket.socket, get: Get, put: Set, increase: Set, option: int, sysctl: str
) -> None:
    """Linux cuts silently to the limit; here the caller sees it and what to raise."""
    limit = limitOf(sysctl)
    for ask in (put, increase):
        size = ask(sock, limit + 1)
        assert size == BufferSize(limit + 1, limit, sysctl)
        assert size.isClamped
        assert size.advice == f"raise {sysctl} (now {limit}) with 'sysctl -w'"


@EACH
def test_increasingNeverShrinks(
    sock: socket.socket, get: Get, put: Set, increase: Set, option: int, sysctl: str
) -> None:
    """What is large enough stays as it is; what is not grows."""
    put(sock, 65536)
    assert increase(sock, 1000) == BufferSize(1000, 65536, sysctl)
    assert increase(sock, 65536).granted == 65536
    assert increase(sock, 100_000).granted == get(sock) == 100_000


@EACH
def test_increasingNeverShrinksABufferThatPassedTheLimit(
    sock: socket.socket, get: Get, put: Set, increase: Set, option: int, sysctl: str
) -> None:
    """Setting SO_RCVBUF anew would cut a forced buffer down to the limit."""
    limit = limitOf(sysctl)
    force(sock, put, 2 * limit)
    assert increase(sock, 3 * limit).granted == get(sock) == 2 * limit
    assert increase(sock, 3 * limit).isClamped
    assert increase(sock, limit).granted == 2 * limit
    assert increase(sock, 3 * limit, force=True) == BufferSize(3 * limit, 3 * limit, sysctl)


@given(sizes=st.lists(st.integers(0, 2**30 - 1), max_size=8))
def test_noSeriesOfIncreasesEverShrinks(sizes: list[int]) -> None:
    """Whatever is asked in whatever order."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for size in sizes:
            for get, increase in (
                (getSendBufferSize, increaseSendBufferTo),
                (getReceiveBufferSize, increaseReceiveBufferTo),
            ):
                before = get(sock)
                after = increase(sock, size)
                assert after.granted == get(sock) >= before
                assert after.isClamped == (after.granted < size)


@EACH
@pytest.mark.parametrize("size", [-1, 2**30, 2**31, 2**40])
def test_aSizeOutOfRangeIsRefused(
    sock: socket.socket, get: Get, put: Set, increase: Set, option: int, sysctl: str, size: int
) -> None:
    """Which Linux would take for another number; with and without force."""
    before = get(sock)
    for ask in (put, increase):
        for forced in (False, True):
            with pytest.raises(SocketOptionError) as caught:
                ask(sock, size, force=forced)
            assert caught.value.errno == errno.EINVAL
            assert f"buffer of {size} bytes" in str(caught.value)
            assert "it is from 0 to less than 1 GiB" in str(caught.value)
    assert get(sock) == before


@EACH
def test_aClosedSocketIsAnError(
    closedSocket: socket.socket, get: Get, put: Set, increase: Set, option: int, sysctl: str
) -> None:
    """EBADF, and which buffer."""
    direction = "send" if get is getSendBufferSize else "receive"
    for attempt, operation in (
        (lambda: get(closedSocket), f"read the size of the {direction} buffer"),
        (lambda: put(closedSocket, 9), f"set a {direction} buffer of 9 bytes"),
        (lambda: put(closedSocket, 9, force=True), f"set a {direction} buffer of 9 bytes"),
        (lambda: increase(closedSocket, 9), f"read the size of the {direction} buffer"),
    ):
        with pytest.raises(SocketOptionError) as caught:
            attempt()
        assert caught.value.errno == errno.EBADF
        assert str(caught.value) == f"cannot {operation}: {os.strerror(errno.EBADF)}"


def test_aSizeWithoutASysctlHasNoAdvice() -> None:
    """As on systems that refuse instead of cutting."""
    assert BufferSize(2, 1, "").isClamped
    assert BufferSize(2, 1, "").advice == ""


class StrictSocket(socket.socket):
    """A socket that refuses what it cannot give, as the BSDs do, instead of cutting it."""

    def setsockopt(self, level: int, option: int, value: int) -> None:  # type: ignore[override]
        """Take up to 100,000 bytes, and nothing by force."""
        if value > 100_000 or option not in {socket.SO_SNDBUF, socket.SO_RCVBUF}:
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        super().setsockopt(level, option, value)


@EACH
def test_anIncreaseThatIsRefusedIsTriedInSmallerSteps(
    get: Get, put: Set, increase: Set, option: int, sysctl: str
) -> None:
    """Until one is taken; a plain `set` is an error there."""
    with StrictSocket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        put(sock, 10_000)
        for force_ in (False, True):
            size = increase(sock, 400_000, force=force_)
            assert 50_000 < size.granted == get(sock) <= 100_000
            assert size.isClamped
        with pytest.raises(SocketOptionError) as caught:
            put(sock, 400_000)
        assert caught.value.errno == errno.ENOBUFS
