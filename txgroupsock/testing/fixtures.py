"""
Fixtures for pytest: C{pytest_plugins = ["txgroupsock.testing.fixtures"]} in a C{conftest.py}.

Where namespaces cannot be made, a test that uses C{lan} is skipped with the reason; where the
environment variable C{CI} is set it fails instead, so that no such tests are lost there unseen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from txgroupsock.testing import MemoryNetwork
from txgroupsock.testing.lan import Lan
from txgroupsock.testing.namespaces import Namespace, whyNoNamespaces
from txgroupsock.testing.wire import Capture


@pytest.fixture
def memoryNetwork() -> MemoryNetwork:
    """A network in memory, without hosts."""
    return MemoryNetwork()


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
    """Three hosts, C{a}, C{b} and C{c}, on a switch."""
    with Lan() as lan:
        yield lan


@pytest.fixture
def capture() -> Iterator[Callable[..., Capture]]:
    """Make a L{Capture}; it is closed after the test."""
    with ExitStack() as captures:

        def begin(namespace: Namespace, interface: str = "eth0") -> Capture:
            return captures.enter_context(Capture(namespace, interface))

        yield begin
