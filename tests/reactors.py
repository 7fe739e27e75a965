"""
Runs of the tests that use a reactor on other reactors than this process has.

A process can have only one, so each of the others gets a run of pytest of its own, one after the
other: C{python -m tests.reactors FOLDER REACTOR...}. They go on beside the tests of this process,
at a lower priority, since most tests wait most of the time. Slow tests are left out: they are about
load and whole programs.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NICENESS = 5
SECONDS = 600

# What needs no reactor, or has one made up for the test; and what runs whole programs, each with a
# reactor of its own.
WITHOUT_REACTOR = [
    *("tests/test_reactors.py", "tests/test_benchmarks.py", "tests/test_destinations.py"),
    *("tests/primitives", "tests/dist", "tests/testing"),
    *("tests/lan/test_doctor*.py", "tests/lan/test_re*.py"),
    *("tests/lan/test_tools.py", "tests/lan/test_viewers.py"),
    *("tests/relay/teststream/test_[!p]*.py", "tests/tools"),
    *("tests/relay/test_tap*.py", "tests/relay/test_demo.py", "tests/relay/test_workers*.py"),
    *("tests/relay/test_config*.py", "tests/relay/test_schema.py", "tests/relay/test_positions.py"),
    *("tests/relay/test_echo.py", "tests/relay/test_split.py", "tests/relay/test_model.py"),
    *("tests/relay/test_completion.py", "tests/relay/test_container.py"),
    *("tests/relay/test_filelimit.py", "tests/relay/test_logs.py"),
    *("tests/relay/test_systemd.py", "tests/relay/test_units.py"),
    *("tests/relay/doctor", "tests/relay/health", "tests/relay/redundancy", "tests/relay/top"),
    *("tests/relay/test_reload_load.py", "tests/relay/viewers/test_activation.py"),
    *("tests/relay/web/test_metrics.py", "tests/relay/web/test_grafana.py"),
    *("tests/relay/web/test_page*.py", "tests/relay/web/test_workers.py"),
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
    command += ["-p", "no:cacheprovider", *(f"--ignore-glob={path}" for path in WITHOUT_REACTOR)]
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
    for each in sys.argv[2:]:
        run(Path(sys.argv[1]), each)
