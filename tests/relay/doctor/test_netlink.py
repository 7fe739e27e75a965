"""Interfaces and routes as rtnetlink tells them, of this very host."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from ipaddress import ip_address

import pytest

from txgroupsock.relay.doctor.netlink import Route, linkIn, links, routeIn, routeTo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has rtnetlink")


def test_everyInterfaceIsTold() -> None:
    """With its name, flags and MTU."""
    found = links()
    assert found is not None
    assert {each.index: each.name for each in found.values()} == dict(socket.if_nameindex())
    loopback = found[socket.if_nametoindex("lo")]
    assert loopback.flags & 0x8
    assert loopback.mtu > 1000
    assert loopback.hasCarrier
    assert loopback.bridge is None


def test_aRouteIsTold() -> None:
    """To this host itself it leads by lo, without a router."""
    assert routeTo(ip_address("127.0.0.1")) == Route(socket.if_nametoindex("lo"))
    assert routeTo(ip_address("::1")) == Route(socket.if_nametoindex("lo"))


def test_aMissingRouteIsAnError() -> None:
    """The kernel's own."""
    why = "|".join(os.strerror(each) for each in (errno.ENODEV, errno.ENETUNREACH))
    with pytest.raises(OSError, match=why):
        routeTo(ip_address("127.0.0.1"), 99999)


def test_anEmptyMessageIsRead() -> None:
    """An older kernel may leave out whatever it likes."""
    link = linkIn(struct.pack("=BxHiII", 0, 1, 7, 0x41, 0))
    assert (link.index, link.name, link.flags, link.mtu, link.hasCarrier) == (7, "", 0x41, 0, True)
    assert routeIn(bytes(12)) == Route(0)
    assert routeIn(bytes(12) + struct.pack("=HH4s", 8, 5, b"\x0a\0\0\1")) == Route(0, False)
