"""
Whatever is given to whatever is public, it is refused in words that say what would be right.

Public are also the methods of what public functions give: ports, memberships, destinations,
groupsocks, routes.  What they are given here no type checker would let through.
"""

from __future__ import annotations

import inspect
import socket
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory

import txgroupsock
from tests.test_arguments import openPort
from txgroupsock import (
    Destination,
    Environment,
    FramedDatagrams,
    Groupsock,
    GroupsockLookupTable,
    GroupsockReactor,
    InterleavedRTSP,
    JoinError,
    Membership,
    PortStatistics,
    Relay,
    RelayModel,
    Route,
    Run,
    Stage,
    Traffic,
    UDPPort,
    ports,
    primitives,
)
from txgroupsock.ports.pacing import MOST_LATENCY
from txgroupsock.relay import health, viewers
from txgroupsock.relay.models.udp import InputModel, OutputModel
from txgroupsock.relay.recording import Keeping
from txgroupsock.relay.viewers import Limits


class Nothing:
    """Has nothing that anybody wants."""


NONSENSE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 2**70, float("nan"), "abc", b"abc", (), [Nothing()], {"a": 1}),
    *(Nothing(), Nothing, len),
)

# What an argument of that name can be, where another one is looked at.
GOOD: dict[str, Any] = {
    "addr": ("127.0.0.1", 9),
    "count": 1,
    "data": b"data",
    "datagram": b"data",
    "destinations": Destination("127.0.0.1", 9),
    "group": "239.1.1.1",
    "host": "127.0.0.1",
    "packet": b"data",
    "port": 9,
    "sender": ("127.0.0.1", 9),
    "seq": [b"data"],
    "reason": "here",
    "size": 4,
    "source": "127.0.0.1",
    "streaming": True,
}

# What Python, pyOpenSSL or C say, in words that tell nobody which argument they are about.
INNER_WORDS = (
    *("object has no", "object is not", "not subscriptable", "not iterable", "has no len"),
    *("not supported between", "cannot be interpreted", "bytes-like object", "out of range for"),
    *("index out of", "unsupported operand", "too large to convert", "unpack", "expected "),
)

# Called by the reactor or by those who made it, with what they made; and what Twisted's own does.
NOT_CALLED = {
    *("connectionLost", "interleavingFailed", "connectSSL", "listenSSL", "useProtocol"),
    "openRoute",  # takes anything for yes or no
}


