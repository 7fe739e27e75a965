"""How much a port reads in a turn, for which protocol, and what it leaves behind on its socket."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from zope.interface import directlyProvides

from tests.ports.kinds import KINDS, ArrivalKind, PlainKind, RunKind, Waker, sendNumbered
from tests.ports.support import IP_RECVERR, OpenSocket, Recorder, addressOf, failing, openFake
from tests.ports.test_reentry import open_, waker
from tests.ports.test_runs import train
from txgroupsock import UDPPort
from txgroupsock.interfaces import IDestinationErrorReceiver
from txgroupsock.primitives.batch import Single
from txgroupsock.primitives.constants import IP_PKTINFO, SO_TIMESTAMPNS, UDP_GRO

__all__ = ["open_", "waker"]  # fixtures

needsGRO = pytest.mark.skipif(UDP_GRO is None, reason="only where the kernel coalesces")


class TestLone:
    """A port that reads datagrams one by one."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_aQueueIsDrained(
        self, open_: Callable[..., UDPPort], openSocket: OpenSocket, kind: type[PlainKind]
    ) -> None:
        """All that waits is read in the turn that finds it."""
        protocol = kind()
        port = open_(protocol)
        port._lone = 16
        sent = sendNumbered(openSocket(), port, b"AAA", 0, 100)
        port.doRead()
        assert protocol.log.payloads == sent

    @pytest.mark.parametrize("kind", KINDS)
    def test_emptyOnesWait(
        self, open_: Callable[..., UDPPort], openSocket: OpenSocket, kind: type[PlainKind]
    ) -> None:
        """A stream of empty datagrams is no exception."""
        protocol = kind()
        port = open_(protocol)
        port._lone = 16
        sender = openSocket()
        for _ in range(10):
            sender.sendto(b"", addressOf(port))
        port.doRead()
        assert protocol.log.payloads == [b""] * 10

    @pytest.mark.parametrize("kind", KINDS)
    def test_whatComesDuringATurn(
        self, open_: Callable[..., UDPPort], openSocket: OpenSocket, kind: type[PlainKind]
    ) -> None:
        """What comes while a protocol takes its time over one datagram is read in that turn."""
        protocol = kind()
        port = open_(protocol)
        port._lone = 16
        sender = openSocket()
        sent = sendNumbered(sender, port, b"AAA", 0, 1)
        protocol.log.during.append(lambda: sent.extend(sendNumbered(sender, port, b"AAA", 1, 3)))
        port.doRead()
        assert protocol.log.payloads == sent

    def test_anErrorCostsNoTurn(self) -> None:
        """A datagram behind an error is read in the same turn."""
        protocol = Recorder()
        port = openFake(receives=[*failing(errno.EHOSTUNREACH), b"one"], protocol=protocol)
        port._lone = 16
        port.doRead()
        assert protocol.payloads == [b"one"]
        port.connectionLost()

    def test_itStaysLone(
        self, open_: Callable[..., UDPPort], openSocket: OpenSocket, waker: Waker
    ) -> None:
        """Where one comes at a time, they go on being read one by one."""
        port = open_(RunKind())
        if isinstance(port._receiving, Single):
            pytest.skip("only reading tells there")
        sender = openSocket()
        for number in range(40):
            sendNumbered(sender, port, b"AAA", number, 1)
            waker.iterate()
        assert port._lone > 16


@pytest.mark.parametrize("after", KINDS)
@pytest.mark.parametrize("before", KINDS)
class TestProtocol:
    """The protocol of a port may be set while it is open."""

    def test_setDuringABatch(
        self,
        open_: Callable[..., UDPPort],
        openSocket: OpenSocket,
        waker: Waker,
        before: type[PlainKind],
        after: type[PlainKind],
    ) -> None:
        """What has been read already goes to the new one, and so does all that comes."""
        first, second = before(), after()
        port = open_(first)
        sent: list[bytes] = []
        for _ in range(5):
            sent += sendNumbered(openSocket(), port, b"AAA", len(sent), 1)

        def change() -> None:
            port.protocol = second

        first.log.during.append(change)
        port.doRead()
        sent += sendNumbered(openSocket(), port, b"AAA", 5, 3)
        waker.iterate()
        assert (first.log.payloads, second.log.payloads) == (sent[:1], sent[1:])
        assert port.protocol is second

    @needsGRO
    def test_trains(
        self,
        open_: Callable[..., UDPPort],
        openSocket: OpenSocket,
        before: type[PlainKind],
        after: type[PlainKind],
    ) -> None:
        """The new one gets the datagrams of a train that waits one by one, if it wants them so."""
        first, second = before(), after()
        port = open_(first)
        if isinstance(port._receiving, Single):
            pytest.skip("only where the kernel coalesces")
        sender = openSocket()
        payloads = [b"%04d" % number for number in range(25)]
        train(sender, payloads[:10], addressOf(port))
        port.doRead()
        train(sender, payloads[10:20], addressOf(port))
        port.protocol = second
        train(sender, payloads[20:], addressOf(port))
        port.doRead()
        assert (first.log.payloads, second.log.payloads) == (payloads[:10], payloads[10:])

    def test_setWhilePaused(
        self,
        open_: Callable[..., UDPPort],
        openSocket: OpenSocket,
        waker: Waker,
        before: type[PlainKind],
        after: type[PlainKind],
    ) -> None:
        """What is kept while a port is paused goes to the protocol that there is then."""
        first, second = before(), after()
        port = open_(first)
        sent: list[bytes] = []
        for _ in range(4):
            sent += sendNumbered(openSocket(), port, b"AAA", len(sent), 1)
        first.log.during.append(port.pauseProducing)
        port.doRead()
        port.protocol = second
        port.resumeProducing()
        waker.iterate()
        waker.iterate()
        assert first.log.payloads + second.log.payloads == sent
        assert len(first.log.payloads) == 1


