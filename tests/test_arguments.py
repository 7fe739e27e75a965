"""What is given wrongly is refused where it is given, in words that say what would be right."""

from __future__ import annotations

import inspect
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import attrs
import pytest
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Factory
from twisted.internet.task import Clock

import txgroupsock
from txgroupsock import (
    Destination,
    Environment,
    FramedDatagrams,
    FramedDatagramsFactory,
    Groupsock,
    GroupsockError,
    GroupsockLookupTable,
    GroupsockReactor,
    InterleavedRTSP,
    KeepAlive,
    Membership,
    Relay,
    RelayModel,
    Route,
    SourceFilter,
    Stage,
    UDPPort,
    findInterface,
    ports,
    primitives,
)
from txgroupsock.ports.clock import makeSteady
from txgroupsock.relay import health, viewers
from txgroupsock.relay.carriers.udp.output import UDPOutput
from txgroupsock.relay.config.admin import AdminModel
from txgroupsock.relay.health import (
    CommandHook,
    Health,
    HealthModel,
    Hook,
    HookModel,
    RTPHealth,
    StreamHealth,
    URLHook,
)
from txgroupsock.relay.models.udp import InputModel, OutputModel
from txgroupsock.relay.models.url import StreamURL
from txgroupsock.relay.recording import Keeping, Recorder
from txgroupsock.relay.recording.ring import DumpHook, Ring
from txgroupsock.relay.redundancy.failoverinput import FailoverInput
from txgroupsock.relay.redundancy.merged import MergedInput
from txgroupsock.relay.redundancy.model import FailoverModel, MergeModel
from txgroupsock.relay.viewers import (
    Access,
    Limits,
    StreamModel,
    TCPModel,
    ViewerService,
    ViewersModel,
)
from txgroupsock.relay.viewers.access import Passwords
from txgroupsock.testing import MemoryNetwork, everyNth

NAN, INF = float("nan"), float("inf")
NO_NUMBER: tuple[Any, ...] = ("5", b"5", None, True, [], timedelta(1))
NO_WHOLE_NUMBER = (*NO_NUMBER, 1.5, NAN)
NO_PORT = (*NO_WHOLE_NUMBER, -1, 65536)
NO_TIME = (*(each for each in NO_NUMBER if each is not None), -1, NAN, INF)
NO_FLAG: tuple[Any, ...] = ("no", 60, None, 1.5)
NO_TTL = (*(each for each in NO_WHOLE_NUMBER if each is not None), -1, 256)
NO_LIST: tuple[Any, ...] = ("udp://239.1.1.1:5", b"udp://239.1.1.1:5", None, 5, [5], {"a": 1})
NO_TEXT: tuple[Any, ...] = (5, None, b"a", True, ["a"])
NO_ADDRESS: tuple[Any, ...] = (5, None, True, ["239.1.1.1"], "a.name", b"a.name", "")
NO_INTERFACE: tuple[Any, ...] = (True, 1.5, ["lo"], "nosuch0", 9999, -1)
NO_CALLABLE: tuple[Any, ...] = ("f", 5)
NO_PROTOCOL: tuple[Any, ...] = (None, DatagramProtocol, "p", Factory())
NO_FACTORY: tuple[Any, ...] = (None, Factory, "f", DatagramProtocol())


@contextmanager
def openPort(reactor: Any) -> Iterator[UDPPort]:
    """An open port."""
    opened = GroupsockReactor(reactor).listenUDP(0, DatagramProtocol(), "127.0.0.1")
    try:
        yield opened
    finally:
        opened.connectionLost()


def onPort(name: str, *before: Any) -> Callable[..., Any]:
    """Call a method of an open port; what its L{Deferred} fails with is raised."""

    def call(reactor: Any, value: Any) -> None:
        with openPort(reactor) as opened:
            result = getattr(opened, name)(*before, value)
            failures: list[Any] = []
            if result is not None:
                result.addErrback(failures.append)
            if failures:
                failures[0].raiseException()

    return call


def onSocket(function: Callable[..., Any]) -> Callable[..., Any]:
    """Call a function on a socket."""

    def call(_: Any, value: Any) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            function(sock, value)

    return call


def onReactor(name: str, *before: Any, **given: Any) -> Callable[..., Any]:
    """Call a method of a reactor; an argument C{by} is the name of the one that is wrong."""
    by = given.pop("by", "")

    def call(reactor: Any, value: Any) -> Any:
        ours = GroupsockReactor(reactor)
        arguments = (*before, value) if not by else before
        return getattr(ours, name)(*arguments, **given, **({by: value} if by else {}))

    return call


