"""
Streams by HTTP: what C{twisted.web} is told to answer.

A stream is a body that ends with its connection (RFC 9112 section 6.3, rule 8), so that its
bytes can be the same for all viewers, and each connection serves one request.
"""

from __future__ import annotations

import http as codes
from collections import Counter
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from txgroupsock.primitives.errors import Restorable
from txgroupsock.relay.http.bounded import BoundedRequest, isRebound, tokensIn
from txgroupsock.relay.viewers.access import Access
from txgroupsock.relay.viewers.allowlist import AllowList
from txgroupsock.relay.viewers.channels import Channels, NoRoom
from txgroupsock.relay.viewers.model import StreamModel
from txgroupsock.relay.viewers.path import NoGroup, streamOf
from txgroupsock.relay.viewers.viewer import Viewer

_RETRY_AFTER = b"5"  # seconds


class Refusal(Restorable, Exception):
    """
    A request gets no stream.

    @ivar status: the HTTP status code.
    @ivar headers: what the answer has besides the usual ones.
    """

    def __init__(self, status: int, problem: str, **headers: bytes) -> None:
        super().__init__(problem)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class StreamResource(Resource):
    """
    Answers every path with a stream, or says why not.

    @ivar refused: how many requests got each HTTP status code other than 200.
    """

    isLeaf = True

    _log = Logger()

    def __init__(self, channels: Channels, allowed: AllowList, access: Access) -> None:
        Resource.__init__(self)
        self.refused: Counter[str] = Counter()
        self._channels = channels
        self._allowed = allowed
        self._access = access

    def change(self, allowed: AllowList, access: Access) -> None:
        """Have requests that come from now on meet other conditions."""
        self._allowed, self._access = allowed, access

    def render(self, request: StreamRequest) -> int:
        """See C{IResource}; what this raises would be logged with a traceback."""
        if request.method not in (b"GET", b"HEAD"):
            self._refuse(request, Refusal(405, "only GET and HEAD", allow=b"GET, HEAD"))
            return NOT_DONE_YET
        if self._access.isOpen and isRebound(request):
            problem = (
                "this listens on loopback, where a page of another host must not reach it: ask "
                "for it as localhost or by its address, or have [viewers] users or tokens"
            )
            self._refuse(request, Refusal(421, problem))
            return NOT_DONE_YET
        admitting = self._access.admits(_tokens(request), request.getUser(), request.getPassword())
        admitting.addCallback(self._answer, request)
        admitting.addErrback(self._failed, request)
        return NOT_DONE_YET

    def _answer(self, isAdmitted: bool, request: StreamRequest) -> None:  # noqa: FBT001 - a result
        if request.isLost:
            return
        try:
            if not isAdmitted:
                raise Refusal(401, "a token, or a name and a password, is needed")
            stream = self._find(request)
            if request.method == b"HEAD":
                request.writeStreamHead()
                request.finish()
                return
            self._begin(request, stream)
        except Refusal as refusal:
            self._refuse(request, refusal)

    def _failed(self, failure: Failure, request: StreamRequest) -> None:
        self._log.failure("could not answer {request}", failure, request=request)
        if request.startedWriting:
            request.loseConnection()
        else:
            self._refuse(request, Refusal(500, "this is not the client's fault"))

    def _find(self, request: StreamRequest) -> StreamModel | str:
        """
        What a request is for.

        @raise Refusal: nothing that there is, or that it may have.
        """
        if request.args and b"interface" in request.args:
            raise Refusal(403, "the interface is not for clients to choose")
        segments = request.postpath or []
        name = segments[0].decode("utf-8", "replace") if len(segments) == 1 else ""
        if name and self._channels.has(name):
            return name
        try:
            wanted = streamOf(segments)
        except NoGroup as error:
            raise Refusal(403, str(error)) from None
        if wanted is None:
            raise Refusal(404, "there is no such stream")
        found = self._allowed.find(wanted.input)
        if found is None:
            raise Refusal(403, f"{wanted} is not on the list of what may be watched")
        return StreamModel(found, wanted.form)

    def _begin(self, request: StreamRequest, stream: StreamModel | str) -> None:
        channel: Any = request.channel
        try:
            viewer = self._channels.watch(stream, channel.transport)
        except NoRoom as error:
            problem = {
                "viewers": "there are as many viewers as there may be",
                "channels": "there are as many channels as there may be",
                "joins": "streams are opened as often as they may be from one address",
            }.get(error.reason, "the stream cannot be received now")
            headers = {"retry_after": _RETRY_AFTER}
            raise Refusal(503, f"{problem}; try again later", **headers) from None
        request.writeStreamHead()
        request.give(viewer)
        self._channels.sayings.info(
            viewer.origin, "{peer} watches {stream}", peer=viewer.peer, stream=str(stream)
        )

    def _refuse(self, request: StreamRequest, refusal: Refusal) -> None:
        self.refused[str(refusal.status)] += 1
        phrase = codes.HTTPStatus(refusal.status).phrase
        request.setResponseCode(refusal.status, phrase.encode())
        for name, value in refusal.headers.items():
            request.setHeader(name, value)
        if refusal.status == 401:
            request.responseHeaders.setRawHeaders("www-authenticate", self._access.challenges)
        body = f"{phrase}: {refusal}\n".encode()
        request.setHeader("content-type", b"text/plain; charset=utf-8")
        request.setHeader("content-length", b"%d" % len(body))
        request.setHeader("cache-control", b"no-store")
        request.write(body)
        request.finish()


def _tokens(request: StreamRequest) -> list[bytes]:
    return [*(request.args or {}).get(b"token", ()), *tokensIn(request)]


class StreamRequest(BoundedRequest):
    """A request whose answer may be a stream."""

    def writeStreamHead(self) -> None:
        """
        Write status line and headers of a stream.

        Through the channel: C{write} would choose chunked coding for HTTP/1.1.
        """
        for name, value in (
            ("content-type", b"video/mp2t"),
            ("cache-control", b"no-store"),
            ("accept-ranges", b"none"),  # so a Range has no meaning, RFC 9110 section 14.3
            ("x-content-type-options", b"nosniff"),
        ):
            self.setHeader(name, value)
        self.startedWriting = 1
        version = b"HTTP/1.1" if self.clientproto == b"HTTP/1.1" else b"HTTP/1.0"
        self.channel.writeHeaders(version, b"200", b"OK", self.responseHeaders)

    def give(self, viewer: Viewer) -> None:
        """Have the rest of the answer come from a channel."""
        self._viewer = viewer
        self.channel.hold()
        # Until now twisted.web's channel was, which has nothing more to produce.
        self.channel.transport.unregisterProducer()
        viewer.begin(isHeadWaiting=True)

    _viewer: Viewer | None = None

    def lost(self, failure: Failure) -> None:
        """See L{BoundedRequest}."""
        BoundedRequest.lost(self, failure)
        if self._viewer is not None:
            self._viewer.lost()
