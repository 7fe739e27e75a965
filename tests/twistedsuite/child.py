"""
One run of Twisted's tests on one reactor, in a network of its own, with the outcomes in a file.

A process can have only one reactor, so L{tests.twistedsuite.__main__} starts this twice.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import hypothesis

from tests.twistedsuite.differences import FAILED, PASSED, SKIPPED
from tests.twistedsuite.names import BUILT, HANGING, REACTORS
from txgroupsock.testing.namespaces import enterPrivateNetwork

Wrap = Callable[[Any], Any]


def main() -> None:
    """Run the tests that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reactor", choices=REACTORS, required=True)
    parser.add_argument("--ours", action="store_true", help="GroupsockReactor around it")
    parser.add_argument("--outcomes", type=Path, required=True, help="the file to write")
    parser.add_argument("--only", type=Path, help="a file with the ids of the tests to run")
    parser.add_argument("names", nargs="+", help="packages, modules, classes, methods")
    options = parser.parse_args()

    # Threads would stay outside, so before anything else.
    refusal = enterPrivateNetwork()
    if refusal is not None:
        parser.error(refusal)
    install(options.reactor, ours=options.ours)
    # The same examples on both, and no complaint that this machine is slow.
    hypothesis.settings.register_profile(
        "twisted",
        deadline=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("twisted")
    only = set(options.only.read_text().split()) if options.only else None
    hanging = HANGING.get(options.reactor, ())

    def wanted(test: str) -> bool:
        return not test.startswith(hanging) and (only is None or test in only)

    with options.outcomes.open("w", encoding="utf-8") as file:
        run(options.names, wanted, file)


def install(name: str, *, ours: bool) -> None:
    """Make a reactor the one of this process, and of the tests that build one for themselves."""
    from twisted.internet.main import installReactor

    if name == "uvloop":
        # Where Twisted's tests have new loops from.
        asyncio.new_event_loop = importlib.import_module("uvloop").new_event_loop
    if name in {"asyncio", "uvloop"}:
        asyncio.set_event_loop(asyncio.new_event_loop())
        from twisted.internet.asyncioreactor import AsyncioSelectorReactor

        reactor: Any = AsyncioSelectorReactor(asyncio.get_event_loop())
    else:
        module, _, attribute = BUILT[name].rpartition(".")
        reactor = getattr(importlib.import_module(module), attribute)()
    wrap = ourWrapper() if ours else None
    installReactor(reactor if wrap is None else wrap(reactor))
    replaceBuilt(BUILT[name], wrap)


def ourWrapper() -> Wrap:
    """
    Makes ours of a reactor, of a class that has the name of the wrapped one's.

    By that name Twisted's tests know what the kernel cannot do for a reactor, and skip themselves.
    """
    from txgroupsock import GroupsockReactor

    def wrap(reactor: Any) -> Any:
        wrapped = type(reactor)
        members = {"__module__": wrapped.__module__, "__doc__": GroupsockReactor.__doc__}
        return type(wrapped.__name__, (GroupsockReactor,), members)(reactor)

    return wrap


def replaceBuilt(name: str, wrap: Wrap | None) -> None:
    """
    Have C{ReactorBuilder} make one kind of reactor only, and ours if there is a C{wrap}.

    The names of its classes, and what it skips by name, stay as they are.
    """
    from twisted.internet.test import reactormixins

    builder: Any = reactormixins.ReactorBuilder
    builder._reactors = [name]
    if wrap is None:
        return
    module: Any = reactormixins
    find = module.namedAny

    def findWrapped(wanted: str) -> Callable[[object], Any]:
        made = find(wanted)

        def make(case: object) -> Any:
            # A class is called as it is, and a function as a method of the test case.
            return wrap(made() if isinstance(made, type) else made(case))

        return make

    module.namedAny = findWrapped


def run(names: list[str], wanted: Callable[[str], bool], file: TextIO) -> None:
    """Run tests whose ids are wanted; write id, outcome and details of each as a line of JSON."""
    from twisted.trial.reporter import VerboseTextReporter
    from twisted.trial.runner import ErrorHolder, TestLoader, TrialRunner
    from twisted.trial.unittest import TestSuite

    class Recorder(VerboseTextReporter):
        """Notes what becomes of each test; the last and worst that is said of one counts."""

        _noted: tuple[str, str] = (PASSED, "")

        def startTest(self, test: Any) -> None:
            super().startTest(test)
            self._noted = (PASSED, "")

        def addError(self, test: Any, error: Any) -> None:
            super().addError(test, error)
            self._note(FAILED, error)

        def addFailure(self, test: Any, failure: Any) -> None:
            super().addFailure(test, failure)
            self._note(FAILED, failure)

        def addUnexpectedSuccess(self, test: Any, todo: Any = None) -> None:
            super().addUnexpectedSuccess(test, todo)
            self._note(FAILED, "it is marked as todo, and passes")

        def addSkip(self, test: Any, reason: Any) -> None:
            super().addSkip(test, reason)
            if self._noted[0] == PASSED:
                self._note(SKIPPED, reason)

        def stopTest(self, test: Any) -> None:
            super().stopTest(test)
            print(json.dumps([test.id(), *self._noted]), file=file, flush=True)

        def _note(self, outcome: str, reason: Any) -> None:
            if isinstance(reason, tuple):
                reason = reason[1]
            text = reason.getTraceback() if hasattr(reason, "getTraceback") else str(reason)
            self._noted = (outcome, text)

    loaded: Any = TestLoader().loadByNames(names, recurse=True)
    every = list(leaves(loaded))
    for test in every:
        if isinstance(test, ErrorHolder) and test.id() in names:
            raise SystemExit(f"{test.id()} cannot be loaded:\n{test.error[1]}")
    tests = [test for test in every if wanted(test.id())]
    TrialRunner(Recorder, workingDirectory="trial").run(TestSuite(tests))


def leaves(suite: Any) -> Iterator[Any]:
    """The tests of a suite and of the suites in it."""
    try:
        parts = iter(suite)
    except TypeError:
        yield suite
    else:
        for part in parts:
            yield from leaves(part)


if __name__ == "__main__":
    main()
