"""Targets: texts and documents."""

from __future__ import annotations

import json
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, ClassVar

from tests.fuzz.pieces import Pieces
from txgroupsock.relay.admin.body import valueIn
from txgroupsock.relay.config.file import ConfigurationError, Problem, parseConfiguration
from txgroupsock.relay.config.positions import linesOf
from txgroupsock.relay.config.toml import loads
from txgroupsock.relay.doctor.kernel import (
    joined4,
    joined6,
    listedCounters,
    pairedCounters,
    udpSockets,
)
from txgroupsock.relay.http.endpoint import Endpoint, endpointProblem
from txgroupsock.relay.models.url import StreamURL, URLError
from txgroupsock.relay.viewers.allowlist import AllowError, AllowRule
from txgroupsock.relay.viewers.path import NoGroup, streamOf
from txgroupsock.relay.workers.protocol import Talk, packed, unpacked
from txgroupsock.tools.top.snapshot import Snapshot
from txgroupsock.tools.top.text import visible


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def url(data: bytes) -> None:
    """What is no URL of a stream is a URLError; what is, is within its bounds."""
    with suppress(URLError):
        found = StreamURL.parse(_text(data))
        assert 1 <= found.port <= 65535
        assert found.ttl is None or 1 <= found.ttl <= 255
        assert found.dscp is None or 0 <= found.dscp <= 63


def path(data: bytes) -> None:
    """What is no group is a NoGroup, or no such path at all; what is, says no interface."""
    with suppress(NoGroup):
        found: Any = streamOf(data.split(b"/"))
        if found is not None:
            assert found.input.isMulticast
            assert not found.input.interface


def allowRule(data: bytes) -> None:
    """What is no rule is an AllowError; what is, can be written and read again."""
    with suppress(AllowError):
        rule = AllowRule.parse(_text(data))
        assert AllowRule.parse(str(rule)) == rule


def configuration(data: bytes) -> None:
    """What is wrong is a ConfigurationError whose every problem is in words, in a line there is."""
    text = _text(data)
    problems: tuple[Problem, ...] = ()
    try:
        parseConfiguration(text, "fuzz.toml")
    except ConfigurationError as error:
        problems = error.problems
    lines = 1 + text.count("\n")
    assert all(each.text and (each.line or 1) <= lines for each in problems)


def endpoint(data: bytes) -> None:
    """What is no endpoint has one line that says so; what is, can be written and read again."""
    text = _text(data)
    problem = endpointProblem(text)
    assert problem is None or len(problem.splitlines()) == 1
    with suppress(ValueError):
        found = Endpoint.parse(text)
        again = Endpoint.parse(str(found))
        assert (again.kind, again.innermost.given) == (found.kind, found.innermost.given)


def body(data: bytes) -> None:
    """What is no JSON is a ValueError in one line; what is, is read as it always is."""
    with suppress(RecursionError):
        try:
            found = valueIn(data)
        except ValueError as error:
            said = str(error)
        else:
            said = ""
            assert repr(found) == repr(json.loads(data))
        assert len(said.splitlines()) <= 1


def positions(data: bytes) -> None:
    """Where a parser finds nothing wrong, every key of the file has a line."""
    text = _text(data)
    try:
        document = loads(text)
    except (ValueError, RecursionError):
        return
    found = linesOf(text)
    assert all((key,) in found for key in document)
    assert all(1 <= line <= 1 + text.count("\n") for line in found.values())


def kernelTables(data: bytes) -> None:
    """What is no line of a table is passed over."""
    text = _text(data)
    lines = 1 + len(text.splitlines())
    for read in (udpSockets, joined4, joined6):
        assert len(list(read(text))) <= lines
    pairedCounters(text)
    listedCounters(text)


def status(data: bytes) -> None:
    """What is no status is a ValueError; what is, shows only what can be seen."""
    with suppress(ValueError):
        found = Snapshot.parse(data)
        assert all(visible(route.name) == route.name for route in found.routes)


class _Hearing(Talk):
    """An end that has one message."""

    handlers: ClassVar[dict[str, Any]] = {
        "counts": lambda self, counters: self.heard.append([unpacked(each) for each in counters])
    }
    transport: Any = SimpleNamespace(disconnecting=False)

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.junk: list[bytes] = []

    def junkReceived(self, line: bytes, error: Exception) -> None:
        self.junk.append(line)


def messages(data: bytes) -> None:
    """Each line is a message or junk, however it was cut."""
    whole, cut = _Hearing(), _Hearing()
    whole.dataReceived(data)
    pieces = Pieces(data)
    while pieces:
        cut.dataReceived(pieces.take(1 + len(cut.junk) * 7 % 11))
    assert (whole.heard, whole.junk) == (cut.heard, cut.junk)
    assert len(whole.heard) + len(whole.junk) == data.count(b"\n")
    for counters in (one for each in whole.heard for one in each):
        assert unpacked(packed(counters)) == counters
