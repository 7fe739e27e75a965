"""What the doctor asks about host names, and how long it waits for an answer."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from txgroupsock.relay.doctor import Host, Patient, examine
from txgroupsock.relay.doctor.names import Names
from txgroupsock.relay.models.udp import OutputModel


def outputs(*hosts: str) -> list[OutputModel]:
    """One to each host."""
    return [OutputModel.parse(f"udp://{host}:9") for host in hosts]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Which names were asked for; C{silent.test} has no answer before the test is over."""
    over = threading.Event()
    asked: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any) -> Any:
        asked.append(host)
        if host == "silent.test":
            over.wait(30)
        return real("127.0.0.1", *arguments)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    over.set()


def test_aNameWithoutAnAnswerIsNotWaitedFor(silent: list[str]) -> None:
    """It is told as one that is not found; the others have theirs, and each is asked for once."""
    quiet, good, again, plain = outputs("silent.test", "good.test", "good.test", "10.0.0.1")
    names = Names([quiet, good, again, plain], seconds=0.2)
    assert [str(names.addressOf(each)) for each in (good, again, plain)] == [
        "127.0.0.1",
        "127.0.0.1",
        "10.0.0.1",
    ]
    with pytest.raises(OSError, match=r"no answer within 0\.2 s") as caught:
        names.addressOf(quiet)
    assert caught.value.errno == errno.ETIMEDOUT
    assert sorted(silent) == ["good.test", "silent.test"]


def test_whoIsNotWantedAnyMoreDoesNotWait(silent: list[str]) -> None:
    """An examination that is to end has no name that it waits for."""
    isStopped = threading.Event()
    (quiet,) = outputs("silent.test")
    names = Names([quiet], isStopped.is_set, seconds=1000)
    isStopped.set()
    with pytest.raises(OSError, match="no answer"):
        names.addressOf(quiet)


def test_anImpossibleNameIsNotFound() -> None:
    """A label that is too long is no name for any server."""
    (impossible,) = outputs("x" * 64 + ".test")
    with pytest.raises(OSError, match="this is no host name"):
        Names([impossible]).addressOf(impossible)


def test_itIsSaidOfTheOutput() -> None:
    """With what to do about it."""
    (unknown,) = outputs("no-such-host.invalid")
    [found] = examine([Patient(None, (unknown,))], Host(0.1))
    assert [(each.check, each.severity) for each in found.findings] == [("name", "fault")]
