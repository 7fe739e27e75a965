"""A peer that vanishes: the connection is lost when keep-alive says so, not before."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.error import ConnectionLost
from twisted.internet.task import deferLater

from tests.ports.streams import Stream, Streams, clientTLS, serverTLS
from txgroupsock import GroupsockReactor, KeepAlive
from txgroupsock.interfaces import IKeepAlive
from txgroupsock.testing.lan import Lan

PORT = 8080
QUICK = KeepAlive(idle=1, interval=1, count=2)
SECONDS = 3.0  # idle + interval * count

ENDS = pytest.mark.parametrize("watching", ["server", "client"])


async def connection(
    reactor: Any,
    lan: Lan,
    family: socket.AddressFamily,
    server: KeepAlive | bool,
    client: KeepAlive | bool,
    *,
    isTLS: bool = False,
) -> tuple[Any, Stream, Stream]:
    """A connection that carried something: the port of host a, its end, and host b's."""
    ours: Any = GroupsockReactor(reactor)
    address = lan["a"].ipv4 if family == socket.AF_INET else lan["a"].ipv6
    servers, clients = Streams(), Streams()
    accepted, connected = servers.next, clients.next
    with lan["a"]:
        if isTLS:
            port = ours.listenSSL(PORT, servers, serverTLS(), interface=address, keepAlive=server)
        else:
            port = ours.listenTCP(PORT, servers, interface=address, keepAlive=server)
    with lan["b"]:
        if isTLS:
            ours.connectSSL(address, PORT, clients, clientTLS(), keepAlive=client)
        else:
            ours.connectTCP(address, PORT, clients, keepAlive=client)
    here = await connected
    here.wire.write(b"?")
    there = await accepted
    await there.has(reactor, 1)
    there.wire.write(b"!")
    await here.has(reactor, 1)
    # An acknowledgement that is lost would be data in flight, and that is another test.
    while any(
        IKeepAlive(each.transport).getConnectionState().unacknowledged for each in (here, there)
    ):
        await deferLater(reactor, 0.005)
    return port, there, here


async def lostAfter(reactor: Any, stream: Stream, start: float, timeout: float) -> float:
    """How many seconds after C{start} the connection is lost."""
    await stream.lost.addTimeout(timeout, reactor)
    return float(reactor.seconds()) - start


async def finish(port: Any, *streams: Stream) -> None:
    """Close what is left, without waiting for the other host."""
    for each in streams:
        if each.reason is None:
            each.wire.abortConnection()
            await each.lost
    await port.stopListening()


@pytest.mark.slow
@ENDS
@pytest.mark.parametrize("isTLS", [False, True], ids=["TCP", "TLS"])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
@pytest_twisted.ensureDeferred
async def test_aPeerThatVanishesIsNoticedAfterIdleAndProbes(
    lan: Lan, reactor: Any, family: socket.AddressFamily, isTLS: bool, watching: str
) -> None:
    """Three seconds after it was last heard of, and not before; the other end never notices."""
    port, server, client = await connection(
        reactor,
        lan,
        family,
        QUICK if watching == "server" else False,
        QUICK if watching == "client" else False,
        isTLS=isTLS,
    )
    watcher, other = (server, client) if watching == "server" else (client, server)
    start = reactor.seconds()
    lan["b" if watching == "server" else "a"].setLink(up=False)
    seconds = await lostAfter(reactor, watcher, start, SECONDS + 3)
    assert watcher.reason is not None
    assert watcher.reason.check(ConnectionLost), watcher.reason
    # The kernel's timers are exact to about a tenth.
    assert SECONDS - 0.3 <= seconds <= SECONDS + 1
    assert other.reason is None
    await finish(port, server, client)


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_bothEndsNotice(lan: Lan, reactor: Any) -> None:
    """Each by itself, when both have keep-alive."""
    port, server, client = await connection(reactor, lan, socket.AF_INET, QUICK, QUICK)
    start = reactor.seconds()
    lan["b"].setLink(up=False)
    for each in (server, client):
        assert SECONDS - 0.3 <= await lostAfter(reactor, each, start, SECONDS + 3) <= SECONDS + 1
    await finish(port, server, client)


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_aPeerThatIsOnlySilentIsKept(lan: Lan, reactor: Any) -> None:
    """Its kernel answers the probes, so twice the time passes and all is well."""
    port, server, client = await connection(reactor, lan, socket.AF_INET, QUICK, QUICK)
    await deferLater(reactor, 2 * SECONDS)
    assert (server.reason, client.reason) == (None, None)
    client.wire.write(b"still here")
    await server.has(reactor, 11)
    assert IKeepAlive(server.transport).getConnectionState().probes == 0
    await finish(port, server, client)


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_aLinkThatIsBackInTimeIsForgiven(lan: Lan, reactor: Any) -> None:
    """Down for less than the time that is allowed."""
    port, server, client = await connection(reactor, lan, socket.AF_INET, QUICK, QUICK)
    lan["b"].setLink(up=False)
    await deferLater(reactor, 1.5)
    assert IKeepAlive(server.transport).getConnectionState().probes >= 1
    lan["b"].setLink(up=True)
    await deferLater(reactor, 2 * SECONDS)
    assert (server.reason, client.reason) == (None, None)
    await finish(port, server, client)


