"""Ports that close themselves, plain sockets to talk to them, and networks to do it in."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults
from twisted.internet.protocol import AbstractDatagramProtocol

from tests.lan.program import waitUntil
from tests.ports.support import Listen, OpenSocket
from txgroupsock import GroupsockReactor, UDPPort
from txgroupsock.primitives import findInterface
from txgroupsock.testing.namespaces import Namespace

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that make a namespace; the hook is called with those of all folders."""
    for item in items:
        if HERE in item.path.parents and "namespace" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.lan)


@pytest.fixture
def groupsockReactor(reactor: Any) -> GroupsockReactor:
    """The running reactor, with groupsock's ports."""
    return GroupsockReactor(reactor)


@pytest.fixture
def listen(groupsockReactor: GroupsockReactor) -> Iterator[Listen]:
    """Opens ports, on 127.0.0.1 unless told otherwise, and closes them after the test."""
    opened: list[UDPPort] = []

    def open_(
        protocol: AbstractDatagramProtocol,
        interface: Any = "127.0.0.1",
        port: int = 0,
        **options: Any,
    ) -> UDPPort:
        made = groupsockReactor.listenMulticast(port, protocol, interface, **options)
        opened.append(made)
        return made

    yield open_
    pytest_twisted.blockon(gatherResults([each.stopListening() for each in opened]))


@pytest.fixture
def openSocket() -> Iterator[OpenSocket]:
    """Opens plain UDP sockets, on 127.0.0.1 unless told otherwise; waits 5 s at most."""
    with ExitStack() as opened:

        def open_(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            made = opened.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            made.settimeout(5)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM)[0][4])
            return made

        yield open_


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A network of the test's own, with nothing but C{lo}; the test runs inside."""
    made = Namespace()
    try:
        made.raiseLoopback()
        made.sysctl("net.ipv6.conf.default.addr_gen_mode", 1)  # no address but those given
        with made:
            yield made
    finally:
        made.close()


@pytest.fixture
def multicastLoopback(namespace: Namespace) -> Namespace:
    """A network where C{lo} carries all multicast, and has the addresses C{ONE} and C{TWO}."""
    namespace.run(
        *("ip", "-batch", "-"),
        stdin="""
            addr add fd00::1/128 dev lo nodad
            addr add fd00::2/128 dev lo nodad
            route add 224.0.0.0/4 dev lo
            route add local ff00::/8 dev lo table local
        """,
    )
    return namespace


@pytest.fixture
def far(namespace: Namespace) -> Iterator[Namespace]:
    """
    The network at the other end of two links, which the test's own has as C{eth0} and C{eth1}.

    On C{eth0} the near end is 10.0.0.1, fd00:0::1 and fe80::1, the far end has 2 for the 1; on
    C{eth1} they are 10.0.1.1, fd00:1::1 and again fe80::1.  Multicast leaves by C{eth0}.
    """
    made = Namespace()
    try:
        made.raiseLoopback()
        made.sysctl("net.ipv6.conf.default.addr_gen_mode", 1)
        for number in (0, 1):
            # Ends of one cable with the same index would get their carrier late; see tests/lan.
            near, peer = f"eth{number} index {1000 + number}", f"eth{number} netns {made.path}"
            _link(namespace, number, 1, f"link add name {near} type veth peer name {peer}")
            _link(made, number, 2)
        namespace.run("ip", "route", "add", "224.0.0.0/4", "dev", "eth0")
        for end in (namespace, made):
            with end:
                waitUntil(_haveCarrier, "both links have a carrier")
        yield made
    finally:
        made.close()


def _haveCarrier() -> bool:
    return all(findInterface(name).isRunning for name in ("eth0", "eth1"))


def _link(namespace: Namespace, number: int, host: int, first: str = "") -> None:
    namespace.run(
        *("ip", "-batch", "-"),
        stdin=f"""
            {first}
            addr add 10.0.{number}.{host}/24 dev eth{number}
            addr add fd00:{number}::{host}/64 dev eth{number} nodad
            addr add fe80::{host}/64 dev eth{number} nodad
            link set eth{number} up
        """,
    )
