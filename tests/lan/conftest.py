"""Fixtures for tests on a LAN of network namespaces."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lan.lan import Lan
from tests.lan.namespaces import Namespace, whyNoNamespaces
from tests.lan.wire import Capture

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder; the hook is called with those of all."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.lan)


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Namespaces can be made, or the test is skipped with the reason; in CI that is a failure."""
    reason = whyNoNamespaces()
    if reason is None:
        return
    if "CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def lan(namespaces: None) -> Iterator[Lan]:
    """Three hosts on a switch."""
    with Lan() as lan:
        yield lan


@pytest.fixture
def capture() -> Iterator[Callable[..., Capture]]:
    """Make a L{Capture}; it is closed after the test."""
    with ExitStack() as captures:

        def begin(namespace: Namespace, interface: str = "eth0") -> Capture:
            return captures.enter_context(Capture(namespace, interface))

        yield begin
