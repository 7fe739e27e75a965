"""What became of tests on two reactors, where that differs, and whether that is accepted."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PASSED = "passed"
FAILED = "failed"
SKIPPED = "skipped"
MISSING = "missing"


@attrs.frozen
class Outcome:
    """
    What became of one test.

    @ivar kind: C{PASSED}, C{FAILED}, C{SKIPPED} or C{MISSING}.
    @ivar details: a traceback, or the reason why it was skipped.
    """

    kind: str
    details: str = ""


Outcomes = Mapping[str, Outcome]


@attrs.frozen
class Difference:
    """One test that ends on our reactor in another way than on Twisted's."""

    test: str
    stock: Outcome
    ours: Outcome

    def __str__(self) -> str:
        worse = self.ours if self.ours.kind == FAILED else self.stock
        indented = "".join(f"      {line}\n" for line in worse.details.splitlines())
        return f"  {self.test}: {self.stock.kind} -> {self.ours.kind}\n{indented}".rstrip()


@attrs.frozen
class Accepted:
    """
    Tests whose outcome differs for a reason.

    @ivar ours: what becomes of them on our reactor.
    @ivar reactors: those on which they differ.
    """

    tests: tuple[str, ...]
    ours: str
    reason: str
    reactors: tuple[str, ...]


def readOutcomes(lines: Iterable[str]) -> dict[str, Outcome]:
    """What L{tests.twistedsuite.child} wrote."""
    return {test: Outcome(kind, details) for test, kind, details in map(json.loads, lines)}


def compare(stock: Outcomes, ours: Outcomes) -> dict[str, Difference]:
    """The tests that end differently, by their ids, in order."""
    none = Outcome(MISSING)
    found = (
        Difference(test, stock.get(test, none), ours.get(test, none))
        for test in sorted({*stock, *ours})
    )
    return {each.test: each for each in found if each.stock.kind != each.ours.kind}


def readAccepted(path: Path, reactors: Iterable[str]) -> list[Accepted]:
    """
    The list of accepted differences.

    @raise ValueError: it says something that means nothing.
    """
    known = set(reactors)
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["difference"]
    return [_accepted(entry, known) for entry in entries]


def _accepted(entry: dict[str, Any], known: set[str]) -> Accepted:
    unknown = entry.keys() - {"tests", "ours", "reason", "reactors"}
    if unknown or not entry.get("tests") or not entry.get("reason"):
        raise ValueError(f"{entry}: it needs tests, ours and a reason, and may have reactors")
    wanted = tuple(entry.get("reactors", known))
    if entry["ours"] not in {PASSED, FAILED, SKIPPED, MISSING} or not known.issuperset(wanted):
        raise ValueError(f"{entry}: an unknown outcome, or reactor")
    return Accepted(tuple(entry["tests"]), entry["ours"], entry["reason"], wanted)


def acceptedAmong(
    accepted: Iterable[Accepted], names: Sequence[str], reactor: str, case: str
) -> dict[str, Accepted]:
    """
    What is said of the tests with certain names, by their ids.

    @param names: of packages, modules, classes and methods.
    @param case: how C{ReactorBuilder} calls the reactor in the names of its classes, which the
        list does by C{{reactor}}.
    """
    return {
        test: entry
        for entry in accepted
        if reactor in entry.reactors
        for test in (each.replace("{reactor}", case) for each in entry.tests)
        if any(f"{test}.".startswith(f"{name}.") for name in names)
    }


def unexpected(
    differences: Mapping[str, Difference], accepted: Mapping[str, Accepted]
) -> tuple[list[str], list[str]]:
    """
    The ids of the tests that differ, and nobody has accepted that, or not in this way; and of
    those that are said to differ, and do not.
    """
    new = [
        test
        for test, difference in differences.items()
        if test not in accepted or accepted[test].ours != difference.ours.kind
    ]
    return new, sorted(accepted.keys() - differences.keys())
