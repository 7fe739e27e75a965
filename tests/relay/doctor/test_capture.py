"""What comes to the loopback interface, looked at before the kernel's filters."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from tests.relay.support import freePort, send
from txgroupsock.relay.doctor.capture import Capture
from txgroupsock.relay.doctor.tally import Flow


def looking(address: str, port: int) -> Capture:
    """A capture, or the test is skipped with the reason."""
    try:
        return Capture(ip_address(address), port)
    except OSError as error:
        pytest.skip(f"no packet sockets here: {error}")


def readUntil(capture: Capture, count: int) -> None:
    """Read until so many datagrams are counted."""
    poll = select.poll()
    poll.register(capture.fileno(), select.POLLIN)
    while sum(each.datagrams for each in capture.tallies.values()) < count:
        assert poll.poll(5000), capture.tallies
        capture.read()


@pytest.fixture
def port() -> Iterator[int]:
    """A port that somebody has open, so that nothing comes back."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::", 0))
        yield sock.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_unicastIsCounted(host: str, port: int) -> None:
    """Only what is for the port; each datagram with its size."""
    with looking(host, port) as capture:
        send(bytes(10), host, freePort())
        for size in (100, 200, 300):
            send(bytes(size), host, port)
        readUntil(capture, 3)
        [(flow, tally)] = capture.tallies.items()
    assert flow == Flow(ip_address(host), ip_address(host), port, "lo")
    assert (tally.datagrams, tally.bytes, tally.smallest, tally.largest) == (3, 600, 100, 300)


@pytest.mark.parametrize("group", ["239.7.7.7", "ff15::7:7"])
def test_everyPortOfAGroupIsCounted(group: str, port: int) -> None:
    """A group may come to a wrong port, and another group to this one."""
    other = "239.7.7.8" if "." in group else "ff15::7:8"
    with looking(group, port) as capture:
        send(bytes(10), other, freePort())
        send(bytes(10), group, port)
        send(bytes(10), group, 7)
        send(bytes(10), other, port)
        readUntil(capture, 3)
        found = {(str(flow.destination), flow.port) for flow in capture.tallies}
    assert found == {(group, port), (group, 7), (other, port)}


def test_aTrainOfDatagramsIsCountedAsMany(port: int) -> None:
    """What the kernel carries as one (UDP_SEGMENT) is counted as what it is cut into."""
    with looking("127.0.0.1", port) as capture:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_UDP, 103, 100)
            sock.sendto(bytes(1000), ("127.0.0.1", port))
        readUntil(capture, 10)
        [tally] = capture.tallies.values()
    assert (tally.datagrams, tally.largest) == (10, 100)
