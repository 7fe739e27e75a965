"""The time of day is set while streams pass: nothing is lost, and nothing waits."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.relay.manager import Manager
from tests.relay.support import SECONDS, Twistd, freePort
from tests.tools.support import Tool, receiving
from txgroupsock.primitives import increaseReceiveBufferTo

HOUR = 3600
YEAR = 366 * 24 * HOUR
RATE = 4000
SIZE = 200
STAY = 0.25
"""Seconds of the stream from one step of the clock to the next."""


class TimeOfDay:
    """
    What processes take for the time of day.

    @ivar through: Python that has the process which runs it, and its children, take it so.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "offset"
        self.set(0)
        here = str(Path(__file__).with_name("timeofday"))
        self.environment = {"PYTHONPATH": here, "TXGROUPSOCK_TEST_TIME": str(self._file)}
        self.through = f"os.environ.update({self.environment!r})"

    def set(self, seconds: float) -> None:
        """Set it to so much later than it is."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(int(seconds * 1e9).to_bytes(8, "little", signed=True))


@pytest.fixture(name="timeOfDay")
def fixtureTimeOfDay(tmp_path: Path) -> TimeOfDay:
    """The time of day of the test's processes."""
    return TimeOfDay(tmp_path)


class Stream:
    """Numbered datagrams, RTP packets if that is asked for, to one or two ports, for a while."""

    def __init__(self, ports: list[int], arriving: int) -> None:
        """@param arriving: the port that they come to in the end."""
        self.sent = 0
        self._targets = [("127.0.0.1", each) for each in ports]
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._arriving = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        increaseReceiveBufferTo(self._arriving, 4 * 1024 * 1024)
        self._arriving.bind(("127.0.0.1", arriving))

    def close(self) -> None:
        """Give the sockets back."""
        self._socket.close()
        self._arriving.close()

    def send(self, seconds: float) -> None:
        """Send for so long, at L{RATE}."""
        began, first = time.monotonic(), self.sent
        while (passed := time.monotonic() - began) < seconds:
            for number in range(self.sent, first + int(passed * RATE)):
                packet = bytes([0x80, 33]) + number.to_bytes(2, "big") + bytes(SIZE - 4)
                for each in self._targets:
                    self._socket.sendto(packet, each)
                self.sent += 1
            time.sleep(0.0005)

    def arrived(self) -> int:
        """How many have come since this was last asked; waits for all that were sent."""
        self._arriving.settimeout(SECONDS / 3)
        count = 0
        try:
            while count < self.sent:
                self._arriving.recv(2048)
                count += 1
        except TimeoutError:
            pass
        self.sent = 0
        return count


class Viewer:
    """One who takes a stream by HTTP."""

    def __init__(self, port: int, path: str) -> None:
        self.taken = 0
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._socket.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def _take(self) -> None:
        while data := self._socket.recv(65536):
            self.taken += len(data)

    def takes(self, size: int) -> bool:
        """Whether it gets so much in all within a while, which it waits for."""
        end = time.monotonic() + SECONDS / 3
        while self.taken < size and time.monotonic() < end:
            time.sleep(0.005)
        return self.taken >= size

    def close(self) -> None:
        """Leave."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


def status(port: int) -> Any:
    """What the relay says of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status", timeout=SECONDS) as answer:
        return json.load(answer)


CONFIGURATION = """
[admin]
listen = "tcp:{admin}:interface=127.0.0.1"
[viewers]
listen = "tcp:{viewers}:interface=127.0.0.1"
[health]
silence = "10s"
[[route]]
name = "plain"
from = "udp://127.0.0.1:{plain}"
to = "udp://127.0.0.1:{plainTo}"
viewers = "plain"
[[route]]
name = "merged"
from = ["udp://127.0.0.1:{one}", "udp://127.0.0.1:{other}"]
to = "udp://127.0.0.1:{mergedTo}"
[route.merge]
window = "50ms"
"""
PORTS = ("admin", "viewers", "plain", "plainTo", "one", "other", "mergedTo")


@pytest.mark.parametrize("reactorKind", ["epoll", "poll", "select", "asyncio"])
def test_aRelayGoesOnWhenTheClockIsSet(
    tmp_path: Path, timeOfDay: TimeOfDay, reactorKind: str
) -> None:
    """Routes, viewers, watchdog and status go on when it is set an hour back, and a year ahead."""
    ports = {each: freePort() for each in PORTS}
    config = tmp_path / "relay.toml"
    config.write_text(CONFIGURATION.format(**ports))
    with ExitStack() as stack:
        manager = stack.enter_context(Manager())
        through = f"{timeOfDay.through}\n{manager.through(watchdog=0.2)}"
        options = ("-n", f"--reactor={reactorKind}")
        stack.enter_context(
            Twistd(tmp_path, f"--config={config}", options=options, through=through)
        )
        manager.takeUntil("READY")
        viewer = Viewer(ports["viewers"], "/plain")
        stack.callback(viewer.close)
        plain = Stream([ports["plain"]], ports["plainTo"])
        stack.callback(plain.close)
        merged = Stream([ports["one"], ports["other"]], ports["mergedTo"])
        stack.callback(merged.close)
        for step in (0, -HOUR, YEAR):
            plain.send(STAY)
            timeOfDay.set(step)
            manager.drain()
            enough = viewer.taken + int(SIZE * RATE * STAY) // 2
            plain.send(STAY)
            assert plain.sent == plain.arrived()
            merged.send(STAY / 2)
            assert merged.sent == merged.arrived()
            assert viewer.takes(enough)
            manager.takeUntil("WATCHDOG")
        found = status(ports["admin"])
        assert found["uptime"] < 10 * SECONDS
        assert abs(found["time"] - time.time() - YEAR) < 10 * SECONDS
        for route in found["routes"]:
            assert route["health"]["alarms"] == []
            assert not sum(route["input"]["dropped"].values())