def onGroupsock(name: str, *before: Any) -> Callable[..., Any]:
    """Call a method of a Groupsock on no network."""

    def call(_: Any, value: Any) -> None:
        host = MemoryNetwork().host("10.0.0.1")
        with host:
            getattr(Groupsock(host.reactor, "239.1.1.1", 5000), name)(*before, value)

    return call


def of(kind: Callable[..., Any], *before: Any, by: str = "", **given: Any) -> Callable[..., Any]:
    """Make something, without a reactor."""
    return lambda _, value: kind(
        *before, *(() if by else (value,)), **given, **({by: value} if by else {})
    )


def withReactor(kind: Callable[..., Any], *before: Any, by: str = "", **given: Any) -> Any:
    """Make something that takes a reactor first."""
    return lambda reactor, value: of(kind, reactor, *before, by=by, **given)(reactor, value)


GROUP, SOURCE = "239.1.1.1", "10.0.0.1"
INPUT = InputModel.parse("udp://239.1.1.1:5000")
P, F = DatagramProtocol(), Factory()
STREAM = StreamModel(INPUT)
KEEPALIVES: tuple[Any, ...] = (60, "yes", 1.5, (60, 10, 3))

HOOKS: tuple[Any, ...] = ((CommandHook, ["true"]), (URLHook, "http://127.0.0.1/"))
NO_COMMAND: tuple[Any, ...] = (5, "logger", b"x", [5], ["x", None], [], [""], [" "], ["a", "\0"])
NO_URL: tuple[Any, ...] = (
    *NO_TEXT,
    "",
    "ftp://a/",
    "http://",
    "http:///a",
    "http://[",
    "http://a b",
)
NO_RATES: tuple[Any, ...] = (
    *([1], [(97, 1)], "x", 5, {"97": 8000}, {None: 8000}, {128: 8000}, {-1: 8000}),
    *({97: each} for each in (-1, 0, NAN, INF, None, b"x", "8000", True, 8000.0, 10**10)),
)
NO_STREAMS: tuple[Any, ...] = (
    *("x", 5, None, [], ["n"], {"n": None}, {"n": 5}, {"n": "udp"}, {5: STREAM}, {b"n": STREAM}),
    *({"": STREAM}, {"a/b": STREAM}),
)
NO_TOKENS: tuple[Any, ...] = (
    *("a" * 8, None, 5, [5], [b"a" * 8]),
    *((each,) for each in ("", " ", "\ud800", "short", "with space", "eight\0\0\0", "\u00fc" * 9)),
)

