"""The routes of one relay in several processes, as an operator runs them."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lan.program import waitUntil
from tests.relay.support import SECONDS, Twistd, freePort, isAlive, send

TO = "--to=udp://127.0.0.1:9"
MARK = "GROUPSOCK_RELAY_OF_TEST"
WORKER = "worker {} is process ([0-9]+), "
LOW_PORT = 81
NOBODY = 65534


class Marked:
    """Processes that have a variable of their own in their environment, which goes to children."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(8)
        self.through = f"import os; os.environ[{MARK!r}] = {self.mark!r}; os.setsid()"

    def pids(self) -> list[int]:
        """Those that run."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for each in Path("/proc").iterdir():
            try:
                if each.name.isdecimal() and wanted in (each / "environ").read_bytes():
                    found.append(int(each.name))
            except OSError:  # it has ended, or is no business of ours
                continue
        return [each for each in found if isAlive(each)]


@pytest.fixture(name="marked")
def fixtureMarked() -> Iterator[Marked]:
    """The processes of the test, none of which may be left."""
    marked = Marked()
    yield marked
    try:
        waitUntil(lambda: not marked.pids(), "processes are left")
    finally:
        for each in marked.pids():
            os.kill(each, signal.SIGKILL)


class Streams:
    """
    Streams through a relay of two routes, over two workers.

    @ivar sent: datagrams sent to each of the routes.
    """

    def __init__(self, relay: Twistd, ports: list[int], sockets: list[socket.socket]) -> None:
        self.relay = relay
        self.sent = [0, 0]
        self._ports, self._sockets = ports, sockets
        self.pids = [int(relay.waitFor(WORKER.format(number))[1]) for number in (1, 2)]
        relay.waitFor("(?s)sending to.*sending to 127.0.0.1 port [0-9]+\n")

    def send(self, route: int) -> None:
        """Send a route a datagram, and wait until it has come through."""
        self.sent[route] += 1
        send(b"%06d" % self.sent[route], "127.0.0.1", self._ports[route])
        assert self._sockets[route].recv(100) == b"%06d" % self.sent[route]

    def lines(self) -> list[str]:
        """What the counters print, in order."""
        return [
            f"{line}: {count:,} datagrams, {6 * count:,} bytes"
            for port, sock, count in zip(self._ports, self._sockets, self.sent, strict=True)
            for line in (
                f"in, listening on 127.0.0.1 port {port}",
                f"out, sending to 127.0.0.1 port {sock.getsockname()[1]}",
            )
        ]

    def printed(self) -> list[str]:
        """The lines of counters that it has printed so far, without what follows the counts."""
        lines = [line for line in self.relay.messages if re.match("(in|out), ", line)]
        return [line.partition(", 0 dropped; buffer ")[0] for line in lines]


@contextmanager
def relaying(folder: Path, marked: Marked, *options: str) -> Iterator[Streams]:
    """A relay in the foreground, with a worker for each of its two routes."""
    ports = [freePort(), freePort()]
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in ports]
    try:
        arguments = []
        for port, sock in zip(ports, sockets, strict=True):
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(SECONDS)
            arguments += [f"--from=udp://127.0.0.1:{port}"]
            arguments += [f"--to=udp://127.0.0.1:{sock.getsockname()[1]}"]
        with Twistd(
            folder,
            "--workers=2",
            *arguments,
            options=("-n", *options),
            through=marked.through,
        ) as relay:
            yield Streams(relay, ports, sockets)
    finally:
        for sock in sockets:
            sock.close()


@pytest.mark.parametrize("name", ["epoll", "poll", "select", "asyncio"])
def test_theCountersAreThoseOfOneRelay(tmp_path: Path, marked: Marked, name: str) -> None:
    """On SIGUSR1 and at the end the parent prints the counters of all workers, which run on a
    reactor of the same class as its own, as if there were only one process.
    """
    with relaying(tmp_path, marked, f"--reactor={name}") as streams:
        relay = streams.relay
        classes = re.findall(r"reactor class: (\S+?)\.?\n", relay.text)
        assert len(classes) == 3
        assert len(set(classes)) == 1
        assert name in classes[0].lower()
        for route in (0, 1, 1):
            streams.send(route)
        relay.signal(signal.SIGUSR1)
        relay.waitFor("(?s)out, .*out, .*\n")
        middle = streams.lines()
        assert streams.printed() == middle
        streams.send(0)
        relay.signal(signal.SIGTERM)
        assert relay.end() == -signal.SIGTERM
        assert streams.printed() == middle + streams.lines()
        assert "Traceback" not in relay.text
        assert not relay.pidFile.exists()
        assert not marked.pids()


def test_aKilledWorkerComesBackAndTheOtherLosesNothing(tmp_path: Path, marked: Marked) -> None:
    """When a worker is killed by pid, the other's stream goes on without a loss, the worker is
    back soon, and the totals have not gone backward.
    """
    with relaying(tmp_path, marked) as streams:
        relay = streams.relay
        streams.send(0)
        relay.signal(signal.SIGUSR1)
        relay.waitFor("(?s)out, .*out, .*\n")
        os.kill(streams.pids[0], signal.SIGKILL)
        back = re.compile(f"(?s)ended by SIGKILL.*{WORKER.format(1)}")
        for _ in range(200):
            streams.send(1)
        relay.waitFor(back.pattern)
        streams.send(1)
        streams.send(0)
        relay.signal(signal.SIGTERM)
        assert relay.end() == -signal.SIGTERM
        assert streams.printed()[-4:] == streams.lines()
        assert (
            f"process {streams.pids[0]}) was ended by SIGKILL; it is started again in" in relay.text
        )


def test_ctrlCEndsAllOfThem(tmp_path: Path, marked: Marked) -> None:
    """SIGINT to every process of the terminal ends them, with the counters printed once."""
    with relaying(tmp_path, marked) as streams:
        streams.send(0)
        streams.send(1)
        os.killpg(streams.relay.pid, signal.SIGINT)
        assert streams.relay.end() == -signal.SIGINT
        assert streams.printed() == streams.lines()
        assert "Traceback" not in streams.relay.text
        assert "started again" not in streams.relay.text
        assert not streams.relay.pidFile.exists()
        assert not marked.pids()


def test_SIGTERMToAllOfThemKeepsTheCounters(tmp_path: Path, marked: Marked) -> None:
    """SIGTERM to every process, as systemd sends it, loses no counts either."""
    with relaying(tmp_path, marked) as streams:
        streams.send(0)
        streams.send(1)
        os.killpg(streams.relay.pid, signal.SIGTERM)
        assert streams.relay.end() == -signal.SIGTERM
        counts = [line.partition(": ")[2] for line in streams.printed()]
        assert counts == [line.partition(": ")[2] for line in streams.lines()]
        assert "Traceback" not in streams.relay.text


def test_workersEndWithTheirParent(tmp_path: Path, marked: Marked) -> None:
    """When the parent is killed its workers end, and give their ports back."""
    with relaying(tmp_path, marked) as streams:
        assert len(marked.pids()) == 3
        streams.relay.signal(signal.SIGKILL)
        assert streams.relay.end() == -signal.SIGKILL
        waitUntil(lambda: not marked.pids(), "the workers have not ended")


@pytest.mark.slow
def test_aStoppedWorkerIsKilledInTheEnd(tmp_path: Path, marked: Marked) -> None:
    """A worker that does not answer does not keep the others from ending."""
    with relaying(tmp_path, marked) as streams:
        streams.send(1)
        os.kill(streams.pids[0], signal.SIGSTOP)
        streams.relay.signal(signal.SIGTERM)
        assert streams.relay.end() == -signal.SIGTERM
        assert streams.printed() == streams.lines()
        assert "worker 1 did not end within 5 s and is killed" in streams.relay.text


# A relay that cannot start


def test_aMistakeInOneRouteIsOneLine(tmp_path: Path, marked: Marked) -> None:
    """A route that cannot be opened ends the whole relay with its one line, and status 1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        here = f"udp://127.0.0.1:{freePort()}"
        for url, to, problem in (
            (here, "--to=udp://239.1.1.1:5?interface=nope0", "cannot find the interface nope0: "),
            (
                f"udp://127.0.0.1:{port}",
                TO,
                f"cannot bind to 127.0.0.1:{port}: Address already in use",
            ),
        ):
            routes = ["--from", f"udp://127.0.0.1:{freePort()}", TO, "--from", url, to]
            with Twistd(tmp_path, "--workers=2", *routes, through=marked.through) as relay:
                assert relay.end() == 1, relay.text
                assert not relay.pidFile.exists()
            lines = [line for line in relay.messages if not re.search("starting up|class", line)]
            assert len(lines) == 1, relay.text
            assert lines[0].startswith(f"groupsock-relay: {problem}")
            waitUntil(lambda: not marked.pids(), "processes are left")


