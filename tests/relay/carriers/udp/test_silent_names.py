"""A relay whose name servers never answer does everything else as if they did."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.relay.support import Twistd, freePort, send

SILENT = "127.0.0.99"
NAMES = 30
PATIENCE = 20.0
"""Seconds in which anything has to be done; a lookup that is waited for takes minutes."""

# Python that has the process use another list of name servers.
USE = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
for status in (
    libc.unshare(CLONE_NEWNS),
    libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None),
    libc.mount({file!r}.encode(), b"/etc/resolv.conf", None, MS_BIND, None),
):
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
"""

pytestmark = [pytest.mark.lan, pytest.mark.slow]


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A name server that hears each question and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((SILENT, 53))
        server.settimeout(PATIENCE)
        yield server


@pytest.fixture
def through(tmp_path: Path, silent: socket.socket) -> str:
    """Makes a process ask that one."""
    file = tmp_path / "resolv.conf"
    file.write_text(f"nameserver {SILENT}\noptions timeout:30 attempts:5\n")
    return USE.format(file=str(file))


def configured(folder: Path, plain: tuple[int, int]) -> Path:
    """The file of a relay with a plain route, and one to many names."""
    names = [f"udp://receiver{number}.example.test:9" for number in range(NAMES)]
    file = folder / "relay.toml"
    file.write_text(
        f"""
        [admin]
        listen = ["tcp:{freePort(socket.AF_INET)}:interface=127.0.0.1"]
        [[route]]
        name = "plain"
        from = "udp://127.0.0.1:{plain[0]}"
        to = ["udp://127.0.0.1:{plain[1]}"]
        [[route]]
        name = "named"
        from = "udp://127.0.0.1:{freePort()}"
        to = {json.dumps(names)}
        """
    )
    return file


def got(url: str) -> bytes:
    """What is there."""
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return bytes(answer.read())


def test_aRelayGoesOnAndEnds(tmp_path: Path, through: str) -> None:
    """Status, metrics, reload, the other routes and the end: none waits for a lookup."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        sink.settimeout(PATIENCE)
        port = freePort()
        ports = port, int(sink.getsockname()[1])
        file = configured(tmp_path, ports)
        with Twistd(tmp_path, f"--config={file}", through=through) as relay:
            admin = "http://" + relay.waitFor(r"metrics are at (\S+)")[1]
            for number in range(20):
                send(b"%d" % number, "127.0.0.1", port)
                assert sink.recv(100) == b"%d" % number
            assert b"receiver7.example.test" in got(f"{admin}/metrics")
            assert b"not looked up yet" in got(f"{admin}/api/status")
            file.write_text(file.read_text().replace('"named"', '"renamed"'))
            relay.signal(signal.SIGHUP)
            relay.waitFor("relay.toml was applied", PATIENCE)
            send(b"after", "127.0.0.1", port)
            assert sink.recv(100) == b"after"
            relay.signal(signal.SIGTERM)
            assert relay.end(PATIENCE) == -signal.SIGTERM
    assert "Traceback" not in relay.text


@pytest.mark.parametrize(
    "endpoint", ["tcp:0:interface=silent.example.test", r"keepalive:tcp\:0\:interface=silent.test"]
)
def test_aReloadLooksUpWhereToListenBeside(
    tmp_path: Path, through: str, silent: socket.socket, endpoint: str
) -> None:
    """While it asks for the host in an endpoint the relay goes on, and ends without an answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        sink.settimeout(PATIENCE)
        port = freePort()
        file = configured(tmp_path, (port, int(sink.getsockname()[1])))
        text = file.read_text().partition('[[route]]\n        name = "named"')[0]
        file.write_text(text)
        with Twistd(tmp_path, f"--config={file}", through=through) as relay:
            admin = "http://" + relay.waitFor(r"metrics are at (\S+)")[1]
            relay.waitFor("SIGHUP reads")
            file.write_text(f"{text}\n[viewers]\nlisten = '{endpoint}'\n")
            relay.signal(signal.SIGHUP)
            assert b"silent" in silent.recv(512)
            for number in range(20):
                send(b"%d" % number, "127.0.0.1", port)
                assert sink.recv(100) == b"%d" % number
            assert b"groupsock_" in got(f"{admin}/metrics")
            relay.signal(signal.SIGTERM)
            assert relay.end(PATIENCE) == -signal.SIGTERM
    assert f"cannot listen on {endpoint}: its service has ended before that" in relay.text
    assert "Traceback" not in relay.text
