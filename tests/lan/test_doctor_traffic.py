"""What comes instead of a stream, and in which way it comes, is found by the doctor."""

from __future__ import annotations

import shutil
from contextlib import ExitStack

import pytest

from tests.lan.doctor import (
    FROM_A,
    GROUP,
    OFF_LINK,
    URL,
    RawStream,
    Stream,
    assertHas,
    assertHealthy,
    assertOnly,
    doctor,
    listener,
    offLink,
    packet,
)
from txgroupsock.testing.lan import Lan
from txgroupsock.testing.namespaces import PATH, CommandFailed

# What comes instead


def test_aWrongSourceIsFound(lan: Lan) -> None:
    """The group comes from another host than the one that was asked for."""
    with Stream(lan["c"], GROUP):
        report = doctor(lan["b"], FROM_A)
    assertOnly(report, "fault", "source", "comes from 10.0.0.3, and not from 10.0.0.1")


def test_aWrongPortIsFound(lan: Lan) -> None:
    """The group comes to another port."""
    with Stream(lan["a"], GROUP, 5004):
        report = doctor(lan["b"], URL)
    assertOnly(report, "fault", "port", "comes to port 5004, and not to 5000")


def test_aWrongGroupIsFound(lan: Lan) -> None:
    """Another group comes to the port, which a program here has joined."""
    with listener(lan["b"], "239.1.1.9", groups=("239.1.1.9",)) as other:
        other.waitFor("ready")
        with Stream(lan["a"], "239.1.1.9"):
            report = doctor(lan["b"], URL)
    assertOnly(report, "fault", "group", "is for 239.1.1.9, and not for 239.1.1.1")


def test_aWrongAddressIsFound(lan: Lan) -> None:
    """Unicast comes to another address of this host."""
    lan["b"].run("ip", "addr", "add", "10.0.0.22/24", "dev", "eth0")
    with Stream(lan["a"], "10.0.0.22"):
        report = doctor(lan["b"], "udp://10.0.0.2:5000")
    assertOnly(report, "fault", "address", "is for 10.0.0.22, and not for 10.0.0.2")


@pytest.mark.parametrize("url", [URL, "udp://[ff15::1]:5000?interface=eth0", "udp://:5000"])
def test_silenceIsFound(lan: Lan, url: str) -> None:
    """Nobody sends; what can be seen of that is said, with what to look at."""
    report = doctor(lan["b"], url)
    assertOnly(report, "fault", "traffic", "nothing", "tcpdump -ni", "AF_PACKET: nothing for it")


def test_twoSendersAreFound(lan: Lan) -> None:
    """Two hosts send to one group, and what they send would be mixed."""
    with Stream(lan["a"], GROUP), Stream(lan["c"], GROUP):
        report = doctor(lan["b"], URL)
        assertOnly(
            report, "doubt", "traffic", "2 hosts send to this group", "10.0.0.1 and 10.0.0.3"
        )
        assertHealthy(doctor(lan["b"], FROM_A))


def test_aSwitchThatFloodsIsFound(lan: Lan) -> None:
    """A group that nobody here has joined comes to the port, since the switch does not snoop."""
    bridge = "ip link set br0 type bridge mcast_snooping 0"
    lan.switch.namespace.run(*bridge.split())
    with Stream(lan["a"], GROUP), Stream(lan["c"], "239.9.9.9"):
        report = doctor(lan["b"], URL)
    assertOnly(report, "doubt", "leak", "239.9.9.9, which nobody on this host has joined")


@pytest.mark.parametrize("hearsAll", [True, False])
def test_aProgramThatHearsEveryGroupIsFound(lan: Lan, hearsAll: bool) -> None:
    """It is bound to every address, and IP_MULTICAST_ALL is as it is unless told otherwise."""
    with listener(lan["b"], hearsAll=hearsAll) as other, Stream(lan["a"], GROUP):
        other.waitFor("ready")
        report = doctor(lan["b"], URL)
        number = other._process.pid
    found = [each for each in report.findings if each[1] != "memory"]
    if hearsAll:
        assert ("doubt", "leak") in found, report.text
        assert f"(process {number}) is bound to every address" in report.words
        assert "IP_MULTICAST_ALL is 1" in report.words
    else:
        assert found == [], report.text


# How it arrives


