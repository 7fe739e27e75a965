"""What single checks say of what was read, where no host has to be made for it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from txgroupsock.relay.doctor.finding import Diagnosis, Finding, hasFault, ordered
from txgroupsock.relay.doctor.interface import checkInterface
from txgroupsock.relay.doctor.kernel import Program, UDPSocket
from txgroupsock.relay.doctor.memory import checkBuffers, checkDrops
from txgroupsock.relay.doctor.netlink import Bridge, Link, Route
from txgroupsock.relay.doctor.outputs import checkSize, checkTTL
from txgroupsock.relay.doctor.packet import Query
from txgroupsock.relay.doctor.querier import checkBridge, checkVersion, unasked
from txgroupsock.relay.doctor.report import WIDTH, reportJSON, reportText
from txgroupsock.relay.doctor.rpfilter import checkReversePath, droppedAnyway
from txgroupsock.relay.doctor.sharing import checkLeaks, taken
from txgroupsock.relay.doctor.tally import MOST, Flow, Tallies, tallyOf
from txgroupsock.relay.doctor.traffic import sightingOf, unexplained
from txgroupsock.relay.models.udp import InputModel, OutputModel

A, G = ip_address("10.0.0.1"), ip_address("239.1.1.1")
UP = 0x1 | 0x1000 | 0x40
ETH0 = Link(2, "eth0", UP, 1500)
ANY = InputModel.parse("udp://239.1.1.1:5000?interface=eth0")
ONE = InputModel.parse("udp://10.0.0.1@239.1.1.1:5000?interface=eth0")


@pytest.mark.parametrize("kind", ["bridge", "bond", "team"])
def test_whatIsPartOfAnotherGetsNothing(kind: str) -> None:
    """The other one has what arrives; but a VRF leaves it where it is."""
    part = Link(2, "eth0", UP, 1500, master=3)
    whole = Link(3, "all0", UP, 1500, kind=kind)
    [found] = checkInterface("x", part, {2: part, 3: whole}, (A,), G)
    assert found.severity == "fault"
    assert "interface=all0" in found.remedy
    vrf = Link(3, "vrf0", UP, 1500, kind="vrf")
    assert list(checkInterface("x", part, {2: part, 3: vrf}, (A,), G)) == []


def test_loopbackNeedsNoFlagForMulticast() -> None:
    """It has none, and carries it."""
    lo = Link(1, "lo", 0x1 | 0x8 | 0x40, 65536)
    assert list(checkInterface("x", lo, {1: lo}, (), G)) == []


def test_aSmallLimitIsNoted() -> None:
    """With the command that raises it; if nothing is known, nothing is said."""
    [found] = checkBuffers("x", 212992)
    assert (found.severity, found.check) == ("note", "memory")
    assert found.remedy == "'sysctl -w net/core/rmem_max=4194304'"
    assert "212,992" in found.text
    assert [*checkBuffers("x", 4194304), *checkBuffers("x", None)] == []


def socketOf(drops: int, inode: int = 9) -> UDPSocket:
    """A socket that has the group."""
    return UDPSocket(G, 5000, 100, inode, drops, False)


def test_earlierDropsAreNotedAndPresentOnesAFault() -> None:
    """What was lost once is told, with who lost it."""
    owners = {9: Program(77, "vlc", 3)}
    [past] = checkDrops("x", [socketOf(5)], [socketOf(5)], owners, 2.0)
    assert past.severity == "note"
    assert "vlc (process 77) has lost 5 datagrams" in past.text
    [present] = checkDrops("x", [socketOf(5)], [socketOf(8)], {}, 2.0)
    assert present.severity == "fault"
    assert "a program that this user may not see loses datagrams" in present.text
    assert "dropped 8, 3 of them in these 2.0 s" in present.evidence[0]
    new = [socketOf(8, inode=10)]  # opened meanwhile
    assert list(checkDrops("x", [socketOf(5)], new, owners, 2.0)) == []


def test_anOldQuerierIsANoteWithoutSources() -> None:
    """It works then; with sources it does not."""
    query = [Query(A, 2)]
    [note] = checkVersion("x", ANY, "eth0", 2, 0, query)
    [fault] = checkVersion("x", ONE, "eth0", 2, 0, query)
    assert (note.severity, fault.severity) == ("note", "fault")
    assert fault.remedy == "set the querier 10.0.0.1 to IGMPv3"
    assert list(checkVersion("x", ONE, "eth0", 3, 0, [Query(A, 3)])) == []
    assert list(checkVersion("x", ONE, "eth0", None, None, [])) == []


def test_aBridgeThatDoesNotSnoopNeedsNoQuerier() -> None:
    """Nor does one that asks itself, or hears somebody who does."""
    for bridge in (Bridge(False), Bridge(True, querier4=A)):
        assert list(checkBridge("x", Link(3, "br0", UP, 1500, bridge=bridge), G)) == []
    silent = Link(3, "br0", UP, 1500, bridge=Bridge(True, querier4=A))
    [found] = checkBridge("x", silent, ip_address("ff15::1"))
    assert "no MLD querier" in found.evidence[0]


def test_itIsSaidHowLongToListenForAQuerier() -> None:
    """A few seconds say nothing about somebody who speaks every two minutes."""
    assert "--seconds 135" in unasked([], 2.0)
    assert unasked([Query(A, 3)], 2.0) == "queries for members were heard from 10.0.0.1"


def test_aLooseReversePathNeedsAnyRoute() -> None:
    """Mode 2 is content with a route by another interface, mode 1 is not, and 0 never asks."""

    def route(_: object) -> Route:
        return Route(3)

    def check(mode: int | None) -> Finding | None:
        return checkReversePath("x", ETH0, A, mode, route, lambda _: "eth1", 0)

    strict = check(1)
    assert strict is not None
    assert "eth1" in strict.text
    assert check(2) is check(0) is check(None) is None
    assert droppedAnyway("x", "eth0", 0, 5) is droppedAnyway("x", "eth0", 1, 0) is None
    unknown = droppedAnyway("x", "eth0", 1, 5)
    assert unknown is not None
    assert unknown.severity == "doubt"


def test_aPortThatARelayHasIsAsItShouldBe() -> None:
    """Another program's is a fault, and one that nobody may see a doubt."""
    unicast, sockets = InputModel.parse("udp://:5000"), [socketOf(0)]
    error = OSError("in use")
    assert taken("x", unicast, error, sockets, {9: Program(5, "python", 3, isRelay=True)}) is None
    other = taken("x", unicast, error, sockets, {9: Program(5, "vlc", 3)})
    unknown = taken("x", unicast, error, sockets, {})
    assert other is not None
    assert unknown is not None
    assert (other.severity, unknown.severity) == ("fault", "doubt")