def methodsOf(thing: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """What can be called of a thing, and was written here."""
    for name in dir(thing):
        if name.startswith("_") or isinstance(inspect.getattr_static(thing, name), property):
            continue
        method = getattr(thing, name)
        isOurs = (getattr(method, "__module__", "") or "").startswith("txgroupsock")
        isError = inspect.isclass(method) and issubclass(method, BaseException)
        if isOurs and callable(method) and name not in NOT_CALLED and not isError:
            yield name, method


def wrongCalls(method: Callable[..., Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Calls with one argument that makes no sense, each beside others that may."""
    parameters = inspect.signature(method).parameters.values()
    for wrong in parameters:
        for value in NONSENSE:
            arguments: list[Any] = []
            named: dict[str, Any] = {}
            for each in parameters:
                given = value if each is wrong else GOOD.get(each.name, value)
                if each.kind is each.VAR_KEYWORD or (
                    each is not wrong and each.default is not each.empty and each.name not in GOOD
                ):
                    continue
                if (
                    each.kind is each.KEYWORD_ONLY
                    or (named and each.kind is each.POSITIONAL_OR_KEYWORD)
                    or len(arguments) < list(parameters).index(each)
                ):
                    named[each.name] = given
                else:
                    arguments.append(given)
            shown = f"{wrong.name}={value!r}"
            yield shown, lambda args=tuple(arguments), kw=named: method(*args, **kw)  # type: ignore[misc]


def problemWith(call: Callable[[], Any]) -> str:
    """What is wrong with how a call fails, if it does; nothing if it fails well."""
    try:
        result = call()
        if isinstance(result, Deferred):
            failures: list[Any] = []
            result.addErrback(failures.append)
            if failures:
                failures[0].raiseException()
    except (TypeError, ValueError, OSError, RuntimeError, JoinError) as error:
        text = str(error)
        isTold = "it has to be" in text or not any(words in text for words in INNER_WORDS)
        return "" if isTold else f"{type(error).__name__}: {text}"
    except Exception as error:  # noqa: BLE001 - this is about all of them
        return f"{type(error).__name__}: {error}"
    return ""


def unclear(thing: Any) -> list[str]:
    """The calls of a thing's methods that fail in words that tell nothing."""
    return [
        f"{name}({shown}): {problem}"
        for name, method in methodsOf(thing)
        for shown, call in wrongCalls(method)
        if (problem := problemWith(call))
    ]


@pytest.fixture(autouse=True)
def sock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A good socket, for functions that take one."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        monkeypatch.setitem(GOOD, "sock", sock)
        yield


@pytest.fixture
def opened(reactor: Any) -> Iterator[UDPPort]:
    """An open port."""
    with openPort(reactor) as port:
        yield port


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("part", ["itself", "memberships"])
def test_ofAPort(opened: UDPPort, part: str) -> None:
    """Of a port, which sends, and of what it has joined."""
    opened.stopListening = opened.stopProducing = opened.loseConnection = None  # type: ignore[method-assign, assignment]
    assert unclear(opened if part == "itself" else opened.memberships) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda _: Destination("127.0.0.1", 9),
        lambda _: Environment(),
        lambda _: FramedDatagrams(DatagramProtocol()),
        lambda _: InterleavedRTSP(),
        lambda _: Membership.of("239.1.1.1"),
        lambda _: PortStatistics(),
        lambda _: RelayModel,
        lambda _: Relay([]),
        lambda _: Run(memoryview(b"abc"), 3, ("127.0.0.1", 9), 0.0),
        lambda _: Stage(),
        lambda _: Traffic(),
        lambda _: primitives,
        lambda reactor: Route.fromURLs(reactor, ["udp://127.0.0.1:5999"], ["udp://127.0.0.1:9"]),
    ],
)
def test_ofWhatElseThereIs(reactor: Any, make: Callable[[Any], Any]) -> None:
    """Of what needs no descriptor, and of functions on a socket."""
    assert unclear(make(reactor)) == []


def test_ofAGroupsock(reactor: Any) -> None:
    """Of a Groupsock that is open."""
    groupsock = Groupsock(reactor, "127.0.0.1", 0)
    try:
        groupsock.close = None  # type: ignore[method-assign, assignment]
        assert unclear(groupsock) == []
    finally:
        del groupsock.close
        groupsock.close()


def test_ofATable(reactor: Any) -> None:
    """Of a table of groupsocks, which opens them."""
    table = GroupsockLookupTable(reactor)
    try:
        assert unclear(table) == []
    finally:
        for each in list(table):
            table.remove(each)


def test_ofAListeningTCPPort(reactor: Any) -> None:
    """Of a TCP port, and of what watches its links."""
    ours = GroupsockReactor(reactor)
    port = ours.listenTCP(0, Factory(), interface="127.0.0.1")
    try:
        for thing in (port, ours.linkWatch):
            assert [each for each in unclear(thing) if "stop" not in each] == []
    finally:
        port.stopListening()


@pytest.mark.parametrize("module", [txgroupsock, ports, health, viewers])
def test_ofWhatMakesThem(reactor: Any, module: Any) -> None:
    """Of whatever is exported, called as a class or a function is: of a reactor, a protocol."""
    found = []
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) and issubclass(thing, BaseException):
            continue
        if inspect.isfunction(thing):
            found += [f"{name}: {each}" for each in unclear(_Module(thing))]
    assert found == []


class _Module:
    """Something that has one function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


def test_anAddressOfTheOtherFamilyIsRefused(reactor: Any) -> None:
    """What a port is told twice has to agree: the family, and that of the address."""
    ours = GroupsockReactor(reactor)
    for address, family in (("127.0.0.1", socket.AF_INET6), ("::1", socket.AF_INET)):
        with pytest.raises(ValueError, match="leave one out, or give the name of the interface"):
            ours.listenMulticast(0, DatagramProtocol(), interface=address, family=family)
    port = ours.listenMulticast(0, DatagramProtocol(), interface="127.0.0.1", family=socket.AF_INET)
    port.stopListening()


def test_noQuantityIsWithoutALimit(opened: UDPPort) -> None:
    """So many seconds, bytes or bits a second are a mistake, whoever is told of them."""
    address = InputModel.parse("udp://239.1.1.1:5").address
    for value in (2**70, 1e30, MOST_LATENCY + 1):
        with pytest.raises(ValueError, match="latency is "):
            opened.latency = value
        with pytest.raises(ValueError, match="latency is "):
            InputModel(address, 5, latency=value)
    with pytest.raises(ValueError, match="refresh is "):
        InputModel(address, 5, refresh=2**70)
    with pytest.raises(ValueError, match="rate is "):
        OutputModel("10.0.0.1", 5, rate=1e13)
    with pytest.raises(ValueError, match="maxPacketSize is "):
        opened.maxPacketSize = 2**70
    for name in attrs.fields_dict(Limits):
        with pytest.raises(ValueError, match=name):
            Limits(**{name: 2**70})
    for name in ("size", "age", "files"):
        with pytest.raises(ValueError, match=name):
            Keeping(**{name: 2**70})
    ours = GroupsockReactor(opened.reactor)
    with pytest.raises(ValueError, match="backlog is "):
        ours.listenTCP(0, Factory(), 2**70, "127.0.0.1")
    with pytest.raises(ValueError, match="fileDescriptor is "):
        ours.adoptStreamPort(2**70, socket.AF_INET, Factory())
    with pytest.raises(ValueError, match="timeout is "):
        ours.connectTCP("127.0.0.1", 9, ClientFactory(), timeout=2**70)
