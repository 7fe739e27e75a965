from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.programs import NAMES

ROOT = Path(__file__).parent.parent.parent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="it needs network namespaces"),
]


def run(name: str, *options: str) -> Any:
    """What was seen of a program."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.programs", *options, name],
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=110,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", NAMES)
def test_doesTheSameOnEither(name: str) -> None:
    """A program that imports the reactor does the same on ours as on Twisted's."""
    if importlib.util.find_spec(NAMES[name]) is None:
        pytest.skip(f"no {NAMES[name]}: pip install -e '.[programs]'")
    if name == "conch" and shutil.which("ssh") is None:
        pytest.skip("no ssh: install openssh-client")
    onTwisteds = run(name)
    assert onTwisteds
    assert run(name, "--ours") == onTwisteds
