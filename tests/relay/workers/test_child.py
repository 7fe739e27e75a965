"""A worker process, as far as it can be seen in this one."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, LogLevel
from twisted.python.failure import Failure

from tests.relay.support import SECONDS, freePort, loggedLines, until
from txgroupsock.relay.engine.model import RouteModel
from txgroupsock.relay.status import Pieces
from txgroupsock.relay.workers.child import Worker


class Pipe(StringTransport):
    """Keeps what the worker says."""

    said: Deferred[None] | None = None

    def write(self, data: bytes) -> None:
        super().write(data)  # type: ignore[no-untyped-call]
        if self.said is not None:
            self.said.callback(None)

    def text(self) -> bytes:
        """All that was written."""
        return bytes(self.value())  # type: ignore[no-untyped-call]

    def messages(self) -> list[dict[str, Any]]:
        """All of it so far."""
        return [json.loads(line) for line in self.text().splitlines()]


def connected() -> tuple[Worker, Pipe]:
    """A worker that runs without a process."""
    worker, pipe = Worker(), Pipe()  # type: ignore[no-untyped-call]
    worker.makeConnection(pipe)  # type: ignore[no-untyped-call]
    return worker, pipe


def event(text: str, **more: object) -> LogEvent:
    """Something to log."""
    return {
        "log_level": LogLevel.warn,
        "log_namespace": "here",
        "log_time": 1.5,
        "log_format": "{text}",
        "text": text,
        **more,
    }


def test_aLogLineIsOneMessage() -> None:
    """What is logged is a message with level, origin, time and the whole text, traceback too."""
    worker, pipe = connected()
    worker(event("one\ntwo {three} \ud800"))
    worker(event("it failed", log_failure=Failure(ValueError("because"))))
    worker({"isError": 0})
    [line, failure, bare] = pipe.messages()
    assert line == {
        "kind": "log",
        "level": "warn",
        "namespace": "here",
        "time": 1.5,
        "text": "one\ntwo {three} \ud800",
    }
    assert failure["text"].startswith("it failed\n")
    assert "ValueError: because" in failure["text"]
    assert (bare["level"], bare["namespace"]) == ("info", "-")
    assert bare["time"] > 1e9


def test_logLinesWaitForThePipe() -> None:
    """While the parent does not read, log lines wait, a thousand of them at most; then they are
    sent in their order.
    """
    worker, pipe = connected()
    worker.pauseProducing()
    for number in range(1500):
        worker(event(str(number)))
    assert pipe.messages() == []
    worker.resumeProducing()
    worker(event("next"))
    texts = [each["text"] for each in pipe.messages()]
    assert texts == [*(str(number) for number in range(500, 1500)), "next"]


@pytest_twisted.ensureDeferred
async def test_aThreadMayLog(reactor: Any) -> None:
    """What another thread logs is written by the thread of the reactor."""
    worker, pipe = connected()
    worker._reactor = reactor
    pipe.said = Deferred()
    thread = threading.Thread(target=worker, args=(event("from a thread"),))
    thread.start()
    await pipe.said.addTimeout(SECONDS, reactor)
    thread.join()
    assert [each["text"] for each in pipe.messages()] == ["from a thread"]


@pytest_twisted.ensureDeferred
async def test_aReactorThatCannotBeInstalledIsReplaced(reactor: Any) -> None:
    """Where the parent's reactor is of a kind that no module installs, the usual one
    is used.
    """
    worker, pipe = connected()
    route = RouteModel.of([f"udp://127.0.0.1:{freePort()}"], ["udp://127.0.0.1:9"])
    worker._open("txgroupsock.interfaces", [route.toJSON()])
    [ready] = [each for each in pipe.messages() if each["kind"] == "ready"]
    assert ready["reactor"] == f"{type(reactor).__module__}.{type(reactor).__qualname__}"
    await worker._relay.closeRelay()


def test_whatTheRelayCannotExpectFailsToo(reactor: Any) -> None:
    """An error that is no operator's mistake still ends the start, and asks to be reported."""
    worker, pipe = connected()
    worker._open("txgroupsock.interfaces", [{"input": {}, "outputs": []}])
    [failed] = [each for each in pipe.messages() if each["kind"] == "failed"]
    assert failed["problem"] == "a worker process failed with KeyError('address'), please report it"
    assert pipe.disconnecting


def routeTo(port: int) -> dict[str, Any]:
    """A route as it is told."""
    return RouteModel.of([f"udp://127.0.0.1:{port}"], ["udp://127.0.0.1:9"]).toJSON()


def opened(port: int) -> tuple[Worker, Pipe]:
    """A worker with a route, which has said so."""
    worker, pipe = connected()
    worker._open("txgroupsock.interfaces", [routeTo(port)])
    pipe.clear()  # type: ignore[no-untyped-call]
    return worker, pipe


def told(worker: Worker, kind: str, **fields: object) -> None:
    """Tell a worker something."""
    worker.lineReceived(json.dumps({"kind": kind, **fields}).encode())


