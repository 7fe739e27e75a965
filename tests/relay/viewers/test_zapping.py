"""
Viewers that change channels all the time get the right one, and leave nothing behind.

``TXGROUPSOCK_ZAPPING_SECONDS`` says for how long they do (10).
"""

from __future__ import annotations

import gc
import os
import random
import socket
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import LoopingCall, deferLater

from tests.conftest import resourcesHeld
from tests.relay.viewers.support import HOST, connect, serving, soon
from txgroupsock.relay.http.bounded import BoundedConnection
from txgroupsock.relay.viewers import ViewerService
from txgroupsock.relay.viewers.web import StreamRequest

SECONDS = float(os.environ.get("TXGROUPSOCK_ZAPPING_SECONDS", "10"))
VIEWERS = 100
PORT = 5077
# Half of them are asked for by their source.
GROUPS = [f"239.77.1.{number}" for number in range(1, 21)]
GROUPS += [f"232.77.1.{number}" for number in range(1, 21)]
SIZE = 1316


@define
class Streams:
    """Sends to all groups; each datagram says to which, and which one it is."""

    number: int = 0
    sock: socket.socket = field(factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def __attrs_post_init__(self) -> None:
        self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HOST))
        self.sock.bind((HOST, 0))

    def send(self) -> None:
        """One datagram to each group."""
        for group in GROUPS:
            head = socket.inet_aton(group) + struct.pack("!I", self.number)
            self.sock.sendto((head * (SIZE // 8 + 1))[:SIZE], (group, PORT))
        self.number += 1


def checked(body: bytes, group: str) -> int:
    """How many datagrams a body has, which are all of one group, one after the other."""
    first = struct.unpack_from("!I", body, 4)[0] if body else 0
    whole = len(body) // SIZE
    for index in range(whole):
        head = socket.inet_aton(group) + struct.pack("!I", first + index)
        datagram = body[index * SIZE : (index + 1) * SIZE]
        assert datagram == (head * (SIZE // 8 + 1))[:SIZE], (group, index, datagram[:8])
    return whole


@define
class Zapper:
    """Somebody who watches each channel for about a second."""

    reactor: Any
    service: ViewerService
    rand: random.Random
    seen: Counter[str] = field(factory=Counter)

    async def zap(self, until: float) -> None:
        """Change channels until some time."""
        while self.reactor.seconds() < until:
            group = self.rand.choice(GROUPS)
            source = f"{HOST}@" if group.startswith("232.") else ""
            client = await connect(self.reactor, self.service)
            path = f"/udp/{source}{group}:{PORT}"
            client.transport.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())  # type: ignore[union-attr]
            assert (await client.head(self.reactor)).startswith(b"HTTP/1.1 200 ")
            await deferLater(self.reactor, self.rand.uniform(0.8, 1.2))
            if self.rand.random() < 0.5:
                await client.close(self.reactor)
            else:
                client.transport.loseConnection()  # type: ignore[union-attr]
                await client.answer(self.reactor)
            self.seen[group] += checked(client.body, group)
            self.seen["answers"] += 1
            client.data.clear()  # not with the next garbage collection, for sizes are compared


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memberships() -> list[str]:
    """Lines of the kernel's tables about groups of this test."""
    numbers = {f"{struct.unpack('=I', socket.inet_aton(group))[0]:08X}" for group in GROUPS}
    lines = Path("/proc/self/net/igmp").read_text().splitlines()
    found = [each for each in lines if each.split()[0] in numbers]
    filters = Path("/proc/self/net/mcfilter").read_text().splitlines()
    return found + [each for each in filters if "0xe84d01" in each or "0xef4d01" in each]


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
@pytest_twisted.ensureDeferred
async def test_zappingLeaksNothing(reactor: Any) -> None:
    """A hundred viewers, forty channels, one change a second each: all is as it was before."""
    rand = random.Random(7)
    streams = Streams()
    async with serving(reactor, lingerTime=0.5) as service:
        held = resourcesHeld(reactor).keys()
        sending = LoopingCall(streams.send)
        sending.clock = reactor
        sending.start(0.025)
        zappers = [Zapper(reactor, service, random.Random(rand.random())) for _ in range(VIEWERS)]
        start = reactor.seconds()
        zapping = gatherResults([ensureDeferred(each.zap(start + SECONDS)) for each in zappers])
        await deferLater(reactor, SECONDS / 4)
        assert memberships()
        sizes = [resident()]
        while not zapping.called:
            await deferLater(reactor, 0.5)
            sizes.append(resident())
            assert sum(each.backlog for each in service.status().channels) < 1024 * 1024
        await zapping
        sending.stop()
        await soon(reactor, lambda: not service.status().channels, "all channels are closed")
        await soon(reactor, lambda: not service._site.opened, "all connections are closed")
        seen = sum((each.seen for each in zappers), Counter[str]())
        totals = service.status().totals
        assert totals.viewers == seen["answers"] > VIEWERS * SECONDS / 4
        assert all(seen[group] for group in GROUPS)
        assert totals.skips == 0
        await soon(reactor, lambda: not memberships(), "all groups are left")
        assert resourcesHeld(reactor).keys() == held
        assert max(sizes) - sizes[0] < 8 * 1024 * 1024
        streams.sock.close()
        gc.collect()
        kinds = (BoundedConnection, StreamRequest)  # the log's history may have the others
        assert not [each for each in gc.get_objects() if isinstance(each, kinds)]
