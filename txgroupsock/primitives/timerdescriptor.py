"""A timer that is a descriptor, by monotonic time: Linux's timerfd_create(2)."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import lru_cache
from typing import Any, Final

from txgroupsock.primitives.constants import LINUX

_MONOTONIC: Final = 1
_settime = getattr(os, "timerfd_settime_ns", None)
_FLAGS: Final = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)  # TFD_NONBLOCK, TFD_CLOEXEC

HAS_TIMERS: Final = LINUX and (hasattr(os, "timerfd_create") or ctypes.sizeof(ctypes.c_void_p) == 8)
"""Whether this system has them: with Python before 3.13, 64-bit Linux only."""


class TimerDescriptor:
    """
    Can be read from the moment on that it is set to, until it is set anew.

    To set it takes 7 µs, most of them the kernel's for its own timer, which epoll_wait(2) with a
    time to wait for takes as well.
    """

    def __init__(self) -> None:
        """@raise OSError: there are no descriptors left."""
        if hasattr(os, "timerfd_create"):
            self._descriptor: int = os.timerfd_create(_MONOTONIC, flags=_FLAGS)
        else:
            self._descriptor = _checked(_libc().timerfd_create(_MONOTONIC, _FLAGS))
            # struct itimerspec: interval and value, each in seconds and nanoseconds
            self._value = (ctypes.c_long * 4)()
            self._ctypesSettime = _libc().timerfd_settime

    def fileno(self) -> int:
        """The descriptor; -1 when closed."""
        return self._descriptor

    def set(self, nanoseconds: int, interval: int = 0) -> None:
        """
        Be readable when so much of CLOCK_MONOTONIC has passed, and not before.

        @param nanoseconds: 1 or more.
        @param interval: ns after which it is so again, each time; to be read before.
        """
        if _settime is not None:
            _settime(self._descriptor, initial=nanoseconds, interval=interval)
            return
        value = self._value
        value[0], value[1] = divmod(interval, 1_000_000_000)
        value[2], value[3] = divmod(nanoseconds, 1_000_000_000)
        if self._ctypesSettime(self._descriptor, 0, value, None):
            _checked(-1)

    def read(self) -> None:
        """Be readable no more until the interval is over."""
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:  # it was set anew meanwhile
            pass

    def close(self) -> None:
        """Give it back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@lru_cache(maxsize=1)
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno() or errno.EINVAL
        raise OSError(number, f"a timer cannot be made: {os.strerror(number)}")
    return result
