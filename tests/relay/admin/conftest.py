"""One browser for all tests of pages, as it takes a second to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.relay.admin.browser import Browser, running, whyNoBrowser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A browser; tests ask for `browser`."""
    reason = whyNoBrowser()
    if reason is not None:
        pytest.skip(reason)
    with running() as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """A browser that has seen nothing yet, and in whose console there is nothing in the end."""
    chromium.reset()
    yield chromium
    # A page that looks for its relay again, when that has ended before it, is no mistake.
    complaints = [each for each in chromium.complaints() if "ERR_CONNECTION_REFUSED" not in each]
    chromium.open("about:blank")
    assert complaints == []