def test_aProgramThatCannotBeAskedMayLeak() -> None:
    """That is a note; one that is bound to the group is none."""
    wildcard = UDPSocket(ip_address("0.0.0.0"), 5000, 0, 9, 0, False)
    [found] = checkLeaks("x", ANY, [wildcard, socketOf(0, 10)], {}, {})
    assert found.severity == "note"
    assert "may hear" in found.text
    assert list(checkLeaks("x", ANY, [wildcard], {}, {9: False})) == []


def test_outputsAreMeasured() -> None:
    """Datagrams that just fit need no fragments; a TTL that was chosen is no surprise."""
    assert list(checkSize("x", A, ETH0, 1472)) == []
    [found] = checkSize("x", A, ETH0, 1473)
    assert "mtu 1501" in found.remedy
    assert list(checkSize("x", A, Link(2, "eth0", UP, 0), 9000)) == []  # not known
    assert list(checkTTL("x", OutputModel.parse("udp://239.1.1.1:5?ttl=2"), G)) == []
    assert len(list(checkTTL("x", OutputModel.parse("udp://239.1.1.1:5?ttl=1"), G))) == 1
    assert list(checkTTL("x", OutputModel.parse("udp://10.0.0.1:5"), A)) == []


def test_whatWasSeenIsSorted() -> None:
    """Each stream is what was wanted, or how it differs from that."""
    other = ip_address("10.0.0.9")
    flows = {
        "wanted": Flow(A, G, 5000, "eth0"),
        "otherSources": Flow(other, G, 5000, "eth0"),
        "elsewhere": Flow(A, G, 5000, "eth1"),
        "otherPorts": Flow(A, G, 5001, "eth0"),
        "otherGroups": Flow(A, ip_address("239.1.1.2"), 5000, "eth0"),
        "": Flow(A, other, 5000, "eth0"),
    }
    tallies: Tallies = {}
    for flow in flows.values():
        tallyOf(flow, tallies).add(100, 8)
    sighting = sightingOf(ONE, "eth0", tallies, frozenset())
    for name in ("wanted", "otherSources", "elsewhere", "otherPorts", "otherGroups"):
        assert list(getattr(sighting, name)) == [flows[name]], name


def test_streamsAreCountedWithinBounds() -> None:
    """Whoever sends from thousands of addresses takes no more memory."""
    tallies: Tallies = {}
    for number in range(1000):
        tallyOf(Flow(ip_address(number + 1), G, 5000), tallies).add(1, None)
    assert len(tallies) == MOST


def test_theMostSeriousComesFirst() -> None:
    """In text and in JSON; what is there twice is said once."""
    made = [
        Finding("a", severity, "udp://:1", f"{severity} it is", ("seen so",), "mend 'it so'")
        for severity in ("note", "fault", "doubt", "fault")
    ]
    assert [each.severity for each in ordered(made)] == ["fault", "doubt", "note"]
    diagnoses = [Diagnosis("udp://:1", ("arrives",), tuple(made))]
    text = reportText(diagnoses)
    assert text[:5] == [
        "FAULT (a) udp://:1",
        "  fault it is",
        "  seen: seen so",
        "  mend: mend 'it so'",
        "",
    ]
    assert text[-4:] == ["udp://:1", "  arrives", "", "1 fault, 1 doubt, 1 note"]
    value = reportJSON(diagnoses)
    assert value["isHealthy"] is False
    assert [each["severity"] for each in value["findings"]] == ["fault", "doubt", "note"]
    assert value["streams"] == [{"url": "udp://:1", "seen": ["arrives"]}]
    assert hasFault(diagnoses)


def test_commandsAreNeverBroken() -> None:
    """Lines are as wide as a terminal, but what is to be copied stays whole."""
    found = unexplained("udp://:1", {}, ("it is this host's " + "long " * 40,))
    lines = reportText([Diagnosis("udp://:1", (), (found,))])
    assert any("'tc filter show dev DEV ingress'" in line for line in lines)
    assert max(map(len, lines)) <= WIDTH
