"""
HTTP connections that outsiders cannot keep, fill or confuse: one request each, in bounded time.

What twisted.web leaves to its users: it has no deadline for a request that dribbles in, no bound
for a body or for the number of connections, and it tells everybody its version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, ClassVar

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from txgroupsock.ports.clock import callOff, steady
from txgroupsock.relay.http.halfclose import HalfCloseable
from txgroupsock.relay.http.places import Places, originOf

_SERVER = b"groupsock-relay"


class BoundedRequest(Request):
    """
    A request with a body of limited size.

    @cvar mostBytes: of its body; what is above is thrown away, and C{isTooLarge} set.
    @ivar isLost: whether its connection is no longer.
    """

    mostBytes: ClassVar[int] = 0

    channel: Any
    content: Any
    finish: Callable[[], None]
    getClientAddress: Callable[[], Any]
    getHost: Callable[[], Any]
    getPassword: Callable[[], bytes]
    getRequestHostname: Callable[[], bytes]
    getUser: Callable[[], bytes]
    loseConnection: Callable[[], None]
    registerProducer: Callable[[Any, bool], None]
    setETag: Callable[[bytes], Any]
    unregisterProducer: Callable[[], None]
    write: Callable[[bytes], None]
    isLost = False
    isTooLarge = False
    _size = 0

    def __repr__(self) -> str:
        """For the log; without its query, in which there may be a token."""
        path = bytes(self.uri).partition(b"?")[0][:200]
        return f"<{self.method!r} {path!r} of {self.getClientAddress()}>"

    def gotLength(self, length: int | None) -> None:
        """There is a body to come; believe nothing that is said of its size."""
        Request.gotLength(self, 0)

    def handleContentChunk(self, data: bytes) -> None:
        """Take a part of the body."""
        self._size += len(data)
        if self._size > self.mostBytes:
            self.isTooLarge = True
        else:
            Request.handleContentChunk(self, data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """
        Take a request as it is, whatever kind its body is said to be: Twisted would read forms,
        which none is here, and answer a wrong one itself, with nothing.
        """
        self.requestHeaders.removeHeader(b"content-type")
        Request.requestReceived(self, command, path, version)

    def process(self) -> None:
        """The request is complete."""
        self.notifyFinish().addErrback(self.lost)
        Request.process(self)

    def setHeader(self, name: bytes | str, value: bytes | str) -> None:
        """Twisted would tell everybody its version."""
        Request.setHeader(self, name, _SERVER if name == b"Server" else value)

    def lost(self, _: Failure) -> None:
        """Its connection is no longer."""
        self.isLost = True


class BoundedConnection(HalfCloseable, HTTPChannel):
    """
    Serves one request, which has to be there in time, and throws away what follows it; the client
    may have closed its half of the connection by then.

    @ivar isHeld: whether it may be open for longer.
    @ivar isComplete: whether its request is there.
    """

    maxHeaders = 100
    isHeld = isComplete = False

    site: BoundedSite
    _log = Logger()
    _deadline: Any = None

    def connectionMade(self) -> None:
        """Wait for the request."""
        HTTPChannel.connectionMade(self)
        self.site.found(self)
        self._deadline = self.site.reactor.callLater(self.site.headTime, self._tooLate)

    def dataReceived(self, data: bytes) -> None:
        """Take what has come of a request."""
        if self.isComplete:
            return
        try:
            HTTPChannel.dataReceived(self, data)
        except Exception as error:  # noqa: BLE001 - Twisted's parser has its limits (int() of 5,000 digits)
            self.site.refused["junk"] += 1
            self._log.debug("not a request: {error}", error=error)
            self.isComplete = True
            transport: Any = self.transport
            transport.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            HTTPChannel.loseConnection(self)

    def readConnectionLost(self) -> None:
        """See C{IHalfCloseableProtocol}; what has not asked for anything gets nothing."""
        if self.isComplete:
            HalfCloseable.readConnectionLost(self)
        else:
            HTTPChannel.loseConnection(self)

    def allContentReceived(self) -> None:
        """The request is there."""
        self.isComplete = True
        HTTPChannel.allContentReceived(self)

    def checkPersistence(self, request: Any, version: bytes) -> bool:
        """No connection serves a second request."""
        request.responseHeaders.setRawHeaders("connection", [b"close"])
        return False

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Nothing is to be waited for any more."""
        callOff(self._deadline)
        HTTPChannel.connectionLost(self, reason)
        self.site.lost(self)

    def hold(self) -> None:
        """Have it be open for as long as whoever answers likes; it takes no place any more."""
        self.isHeld = True
        self.site.places.leave(self)

    def end(self) -> None:
        """Close the connection at once."""
        callOff(self._deadline)
        transport: Any = self.transport
        transport.abortConnection()

    def _tooLate(self) -> None:
        if not self.isHeld:
            if not self.isComplete:
                self.site.refused["slow"] += 1
            self.end()


