"""A system that tells nothing: no error, and what the doctor's own socket hears is known."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.relay.support import freePort, needMulticast, send
from txgroupsock.relay.doctor import Diagnosis, Host, Patient, examine
from txgroupsock.relay.doctor.kernel import Kernel
from txgroupsock.relay.doctor.netlink import links, routeTo
from txgroupsock.relay.models.udp import InputModel, OutputModel


@pytest.fixture(autouse=True)
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither rtnetlink nor packet sockets, as outside Linux."""
    for name in ("AF_NETLINK", "AF_PACKET"):
        monkeypatch.delattr(socket, name, raising=False)


@contextmanager
def stream(host: str, port: int) -> Iterator[None]:
    """A stream over the loopback interface."""
    ending = threading.Event()

    def run() -> None:
        while not ending.wait(0.005):
            send(bytes(100), host, port)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def examined(tmp_path: Path, url: str, *outputs: str) -> list[Diagnosis]:
    """What is said of a stream by a doctor who finds no proc."""
    patient = Patient(InputModel.parse(url), tuple(OutputModel.parse(each) for each in outputs))
    return examine([patient], Host(0.2, kernel=Kernel(tmp_path)))


def test_theSystemTellsNothing() -> None:
    """Which is no error."""
    assert links() is None
    assert routeTo(ip_address("127.0.0.1")) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "239.1.2.9"])
def test_whatArrivesIsKnown(tmp_path: Path, address: str) -> None:
    """Unicast and a group arrive, and nothing is wrong."""
    needMulticast(address)
    port = freePort()
    options = "" if address.startswith("127") else "?interface=lo"
    with stream(address, port):
        incoming, outgoing = examined(
            tmp_path, f"udp://{address}:{port}{options}", "udp://127.0.0.1:9"
        )
    assert (incoming.findings, outgoing.findings) == ((), ())
    assert "arrives from 127.0.0.1" in incoming.seen[0]


@pytest.mark.parametrize(
    "url", ["udp://239.1.2.9:{}?interface=lo", "udp://127.0.0.1@239.1.2.9:{}?interface=lo"]
)
def test_whatDoesNotArriveIsSaid(tmp_path: Path, url: str) -> None:
    """With what could not be looked at."""
    needMulticast("239.1.2.9")
    [diagnosis] = examined(tmp_path, url.format(freePort()))
    [finding] = diagnosis.findings
    assert (finding.check, finding.severity) == ("traffic", "fault")
    assert any("this system has no packet sockets" in each for each in finding.evidence)


def test_aPortThatIsTakenIsADoubt(tmp_path: Path) -> None:
    """Nobody tells who has it; it may be the relay."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        [diagnosis] = examined(tmp_path, f"udp://127.0.0.1:{sock.getsockname()[1]}")
    [finding] = diagnosis.findings
    assert (finding.check, finding.severity) == ("port", "doubt")
    assert "what comes is not known here" in diagnosis.seen[0]