@pytest.mark.slow
@ENDS
@pytest_twisted.ensureDeferred
async def test_dataInFlightIsLostAfterTheUserTimeout(lan: Lan, reactor: Any, watching: str) -> None:
    """While data is unacknowledged there are no probes; the user timeout then decides."""
    patient = KeepAlive(1, 1, 2, userTimeout=4)
    port, server, client = await connection(
        reactor,
        lan,
        socket.AF_INET,
        patient if watching == "server" else False,
        patient if watching == "client" else False,
    )
    watcher = server if watching == "server" else client
    lan["b" if watching == "server" else "a"].setLink(up=False)
    start = reactor.seconds()
    watcher.wire.write(b"into the void")
    await deferLater(reactor, 1.0)
    state = IKeepAlive(watcher.transport).getConnectionState()
    assert state.unacknowledged == 1
    assert state.totalRetransmits >= 1
    assert state.silence >= 0.9
    seconds = await lostAfter(reactor, watcher, start, 8)
    assert watcher.reason is not None
    assert watcher.reason.check(ConnectionLost), watcher.reason
    # The kernel looks when it retransmits, at ever longer intervals, but cuts the last one short.
    assert 3.8 <= seconds <= 5.5
    await finish(port, server, client)


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_aUserTimeoutReplacesTheCountOfProbes(lan: Lan, reactor: Any) -> None:
    """A silent connection is lost at the third probe, when 2.5 s have passed; not at the ninth."""
    port, server, client = await connection(
        reactor, lan, socket.AF_INET, KeepAlive(1, 1, 9, userTimeout=2.5), False
    )
    start = reactor.seconds()
    lan["b"].setLink(up=False)
    assert SECONDS - 0.3 <= await lostAfter(reactor, server, start, SECONDS + 3) <= SECONDS + 1
    await finish(port, server, client)


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_withoutAUserTimeoutDataInFlightHidesThePeersEnd(lan: Lan, reactor: Any) -> None:
    """Which is why there is one: twice the time passes and the connection is still there."""
    port, server, client = await connection(reactor, lan, socket.AF_INET, QUICK, False)
    lan["b"].setLink(up=False)
    server.wire.write(b"into the void")
    await deferLater(reactor, 2 * SECONDS)
    assert server.reason is None
    assert IKeepAlive(server.transport).getConnectionState().retransmits >= 3
    await finish(port, server, client)


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_keepAliveThatIsSetLaterCounts(lan: Lan, reactor: Any) -> None:
    """Through the adapter, on a connection that began without; and cleared it is gone."""
    port, server, client = await connection(reactor, lan, socket.AF_INET, False, False)
    IKeepAlive(server.transport).setKeepAlive(QUICK)
    IKeepAlive(client.transport).setKeepAlive(QUICK)
    IKeepAlive(client.transport).setKeepAlive(None)
    start = reactor.seconds()
    lan["b"].setLink(up=False)
    assert SECONDS - 0.3 <= await lostAfter(reactor, server, start, SECONDS + 3) <= SECONDS + 1
    assert client.reason is None
    await finish(port, server, client)


@pytest_twisted.ensureDeferred
async def test_aPortListensOnTheInterfaceThatIsNamed(lan: Lan, reactor: Any) -> None:
    """It is reached there and not on the host's other link."""
    a, b = lan["a"], lan["b"]
    link, d = lan.addLink(a, "d")
    ours: Any = GroupsockReactor(reactor)
    servers = Streams()
    for interface in ("eth1", link.index):
        with a:
            port = ours.listenTCP(PORT, servers, interface=interface)
        assert port.getHost().host == link.ipv4
        near, far = Streams(), Streams()
        refused, connected = near.next, far.next
        with d:
            ours.connectTCP(link.ipv4, PORT, far)
        with b:
            ours.connectTCP(a.ipv4, PORT, near)
        stream = await connected
        stream.wire.loseConnection()
        await stream.lost
        refused.addErrback(lambda _: None)
        await refused
        assert len(near.failures) == 1
        await port.stopListening()
    for each in servers.all:
        await each.lost


@pytest_twisted.ensureDeferred
async def test_anInterfaceWithIPv6AloneIsListenedOnByIPv6(lan: Lan, reactor: Any) -> None:
    """And one without any address cannot be."""
    a = lan["a"]
    link, d = lan.addLink(a, "d")
    ours: Any = GroupsockReactor(reactor)
    a.run("ip", "-4", "addr", "flush", "dev", "eth1")
    with a:
        port = ours.listenTCP(PORT, Streams(), interface="eth1")
    # Its first address may be the link-local one, which has a scope.
    assert port.getHost().host.partition("%")[0] in {link.ipv6, link.linkLocal}
    await port.stopListening()
    a.run("ip", "-6", "addr", "flush", "dev", "eth1")
    with a, pytest.raises(Exception, match="it has no address; give it one"):
        ours.listenTCP(PORT, Streams(), interface="eth1")
    assert d.links["eth0"].ipv4
