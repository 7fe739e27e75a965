"""Posting to a URL: with nothing in the log of each connection, and failures in words."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from zope.interface import implementer

from txgroupsock.relay.http.certificates import whyOpenSSL

_PLAIN = ("wrong version number", "packet length too long", "record layer failure", "http request")


def agentFor(reactor: Any, seconds: float) -> Agent:
    """What posts; each time by a connection of its own, made within so many seconds."""
    pool: Any = _QuietPool
    return Agent(reactor, connectTimeout=seconds, pool=pool(reactor, persistent=False))


class _QuietPool(HTTPConnectionPool):
    """Makes connections without a line of log about each factory."""

    def getConnection(self, key: Hashable, endpoint: Any) -> Deferred[Any]:
        """See C{HTTPConnectionPool}."""
        return super().getConnection(key, _Quiet(endpoint))


@implementer(IStreamClientEndpoint)
class _Quiet:
    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint

    def connect(self, factory: Any) -> Deferred[Any]:
        """See C{IStreamClientEndpoint}."""
        factory.noisy = False
        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting


def whyNot(failure: Failure) -> str:
    """Why posting failed, in words: C{twisted.web} says it by a list of failures."""
    reasons = getattr(failure.value, "reasons", None)
    if reasons:
        return "; ".join(dict.fromkeys(map(whyNot, reasons)))
    error: Any = failure.value
    module = type(error).__module__
    if module.startswith("OpenSSL"):
        return _ofTLS(error)
    if module.startswith("service_identity"):
        return "its certificate is for another name"
    if module.startswith("twisted.web") and type(error).__name__ == "ParseError":
        return "what it answers is not HTTP: look at its port, and whether it wants https://"
    if failure.check(ConnectionClosed):
        return "it closed the connection without an answer"
    return failure.getErrorMessage() or type(error).__name__


def _ofTLS(error: Exception) -> str:
    why = whyOpenSSL(error, nothing="")
    if any(words in why for words in _PLAIN):
        return f"there is no TLS at this port ({why}): it may want http://"
    return f"TLS fails: {why}" if why else "TLS fails"
