"""Both families, sockets that close themselves, and networks to join groups in."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from txgroupsock.testing.namespaces import Namespace

OpenSocket = Callable[..., socket.socket]


@pytest.fixture
def openSocket(family: socket.AddressFamily) -> Iterator[OpenSocket]:
    """Makes sockets of the family, UDP ones unless told otherwise, and closes them."""
    with ExitStack() as opened:

        def make(kind: socket.SocketKind = socket.SOCK_DGRAM) -> socket.socket:
            return opened.enter_context(socket.socket(family, kind))

        yield make


@pytest.fixture
def sock(openSocket: OpenSocket) -> socket.socket:
    """A UDP socket that nothing has been done to."""
    return openSocket()


@pytest.fixture
def stream(openSocket: OpenSocket) -> socket.socket:
    """A TCP socket that nothing has been done to."""
    return openSocket(socket.SOCK_STREAM)


@pytest.fixture
def closedSocket(openSocket: OpenSocket) -> socket.socket:
    """A socket that has been closed."""
    closed = openSocket()
    closed.close()
    return closed


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A network of the test's own, with nothing but C{lo}; the test runs inside."""
    made = Namespace()
    try:
        made.raiseLoopback()
        with made:
            yield made
    finally:
        made.close()


@pytest.fixture
def link(namespace: Namespace) -> Namespace:
    """
    A namespace with one more interface, C{eth0} (10.0.0.1, fd00::1), which multicast leaves by.

    Nobody is at the other end, C{far}.
    """
    namespace.sysctl("net.ipv6.conf.default.addr_gen_mode", 1)  # no address that is not ready yet
    namespace.run(
        *("ip", "-batch", "-"),
        stdin="""
            link add name eth0 type veth peer name far
            addr add 10.0.0.1/24 dev eth0
            addr add fd00::1/64 dev eth0 nodad
            link set far up
            link set eth0 up
            route add 224.0.0.0/4 dev eth0
        """,
    )
    return namespace
