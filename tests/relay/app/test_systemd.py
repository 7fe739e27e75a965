"""What systemd is told: by the service in this process, and by twistd as a process of its own."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from tests.relay.app.test_tap import parsed, servicesOf
from tests.relay.manager import Manager
from tests.relay.support import Twistd, freePort, isAlive, loggedLines
from tests.relay.workers.test_twistd import NOBODY, TO, WORKER, mayBecomeNobody
from txgroupsock.relay.app.service import RelayService
from txgroupsock.relay.app.systemd import Notifier, SystemdService, inShort
from txgroupsock.relay.engine.model import RelayModel
from txgroupsock.relay.engine.relay import Relay
from txgroupsock.relay.names import NameService
from txgroupsock.relay.viewers import ViewerService
from txgroupsock.relay.workers.relay import Workers

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "SO_PASSCRED"), reason="needs Linux's sockets, as systemd does"
)

MODEL = RelayModel.of(
    [
        (["udp://127.0.0.1:5001"], ["udp://127.0.0.1:9"]),
        (["udp://127.0.0.1:5002"], ["udp://127.0.0.1:9", "udp://127.0.0.1:10"]),
    ]
)


@pytest.fixture(name="manager")
def fixtureManager() -> Iterator[Manager]:
    """What listens as systemd does."""
    with Manager() as manager:
        yield manager


class Reactor(MemoryReactorClock):
    """A reactor whose start and time the test decides."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.begin: list[Any] = []

    def callWhenRunning(self, callable: Any, *args: Any, **kw: Any) -> None:  # noqa: A002
        self.begin.append(callable)


def started(manager: Manager, reactor: Any, watchdog: float = 0.0) -> tuple[SystemdService, Relay]:
    """A service that has said that it is ready, of a relay that is not open."""
    relay = Relay.of(reactor, MODEL)
    service = SystemdService(reactor, Notifier(manager.address, watchdog, os.getpid()), relay)
    service.startService()
    assert not manager.hears()
    for each in reactor.begin:
        each()
    assert manager.take().values == {"READY": "1", "STATUS": "2 routes, 3 outputs"}
    return service, relay


# Where to say it


def test_theVariablesAreTakenAway() -> None:
    """The variables are understood, and go to no other process from then on."""
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1", "A": "b"}
    assert Notifier.fromEnvironment(environment) == Notifier("/x", 0.0, os.getpid())
    assert environment == {"A": "b"}
    assert Notifier.fromEnvironment(environment) is None


@pytest.mark.parametrize(
    ("usec", "pid", "watchdog"),
    [
        pytest.param("3000000", str(os.getpid()), 3.0, id="ours"),
        ("3000000", "", 3.0),
        ("3000000", "1", 0.0),
        ("", "", 0.0),
        ("0", "", 0.0),
        ("soon", "", 0.0),
    ],
)
def test_theWatchdogIsForOneProcess(usec: str, pid: str, watchdog: float) -> None:
    """The watchdog waits for the process that it names, or whichever if it names none."""
    environment = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    found = Notifier.fromEnvironment(environment)
    assert found is not None
    assert found.watchdog == watchdog


def test_aSocketMayBeAbstract() -> None:
    """A name that begins with @ is one in the abstract namespace."""
    name = f"txgroupsock-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        Notifier(f"@{name}").notify(READY=1, STATUS="at work")
        assert sock.recv(100) == b"READY=1\nSTATUS=at work"


def test_aValueIsOneLine(manager: Manager) -> None:
    """Nothing in a value can be taken for another line."""
    Notifier(manager.address).notify(STATUS="a\nMAINPID=1\r\n")
    assert manager.take().values == {"STATUS": "a MAINPID=1"}


# The service