def test_aDaemonThatCannotStartSaysSo(tmp_path: Path, marked: Marked) -> None:
    """As a daemon, too, it ends with status 1, and the line is in its log."""
    log = tmp_path / "relay.log"
    routes = [f"--from=udp://127.0.0.1:{freePort()}", TO]
    routes += [f"--from=udp://127.0.0.1:{freePort()}", "--to=udp://239.1.1.1:5?interface=nope0"]
    options = (f"--logfile={log}",)
    with Twistd(tmp_path, "--workers=2", *routes, options=options, through=marked.through) as relay:
        assert relay.end() == 1
        assert "StartError: groupsock-relay: cannot find the interface" in relay.text
    waitUntil(lambda: "cannot find the interface nope0" in log.read_text(), "no line in the log")
    waitUntil(lambda: not relay.pidFile.exists(), "the pid file is left")


def test_ctrlCWhileItStartsIsOneLine(tmp_path: Path, marked: Marked) -> None:
    """Interrupted while its workers start, it ends with a line and leaves nothing."""
    routes = [
        f"--from=udp://127.0.0.1:{freePort()}",
        TO,
        f"--from=udp://127.0.0.1:{freePort()}",
        TO,
    ]
    with Twistd(tmp_path, "--workers=2", *routes, through=marked.through) as relay:
        waitUntil(lambda: len(marked.pids()) == 3, "no workers")
        waitUntil(relay.pidFile.exists, "no pid file")
        os.killpg(relay.pid, signal.SIGINT)
        status = relay.end()
        if status == -signal.SIGINT:
            pytest.skip("it had started by then")
        assert status == 1
        assert "groupsock-relay: interrupted" in relay.text
        assert not relay.pidFile.exists()


