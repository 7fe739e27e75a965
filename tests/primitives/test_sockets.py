from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.primitives.support import GROUP, LOOPBACK, OTHER_FAMILY, descriptors, noMoreDescriptors
from txgroupsock.primitives import (
    AddressError,
    Environment,
    GroupsockError,
    InterfaceLike,
    NoReuse,
    SocketSetupError,
    UnknownInterface,
    getMulticastInterface,
    getMulticastLoop,
    setupDatagramSocket,
    setupStreamSocket,
)
from txgroupsock.testing.namespaces import Namespace

WILDCARD = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
Setup = Callable[..., socket.socket]
BOTH = pytest.mark.parametrize("setup", [setupDatagramSocket, setupStreamSocket])


def flag(sock: socket.socket, option: int, level: int = socket.SOL_SOCKET) -> bool:
    """Whether an option is on."""
    return bool(sock.getsockopt(level, option))


def freePort(family: socket.AddressFamily, kind: int) -> int:
    """A port that nobody has."""
    with socket.socket(family, kind) as sock:
        sock.bind((WILDCARD[family], 0))
        return int(sock.getsockname()[1])


@BOTH
def test_aSocketIsBoundToTheWildcardAndAPort(family: socket.AddressFamily, setup: Setup) -> None:
    """Port 0 lets the kernel choose, any other one is taken."""
    with setup(Environment(), 0, family) as sock:
        assert (sock.family, sock.getsockname()[0]) == (family, WILDCARD[family])
        assert sock.getsockname()[1] > 0
        kind = sock.type
    port = freePort(family, kind)
    with setup(Environment(), port, family) as sock:
        assert sock.getsockname()[:2] == (WILDCARD[family], port)


@BOTH
def test_aSocketIsNotInheritedByOtherPrograms(family: socket.AddressFamily, setup: Setup) -> None:
    """Close-on-exec, as in LIVE555."""
    with setup(Environment(), 0, family) as sock:
        assert not sock.get_inheritable()


@BOTH
def test_anIPv6SocketCarriesIPv6Alone(setup: Setup) -> None:
    """So a socket of each family can have the same port."""
    with setup(Environment(), 0, socket.AF_INET6) as sock:
        assert flag(sock, socket.IPV6_V6ONLY, socket.IPPROTO_IPV6)
        with setup(Environment(reuseFlag=False), sock.getsockname()[1]) as other:
            assert other.getsockname()[1] == sock.getsockname()[1]


def test_aDatagramSocketSharesItsPortAndLoops(family: socket.AddressFamily) -> None:
    """SO_REUSEADDR and SO_REUSEPORT are the environment's flag; multicast comes back."""
    env = Environment()
    with setupDatagramSocket(env, 0, family) as sock:
        assert sock.type == socket.SOCK_DGRAM
        assert flag(sock, socket.SO_REUSEADDR)
        assert flag(sock, socket.SO_REUSEPORT)
        assert getMulticastLoop(sock)
        assert sock.getblocking()
        with setupDatagramSocket(env, sock.getsockname()[1], family):
            pass
    with NoReuse(env), setupDatagramSocket(env, 0, family) as sock:
        assert not flag(sock, socket.SO_REUSEADDR)
        assert not flag(sock, socket.SO_REUSEPORT)


@pytest.mark.parametrize("reusePort", [True, False])
def test_reusePortMayDifferFromTheFlag(family: socket.AddressFamily, *, reusePort: bool) -> None:
    """SO_REUSEPORT alone, whichever way the environment has it."""
    env = Environment(reuseFlag=not reusePort)
    with setupDatagramSocket(env, 0, family, reusePort=reusePort) as sock:
        assert flag(sock, socket.SO_REUSEADDR) is not reusePort
        assert flag(sock, socket.SO_REUSEPORT) is reusePort


