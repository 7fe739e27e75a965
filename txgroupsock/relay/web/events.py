"""Server-sent events: the status again and again, to whoever listens."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgroupsock.relay.http import BoundedRequest
from txgroupsock.relay.monitor import Monitor
from txgroupsock.relay.turns import Turns
from txgroupsock.relay.web.answer import Refusal
from txgroupsock.relay.web.pouring import Pouring


class EventStreams:
    """
    Sends the status to every listener after each look at the counters.

    It is made once for all of them, and only while there are any.  A listener that takes too
    little misses some: nothing waits for it but what is in its transport.

    @cvar most: listeners at a time; further ones get 503.
    """

    most: ClassVar[int] = 64

    _log = Logger()

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._listeners: set[_Listener] = set()
        self._isMaking = False

    def add(self, request: BoundedRequest) -> None:
        """
        Have a request answered with events, from now until its connection ends.

        @raise Refusal: there are too many.
        """
        if len(self._listeners) >= self.most:
            raise Refusal(
                503, f"there are {self.most} listeners, and no room for more", retry_after="5"
            )
        listener = _Listener(request, self._monitor.turns)
        if not self._listeners:
            self._monitor.looked.append(self._send)
        self._listeners.add(listener)
        request.notifyFinish().addBoth(self._gone, listener)
        self._send()

    def close(self) -> None:
        """End all of them."""
        for each in tuple(self._listeners):
            each.end()

    def _gone(self, _: Any, listener: _Listener) -> None:
        self._listeners.discard(listener)
        if not self._listeners:
            self._monitor.looked.remove(self._send)

    def _send(self) -> None:
        if not self._isMaking:
            self._isMaking = True
            making = self._monitor.statusJSON()
            making.addCallbacks(self._made, self._failed)

    def _made(self, data: bytes) -> None:
        self._isMaking = False
        event = b"event: status\ndata: " + data + b"\n\n"
        for each in tuple(self._listeners):
            each.take(event)

    def _failed(self, failure: Failure) -> None:
        self._isMaking = False
        self._log.failure("the status could not be made", failure)


class _Listener:
    """One request, which misses what comes before it has taken all of what came last."""

    def __init__(self, request: BoundedRequest, turns: Turns) -> None:
        request.channel.isHeld = True
        request.setHeader(b"content-type", b"text/event-stream")
        request.setHeader(b"cache-control", b"no-store")
        request.setHeader(b"x-accel-buffering", b"no")  # for nginx, which would gather them
        self._pouring = Pouring(request, turns)
        self._isBusy = False
        request.write(b"retry: 1000\n\n")

    def take(self, event: bytes) -> None:
        if not self._isBusy:
            self._isBusy = True
            Deferred.fromCoroutine(self._pouring.give(event)).addBoth(self._taken)

    def _taken(self, result: Any) -> Any:
        self._isBusy = False
        return result

    def end(self) -> None:
        self._pouring.finish()
