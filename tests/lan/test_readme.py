"""What the README shows is run as it stands there, on hosts with the addresses it uses."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import sys
from pathlib import Path

from tests.lan.program import Program
from tests.starting import TWISTD
from txgroupsock.testing.lan import Host, Lan

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def sendFrom(host: Host, payload: bytes) -> None:
    """Send one datagram to the README's group."""
    with host.socket(socket.AF_INET) as sender:
        sender.sendto(payload, ("232.1.1.1", 5000))


def test_theRelayInFiveLinesRelays(lan: Lan) -> None:
    """The first snippet is five lines of code, and relays the group to 10.0.0.3."""
    code = next(each for each in SNIPPETS if "Route" in each)
    assert len([line for line in code.splitlines() if line]) <= 5
    a, b, c = lan.hosts
    with c.socket(socket.AF_INET) as receiver, Program(b, sys.executable, "-c", code):
        receiver.bind(("10.0.0.3", 5000))
        receiver.settimeout(5)
        lan.waitForMember(b, "232.1.1.1", "10.0.0.1")
        sendFrom(a, b"relayed")
        assert receiver.recv(100) == b"relayed"


def test_theListenerListens(lan: Lan) -> None:
    """The second snippet prints the datagrams of the chosen source."""
    code = next(each for each in SNIPPETS if "Listener" in each)
    a, b, c = lan.hosts
    with Program(b, sys.executable, "-u", "-c", code) as listening:
        lan.waitForMember(b, "232.1.1.1", "10.0.0.1")
        sendFrom(c, b"not chosen")
        sendFrom(a, b"chosen")
        listening.waitFor("6 bytes from ('10.0.0.1', ")
        assert "10.0.0.3" not in listening.output


def test_theCommandLineRelays(lan: Lan) -> None:
    """The twistd command sends to a host and to an IPv6 group by another interface."""
    found = re.search(r"^    (twistd -n groupsock-relay (?:.*\\\n)*.*)$", README, re.MULTILINE)
    assert found is not None
    command = shlex.split(found[1].replace("\\\n", " "))
    command[0] = TWISTD
    command.insert(2, "--pidfile=")
    a, b, c = lan.hosts
    _, d = lan.addLink(b, "d", peerNumber=4)
    with (
        c.socket(socket.AF_INET) as unicast,
        d.socket(socket.AF_INET6) as multicast,
        Program(b, sys.executable, *command) as relaying,
    ):
        unicast.bind(("10.0.0.3", 5000))
        multicast.bind(("::", 5000))
        group = socket.inet_pton(socket.AF_INET6, "ff15::4242") + d.index.to_bytes(4, sys.byteorder)
        multicast.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        d.links["eth0"].switch.waitForMDB(
            lambda entries: any(each.group == "ff15::4242" for each in entries)
        )
        relaying.waitFor("with TTL 8")
        lan.waitForMember(b, "232.1.1.1", "10.0.0.1")
        sendFrom(a, b"to both")
        for receiver in (unicast, multicast):
            receiver.settimeout(5)
            assert receiver.recv(100) == b"to both"
        assert relaying.end(signal.SIGTERM) != 1, relaying.output
        assert relaying.output.count("1 datagrams, 7 bytes, 0 dropped") == 3
