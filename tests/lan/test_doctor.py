"""Each fault that the doctor names is made for real and found by it; what is healthy is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.lan.doctor import (
    FROM_A,
    GROUP,
    OFF_LINK,
    URL,
    Stream,
    assertHas,
    assertHealthy,
    assertOnly,
    doctor,
    doctorCommand,
    listener,
    offLink,
)
from tests.lan.program import Program, waitUntil
from tests.lan.relaying import Relay, Sender, Sink
from txgroupsock.relay.doctor import Host as KnownHost
from txgroupsock.relay.doctor import Patient, examine, querier
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.testing.lan import Lan

# What is healthy


@pytest.mark.parametrize(
    ("address", "url", "source"),
    [
        (GROUP, URL, "10.0.0.1"),
        (GROUP, FROM_A, "10.0.0.1"),
        (GROUP, f"udp://{GROUP}:5000", "10.0.0.1"),
        ("ff15::1", "udp://[ff15::1]:5000?interface=eth0", "fd00::1"),
        ("ff3e::1", "udp://[fd00::1]@[ff3e::1]:5000?interface=eth0", "fd00::1"),
        ("10.0.0.2", "udp://:5000", "10.0.0.1"),
        ("fd00::2", "udp://[fd00::2]:5000", "fd00::1"),
    ],
)
def test_aHealthyStreamGivesNoFinding(lan: Lan, address: str, url: str, source: str) -> None:
    """It says who sends how much, and that nothing is wrong."""
    with Stream(lan["a"], address):
        report = doctor(lan["b"], url)
    assertHealthy(report, f"arrives from {source}: ", "1,316 bytes each, TTL")


def test_aHealthyConfigurationGivesNoFinding(lan: Lan, tmp_path: Path) -> None:
    """With --config all inputs and outputs of the file are examined."""
    file = tmp_path / "relay.toml"
    file.write_text(
        f"[[route]]\nfrom = '{URL}'\nto = ['udp://239.2.2.2:6000?ttl=8', 'udp://10.0.0.3:6000']\n"
        "[[route]]\nfrom = 'udp://:5001'\nto = 'udp://10.0.0.3:6001'\n"
    )
    with Stream(lan["a"], GROUP), Stream(lan["a"], lan["b"].ipv4, 5001):
        report = doctor(lan["b"], "--config", str(file))
    assertHealthy(report, "udp://239.2.2.2:6000?ttl=8 leaves by eth0", "udp://10.0.0.3:6001 leaves")


@pytest.mark.parametrize("way", ["group", "sources", "unicast"])
def test_aRunningRelayIsNotDisturbed(lan: Lan, way: str) -> None:
    """Of a stream that a relay takes on, nothing is lost while it is examined, nor after."""
    a, b, c = lan.hosts
    source = {"group": URL, "sources": FROM_A, "unicast": "udp://:5000"}[way]
    target = b.ipv4 if way == "unicast" else GROUP
    with (
        Sink(c, c.ipv4, 6000) as sink,
        Relay(b, f"udp://{c.ipv4}:6000", source=source) as relay,
        Sender(a, target) as sender,
    ):
        if way != "unicast":
            lan.waitForMember(b, GROUP, a.ipv4)
        other = FROM_A.replace("10.0.0.1", "10.0.0.3")
        with Program(b, *doctorCommand(source)) as one, Program(b, *doctorCommand(other)) as two:
            while None in (one._process.poll(), two._process.poll()):
                sender.stream(50, sink.read)
            assert one.end() == 0, one.output
            assert two.end() == 1, two.output
        sender.stream(100, sink.read)
        sink.waitFor(sender.sent - 1)
        relay.reportOf(sender.sent)
    assert sink.numbers == list(range(sender.sent))
    assert "arrives from 10.0.0.1" in " ".join(one.output.split())
    if way == "unicast":
        assert "a relay has port 5000, so this is what comes to the interfaces" in one.output


def test_withoutTheRightToLookLessIsKnown(lan: Lan) -> None:
    """Without CAP_NET_RAW it still hears what comes to a socket, and says what it cannot see."""
    with Stream(lan["a"], GROUP):
        assertHealthy(doctor(lan["b"], URL, mayLook=False), "arrives from 10.0.0.1")
        other = doctor(lan["b"], URL.replace("239.1.1.1", "239.1.1.2"), mayLook=False)
    assertOnly(other, "fault", "traffic", "cannot be looked at (Operation not permitted)")


# Interfaces and routes


def test_anInterfaceThatIsMissingIsFound(lan: Lan) -> None:
    """It says which there are."""
    report = doctor(lan["b"], f"udp://{GROUP}:5000?interface=eth7")
    assertOnly(report, "fault", "interface", "is not there", "eth0 (10.0.0.2")


def test_anInterfaceThatIsDownIsFound(lan: Lan) -> None:
    """The command switches it on."""
    lan["b"].run("ip", "link", "set", "eth0", "down")
    report = doctor(lan["b"], URL)
    assertOnly(report, "fault", "interface", "switched off", "'ip link set dev eth0 up'")


def test_aLostCarrierIsFound(lan: Lan) -> None:
    """The other end of the cable is down."""
    b = lan["b"]
    b.setLink(up=False)
    waitUntil(lambda: "NO-CARRIER" in b.run("ip", "link", "show", "eth0"), "the carrier is lost")
    assertOnly(doctor(b, URL), "fault", "interface", "eth0 has no carrier")


def test_aPartOfABridgeIsFound(lan: Lan) -> None:
    """What arrives on it is the bridge's, so that is to be named."""
    b = lan["b"]
    b.run("ip", "link", "add", "br1", "type", "bridge")
    b.run("ip", "link", "set", "eth0", "master", "br1")
    with Stream(lan["a"], GROUP):
        report = doctor(b, URL)
    assertOnly(report, "fault", "interface", "part of the bridge br1", "have interface=br1")


