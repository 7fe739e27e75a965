"""What works on the default reactor works on all others."""

from __future__ import annotations

import importlib.util

import pytest

from tests.reactors import SECONDS, run

NAMES = [
    *("poll", "select", "asyncio"),
    *["uvloop"] * (importlib.util.find_spec("uvloop") is not None),  # an extra
]


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("name", NAMES)
def test_theSuitePassesOn(name: str) -> None:
    """Every test that uses a reactor passes on this one."""
    code, text = run(name)
    tail = "\n".join(text.splitlines()[-100:])
    assert code == 0, f"pytest on {name} ended with {code}:\n{tail}"
