"""Marks the tests on a LAN of network namespaces; the fixtures are those of txgroupsock.testing."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder; the hook is called with those of all."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.lan)
