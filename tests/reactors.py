"""
Runs of the tests that need a reactor on other reactors than this process has: a process can have
only one, so each of the others gets a run of pytest of its own.  Tests that need no reactor are
left out, and slow ones: they are about load and whole programs.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SECONDS = 900

# What runs whole programs, each with a reactor of its own; and merges, whose tests want two legs to
# be read in the order in which something came, which select(2) does not tell.
LEFT_OUT = [
    *("tests/relay/redundancy", "tests/relay/engine/test_redundantshare.py"),
    *("tests/lan/test_re*.py", "tests/tools", "tests/tools/top"),
    *(f"tests/relay/app/test_{name}.py" for name in ("demo", "systemd", "tap*")),
    *(f"tests/relay/workers/test_{name}.py" for name in ("change*", "re*", "twistd")),
    "tests/relay/viewers/test_activation.py",
]
# The options of the outer run are for the outer run: `-k` would empty the inner one, and measuring
# the coverage of the same tests again would take half as long again.
NOT_PASSED_ON = ("PYTEST_", "COVERAGE_PROCESS")


def run(name: str) -> tuple[int, str]:
    """Run them on one reactor; the exit status of pytest, and what it printed."""
    environment = {
        key: text for key, text in os.environ.items() if not key.startswith(NOT_PASSED_ON)
    }
    environment["TXGROUPSOCK_REACTOR"] = name
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-m", "not slow"]
    command += ["-p", "no:cacheprovider", "-p", "tests.reactors"]
    command += [f"--ignore-glob={path}" for path in LEFT_OUT]
    ended = subprocess.run(
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
    return ended.returncode, ended.stdout


# As a plugin of these runs


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs no reactor."""
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