def test_withoutAManagerThereIsNoService(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody wants to know there is none; else it is the last to start, the first to stop."""
    options = parsed("--from=udp://127.0.0.1:5000", TO)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert [type(each) for each in servicesOf(options)] == [
        NameService,
        RelayService,
        ViewerService,
    ]
    monkeypatch.setenv("NOTIFY_SOCKET", "/x")
    first, *_, last = servicesOf(options)
    assert [type(first), type(last)] == [NameService, SystemdService]
    assert "NOTIFY_SOCKET" not in os.environ


def test_theStatusIsRenewedWhenItHasChanged(manager: Manager) -> None:
    """The status line goes out again only if it is another, and seconds later."""
    reactor = Reactor()
    service, relay = started(manager, reactor)
    reactor.advance(service.statusInterval)
    assert not manager.hears()
    relay.routes = relay.routes[1:]
    assert not manager.hears()
    reactor.advance(service.statusInterval)
    assert manager.take().values == {"STATUS": "1 route, 2 outputs"}
    service.stopService()
    assert manager.take().values == {"STOPPING": "1"}
    assert reactor.getDelayedCalls() == []


def test_theWatchdogHearsTwiceInItsTime(manager: Manager) -> None:
    """At once, and then at each half of its time, until the end."""
    reactor = Reactor()
    service, _ = started(manager, reactor, watchdog=3.0)
    assert [each.values for each in manager.drain()] == [{"WATCHDOG": "1"}]
    for _ in range(2):
        reactor.advance(1.5)
        assert [each.values for each in manager.drain()] == [{"WATCHDOG": "1"}]
    service.stopService()
    assert [each.values for each in manager.drain()] == [{"STOPPING": "1"}]
    assert reactor.getDelayedCalls() == []


def test_aReloadIsTold(manager: Manager) -> None:
    """RELOADING with the time comes before, READY after, and the status says if it failed."""
    service, _ = started(manager, Reactor())
    before = time.monotonic_ns() // 1000
    with service.reloading():
        values = manager.take().values
        assert values.pop("RELOADING") == "1"
        assert before <= int(values.pop("MONOTONIC_USEC")) <= time.monotonic_ns() // 1000
        assert list(values) == ["STATUS"]
    assert manager.take().values == {"READY": "1", "STATUS": "2 routes, 3 outputs"}
    with pytest.raises(OSError, match="no"), service.reloading():
        raise OSError("no")
    status = "2 routes, 3 outputs; the last reload failed, and the log says why"
    assert manager.drain()[-1].values == {"READY": "1", "STATUS": status}
    with service.reloading():
        service.stopService()
    assert manager.drain()[-1].values == {"STOPPING": "1"}
    with service.reloading():
        pass
    assert not manager.hears()


def fits(sock: socket.socket, address: str) -> bool:
    """Send something if there is room for it; whether there was."""
    try:
        sock.sendto(b"OTHER=1", address)
    except BlockingIOError:
        return False
    return True


def test_whatFindsNoRoomIsSaidLater(manager: Manager) -> None:
    """A manager that is busy hears all the same that the relay is ready, and nothing waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        while fits(other, manager.address):
            pass
    reactor = Reactor()
    relay = Relay.of(reactor, MODEL)
    service = SystemdService(reactor, Notifier(manager.address, 1.0, os.getpid()), relay)
    service.startService()
    reactor.begin[0]()
    for _ in range(5):
        reactor.advance(1.0)
    assert {name for each in manager.drain() for name in each.values} == {"OTHER"}
    reactor.advance(0.1)
    values = [each.values for each in manager.drain()]
    assert values == [{"READY": "1", "STATUS": "2 routes, 3 outputs"}]
    reactor.advance(0.5)
    assert manager.take().values == {"WATCHDOG": "1"}
    service.stopService()
    assert reactor.getDelayedCalls() == []


@pytest.mark.parametrize("address", ["/nowhere/notify", "vsock:2:1"])
def test_aManagerWhoDoesNotListenIsALineOfLog(address: str) -> None:
    """If nobody can be told anything, the log says so, once."""
    reactor = Reactor()
    service = SystemdService(reactor, Notifier(address, 1.0, 1), Relay.of(reactor, MODEL))
    with loggedLines() as lines:
        service.startService()
        reactor.begin[0]()
        reactor.advance(1.0)
        service.stopService()
    assert len(lines) == 1
    assert lines[0].startswith(f"systemd cannot be told anything, at {address}: ")


def test_aServiceThatWasStoppedBeforeTheReactorRanSaysNothing(manager: Manager) -> None:
    """If it never was ready, it does not say that it ends."""
    reactor = Reactor()
    service = SystemdService(reactor, Notifier(manager.address), Relay.of(reactor, MODEL))
    service.startService()
    service.stopService()
    reactor.begin[0]()
    assert not manager.hears()


def test_theStatusCountsWorkers(reactor: Any) -> None:
    """With workers the status has their number, and that of those that do not run."""
    relay = Workers(reactor, MODEL, 2)
    assert inShort(relay) == "2 routes, 3 outputs, 2 workers, 2 of them not running"


# twistd as a process


def route() -> list[str]:
    """A route that can be opened."""
    return [f"--from=udp://127.0.0.1:{freePort()}", TO]


def test_twistdTellsWhenItIsReadyAndWhenItEnds(tmp_path: Path, manager: Manager) -> None:
    """READY comes once the routes are open, from the main process, and STOPPING at the end."""
    with Twistd(tmp_path, *route(), through=manager.through()) as relay:
        ready = manager.take()
        assert ready.values == {"READY": "1", "STATUS": "1 route, 1 output"}
        assert (ready.pid, ready.uid) == (relay.pid, os.geteuid())
        relay.waitFor("sending to 127.0.0.1 port 9")
        relay.signal(signal.SIGTERM)
        assert manager.take().values == {"STOPPING": "1"}
        assert relay.end() == -signal.SIGTERM
        assert not manager.hears()


def test_whatCannotStartIsNotReady(tmp_path: Path, manager: Manager) -> None:
    """A relay that cannot open its routes says nothing and ends with status 1."""
    arguments = ["--from=udp://127.0.0.1:5000", "--to=udp://239.1.1.1:5001?interface=nope0"]
    with Twistd(tmp_path, *arguments, through=manager.through(1.0)) as relay:
        assert relay.end() == 1
    assert not manager.hears()


def test_aStoppedProcessIsSilent(tmp_path: Path, manager: Manager) -> None:
    """The watchdog hears nothing from a process that is stopped."""
    with Twistd(tmp_path, *route(), through=manager.through(0.1)) as relay:
        for _ in range(3):
            assert manager.takeUntil("WATCHDOG").pid == relay.pid
        os.kill(relay.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, relay.pid, os.WSTOPPED)
        manager.drain()
        assert not manager.hears(0.5)
        os.kill(relay.pid, signal.SIGCONT)
        manager.takeUntil("WATCHDOG")


BLOCKING = """
import signal, sys, time
from twisted.logger import textFileLogObserver

def block():
    print("it hangs", file=sys.__stdout__, flush=True)
    time.sleep(600)

def hung(*_):
    from twisted.internet import reactor
    reactor.callFromThread(block)

def observer():
    signal.signal(signal.SIGUSR2, hung)
    return textFileLogObserver(sys.stdout)
"""


def test_aReactorThatHangsIsSilent(tmp_path: Path, manager: Manager) -> None:
    """The watchdog hears nothing from a process whose reactor is blocked."""
    (tmp_path / "blocking.py").write_text(BLOCKING)
    through = f"{manager.through(0.1)}\nos.environ['PYTHONPATH'] = os.pathsep.join(sys.path[1:] + "
    through += f"[{str(tmp_path)!r}])"
    options = ("-n", "--logger=blocking.observer")
    with Twistd(tmp_path, *route(), options=options, through=through) as relay:
        manager.takeUntil("WATCHDOG")
        relay.signal(signal.SIGUSR2)
        relay.waitFor("it hangs")
        manager.drain()
        assert not manager.hears(0.5)


def test_aReloadIsToldByTwistd(tmp_path: Path, manager: Manager) -> None:
    """After SIGHUP come RELOADING, with a later time, and READY; also if the file is wrong."""
    path = tmp_path / "relay.toml"
    text = f"[[route]]\nfrom = 'udp://127.0.0.1:{freePort()}'\nto = 'udp://127.0.0.1:9'\n"
    path.write_text(text)
    with Twistd(tmp_path, f"--config={path}", through=manager.through()) as relay:
        manager.takeUntil("READY")
        failed = "; the last reload failed, and the log says why"
        for change, status in (
            (text + text.replace(":9'", ":10'"), "2 routes, 2 outputs"),
            ("?", f"2 routes, 2 outputs{failed}"),
            (text, "1 route, 1 output"),
        ):
            path.write_text(change)
            before = time.monotonic_ns() // 1000
            relay.signal(signal.SIGHUP)
            assert int(manager.takeUntil("RELOADING").values["MONOTONIC_USEC"]) >= before
            assert manager.take().values == {"READY": "1", "STATUS": status}


def test_workersDoNotSpeak(tmp_path: Path, manager: Manager) -> None:
    """Workers know nothing of the manager; the first process is ready once they are."""
    through = manager.through(1.0)
    arguments = ["--workers=2", *route(), *route()]
    with Twistd(tmp_path, *arguments, through=through) as relay:
        ready = manager.take()
        assert ready.pid == relay.pid
        assert ready.values["STATUS"] == "2 routes, 2 outputs, 2 workers"
        for number in (1, 2):
            worker = relay.waitFor(WORKER.format(number))[1]
            environment = Path(f"/proc/{worker}/environ").read_bytes()
            assert b"NOTIFY_SOCKET" not in environment
            assert b"WATCHDOG" not in environment
        relay.signal(signal.SIGTERM)
        assert relay.end() == -signal.SIGTERM
    assert {each.pid for each in manager.drain()} == {relay.pid}


def test_aDaemonSaysWhichProcessItIs(tmp_path: Path, manager: Manager) -> None:
    """A daemon names its process together with READY, and the watchdog hears it."""
    options = (f"--logfile={tmp_path / 'relay.log'}",)
    with Twistd(tmp_path, *route(), options=options, through=manager.through(1.0)) as relay:
        ready = manager.takeUntil("READY")
        assert relay.end() == 0
    pid = int(relay.pidFile.read_text())
    try:
        assert ready.values["MAINPID"] == str(pid) == str(ready.pid)
        assert manager.takeUntil("WATCHDOG").pid == pid
    finally:
        os.kill(pid, signal.SIGTERM)
        manager.takeUntil("STOPPING")
        while isAlive(pid):
            time.sleep(0.01)


@pytest.mark.skipif(not mayBecomeNobody(), reason="needs root, and another user to become")
def test_privilegesAreGivenUpBefore(tmp_path: Path, manager: Manager) -> None:
    """With --uid it is the other user who says READY, from the same process."""
    tmp_path.chmod(0o777)
    through = manager.through(1.0)
    through += (
        "\nfor each in list(os.environ):\n    if each.startswith('COV'): del os.environ[each]"
    )
    options = ("-n", f"--uid={NOBODY}")
    with Twistd(tmp_path, *route(), options=options, through=through) as relay:
        ready = manager.take()
        assert (ready.pid, ready.uid) == (relay.pid, NOBODY)
        assert "MAINPID" not in ready.values
        assert manager.take().values == {"WATCHDOG": "1"}
        relay.signal(signal.SIGTERM)
        assert manager.takeUntil("STOPPING").uid == NOBODY
        relay.end()
