"""
Timers that go off when they should.

A reactor's C{callLater} waits for whole milliseconds, rounded up (epoll and poll take no less):
half a millisecond late at the median.  Linux's C{timerfd_create(2)} is a descriptor that a reactor
can watch, and is 0.1 ms late.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReadDescriptor
from zope.interface import implementer

from txgroupsock.primitives.constants import LINUX

_MONOTONIC: Final = 1
_FLAGS: Final = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)  # TFD_NONBLOCK, TFD_CLOEXEC


class Timer(Protocol):
    """Calls what it was made with when its time is over, once for each L{set}."""

    def set(self, seconds: float) -> None:
        """Go off after so long, and not at the time set before."""

    def close(self) -> None:
        """Go off no more, and give everything back."""


def timerOn(reactor: Any, call: Callable[[], object]) -> Timer:
    """The best timer that there is on a reactor."""
    if LINUX and ctypes.sizeof(ctypes.c_void_p) == 8 and IReactorFDSet.providedBy(reactor):
        return DescriptorTimer(reactor, call)
    return DelayedTimer(reactor, call)


class DelayedTimer:
    """Goes off by C{callLater}."""

    def __init__(self, reactor: Any, call: Callable[[], object]) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self._reactor = reactor
        self._call = call
        self._delayed: IDelayedCall | None = None

    def set(self, seconds: float) -> None:
        """See L{Timer}."""
        self.close()
        self._delayed = self._reactor.callLater(max(0.0, seconds), self._goOff)

    def close(self) -> None:
        """See L{Timer}."""
        if self._delayed is not None:
            self._delayed.cancel()
            self._delayed = None

    def _goOff(self) -> None:
        self._delayed = None
        self._call()


@implementer(IReadDescriptor)
class DescriptorTimer:
    """Goes off by a timerfd, on 64-bit Linux."""

    def __init__(self, reactor: Any, call: Callable[[], object]) -> None:
        """
        @param reactor: provides C{IReactorFDSet}.
        @raise OSError: there are no descriptors left.
        """
        self._reactor = reactor
        self._call = call
        self._descriptor = _checked(_libc().timerfd_create(_MONOTONIC, _FLAGS))
        reactor.addReader(self)

    def set(self, seconds: float) -> None:
        """See L{Timer}."""
        whole = max(1, int(seconds * 1e9))  # 0 would disarm it
        # struct itimerspec: interval and value, each in seconds and nanoseconds
        value = (ctypes.c_long * 4)(0, 0, whole // 1_000_000_000, whole % 1_000_000_000)
        _checked(_libc().timerfd_settime(self._descriptor, 0, value, None))

    def close(self) -> None:
        """See L{Timer}."""
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1

    def fileno(self) -> int:
        """See C{IReadDescriptor}; so are the others."""
        return self._descriptor

    def logPrefix(self) -> str:
        """What the log calls it."""
        return "timer"

    def doRead(self) -> None:
        """Its time is over."""
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:  # it was set anew meanwhile
            return
        self._call()

    def connectionLost(self, reason: Any) -> None:
        """The reactor has ended."""
        self.close()


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno() or errno.EINVAL
        raise OSError(number, f"a timer cannot be made: {os.strerror(number)}")
    return result
