from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from txgroupsock.primitives import (
    AddressError,
    IPAddress,
    UnknownInterface,
    fromSocketAddress,
    isSSM,
    parseAddress,
    parseGroup,
    toSocketAddress,
)
from txgroupsock.primitives.sockaddr import (
    describe,
    familyName,
    familyOf,
    indexFromDigits,
    isMulticast,
    packSockaddr,
    protocolLevel,
    scopeIndex,
    unpackSockaddr,
    wildcard,
    withoutScope,
)

LO = socket.if_nametoindex("lo")
ADDRESSES = st.ip_addresses()
PORTS = st.integers(0, 0xFFFF)


@given(ADDRESSES)
def test_everyAddressIsParsedFromItsText(address: IPAddress) -> None:
    """An address written out and parsed is the same address."""
    assert parseAddress(str(address)) == address
    assert parseAddress(address) is address


@given(st.text())
@example("")
@example("localhost")
@example("10.0.0.1 ")
@example("10.0.0.1:80")
@example("[::1]")
def test_anyTextIsAnAddressOrAnAddressError(text: str) -> None:
    """Whatever the text, what is raised is an AddressError that shows it."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        with pytest.raises(AddressError) as caught:
            parseAddress(text)
        assert caught.value.errno == errno.EINVAL
        assert str(caught.value) == f"cannot use {text!r}: it is not an IPv4 or IPv6 address"
    else:
        parseAddress(text)


def test_anAddressErrorIsAnOSErrorAndAValueError() -> None:
    """Code that expects either of Python's usual errors catches it."""
    with pytest.raises(AddressError) as caught:
        parseAddress("host.example")
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, ValueError)


@given(ADDRESSES)
def test_aGroupIsAMulticastAddress(address: IPAddress) -> None:
    """Exactly 224.0.0.0/4 and ff00::/8 are groups, on every Python."""
    net = ipaddress.ip_network("224.0.0.0/4" if address.version == 4 else "ff00::/8")
    assert isMulticast(address) == (address in net)
    if address in net:
        assert parseGroup(str(address)) == address
    else:
        with pytest.raises(AddressError, match="as a group: multicast groups are in"):
            parseGroup(str(address))


@pytest.mark.parametrize("literal", ["224.0.0.0", "239.255.255.255", "ff02::1", "ff3e::8000:1"])
def test_theEdgesOfTheMulticastRangesAreGroups(literal: str) -> None:
    """The first and the last group of each range are groups."""
    assert str(parseGroup(literal)) == literal


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ("10.0.0.1", "224.0.0.0/4"),
        ("223.255.255.255", "224.0.0.0/4"),
        ("240.0.0.0", "224.0.0.0/4"),
        ("fe80::1", "ff00::/8"),
        ("::ffff:239.1.1.1", "ff00::/8"),  # Python 3.13 finds this one multicast
    ],
)
def test_anAddressThatIsNoGroupIsRefusedWithTheRange(literal: str, expected: str) -> None:
    """The error names the address and where groups are."""
    with pytest.raises(AddressError) as caught:
        parseGroup(literal)
    assert caught.value.errno == errno.EINVAL
    assert str(caught.value) == (
        f"cannot use {parseAddress(literal)} as a group: multicast groups are in {expected}"
    )


@pytest.mark.parametrize(
    ("literal", "expected"),
    [
        ("232.0.0.0", True),
        ("232.255.255.255", True),
        ("231.255.255.255", False),
        ("233.0.0.0", False),
        ("239.1.1.1", False),
        ("ff3e::8000:1", True),
        ("ff35::1", True),
        ("ff30:0:ffff::1", True),
        ("ff3e:1::1", False),
        ("ff3e:30:2001:db8::1", False),  # a prefix-based group, RFC 3306
        ("ff0e::1", False),
        ("ff7e::1", False),
        ("fe30::1", False),
    ],
)
def test_theSourceSpecificRangesAreThoseOfRFC4607(literal: str, *, expected: bool) -> None:
    """232/8 and FF3x::/32, nothing else."""
    assert isSSM(parseAddress(literal)) is expected


@given(ADDRESSES, PORTS, st.integers(0, 2**32 - 1))
def test_aPackedAddressIsUnpackedAgain(address: IPAddress, port: int, scope: int) -> None:
    """A sockaddr_storage is 128 bytes and holds family, port, address and scope."""
    storage = packSockaddr(address, port, scope)
    assert len(storage) == 128
    assert unpackSockaddr(storage) == address
    assert struct.unpack_from("=H", storage)[0] == familyOf(address)
    assert struct.unpack_from("!H", storage, 2)[0] == port
    if address.version == 6:
        assert struct.unpack_from("=I", storage, 24)[0] == scope


def test_anotherAddressFamilyIsNotUnpacked() -> None:
    """A sockaddr_un is an error that names the family."""
    with pytest.raises(AddressError) as caught:
        unpackSockaddr(struct.pack("=H", socket.AF_UNIX).ljust(128, b"\0"))
    assert caught.value.errno == errno.EAFNOSUPPORT
    assert str(caught.value) == "cannot read an address: address family 1 is not IP"