TABLE: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = [
    # The reactor
    ("keepAlive", withReactor(GroupsockReactor, by="keepAlive"), (60, "yes", True)),
    ("port", onReactor("listenUDP", by="port", protocol=P), NO_PORT),
    ("protocol", onReactor("listenUDP", 0), NO_PROTOCOL),
    ("interface", onReactor("listenUDP", 0, P), NO_INTERFACE),
    ("maxPacketSize", onReactor("listenUDP", 0, P, ""), (*NO_WHOLE_NUMBER, 0, -1)),
    ("listenMultiple", onReactor("listenMulticast", 0, P, by="listenMultiple"), NO_FLAG),
    ("latency", onReactor("listenMulticast", 0, P, by="latency"), NO_TIME),
    ("spread", onReactor("listenMulticast", 0, P, by="spread"), NO_FLAG),
    ("reusePort", onReactor("listenMulticast", 0, P, by="reusePort"), ("no", 60)),
    ("family", onReactor("listenMulticast", 0, P, by="family"), ("IPv4", 5, 1.5)),
    ("sources", onReactor("listenRTP", 0, P, P, by="sources", group=GROUP), ("10.0.0.1", 5)),
    ("port", onReactor("listenTCP", by="port", factory=F), NO_PORT),
    ("factory", onReactor("listenTCP", 0), NO_FACTORY),
    ("backlog", onReactor("listenTCP", 0, F), NO_WHOLE_NUMBER),
    ("interface", onReactor("listenTCP", 0, F, 5), NO_INTERFACE),
    ("keepAlive", onReactor("listenTCP", 0, F, by="keepAlive"), KEEPALIVES),
    ("keepAlive", onReactor("listenSSL", 0, F, None, by="keepAlive"), KEEPALIVES),
    ("reusePort", onReactor("listenTCP", 0, F, by="reusePort"), NO_FLAG),
    ("host", onReactor("connectTCP", by="host", port=9, factory=F), (5, None, ["a"])),
    ("port", onReactor("connectTCP", "a", by="port", factory=F), (None, 1.5, True, -1, 65536)),
    ("factory", onReactor("connectTCP", "a", 9), NO_FACTORY),
    ("timeout", onReactor("connectTCP", "a", 9, F), NO_TIME),
    ("bindAddress", onReactor("connectTCP", "a", 9, F, 5), ("a", 5, ("a",), ("a", "5"), (5, 5))),
    ("keepAlive", onReactor("connectTCP", "a", 9, F, by="keepAlive"), KEEPALIVES),
    ("keepAlive", onReactor("connectSSL", "a", 9, F, None, by="keepAlive"), KEEPALIVES),
    (
        "fileDescriptor",
        lambda reactor, value: onReactor("adoptStreamPort", value, 2)(reactor, F),
        NO_WHOLE_NUMBER,
    ),
    # Ports
    (
        "addr",
        onPort("write", b""),
        (5, "a", ("10.0.0.1",), ("10.0.0.1", "9"), (5, 9), ("10.0.0.1", 9.0)),
    ),
    ("host", lambda reactor, value: onPort("connect", value)(reactor, 9), NO_ADDRESS),
    ("port", onPort("connect", "10.0.0.1"), (*(each for each in NO_PORT if each is not True),)),
    ("ttl", onPort("setTTL"), (*NO_TTL, None)),
    ("mode", onPort("setLoopbackMode"), NO_FLAG),
    ("changed", lambda reactor, value: GroupsockReactor(reactor).linkWatch.add(value), NO_CALLABLE),
    ("reactor", of(makeSteady), (None, "epoll", 5)),
    ("the address", of(primitives.isSSM), (5, None, True)),
    ("the address", of(primitives.toSocketAddress, by="address", port=5), (5, None, True)),
    ("latency", onPort("__setattr__", "latency"), NO_TIME),
    ("addr", onPort("joinGroup"), (5, None, True, "10.0.0.1", "")),
    ("source", onPort("joinSourceGroup", GROUP), (*NO_ADDRESS, GROUP)),
    ("sources", onPort("joinSourceGroups", GROUP), (SOURCE, 5, None, [5])),
    ("wanted", onPort("setSourceFilter", GROUP), (True, None, [SOURCE])),
    ("interface", onPort("joinGroup", GROUP), NO_INTERFACE),
    ("protocol", of(FramedDatagrams), NO_PROTOCOL),
    ("makeProtocol", of(FramedDatagramsFactory), NO_CALLABLE),
    (
        "channel",
        of(InterleavedRTSP().openChannel, protocol=P, by="channel"),
        (*NO_WHOLE_NUMBER, 256, -1),
    ),
    # Groupsock
    ("group", withReactor(Groupsock, by="group", port=0), NO_ADDRESS),
    ("port", withReactor(Groupsock, "0.0.0.0"), NO_PORT),
    ("received", withReactor(Groupsock, "0.0.0.0", 0), NO_CALLABLE),
    ("ttl", withReactor(Groupsock, "0.0.0.0", 0, by="ttl"), (*NO_WHOLE_NUMBER,)),
    ("sendOnly", withReactor(Groupsock, "0.0.0.0", 0, by="sendOnly"), NO_FLAG),
    ("env", withReactor(Groupsock, "0.0.0.0", 0, by="env"), ("lo", 5)),
    ("port", onGroupsock("addDestination", "10.0.0.2"), (*NO_PORT, 0)),
    ("sessionId", onGroupsock("addDestination", "10.0.0.2", 5), NO_WHOLE_NUMBER),
    ("ttl", onGroupsock("addDestination", "10.0.0.2", 5, 0), (*NO_TTL, None)),
    ("port", onGroupsock("changePort"), NO_PORT),
    ("port", onGroupsock("changeDestinationParameters", None), ("5", 1.5, True, -1, 65536)),
    ("sessionId", onGroupsock("removeDestination"), NO_WHOLE_NUMBER),
    (
        "port",
        withReactor(lambda *args: GroupsockLookupTable(args[0]).fetch(GROUP, args[1])),
        NO_PORT,
    ),
    # Primitives
    *(
        (name, of(KeepAlive, by=name), (*NO_WHOLE_NUMBER, 0, -1))
        for name in ("idle", "interval", "count")
    ),
    ("userTimeout", of(KeepAlive, by="userTimeout"), (*NO_TIME, 0)),
    ("ttl", onSocket(primitives.setMulticastTTL), (*NO_TTL, None)),
    ("size", onSocket(primitives.setReceiveBufferTo), NO_WHOLE_NUMBER),
    ("size", onSocket(primitives.increaseSendBufferTo), NO_WHOLE_NUMBER),
    ("writeTimeoutMs", onSocket(primitives.makeSocketBlocking), (*NO_WHOLE_NUMBER, -1)),
    ("interface", onSocket(primitives.setMulticastInterface), NO_INTERFACE),
    ("group", onSocket(primitives.socketJoinGroup), NO_ADDRESS),
    ("port", of(primitives.setupDatagramSocket, Environment()), NO_PORT),
    ("port", of(primitives.setupStreamSocket, Environment()), NO_PORT),
    ("env", of(primitives.setupDatagramSocket, port=0, by="env"), (None, "lo")),
    ("port", of(Destination, "10.0.0.1"), (*NO_PORT, 0)),
    ("ttl", of(Destination, "10.0.0.1", 5, by="ttl"), NO_TTL),
    ("dscp", of(Destination, "10.0.0.1", 5, by="dscp"), (*NO_TTL, 64)),
    ("source", of(Destination, "10.0.0.1", 5, by="source"), (5, True, "a.name", "::1")),
    ("group", of(Membership.of), NO_ADDRESS),
    ("isInclude", of(SourceFilter, sources=[], by="isInclude"), NO_FLAG),
    ("sources", of(SourceFilter, True), (SOURCE, 5, None, [5])),
    ("reuseFlag", of(Environment), NO_FLAG),
    ("which", of(findInterface), (*NO_INTERFACE, None)),
    ("literal", of(primitives.parseAddress), NO_ADDRESS),
    # The relay
    ("url", of(StreamURL.parse), (*NO_TEXT, "239.1.1.1:5000", "")),
    (
        "inputs",
        withReactor(Route.fromURLs, outputs=["udp://10.0.0.1:5"], by="inputs"),
        (*NO_LIST, []),
    ),
    ("outputs", withReactor(Route.fromURLs, ["udp://239.1.1.1:5"]), NO_LIST),
    ("outputs", of(Route, MergedInput), (None, 5, "udp://239.1.1.1:5")),
    ("input", of(Route, outputs=[], by="input"), (None, "udp://239.1.1.1:5", MergedInput)),
    ("routes", of(Relay), (None, 5, "a", [5])),
    ("routes", of(RelayModel.of), (None, 5, "a", [5])),
    ("model", withReactor(UDPOutput), (None, "udp://239.1.1.1:5")),
    ("receiver", of(Stage().openStage), (None, 5, Stage)),
    ("port", of(InputModel, INPUT.address), NO_PORT),
    ("latency", of(InputModel, INPUT.address, 5, by="latency"), NO_TIME),
    ("ttl", of(OutputModel, "10.0.0.1", 5, by="ttl"), NO_TTL),
    ("rate", of(OutputModel, "10.0.0.1", 5, by="rate"), NO_TIME),
    ("legs", withReactor(MergedInput), (None, "a", 5, [5, 5])),
    ("legs", withReactor(FailoverInput), (None, "a", 5, [5, 5])),
    ("window", of(MergeModel), (*NO_NUMBER, NAN)),
    ("silence", of(FailoverModel), (*NO_NUMBER, NAN)),
    ("size", of(Keeping), (*NO_WHOLE_NUMBER, 0)),
    ("folder", withReactor(Recorder, "news", (GROUP, 5)), (None, 5, "here")),
    *((name, of(Limits, by=name), (*NO_WHOLE_NUMBER, -1)) for name in ("viewers", "backlog")),
    ("stallTime", of(Limits, by="stallTime"), (*NO_TIME, 0)),
    ("endpoint", of(TCPModel, stream="news", by="endpoint"), NO_TEXT),
    ("model", withReactor(ViewerService), ("a", 5, None)),
    # Health, and viewers
    *(
        ("seconds", withReactor(hook, given, by="seconds"), (*NO_NUMBER, NAN, INF, -1, 0))
        for hook, given in HOOKS
    ),
    ("seconds", withReactor(Hook, by="seconds"), (*NO_NUMBER, NAN, INF, -1, 0)),
    ("command", withReactor(CommandHook), NO_COMMAND),
    ("command", of(HookModel, by="command"), tuple(each for each in NO_COMMAND if each != [])),
    ("url", withReactor(URLHook), NO_URL),
    ("url", of(HookModel, by="url"), tuple(each for each in NO_URL if each)),
    ("ring", withReactor(DumpHook), (None, 5, "news", Ring)),
    ("name", withReactor(Health), NO_TEXT),
    ("hooks", withReactor(Health, "n", by="hooks"), (5, [5], [Hook], "a")),
    ("clockRates", withReactor(Health, "n", by="clockRates"), NO_RATES),
    ("clockRates", of(RTPHealth), NO_RATES),
    (
        "clockRates",
        of(HealthModel, by="clockRates"),
        (5, [5], [(97, 0)], [(97, NAN)], [(128, 8000)], [(97,)], [("97", 8000)], {97: 8000}),
    ),
    ("silence", of(StreamHealth, 0.0), (*NO_NUMBER, NAN, -1, 0)),
    ("named", of(ViewersModel, by="named"), NO_STREAMS),
    ("stream", of(TCPModel, "tcp:0"), (5, None, b"news")),
    ("tokens", of(Access, by="tokens"), NO_TOKENS),
    ("tokens", of(AdminModel, by="tokens"), NO_TOKENS),
    ("checker", of(Access, by="checker"), (5, "a", Passwords)),
    ("known", of(Passwords), (5, None, "a", [1], {"a": 5}, {5: "a"})),
    # What tests are made of
    ("amount", of(MemoryNetwork().reactor.advance), (*NO_NUMBER, NAN)),
    ("n", of(everyNth), NO_WHOLE_NUMBER),
]


