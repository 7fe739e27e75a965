"""The program that checks what is made for Prometheus."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def promtool(*arguments: object, text: str = "") -> str:
    """
    Run Prometheus' own checker, and return what it prints.

    Skips the test where it is not installed; fails it if promtool finds anything wrong.
    """
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    done = subprocess.run(
        [program, *map(str, arguments)],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
