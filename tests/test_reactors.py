"""What works on the default reactor works on all others.

A process can have only one reactor, so each of the others gets a run of pytest of its own over the
tests that use one. Slow tests are left out: they are about load and whole programs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What needs no reactor, and what runs whole programs, each with a reactor of its own.
WITHOUT_REACTOR = [
    *("tests/test_reactors.py", "tests/test_benchmarks.py", "tests/primitives", "tests/dist"),
    *("tests/lan/test_re*.py", "tests/lan/test_viewers.py"),
    *("tests/relay/test_tap*.py", "tests/relay/test_demo.py", "tests/relay/test_workers*.py"),
    *("tests/relay/test_config*.py", "tests/relay/test_schema.py", "tests/relay/test_positions.py"),
    "tests/relay/web/test_page*.py",
    *("tests/relay/test_echo.py", "tests/relay/test_split.py", "tests/relay/test_model.py"),
    *("tests/tools/test_[!p]*.py", "tests/tools/test_programs.py", "tests/lan/test_tools.py"),
    *("tests/relay/top", "tests/relay/web/test_metrics.py", "tests/relay/web/test_grafana.py"),
]
SECONDS = 600


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 30)
@pytest.mark.parametrize("name", ["poll", "select", "asyncio", "uvloop"])
def test_theSuitePassesOn(name: str) -> None:
    """Every test that uses a reactor passes on this one."""
    if name == "uvloop":
        pytest.importorskip("uvloop")
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
    run = subprocess.run(
        [*command, "tests"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    tail = "\n".join(run.stdout.splitlines()[-100:])
    assert run.returncode == 0, f"pytest on {name} ended with {run.returncode}:\n{tail}"