GOOD: dict[str, Any] = {
    "protocol": P,
    "command": ["true"],
    "group": GROUP,
    "name": "n",
    "port": 0,
    "url": "http://a/",
}


@pytest.mark.parametrize(
    ("name", "call", "values"),
    TABLE,
    ids=[f"{number}-{each[0]}" for number, each in enumerate(TABLE)],
)
def test_whatIsWrongIsRefusedAtTheCall(reactor: Any, name: str, call: Any, values: Any) -> None:
    """With a TypeError, a ValueError or an error of this package that shows the value."""
    for value in values:
        try:
            call(reactor, value)
        except (TypeError, ValueError, GroupsockError, CannotListenError) as error:
            text = str(error)
            assert "positional argument" not in text, (value, text)
            assert "unexpected keyword" not in text, (value, text)
            assert "object is not" not in text, (value, text)
            assert "object has no" not in text, (value, text)
            assert "not supported between" not in text, (value, text)
            assert "cannot be interpreted" not in text, (value, text)
            continue
        pytest.fail(f"{name}={value!r} was taken")


def test_anErrorSaysWhatWouldBeRight(reactor: Any) -> None:
    """It names the argument, and shows what was given."""
    ours = GroupsockReactor(reactor)
    with pytest.raises(TypeError) as one:
        ours.listenTCP(0, ClientFactory(), keepAlive=60)  # type: ignore[arg-type] # on purpose
    assert str(one.value) == ("keepAlive is 60, an int: it has to be a KeepAlive or True or False")
    with pytest.raises(TypeError) as two:
        Route.fromURLs(reactor, "udp://239.1.1.1:5000", [])
    assert str(two.value) == (
        "inputs is 'udp://239.1.1.1:5000', a str: it has to be a list, each of a text, "
        "also of a single one: [...]"
    )
    with pytest.raises(TypeError, match=r"^idle is 1\.5, a float: it has to be a whole number$"):
        KeepAlive(1.5)  # type: ignore[arg-type] # on purpose


