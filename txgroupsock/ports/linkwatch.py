"""Telling who wants to know when interfaces, addresses or routes of this host change."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from txgroupsock.ports.clock import steady
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.constants import (
    NETLINK_ADD_MEMBERSHIP,
    RTMGRP_CHANGES,
    RTNLGRP_ROUTES,
    SOL_NETLINK,
)
from txgroupsock.primitives.hoststate import HostState
from txgroupsock.primitives.interfacetable import madeUp

Changed = Callable[[HostState], object]
"""What is called after a change, with the state of this host at that moment."""

SPACING: Final = 0.1
"""Seconds from one call to the next; the first of several changes is told of at once."""

POLLING: Final = 1.0
"""Seconds between two looks at the interfaces where the kernel tells of no changes."""

ANYWAY: Final = 30.0
"""Seconds after which it is called though nothing is known to have changed."""

# A host with a full routing table can have thousands of changes a second.  It is only of interest
# that there were any, so the kernel may drop what a few kilobytes have no room for.
_BUFFER = 16384
_MOST_READS = 256


class LinkWatch:
    """
    Calls those who listen when something about interfaces, addresses or routes has changed.

    What has changed is for them to find out: the kernel's messages (rtnetlink(7)) are a trigger
    and no more, and that some were lost (ENOBUFS) is one as well.  Where there are none (not
    Linux, or not allowed) the interfaces are looked at once a second.  While nobody listens there
    is no socket and no timer.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        """@param reactor: provides C{IReactorFDSet} and C{IReactorTime}."""
        self._reactor = steady(reactor)
        self._listeners: list[Changed] = []
        self._messages: _Messages | None = None
        self._telling: IDelayedCall | None = None
        self._timer: IDelayedCall | None = None
        self._seen: object = None
        self._lastTold = float("-inf")

    @property
    def isPolling(self) -> bool:
        """Whether it looks by itself, since the kernel does not tell."""
        return bool(self._listeners) and self._messages is None

    @checked
    def add(self, changed: Changed, *, routes: bool = False) -> None:
        """
        Call somebody after changes from now on.

        @param changed: called with a L{HostState}; what it raises is logged.
        @param routes: after changes of routes, too (Linux).
        """
        self._listeners.append(changed)
        if len(self._listeners) == 1:
            self._start()
        if routes and self._messages is not None:
            self._messages.addRoutes()

    def remove(self, changed: Changed) -> None:
        """
        Call somebody no more; with the last one everything is given back.  One that is not
        called is left so.
        """
        if changed not in self._listeners:
            return
        self._listeners.remove(changed)
        if not self._listeners:
            self._stop()

    def _start(self) -> None:
        try:
            if madeUp.get() is None and RTMGRP_CHANGES is not None:
                self._messages = _Messages(self._reactor, self._heard, self._failed)
        except OSError as error:  # such as EAFNOSUPPORT in a sandbox
            self._log.info(
                "the kernel does not tell of changed interfaces ({error}), so they are looked at "
                "once a second",
                error=error,
            )
        self._wait()

    def _stop(self) -> None:
        for each in (self._telling, self._timer):
            if each is not None:
                each.cancel()
        self._telling = self._timer = None
        messages, self._messages = self._messages, None
        if messages is not None:
            messages.close()

    def _wait(self) -> None:
        if self._messages is None:
            self._seen = self._look()
            self._timer = self._reactor.callLater(POLLING, self._poll, ANYWAY)
        else:
            self._timer = self._reactor.callLater(ANYWAY, self._poll, 0)

    def _look(self) -> object:
        return list(HostState().interfaces.values())

    def _poll(self, left: float) -> None:
        """Look, or tell anyway when there are no seconds left for that."""
        seen = self._seen
        if self._messages is None:
            self._seen = self._look()
        if left <= 0 or self._seen != seen:
            left = ANYWAY
            self._heard()
        seconds = ANYWAY if self._messages is not None else POLLING
        following = 0 if self._messages is not None else left - POLLING
        self._timer = self._reactor.callLater(seconds, self._poll, following)

    def _heard(self) -> None:
        """Something has changed: tell at once, but not again within L{SPACING}."""
        if self._telling is None:
            now = self._reactor.seconds()
            # (In the future only if the clock was set back.)
            wait = min(max(0.0, self._lastTold + SPACING - now), SPACING)
            if self._messages is not None:
                self._messages.pause()
            self._telling = self._reactor.callLater(wait, self._tell)

    def _tell(self) -> None:
        self._telling = None
        self._lastTold = self._reactor.seconds()
        if self._messages is not None:
            self._messages.resume()
        state = HostState()
        for each in tuple(self._listeners):
            if each not in self._listeners:  # another one has removed it
                continue
            try:
                each(state)
            except Exception:  # noqa: BLE001 - whatever it is, the others are to know
                self._log.failure("{listener} failed on a change of interfaces", listener=each)

    def _failed(self, error: object) -> None:
        """The socket is no more; look instead."""
        self._log.warn(
            "the kernel tells no more of changed interfaces ({error}), so they are looked at once "
            "a second",
            error=error,
        )
        messages, self._messages = self._messages, None
        if messages is not None:
            messages.close()
        if self._timer is not None:
            self._timer.cancel()
        self._wait()
        self._heard()


@implementer(IReadDescriptor)
class _Messages:
    """The kernel's messages about links, addresses and routes (rtnetlink(7)), none of them read."""

    def __init__(
        self, reactor: Any, heard: Callable[[], None], failed: Callable[[object], None]
    ) -> None:
        """@raise OSError: the kernel refuses such a socket."""
        self._reactor = steady(reactor)
        self._heard = heard
        self._failed = failed
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, 0)  # NETLINK_ROUTE
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._socket.bind((0, RTMGRP_CHANGES))
        except BaseException:
            self._socket.close()
            raise
        reactor.addReader(self)

    def addRoutes(self) -> None:
        """Hear of routes, too."""
        for group in RTNLGRP_ROUTES:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)

    def pause(self) -> None:
        """Let messages gather, or get lost."""
        self._reactor.removeReader(self)

    def resume(self) -> None:
        """Forget what has gathered, and hear of what follows."""
        if self._discard():
            self._reactor.addReader(self)

    def close(self) -> None:
        """Give the socket back."""
        self._reactor.removeReader(self)
        self._socket.close()

    def doRead(self) -> None:
        """Something has changed."""
        if self._discard():
            self._heard()

    def _discard(self) -> bool:
        """Take what there is; false if the socket has failed."""
        for _ in range(_MOST_READS):
            try:
                self._socket.recv(1)  # the rest of each message is cut off
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # that: some were lost, which says it as well
                    self._failed(error)
                    return False
        return True

    def fileno(self) -> int:
        """The descriptor; -1 when closed."""
        return self._socket.fileno()

    def connectionLost(self, reason: Failure) -> None:
        """Go on, unless somebody has closed it: for poll and epoll an overrun is an error, too."""
        if self._socket.fileno() < 0:
            return
        if self._discard():
            self._reactor.addReader(self)
            self._heard()

    def logPrefix(self) -> str:
        """For the log of the reactor."""
        return "LinkWatch"