# A daemon


def test_aDaemonHasWorkersToo(tmp_path: Path, marked: Marked) -> None:
    """A daemon starts its workers after it has left the terminal; its pid file names it and not
    them, and they end with it.
    """
    log = tmp_path / "relay.log"
    routes = [
        f"--from=udp://127.0.0.1:{freePort()}",
        TO,
        f"--from=udp://127.0.0.1:{freePort()}",
        TO,
    ]
    options = (f"--logfile={log}",)
    with Twistd(tmp_path, "--workers=2", *routes, options=options, through=marked.through) as relay:
        assert relay.end() == 0
        assert relay.text == ""
        pid = int(relay.pidFile.read_text())
    assert len(marked.pids()) == 3
    assert pid in marked.pids()
    workers = [int(each) for each in re.findall(WORKER.format("[12]"), log.read_text())]
    assert sorted([pid, *workers]) == sorted(marked.pids())
    os.kill(pid, signal.SIGTERM)
    waitUntil(lambda: not marked.pids(), "the daemon has not ended")
    assert len(re.findall("in, .*: 0 datagrams", log.read_text())) == 2
    assert not relay.pidFile.exists()


# Another user


def mayBecomeNobody() -> bool:
    """Whether this process may change to another user."""
    mapped = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return os.geteuid() == 0 and any(
        int(first) <= NOBODY < int(first) + int(count) for first, _, count in mapped
    )


def mayRunPython() -> bool:
    """Whether that user may: this Python may be in a folder that only root looks into."""
    try:
        subprocess.run([sys.executable, "-c", ""], user=NOBODY, check=True)
    except PermissionError:
        return False
    return True


@pytest.mark.skipif(not mayBecomeNobody(), reason="needs root, and another user to become")
def test_workersGiveUpPrivilegesToo(tmp_path: Path, marked: Marked) -> None:
    """With --uid, workers open low ports as root and relay as that user; one that dies then is
    told of, with advice, if it cannot open its low port again.
    """
    start = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if start <= LOW_PORT:
        pytest.skip(f"here everybody may use ports from {start} on")
    high = freePort()
    routes = [f"--from=udp://127.0.0.1:{LOW_PORT}", TO, f"--from=udp://127.0.0.1:{high}", TO]
    tmp_path.chmod(0o777)
    # Coverage is not measured, for nobody may write where that is written.
    through = f"{marked.through}\nfor each in list(os.environ):\n"
    through += "    if each.startswith('COV'): del os.environ[each]"
    options = ("-n", f"--uid={NOBODY}")
    with Twistd(tmp_path, "--workers=2", *routes, options=options, through=through) as relay:
        pids = [int(relay.waitFor(WORKER.format(number))[1]) for number in (1, 2)]
        relay.waitFor(f"listening on 127.0.0.1 port {LOW_PORT}\n")
        relay.waitFor(f"set uid/gid {NOBODY}/")

        def users(pid: int) -> set[tuple[str, ...]]:
            status = Path(f"/proc/{pid}/status").read_text()
            return set(re.findall("(?m)^(Uid|Gid|Groups):\t(.*)$", status))

        waitUntil(lambda: users(pids[0]) == users(relay.pid), "worker 1 is another user")
        waitUntil(lambda: users(pids[1]) == users(relay.pid), "worker 2 is another user")
        assert ("Uid", "\t".join([str(NOBODY)] * 4)) in users(relay.pid)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        if mayRunPython():
            problem = f"cannot bind to 127.0.0.1:{LOW_PORT}: Permission denied"
            relay.waitFor("(?s)worker 2 is process.*worker 2 is process")
        else:
            problem = r"\[Errno 13\] Permission denied: "
        relay.waitFor(
            f"worker 1 could not be started again: {problem}.*given up since: start the whole "
            "relay again, or .*CAP_NET_BIND_SERVICE"
        )
        relay.signal(signal.SIGTERM)
        assert relay.end() == -signal.SIGTERM
