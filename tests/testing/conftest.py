"""The two kinds of networks that one test body runs on: the kernel's, and one in memory."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from tests.ports.support import V4, V6, Recorder
from txgroupsock import GroupsockReactor, UDPPort
from txgroupsock.testing import MemoryHost, MemoryNetwork
from txgroupsock.testing.lan import Host, Lan

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the kernel's network; the hook is called with those of all."""
    for item in items:
        if HERE in item.path.parents and "[kernel" in item.name:
            item.add_marker(pytest.mark.lan)


@pytest.fixture(params=[V4, V6], ids=["IPv4", "IPv6"])
def family(request: pytest.FixtureRequest) -> int:
    """Each of the two families."""
    return int(request.param)


class World:
    """Three hosts on one link, and what differs between the two kinds of them."""

    def __init__(self) -> None:
        self._opened: list[UDPPort] = []

    @property
    def hosts(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def reactorOf(self, host: Any) -> GroupsockReactor:
        raise NotImplementedError

    def move(self) -> None:
        """Let datagrams and time move, where they do not by themselves."""

    def awaitMember(self, host: Any, group: str, source: str | None = None) -> None:
        """The link carries a group, or one source of it, to a host."""

    def listen(self, host: Any, interface: str, port: int = 0, **options: Any) -> tuple[Any, ...]:
        """A port of a host and its protocol."""
        protocol = Recorder()
        with host:
            made = self.reactorOf(host).listenMulticast(port, protocol, interface, **options)
        self._opened.append(made)
        return made, protocol

    async def next(self, protocol: Recorder) -> bytes:
        """The next datagram that a protocol gets."""
        return (await self.nextDatagram(protocol))[0]

    async def nextDatagram(self, protocol: Recorder) -> tuple[bytes, tuple[str, int]]:
        self.move()
        return await protocol.nextDatagram()

    async def refusal(self, protocol: Recorder) -> None:
        """A protocol is told that nobody is there."""
        self.move()
        await protocol.refusal()

    def done(self, outcome: Deferred[Any]) -> Deferred[Any]:
        self.move()
        return outcome

    def close(self) -> None:
        closing = gatherResults([each.stopListening() for each in self._opened])
        self.move()
        pytest_twisted.blockon(closing)


class KernelWorld(World):
    def __init__(self, lan: Lan, reactor: Any) -> None:
        super().__init__()
        self._lan = lan
        self._reactor = GroupsockReactor(reactor)

    @property
    def hosts(self) -> tuple[Host, ...]:
        return self._lan.hosts

    def reactorOf(self, host: Any) -> GroupsockReactor:
        return self._reactor

    def awaitMember(self, host: Any, group: str, source: str | None = None) -> None:
        self._lan.waitForMember(host, group, source)


class MemoryWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.network = MemoryNetwork()
        self._hosts = tuple(
            self.network.host(f"10.0.0.{n}", f"fd00::{n}", f"fe80::{n}") for n in (1, 2, 3)
        )

    @property
    def hosts(self) -> tuple[MemoryHost, ...]:
        return self._hosts

    def reactorOf(self, host: Any) -> GroupsockReactor:
        reactor: GroupsockReactor = host.reactor
        return reactor

    def move(self) -> None:
        self.network.flush()


@pytest.fixture(params=["kernel", "memory"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Each kind of network."""
    if request.param == "memory":
        made: World = MemoryWorld()
    else:
        made = KernelWorld(request.getfixturevalue("lan"), request.getfixturevalue("reactor"))
    yield made
    made.close()


def addressOf(host: Any, family: int) -> str:
    """The address of a host that everybody can reach."""
    address: str = host.ipv4 if family == socket.AF_INET else host.ipv6
    return address
