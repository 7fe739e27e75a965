"""What is known of one datagram's arrival."""

from __future__ import annotations

import socket
import time

import pytest

from txgroupsock.primitives import receiveArrival, recordArrivals


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_destinationInterfaceAndTimeAreKnown(host: str) -> None:
    """The address sent to, the arriving interface and the kernel's time are those of each."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.socket(family, socket.SOCK_DGRAM) as receiver,
        socket.socket(family, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("::" if ":" in host else "0.0.0.0", 0))
        receiver.settimeout(5)
        recordArrivals(receiver)
        port = receiver.getsockname()[1]
        sender.bind((host, 0))
        before = time.time()
        sender.sendto(b"hello", (host, port))
        buffer = bytearray(100)
        size, arrival = receiveArrival(receiver, buffer)
    assert bytes(buffer[:size]) == b"hello"
    assert str(arrival.destination) == host
    assert arrival.interface == socket.if_nametoindex("lo")
    assert arrival.sender[0] == host
    assert arrival.length == 5
    assert arrival.time is not None
    assert before - 0.1 <= arrival.time <= time.time() + 0.1


def test_truncationIsReported() -> None:
    """What is larger than the buffer says how long it was."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        recordArrivals(receiver)
        sender.sendto(b"x" * 500, receiver.getsockname())
        size, arrival = receiveArrival(receiver, bytearray(100))
    assert (size, arrival.length) == (100, 500)
