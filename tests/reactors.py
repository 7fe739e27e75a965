"""
Runs of the tests that use a reactor on other reactors than this process has.

A process can have only one, so each of the others gets a run of pytest of its own, two at a time:
C{python -m tests.reactors FOLDER REACTOR...}. They go on beside the tests of this process, at a
lower priority, since most tests wait most of the time. Tests that need no reactor are left out, and
slow ones: they are about load and whole programs.
"""

from __future__ import annotations

import inspect
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NICENESS = 5
AT_A_TIME = 2
SECONDS = 600

# What runs whole programs, each with a reactor of its own.
PROGRAMS = [
    *("tests/lan/test_re*.py", "tests/tools", "tests/relay/top", "tests/relay/test_tap*.py"),
    *("tests/relay/test_demo.py", "tests/relay/test_workers*.py", "tests/relay/test_systemd.py"),
    "tests/relay/viewers/test_activation.py",
]


class OtherRuns:
    """The runs on some reactors, which begin at once."""

    def __init__(self, names: Sequence[str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="reactors"))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.reactors", str(self._folder), *names],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def result(self, name: str) -> tuple[int, str]:
        """Wait for the end of one; its exit status, and what it printed."""
        ended = status(self._folder, name)
        while not ended.exists():
            assert self._process.poll() is None, f"it ended with {self._process.returncode}"
            time.sleep(0.2)  # of minutes
        return int(ended.read_text()), output(self._folder, name).read_text()

    def end(self) -> None:
        """Stop what still runs."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._folder)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs no reactor; for the runs, which have this module as a plugin."""
    wanted = [item for item in items if needsReactor(item)]
    config.hook.pytest_deselected(items=[item for item in items if not needsReactor(item)])
    items[:] = wanted


def needsReactor(item: pytest.Item) -> bool:
    """Whether a test asks for the reactor, or waits for a Deferred."""
    if not isinstance(item, pytest.Function):
        return False
    function = inspect.unwrap(item.function)
    waits = inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function)
    return "reactor" in item.fixturenames or waits


OTHER_RUNS = pytest.StashKey[OtherRuns]()


def output(folder: Path, name: str) -> Path:
    """Where what a run prints goes."""
    return folder / f"{name}.log"


def status(folder: Path, name: str) -> Path:
    """What has the exit status of a run once it is over."""
    return folder / f"{name}.status"


def run(folder: Path, name: str) -> None:
    """Run the tests on one reactor."""
    # The options of the outer run are for the outer run: `-k` would empty the inner one, and
    # measuring the coverage of the same tests again would take half as long again.
    environment = {
        key: text
        for key, text in os.environ.items()
        if key != "PYTEST_ADDOPTS" and not key.startswith("COVERAGE_PROCESS")
    }
    environment["TXGROUPSOCK_REACTOR"] = name
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-m", "not slow"]
    command += ["-p", "no:cacheprovider", "-p", "tests.reactors"]
    command += [f"--ignore-glob={path}" for path in PROGRAMS]
    with output(folder, name).open("wb") as log:
        result = subprocess.run(
            [*command, "tests"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
    done = status(folder, name)
    part = done.with_suffix(".part")
    part.write_text(str(result.returncode))
    part.replace(done)


if __name__ == "__main__":
    os.nice(NICENESS)
    with ThreadPoolExecutor(AT_A_TIME) as running:
        tuple(running.map(partial(run, Path(sys.argv[1])), sys.argv[2:]))
