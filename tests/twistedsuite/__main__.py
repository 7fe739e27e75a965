"""
Run Twisted's own tests, those of the installed Twisted, with GroupsockReactor as the reactor, and
again on the reactor as it is, and tell where that differs.

A difference has to be in accepted.toml, and what is there has to differ; otherwise the exit status
is 1. What is not so is run again, twice at most, since many of these tests are about time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import twisted
from tests.twistedsuite.differences import (
    FAILED,
    PASSED,
    SKIPPED,
    Accepted,
    Outcome,
    acceptedAmong,
    compare,
    readAccepted,
    readOutcomes,
    unexpected,
)
from tests.twistedsuite.names import BUILT, REACTORS, SETS

ROOT = Path(__file__).parent.parent.parent
ACCEPTED = Path(__file__).with_name("accepted.toml")
SECONDS = 1800
AGAIN = 2

Both = tuple[dict[str, Outcome], dict[str, Outcome]]


def main() -> int:
    """Compare on each of the reactors; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.twistedsuite",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--reactor",
        action="append",
        choices=REACTORS,
        help="which reactors, one option each; left out, all of them",
    )
    parser.add_argument(
        "names",
        nargs="*",
        default=["network"],
        help="packages, modules, classes or methods of Twisted's tests, or one of these sets: "
        + ", ".join(SETS)
        + "; left out, %(default)s",
    )
    options = parser.parse_args()
    names = [part for name in options.names for part in SETS.get(name, [name])]
    accepted = readAccepted(ACCEPTED, REACTORS)
    print(f"Twisted {twisted.__version__}, Python {sys.version.split()[0]}")
    results = [examine(name, names, accepted) for name in options.reactor or REACTORS]
    return 0 if all(results) else 1


def examine(reactor: str, names: Sequence[str], accepted: Iterable[Accepted]) -> bool:
    """Compare on one reactor, and print the result; whether everything is as it is said to be."""
    began = time.monotonic()
    listed = acceptedAmong(accepted, names, reactor, BUILT[reactor].rpartition(".")[2] + "Tests")
    stock, ours = runBoth(reactor, names)
    for _ in range(AGAIN):
        new, gone = unexpected(compare(stock, ours), listed)
        if not new and not gone:
            break
        stockAgain, oursAgain = runBoth(reactor, names, [*new, *gone])
        stock |= stockAgain
        ours |= oursAgain
    differences = compare(stock, ours)
    new, gone = unexpected(differences, listed)
    print(f"{reactor}: {time.monotonic() - began:.0f} s")
    print(f"  Twisted's reactor  {summary(stock)}")
    print(f"  GroupsockReactor   {summary(ours)}; {len(differences)} differ")
    for test in new:
        print(f"not accepted: {differences[test]}")
    for test in gone:
        print(f"accepted, but ends alike, or is not there: {test} ({listed[test].reason})")
    return not new and not gone


def summary(outcomes: dict[str, Outcome]) -> str:
    """How many tests ended in which way."""
    counted = Counter(outcome.kind for outcome in outcomes.values())
    kinds = ", ".join(f"{counted[kind]:,} {kind}" for kind in (PASSED, SKIPPED, FAILED))
    return f"{len(outcomes):,} tests: {kinds}"


def runBoth(reactor: str, names: Sequence[str], only: Sequence[str] | None = None) -> Both:
    """What becomes of tests on the reactor as it is, and on ours around it, side by side."""
    with tempfile.TemporaryDirectory(prefix="twistedsuite") as folder:
        runs = [
            Run(Path(folder, whose), reactor, names, only, ours=whose == "ours")
            for whose in ("stock", "ours")
        ]
        try:
            stock, ours = (run.outcomes() for run in runs)
        finally:
            for run in runs:
                run.end()
    return stock, ours


class Run:
    """One process that runs tests, which begins at once."""

    def __init__(
        self,
        folder: Path,
        reactor: str,
        names: Sequence[str],
        only: Sequence[str] | None,
        *,
        ours: bool,
    ) -> None:
        folder.mkdir()
        self._folder = folder
        command = [sys.executable, "-m", "tests.twistedsuite.child", "--reactor", reactor]
        command += ["--outcomes", "outcomes"]
        if ours:
            command.append("--ours")
        if only is not None:
            Path(folder, "only").write_text("\n".join(only))
            command += ["--only", "only"]
        with Path(folder, "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *names],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def outcomes(self) -> dict[str, Outcome]:
        """Wait for the end; what became of the tests."""
        code = self._process.wait(SECONDS)
        if code != 0:
            log = Path(self._folder, "log").read_text(errors="replace")
            tail = "\n".join(log.splitlines()[-50:])
            raise SystemExit(f"{self._process.args!r} ended with {code}:\n{tail}")
        with Path(self._folder, "outcomes").open(encoding="utf-8") as lines:
            return readOutcomes(lines)

    def end(self) -> None:
        """Stop it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


if __name__ == "__main__":
    sys.exit(main())
