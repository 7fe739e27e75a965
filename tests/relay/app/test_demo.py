"""twistd groupsock-relay --demo: the relay at work, checked at the far end."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.relay.support import SECONDS, Listener, Twistd, loggedLines, send
from txgroupsock.primitives.run import Run
from txgroupsock.relay.app import demo
from txgroupsock.relay.app.demo import DemoService
from txgroupsock.relay.errors import StartError
from txgroupsock.testing.namespaces import Namespace

LINE = (
    r"in [0-9,]+ packets/s, [0-9.]+ Mbit/s \| out [0-9,]+ packets/s, [0-9.]+ Mbit/s \| "
    r"lost 0 \| latency [0-9.]+ ms \(at most [0-9.]+\)"
)
SUMMARY = (
    r"demo: every datagram arrived, once: ([0-9,]+) sent, \1 received, 0 lost, 0 duplicated, "
    r"0 reordered, 0 damaged; latency [0-9.]+ ms \(at most [0-9.]+\)"
)


@pytest.fixture(name="failures")
def fixtureFailures(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Has an entry for each time that the process would have been made to exit with status 1."""
    failures: list[str] = []
    monkeypatch.setattr(demo, "exitWith", lambda status: failures.append(str(status)))
    return failures


def started(reactor: Any) -> DemoService:
    """A demonstration that runs until it is stopped."""
    service = DemoService(reactor)
    service.privilegedStartService()
    service.startService()
    return service


async def arrived(service: DemoService, count: int) -> None:
    """Wait until so many datagrams have come to the far end."""
    reached: Deferred[None] = Deferred()
    receive = service.checker.runReceived

    def receiveAndLook(run: Run) -> None:
        receive(run)
        if service.checker.received >= count and not reached.called:
            reached.callback(None)

    service.checker.runReceived = receiveAndLook  # type: ignore[method-assign]
    await reached.addTimeout(SECONDS, service._reactor)


# As a process


def test_itEndsWithZeroWhenEverythingArrived(tmp_path: Path) -> None:
    """For a second: a line with in, out, loss and latency, then the summary, the counters, and
    exit status 0.
    """
    with Twistd(tmp_path, "--demo=1") as process:
        assert process.end() == 0, process.text
        assert "Traceback" not in process.text
        assert not process.pidFile.exists()
        lines = [line for line in process.messages if line.startswith("in ")]
        assert len(lines) == 1
        assert re.fullmatch(LINE, lines[0])
        [summary] = [line for line in process.messages if line.startswith("demo: ")]
        assert re.fullmatch(SUMMARY, summary)
        sent = summary.split()[5]
        assert int(sent.replace(",", "")) == pytest.approx(1000, rel=0.2)
        assert f"in, joined 239.255.42.42 on lo, port 8888: {sent} datagrams, " in process.text
        assert "joined 239.255.42.42 on lo, port 8888" in process.messages
        assert "sending to 239.255.43.43 port 4444 by lo" in process.messages


@pytest.mark.slow
@pytest.mark.lan
def test_itEndsWithOneWhenADatagramIsLost(tmp_path: Path) -> None:
    """When the loopback interface goes down under way, datagrams are lost, the summary says how
    many, and the exit status is 1, with the pid file removed.
    """
    network = Namespace()
    try:
        network.raiseLoopback()
        with network:
            process = Twistd(tmp_path, "--demo=3")
        with process:
            process.waitFor(LINE)
            network.run("ip", "link", "set", "lo", "down")
            assert process.end() == 1, process.text
            assert re.search(r"demo: FAILED: [0-9,]+ sent, .* [1-9][0-9,]* lost, ", process.text)
            assert "Traceback" not in process.text
            assert not process.pidFile.exists()
            # Each output that could not send says so, but not a thousand times a second.
            assert 1 <= process.text.count("cannot send to ") <= 2
    finally:
        network.close()


@pytest.mark.lan
def test_itSaysWhenThereIsNoLoopback(tmp_path: Path) -> None:
    """Where the loopback interface is down, it says so in one line and exits with 1."""
    network = Namespace()
    try:
        with network:
            process = Twistd(tmp_path, "--demo=1")
        with process:
            assert process.end() == 1
            [line] = [each for each in process.messages if each.startswith("groupsock-relay: ")]
            assert line == (
                "groupsock-relay: cannot find the interface 127.0.0.1: no interface has that "
                "name, index or address; there are: lo (no address)"
            )
            assert "Traceback" not in process.text
    finally:
        network.close()


@pytest.mark.slow
def test_SIGINTEndsItWithTheSummary(tmp_path: Path) -> None:
    """Without a length it prints a line a second until Ctrl-C, and then the summary."""
    with Twistd(tmp_path, "--demo") as process:
        process.waitFor(f"{LINE}\n(.*\n)*.*{LINE}\n")
        process.signal(signal.SIGINT)
        assert process.end() == -signal.SIGINT
        assert re.search(SUMMARY, process.text)
        assert "Traceback" not in process.text


