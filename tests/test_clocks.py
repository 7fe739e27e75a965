"""Nothing in the package measures with a clock that can be set."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import txgroupsock

ROOT = Path(txgroupsock.__file__).parent
MODULES = sorted(each for each in ROOT.rglob("*.py"))

STEADY = {"steady", "exact", "makeSteady"}
"""Calls that give a reactor a steady clock, or make sure that it has one."""

MEASURING = ("reactor.seconds", "callLater", "deferLater", "addTimeout", ".clock = ")

ELSEWHERE = {
    "ports/handover.py": {"self.reactor"},  # as below
    "ports/receiver.py": {"self.reactor"},  # its ports assign it, see ports/udp.py
    "ports/clock.py": {"reactor", "self._reactor"},  # here it is made
    "relay/http/bounded.py": {"self.site.reactor"},  # its site has been made with one
    "relay/admin/events.py": {"request.channel.site.reactor"},  # as above
    "testing/host.py": {"self.network.reactor"},  # a network in memory has a test's clock
    "testing/network.py": {"self.reactor"},  # as above
}
"""Reactors that are known to be steady, by module."""


def named(node: ast.AST) -> str:
    """A name, also one with dots; nothing if it is another expression."""
    if isinstance(node, ast.Attribute):
        return f"{named(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def measuredWith(nodes: list[ast.AST]) -> Iterator[ast.expr]:
    """What a module measures with: whose time it asks, and who is to call something later."""
    for node in nodes:
        if isinstance(node, ast.Attribute) and node.attr in ("seconds", "callLater"):
            yield node.value
        elif isinstance(node, ast.Call) and named(node.func) == "deferLater":
            yield node.args[0]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "addTimeout":
            yield node.args[1]
        elif isinstance(node, ast.Assign) and any(
            isinstance(each, ast.Attribute) and each.attr == "clock" for each in node.targets
        ):
            yield node.value


def steadyNames(nodes: list[ast.AST]) -> set[str]:
    """What a module has made steady: names and attributes."""
    calls = [each for each in nodes if isinstance(each, ast.Call)]
    found = {named(each.args[0]) for each in calls if named(each.func) == "makeSteady"}
    for node in nodes:
        if isinstance(node, ast.Assign):
            value = node.value.orelse if isinstance(node.value, ast.IfExp) else node.value
            if named(value.func if isinstance(value, ast.Call) else value) in STEADY | found:
                found |= {named(each) for each in node.targets}
    return found


def unsteady(source: str, known: set[str]) -> list[str]:
    """Reactors that a module measures with though nobody has made them steady."""
    if not any(each in source for each in MEASURING):
        return []
    nodes = list(ast.walk(ast.parse(source)))
    fine = steadyNames(nodes) | known
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in measuredWith(nodes)
        if named(node).rpartition(".")[2] in ("reactor", "_reactor") and named(node) not in fine
    ]


def test_everyReactorMeasuredWithIsSteady() -> None:
    """Who keeps a reactor to measure with keeps C{steady(reactor)} (txgroupsock/ports/clock.py)."""
    found = {}
    for path in MODULES:
        name = str(path.relative_to(ROOT))
        found[name] = unsteady(path.read_text(), ELSEWHERE.get(name, set()))
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "self._reactor.callLater(1, print)",
        "now = reactor.seconds()",
        "looping.clock = reactor",
        "await deferLater(self._reactor, 1)",
        "waiting.addTimeout(1, self._reactor)",
    ],
)
def test_oneThatIsNotIsFound(line: str) -> None:
    """Each way to measure with a reactor as it was given is found, and right once it is steady."""
    before = "async def f(self, reactor):\n    self._reactor = reactor{}\n    "
    assert unsteady(before.format("") + line, set()) != []
    assert unsteady(before.format(" = steady(reactor)") + line, set()) == []


def test_whoTakesTheProcessesReactorMakesItSteady() -> None:
    """A process of ours has one clock only, that of Twisted's own timers included."""
    takers = [
        each for each in MODULES if "from twisted.internet import reactor" in each.read_text()
    ]
    assert len(takers) == 4
    assert all("makeSteady(" in each.read_text() for each in takers)