def test_anInterfaceWithoutMulticastIsFound(lan: Lan) -> None:
    """Somebody has cleared its flag."""
    lan["b"].run("ip", "link", "set", "eth0", "multicast", "off")
    assertOnly(doctor(lan["b"], URL), "fault", "interface", "carries no multicast")


def test_aMissingAddressIsFound(lan: Lan) -> None:
    """Without one, memberships are reported from nowhere."""
    b = lan["b"]
    b.run("ip", "addr", "del", "10.0.0.2/24", "dev", "eth0")
    with Stream(lan["a"], GROUP):
        assertHas(doctor(b, URL), "doubt", "interface", "eth0 has no IPv4 address")
    b.run("ip", "addr", "del", f"{b.linkLocal}/64", "dev", "eth0")
    report = doctor(b, "udp://[ff15::1]:5000?interface=eth0")
    assertOnly(report, "fault", "interface", "no IPv6 link-local address")


def test_aMissingRouteIsFound(lan: Lan) -> None:
    """Without an interface in the URL it is the routing table that has to lead to the group."""
    lan["b"].run("ip", "route", "del", "224.0.0.0/4")
    report = doctor(lan["b"], f"udp://{GROUP}:5000")
    assertOnly(report, "fault", "route", "no route leads to 239.1.1.1", "interface=eth0")


def test_aStreamOnAnotherInterfaceIsFound(lan: Lan) -> None:
    """It is joined on eth0, and comes by eth1, where another program has it joined."""
    b = lan["b"]
    link, far = lan.addLink(b, "far", 4)
    with listener(b, GROUP, groups=(GROUP,), interface=link.ipv4) as other:
        other.waitFor("ready")
        with Stream(far, GROUP):
            report = doctor(b, URL)
    assertHas(report, "fault", "route", "arrives by eth1, and is joined on eth0")


def test_aStrictReversePathIsFound(lan: Lan) -> None:
    """The route back to the sender leaves by another interface, and rp_filter is 1."""
    lan.addLink(lan["b"], "far", 4)
    offLink(lan, "dev eth1")
    lan["b"].sysctl("net.ipv4.conf.eth0.rp_filter", 1)
    with Stream(lan["a"], GROUP, source=OFF_LINK):
        report = doctor(lan["b"], URL)
        words = (OFF_LINK, "the route back leaves by eth1", "IPReversePathFilter rose by")
        assertOnly(report, "fault", "rp_filter", *words, "eth0/rp_filter=2'")
        unseen = doctor(lan["b"], URL.replace("//", f"//{OFF_LINK}@"), mayLook=False)
        assertOnly(unseen, "fault", "rp_filter", OFF_LINK)
        lan["b"].sysctl("net.ipv4.conf.eth0.rp_filter", 2)
        assertHealthy(doctor(lan["b"], URL), f"arrives from {OFF_LINK}")


def test_aReversePathThatMayBeItIsSaid(lan: Lan) -> None:
    """Without packet sockets nobody knows whose the datagrams were that the kernel has dropped."""
    offLink(lan, "dev lo")
    lan["b"].sysctl("net.ipv4.conf.eth0.rp_filter", 1)
    with Stream(lan["a"], GROUP, source=OFF_LINK):
        report = doctor(lan["b"], URL, mayLook=False)
    assert report.findings == [("fault", "traffic"), ("doubt", "rp_filter")], report.text
    assert "maybe these" in report.words


def test_aReversePathWithoutARouteIsFound(lan: Lan) -> None:
    """The kernel knows no way back to the sender at all."""
    lan["a"].run("ip", "addr", "add", f"{OFF_LINK}/32", "dev", "eth0")
    lan["b"].sysctl("net.ipv4.conf.eth0.rp_filter", 2)
    with Stream(lan["a"], GROUP, source=OFF_LINK):
        report = doctor(lan["b"], URL)
    assertOnly(report, "fault", "rp_filter", "no route back", "'ip route add 192.0.2.7 dev eth0'")


