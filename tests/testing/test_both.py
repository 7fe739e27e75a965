"""What programs see of a network is the same in the kernel and in memory."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.error import CannotListenError

from tests.ports.support import GROUP, OTHER_GROUP, SSM_GROUP
from tests.testing.conftest import World, addressOf
from txgroupsock import JoinError, Run
from txgroupsock.primitives import Destination

PORT = 5004


@pytest_twisted.ensureDeferred
async def test_joinFilterBlockReplyAndStop(world: World, family: Any) -> None:
    """A port joins, filters by source, blocks, replies, leaves and stops."""
    a, b, c = world.hosts
    group, ssm = GROUP[family], SSM_GROUP[family]
    port, heard = world.listen(a, a.interface, PORT, family=family)
    (fromB, gotB), (fromC, _) = (world.listen(each, addressOf(each, family)) for each in (b, c))
    addressB = addressOf(b, family)

    with a:
        await port.joinGroup(group, a.interface)
    world.awaitMember(a, group)
    fromB.write(b"any", (group, PORT))
    assert await world.nextDatagram(heard) == (b"any", (addressB, fromB.getHost().port))

    with a:
        await port.blockSource(group, addressB, a.interface)
    fromB.write(b"blocked", (group, PORT))
    fromC.write(b"not blocked", (group, PORT))
    assert await world.next(heard) == b"not blocked"
    with a:
        await port.unblockSource(group, addressB, a.interface)
    world.awaitMember(a, group, addressB)
    fromB.write(b"unblocked", (group, PORT))
    assert await world.next(heard) == b"unblocked"

    with a:
        await port.leaveGroup(group, a.interface)
        await port.joinSourceGroup(ssm, addressB, a.interface)
    world.awaitMember(a, ssm, addressB)
    fromB.write(b"left", (group, PORT))
    fromC.write(b"another source", (ssm, PORT))
    fromB.write(b"the source", (ssm, PORT))
    assert await world.next(heard) == b"the source"

    port.write(b"reply", (addressB, fromB.getHost().port))
    payload, (host, number) = await world.nextDatagram(gotB)
    assert (payload, number) == (b"reply", PORT)
    assert host == addressOf(a, family)

    await world.done(port.stopListening())
    assert heard.calls == ["startProtocol", "stopProtocol"]
    fromB.connect(addressOf(a, family), PORT)
    fromB.write(b"nobody")
    await world.refusal(gotB)


@pytest_twisted.ensureDeferred
async def test_eachPortHearsOnlyItsOwnGroups(world: World, family: Any) -> None:
    """Of ports that share a number, each hears the groups that it joined and no others."""
    a, b, _ = world.hosts
    both, others = GROUP[family], OTHER_GROUP[family]
    options = {"family": family, "listenMultiple": True}
    (one, heardOne), (two, heardTwo) = (
        world.listen(a, a.interface, PORT, **options) for _ in range(2)
    )
    sender, _ = world.listen(b, addressOf(b, family))
    with a:
        await one.joinGroup(both)
        await two.joinGroup(both)
        await two.joinGroup(others)
    world.awaitMember(a, both)
    world.awaitMember(a, others)
    sender.write(b"for one of them", (others, PORT))
    sender.write(b"for both", (both, PORT))
    assert await world.next(heardOne) == b"for both"
    assert await world.next(heardTwo) == b"for one of them"
    assert await world.next(heardTwo) == b"for both"


@pytest_twisted.ensureDeferred
async def test_unicastGoesToTheLastThatBound(world: World, family: Any) -> None:
    """A unicast datagram goes to one of those that share a port: to the last."""
    a, b, _ = world.hosts
    where = addressOf(a, family)
    options = {"family": family, "listenMultiple": True}
    _, heardFirst = world.listen(a, a.interface, PORT, **options)
    _, heardLast = world.listen(a, a.interface, PORT, **options)
    sender, _ = world.listen(b, addressOf(b, family))
    sender.write(b"unicast", (where, PORT))
    assert await world.next(heardLast) == b"unicast"
    _, heardBound = world.listen(a, where, PORT, listenMultiple=True)
    _, _ = world.listen(a, a.interface, PORT, **options)
    sender.write(b"closer", (where, PORT))
    assert await world.next(heardBound) == b"closer"
    assert heardFirst.payloads == heardLast.payloads == []


@pytest_twisted.ensureDeferred
async def test_loopbackModeIsAboutTheSendersHost(world: World, family: Any) -> None:
    """With its loop off, what a port sends is heard by others and not by its own host."""
    a, b, _ = world.hosts
    group = GROUP[family]
    here, heardHere = world.listen(a, a.interface, PORT, family=family)
    there, heardThere = world.listen(b, b.interface, PORT, family=family)
    for host, port in ((a, here), (b, there)):
        with host:
            await port.joinGroup(group)
        world.awaitMember(host, group)
    sender, _ = world.listen(a, addressOf(a, family))
    sender.setLoopbackMode(False)
    sender.write(b"away", (group, PORT))
    sender.setLoopbackMode(True)
    sender.write(b"looped", (group, PORT))
    assert await world.next(heardHere) == b"looped"
    assert await world.next(heardThere) == b"away"


@pytest_twisted.ensureDeferred
async def test_aPortBoundToAGroupHearsNoOther(world: World, family: Any) -> None:
    """A port that is bound to a group gets only what was sent to that."""
    a, b, _ = world.hosts
    group, other = GROUP[family], OTHER_GROUP[family]
    port, heard = world.listen(a, group, PORT)
    sender, _ = world.listen(b, addressOf(b, family))
    with a:
        await port.joinGroup(group, a.interface)
        await port.joinGroup(other, a.interface)
    world.awaitMember(a, group)
    world.awaitMember(a, other)
    sender.write(b"other", (other, PORT))
    sender.write(b"group", (group, PORT))
    assert await world.next(heard) == b"group"


def test_aPortThatIsNotSharedIsRefused(world: World, family: Any) -> None:
    """Two ports have one number only if both share it."""
    a = world.hosts[0]
    world.listen(a, addressOf(a, family), PORT)
    with pytest.raises(CannotListenError) as refused:
        world.listen(a, addressOf(a, family), PORT, listenMultiple=True)
    assert refused.value.socketError.errno == errno.EADDRINUSE


def test_anAddressOfAnotherHostIsRefused(world: World, family: Any) -> None:
    """A port is bound to addresses of its own host."""
    a, b, _ = world.hosts
    with pytest.raises(CannotListenError) as refused:
        world.listen(a, addressOf(b, family), PORT)
    assert refused.value.socketError.errno == errno.EADDRNOTAVAIL


@pytest_twisted.ensureDeferred
async def test_limitsAndMistakesHaveTheSameErrnos(world: World, family: Any) -> None:
    """What cannot be joined or left is refused with the same errno, message and all."""
    a = world.hosts[0]
    port, _ = world.listen(a, a.interface, PORT, family=family)
    prefix = "239.9.9." if family == socket.AF_INET else "ff15::9:"
    with a:
        assert await refusal(port.leaveGroup(GROUP[family])) == errno.EADDRNOTAVAIL
        assert await refusal(port.blockSource(GROUP[family], addressOf(a, family))) == errno.EINVAL
        if family == socket.AF_INET:
            for number in range(20):
                await port.joinGroup(f"{prefix}{number}")
            assert await refusal(port.joinGroup(GROUP[family])) == errno.ENOBUFS
            await port.leaveGroup(f"{prefix}0")
        await port.joinGroup(GROUP[family])
        assert await refusal(port.joinGroup(GROUP[family])) == errno.EADDRINUSE
        with pytest.raises(JoinError, match="no interface has"):
            await port.joinGroup(GROUP[family], "eth9")


async def refusal(joining: Any) -> int | None:
    """The errno that a membership is refused with."""
    with pytest.raises(JoinError) as refused:
        await joining
    number: int | None = refused.value.errno
    return number


@pytest_twisted.ensureDeferred
async def test_runsGoToDestinations(world: World, family: Any) -> None:
    """A run is cut into its datagrams, whoever cuts it."""
    a, b, _ = world.hosts
    _, heard = world.listen(a, a.interface, PORT, family=family)
    sender, _ = world.listen(b, addressOf(b, family))
    there = Destination(addressOf(a, family), PORT, ttl=9, dscp=10)
    sender.writeRun(Run(memoryview(b"aabbc"), 2, ("", 0), 0.0), there)
    assert [await world.next(heard) for _ in range(3)] == [b"aa", b"bb", b"c"]
    assert there.statistics.datagramsSent == 3


@pytest_twisted.ensureDeferred
async def test_linkLocalSendersHaveTheirScope(world: World) -> None:
    """A datagram from a link-local address says by which interface, and can be answered."""
    a, b, _ = world.hosts
    port, heard = world.listen(a, f"fe80::1%{a.interface}", PORT)
    sender, answered = world.listen(b, f"fe80::2%{b.interface}", PORT)
    with b:
        sender.write(b"question", (f"fe80::1%{b.interface}", PORT))
    payload, address = await world.nextDatagram(heard)
    assert (payload, address[1]) == (b"question", PORT)
    assert address[0].partition("%")[0] == "fe80::2"
    with a:
        port.write(b"answer", (f"fe80::2%{a.interface}", PORT))
    assert await world.next(answered) == b"answer"
