from __future__ import annotations

import errno
import ipaddress
import socket

import pytest

from txgroupsock.primitives import (
    InterfaceLike,
    NetworkInterface,
    UnknownInterface,
    findInterface,
    interfaceIndex,
    listInterfaces,
)
from txgroupsock.primitives.networkinterface import (
    addressOf,
    defaultRouteInterface,
    interfaceName,
)
from txgroupsock.testing.namespaces import Namespace

pytestmark = pytest.mark.lan


def byName() -> dict[str, NetworkInterface]:
    """Every interface, by its name."""
    return {each.name: each for each in listInterfaces()}


def test_everyInterfaceIsListedWithItsAddresses(link: Namespace) -> None:
    """Names and indexes are the kernel's; addresses have no scope."""
    interfaces = listInterfaces()
    assert [(each.index, each.name) for each in interfaces] == socket.if_nameindex()
    assert list(map(str, byName()["eth0"].addresses)) == ["10.0.0.1", "fd00::1"]
    assert set(map(str, byName()["lo"].addresses)) == {"127.0.0.1", "::1"}
    assert byName()["far"].addresses == ()


def test_anInterfaceThatGoesMeanwhileIsLeftOut(
    link: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was there when the names were read, and not when its flags were."""
    present = socket.if_nameindex()
    monkeypatch.setattr(socket, "if_nameindex", lambda: [*present, (99, "gone")])
    assert [(each.index, each.name) for each in listInterfaces()] == present


def test_theFlagsAreTheKernels(link: Namespace) -> None:
    """Up, with a carrier, loopback, multicast: each as `ip link` says."""
    eth0, lo = byName()["eth0"], byName()["lo"]
    assert (eth0.isUp, eth0.isRunning, eth0.isMulticast, eth0.isLoopback) == (
        *(True, True, True),
        False,
    )
    assert (lo.isUp, lo.isLoopback) == (True, True)
    link.run("ip", "link", "set", "far", "down")
    assert (byName()["eth0"].isUp, byName()["eth0"].isRunning) == (True, False)
    link.run("ip", "link", "set", "eth0", "down", "multicast", "off")
    assert (byName()["eth0"].isUp, byName()["eth0"].isMulticast) == (False, False)


def test_anInterfaceHasAFirstAddressOfEachFamily(link: Namespace) -> None:
    """Or none."""
    assert str(byName()["eth0"].addressOf(socket.AF_INET)) == "10.0.0.1"
    assert str(byName()["eth0"].addressOf(socket.AF_INET6)) == "fd00::1"
    assert byName()["far"].addressOf(socket.AF_INET) is None


@pytest.mark.parametrize(
    "which",
    [
        "eth0",
        "10.0.0.1",
        "fd00::1",
        "FD00:0::1",
        "fe80::1%eth0",
        "::%eth0",
        ipaddress.ip_address("10.0.0.1"),
        ipaddress.ip_address("fd00::1"),
        ipaddress.ip_address("fe80::1%eth0"),
    ],
)
def test_anInterfaceIsFoundByAnythingThatNamesIt(which: InterfaceLike, link: Namespace) -> None:
    """Its name, an address of either family as text or object, or a scope."""
    index = socket.if_nametoindex("eth0")
    assert interfaceIndex(which) == index
    assert findInterface(which).name == "eth0"


def test_anInterfaceIsFoundByItsIndex(link: Namespace) -> None:
    """As a number, as digits, and as the digits of a scope."""
    index = socket.if_nametoindex("eth0")
    assert interfaceIndex(index) == interfaceIndex(str(index)) == index
    assert interfaceIndex(f"fe80::1%{index}") == index
    assert findInterface(index).name == findInterface(str(index)).name == "eth0"


def test_aNameOfDigitsIsANameFirst(link: Namespace) -> None:
    """An interface may be called by a number; that beats the index."""
    link.run("ip", "link", "add", "name", "1", "type", "veth", "peer", "name", "2")
    assert interfaceIndex("1") == socket.if_nametoindex("1") != 1
    assert interfaceIndex("fe80::1%1") == socket.if_nametoindex("1")
    assert interfaceIndex(1) == 1


def test_theLabelOfAnAliasIsItsDevice(link: Namespace) -> None:
    """So is the address that has the label, which is listed with the device."""
    link.run("ip", "addr", "add", "10.1.0.1/24", "dev", "eth0", "label", "eth0:1")
    index = socket.if_nametoindex("eth0")
    assert interfaceIndex("eth0:1") == interfaceIndex("10.1.0.1") == index
    assert "eth0:1" not in byName()
    assert ipaddress.ip_address("10.1.0.1") in byName()["eth0"].addresses


@pytest.mark.parametrize(
    "which",
    [None, "", 0, "0.0.0.0", "::", ipaddress.ip_address("0.0.0.0"), ipaddress.ip_address("::")],
)
def test_anyInterfaceIsIndex0(which: InterfaceLike, namespace: Namespace) -> None:
    """Nothing, zero and the wildcard addresses leave it to the routes; none of them is one."""
    assert interfaceIndex(which) == 0
    with pytest.raises(UnknownInterface) as caught:
        findInterface(which)
    assert caught.value.errno == errno.EINVAL
    assert str(caught.value) == f"cannot find the interface {which!r}: that means any interface"


@pytest.mark.parametrize(
    "which",
    [
        "eth1",
        "10.0.0.2",
        "fd00::2",
        "0.0.0.1",
        "999",
        "9" * 5000,
        "²",
        "a" * 100,
        "\0",
        "é",
        999,
        -1,
        2**40,
        ipaddress.ip_address("10.0.0.2"),
        ipaddress.ip_address("::2"),
    ],
)
def test_anUnknownInterfaceIsAnErrorThatListsThoseThereAre(
    which: InterfaceLike, link: Namespace
) -> None:
    """Every wrong name ends in the same error, with what could have been meant."""
    with pytest.raises(UnknownInterface) as caught:
        interfaceIndex(which)
    assert caught.value.errno == errno.ENODEV
    message = str(caught.value)
    assert message.startswith(
        f"cannot find the interface {which}: no interface has that name, index or address; "
        "there are: "
    )
    assert "eth0 (10.0.0.1, fd00::1)" in message
    assert "far (no address)" in message
    with pytest.raises(LookupError):
        findInterface(which)


def test_aLinkLocalAddressOfOneInterfaceFindsIt(link: Namespace) -> None:
    """Where it is unique it needs no scope."""
    link.run("ip", "addr", "add", "fe80::1/64", "dev", "eth0", "nodad")
    assert findInterface("fe80::1").name == "eth0"


def test_anAmbiguousLinkLocalAddressNeedsAScope(link: Namespace) -> None:
    """Two interfaces may have the same one; the error tells how to choose."""
    for name in ("eth0", "far"):
        link.run("ip", "addr", "add", "fe80::1/64", "dev", name, "nodad")
    with pytest.raises(UnknownInterface) as caught:
        interfaceIndex("fe80::1")
    assert caught.value.errno == errno.EINVAL
    assert str(caught.value).startswith(
        "cannot find the interface fe80::1: 2 interfaces have that link-local address; say which: "
    )
    assert "fe80::1%eth0" in str(caught.value)
    assert "fe80::1%far" in str(caught.value)
    assert findInterface("fe80::1%far").name == "far"


def test_theScopeHasToExist(namespace: Namespace) -> None:
    """By name and by number."""
    for literal in ("fe80::1%eth9", "fe80::1%999"):
        with pytest.raises(UnknownInterface) as caught:
            interfaceIndex(literal)
        assert caught.value.errno == errno.ENODEV


def test_anInterfaceIsNamedInMessages(namespace: Namespace) -> None:
    """Also none in particular, and one that is gone."""
    assert interfaceName(socket.if_nametoindex("lo")) == "lo"
    assert interfaceName(0) == "any interface"
    assert interfaceName(999) == "interface 999"


def test_anAddressStandsForAnInterface(link: Namespace) -> None:
    """The one that named it, or else its first of the family."""
    link.run("ip", "addr", "add", "10.1.0.1/24", "dev", "eth0")
    assert str(addressOf("10.1.0.1", socket.AF_INET)) == "10.1.0.1"
    assert str(addressOf("10.1.0.1", socket.AF_INET6)) == "fd00::1"
    assert str(addressOf("eth0", socket.AF_INET)) == "10.0.0.1"
    assert str(addressOf(socket.if_nametoindex("eth0"), socket.AF_INET6)) == "fd00::1"
    assert addressOf("far", socket.AF_INET) is None


def test_aLinkLocalAddressThatStandsForAnInterfaceHasItsScope(link: Namespace) -> None:
    """Without one nothing could be bound to it."""
    link.run("ip", "addr", "add", "fe80::7/64", "dev", "far", "nodad")
    for which in ("far", "fe80::7", "fe80::7%far", ipaddress.ip_address("fe80::7")):
        assert str(addressOf(which, socket.AF_INET6)) == "fe80::7%far"


def test_theDefaultRoutesInterfaceIsFoundForEachFamily(link: Namespace) -> None:
    """Or None, where there is no default route."""
    assert defaultRouteInterface(socket.AF_INET) is None
    assert defaultRouteInterface(socket.AF_INET6) is None
    link.run("ip", "route", "add", "default", "via", "10.0.0.254")
    assert defaultRouteInterface(socket.AF_INET) == "eth0"
    assert defaultRouteInterface(socket.AF_INET6) is None
    link.run("ip", "-6", "route", "add", "default", "via", "fd00::254")
    assert defaultRouteInterface(socket.AF_INET6) == "eth0"


def test_withoutRtnetlinkAddressesAreTheSame(
    link: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on other systems, they are asked for one interface after another."""
    told = listInterfaces()
    monkeypatch.delattr(socket, "AF_NETLINK")
    assert listInterfaces() == told
    assert interfaceIndex("fd00::1") == socket.if_nametoindex("eth0")