@pytest_twisted.ensureDeferred
async def test_aChangeWaitsForTheDecision(reactor: Any) -> None:
    """What is new is open before anything is closed; once it is decided the worker says first what
    its routes are now, and in the end that what is gone is closed.
    """
    before, after = freePort(), freePort()
    worker, pipe = opened(before)
    told(worker, "change", number=1, routes=[routeTo(after)])
    await until(reactor, pipe.messages)
    assert pipe.messages() == [{"kind": "prepared", "number": 1}]
    for port in (before, after):
        with pytest.raises(OSError, match="in use"), socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", port))
    told(worker, "commit", number=2)
    told(worker, "count")
    await worker._changed
    await until(reactor, lambda: pipe.messages()[-1]["kind"] == "counts")
    _, piece, committed, changed, some, counts = pipe.messages()
    assert piece["piece"]["ends"][0]["state"] == [f"listening on 127.0.0.1 port {after}"]
    assert committed == {"kind": "committed"}
    assert some == {"kind": "some", "counters": [[0, 0, {}]] * 2}
    assert counts == {"kind": "counts", "turn": 0.0}
    assert changed["lines"][0] == f"listening on 127.0.0.1 port {after}"
    assert changed["number"] == 2
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", before))
    await worker._relay.closeRelay()


@pytest_twisted.ensureDeferred
async def test_aChangeThatIsAbandonedLeavesAllAsItWas(reactor: Any) -> None:
    """What was opened for it is closed by the time that the worker says so; whatever became of a
    change, it can be abandoned.
    """
    before, after = freePort(), freePort()
    worker, pipe = opened(before)
    told(worker, "change", number=1, routes=[routeTo(after)])
    told(worker, "abandon", number=2)
    await worker._changed
    answers = [(each["kind"], each["number"]) for each in pipe.messages()]
    assert answers == [("prepared", 1), ("kept", 2)]
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", after))
        pipe.clear()  # type: ignore[no-untyped-call]
        told(worker, "change", number=3, routes=[routeTo(after)])
        await worker._changed
        told(worker, "abandon", number=4)
    [refused, kept] = pipe.messages()
    assert refused["number"] == 3
    assert refused["problem"].startswith(f"cannot bind to 127.0.0.1:{after}: Address already in")
    assert kept == {"kind": "kept", "number": 4}
    [status] = worker._relay.status()
    assert status.input.state == (f"listening on 127.0.0.1 port {before}",)
    await worker._relay.closeRelay()


@pytest_twisted.ensureDeferred
async def test_whatAChangeCannotExpectIsRefused(reactor: Any) -> None:
    """An error that is no operator's mistake refuses the change, and asks to be reported; a
    decision on nothing is no message.
    """
    worker, pipe = opened(freePort())
    told(worker, "change", number=1, routes=[{"input": {}, "outputs": []}])
    [refused] = [each for each in pipe.messages() if each["kind"] == "refused"]
    assert refused["problem"] == (
        "a worker process failed with KeyError('address'), please report it"
    )
    told(worker, "abandon", number=2)
    with loggedLines() as lines:
        told(worker, "commit", number=3)
        told(worker, "abandon", number=4)
    assert len([line for line in lines if line.endswith("are no message: ValueError")]) == 2
    await worker._relay.closeRelay()


@pytest_twisted.ensureDeferred
async def test_aLongAnswerIsManyShortLines(reactor: Any) -> None:
    """
    Neither end takes long for any line, however many outputs a route has; and what is answered has
    the number of what was asked.
    """
    worker, pipe = connected()
    outputs = [f"udp://127.0.0.1:{port}" for port in range(10000, 10200)]
    route = RouteModel.of([f"udp://127.0.0.1:{freePort()}"], outputs)
    worker._open("txgroupsock.interfaces", [route.toJSON()])
    told(worker, "status", number=7)
    told(worker, "count")
    answers = ({"kind": "counts", "turn": 0.0}, {"kind": "status", "number": 7})
    await until(reactor, lambda: all(each in pipe.messages() for each in answers))
    assert max(map(len, pipe.text().splitlines())) < 8192
    pieces, counted = Pieces(), 0
    for message in pipe.messages():
        if message["kind"] == "piece":
            pieces.add(message["piece"])
        elif message["kind"] == "some":
            counted += len(message["counters"])
        elif message["kind"] in ("ready", "status"):
            assert pieces.taken() == worker._relay.status()
            assert message.get("number", 7) == 7
    assert counted == 201
    await worker._relay.closeRelay()


def test_whoEndsBeforeItRunsIsNotToRun() -> None:
    """A worker whose parent ends, or that could not open its routes, does not run."""

    class Ended:
        reading = writing = 0
        disconnecting = False

        def read(self) -> bytes:
            return b""

    worker, _ = connected()
    assert not worker.prepare(Ended())  # type: ignore[arg-type]
