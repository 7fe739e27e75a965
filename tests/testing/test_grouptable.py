"""Memberships in memory are those that the kernel would have, whatever is asked for."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tests.ports.support import V4, V6
from txgroupsock.primitives import constants, parseAddress
from txgroupsock.primitives.sockaddr import packSockaddr, protocolLevel
from txgroupsock.primitives.sourcefilter import SourceFilter, packFilter, packGroup, readFilter
from txgroupsock.testing import MemoryNetwork
from txgroupsock.testing.namespaces import Namespace

pytestmark = pytest.mark.lan

GROUPS = {V4: ("239.1.2.3", "232.1.2.3"), V6: ("ff15::1:2:3", "ff35::8000:1")}
SOURCES = {V4: ("127.0.0.1", "127.0.0.2", "127.0.0.3"), V6: ("fd00::1", "fd00::2", "fd00::3")}
LO, ETH0, NONE = 1, 2, 9
PORT = 5004

WITH_GROUP = ("MCAST_JOIN_GROUP", "MCAST_LEAVE_GROUP")
WITH_SOURCE = (
    "MCAST_JOIN_SOURCE_GROUP",
    "MCAST_LEAVE_SOURCE_GROUP",
    "MCAST_BLOCK_SOURCE",
    "MCAST_UNBLOCK_SOURCE",
)
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([*WITH_GROUP, *WITH_SOURCE, *WITH_SOURCE, "MCAST_MSFILTER"]),
        st.sampled_from([LO, LO, LO, ETH0, 0, NONE]),
        st.integers(0, 1),
        st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True),
        st.booleans(),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def network(namespaces: None) -> Iterator[Namespace]:
    """A host with C{lo}, which has three addresses of each family, and an C{eth0}."""
    made = Namespace()
    try:
        made.raiseLoopback()
        made.run(
            *("ip", "-batch", "-"),
            stdin="""
                link add name eth0 index 2 type veth peer name far index 3
                addr add 10.0.0.1/24 dev eth0
                addr add fd00::1/128 dev lo nodad
                addr add fd00::2/128 dev lo nodad
                addr add fd00::3/128 dev lo nodad
                link set eth0 up
                link set far up
                route add 224.0.0.0/4 dev eth0
                route add local ff00::/8 dev lo table local
            """,
        )
        yield made
    finally:
        made.close()


# Not one parametrized test: pytest-twisted wraps what hypothesis calls anew for each parameter.


@given(requests=REQUESTS)
def test_theKernelAnswersTheSameInIPv4(network: Namespace, requests: list[Any]) -> None:
    """Every request has the same errno, leaves the same filter, and the same is heard."""
    compare(network, V4, requests)


@given(requests=REQUESTS)
def test_theKernelAnswersTheSameInIPv6(network: Namespace, requests: list[Any]) -> None:
    """Every request has the same errno, leaves the same filter, and the same is heard."""
    compare(network, V6, requests)


def compare(network: Namespace, family: socket.AddressFamily, requests: list[Any]) -> None:
    """Do the same with a socket of the kernel and one in memory."""
    memory = MemoryNetwork()
    host = memory.host("10.0.0.1", "fd00::9")
    lo = host._interfaces[0]
    host._interfaces[0] = evolve(lo, addresses=(*lo.addresses, *map(parseAddress, SOURCES[V6])))
    with ExitStack() as opened:
        kernels = [opened.enter_context(made) for made in sockets(network, family)]
        memories = [opened.enter_context(host.socket(family)) for _ in kernels]
        for ends in (kernels, memories):
            prepare(ends, family)
        for option, interface, group, sources, isInclude in requests:
            if family == V6 and interface == 0:
                interface = LO  # where the route to groups leads differs between the two
            request = packed(family, option, interface, group, sources, isInclude)
            answers = [
                ask(ends[0], family, getattr(constants, option), request)
                for ends in (kernels, memories)
            ]
            assert answers[0] == answers[1], (option, interface, group, sources)
            assert filters(kernels[0], family) == filters(memories[0], family)
        heard = [exchange(ends, family, memory) for ends in (kernels, memories)]
        assert heard[0] == heard[1]


def sockets(network: Namespace, family: socket.AddressFamily) -> Iterator[socket.socket]:
    """One that is asked, and one for each source to send by."""
    for _ in range(4):
        with network:
            yield socket.socket(family, socket.SOCK_DGRAM)


def prepare(ends: list[Any], family: socket.AddressFamily) -> None:
    """Bind the first to a port and the others to sources, sending by C{lo}."""
    ends[0].setblocking(False)
    ends[0].bind(("", PORT))
    option = constants.IP_MULTICAST_ALL if family == V4 else constants.IPV6_MULTICAST_ALL
    ends[0].setsockopt(protocolLevel(family), option, 0)
    for end, source in zip(ends[1:], SOURCES[family], strict=True):
        end.bind((source, 0))
        value = struct.pack("@4s4si", bytes(4), bytes(4), LO) if family == V4 else LO
        outgoing = socket.IP_MULTICAST_IF if family == V4 else socket.IPV6_MULTICAST_IF
        end.setsockopt(protocolLevel(family), outgoing, value)


def packed(
    family: socket.AddressFamily,
    option: str,
    interface: int,
    group: int,
    sources: list[int],
    isInclude: bool,
) -> bytes:
    """The request as the kernel takes it."""
    addresses = [parseAddress(SOURCES[family][each]) for each in sources]
    request = packGroup(interface, parseAddress(GROUPS[family][group]))
    if option in WITH_SOURCE:
        return request + packSockaddr(addresses[0])
    if option in WITH_GROUP:
        return request
    kept = addresses if len(addresses) < 3 else []
    return request + packFilter(SourceFilter(isInclude, kept))


def ask(end: Any, family: socket.AddressFamily, option: int, request: bytes) -> int | None:
    """The errno of the answer."""
    try:
        end.setsockopt(protocolLevel(family), option, request)
    except OSError as error:
        return error.errno
    return None


def filters(end: Any, family: socket.AddressFamily) -> list[SourceFilter | int | None]:
    """The filter, or the errno instead, of each group on each interface."""
    found: list[SourceFilter | int | None] = []
    for interface in (LO, ETH0):
        for group in GROUPS[family]:
            try:
                found.append(readFilter(end, interface, parseAddress(group)))
            except OSError as error:
                found.append(error.errno)
    return found


def exchange(
    ends: list[Any], family: socket.AddressFamily, memory: MemoryNetwork
) -> list[tuple[bytes, str]]:
    """What is heard if each source sends to each group."""
    for end in ends[1:]:
        for group in GROUPS[family]:
            end.sendto(group.encode(), (group, PORT))
    memory.flush()
    heard: list[tuple[bytes, str]] = []
    while True:
        try:
            payload, sender = ends[0].recvfrom(100)
        except BlockingIOError:
            return heard
        heard.append((payload, sender[0]))


@pytest.mark.parametrize("family", [V4, V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("option", ["MCAST_JOIN_SOURCE_GROUP", "MCAST_BLOCK_SOURCE"])
def test_theLimitOfSourcesIsTheSame(
    network: Namespace, family: socket.AddressFamily, option: str
) -> None:
    """One source too many is refused with the same errno, and so is a filter of too many."""
    host = MemoryNetwork().host("10.0.0.1", "fd00::9")
    group = packGroup(LO, parseAddress(GROUPS[family][0]))
    first = 0x0A010001 if family == V4 else int(parseAddress("fd01::"))
    sources = [type(parseAddress(GROUPS[family][0]))(first + each) for each in range(66)]
    with next(sockets(network, family)) as kernel, host.socket(family) as memory:
        answers: list[list[int | None]] = [[], []]
        for end, given in zip((kernel, memory), answers, strict=True):
            if option == "MCAST_BLOCK_SOURCE":
                given.append(ask(end, family, constants.MCAST_JOIN_GROUP or 0, group))
            number = getattr(constants, option)
            given += [ask(end, family, number, group + packSockaddr(each)) for each in sources]
            for count in (10, 11, 64, 65):
                wanted = packFilter(SourceFilter(True, sources[:count]))
                given.append(ask(end, family, constants.MCAST_MSFILTER or 0, group + wanted))
        assert answers[0] == answers[1]
        assert errno.ENOBUFS in answers[0]