# Queriers and memberships


@pytest.mark.parametrize("family", ["IGMP", "MLD"])
def test_aForcedVersionIsFound(lan: Lan, family: str) -> None:
    """A sysctl has the host use a version that knows no sources."""
    if family == "IGMP":
        lan["b"].sysctl("net.ipv4.conf.eth0.force_igmp_version", 2)
        url, sysctl = FROM_A, "force_igmp_version=0"
        address = GROUP
    else:
        lan["b"].sysctl("net.ipv6.conf.eth0.force_mld_version", 1)
        address, sysctl = "ff15::1", "force_mld_version=0"
        url = "udp://[fd00::1]@[ff15::1]:5000?interface=eth0"
    with Stream(lan["a"], address):
        report = doctor(lan["b"], url)
    version = 2 if family == "IGMP" else 1
    assertOnly(report, "fault", "querier", f"has to use {family}v{version}", sysctl)


@pytest.mark.parametrize("family", ["IGMP", "MLD"])
def test_anOldQuerierIsFound(lan: Lan, family: str) -> None:
    """A switch asks in a version that knows no sources, and hosts have to answer in that."""
    old = "mcast_igmp_version 2" if family == "IGMP" else "mcast_mld_version 1"
    # 1 s, the least there is; and less than 0.1 s to answer would make it a query of IGMPv1.
    often = "mcast_query_interval 100 mcast_startup_query_interval 100"
    often += " mcast_query_response_interval 20"
    bridge = f"ip link set br0 type bridge {old} {often} mcast_querier"
    for value in "01":  # which has it ask anew
        lan.switch.namespace.run(*bridge.split(), value)
    b = lan["b"]
    if family == "IGMP":
        waitUntil(lambda: "V2" in b.readNet("igmp"), "a query of IGMPv2 has come")
    address = GROUP if family == "IGMP" else "ff15::1"
    source = "10.0.0.1" if family == "IGMP" else "[fd00::1]"
    host = address if family == "IGMP" else f"[{address}]"
    with Stream(lan["a"], address):
        report = doctor(b, f"udp://{source}@{host}:5000?interface=eth0", seconds=1.2)
    version, querier = (2, "10.0.0.254") if family == "IGMP" else (1, "fe80::fe")
    words = (f"has to use {family}v{version}", f"a query of {family}v{version} came from {querier}")
    assertOnly(report, "fault", "querier", *words)


def test_aBridgeWithoutQuerierIsFound(lan: Lan) -> None:
    """A bridge of this host snoops, and nobody on it asks; with a querier nothing is wrong."""
    a, b = lan["a"], lan["b"]
    lan.switch.namespace.run("ip", "link", "set", "br0", "type", "bridge", "mcast_querier", "0")
    b.run("ip", "link", "add", "br1", "type", "bridge", "mcast_igmp_version", "3")
    b.run("ip", "link", "set", "eth0", "master", "br1")
    b.run("ip", "addr", "del", "10.0.0.2/24", "dev", "eth0")
    b.run("ip", "addr", "add", "10.0.0.2/24", "dev", "br1")
    b.run("ip", "link", "set", "br1", "up")
    waitUntil(lambda: "LOWER_UP" in b.run("ip", "link", "show", "br1"), "br1 has a carrier")
    url = URL.replace("eth0", "br1")
    with Stream(a, GROUP):
        report = doctor(b, url)
        assertOnly(report, "doubt", "querier", "br1 snoops, and nobody", "no IGMP querier")
        b.run("ip", "link", "set", "br1", "type", "bridge", "mcast_querier", "1")
        assertHealthy(doctor(b, url))