class BoundedSite(Site):
    """
    Serves a resource on each connection made to it, of which so many may wait for something.

    Where there are more, one has to go, of those without a request if there are any: see
    L{Places}.  So whoever asks at once is answered, whoever else holds connections.

    @ivar opened: the connections that there are.
    @ivar places: those that are not held.
    @ivar refused: connections that came to no answer: C{"slow"}, C{"junk"}, C{"connections"}.
    @ivar headTime: seconds for a request to come, and its answer to be taken.
    """

    noisy = False
    protocol = BoundedConnection  # type: ignore[assignment]  # and not one that may become HTTP/2's
    displayTracebacks = False

    def __init__(
        self,
        reactor: Any,
        resource: IResource,
        request: type[BoundedRequest],
        headTime: float,
        connections: int,
        refused: Counter[str] | None = None,
    ) -> None:
        """@param connections: how many there may be that are not held."""
        Site.__init__(self, resource, request, reactor=steady(reactor), timeout=None)
        self.opened: set[BoundedConnection] = set()
        self.places: Places[BoundedConnection] = Places()
        self._waiting: list[Deferred[None]] = []
        self.refused: Counter[str] = Counter() if refused is None else refused
        self.headTime = headTime
        self.connections = connections

    def found(self, connection: BoundedConnection) -> None:
        """There is a new connection."""
        places = self.places
        while len(places) >= max(1, self.connections):
            last = places.first(lambda each: not each.isComplete) or places.first(lambda _: True)
            if last is None:
                break
            self.refused["connections"] += 1
            places.leave(last)
            last.end()
        self.opened.add(connection)
        transport: Any = connection.transport
        places.take(connection, originOf(transport.getPeer()))

    def lost(self, connection: BoundedConnection) -> None:
        """A connection is no longer."""
        self.opened.discard(connection)
        self.places.leave(connection)
        if not self.opened:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    def endIdle(self) -> None:
        """End all that are not held."""
        for each in tuple(self.opened):
            if not each.isHeld:
                each.end()

    def close(self) -> Deferred[None]:
        """End all that are not held; fires when no connection is left."""
        self.endIdle()
        if not self.opened:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def acceptableProtocols(self) -> list[bytes]:
        """Of TLS connections (ALPN): one connection is one request here."""
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """It has no access log, in which there would be tokens."""

    def stopFactory(self) -> None:
        """See L{startFactory}."""

    def log(self, request: Any) -> None:
        """See L{startFactory}."""


def tokensIn(request: BoundedRequest) -> list[bytes]:
    """The tokens that a request shows in C{Authorization: Bearer} (RFC 6750 section 2.1)."""
    kind, _, credentials = (request.getHeader(b"authorization") or b"").partition(b" ")
    return [credentials.strip()] if kind.lower() == b"bearer" else []


def isRebound(request: BoundedRequest) -> bool:
    """
    Whether a browser may have been led here by a page of another host.

    Such a page gives its own host name the address of this host, and then may read what is
    here.  Who asks for an address, or for localhost, has not been led.
    """
    here = request.getHost()
    if not isinstance(here, (IPv4Address, IPv6Address)):
        return False
    if not ip_address(here.host.partition("%")[0]).is_loopback:
        return False
    host = request.getRequestHostname().decode("latin-1").strip("[]").rstrip(".").lower()
    if not host or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return True
    return False