# Results, which nobody makes; and what is looked at by those that it calls, or is the data path.
NOT_LOOKED_AT = {
    *("Arrival", "BufferSize", "ConnectionState", "DestinationStatistics", "GroupsockStatistics"),
    *("NetworkInterface", "PortStatistics", "RTPPair", "Received", "Run", "Traffic"),
    *("Flow.sendRun", "GroupsockReactor.listenUDP", "NetworkInterface.addressOf", "Relay.change"),
    *("Alarm", "AllowList", "AllowRule", "Channel.runReceived", "Channel.viewersFrom"),
    *(
        "ChannelStatus",
        "ChannelStatus.droppingBefore",
        "ChannelStatus.during",
        "Health.runReceived",
    ),
    *("HealthFigures", "HealthModel.fromJSON", "PIDFigures", "RTPFigures", "RTPHealth.take"),
    *("StreamFigures", "StreamHealth.measure", "StreamHealth.take", "TSFigures"),
    *("TSHealth.measure", "TSHealth.take", "ViewerStatus", "ViewersChange.__init__"),
    "ViewersStatus",
    *("Route.openRoute", "Route.runReceived", "Stage.runReceived", "receiveArrival"),
    *("StockMulticast.__init__", "StockMulticast.joinGroup", "StockMulticast.leaveGroup"),
    *("TransportKeepAlive.__init__", "UDPPort.connect", "UDPPort.joinGroup"),
    *("UDPPort.leaveGroup", "mostSenders"),
}
SIMPLE = re.compile(
    r"\b(int|float|bool|str|Sequence|Iterable|Callable|Environment|KeepAlive"
    r"|socket|Membership|SourceFilter|Destination|Run)\b"
)
LOOKING = {"explained", "wrongKind", "asText", "wholeNumber"}  # it does so itself
PARSED = re.compile(r"IPAddress|InterfaceLike")


