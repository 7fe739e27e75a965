from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import InvalidAddressError

from tests.ports.support import V4, V6
from txgroupsock.ports.address import checkDestination
from txgroupsock.primitives import UnknownInterface, fromSocketAddress

LO = socket.if_nametoindex("lo")
PORTS = st.integers(0, 0xFFFF)


@given(st.ip_addresses(v=4), PORTS)
def test_IPv4(address: IPv4Address, port: int) -> None:
    """An IPv4 address is taken as it is."""
    assert checkDestination((str(address), port), V4) == (str(address), port)


@given(st.ip_addresses(v=6), PORTS)
def test_IPv6(address: IPv6Address, port: int) -> None:
    """An IPv6 address has all four fields."""
    assert checkDestination((str(address), port), V6) == (str(address), port, 0, 0)


@given(st.ip_addresses(v=6), PORTS)
def test_scope(address: IPv6Address, port: int) -> None:
    """The scope of a host becomes a field, by name and by index, and comes back from it."""
    for scope in ("lo", str(LO)):
        found = checkDestination((f"{address}%{scope}", port), V6)
        assert found == (str(address), port, 0, LO)
        assert fromSocketAddress(found) == (f"{address}%lo", port)


def test_fourFields() -> None:
    """An address with all fields keeps its scope."""
    assert checkDestination(("fe80::1", 9, 0, 7), V6) == ("fe80::1", 9, 0, 7)


def test_broadcast() -> None:
    """The socket module's name for the broadcast address is good for IPv4 alone."""
    assert checkDestination(("<broadcast>", 9), V4) == ("<broadcast>", 9)
    with pytest.raises(InvalidAddressError):
        checkDestination(("<broadcast>", 9), V6)


@given(st.ip_addresses(), st.sampled_from([V4, V6]))
def test_otherFamily(address: Any, family: int) -> None:
    """An address of the other family is invalid, and the error says what is wanted."""
    if (address.version == 4) is (family == V4):
        return
    with pytest.raises(InvalidAddressError) as caught:
        checkDestination((str(address), 9), family)
    assert caught.value.address == str(address)
    assert ("IPv4" if family == V4 else "IPv6") in caught.value.message


@given(st.text(), st.sampled_from([V4, V6]))
def test_anyText(text: str, family: int) -> None:
    """Any text whatever is an address or an error that the caller can tell from others."""
    try:
        checkDestination((text, 9), family)
    except (InvalidAddressError, UnknownInterface):
        return
    assert text


@given(st.integers().filter(lambda port: not 0 <= port <= 0xFFFF), st.sampled_from([V4, V6]))
def test_noPort(port: int, family: int) -> None:
    """A number that is no port is invalid."""
    with pytest.raises(InvalidAddressError):
        checkDestination(("127.0.0.1" if family == V4 else "::1", port), family)


def test_unknownScope() -> None:
    """A scope that names no interface is an UnknownInterface error."""
    with pytest.raises(UnknownInterface, match="eth99"):
        checkDestination(("fe80::1%eth99", 9), V6)
