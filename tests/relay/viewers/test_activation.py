"""Sockets that systemd opens for viewers, with its own program for that, and twistd as it is."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.relay.support import SECONDS, freePort, isAlive
from tests.relay.viewers.support import GROUPS, HOST, PATH, Stream, numbered, stream
from tests.starting import TWISTD
from txgroupsock import GroupsockReactor
from txgroupsock.relay.errors import StartError
from txgroupsock.relay.http.endpoint import serverEndpoint
from txgroupsock.relay.viewers import ViewerService, ViewersModel

__all__ = ["stream"]  # a fixture

ACTIVATE = shutil.which("systemd-socket-activate")
needsActivate = pytest.mark.skipif(
    ACTIVATE is None, reason="needs systemd-socket-activate (Debian: systemd)"
)

PROGRAM = """
import os
from twisted.application.service import Application
from twisted.internet import reactor
from txgroupsock.relay.viewers import AllowList, ViewerService, ViewersModel

model = ViewersModel(endpoints=({endpoint!r},), allowed=AllowList.parse({allowed!r}))
application = Application("viewers")
ViewerService(reactor, model).setServiceParent(application)
"""


@contextmanager
def activated(
    folder: Path, listen: str, endpoint: str, *options: str, names: str = "viewers"
) -> Iterator[Path]:
    """
    Viewers whom the first connection starts; what it prints is in the file that this gives.

    @param endpoint: left out, the options say what starts.
    """
    program = folder / "viewers.py"
    program.write_text(PROGRAM.format(endpoint=endpoint, allowed=list(GROUPS)))
    said = folder / "said"
    python = os.pathsep.join(filter(None, sys.path))
    command = [str(ACTIVATE), f"--listen={listen}", f"--setenv=PYTHONPATH={python}"]
    command += [f"--fdname={names}"] if names else []
    command += [sys.executable, TWISTD, *options, *(["-y", str(program)] if endpoint else [])]
    with said.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        yield said
    finally:
        process.kill()
        process.wait()


def connected(target: Any, family: int = socket.AF_INET) -> socket.socket:
    """A connection, as soon as somebody listens."""
    deadline = time.monotonic() + SECONDS
    while True:
        sock = socket.socket(family)
        sock.settimeout(3 * SECONDS)
        try:
            sock.connect(target)
        except OSError:
            sock.close()
            assert time.monotonic() < deadline, "nobody listens"
            time.sleep(0.01)
        else:
            return sock


def freeStreamPort() -> int:
    """A TCP port that nobody has now."""
    with socket.create_server((HOST, 0)) as sock:
        return int(sock.getsockname()[1])


def watches(sock: socket.socket, stream: Stream) -> None:
    """Ask for a stream that is sent meanwhile; its first datagram has to come."""
    sock.sendall(b"GET %s HTTP/1.0\r\n\r\n" % PATH)
    with sock.makefile("rb") as incoming:
        assert incoming.readline().split()[1] == b"200"
        while incoming.readline().strip():
            pass
        stream.send(10)
        assert incoming.read(stream.size) == numbered(0)


@needsActivate
@pytest.mark.parametrize(
    "endpoint", ["systemd:domain=INET:index=0", "systemd:domain=INET:name=viewers"]
)
def test_viewersMayConnectToASocketOfSystemds(
    tmp_path: Path, stream: Stream, endpoint: str
) -> None:
    """Who connects first starts the service, and is served; so is who comes later."""
    port = freeStreamPort()
    with activated(tmp_path, f"{HOST}:{port}", endpoint, "-n", "--pidfile=") as said:
        with closing(connected((HOST, port))) as sock:
            watches(sock, stream)
        with closing(connected((HOST, port))) as sock:
            sock.sendall(b"GET /nothing HTTP/1.0\r\n\r\n")
            assert sock.recv(100).split()[1] == b"404"
        assert f"viewers may connect to {HOST}:{port}" in said.read_text()


@needsActivate
def test_aKeepAliveEndpointMayHoldIt(tmp_path: Path, stream: Stream) -> None:
    """Keep-alive may have times of its own on such a socket."""
    port = freeStreamPort()
    endpoint = r"keepalive:systemd\:domain=INET\:name=viewers:idle=30"
    with (
        activated(tmp_path, f"{HOST}:{port}", endpoint, "-n", "--pidfile="),
        closing(connected((HOST, port))) as sock,
    ):
        watches(sock, stream)


@needsActivate
def test_itMayBeAUnixSocket(stream: Stream) -> None:
    """A proxy of the same host may connect by a UNIX socket."""
    with tempfile.TemporaryDirectory() as folder:  # a UNIX socket's path has to be short
        path = f"{folder}/socket"
        endpoint = "systemd:domain=UNIX:name=viewers"
        with activated(Path(folder), path, endpoint, "-n", "--pidfile=") as said:
            with closing(connected(path, socket.AF_UNIX)) as sock:
                watches(sock, stream)
            assert f"viewers may connect to {path}\n" in said.read_text()


@needsActivate
def test_aDaemonKeepsTheSocket(tmp_path: Path, stream: Stream) -> None:
    """A daemon has the socket, too, which the process had that it comes from."""
    port = freeStreamPort()
    with (
        activated(tmp_path, f"{HOST}:{port}", "systemd:domain=INET:name=viewers"),
        closing(connected((HOST, port))) as sock,
    ):
        watches(sock, stream)
        pid = int((tmp_path / "twistd.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        while isAlive(pid):
            time.sleep(0.01)


@needsActivate
@pytest.mark.parametrize(
    ("endpoint", "names"),
    [
        ("systemd:domain=INET:name=other", "viewers"),
        ("systemd:domain=INET:index=1", "viewers"),
        ("systemd:domain=NONESUCH:index=0", "viewers"),
        # Twisted takes no socket without a name; systemd itself always gives one.
        ("systemd:domain=INET:index=0", ""),
    ],
)
def test_whatSystemdDidNotHandOverIsSaid(tmp_path: Path, endpoint: str, names: str) -> None:
    """The service does not start, and says in one line which socket there is not."""
    port = freeStreamPort()
    options = ("-n", "--pidfile=")
    with (
        activated(tmp_path, f"{HOST}:{port}", endpoint, *options, names=names) as said,
        closing(connected((HOST, port))),
    ):
        text = saying(said, "groupsock-relay: ")
    problem = f"cannot listen on {endpoint}: systemd handed over no such socket; its unit"
    assert f"groupsock-relay: {problem}" in text
    assert "Traceback" not in text


@needsActivate
def test_workersDoNotGetTheSocket(tmp_path: Path) -> None:
    """A worker has neither the socket nor the variables that tell of it."""
    port = freeStreamPort()
    routes = [f"--from=udp://{HOST}:{freePort()}", "--to=udp://127.0.0.1:9"]
    routes += [f"--from=udp://{HOST}:{freePort()}", "--to=udp://127.0.0.1:9"]
    options = ("-n", "--pidfile=", "groupsock-relay", "--workers=2", *routes)
    with (
        activated(tmp_path, f"{HOST}:{port}", "", *options) as said,
        closing(connected((HOST, port))),
    ):
        text = saying(said, "worker 2 is process")
        workers = re.findall("worker [12] is process ([0-9]+)", text)
        assert len(workers) == 2
        for each in workers:
            sockets = {str(fd.readlink()) for fd in Path(f"/proc/{each}/fd").iterdir()}
            assert f"socket:[{inodeOf(port)}]" not in sockets
            environment = Path(f"/proc/{each}/environ").read_bytes()
            assert b"LISTEN_FDS=" not in environment
            assert b"LISTEN_PID=" not in environment


def inodeOf(port: int) -> int:
    """The number of the socket that listens there."""
    [found] = [
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()
        if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
    ]
    return int(found)


def saying(said: Path, words: str) -> str:
    """What it has printed, once it has printed this."""
    deadline = time.monotonic() + 3 * SECONDS
    while words not in (text := said.read_text()):
        assert time.monotonic() < deadline, text
        time.sleep(0.01)
    return text


# In this process


def test_aWrongEndpointIsSaid(reactor: Any) -> None:
    """What is wrong with an endpoint is said with the endpoint."""
    for text in ("nonesuch:1", "tcp:x", "tcp:1:nonesuch=2", "systemd:domain=INET", ""):
        with pytest.raises(ValueError, match=f"^{text}: "):
            serverEndpoint(reactor, text)


def test_whatDoesNotListenIsNotAdopted(reactor: Any) -> None:
    """A descriptor of something else is refused, and stays as it is."""
    ours = GroupsockReactor(reactor)
    with socket.socket() as sock, pytest.raises(OSError, match="no socket that listens"):
        ours.adoptStreamPort(sock.fileno(), socket.AF_INET, None)
    with open(os.devnull, "rb") as file, pytest.raises(OSError, match="on non-socket"):
        ours.adoptStreamPort(file.fileno(), socket.AF_INET, None)


def test_aSocketOfSystemdsIsUsedOnce(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that was handed over and closed since cannot be listened on again."""
    from twisted.internet import endpoints
    from twisted.python.systemd import ListenFDs

    with open(os.devnull, "rb") as file:  # has its number now
        handedOver = ListenFDs([file.fileno()], ["viewers"])
        monkeypatch.setattr(endpoints._SystemdParser, "_sddaemon", handedOver)
        service = ViewerService(
            reactor, ViewersModel(endpoints=("systemd:domain=INET:name=viewers",))
        )
        with pytest.raises(StartError, match="can be listened on once only"):
            service.privilegedStartService()
        assert not file.closed
