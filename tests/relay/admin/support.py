"""What the tests of the status page share: the page, with a status on it, and then another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from tests.relay.admin.browser import Browser
from tests.relay.admin.documents import Document
from tests.relay.admin.pageserver import PageServer

TROUBLE = "#trouble > li"


@contextmanager
def shown(browser: Browser, first: Document, past: Document | None = None) -> Iterator[PageServer]:
    """The page, with a status on it."""
    with PageServer(first, past) as server:
        browser.open(server.address)
        browser.until("'known' in document.body.dataset")
        browser.until("arguments[0].length > 0", server.address)
        yield server


def next_(browser: Browser, server: PageServer, document: Document) -> None:
    """Have the page show a newer status."""
    server.send(document)
    uptime = f"Live, {clock(document['time'])}"
    browser.until("document.getElementById('connection').textContent === arguments[0]", uptime)


def clock(time: float) -> str:
    """A time of the day of START, which is not today's."""
    return datetime.fromtimestamp(int(time), timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
