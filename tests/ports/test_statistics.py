from __future__ import annotations

import socket
from collections import Counter
from contextlib import suppress

import pytest

from tests.ports.support import OpenSocket
from txgroupsock import PortStatistics
from txgroupsock.ports import statistics
from txgroupsock.ports.statistics import kernelDrops
from txgroupsock.primitives import setReceiveBufferTo
from txgroupsock.primitives.constants import SO_MEMINFO

pytestmark = pytest.mark.skipif(SO_MEMINFO is None, reason="this kernel does not tell")


def test_beginsWithNothing() -> None:
    """New counts are zero, and each object has counters of its own."""
    one, two = PortStatistics(), PortStatistics()
    one.sendErrors[1] += 1
    assert two == PortStatistics()
    assert two.sendErrors == two.receiveErrors == Counter()
    assert {two.datagramsReceived, two.bytesReceived, two.datagramsTruncated} == {0}
    assert {two.datagramsSent, two.bytesSent, two.datagramsDropped, two.datagramsQueued} == {0}


def test_kernelDrops(openSocket: OpenSocket) -> None:
    """What a full receive buffer costs is what was sent less what can be read."""
    receiver, sender = openSocket(), openSocket()
    setReceiveBufferTo(receiver, 0)
    assert kernelDrops(receiver) == 0
    for _ in range(50):
        sender.sendto(bytes(1000), receiver.getsockname())
    receiver.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while receiver.recv(2000):
            count += 1
    assert 0 < count < 50
    assert kernelDrops(receiver) == 50 - count


def test_kernelDropsOfAClosedSocket(openSocket: OpenSocket) -> None:
    """Nobody knows about a socket that is closed."""
    sock = openSocket()
    sock.close()
    assert kernelDrops(sock) is None


def test_otherKernels(monkeypatch: pytest.MonkeyPatch, openSocket: OpenSocket) -> None:
    """A kernel without the option does not tell, and one that is too old neither."""
    sock = openSocket()
    monkeypatch.setattr(statistics, "SO_MEMINFO", 9999)
    with pytest.raises(OSError, match="not available"):
        sock.getsockopt(socket.SOL_SOCKET, 9999)
    assert kernelDrops(sock) is None
    monkeypatch.setattr(statistics, "SO_MEMINFO", None)
    assert kernelDrops(sock) is None
