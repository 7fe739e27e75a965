from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ports.support import GROUP, V4, V6, WILDCARD
from txgroupsock.ports.listen import Where
from txgroupsock.primitives import IPAddress, UnknownInterface
from txgroupsock.primitives.sockaddr import familyOf, isMulticast
from txgroupsock.testing.namespaces import Namespace

LO = socket.if_nametoindex("lo")


def where(address: str, interface: int = 0) -> Where:
    """The result that is expected."""
    parsed = ipaddress.ip_address(address)
    return Where(familyOf(parsed), parsed, interface)


@pytest.mark.parametrize("interface", ["", None, 0])
@pytest.mark.parametrize("family", [None, V4, V6])
def test_everywhere(interface: Any, family: int | None) -> None:
    """Nothing means every address, of IPv4 if no family is given."""
    assert Where.of(interface, family) == where("::" if family == V6 else "0.0.0.0")


@pytest.mark.parametrize("interface", ["lo", LO, str(LO)])
@pytest.mark.parametrize("family", [None, V4, V6])
def test_nameOrIndex(interface: Any, family: int | None) -> None:
    """A name or an index means every address, and groups on that interface."""
    assert Where.of(interface, family) == where("::" if family == V6 else "0.0.0.0", LO)


@pytest.mark.parametrize(
    ("address", "interface"),
    [
        ("0.0.0.0", 0),
        ("::", 0),
        ("::%lo", LO),
        (f"::%{LO}", LO),
        ("127.0.0.1", LO),
        ("::1", LO),
        ("fe80::1%lo", LO),
        # These are no addresses of an interface; binding will tell whether they can be used.
        ("127.0.0.2", 0),
        ("192.0.2.1", 0),
        ("2001:db8::1", 0),
        ("239.1.2.3", 0),
        ("ff02::1", 0),
        ("ff02::1%lo", LO),
    ],
)
@pytest.mark.parametrize("family", [None, V4, V6])
def test_address(address: str, interface: int, family: int | None) -> None:
    """An address is what is bound to, tells its family, and may tell its interface."""
    expected = where(address, interface)
    if family in (None, expected.family):
        assert Where.of(address, family) == expected
    else:
        with pytest.raises(ValueError, match="leave one out"):
            Where.of(address, family)
    assert Where.of(ipaddress.ip_address(address)) == where(address, interface)


def test_addressOfALink(far: Namespace) -> None:
    """An address says which interface: that which has it."""
    eth1 = socket.if_nametoindex("eth1")
    assert Where.of("10.0.1.1") == where("10.0.1.1", eth1)
    assert Where.of("fd00:1::1") == where("fd00:1::1", eth1)


@pytest.mark.parametrize(
    "interface",
    [
        *("eth99", 99999, "99999", -1, 2**40),
        *("::%eth99", "fe80::1%eth99", "fe80::1%99999", "ff02::1%eth99", "ff02::1%99999"),
    ],
)
def test_unknownInterface(interface: Any) -> None:
    """What names no interface is an UnknownInterface error."""
    with pytest.raises(UnknownInterface):
        Where.of(interface)


@given(st.text())
def test_anyText(text: str) -> None:
    """Any text whatever is a place to listen or an UnknownInterface error."""
    try:
        found = Where.of(text)
    except UnknownInterface:
        return
    assert found.family in (V4, V6)


@given(st.ip_addresses())
def test_anyAddress(address: IPAddress) -> None:
    """Any address is what is bound to; it hears itself if it is a group, the wildcard hears all."""
    found = Where.of(str(address))
    assert found.address == address
    assert found.family == familyOf(address)
    for group in GROUP.values():
        assert found.hears(ipaddress.ip_address(group)) is (
            address.is_unspecified or str(address) == group
        )
    if isMulticast(address):
        assert found.hears(address)


def test_scopeDoesNotMatter() -> None:
    """A group is the same with and without the interface that it names."""
    assert Where.of("ff02::1%lo").hears(ipaddress.ip_address("ff02::1"))
    assert Where.of("ff02::1").hears(ipaddress.ip_address("ff02::1%lo"))


@pytest.mark.parametrize("family", WILDCARD)
def test_on(family: socket.AddressFamily) -> None:
    """The same place on another interface differs in that only."""
    assert Where.of("", family).on(7) == where(WILDCARD[family], 7)