@pytest.mark.slow
def test_theSecondOfTwoDoesNotStart(tmp_path: Path) -> None:
    """A demo that meets another one says in a line that the port is taken, exits with 1, and
    leaves the first to succeed.
    """
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with Twistd(tmp_path / "one", "--demo") as one:
        one.waitFor(LINE)
        with Twistd(tmp_path / "two", "--demo=1") as two:
            assert two.end() == 1
            [line] = [each for each in two.messages if each.startswith("groupsock-relay: ")]
            assert line.startswith(
                "groupsock-relay: cannot bind to 239.255.42.42:8888: Address already in use; "
                "another socket has this port and does not share it"
            )
        one.signal(signal.SIGINT)
        one.end()
        assert re.search(SUMMARY, one.text), one.text


# In this process


@pytest_twisted.ensureDeferred
async def test_everythingSentArrives(reactor: Any, failures: list[str]) -> None:
    """What is sent is relayed and arrives: the demonstration is complete, and succeeds."""
    with loggedLines() as lines:
        service = started(reactor)
        await arrived(service, 50)
        await service.stopService()
    assert service.isComplete
    assert not failures
    assert any(re.fullmatch(SUMMARY, line) for line in lines)
    [relayed] = service.route.outputs
    assert relayed.counters == service.route.input.counters
    assert relayed.counters.datagrams == service.stream.sent


@pytest_twisted.ensureDeferred
async def test_nothingSentIsAFailure(reactor: Any, failures: list[str]) -> None:
    """A demonstration that had no time to send anything has shown nothing, so it fails."""
    service = started(reactor)
    await service.stopService()
    assert not service.isComplete
    assert failures


@pytest.mark.parametrize("fault", ["duplicate", "damage", "loss"])
@pytest_twisted.ensureDeferred
async def test_aFaultIsAFailure(reactor: Any, failures: list[str], fault: str) -> None:
    """One datagram that comes twice, changed or not at all fails the demonstration, and the
    summary counts it.
    """
    service = started(reactor)
    [relayed] = service.route.outputs
    forward = relayed.runReceived
    tampered: list[bytes] = []

    def tamper(run: Any) -> None:
        # A machine that is busy has several datagrams in a run.
        if tampered or len(run) > 1:
            forward(run)
            return
        tampered.append(bytes(run.data))
        if fault == "duplicate":
            forward(run)
            forward(run)
        elif fault == "damage":
            send(tampered[0][:-1] + b"\1", "239.255.43.43", 4444)

    relayed.runReceived = tamper  # type: ignore[method-assign]
    await arrived(service, 50)
    with loggedLines() as lines:
        await service.stopService()
    assert failures
    text = {"duplicate": "1 duplicated", "damage": "1 damaged", "loss": "1 lost"}[fault]
    assert lines[0].startswith("demo: FAILED: ")
    assert f" {text}" in lines[0]


@pytest_twisted.ensureDeferred
async def test_othersOnTheSameGroupsDoNoHarm(reactor: Any, failures: list[str]) -> None:
    """Datagrams that others send to the groups are relayed, and counted apart from the stream."""
    service = started(reactor)
    send(b"what is this?", "239.255.42.42", 8888)
    await arrived(service, 20)
    await service.stopService()
    assert service.checker.foreign == 1
    assert not failures


@pytest.mark.parametrize("taken", [8888, 4444])
def test_aTakenPortIsAStartError(reactor: Any, taken: int) -> None:
    """When either of its ports is taken it does not start, and nothing stays open."""
    with Listener(reactor, "0.0.0.0", taken, shared=True):
        service = DemoService(reactor)
        with pytest.raises(StartError, match=f":{taken}: Address already in use"):
            service.privilegedStartService()


@pytest_twisted.ensureDeferred
async def test_itEndsByItself(
    reactor: Any, monkeypatch: pytest.MonkeyPatch, failures: list[str]
) -> None:
    """With a length, it stops the reactor when that is over."""
    ended: Deferred[None] = Deferred()
    monkeypatch.setattr(reactor, "stop", lambda: ended.callback(None))
    service = DemoService(reactor, 0.1)
    service.privilegedStartService()
    service.startService()
    await ended.addTimeout(SECONDS, reactor)
    await service.stopService()
    assert not failures


@pytest_twisted.ensureDeferred
async def test_itCanBeStoppedBefore(reactor: Any, failures: list[str]) -> None:
    """Stopped before its length is over, it does not stop the reactor any more."""
    service = DemoService(reactor, 1000)
    service.privilegedStartService()
    service.startService()
    await arrived(service, 5)
    await service.stopService()
    assert service._ending is not None
    assert not service._ending.active()
    assert not failures


@pytest_twisted.ensureDeferred
async def test_whatIsUnderWayIsWaitedFor(reactor: Any, failures: list[str]) -> None:
    """Datagrams that are still in some buffer when it is stopped are not lost."""
    service = started(reactor)
    await arrived(service, 10)
    assert service.player._began is not None
    service.player._began -= 0.009
    service.player._tick()
    assert service.stream.sent > service.checker.received
    await service.stopService()
    assert service.checker.received == service.stream.sent
    assert not failures


def test_itsAddressesAreThoseOfLIVE555() -> None:
    """The demonstration uses the groups and ports of LIVE555's testRelay."""
    assert demo.FROM.startswith("udp://239.255.42.42:8888")
    assert demo.TO.startswith("udp://239.255.43.43:4444")
