"""What a relay and its worker processes say to each other."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport

from txgroupsock.relay.counters import Counters
from txgroupsock.relay.workers.protocol import BlockingPipes, Talk, packed, unpacked

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


class Heard(Talk):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, str]] = []
        self.junk: list[bytes] = []

    def _one(self, number: int, text: str) -> None:
        self.messages.append((int(number), text + ""))

    handlers = {"one": _one}

    def junkReceived(self, line: bytes, error: Exception) -> None:
        self.junk.append(line)


def heard() -> tuple[Heard, StringTransport]:
    """An end that is connected."""
    talk, transport = Heard(), StringTransport()
    talk.makeConnection(transport)  # type: ignore[no-untyped-call]
    return talk, transport


@given(st.integers(), st.text())
def test_messagesArriveAsTheyWereSent(number: int, text: str) -> None:
    """A message is one line, and arrives with all its fields, however it is cut up."""
    talk, transport = heard()
    talk.say("one", number=number, text=text)
    data = transport.value()
    assert data.count(b"\n") == 1
    for byte in data:
        talk.dataReceived(bytes([byte]))
    assert talk.messages == [(number, text)]


@given(st.binary() | JSON.map(lambda value: str(value).encode()))
def test_junkIsTold(data: bytes) -> None:
    """Whatever comes that is no message is told line by line, and what follows is understood."""
    talk, _ = heard()
    talk.dataReceived(data + b'\n{"kind": "one", "number": 1, "text": ""}\n')
    assert talk.messages == [(1, "")]
    assert talk.junk == data.split(b"\n")


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind": "other"}',
        b'{"kind": ["one"]}',
        b'{"kind": "one"}',
        b'{"kind": "one", "number": "x", "text": ""}',
        b'{"kind": "one", "number": 1, "text": 2}',
        b'{"kind": "one", "number": 1, "text": "", "more": 1}',
        b"[" * 100_000,
    ],
)
def test_messagesOfTheWrongShapeAreJunk(line: bytes) -> None:
    """A message that is unknown, or has too few fields, too many or others, is junk."""
    talk, _ = heard()
    talk.dataReceived(line + b"\n")
    assert (talk.messages, talk.junk) == ([], [line])


def test_linesAreBounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends a line without an end is not listened to any more."""
    monkeypatch.setattr(Heard, "MAX_LENGTH", 100)
    talk, transport = heard()
    talk.dataReceived(b"x" * 101)
    assert transport.disconnecting


@given(st.builds(Counters, st.integers(0), st.integers(0), st.builds(Counter)))
def test_countersArePackedBriefly(counters: Counters) -> None:
    """Counters come out of a message as they went in."""
    counters.dropped["ENOBUFS"] = 3
    assert unpacked(packed(counters)) == counters


def test_zeroesAreNotSent() -> None:
    """Reasons for which nothing was dropped are left out."""
    assert packed(Counters(1, 2, Counter(kernel=0))) == [1, 2, {}]


@pytest.mark.parametrize("value", [[1, 2], [1, 2, 3], 5, ["a", 1, {}], [1, 2, {"a": "b"}]])
def test_otherThingsAreNoCounters(value: Any) -> None:
    """What is something else is refused as junk would be."""
    with pytest.raises((ValueError, TypeError)):
        unpacked(value)


def test_aPipeThatNobodyReadsIsGivenUp() -> None:
    """Without a reactor, writing waits for a reader only so long."""
    reading, writing = os.pipe()
    try:
        with pytest.raises(TimeoutError, match="nobody reads"):
            BlockingPipes(reading, writing, 0.05).write(bytes(1_000_000))
    finally:
        os.close(reading)
        os.close(writing)
