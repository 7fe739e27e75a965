"""
Connections through a proxy that says in front of them who is there: the PROXY protocol.

Twisted reads its headers; here nobody gets further with one that is none, or that says what could
be no address, since whoever can connect can write one.  See "The PROXY protocol" of HAProxy,
sections 2.1 (in words) and 2.2 (in bytes).
"""

from __future__ import annotations

from ipaddress import IPv4Address as IPv4
from ipaddress import IPv6Address as IPv6
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._v2parser import V2Parser
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

_SHORTEST: Final = 16  # bytes: of a header in bytes; one in words with a request is longer
_IN_WORDS: Final = b"PROXY "
_UNKNOWN: Final = b"PROXY UNKNOWN"


class ProxiedConnection(ProtocolWrapper):
    """
    Passes on what comes after a header, with the addresses that are in it.

    Those of UNIX sockets, which could be any bytes, are those of the connection itself.
    """

    _log = Logger()
    _parser: Any = None
    _beginning = b""
    _source: Any = None
    _destination: Any = None
    _isBegun = False

    def dataReceived(self, data: bytes) -> None:
        """Take the header, or what comes after it."""
        if self._isBegun:
            ProtocolWrapper.dataReceived(self, data)
            return
        try:
            rest = self._headerIn(data)
        except Exception as error:  # noqa: BLE001 - Twisted's parsers raise what they come upon
            refused = getattr(self.factory.wrappedFactory, "refused", None)
            if refused is not None:
                refused["junk"] += 1
            self._log.debug("not a PROXY header: {kind}", kind=type(error).__name__)
            transport: Any = self.transport
            transport.abortConnection()
            return
        if rest:
            ProtocolWrapper.dataReceived(self, rest)

    def _headerIn(self, data: bytes) -> bytes:
        """
        Take what there is of the header.

        @return: what follows it.
        @raise Exception: it is none.
        """
        if self._parser is None:
            data = self._beginning = self._beginning + data
            isInBytes = V2Parser.PREFIX.startswith(data[: len(V2Parser.PREFIX)])
            if not (isInBytes or _IN_WORDS.startswith(data[: len(_IN_WORDS)])):
                raise ValueError("there is none")
            if len(data) < (_SHORTEST if isInBytes else len(_IN_WORDS)):
                return b""
            self._parser = V2Parser() if isInBytes else _InWords()
            self._beginning = b""
        found, rest = self._parser.feed(data)
        if found is None:
            return b""
        if isinstance(found.source, IPv4Address | IPv6Address):
            self._source, self._destination = found.source, found.destination
        self._isBegun = True
        return bytes(rest)

    def getPeer(self) -> Any:
        """Who is on the other side of the proxy."""
        return self._source or ProtocolWrapper.getPeer(self)

    def getHost(self) -> Any:
        """Whom that one has connected to."""
        return self._destination or ProtocolWrapper.getHost(self)


class ProxiedFactory(WrappingFactory):
    """
    Makes connections through a proxy; one without a header is counted as C{"junk"} in what the
    wrapped factory has as C{refused}, if it has that.
    """

    noisy = False
    protocol = ProxiedConnection


@implementer(IStreamServerEndpoint)
class ProxiedEndpoint:
    """Where a proxy connects."""

    def __init__(self, inner: IStreamServerEndpoint) -> None:
        """@param inner: what listens."""
        self._inner = inner

    def listen(self, protocolFactory: IProtocolFactory) -> Any:
        """See C{IStreamServerEndpoint}."""
        factory = ProxiedFactory(protocolFactory)  # type: ignore[no-untyped-call]
        return self._inner.listen(factory)


class _InWords(V1Parser):
    """Takes a header in words only if its addresses and ports are some, and nothing follows."""

    @classmethod
    def parse(cls, line: bytes) -> Any:
        """
        What a header says.

        @raise Exception: it is none.
        """
        if line == _UNKNOWN:  # Twisted wants more than there has to be
            line += b" "
        found = V1Parser.parse(line)
        if found.source is None:
            return found
        ends: tuple[Any, ...] = (found.source, found.destination)
        for end in ends:
            (IPv4 if isinstance(end, IPv4Address) else IPv6)(end.host)
            if "%" in end.host or not 0 <= end.port <= 0xFFFF:
                raise ValueError("no address from elsewhere")
        words = [*(end.host for end in ends), *(str(end.port) for end in ends)]
        if line.split(b" ")[2:] != [word.encode() for word in words]:
            raise ValueError("no ports")
        return found
