"""Health as an operator has it: a file, and alarms in the log, by a command and in the API."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lan.program import waitUntil
from tests.relay.admin.test_page_real import freeTCPPort
from tests.relay.health.support import rtp
from tests.relay.support import Twistd, freePort, isAlive

HOST = "127.0.0.1"
NOTE = "import os, sys; open(sys.argv[1], 'a').write(sys.stdin.read())"
LOST = "2 of [0-9,]+ RTP packets were lost"


class Sender:
    """Sends RTP, 100 packets a second, and leaves out some sequence numbers when asked to."""

    def __init__(self, port: int) -> None:
        self.sent = 0
        self.skipped = 0
        self._toSkip = 0
        self._address = (HOST, port)

    def skip(self, count: int) -> None:
        """Have the network lose so many, as it seems."""
        self._toSkip = count
        waitUntil(lambda: not self._toSkip, "they are not left out")

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send, in a thread."""
        isOver = threading.Event()

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                while not isOver.wait(0.01):
                    self.skipped += self._toSkip
                    self._toSkip = 0
                    number = self.sent + self.skipped
                    sock.sendto(rtp(number, 900 * number), self._address)
                    self.sent += 1

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            isOver.set()
            thread.join()


class Relay:
    """A relay of one route, its API, and what its command was told."""

    def __init__(self, folder: Path) -> None:
        self.port, self._admin = freePort(), freeTCPPort()
        self._folder = folder
        self._told = folder / "told"
        self.file = folder / "relay.toml"

    def write(self, limits: str = "", route: str = "", head: str = "") -> None:
        """Have a configuration."""
        command = json.dumps([sys.executable, "-c", NOTE, str(self._told)])
        text = (
            f'{head}\n[[route]]\nname = "news"\nfrom = "udp://{HOST}:{self.port}"\n'
            f'to = "udp://{HOST}:9"\n{route}\n'
            f'[admin]\nlisten = "tcp:{self._admin}:interface={HOST}"\n'
            f'[health]\nclearAfter = "1s"\ncommand = {command}\n{limits}\n'
        )
        other = self.file.with_suffix(".new")
        other.write_text(text)
        other.rename(self.file)

    def run(self) -> Twistd:
        """Run it."""
        return Twistd(self._folder, "--config", str(self.file))

    def status(self) -> Any:
        """What the API says of the route."""
        with urllib.request.urlopen(f"http://{HOST}:{self._admin}/api/status") as answer:
            return json.load(answer)["routes"][0]

    def metrics(self) -> str:
        """What Prometheus gets."""
        with urllib.request.urlopen(f"http://{HOST}:{self._admin}/metrics") as answer:
            return str(answer.read(), "utf-8")

    def health(self) -> Any:
        """The same, of its health."""
        return self.status()["health"]

    def until(self, condition: Callable[[Any], object]) -> Any:
        """The health, once it is like that."""
        waitUntil(lambda: bool(condition(self.health())), "its health is not like that")
        return self.health()

    @property
    def told(self) -> list[tuple[str, str]]:
        """Names and states of alarms that the command was told of."""
        lines = self._told.read_text().splitlines() if self._told.exists() else []
        return [(each["name"], each["state"]) for each in map(json.loads, lines)]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_lossIsToldAndOverAgain(tmp_path: Path, workers: int) -> None:
    """A gap in RTP is an alarm in the log, at the command, in the API and in metrics; figures are
    those of what was sent; and then it is over.  So it is in a worker process.
    """
    relay = Relay(tmp_path)
    other = f'[[route]]\nfrom = "udp://{HOST}:{freePort()}"\nto = "udp://{HOST}:10"\nhealth = false'
    relay.write("", other, f"workers = {workers}")
    sender = Sender(relay.port)
    with relay.run() as twistd:
        twistd.waitFor("SIGHUP reads")
        with sender.sending():
            found = relay.until(lambda health: health["rtp"] and health["rtp"]["received"] > 50)
            assert not [each for each in found["alarms"] if each["name"] != "silence"]
            sender.skip(2)
            found = relay.until(lambda health: "rtpLoss" in namesIn(health))
            assert found["rtp"]["lost"] == 2
            twistd.waitFor(f"news: {LOST}")
            status = relay.status()
            [stage] = status["stages"]
            assert any("RTP packets were lost" in each for each in stage["warnings"])
            metrics = relay.metrics()
            assert 'groupsock_route_alarm{alarm="rtpLoss",route="news"} 1' in metrics
            assert 'groupsock_route_rtp_packets_lost_total{route="news"} 2' in metrics
            relay.until(lambda health: not health["alarms"])
            twistd.waitFor(f"news: over after [0-9]+ s: {LOST}")
            waitUntil(lambda: ("rtpLoss", "cleared") in relay.told, "the command is not told")
            losses = [state for name, state in relay.told if name == "rtpLoss"]
            assert losses == ["raised", "cleared"]
        sent = sender.sent
        found = relay.until(lambda health: health["rtp"]["received"] == sent)
        assert found["rtp"]["expected"] == sent + 2
        assert found["stream"]["datagrams"] == sent
        assert found["ts"] is None
        twistd.waitFor("news: nothing has come for")
        twistd.signal(signal.SIGTERM)
        assert twistd.end() == -signal.SIGTERM


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_aReloadKeepsFigures(tmp_path: Path, workers: int) -> None:
    """Other limits, no stage, and a stage again: not a datagram is lost, and while there is a
    stage it counts on.
    """
    relay = Relay(tmp_path)
    head = f"workers = {workers}"
    other = f'[[route]]\nfrom = "udp://{HOST}:{freePort()}"\nto = "udp://{HOST}:10"\nhealth = false'
    relay.write("", other, head)
    sender = Sender(relay.port)

    def reload(twistd: Twistd) -> None:
        twistd.text = ""
        twistd.signal(signal.SIGHUP)
        twistd.waitFor("applied: 1 unchanged, 1 changed")

    with relay.run() as twistd:
        twistd.waitFor("SIGHUP reads")
        with sender.sending():
            before = relay.until(lambda health: health["rtp"] and health["rtp"]["received"] > 20)
            relay.write('jitter = "1us"\nrtpLoss = false', other, head)
            reload(twistd)
            found = relay.until(lambda health: "jitter" in namesIn(health))
            assert found["rtp"]["received"] > before["rtp"]["received"]
            relay.write("", "health = false\n" + other, head)
            reload(twistd)
            assert (relay.health(), relay.status()["stages"]) == (None, [])
            twistd.waitFor("news: no longer watched, after [0-9]+ s: ")
            waitUntil(lambda: relay.told[-1:] == [("jitter", "cleared")], "that is not told")
            relay.write("", other, head)
            reload(twistd)
            found = relay.until(lambda health: health["rtp"] and health["rtp"]["received"] > 20)
            assert found["rtp"]["lost"] == 0
            assert found["stream"]["datagrams"] < sender.sent, "it has begun anew"
        waitUntil(lambda: outOf(relay.status()) == sender.sent, "datagrams are lost")


