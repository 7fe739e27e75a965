from __future__ import annotations

import errno
import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.primitives.conftest import OpenSocket
from tests.primitives.support import LOOPBACK, OTHER_FAMILY
from txgroupsock.primitives import (
    AddressError,
    Ancillary,
    SocketOptionError,
    ancillaryFor,
    parseAddress,
    writeSocket,
)
from txgroupsock.testing.namespaces import Namespace

V4, V6 = socket.AF_INET, socket.AF_INET6
IP_RECVTTL = 12  # linux/in.h; in Python since 3.14
# What a receiver has to ask for to be told TTL and DSCP of each message.
ASKS = {
    V4: [(socket.IPPROTO_IP, IP_RECVTTL), (socket.IPPROTO_IP, socket.IP_RECVTOS)],
    V6: [
        (socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT),
        (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS),
    ],
}


def received(family: socket.AddressFamily, ancillary: Ancillary) -> tuple[list[int], str]:
    """TTL and traffic class of a message sent so over loopback, and the sender's address."""
    with (
        socket.socket(family, socket.SOCK_DGRAM) as sender,
        socket.socket(family, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.settimeout(5)
        receiver.bind((LOOPBACK[family], 0))
        for level, option in ASKS[family]:
            receiver.setsockopt(level, option, 1)
        writeSocket(sender, receiver.getsockname(), b"x", ancillary)
        _, items, _, address = receiver.recvmsg(16, 256)
        values = {kind: int.from_bytes(value, "little") for _, kind, value in items}
        kinds = (
            (socket.IP_TTL, socket.IP_TOS)
            if family == V4
            else (socket.IPV6_HOPLIMIT, socket.IPV6_TCLASS)
        )
        return [values[kind] for kind in kinds], str(address[0])


def test_nothingGivenIsNothingSent(family: socket.AddressFamily) -> None:
    """What is not asked for is left to the socket."""
    assert ancillaryFor(family) == []


@pytest.mark.parametrize(("ttl", "dscp"), [(1, 0), (7, 46), (255, 63)])
def test_theMessageHasTheTTLAndTheDSCP(family: socket.AddressFamily, ttl: int, dscp: int) -> None:
    """Its receiver finds them in its header; nothing was set on the socket."""
    numbers, _ = received(family, ancillaryFor(family, ttl=ttl, dscp=dscp))
    assert numbers == [ttl, dscp << 2]


@pytest.mark.lan
def test_theMessageComesFromTheSource(link: Namespace, family: socket.AddressFamily) -> None:
    """Any address of this host, whatever the routes prefer."""
    source = parseAddress("127.0.0.7" if family == V4 else "fd00::1")
    assert received(family, ancillaryFor(family, source=source))[1] == str(source)


@pytest.mark.lan
def test_theMessageLeavesByTheInterface(link: Namespace, openSocket: OpenSocket) -> None:
    """Where no route leads, the interface is enough."""
    sock = openSocket()
    far = socket.if_nametoindex("far")
    link.run("ip", "addr", "add", "192.0.2.1/24", "dev", "far")
    link.run("ip", "addr", "add", "2001:db8::1/64", "dev", "far", "nodad")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as peer:
        peer.bind(("eth0", 0))
        peer.settimeout(5)
        address = ("239.9.9.9", 5004) if sock.family == V4 else ("ff0e::99", 5004, 0, 0)
        writeSocket(sock, address, b"by far", ancillaryFor(sock.family, interface=far))
        while not peer.recv(2000).endswith(b"by far"):
            pass  # whatever else the kernel says on a new link


@given(
    ttl=st.integers(1, 255) | st.none(),
    dscp=st.integers(0, 63) | st.none(),
    interface=st.integers(0, 2**31 - 1),
    source=st.ip_addresses() | st.none(),
)
def test_eachItemIsPackedAsTheKernelReadsIt(
    ttl: int | None, dscp: int | None, interface: int, source: object
) -> None:
    """An int for TTL and DSCP, in_pktinfo or in6_pktinfo for interface and source."""
    address = None if source is None else parseAddress(str(source))
    v4 = address is None or address.version == 4
    items = ancillaryFor(V4 if v4 else V6, ttl=ttl, dscp=dscp, interface=interface, source=address)
    packed = dict(zip((kind for _, kind, _ in items), (value for *_, value in items), strict=True))
    assert {level for level, *_ in items} <= {socket.IPPROTO_IP if v4 else socket.IPPROTO_IPV6}
    if ttl is not None:
        kind = socket.IP_TTL if v4 else socket.IPV6_HOPLIMIT
        assert packed.pop(kind) == struct.pack("@i", ttl)
    if dscp is not None:
        kind = socket.IP_TOS if v4 else socket.IPV6_TCLASS
        assert packed.pop(kind) == struct.pack("@i", dscp << 2)
    if interface or address is not None:
        (value,) = packed.values()
        raw = b"" if address is None else address.packed
        if v4:
            assert value == struct.pack("@i", interface) + raw.ljust(8, b"\0")
        else:
            assert value == raw.ljust(16, b"\0") + struct.pack("@I", interface)
    else:
        assert not packed


@pytest.mark.parametrize(
    ("wrong", "what", "advice"),
    [
        ({"ttl": 0}, "a TTL of 0", "it is from 1 to 255"),
        ({"ttl": 256}, "a TTL of 256", "it is from 1 to 255"),
        ({"dscp": -1}, "a DSCP of -1", "it is from 0 to 63"),
        ({"dscp": 64}, "a DSCP of 64", "it is from 0 to 63"),
        ({"interface": -1}, "the interface index -1", "indexes are from 1; 0 means any"),
        ({"interface": 2**31}, f"the interface index {2**31}", "indexes are from 1; 0 means any"),
    ],
)
def test_aValueOutOfRangeIsRefused(
    family: socket.AddressFamily, wrong: dict[str, int], what: str, advice: str
) -> None:
    """The error names it and its range."""
    with pytest.raises(SocketOptionError) as caught:
        ancillaryFor(family, **wrong)  # type: ignore[arg-type]
    assert caught.value.errno == errno.EINVAL
    assert str(caught.value) == f"cannot use {what}: {os.strerror(errno.EINVAL)}; {advice}"


def test_aSourceOfTheOtherFamilyIsRefused(family: socket.AddressFamily) -> None:
    """The error names both."""
    source = parseAddress(LOOPBACK[OTHER_FAMILY[family]])
    with pytest.raises(AddressError) as caught:
        ancillaryFor(family, source=source)
    assert caught.value.errno == errno.EAFNOSUPPORT
    name = "IPv4" if family == V4 else "IPv6"
    assert str(caught.value) == f"cannot send from {source}: the socket is {name}"
