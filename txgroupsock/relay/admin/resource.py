"""What is answered to whom: the page, the API, metrics and health."""

from __future__ import annotations

import hmac
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from txgroupsock.relay.admin.answer import Answer, Refusal
from txgroupsock.relay.admin.api import RoutesAPI
from txgroupsock.relay.admin.doctor import DoctorAPI
from txgroupsock.relay.admin.events import EventStreams
from txgroupsock.relay.admin.files import pageFiles
from txgroupsock.relay.admin.pouring import Pouring
from txgroupsock.relay.config.admin import AdminModel
from txgroupsock.relay.control.monitor import Monitor
from txgroupsock.relay.http.bounded import BoundedRequest, isRebound, tokensIn

if TYPE_CHECKING:
    from txgroupsock.relay.admin.exposition import Exposition

_METHODS = {
    "/api/routes": ("GET", "HEAD", "POST"),
    "/api/routes/": ("GET", "HEAD", "PUT", "DELETE"),
    "/api/reload": ("POST",),
    "/api/doctor": ("POST",),
}
_READING = ("GET", "HEAD")


class AdminRequest(BoundedRequest):
    """A request of an operator; its body may be a route with a thousand outputs."""

    mostBytes = 256 * 1024


class AdminResource(Resource):
    """
    Answers every path.

    @ivar model: who may look and who may change.
    @ivar refused: how many requests got each status code from 400 on.
    """

    isLeaf = True

    _log = Logger()

    def __init__(
        self,
        model: AdminModel,
        monitor: Monitor,
        routes: RoutesAPI,
        doctor: DoctorAPI | None = None,
    ) -> None:
        Resource.__init__(self)
        self.model = model
        self.refused: Counter[str] = Counter()
        self.events = EventStreams(monitor)
        self._monitor = monitor
        self._routes = routes
        self._doctor = doctor
        self._files = pageFiles()
        self._exposition: Exposition | ImportError
        try:  # now: it takes 0.1 s, for which no stream should have to wait
            from txgroupsock.relay.admin.exposition import Exposition

            self._exposition = Exposition(monitor)
        except ImportError as error:
            self._exposition = error

    def render(self, request: AdminRequest) -> int:
        """See C{IResource}; what this raises would be logged with a traceback."""
        answering = Deferred.fromCoroutine(self._answer(request))
        answering.addErrback(self._failed, request)
        return NOT_DONE_YET

    async def _answer(self, request: AdminRequest) -> None:
        try:
            answer = await self._find(request)
        except Refusal as refusal:
            answer = refusal.answer
        if answer is None:
            return
        await self._monitor.turns.free()
        if not request.isLost:
            await self._give(answer, request)

    async def _find(self, request: AdminRequest) -> Answer | None:
        """
        The answer to a request; L{None} if it gets events instead.

        @raise Refusal: there is none for it.
        """
        method = request.method.decode("ascii", "replace")
        path, name = _pathOf(request)
        # For whatever watches the process, which has neither password nor browser.
        if path == "/healthz":
            return Answer.text("ok")
        if path == "/readyz":
            return await self._readiness(request)
        await self._admit(request)
        allowed = _METHODS.get(path, _READING)
        if method not in allowed:
            raise Refusal(405, f"only {', '.join(allowed)}", allow=", ".join(allowed))
        if request.isTooLarge:
            raise Refusal(413, f"the body has more than {request.mostBytes:,} bytes")
        if method not in _READING:
            self._admitChange(request)
            return await self._change(method, path, name, request)
        return await self._read(path, name, request)

    async def _readiness(self, request: AdminRequest) -> Answer:
        problems = await self._monitor.problems()
        if not problems:
            return Answer.text("ok")
        try:
            await self._admit(request)
        except Refusal:  # names are for those who may look
            return Answer.text(f"{len(problems)} of what should run does not", 503)
        return Answer.text("\n".join(problems), 503)

    async def _read(self, path: str, name: str, request: AdminRequest) -> Answer | None:
        if path == "/api/status":
            return Answer(await self._monitor.statusJSON())
        if path == "/metrics":
            if isinstance(self._exposition, ImportError):
                raise Refusal(501, str(self._exposition))
            return await self._exposition.answer(request.getHeader("accept"))
        if path == "/api/history":
            return Answer(await self._monitor.historyJSON())
        if path == "/api/events":
            if request.method == b"HEAD":
                return Answer(b"", b"text/event-stream")
            self.events.add(request)
            return None
        if path == "/api/routes":
            return self._routes.all()
        if path == "/api/routes/":
            return self._routes.get(name)
        found = self._files.get(path)
        if found is None:
            raise Refusal(404, "there is no such page; / is the status page")
        return found

    async def _change(self, method: str, path: str, name: str, request: AdminRequest) -> Answer:
        who = _peerOf(request)
        body = request.content.read()
        if path == "/api/reload":
            return await self._routes.reload()
        if path == "/api/doctor" and self._doctor is not None:
            return await self._doctor.examine(body)
        if method == "POST":
            return await self._routes.add(body, who)
        if method == "PUT":
            return await self._routes.put(name, body, who)
        return await self._routes.delete(name, who)

    # Who may

    async def _admit(self, request: AdminRequest) -> None:
        """
        Let somebody look.

        @raise Refusal: it may not.
        """
        readers = self.model.readers
        if readers.isOpen and isRebound(request):
            raise Refusal(
                421,
                "this listens on loopback, where a page of another host must not reach it: ask "
                "for it as localhost or by its address, or have [admin] users",
            )
        name, password = request.getUser(), request.getPassword()
        if not await readers.admits(tokensIn(request), name, password):
            raise Refusal(401, "a name and a password, or a token, is needed")

    def _admitChange(self, request: AdminRequest) -> None:
        """
        Let somebody change routes.

        @raise Refusal: it may not.
        """
        if not self.model.tokens:
            raise Refusal(403, "nothing can be changed by HTTP; [admin] tokens would allow it")
        shown = tokensIn(request)
        # All of them, so that the time taken does not tell which one was right.
        if True not in [
            hmac.compare_digest(known.encode(), each)
            for known in self.model.tokens
            for each in shown
        ]:
            challenge = 'Bearer realm="groupsock"'
            problem = "a token is needed: Authorization: Bearer TOKEN"
            raise Refusal(401, problem, www_authenticate=challenge)

    # Answers

    async def _give(self, answer: Answer, request: AdminRequest) -> None:
        if answer.status >= 400:
            self.refused[str(answer.status)] += 1
        request.setResponseCode(answer.status, HTTPStatus(answer.status).phrase.encode())
        if answer.status == 401:
            challenges = self.model.readers.challenges
            request.responseHeaders.setRawHeaders("www-authenticate", challenges)
        request.setHeader(b"content-type", answer.kind)
        request.setHeader(b"cache-control", b"no-store")
        request.setHeader(b"x-content-type-options", b"nosniff")
        for name, value in answer.headers.items():
            request.setHeader(name, value)
        tag = answer.headers.get(b"etag")
        if tag is not None and request.setETag(tag):  # which has the status be 304
            request.finish()
            return
        request.setHeader(b"content-length", b"%d" % len(answer.body))
        pouring = Pouring(request, self._monitor.turns)
        if request.method != b"HEAD":
            await pouring.give(answer.body)
        pouring.finish()

    def _failed(self, failure: Failure, request: AdminRequest) -> None:
        self._log.failure("could not answer {request}", failure, request=request)
        if request.isLost:
            return
        if request.startedWriting:
            request.loseConnection()
        else:
            refusal = Refusal(500, "this is not the client's fault; the log has more")
            giving = Deferred.fromCoroutine(self._give(refusal.answer, request))
            giving.addErrback(lambda _: request.loseConnection())


def _pathOf(request: AdminRequest) -> tuple[str, str]:
    """The path, and the name of a route if it is C{"/api/routes/"} and one."""
    segments = [each.decode("utf-8", "replace") for each in request.postpath or ()]
    if segments[:2] == ["api", "routes"] and len(segments) > 2:
        return "/api/routes/", "/".join(segments[2:])  # names are often URLs
    return "/" + "/".join(segments), ""


def _peerOf(request: AdminRequest) -> str:
    peer = request.getClientAddress()
    return peer.host if isinstance(peer, (IPv4Address, IPv6Address)) else "a local client"