@pytest.mark.slow
def test_aWorkerThatDiesIsLookedAtAgain(tmp_path: Path) -> None:
    """While a worker is down nothing is known of the health of its routes; its successor looks
    anew, and a reload then finds all as it should be.
    """
    relay = Relay(tmp_path)
    other = f'[[route]]\nfrom = "udp://{HOST}:{freePort()}"\nto = "udp://{HOST}:10"'
    relay.write("", other, "workers = 2")
    sender = Sender(relay.port)
    with relay.run() as twistd:
        pids = [int(twistd.waitFor(f"worker {each} is process ([0-9]+)")[1]) for each in (1, 2)]
        twistd.waitFor("SIGHUP reads")
        with sender.sending():
            relay.until(lambda health: health["rtp"] and health["rtp"]["received"] > 20)
            before = relay.status()["stages"][0]["datagrams"]
            for each in pids:
                os.kill(each, signal.SIGKILL)
            for each in (1, 2):
                twistd.waitFor(f"worker {each} .process {pids[each - 1]}. was ended by SIGKILL")
            found = relay.until(
                lambda health: health and health["rtp"] and health["rtp"]["received"]
            )
            assert found["rtp"]["lost"] == 0
            waitUntil(
                lambda: relay.status()["stages"][0]["datagrams"] > before,
                "its counters do not go on",
            )
            for kind in ("false", "true"):
                relay.write("", f"health = {kind}\n{other}", "workers = 2")
                twistd.text = ""
                twistd.signal(signal.SIGHUP)
                twistd.waitFor("applied: 1 unchanged, 1 changed")
                assert (relay.health() is None) == (kind == "false")
            relay.until(lambda health: health["rtp"] and health["rtp"]["received"])


def namesIn(health: Any) -> list[str]:
    """Of the alarms that hold."""
    return [each["name"] for each in health["alarms"]]


def outOf(status: Any) -> int:
    """How much has been sent, or tried to: nobody listens there."""
    [output] = status["outputs"]
    return int(output["datagrams"] + sum(output["dropped"].values()))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_aCommandEndsWithItsRoute(tmp_path: Path, workers: int) -> None:
    """One that does not end of itself, nor by SIGTERM, is gone when the relay is, whether its route
    went before or then; nor does a reload wait for it.
    """
    file, pids = tmp_path / "relay.toml", tmp_path / "pids"
    stubborn = "import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    stubborn += "print(os.getpid(), file=open(sys.argv[1], 'a')); time.sleep(60)"

    def configured(name: str) -> str:
        command = json.dumps([sys.executable, "-c", stubborn, str(pids), name])
        return (
            f'[[route]]\nname = "{name}"\n'
            f'from = "udp://{HOST}:{freePort()}"\nto = "udp://{HOST}:9"\n'
            f"health = {{ silence = '0.1s', command = {command} }}\n"
        )

    def running() -> list[bool]:
        found = pids.read_text().split() if pids.exists() else []
        return [isAlive(int(each)) for each in found]

    kept = f"workers = {workers}\n{configured('kept')}"
    file.write_text(kept + configured("gone"))
    with Twistd(tmp_path, "--config", str(file)) as twistd:
        waitUntil(lambda: running() == [True, True], "they are not told")
        twistd.waitFor("SIGHUP reads")
        file.write_text(kept)
        twistd.signal(signal.SIGHUP)
        twistd.waitFor("applied: 1 unchanged, 1 closed")
        assert running() == [True, True]
        twistd.signal(signal.SIGTERM)
        twistd.end()
        assert not any(running())
    assert "Traceback" not in twistd.text
