"""How a process that twistd runs ends with a status of its own."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def exitWith(status: int) -> None:
    """
    Have the process exit with a status when it ends.

    twistd offers no way to say so: it returns from the reactor with status 0.  This runs
    after all that it still does then, such as removing its pid file.
    """

    def leave() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    atexit.register(leave)


def onInterrupt(reactor: Any, call: Callable[[], object]) -> None:
    """
    Have SIGINT and SIGTERM end what runs in an orderly way: once the reactor runs, it is called.

    Left to themselves they end it, too, but twistd then lets the signal kill the process, whose
    exit status tells nothing but that.
    """

    def interrupted(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(call)

    def install() -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, interrupted)

    install()
    reactor.callWhenRunning(install)  # it has a handler of its own for SIGTERM