def test_workersGoOnWhenTheClockIsSet(tmp_path: Path, timeOfDay: TimeOfDay) -> None:
    """Two processes relay on, and are asked for what they have counted."""
    ports, targets, admin = [freePort(), freePort()], [freePort(), freePort()], freePort()
    routes = [
        text
        for port, to in zip(ports, targets, strict=True)
        for text in (f"--from=udp://127.0.0.1:{port}", f"--to=udp://127.0.0.1:{to}")
    ]
    arguments = (*routes, "--workers=2", f"--admin=tcp:{admin}:interface=127.0.0.1")
    with ExitStack() as stack:
        manager = stack.enter_context(Manager())
        through = f"{timeOfDay.through}\n{manager.through()}"
        stack.enter_context(Twistd(tmp_path, *arguments, through=through))
        manager.takeUntil("READY")
        streams = [Stream([port], to) for port, to in zip(ports, targets, strict=True)]
        for each in streams:
            stack.callback(each.close)
        total = 0
        for steps in ((-HOUR, -2 * HOUR), (YEAR, 0)):
            for each, step in zip(streams, steps, strict=True):
                each.send(STAY)
                timeOfDay.set(step)
                each.send(STAY)
                total += each.sent
                assert each.sent == each.arrived()
        found = status(admin)
        assert sum(each["input"]["datagrams"] for each in found["routes"]) == total


LIBRARY = """
import sys
from twisted.internet import {kind}reactor
{kind}reactor.install()
from twisted.internet import reactor
from txgroupsock import Route
route = Route.fromURLs(reactor, [sys.argv[1]], [sys.argv[2]])
route.openRoute()
seconds = reactor.seconds
reactor.callWhenRunning(print, "open", flush=True)
reactor.run()
assert reactor.seconds is seconds is type(reactor).seconds, "the reactor is somebody else's"
"""


@pytest.mark.parametrize("reactorKind", ["epoll", "poll", "select", "asyncio"])
def test_aRouteInSomebodysProgramGoesOn(
    tmp_path: Path, timeOfDay: TimeOfDay, reactorKind: str
) -> None:
    """On a reactor that is not ours, and keeps its own clock, a route loses nothing either."""
    port, to = freePort(), freePort()
    urls = [f"udp://127.0.0.1:{each}" for each in (port, to)]
    program = subprocess.Popen(
        [sys.executable, "-c", LIBRARY.format(kind=reactorKind), *urls],
        cwd=tmp_path,
        env={**os.environ, **timeOfDay.environment},
        stdout=subprocess.PIPE,
    )
    with ExitStack() as stack:
        stack.callback(program.wait)
        stack.callback(program.kill)
        assert program.stdout is not None
        stack.callback(program.stdout.close)
        assert program.stdout.readline() == b"open\n"
        stream = Stream([port], to)
        stack.callback(stream.close)
        for step in (-HOUR, YEAR, 0):
            stream.send(STAY)
            timeOfDay.set(step)
            stream.send(STAY)
            assert stream.sent == stream.arrived()
        program.terminate()
        assert program.wait(SECONDS) == 0


def test_toolsSendAndReceiveOn(
    tmp_path: Path, timeOfDay: TimeOfDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream of one second takes a second when the clock is set in it, and both tools end."""
    for name, value in timeOfDay.environment.items():
        monkeypatch.setenv(name, value)
    url = f"udp://127.0.0.1:{freePort()}"
    with ExitStack() as stack:
        ours = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        ours.bind(("127.0.0.1", 0))
        ours.settimeout(SECONDS)
        receiver = stack.enter_context(receiving(tmp_path, "--from", url))
        targets = ("--to", url, "--to", f"udp://127.0.0.1:{ours.getsockname()[1]}")
        rate = ("--rate=2000/s", "--seconds=1")
        sender = stack.enter_context(Tool(tmp_path, "groupsock-send", *targets, *rate))
        ours.recv(2048)
        timeOfDay.set(-HOUR)
        assert sender.end() == 0, sender.said
        assert 0.9 < sender.result["seconds"] < SECONDS
        timeOfDay.set(YEAR)
        assert receiver.end() == 0, receiver.said
        [stream] = receiver.result["test"]
        assert stream["received"] == 2000