def test_familiesHaveTheirNamesLevelsAndWildcards(family: socket.AddressFamily) -> None:
    """What depends on the family alone."""
    v4 = family == socket.AF_INET
    assert familyName(family) == ("IPv4" if v4 else "IPv6")
    assert protocolLevel(family) == (socket.IPPROTO_IP if v4 else socket.IPPROTO_IPV6)
    assert familyOf(wildcard(family)) == family
    assert wildcard(family).is_unspecified


@given(st.ip_addresses(v=6), st.sampled_from(["", "%lo", f"%{LO}"]))
def test_theScopeIsKeptForTheKernelAndGivenBack(address: IPAddress, scope: str) -> None:
    """A scope by name or number becomes an index, and a name again."""
    scoped = parseAddress(f"{address}{scope}")
    sockaddr = toSocketAddress(scoped, 5004)
    assert sockaddr == (str(address), 5004, 0, LO if scope else 0)
    assert fromSocketAddress(sockaddr) == (f"{address}{'%lo' if scope else ''}", 5004)
    assert withoutScope(scoped) == address
    assert scopeIndex(scoped) == (LO if scope else 0)


@given(st.ip_addresses(v=4), PORTS)
def test_anIPv4AddressBecomesAPair(address: IPAddress, port: int) -> None:
    """IPv4 has no scope: host and port, there and back."""
    sockaddr = toSocketAddress(address, port)
    assert sockaddr == (str(address), port)
    assert fromSocketAddress(sockaddr) == sockaddr
    assert withoutScope(address) is address
    assert scopeIndex(address) == 0


def test_theKernelTakesAndGivesWhatIsConverted(sock: socket.socket) -> None:
    """What a socket was bound to comes back as it was."""
    address = parseAddress("127.0.0.1" if sock.family == socket.AF_INET else "::1")
    sock.bind(toSocketAddress(address, 0))
    host, port = fromSocketAddress(sock.getsockname())
    assert (host, port > 0) == (str(address), True)


@pytest.mark.parametrize("port", [-1, 65536])
def test_aPortOutOfRangeIsRefused(port: int) -> None:
    """Rather than CPython's OverflowError, an AddressError that gives the range."""
    with pytest.raises(AddressError) as caught:
        toSocketAddress(parseAddress("10.0.0.1"), port)
    assert caught.value.errno == errno.EINVAL
    assert str(caught.value) == (f"cannot use port {port} of 10.0.0.1: ports are from 0 to 65535")


@pytest.mark.parametrize("scope", ["nope", "²", "9" * 5000, "a" * 100, "é"])
def test_aScopeThatIsNoInterfaceIsUnknown(scope: str) -> None:
    """Whatever the text after the percent sign, the error is the same."""
    with pytest.raises(UnknownInterface) as caught:
        toSocketAddress(parseAddress(f"fe80::1%{scope}"), 1)
    assert caught.value.errno == errno.ENODEV
    assert str(caught.value) == f"cannot use fe80::1%{scope}: there is no interface {scope!r}"


def test_theScopeOfAnInterfaceThatIsGoneStaysANumber() -> None:
    """Its name cannot be told any more, and nothing is raised."""
    assert fromSocketAddress(("fe80::1", 1, 0, 999999)) == ("fe80::1%999999", 1)
    assert fromSocketAddress(("fe80::1%lo", 1, 0, LO)) == ("fe80::1%lo", 1)


@pytest.mark.parametrize(
    ("text", "index"), [("0", 0), ("7", 7), ("999999999", 999999999), ("", None), ("-1", None)]
)
def test_anIndexIsAFewDecimalDigits(text: str, index: int | None) -> None:
    """Anything longer than an index can be is none."""
    assert indexFromDigits(text) == index
    assert indexFromDigits("9" * 10) is None


def test_anAddressForAMessageHasBracketsWhereNeeded() -> None:
    """IPv6 gets brackets, so that the port can be told from the address."""
    assert describe(("10.0.0.1", 80)) == "10.0.0.1:80"
    assert describe(("fe80::1", 80, 0, LO)) == "[fe80::1%lo]:80"


def test_theStrerrorIsTheWholeMessage() -> None:
    """An OSError's strerror, and so what loggers print, has everything."""
    with pytest.raises(AddressError) as caught:
        parseAddress("x")
    assert caught.value.strerror == str(caught.value)
    assert os.strerror(errno.EINVAL) not in str(caught.value)


def test_addressesMayBeTexts() -> None:
    """What takes an address takes the text of one."""
    assert [isSSM(each) for each in ("232.1.1.1", "ff3e::1", "239.1.1.1")] == [True, True, False]
    assert toSocketAddress("10.0.0.1", 5) == ("10.0.0.1", 5)
    assert toSocketAddress("fd00::1", 5) == ("fd00::1", 5, 0, 0)
    with pytest.raises(AddressError, match=r"use 'a\.name'"):
        toSocketAddress("a.name", 5)
