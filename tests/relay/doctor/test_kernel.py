"""The tables of Linux, as a host had them, and where they are missing."""

from __future__ import annotations

import os
import socket
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from txgroupsock.relay.doctor.kernel import (
    Kernel,
    isRelay,
    joined4,
    joined6,
    listedCounters,
    pairedCounters,
    rise,
    udpSockets,
)

# In the kernel's lines everything is on one; some spaces are left out here.
UDP = """\
 sl local_address rem_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode ref
105: 010101EF:1388 00000000:0000 07 00000000:00001B00 00:00000000 00000000 0 0 18927417 2 0000 359
106: 0200000A:1389 0300000A:1770 01 00000000:00000000 00:00000000 00000000 1000 0 77 2 0000 0
junk
"""
_REST = "00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000 0 0"
UDP6 = f"""\
 sl local_address remote_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode ref
12: 00000000000000000000000000000000:1388 {_REST} 5 2 0000000000000000 0
13: 000000FD000000000000000002000000:1388 {_REST} 6 2 0000000000000000 3
"""
IGMP = """\
Idx	Device    : Count Querier	Group    Users Timer	Reporter
2	eth0      :     2      V3
				010101EF     1 0:00000000		0
				010000E0     1 0:00000000		0
"""
IGMP6 = """\
2    eth0            ff150000000000000000000000000001     1 00000004 0
1    lo              ff020000000000000000000000000001     1 0000000C 0
"""
SNMP = """\
Ip: Forwarding DefaultTTL
Ip: 1 64
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors
Udp: 10 0 0 3 7 0 2
"""

littleEndian = pytest.mark.skipif(
    sys.byteorder != "little", reason="the tables are of a little-endian machine"
)


@littleEndian
def test_socketsAreRead() -> None:
    """Address, port, queue, inode and drops of each; a line that is none is passed over."""
    group, connected = udpSockets(UDP)
    assert (group.address, group.port) == (ip_address("239.1.1.1"), 5000)
    assert (group.queued, group.inode, group.drops) == (0x1B00, 18927417, 359)
    assert not group.isConnected
    assert connected.isConnected


@littleEndian
def test_itIsKnownWhatASocketReceives() -> None:
    """Its own address; and a wildcard everything, for IPv6 perhaps IPv4, too."""
    wildcard, one = udpSockets(UDP6)
    assert one.address == ip_address("fd00::2")
    assert one.has(ip_address("fd00::2"))
    assert one.has(ip_address("::"))
    assert not one.has(ip_address("fd00::3"))
    assert wildcard.has(ip_address("fd00::3"))
    assert wildcard.has(ip_address("10.0.0.2"))


@littleEndian
def test_groupsAreRead() -> None:
    """Of both families."""
    assert set(joined4(IGMP)) == {ip_address("239.1.1.1"), ip_address("224.0.0.1")}
    assert set(joined6(IGMP6)) == {ip_address("ff15::1"), ip_address("ff02::1")}


def test_countersAreRead() -> None:
    """By table and name, or by name alone for IPv6."""
    found = pairedCounters(SNMP) | listedCounters("Udp6InCsumErrors                \t4\njunk\n")
    assert found["Udp.InCsumErrors"] == 2
    assert found["Ip.DefaultTTL"] == 64
    assert rise({"Udp6InCsumErrors": 1}, found, "Udp6InCsumErrors") == 3
    assert rise({}, {}, "Udp.InCsumErrors") == 0


def test_whatIsNotThereIsNotKnown(tmp_path: Path) -> None:
    """A system without proc gives no error."""
    kernel = Kernel(tmp_path)
    assert kernel.net("udp") is None
    assert kernel.sockets(4) is None
    assert kernel.joined(4) is kernel.joined(6) is None
    assert kernel.sysctl("net/core/rmem_max") is None
    assert kernel.effective("ipv4", "rp_filter", "eth0") is None
    assert kernel.counters() == {}
    assert kernel.ownersOf({1}) == {}


def test_theLargerSettingHolds(tmp_path: Path) -> None:
    """Of all interfaces, and of one; a value that is no number is not known."""
    for name, value in (("all", "1"), ("eth0", "2"), ("eth1", "x")):
        path = tmp_path / "sys/net/ipv4/conf" / name
        path.mkdir(parents=True)
        (path / "rp_filter").write_text(f"{value}\n")
    kernel = Kernel(tmp_path)
    assert kernel.effective("ipv4", "rp_filter", "eth0") == 2
    assert kernel.effective("ipv4", "rp_filter", "eth1") == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("twistd -n groupsock-relay --from udp://:5", True),
        ("python -c from#txgroupsock.relay.workers.process#import#x 3", True),
        ("twistd groupsock-relay --doctor udp://:5", False),
        ("twistd web", False),
    ],
)
def test_aRelayIsKnownByItsCommandLine(line: str, expected: bool) -> None:
    """And so is its worker; a doctor is none."""
    assert isRelay([each.replace("#", " ") for each in line.split()]) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these tables")
def test_theOwnerOfASocketIsFound() -> None:
    """This process is, and counts as the relay itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        [found] = [each for each in Kernel().sockets(4) or () if each.port == port]
        owner = Kernel().ownersOf({found.inode})[found.inode]
        assert (owner.pid, owner.descriptor) == (os.getpid(), sock.fileno())
        assert owner.isRelay
        assert found.inode in Kernel().ownSockets()