@pytest.mark.parametrize("isOnLink", [True, False])
def test_aTTLOf1IsFound(lan: Lan, isOnLink: bool) -> None:
    """From the link itself it is worth a note; from beyond a router it will not last."""
    if not isOnLink:
        offLink(lan, "via 10.0.0.1")
    with Stream(lan["a"], GROUP, ttl=1, source="" if isOnLink else OFF_LINK):
        report = doctor(lan["b"], URL)
    assertOnly(report, "note" if isOnLink else "doubt", "TTL", "TTL 1", "?ttl=16")


def test_aTTLOf0IsFound(lan: Lan) -> None:
    """No kernel sends that, but there are programs that write packets by themselves."""
    with RawStream(lan["a"], GROUP, packet("10.0.0.1", GROUP, ttl=0)):
        report = doctor(lan["b"], URL)
    assertOnly(report, "doubt", "TTL", "TTL 0: it should never leave its sender")


@pytest.mark.parametrize("address", [GROUP, "ff15::1"])
def test_fragmentsAreFound(lan: Lan, address: str) -> None:
    """The datagrams are larger than the link's MTU."""
    url = URL if address == GROUP else f"udp://[{address}]:5000?interface=eth0"
    with Stream(lan["a"], address, size=3000):
        report = doctor(lan["b"], url)
    assertOnly(report, "doubt", "traffic", "comes in fragments", "3,000 bytes each")


def test_fragmentsThatNeverMakeADatagramAreFound(lan: Lan) -> None:
    """Only the first one of each comes."""
    with RawStream(lan["a"], GROUP, packet("10.0.0.1", GROUP, place=0x2000)):
        report = doctor(lan["b"], URL)
    assertOnly(report, "fault", "fragments", "never all of a datagram")


def test_wrongChecksumsAreFound(lan: Lan) -> None:
    """The kernel counts them and drops them."""
    with RawStream(lan["a"], GROUP, packet("10.0.0.1", GROUP, checksum=0x1234)):
        report = doctor(lan["b"], URL)
    assertOnly(report, "fault", "checksum", "wrong checksum", "Udp.InCsumErrors rose by")


def test_ourOwnAddressAsTheSourceIsFound(lan: Lan) -> None:
    """Two hosts have one address, or there is a loop."""
    with RawStream(lan["a"], GROUP, packet("10.0.0.2", GROUP)):
        report = doctor(lan["b"], URL)
    assertOnly(report, "fault", "source", "an address of this host (10.0.0.2)")


def test_aFirewallIsFound(lan: Lan) -> None:
    """A rule drops the stream; it is shown."""
    nft = shutil.which("nft", path=PATH)
    if nft is None:
        pytest.skip("nft is not installed")
    rules = (
        "add table inet t; add chain inet t in { type filter hook input priority 0; }; "
        "add rule inet t in udp dport 5000 drop"
    )
    try:
        lan["b"].run(nft, rules)
    except CommandFailed as error:
        pytest.skip(f"this kernel has no nftables: {error}")
    with Stream(lan["a"], GROUP):
        report = doctor(lan["b"], URL)
    assertOnly(report, "fault", "firewall", "table inet t, chain in: udp dport 5000 drop")


def test_whatDropsUnseenIsSaidToBeUnknown(lan: Lan) -> None:
    """Something that is no firewall drops what comes to the interface: here, a sysctl."""
    b = lan["b"]
    b.sysctl("net.ipv4.conf.eth0.drop_unicast_in_l2_multicast", 1)
    with RawStream(lan["a"], b.ipv4, packet("10.0.0.1", b.ipv4)):
        report = doctor(b, "udp://:5000")
    assertOnly(report, "fault", "traffic", "something in this host drops it", "tc filter")


def test_dropsForWantOfRoomAreFound(lan: Lan) -> None:
    """A program that does not read loses what comes to it, and is named."""
    with ExitStack() as entered:
        other = entered.enter_context(listener(lan["b"], GROUP, groups=(GROUP,)))
        other.waitFor("ready")
        entered.enter_context(Stream(lan["a"], GROUP))
        report = doctor(lan["b"], URL)
        number = other._process.pid
    assertHas(report, "fault", "memory", f"(process {number}) loses datagrams", "rmem_max")
    assert "arrives from 10.0.0.1" in report.words
