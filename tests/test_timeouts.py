"""A test that waits for what never comes fails, and those after it are run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = """
import time

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater


@pytest.mark.timeout(0.2)
@pytest_twisted.ensureDeferred
async def test_waitsForEver(reactor):
    await Deferred()


@pytest.mark.timeout(0.2)
def test_sleeps(reactor):
    time.sleep(30)


@pytest_twisted.ensureDeferred
async def test_waitsForAMoment(reactor):
    await deferLater(reactor, 0.3)
"""


def test_aTimeoutEndsATest(tmp_path: Path) -> None:
    """Whether it waits for the reactor or not, and that goes on for the next test."""
    path = tmp_path / "test_waiting.py"
    path.write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest"]
    run = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), str(path)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    assert re.search(r"^FAILED .*::test_waitsForEver - Failed: Timeout", run.stdout, re.MULTILINE)
    assert re.search(r"^FAILED .*::test_sleeps - Failed: Timeout", run.stdout, re.MULTILINE)
    assert "2 failed, 1 passed" in run.stdout
