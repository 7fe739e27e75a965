"""Server-sent events: the status again and again, to whoever listens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from txgroupsock.ports.keepalive import handleOf
from txgroupsock.primitives import GroupsockError, setSendBufferTo
from txgroupsock.relay.admin.answer import Refusal
from txgroupsock.relay.admin.pouring import Pouring
from txgroupsock.relay.control.monitor import Monitor
from txgroupsock.relay.http.bounded import BoundedRequest
from txgroupsock.relay.http.places import Places, mostFrom, originOf
from txgroupsock.relay.turns import Turns

# Bytes that the kernel keeps for a listener: it is to be noticed when one takes nothing.
_SEND_BUFFER: Final = 65536


class EventStreams:
    """
    Sends the status to every listener after each look at the counters.

    It is made once for all of them, and only while there are any.  A listener that takes too
    little misses some: nothing waits for it but what is in its transport.

    @cvar most: listeners at a time; further ones get 503, unless one takes nothing.
    @cvar patience: seconds after which one that takes nothing has to go if its place is needed.
    @cvar stallTime: seconds after which it has to go in any case.
    """

    most: ClassVar[int] = 64
    patience: ClassVar[float] = 5.0
    stallTime: ClassVar[float] = 30.0

    _log = Logger()

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._listeners: set[_Listener] = set()
        self._places: Places[_Listener] = Places()
        self._isMaking = False

    def add(self, request: BoundedRequest) -> None:
        """
        Have a request answered with events, from now until its connection ends.

        @raise Refusal: there are too many.
        """
        origin = originOf(request.getClientAddress())
        if len(self._places) >= self.most:
            stalled = self._places.first(lambda each: each.stalledFor() >= self.patience)
            if stalled is not None:
                self._drop(stalled)
        isFull = len(self._places) >= self.most
        if isFull or self._places.takenFrom(origin) >= mostFrom(origin, self.most):
            raise Refusal(
                503, f"there are {self.most} listeners, and no room for more", retry_after="5"
            )
        listener = _Listener(request, self._monitor.turns)
        if not self._listeners:
            self._monitor.looked.append(self._send)
        self._listeners.add(listener)
        self._places.take(listener, origin)
        request.notifyFinish().addBoth(self._gone, listener)
        self._send()

    def close(self) -> None:
        """End all of them."""
        for each in tuple(self._listeners):
            each.end()

    def _drop(self, listener: _Listener) -> None:
        self._places.leave(listener)
        listener.abort()

    def _gone(self, _: Any, listener: _Listener) -> None:
        self._places.leave(listener)
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
            if each.stalledFor() >= self.stallTime:
                self._drop(each)
            else:
                each.take(event)

    def _failed(self, failure: Failure) -> None:
        self._isMaking = False
        self._log.failure("the status could not be made", failure)


class _Listener:
    """One request, which misses what comes before it has taken all of what came last."""

    def __init__(self, request: BoundedRequest, turns: Turns) -> None:
        request.channel.hold()
        handle = handleOf(request.channel.transport)
        if handle is not None:
            with suppress(GroupsockError):  # it is closed; its end is told elsewhere
                setSendBufferTo(handle, _SEND_BUFFER)
        request.setHeader(b"content-type", b"text/event-stream")
        request.setHeader(b"cache-control", b"no-store")
        request.setHeader(b"x-accel-buffering", b"no")  # for nginx, which would gather them
        self._request = request
        self._seconds: Callable[[], float] = request.channel.site.reactor.seconds
        self._pouring = Pouring(request, turns)
        self._isBusy = False
        self._since = 0.0
        request.write(b"retry: 1000\n\n")

    def take(self, event: bytes) -> None:
        if not self._isBusy:
            self._isBusy = True
            self._since = self._seconds()
            Deferred.fromCoroutine(self._pouring.give(event)).addBoth(self._taken)

    def _taken(self, result: Any) -> Any:
        self._isBusy = False
        return result

    def stalledFor(self) -> float:
        """For how many seconds it has not taken all of what it was given."""
        return self._seconds() - self._since if self._isBusy else 0.0

    def end(self) -> None:
        self._pouring.finish()

    def abort(self) -> None:
        self._request.channel.end()