def notLookedAt(name: str, thing: Any) -> Iterator[str]:
    """What of a thing takes arguments whose annotations say something and nobody looks at."""
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        return
    functions: dict[str, Any] = {name: thing} if inspect.isfunction(thing) else {}
    if inspect.isclass(thing):
        if attrs.has(thing) and not any(
            "Validator" in repr(type(each.validator)) for each in attrs.fields(thing)
        ):
            yield name
        bases = [each for each in thing.__mro__ if each.__module__.startswith("txgroupsock")]
        inherited = {name: value for each in reversed(bases) for name, value in vars(each).items()}
        for member, value in inherited.items():
            isOurs = member == "__init__" and not attrs.has(thing)
            if isOurs or not member.startswith("_"):
                functions[f"{name}.{member}"] = getattr(value, "__func__", value)
    for called, function in functions.items():
        isFunction = inspect.isfunction(function) and not hasattr(function, "__wrapped__")
        if isFunction and LOOKING.isdisjoint(function.__code__.co_names):
            parameters = inspect.signature(function).parameters.values()
            hints = [
                str(each.annotation) for each in parameters if each.annotation is not each.empty
            ]
            if any(SIMPLE.search(each) and not PARSED.search(each) for each in hints):
                yield called


@pytest.mark.parametrize("module", [txgroupsock, primitives, ports, health, viewers])
def test_everythingThatIsExportedLooksAtItsArguments(module: Any) -> None:
    """Or is on a list of what need not, and why."""
    found = {each for name in module.__all__ for each in notLookedAt(name, getattr(module, name))}
    assert found <= NOT_LOOKED_AT


@pytest.mark.parametrize("module", [txgroupsock, ports, health, viewers])
def test_whatNeedsAReactorTakesNothingElse(module: Any) -> None:
    """Nor a class of reactors, whatever else it is given."""
    for name in module.__all__:
        thing = make = getattr(module, name)
        if not inspect.isclass(thing) or issubclass(thing, BaseException):
            continue
        parameters = inspect.signature(thing).parameters
        if next(iter(parameters), "") != "reactor" or name in NOT_LOOKED_AT:
            continue
        needed = [each for each in parameters.values() if each.default is each.empty]
        good = [GOOD[each.name] for each in needed[1:]]
        for wrong in (None, 5, "epoll", Clock):
            with pytest.raises(TypeError, match="reactor"):
                make(wrong, *good)


def test_aMappingIsSpokenOfAsSuch(reactor: Any) -> None:
    """By its keys and its values."""
    with pytest.raises(TypeError) as one:
        Health(reactor, "n", clockRates=[1])  # type: ignore[arg-type] # on purpose
    words = "a dict, each key a whole number, each value a whole number"
    assert str(one.value) == f"clockRates is [1], a list: it has to be {words} or None"
    with pytest.raises(TypeError, match=r"^clockRates\[97\] is None: it has to be a whole number$"):
        Health(reactor, "n", clockRates={97: None})  # type: ignore[dict-item] # on purpose
