from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable

import pytest

from txgroupsock.primitives import (
    AddressError,
    Environment,
    UnknownInterface,
    chooseRandomIPv4SSMAddress,
    chooseRandomIPv6SSMAddress,
    isSSM,
    ourIPv4Address,
    ourIPv6Address,
    parseAddress,
    weHaveAnIPAddress,
    weHaveAnIPv4Address,
    weHaveAnIPv6Address,
)
from txgroupsock.testing.namespaces import Namespace

Resolve = Callable[..., None]


@pytest.fixture
def hostName(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Sets what the host name resolves to, as /etc/hosts or a name server would."""

    def resolve(*addresses: str, error: Exception | None = None) -> None:
        def getaddrinfo(host: str, port: object, family: int, kind: int) -> list[object]:
            assert host == "this-host"
            if error is not None:
                raise error
            version = 4 if family == socket.AF_INET else 6
            return [
                (family, kind, 17, "", (each, 0))
                for each in addresses
                if ipaddress.ip_address(each).version == version
            ]

        monkeypatch.setattr(socket, "gethostname", lambda: "this-host")
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    resolve()
    return resolve


@pytest.mark.lan
def test_theAddressOfAnInterfaceThatIsUpIsOurs(link: Namespace) -> None:
    """Not a loopback one, which is listed first."""
    env = Environment()
    assert ourIPv4Address(env) == "10.0.0.1"
    assert ourIPv6Address(env) == "fd00::1"
    assert weHaveAnIPv4Address(env)
    assert weHaveAnIPv6Address(env)
    assert weHaveAnIPAddress(env)


@pytest.mark.lan
def test_theInterfaceOfTheDefaultRouteIsPreferred(link: Namespace) -> None:
    """To the first one found, which is what LIVE555 takes; each family has its own route."""
    link.run(
        *("ip", "-batch", "-"),
        stdin="""
            addr add 192.0.2.1/24 dev far
            addr add 2001:db8::1/64 dev far nodad
            route add default via 192.0.2.254
        """,
    )
    names = [name for _, name in socket.if_nameindex()]
    preferred, other = ("192.0.2.1", "10.0.0.1")
    assert ourIPv4Address(Environment()) == preferred
    link.run("ip", "route", "replace", "default", "via", "10.0.0.254")
    assert ourIPv4Address(Environment()) == other
    for gateway, expected in (("fd00::254", "fd00::1"), ("2001:db8::254", "2001:db8::1")):
        link.run("ip", "-6", "route", "flush", "default")
        link.run("ip", "-6", "route", "add", "default", "via", gateway)
        assert ourIPv6Address(Environment()) == expected
    assert {"eth0", "far"} < set(names)


@pytest.mark.lan
def test_unusableAddressesArePassedOver(link: Namespace, hostName: Resolve) -> None:
    """Link-local and site-local IPv6 addresses, and interfaces that are down."""
    link.run(
        *("ip", "-batch", "-"),
        stdin="""
            addr add fe80::1/64 dev far nodad
            addr add fec0::1/64 dev far nodad
            addr del fd00::1/64 dev eth0
        """,
    )
    assert not weHaveAnIPv6Address(Environment())
    link.run("ip", "link", "set", "eth0", "down")
    assert not weHaveAnIPAddress(Environment())


@pytest.mark.lan
def test_theReceivingInterfaceWins(link: Namespace) -> None:
    """With the address that names it, or else its first; even a loopback one."""
    link.run("ip", "addr", "add", "192.0.2.1/24", "dev", "far")
    link.run("ip", "addr", "add", "192.0.2.2/24", "dev", "far")
    for which, expected in (
        ("far", "192.0.2.1"),
        ("192.0.2.2", "192.0.2.2"),
        (socket.if_nametoindex("eth0"), "10.0.0.1"),
        ("lo", "127.0.0.1"),
    ):
        assert ourIPv4Address(Environment(receivingInterface=which)) == expected
    assert ourIPv6Address(Environment(receivingInterface="FD00::1")) == "fd00::1"
    assert ourIPv6Address(Environment(receivingInterface="10.0.0.1")) == "fd00::1"


@pytest.mark.lan
def test_aReceivingInterfaceWithoutAUsableAddressIsPassedOver(link: Namespace) -> None:
    """A link-local address is none that others could use without knowing the link."""
    link.run("ip", "addr", "add", "fe80::1/64", "dev", "far", "nodad")
    assert ourIPv6Address(Environment(receivingInterface="far")) == "fd00::1"
    assert ourIPv4Address(Environment(receivingInterface="far")) == "10.0.0.1"


@pytest.mark.lan
def test_anUnknownReceivingInterfaceIsAnError(namespace: Namespace) -> None:
    """Not another address."""
    with pytest.raises(UnknownInterface):
        ourIPv4Address(Environment(receivingInterface="eth9"))


@pytest.mark.lan
def test_theHostNameIsAskedLast(namespace: Namespace, hostName: Resolve) -> None:
    """Where no interface has an address, as in a network with nothing but a loopback."""
    hostName("192.0.2.7", "2001:db8::7")
    assert ourIPv4Address(Environment()) == "192.0.2.7"
    assert ourIPv6Address(Environment()) == "2001:db8::7"


@pytest.mark.lan
@pytest.mark.parametrize(
    "address", ["127.0.1.1", "127.0.0.1", "0.0.0.0", "255.255.255.255", "::1", "::", "fe80::7"]
)
def test_unusableAddressesOfTheHostNameAreRejected(
    namespace: Namespace, hostName: Resolve, address: str
) -> None:
    """Debian's 127.0.1.1, which LIVE555 takes, and others that reach nobody."""
    hostName(address)
    assert not weHaveAnIPAddress(Environment())
    hostName(address, "192.0.2.7", "2001:db8::7")
    assert ourIPv4Address(Environment()) == "192.0.2.7"
    assert ourIPv6Address(Environment()) == "2001:db8::7"


@pytest.mark.lan
@pytest.mark.parametrize(
    "failure",
    [
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        UnicodeError("label too long"),
    ],
)
def test_noAddressIsAnErrorThatSaysWhatToDo(
    namespace: Namespace, hostName: Resolve, failure: Exception
) -> None:
    """EADDRNOTAVAIL, whatever the resolver does; and the answer to "have we one" is no."""
    hostName(error=failure)
    env = Environment()
    for ask, name in ((ourIPv4Address, "IPv4"), (ourIPv6Address, "IPv6")):
        with pytest.raises(AddressError) as caught:
            ask(env)
        assert caught.value.errno == errno.EADDRNOTAVAIL
        assert str(caught.value) == (
            f"cannot find an {name} address of this host: no interface that is up has a usable "
            "one; give an interface an address ('ip address' lists them)"
        )
    assert not weHaveAnIPv4Address(env)
    assert not weHaveAnIPv6Address(env)
    assert not weHaveAnIPAddress(env)


@pytest.mark.lan
def test_anAddressIsKeptUntilItIsLookedForAgain(link: Namespace, hostName: Resolve) -> None:
    """LIVE555 never sees a change; here it takes a refresh, in this environment alone."""
    env, other = Environment(), Environment()
    assert ourIPv4Address(env) == ourIPv4Address(other) == "10.0.0.1"
    link.run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
    link.run("ip", "addr", "del", "10.0.0.1/24", "dev", "eth0")
    assert ourIPv4Address(env) == "10.0.0.1"
    assert ourIPv4Address(env, refresh=True) == "192.0.2.1"
    assert ourIPv4Address(env) == "192.0.2.1"
    assert ourIPv4Address(other) == "10.0.0.1"
    other.ourAddresses.clear()
    assert ourIPv4Address(other) == "192.0.2.1"
    link.run("ip", "addr", "del", "192.0.2.1/24", "dev", "eth0")
    with pytest.raises(AddressError):
        ourIPv4Address(env, refresh=True)
    assert not weHaveAnIPv4Address(env)


@pytest.mark.lan
def test_thatThereIsNoAddressIsNotKept(namespace: Namespace, hostName: Resolve) -> None:
    """A host that gets its first one later, as from DHCP, has it then."""
    env = Environment()
    assert not weHaveAnIPAddress(env)
    hostName("192.0.2.7")
    assert weHaveAnIPAddress(env)
    assert ourIPv4Address(env) == "192.0.2.7"


@pytest.mark.lan
def test_anotherReceivingInterfaceHasAnotherAddress(link: Namespace) -> None:
    """What was kept for the earlier one does not stand for it."""
    env = Environment()
    assert ourIPv4Address(env) == "10.0.0.1"
    env.receivingInterface = "lo"
    assert ourIPv4Address(env) == "127.0.0.1"


# --- New groups -----------------------------------------------------------------------------------


def test_randomIPv4GroupsAreSourceSpecificAndNotReserved() -> None:
    """From 232.0.1.0 on, and not all the same."""
    groups = [chooseRandomIPv4SSMAddress() for _ in range(2000)]
    low, high = ipaddress.IPv4Address("232.0.1.0"), ipaddress.IPv4Address("232.255.255.255")
    assert all(low <= ipaddress.IPv4Address(each) <= high for each in groups)
    assert all(isSSM(parseAddress(each)) for each in groups)
    assert len(set(groups)) > 1900


@pytest.mark.parametrize("scope", range(1, 15))
def test_randomIPv6GroupsAreInTheirScope(scope: int) -> None:
    """FF3x::8000:0 to FF3x::FFFF:FFFF."""
    low = ipaddress.IPv6Address(f"ff3{scope:x}::8000:0")
    high = ipaddress.IPv6Address(f"ff3{scope:x}::ffff:ffff")
    groups = [chooseRandomIPv6SSMAddress(scope) for _ in range(200)]
    assert all(low <= ipaddress.IPv6Address(each) <= high for each in groups)
    assert all(isSSM(parseAddress(each)) for each in groups)
    assert len(set(groups)) > 190


def test_randomIPv6GroupsAreGlobalUnlessAsked() -> None:
    """Scope 14."""
    assert chooseRandomIPv6SSMAddress().startswith("ff3e::")


@pytest.mark.parametrize("scope", [-1, 0, 15, 16])
def test_aReservedScopeIsRefused(scope: int) -> None:
    """The error gives the range."""
    with pytest.raises(AddressError) as caught:
        chooseRandomIPv6SSMAddress(scope)
    assert caught.value.errno == errno.EINVAL
    assert f"cannot use scope {scope} for a group" in str(caught.value)
    assert "it is from 1 to 14" in str(caught.value)
