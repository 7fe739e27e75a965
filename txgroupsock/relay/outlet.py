"""Writing to who may have stopped reading, without waiting for them."""

from __future__ import annotations

import select
import time
from os import write
from threading import RLock
from typing import Final, TextIO

MOST_WAITING: Final = 256 * 1024
"""Bytes, besides what the pipe or socket itself has room for."""

PATIENCE: Final = 0.1
"""
Seconds that are waited for room, once, until there is some again: who reads at all makes some
sooner, and so misses nothing of what a process says when it ends.
"""

# What poll(2) has called writable takes so much without waiting: PIPE_BUF of a pipe (pipe(7)); a
# socket and a terminal have more room then.
_PIECE: Final = 4096


class Outlet:
    """
    Writes lines to a stream: a terminal that somebody has stopped, or a journal that hangs, keeps
    nobody.  What there is no room for waits for the next line, and what is beyond a limit is lost.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._waiting = bytearray()
        self._lost = 0
        self._isStuck = False
        self._isDraining = False
        # Recorders log in threads of theirs; handlers of signals do while something is written.
        self._lock = RLock()
        self._room = None
        if hasattr(select, "poll"):
            try:
                self._descriptor = stream.fileno()
            except (OSError, ValueError):  # one in memory
                return
            self._room = select.poll()
            self._room.register(self._descriptor, select.POLLOUT)

    def write(self, text: str) -> None:
        """Write lines, now or later; never raises."""
        data = text.encode(self._encoding, "backslashreplace")
        with self._lock:
            if self._room is None:
                self._writeAll(data)
            elif len(self._waiting) + len(data) > MOST_WAITING:
                self._lost += 1
            else:
                self._waiting += data
                self._drain()

    def lostUntilNow(self) -> int:
        """How many calls have been lost, once all before them is written; told once."""
        with self._lock:
            if not self._lost:
                return 0
            self._drain()
            if self._waiting:
                return 0
            lost, self._lost = self._lost, 0
            return lost

    def _drain(self) -> None:
        if self._isDraining:  # this is a handler of a signal; what it says comes next
            return
        self._isDraining = True
        if self._stream.closed:  # and its descriptor may be somebody else's by now
            self._waiting.clear()
        deadline = time.monotonic() + (0.0 if self._isStuck else PATIENCE)
        try:
            while self._waiting and self._hasRoom(deadline):
                del self._waiting[: write(self._descriptor, self._waiting[:_PIECE])]
        except BlockingIOError:  # somebody else has taken the room
            pass
        except OSError:  # nobody reads any more
            self._waiting.clear()
        finally:
            self._isDraining = False

    def _hasRoom(self, deadline: float) -> bool:
        left = max(0.0, deadline - time.monotonic())
        self._isStuck = self._room is not None and not self._room.poll(1000 * left)
        return not self._isStuck

    def _writeAll(self, data: bytes) -> None:
        try:
            self._stream.write(data.decode(self._encoding))
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads any more, or it is closed
            pass