def test_aSwitchThatNobodyAsksOnIsFound(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever listens for longer than two minutes, of which this is an instant, hears no query."""
    monkeypatch.setattr(querier, "ENOUGH", 0.2)
    lan.switch.namespace.run("ip", "link", "set", "br0", "type", "bridge", "mcast_querier", "0")
    with Stream(lan["a"], GROUP), lan["b"]:
        [diagnosis] = examine([Patient(InputModel.parse(URL))], KnownHost(0.3))
    [finding] = [each for each in diagnosis.findings if each.check != "memory"]
    assert (finding.severity, finding.check) == ("doubt", "querier")
    assert "nobody asks for members on the link of eth0" in finding.text


def test_aLimitOfMembershipsIsFound(lan: Lan) -> None:
    """No socket may join any group."""
    lan["b"].sysctl("net.ipv4.igmp_max_memberships", 0)
    assertOnly(doctor(lan["b"], URL), "fault", "membership", "igmp_max_memberships=20'")


def test_aLimitOfSourcesIsFound(lan: Lan) -> None:
    """The URL has more sources than a socket may have."""
    lan["b"].sysctl("net.ipv4.igmp_max_msf", 1)
    report = doctor(lan["b"], "--from", FROM_A, "--from", FROM_A.replace(".0.1@", ".0.3@"))
    assertOnly(report, "fault", "membership", "it has 2 sources", "igmp_max_msf=2'")


# Ports


def test_aPortThatIsTakenIsFound(lan: Lan) -> None:
    """Another program has it and does not share it; for unicast, and for a group."""
    b = lan["b"]
    with listener(b, reuse=0) as other:
        other.waitFor("ready")
        for url in ("udp://:5000", URL):
            report = doctor(b, url)
            assertOnly(report, "fault", "port", f"(process {other._process.pid}) has port 5000")


def test_theDoctorsOwnSocketsDoNotCount(lan: Lan) -> None:
    """It listens to a group and to unicast on one port at once, and takes neither for another's."""
    with listener(lan["b"], reuse=0) as other:
        other.waitFor("ready")
        report = doctor(lan["b"], "udp://:5000", "--doctor", "udp://[::]:5001")
        assert "a relay has port" not in report.text
        assert ("fault", "port") in report.findings
    with Stream(lan["a"], GROUP), Stream(lan["a"], lan["b"].ipv4, 5001):
        urls = URL, "--doctor", "udp://10.0.0.2:5001", "--doctor", URL.replace("5000", "5001")
        report = doctor(lan["b"], *urls)
    assert report.text.count("arrives from 10.0.0.1") == 2, report.text
    assert [each for each in report.findings if each[0] != "note"] == [("fault", "port")]
    both = doctor(lan["b"], "udp://:5001", "--doctor", URL.replace("5000", "5001"))
    assert "two of these inputs want port 5001" in both.words


def test_anAddressThatIsNotOursIsFound(lan: Lan) -> None:
    """Nothing can be received there."""
    report = doctor(lan["b"], "udp://10.0.0.77:5000")
    assertOnly(report, "fault", "address", "10.0.0.77 is no address of this host")


def test_aPortThatIsNotAllowedIsFound(lan: Lan) -> None:
    """Ports that need a right are refused to who has none."""
    lan["b"].sysctl("net.ipv4.ip_unprivileged_port_start", 6000)
    without = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 10, 0, 0, 0); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", without, *doctorCommand("udp://:5000")]
    with Program(lan["b"], *command) as program:
        assert program.end() == 1
    assert "FAULT (port)" in program.output
    assert "CAP_NET_BIND_SERVICE" in program.output


# Outputs


def test_faultsOfOutputsAreFound(lan: Lan) -> None:
    """Each output is examined by itself, and what is wrong with it said."""
    b = lan["b"]
    lan.addLink(b, "far", 4)
    b.run("ip", "link", "set", "eth1", "mtu", "1000")
    outputs = {
        "udp://239.2.2.2:6000?interface=eth7": ("fault", "interface"),
        "udp://192.0.2.1:6000": ("fault", "route"),
        "udp://nowhere.invalid:6000": ("fault", "name"),
        "udp://10.0.0.9@10.0.0.3:6000": ("fault", "address"),
        "udp://239.2.2.2:6001": ("note", "TTL"),
        "udp://239.2.2.2:6002?interface=eth1&ttl=8": ("doubt", "MTU"),
    }
    arguments = [word for url in outputs for word in ("--to", url)]
    with Stream(lan["a"], GROUP):
        report = doctor(b, "--from", URL, *arguments)
    for url, (severity, check) in outputs.items():
        assert f"{severity.upper()} ({check}) {url}\n" in report.text
    assert len(report.findings) == len(outputs), report.text
    assert report.status == 1
    severities = [severity for severity, _ in report.findings]
    assert severities == ["fault"] * 4 + ["doubt", "note"]


@pytest.mark.parametrize("isUp", [True, False])
def test_anOutputWhoseLinkIsDownIsFound(lan: Lan, isUp: bool) -> None:
    """Down, or without a carrier, which the kernel tells nobody who sends."""
    b = lan["b"]
    _, far = lan.addLink(b, "far", 4)
    if isUp:
        far.links["eth0"].switch.setPort(b, up=False)
        waitUntil(lambda: "NO-CARRIER" in b.run("ip", "link", "show", "eth1"), "no carrier")
    else:
        b.run("ip", "link", "set", "eth1", "down")
    with Stream(lan["a"], GROUP):
        report = doctor(b, "--from", URL, "--to", "udp://239.2.2.2:6000?interface=eth1&ttl=8")
    words = "eth1 has no carrier" if isUp else "eth1 is switched off"
    assertOnly(report, "fault", "interface", words)