def test_protocolOfAClosedPort() -> None:
    """The protocol that was set while a port was closed is the one that it then starts."""
    port = openFake()
    port.connectionLost()
    other = Recorder()
    port.protocol = other
    port.startListening()
    assert other.calls == ["startProtocol"]
    port.connectionLost()


def test_maxPacketSize(open_: Callable[..., UDPPort], openSocket: OpenSocket) -> None:
    """The largest datagram may be set at any time, for a protocol that wants the rest too."""
    protocol = ArrivalKind()
    port = open_(protocol)
    sender = openSocket()
    sender.sendto(b"12345678", addressOf(port))
    port.doRead()
    port.maxPacketSize = 4
    sender.sendto(b"12345678", addressOf(port))
    port.doRead()
    assert protocol.log.payloads == [b"12345678", b"1234"]
    assert port.statistics.datagramsTruncated == 1


class TestOtherDescriptors:
    """Somebody else may have a descriptor of a port's socket."""

    @needsGRO
    @pytest.mark.parametrize("waits", [False, True])
    @pytest.mark.parametrize("kind", KINDS)
    def test_noTrains(
        self,
        open_: Callable[..., UDPPort],
        openSocket: OpenSocket,
        kind: type[PlainKind],
        waits: bool,
    ) -> None:
        """Once the port is closed, whoever reads gets one datagram at a time."""
        port = open_(kind())
        address = addressOf(port)
        sender = openSocket()
        with socket.socket(fileno=os.dup(port.fileno())) as other:
            if waits:
                port.pauseProducing()
                train(sender, [b"old%d" % number for number in range(10)], address)
            port.connectionLost()
            train(sender, [b"new%d" % number for number in range(5)], address)
            got: list[bytes] = []
            while len(got) < 20 and (not got or got[-1] != b"new4"):
                got.append(other.recv(65536))
            assert got[-5:] == [b"new%d" % number for number in range(5)]
            assert all(len(each) == 4 for each in got)

    @pytest.mark.parametrize("how", ["close", "change"])
    def test_options(self, open_: Callable[..., UDPPort], how: str) -> None:
        """What a protocol asked the kernel for ends with it, or with its port."""
        protocol = ArrivalKind()
        directlyProvides(protocol, IDestinationErrorReceiver)
        protocol.destinationFailed = print  # type: ignore[attr-defined]
        port = open_(protocol)
        options = [
            (socket.IPPROTO_IP, IP_PKTINFO),
            (socket.IPPROTO_IP, IP_RECVERR),
            (socket.SOL_SOCKET, SO_TIMESTAMPNS),
        ]
        with socket.socket(fileno=os.dup(port.fileno())) as other:
            assert all(other.getsockopt(*each) for each in options)  # type: ignore[arg-type]
            if how == "close":
                port.connectionLost()
            else:
                port.protocol = PlainKind()
            assert not any(other.getsockopt(*each) for each in options)  # type: ignore[arg-type]


_FORKED = """
import os, socket
from tests.ports.kinds import ArrivalKind, PlainKind, RunKind, Waker, sendNumbered
from txgroupsock import UDPPort
from txgroupsock.primitives.batchmemory import BatchMemory
from txgroupsock.primitives.constants import UDP_GRO, IP_PKTINFO
waker = Waker()
runs, arrivals = RunKind(), ArrivalKind()
ports = [UDPPort(waker, each, 0, "127.0.0.1", shared=None) for each in (runs, arrivals)]
for port in ports:
    port.startListening()
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sent = sendNumbered(sender, ports[0], b"parent", 0, 2)

def fork():
    child = os.fork()
    if not child:
        other = PlainKind()
        own = UDPPort(waker, other, 0, "127.0.0.1", shared=ports[0]._shared)
        own.startListening()
        ports[0]._shared.memory.isLent = False  # it receives into the very same addresses
        mine = sendNumbered(sender, own, b"child_", 0, 2)
        own.doRead()
        for port in ports:
            port.connectionLost()
        os._exit(0 if other.log.payloads == mine else 1)
    assert os.waitpid(child, 0)[1] == 0

runs.log.during.append(fork)
ports[0].doRead()
assert runs.log.payloads == sent and not runs.log.changed
assert ports[0].socket.getsockopt(socket.IPPROTO_UDP, UDP_GRO) if UDP_GRO else True
assert ports[1].socket.getsockopt(socket.IPPROTO_IP, IP_PKTINFO)
"""


def test_fork() -> None:
    """A child receives into memory of its own, and closing its ports changes no option."""
    ended = subprocess.run(
        [sys.executable, "-c", _FORKED],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=Path(__file__).parents[2],
    )
    assert ended.returncode == 0, ended.stderr
