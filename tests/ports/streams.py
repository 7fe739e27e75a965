"""What the tests of TCP ports share: a protocol that keeps what it gets, and certificates."""

from __future__ import annotations

import functools
from typing import Any

import trustme
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    KeyPair,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure

from txgroupsock.interfaces import IKeepAlive
from txgroupsock.primitives import KeepAlive

NAME = "localhost"


class Stream(Protocol):
    """
    Keeps what it receives.

    @ivar keepAliveAtFirst: what its connection had when it was made.
    @ivar reason: why it was lost.
    """

    keepAliveAtFirst: KeepAlive | str | None = "not made"

    def __init__(self) -> None:
        self.received = b""
        self.made: Deferred[Stream] = Deferred()
        self.reason: Failure | None = None
        self.lost: Deferred[None] = Deferred()
        self._wanted: list[tuple[int, Deferred[bytes]]] = []

    def connectionMade(self) -> None:
        self.keepAliveAtFirst = IKeepAlive(self.transport).getKeepAlive()
        self.made.callback(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        ready = [each for each in self._wanted if each[0] <= len(self.received)]
        for each in ready:
            self._wanted.remove(each)
            each[1].callback(self.received)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason
        self.lost.callback(None)

    def has(self, reactor: Any, count: int, timeout: float = 5.0) -> Deferred[bytes]:
        """Fires when so many bytes have been received."""
        enough: Deferred[bytes] = Deferred()
        if len(self.received) >= count:
            enough.callback(self.received)
        else:
            self._wanted.append((count, enough))
            enough.addTimeout(timeout, reactor)
        return enough

    @property
    def wire(self) -> Any:
        """The transport, as something that can be closed."""
        return self.transport


class Streams(ClientFactory):
    """Makes streams, and says when one is made or cannot be; for one use at a time."""

    noisy = False

    def __init__(self) -> None:
        self.all: list[Stream] = []
        self.next: Deferred[Stream] = Deferred()
        self.failures: list[Failure] = []

    def buildProtocol(self, addr: object) -> Stream:
        built = Stream()
        self.all.append(built)
        built.made.addCallback(self._made)
        return built

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self.failures.append(reason)
        self._fire().errback(reason)

    def _made(self, stream: Stream) -> Stream:
        self._fire().callback(stream)
        return stream

    def _fire(self) -> Deferred[Stream]:
        firing, self.next = self.next, Deferred()
        return firing


class Echo(Protocol):
    """Sends back what it receives."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


def echoes() -> Factory[Echo]:
    """A factory of L{Echo}."""
    factory = Factory.forProtocol(Echo)
    factory.noisy = False
    return factory


@functools.cache
def authority() -> tuple[trustme.CA, bytes]:
    """A certificate authority, and certificate and key of C{localhost} in one PEM."""
    made = trustme.CA()
    issued = made.issue_cert(NAME, "127.0.0.1", "::1")
    pem = issued.private_key_pem.bytes() + b"".join(each.bytes() for each in issued.cert_chain_pems)
    return made, pem


def serverTLS() -> CertificateOptions:
    """What a TLS server needs."""
    _, pem = authority()
    certificate = PrivateCertificate.fromCertificateAndKeyPair(
        Certificate.loadPEM(pem), KeyPair.load(pem, 1)
    )
    options: CertificateOptions = certificate.options()
    return options


def clientTLS() -> Any:
    """What a TLS client needs to trust that server."""
    made, _ = authority()
    root = trustRootFromCertificates([Certificate.loadPEM(made.cert_pem.bytes())])
    return optionsForClientTLS(NAME, trustRoot=root)
