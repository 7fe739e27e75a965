"""Asks a relay again and again, in a thread, so that keys are obeyed while it does not answer."""

from __future__ import annotations

import time
from threading import Event, Thread

from txgroupsock.tools.top.fetch import NoStatus, Server
from txgroupsock.tools.top.layout import Seen

INTERVAL = 1.0  # seconds, as the relay measures its rates


class Watcher:
    """
    Knows what a relay said last.

    @ivar changed: set each time there is something new to see.
    """

    def __init__(self, server: Server) -> None:
        self.changed = Event()
        self._server = server
        self._known = Seen(server.url)
        self._heard = time.monotonic()
        self._isStopped = Event()
        self._thread = Thread(target=self._watch, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more.  What it waits for now may take its time; the program need not."""
        self._isStopped.set()

    def seen(self) -> Seen:
        """What is known now."""
        known = self._known
        age = time.monotonic() - self._heard
        return Seen(known.url, known.snapshot, known.problem, age)

    def _watch(self) -> None:
        while not self._isStopped.is_set():
            begun = time.monotonic()
            try:
                self._known = Seen(self._server.url, self._server.ask())
                self._heard = time.monotonic()
            except NoStatus as error:
                self._known = Seen(self._server.url, self._known.snapshot, str(error))
            self.changed.set()
            took = time.monotonic() - begun
            self._isStopped.wait(max(INTERVAL - took, 0.1))
