"""A configuration file that is read again while the relay runs."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import struct
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.lan.program import waitUntil
from tests.relay.support import SECONDS, Listener, Twistd, freePort, loggedLines, send, url
from txgroupsock.primitives import increaseReceiveBufferTo
from txgroupsock.relay.app.service import RelayService
from txgroupsock.relay.config.file import ConfigurationError, ConfigurationFile
from txgroupsock.relay.control.control import Control
from txgroupsock.relay.control.reload import ReloadService
from txgroupsock.relay.engine.relay import Relay
from txgroupsock.relay.errors import StartError
from txgroupsock.relay.threads import TookTooLong

HOST = "127.0.0.1"
NOWHERE = "udp://127.0.0.1:9"


def routeText(source: str, *targets: str, more: str = "") -> str:
    """A route of a file."""
    return f"[[route]]\nfrom = {source!r}\nto = {list(targets)}\n{more}\n"


@asynccontextmanager
async def running(reactor: Any, path: Path) -> AsyncIterator[ReloadService]:
    """A relay that a file describes, and what reloads it, started and stopped as twistd does."""
    file = ConfigurationFile.of(str(path))
    configuration = file.read()
    relay = Relay.of(reactor, configuration.relay)
    control = Control(reactor, configuration, relay)
    services = [RelayService(reactor, relay), ReloadService(reactor, control, file)]
    for each in services:
        each.privilegedStartService()
    for each in services:
        each.startService()
    try:
        yield services[1]  # type: ignore[misc]
    finally:
        closing = [each.stopService() for each in reversed(services)]
        for waiting in closing:
            await waiting


def reached(reactor: Any, pattern: str) -> tuple[Deferred[None], Any]:
    """Fires with the line of log that looks like this; and what is to be called with each line."""
    waiting: Deferred[None] = Deferred()

    def check(line: str) -> None:
        if re.search(pattern, line) and not waiting.called:
            waiting.callback(None)

    return waiting.addTimeout(SECONDS, reactor), check


@pytest_twisted.ensureDeferred
async def test_aReloadGoesOverToTheFile(reactor: Any, tmp_path: Path) -> None:
    """What the file says now is done, and the log says what was opened, closed and done."""
    path, ports = tmp_path / "relay.toml", [freePort() for _ in range(2)]
    path.write_text(routeText(url(HOST, ports[0]), NOWHERE))
    async with running(reactor, path) as service:
        path.write_text(routeText(url(HOST, ports[1]), NOWHERE))
        with loggedLines() as lines:
            outcome = await service.reload()
        assert (str(outcome), outcome.opened) == ("1 opened, 1 closed", (url(HOST, ports[1]),))
        assert [line.partition(";")[0] for line in lines] == [
            f"listening on {HOST} port {ports[1]}",
            "sending to 127.0.0.1 port 9",
            f"closed: in, listening on {HOST} port {ports[0]}: 0 datagrams, 0 bytes, 0 dropped",
            "closed: out, sending to 127.0.0.1 port 9: 0 datagrams, 0 bytes, 0 dropped",
            f"{path} was applied: 1 opened, 1 closed",
        ]


@pytest_twisted.ensureDeferred
async def test_aWrongFileChangesNothing(reactor: Any, tmp_path: Path) -> None:
    """Every problem of the new file is logged, and the relay runs on as it was."""
    path, port = tmp_path / "relay.toml", freePort()
    with Listener(reactor, HOST) as listener:
        path.write_text(routeText(url(HOST, port), url(HOST, listener.port)))
        async with running(reactor, path) as service:
            path.write_text("workers = 0\n" + routeText("udp://x", "udp://y"))
            with loggedLines() as lines, pytest.raises(ConfigurationError) as caught:
                await service.reload()
            assert lines == [
                *(str(each) for each in caught.value.problems),
                f"{path} was rejected; the running configuration is unchanged",
            ]
            assert [line.removeprefix(str(path)).partition(": ")[0] for line in lines[:3]] == [
                ":1",
                ":3",
                ":4",
            ]
            path.unlink()
            with pytest.raises(ConfigurationError, match="No such file"):
                await service.reload()
            send(b"x", HOST, port)
            assert await listener.payloads(1) == [b"x"]


@pytest_twisted.ensureDeferred
async def test_whatCannotBeOpenedChangesNothing(reactor: Any, tmp_path: Path) -> None:
    """The log says what could not be opened and why, and that all is as it was before."""
    path = tmp_path / "relay.toml"
    path.write_text(routeText(url(HOST, freePort()), NOWHERE))
    async with running(reactor, path) as service:
        path.write_text(routeText("udp://192.0.2.1:5000", NOWHERE))
        with loggedLines() as lines, pytest.raises(OSError, match=r"192\.0\.2\.1"):
            await service.reload()
        assert lines[0].startswith("cannot bind to 192.0.2.1:5000: ")
        assert lines[1:] == [f"{path} was rejected; the running configuration is unchanged"]


@pytest_twisted.ensureDeferred
async def test_anotherNumberOfWorkersWaits(reactor: Any, tmp_path: Path) -> None:
    """Routes change at once; that workers does not the log says, once."""
    path = tmp_path / "relay.toml"
    path.write_text(routeText(url(HOST, freePort()), NOWHERE))
    async with running(reactor, path) as service:
        path.write_text("workers = 2\n" + path.read_text())
        for expected in (1, 0):
            with loggedLines() as lines:
                await service.reload()
            line = f"{path}: workers takes effect at the next start"
            assert lines.count(line) == expected


@pytest_twisted.ensureDeferred
async def test_SIGHUPReloads(reactor: Any, tmp_path: Path) -> None:
    """On SIGHUP the file is read again, a handler that was there is called too, and the end gives
    the signal back.
    """
    handled: list[int] = []

    def handler(number: int, _: Any) -> None:
        handled.append(number)

    before = signal.signal(signal.SIGHUP, handler)
    try:
        path = tmp_path / "relay.toml"
        path.write_text(routeText(url(HOST, freePort()), NOWHERE))
        async with running(reactor, path):
            for text, line in (
                (path.read_text(), "applied: 1 unchanged"),
                ("route", "rejected"),
            ):
                path.write_text(text)
                done, check = reached(reactor, line)
                with loggedLines(check):
                    os.kill(os.getpid(), signal.SIGHUP)
                    await done
        assert handled == [signal.SIGHUP] * 2
        assert signal.getsignal(signal.SIGHUP) is handler
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest_twisted.ensureDeferred
async def test_manySignalsAreFewReloads(reactor: Any, tmp_path: Path) -> None:
    """However many signals come at once, the file is read twice at most: now, and after that."""
    path = tmp_path / "relay.toml"
    path.write_text(routeText(url(HOST, freePort()), NOWHERE))
    async with running(reactor, path) as service:
        with loggedLines() as lines:
            for _ in range(20):
                service._reloadOnce()
            await service.reload()
        assert [line.partition("relay.toml ")[2] for line in lines] == [
            "was applied: 1 unchanged"
        ] * 3


@pytest_twisted.ensureDeferred
async def test_aDiskThatHangsDoesNotKeepIt(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be read to its end is left when the relay is to end."""
    path, over = tmp_path / "relay.toml", threading.Event()
    path.write_text(routeText(url(HOST, freePort()), NOWHERE))
    try:
        async with running(reactor, path) as service:
            monkeypatch.setattr(ConfigurationFile, "read", lambda _: over.wait(SECONDS))
            reloading = service.reload()
            ended = service.stopService()
            await ended.addTimeout(SECONDS / 2, reactor)
            with pytest.raises(RuntimeError, match="still being read"):
                await reloading
            service.startService()
    finally:
        over.set()