def test_aStreamSocketDoesNotShareItsPortUnlessAsked(family: socket.AddressFamily) -> None:
    """SO_REUSEADDR is the flag; SO_REUSEPORT lets several workers listen."""
    env = Environment()
    with setupStreamSocket(env, 0, family) as sock:
        assert sock.type == socket.SOCK_STREAM
        assert flag(sock, socket.SO_REUSEADDR)
        assert not flag(sock, socket.SO_REUSEPORT)
    with NoReuse(env), setupStreamSocket(env, 0, family) as sock:
        assert not flag(sock, socket.SO_REUSEADDR)
    with setupStreamSocket(env, 0, family, reusePort=True) as one:
        one.listen()
        with setupStreamSocket(env, one.getsockname()[1], family, reusePort=True) as two:
            two.listen()


def test_aStreamSocketIsNonBlockingUnlessAsked(family: socket.AddressFamily) -> None:
    """And has no keep-alive unless asked, as in LIVE555."""
    with setupStreamSocket(Environment(), 0, family) as sock:
        assert not sock.getblocking()
        assert not flag(sock, socket.SO_KEEPALIVE)
    with setupStreamSocket(Environment(), 0, family, nonBlocking=False, keepAlive=True) as sock:
        assert sock.getblocking()
        assert flag(sock, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 180


def test_aStreamSocketMayBeBoundToOneAddress(family: socket.AddressFamily) -> None:
    """And not to one of the other family."""
    with setupStreamSocket(Environment(), 0, family, bindAddress=LOOPBACK[family]) as sock:
        assert sock.getsockname()[0] == LOOPBACK[family]
    with pytest.raises(AddressError, match="of the other family"):
        setupStreamSocket(Environment(), 0, family, bindAddress=LOOPBACK[OTHER_FAMILY[family]])


def test_anIPv6StreamSocketMayTakeIPv4Too() -> None:
    """Where it is left to the system, which on Linux takes both unless told otherwise."""
    with setupStreamSocket(Environment(), 0, socket.AF_INET6, onlyIPv6=False) as sock:
        assert not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        sock.listen()
        with socket.create_connection(("127.0.0.1", sock.getsockname()[1])):
            sock.setblocking(True)
            connection, address = sock.accept()
            connection.close()
            assert address[0] == "::ffff:127.0.0.1"


def test_aDatagramSocketMayBeBoundToAGroup(family: socket.AddressFamily) -> None:
    """Then nothing else on its port is received (Linux, BSD)."""
    bound = setupDatagramSocket(Environment(), 0, family, bindAddress=GROUP[family])
    with bound as sock, setupDatagramSocket(Environment(), 0, family) as sender:
        assert sock.getsockname()[0] == GROUP[family]
        sock.setblocking(False)
        sender.sendto(b"unicast", (LOOPBACK[family], sock.getsockname()[1]))
        with pytest.raises(BlockingIOError):
            sock.recv(10)


def test_aDatagramSocketMayBeBoundToOneAddress(family: socket.AddressFamily) -> None:
    """An address of this host, with or without a port."""
    address = LOOPBACK[family]
    with setupDatagramSocket(Environment(), 0, family, bindAddress=address) as sock:
        assert sock.getsockname()[0] == address


@pytest.mark.lan
@pytest.mark.parametrize("receivingInterface", ["eth0", "10.0.0.1", "fd00::1"])
def test_aSocketWithoutAPortIsBoundToTheReceivingInterface(
    link: Namespace, family: socket.AddressFamily, receivingInterface: InterfaceLike
) -> None:
    """Datagram sockets then only, as in LIVE555; stream sockets always."""
    env = Environment(receivingInterface=receivingInterface)
    address = "10.0.0.1" if family == socket.AF_INET else "fd00::1"
    with setupDatagramSocket(env, 0, family) as sock:
        assert sock.getsockname()[0] == address
    with setupDatagramSocket(env, 5004, family) as sock:
        assert sock.getsockname()[0] == WILDCARD[family]
    for port in (0, 5004):
        with setupStreamSocket(env, port, family) as sock:
            assert sock.getsockname()[0] == address


@pytest.mark.lan
def test_theReceivingInterfaceMayHaveOnlyALinkLocalAddress(link: Namespace) -> None:
    """Which is bound with its scope; named without one, too."""
    link.run("ip", "addr", "add", "fe80::7/64", "dev", "far", "nodad")
    for which in ("far", "fe80::7", "fe80::7%far"):
        with setupStreamSocket(Environment(receivingInterface=which), 0, socket.AF_INET6) as sock:
            assert sock.getsockname()[0].partition("%")[0] == "fe80::7"
            assert sock.getsockname()[3] == socket.if_nametoindex("far")


@pytest.mark.lan
def test_multicastLeavesByTheSendingInterface(
    link: Namespace, family: socket.AddressFamily
) -> None:
    """By index in both families; LIVE555 sets an IPv4 address for IPv6."""
    with setupDatagramSocket(Environment(sendingInterface="10.0.0.1"), 0, family) as sock:
        v4 = family == socket.AF_INET
        expected = "10.0.0.1" if v4 else socket.if_nametoindex("eth0")
        assert getMulticastInterface(sock) == expected


@BOTH
@pytest.mark.lan
def test_aSocketMayUseOneDeviceOnly(
    link: Namespace, family: socket.AddressFamily, setup: Setup
) -> None:
    """SO_BINDTODEVICE is set before the socket is bound."""
    with setup(Environment(interfaceBindToDevice="eth0"), 0, family) as sock:
        device = sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
        assert device.rstrip(b"\0") == b"eth0"


# --- Failures -------------------------------------------------------------------------------------


def failure(kind: type[GroupsockError], attempt: Callable[[], socket.socket]) -> GroupsockError:
    """The error that an attempt raises, having closed whatever it opened."""
    before = descriptors()
    with pytest.raises(kind) as caught:
        attempt()
    assert descriptors() == before
    return caught.value


@BOTH
def test_aPortThatIsTakenIsAnErrorThatTellsHowToFindItsOwner(
    family: socket.AddressFamily, setup: Setup
) -> None:
    """EADDRINUSE; nothing stays open."""
    env = Environment(reuseFlag=False)
    with setup(env, 0, family) as sock:
        port = sock.getsockname()[1]
        error = failure(SocketSetupError, lambda: setup(env, port, family))
    assert error.errno == errno.EADDRINUSE
    host = "0.0.0.0" if family == socket.AF_INET else "[::]"
    assert str(error) == (
        f"cannot bind to {host}:{port}: {os.strerror(errno.EADDRINUSE)}; another socket has this "
        f"port and does not share it: stop that program ('ss -lntup sport = :{port}' names it), "
        "or choose another port"
    )


@pytest.mark.lan
@BOTH
def test_aPrivilegedPortIsAnErrorThatNamesTheLimit(
    namespace: Namespace, family: socket.AddressFamily, setup: Setup
) -> None:
    """EACCES without root."""
    namespace.sysctl("net.ipv4.ip_unprivileged_port_start", 2000)
    with ThreadPoolExecutor(1, initializer=dropCapabilities) as unprivileged:
        error = failure(
            SocketSetupError,
            lambda: unprivileged.submit(setup, Environment(), 1999, family).result(),
        )
    assert error.errno == errno.EACCES
    host = "0.0.0.0" if family == socket.AF_INET else "[::]"
    assert str(error) == (
        f"cannot bind to {host}:1999: {os.strerror(errno.EACCES)}; ports below 2000 need root or "
        "CAP_NET_BIND_SERVICE: start as root, or choose a higher port"
    )


def dropCapabilities() -> None:
    """Give up every capability of this thread: on Linux each thread has its own (capset(2))."""
    header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, the calling thread
    library = ctypes.CDLL(None, use_errno=True)
    assert library.capset(header, bytes(24)) == 0, os.strerror(ctypes.get_errno())


def test_anAddressOfAnotherHostIsAnError(family: socket.AddressFamily) -> None:
    """EADDRNOTAVAIL, with how to see which there are."""
    v4 = family == socket.AF_INET
    address = "192.0.2.1" if v4 else "2001:db8::1"
    error = failure(
        SocketSetupError,
        lambda: setupDatagramSocket(Environment(), 0, family, bindAddress=address),
    )
    assert error.errno == errno.EADDRNOTAVAIL
    assert str(error) == (
        f"cannot bind to {address if v4 else f'[{address}]'}:0: "
        f"{os.strerror(errno.EADDRNOTAVAIL)}; no interface of this host has that address "
        "('ip address' lists them)"
    )


def test_aLinkLocalAddressWithoutItsInterfaceIsAnError() -> None:
    """EINVAL, with how to write it."""
    error = failure(
        SocketSetupError,
        lambda: setupDatagramSocket(Environment(), 0, socket.AF_INET6, bindAddress="ff02::5"),
    )
    assert error.errno == errno.EINVAL
    assert "as in 'fe80::1%eth0'" in str(error)


def test_anAddressOfTheOtherFamilyIsAnError(family: socket.AddressFamily) -> None:
    """The error names both."""
    address = LOOPBACK[OTHER_FAMILY[family]]
    error = failure(
        AddressError,
        lambda: setupDatagramSocket(Environment(), 0, family, bindAddress=address),
    )
    assert error.errno == errno.EAFNOSUPPORT
    name = "IPv4" if family == socket.AF_INET else "IPv6"
    assert str(error) == (
        f"cannot bind an {name} socket to {address}: the address is of the other family"
    )


@BOTH
@pytest.mark.parametrize("port", [-1, 65536])
def test_aPortOutOfRangeIsAnError(family: socket.AddressFamily, setup: Setup, port: int) -> None:
    """Not CPython's OverflowError."""
    error = failure(AddressError, lambda: setup(Environment(), port, family))
    assert error.errno == errno.EINVAL
    assert "ports are from 0 to 65535" in str(error)


@BOTH
def test_anotherAddressFamilyIsAnError(setup: Setup) -> None:
    """LIVE555 does not look."""
    error = failure(AddressError, lambda: setup(Environment(), 0, socket.AF_UNIX))
    assert error.errno == errno.EAFNOSUPPORT
    assert str(error) == (
        "cannot create a socket of address family 1: "
        f"{os.strerror(errno.EAFNOSUPPORT)}; use AF_INET or AF_INET6"
    )


@BOTH
@pytest.mark.parametrize("attribute", ["interfaceBindToDevice", "receivingInterface"])
def test_anUnknownInterfaceIsAnError(
    family: socket.AddressFamily, setup: Setup, attribute: str
) -> None:
    """Whichever of the environment's it is."""
    env = Environment(**{attribute: "nope"})  # type: ignore[arg-type]
    error = failure(UnknownInterface, lambda: setup(env, 0, family))
    assert error.errno == errno.ENODEV


def test_anUnknownSendingInterfaceIsAnError(family: socket.AddressFamily) -> None:
    """Although the socket was bound already by then."""
    env = Environment(sendingInterface="nope")
    error = failure(UnknownInterface, lambda: setupDatagramSocket(env, 0, family))
    assert error.errno == errno.ENODEV


@BOTH
@pytest.mark.lan
def test_aReceivingInterfaceWithoutAnAddressIsAnError(
    link: Namespace, family: socket.AddressFamily, setup: Setup
) -> None:
    """EADDRNOTAVAIL, with the interface's name."""
    env = Environment(receivingInterface="far")
    error = failure(SocketSetupError, lambda: setup(env, 0, family))
    assert error.errno == errno.EADDRNOTAVAIL
    name = "IPv4" if family == socket.AF_INET else "IPv6"
    assert str(error) == (
        f"cannot bind to the interface far: it has no {name} address; "
        "give it one, or name another receivingInterface"
    )


@BOTH
def test_whatCannotBeCreatedIsAnError(family: socket.AddressFamily, setup: Setup) -> None:
    """EMFILE, with the limit to raise."""
    with noMoreDescriptors(), pytest.raises(SocketSetupError) as caught:
        setup(Environment(), 0, family)
    assert caught.value.errno == errno.EMFILE
    name = "IPv4" if family == socket.AF_INET else "IPv6"
    assert str(caught.value) == (
        f"cannot create an {name} socket: {os.strerror(errno.EMFILE)}; "
        "close sockets or raise the limit of open files ('ulimit -n')"
    )


@BOTH
def test_aMistakeOfTheCallersClosesTheSocketToo(setup: Setup) -> None:
    """What is no port at all is a TypeError, and nothing leaks."""
    before = descriptors()
    with pytest.raises(TypeError):
        setup(Environment(), "5004")
    assert descriptors() == before
