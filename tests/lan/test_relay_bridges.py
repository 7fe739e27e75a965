"""One relay between two networks, in both directions."""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.lan.program import Program, twistd, waitUntil
from txgroupsock.testing.lan import Host, Lan

PORT = 5000
COUNT = 40


class Member:
    """
    A host that sends to a group, and hears it.

    @ivar heard: what came from others.
    """

    def __init__(self, host: Host, group: str) -> None:
        isIPv6 = ":" in group
        family = socket.AF_INET6 if isIPv6 else socket.AF_INET
        self._receiving, self._sending = host.socket(family), host.socket(family)
        self._receiving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        scope = (0, host.index) if isIPv6 else ()
        self._receiving.bind((group, PORT, *scope))
        self._receiving.setblocking(False)
        if isIPv6:
            index = struct.pack("@i", host.index)
            membership = socket.inet_pton(family, group) + index
            self._receiving.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
            self._sending.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            self._sending.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        else:
            address = socket.inet_aton(host.ipv4)
            membership = socket.inet_aton(group) + address
            self._receiving.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            self._sending.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, address)
            self._sending.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        self._to = (group, PORT, *scope)
        self.heard: Counter[bytes] = Counter()

    def send(self, data: bytes) -> None:
        """Send a datagram to the group."""
        self._sending.sendto(data, self._to)

    def hasHeard(self, data: bytes) -> bool:
        """Whether something has come by now."""
        try:
            while True:
                self.heard[self._receiving.recv(2048)] += 1
        except BlockingIOError:
            return data in self.heard

    def close(self) -> None:
        """Leave the group."""
        self._receiving.close()
        self._sending.close()


@contextmanager
def members(*places: tuple[Host, str]) -> Iterator[list[Member]]:
    """Members of groups, which leave them in the end."""
    with ExitStack() as stack:
        found = [Member(host, group) for host, group in places]
        for each in found:
            stack.callback(each.close)
        yield found


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("groups", "isInFile", "workers"),
    [
        (("239.1.1.1", "239.1.1.2"), False, 1),
        (("239.1.1.1", "239.1.1.1"), True, 2),
        (("ff02::5000", "ff02::5000"), False, 1),
        (("ff15::5000", "ff15::5000"), True, 1),
        (("ff15::5001", "ff15::5002"), True, 2),
    ],
)
def test_aBridgeTakesEachDatagramToTheOtherSideOnce(
    lan: Lan, tmp_path: Path, groups: tuple[str, str], isInFile: bool, workers: int
) -> None:
    """Of two groups, or of one on two interfaces, in both directions, from the command line or a
    file, in one process or several: what a host sends is heard on the other side once, from the
    first datagram on, and never comes back to its own.
    """
    relay, here, *_ = lan.hosts
    link, there = lan.addLink(relay, "there", 77)
    urls = [
        f"udp://{f'[{group}]' if ':' in group else group}:{PORT}?interface={interface}"
        for group, interface in zip(groups, ("eth0", link.interface), strict=True)
    ]
    if isInFile:
        file = tmp_path / "relay.toml"
        routes = [(urls[0], urls[1]), (urls[1], urls[0])]
        file.write_text("".join(f"[[route]]\nfrom='{one}'\nto='{two}'\n" for one, two in routes))
        words = ["--config", str(file), "--workers", str(workers)]
    else:
        words = ["--from", urls[0], "--to", urls[1], "--from", urls[1], "--to", urls[0]]
    with Program(relay, *twistd(*words, "--check")) as check:
        assert check.end() == 0, check.output
    sides = (here, groups[0]), (there, groups[1])
    with members(*sides) as (one, other), Program(relay, *twistd(*words)):
        for host, group in sides:
            for name in (relay.name, host.name):
                waitUntil(partial(_isForwarded, host, name, group), f"{name} is in {group}", 50)
        for number in range(COUNT):
            for member, peer, whose in ((one, other, b"one"), (other, one, b"other")):
                data = b"%s %d" % (whose, number)
                member.send(data)
                waitUntil(partial(peer.hasHeard, data), "it is relayed")
        assert one.heard == Counter(b"other %d" % number for number in range(COUNT))
        assert other.heard == Counter(b"one %d" % number for number in range(COUNT))


def _isForwarded(host: Host, port: str, group: str) -> bool:
    """Whether the switch of a host forwards a group to one of its ports."""
    return any((each.port, each.group) == (port, group) for each in host.links["eth0"].switch.mdb())