@pytest_twisted.ensureDeferred
async def test_aDiskThatHangsKeepsNothingFromChanging(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is not read in its time is a failed change, and later ones are made."""
    path, over = tmp_path / "relay.toml", threading.Event()
    path.write_text(routeText(url(HOST, freePort()), NOWHERE))
    monkeypatch.setattr("txgroupsock.relay.control.control.MOST_SECONDS", 0.05)
    try:
        async with running(reactor, path) as service:
            with monkeypatch.context() as patched, loggedLines() as lines:
                patched.setattr(
                    "txgroupsock.relay.config.file.contentOf", lambda *_: over.wait(SECONDS)
                )
                with pytest.raises(TookTooLong):
                    await service.reload()
            assert lines[-1] == f"{path} was rejected; the running configuration is unchanged"
            last = service._control.last
            assert last is not None
            assert not last.isDone
            assert (
                "it takes more than 0.05 s; look for a disk that hangs, for a file too" in last.text
            )
            monkeypatch.setattr("txgroupsock.relay.control.control.MOST_SECONDS", SECONDS)
            assert str(await service.reload()) == "1 unchanged"
    finally:
        over.set()


@pytest.mark.parametrize("problem", [ValueError("a bug"), StartError("x"), SystemExit(1)])
@pytest_twisted.ensureDeferred
async def test_whateverIsRaisedIsAFailedChange(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException
) -> None:
    """It is logged and recorded as such, whatever raised it, and the next is made."""
    path = tmp_path / "relay.toml"
    path.write_text(routeText(url(HOST, freePort()), NOWHERE))

    def fail(*_: object) -> None:
        raise problem

    async with running(reactor, path) as service:
        for place in ("configurationOf", "contentOf"):
            with monkeypatch.context() as patched, loggedLines() as lines:
                patched.setattr(f"txgroupsock.relay.config.file.{place}", fail)
                with pytest.raises((type(problem), ConfigurationError)):
                    await service.reload()
            last = service._control.last
            assert last is not None
            assert not last.isDone
            assert any(f"{path} was rejected" in line for line in lines)
            await service.reload()
            assert service._control.last is not None
            assert service._control.last.isDone


@pytest_twisted.ensureDeferred
async def test_aReloadDuringTheEndOpensNothing(reactor: Any, tmp_path: Path) -> None:
    """A file that is being read when the relay ends is not taken over any more."""
    path, port = tmp_path / "relay.toml", freePort()
    path.write_text(routeText(url(HOST, freePort()), NOWHERE))
    async with running(reactor, path) as service:
        path.write_text(routeText(url(HOST, port), NOWHERE))
        reloading = service.reload()
    with pytest.raises(RuntimeError, match="still being read"):
        await reloading
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, port))


# twistd


class Stream:
    """
    Numbered datagrams at a steady rate, from a thread, and those that come back.

    No more are on their way than the buffers have room for, however slow the machine is.

    @ivar sent: how many.
    @ivar numbers: those that came, in order.
    """

    def __init__(self, port: int, group: str = HOST, rate: int = 5000) -> None:
        self.target = (group, port)
        self.rate = rate
        self.sent = 0
        self.numbers: list[int] = []
        self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # Room for a second, in which this process may be busy otherwise.
        increaseReceiveBufferTo(self.receiver, 32 * 1024 * 1024, force=True)
        self.receiver.bind((HOST, 0))
        self.receiver.settimeout(0.2)
        self.port = self.receiver.getsockname()[1]
        self.url = url(HOST, self.port)  # where it is to be relayed to
        self._isOver, self._isRead = threading.Event(), threading.Event()
        self._sending = threading.Thread(target=self._send)
        self._receiving = threading.Thread(target=self._receive)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """While it is sent and received."""
        with self.receiver:
            self._receiving.start()
            self._sending.start()
            try:
                yield
            finally:
                self.stop()
                self._isRead.set()
                self._receiving.join()

    def stop(self) -> None:
        """Send nothing more; what is on its way is received yet."""
        self._isOver.set()
        self._sending.join()

    def _send(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(
                socket.IPPROTO_IP,
                socket.IP_MULTICAST_IF,
                struct.pack("@4s4si", bytes(4), bytes(4), socket.if_nametoindex("lo")),
            )
            began = time.monotonic()
            while not self._isOver.wait(0.002):
                due = int((time.monotonic() - began) * self.rate)
                if self.numbers:
                    due = min(due, self.numbers[-1] + 500)
                for number in range(self.sent, min(due, self.sent + 200)):
                    sock.sendto(struct.pack("!Q", number).ljust(1316), self.target)
                    self.sent = number + 1

    def _receive(self) -> None:
        while True:
            try:
                self.numbers.append(struct.unpack("!Q", self.receiver.recv(2000)[:8])[0])
            except TimeoutError:
                if self._isRead.is_set():
                    break


def test_aFailedChangeIsToldEverywhere(tmp_path: Path) -> None:
    """Whatever is wrong with an endpoint, a pipe for a key included: the log has one line of it and
    the metric is 0; the next change is made.
    """
    file, pipe, admin = tmp_path / "relay.toml", tmp_path / "pipe", freePort(socket.AF_INET)
    os.mkfifo(pipe)
    text = routeText(url(HOST, freePort()), NOWHERE)
    text += f"[admin]\nlisten = 'tcp:{admin}:interface={HOST}'\n[viewers]\nlisten = "
    right = "'tcp:0:interface=127.0.0.1'"
    file.write_text(text + right)

    def isSuccessfulIs(isSuccessful: bool) -> bool:
        with urllib.request.urlopen(f"http://{HOST}:{admin}/metrics", timeout=SECONDS) as answer:
            [found] = re.findall(rb"(?m)^groupsock_last_change_successful ([01])", answer.read())
        return bool(int(found)) == isSuccessful

    with Twistd(tmp_path, "--config=relay.toml") as relay:
        relay.waitFor("SIGHUP reads")
        for endpoint, problem in (
            ("tcp:99999", "port=99999: a port is a whole number"),
            ("stdio:", "nobody can connect"),
            (r"keepalive:tcp\:x", "port=x: a port is a whole number"),
            (f"ssl:0:privateKey={pipe}", "it is not a file; give the path of one"),
            (rf"keepalive:ssl\:0\:privateKey={pipe}", "it is not a file; give the path of one"),
            (f"ssl:0:privateKey={file}", "it is no certificate in PEM that OpenSSL takes"),
            (f"unix:{tmp_path}/nonesuch/x", "nonesuch: No such file or directory"),
        ):
            for wanted, words in ((f"'{endpoint}'", "rejected"), (right, "applied")):
                relay.text = ""
                file.write_text(text + wanted)
                relay.signal(signal.SIGHUP)
                relay.waitFor(f"relay.toml was {words}")
                isRight = wanted == right
                # What is asked for at once may be answered with what was made for another.
                waitUntil(partial(isSuccessfulIs, isRight), "the metric is not like that")
                assert sum(problem in each for each in relay.messages) == (not isRight)
                assert "Traceback" not in relay.text


def test_SIGHUPReloadsARealRelay(tmp_path: Path) -> None:
    """The relay goes over to a file on SIGHUP, keeps on with a wrong one, and ends as ever."""
    path, port = tmp_path / "relay.toml", freePort()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, 0))
        sock.settimeout(SECONDS)
        path.write_text(routeText(url(HOST, port), url(HOST, sock.getsockname()[1])))
        with Twistd(tmp_path, "--config", "relay.toml") as relay:
            relay.waitFor("SIGHUP reads relay.toml again\n")
            good, more = path.read_text(), routeText(url(HOST, freePort()), NOWHERE)
            wrong = "[[route]]\nto = 3"
            for text, pattern in (
                (good, "relay.toml was applied: 1 unchanged\n"),
                (wrong, "relay.toml was rejected; the running configuration is unchanged\n"),
                (good + more, "1 unchanged, 1 opened\n"),
                (good, "1 unchanged, 1 closed\n"),
            ):
                path.write_text(text)
                relay.signal(signal.SIGHUP)
                relay.waitFor(pattern)
                send(b"hello", HOST, port)
                assert sock.recv(100) == b"hello"
            relay.signal(signal.SIGTERM)
            assert relay.end() == -signal.SIGTERM
            assert "Traceback" not in relay.text
            assert "Unhandled" not in relay.text
            assert "relay.toml:2: route[1].to: it is a whole number" in relay.text
            assert re.search("in, .*: 4 datagrams, 20 bytes, 0 dropped", relay.text)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("group", [HOST, "239.7.5.1"], ids=["unicast", "multicast"])
@pytest.mark.parametrize("workers", [1, 2], ids=["alone", "workers"])
def test_reloadsUnderLoadLoseNothing(tmp_path: Path, group: str, workers: int) -> None:
    """While 5,000 datagrams a second flow, dozens of reloads, wrong files among them and such as
    cannot be opened, lose and double none of them on the routes that stay, nor on one whose other
    outputs change; in one process, and in each of several.
    """
    path, chance = tmp_path / "relay.toml", random.Random(7)
    options = "" if group == HOST else "?interface=lo"
    streams = [Stream(freePort(), group) for _ in range(2)]
    others = [freePort() for _ in range(40)]

    def text() -> str:
        stays, changes = streams
        routes = [
            routeText(url(group, stays.target[1], options), stays.url, more="name = 'stays'"),
            routeText(
                url(group, changes.target[1], options),
                *chance.sample([f"udp://127.0.0.1:{8000 + each}" for each in range(9)], 3),
                changes.url,
            ),
            # Shares the input of the first.
            *[routeText(url(group, stays.target[1], options), "udp://127.0.0.1:7999")]
            * chance.randint(0, 1),
            *(routeText(url(HOST, each), NOWHERE) for each in chance.sample(others, 20)),
        ]
        chance.shuffle(routes)
        return f"workers = {workers}\n" + "".join(routes)

    def wrong(count: int) -> str:
        cannot = routeText("udp://192.0.2.1:5000", NOWHERE)
        return text() + cannot if count % 20 == 9 else "route = 3"

    path.write_text(text())
    with (
        Twistd(tmp_path, "--config", "relay.toml") as relay,
        streams[0].flowing(),
        streams[1].flowing(),
    ):
        relay.waitFor("SIGHUP reads relay.toml again\n")
        _waitUntil(lambda: all(each.numbers for each in streams))
        for count in range(60):
            before = [each.sent for each in streams]
            relay.text = ""
            path.write_text(wrong(count) if count % 10 == 9 else text())
            relay.signal(signal.SIGHUP)
            relay.waitFor("relay.toml was (applied|rejected).*\n")
            for each, sent in zip(streams, before, strict=True):
                _waitUntil(lambda each=each, sent=sent: each.sent > sent + 200)
        relay.text = ""
        for stream in streams:
            stream.stop()
        _waitUntil(lambda: all(each.numbers[-1] == each.sent - 1 for each in streams))
        relay.signal(signal.SIGTERM)
        relay.end()
    for each in streams:
        arrived = len(each.numbers)
        assert each.numbers == list(range(each.numbers[0], each.sent))
        assert arrived > 12_000
        # One socket and its counters all along: they have what came from the first to the last.
        assert f"out, sending to {HOST} port {each.port}: {arrived:,} datagrams" in relay.text
        into = rf"in, .* port {each.target[1]}: {arrived:,} datagrams, .* 0 dropped;"
        assert re.search(into, relay.text), relay.text


def _waitUntil(holds: Any) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.005)
