"""Datagrams that come one by one are taken so, but none has to wait for that."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest_twisted
from twisted.internet.protocol import DatagramProtocol

from txgroupsock.ports import GroupsockReactor


class Counting(DatagramProtocol):
    """Counts what it gets."""

    count = 0

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """One more."""
        self.count += 1


@pytest_twisted.ensureDeferred
async def test_whatGathersBetweenLongTurnsIsTakenInFew(reactor: Any) -> None:
    """A port whose datagrams came one by one takes a hundred that wait in a few wake-ups."""
    protocol = Counting()
    port: Any = GroupsockReactor(reactor).listenMulticast(0, protocol, "127.0.0.1", latency=0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        to = ("127.0.0.1", port.getHost().port)
        for _ in range(40):
            sender.sendto(b"x", to)
            time.sleep(0.0002)  # as far apart as datagrams have to be for that
            port.doRead()
        assert protocol.count == 40
        for _ in range(100):
            sender.sendto(b"x", to)
        for _ in range(10):
            time.sleep(0.0002)
            port.doRead()
        assert protocol.count == 140
    await port.stopListening()
