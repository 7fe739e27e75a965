"""The files of a TLS endpoint, and whether OpenSSL can do with them what connections need."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from txgroupsock.relay.reading import contentOf

_MOST_BYTES: Final = 1_000_000  # of a key or a certificate
_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----", re.DOTALL
)
_FLIGHTS: Final = 4  # of messages from each end: enough for any version of TLS
_METHODS: Final = ("TLS", "TLS_SERVER", "SSLv23", "TLSv1", "TLSv1_1", "TLSv1_2")


def checkTLS(given: Mapping[str, str]) -> None:
    """
    See whether a context can be made of what an C{ssl:} endpoint says; it reads the files.

    @raise OSError: one cannot be read.
    @raise ValueError: one is of no use; the text names it.
    """
    from OpenSSL import SSL, crypto  # it may not be installed

    method = given.get("sslmethod", "TLS_METHOD")
    methods = [f"{name}_METHOD" for name in _METHODS if hasattr(SSL, f"{name}_METHOD")]
    if method not in methods:
        raise ValueError(f"sslmethod={method}: it is one of {', '.join(methods)}")
    key = given.get("privateKey", "server.pem")
    certificate = given.get("certKey", key)
    keyContent, certificateContent = _contentOf(key), _contentOf(certificate)
    for path, content in ((certificate, certificateContent), (key, keyContent)):
        if b"ENCRYPTED" in content:  # Twisted looks for the key in both
            # OpenSSL would ask on the terminal, and wait.
            raise ValueError(f"{path}: it is encrypted; the relay asks nobody for a pass phrase")
    context = SSL.Context(getattr(SSL, method))

    def load(load: Callable[..., Any], content: bytes) -> Any:
        return load(crypto.FILETYPE_PEM, content)

    with _naming(certificate, "no certificate in PEM that OpenSSL takes"):
        context.use_certificate(load(crypto.load_certificate, certificateContent))
    with _naming(key, "no private key in PEM that OpenSSL takes"):
        loaded = load(crypto.load_privatekey, keyContent)
    with _naming(key, f"not the key of {certificate}"):
        context.use_privatekey(loaded)
        context.check_privatekey()
    if "extraCertChain" in given:
        path = given["extraCertChain"]
        found = _CERTIFICATE.findall(_contentOf(path))
        with _naming(path, "no certificates in PEM that OpenSSL takes"):
            for content in found:
                context.add_extra_chain_cert(load(crypto.load_certificate, content))
            if not found or not _contentOf(path).isascii():
                raise ValueError("there are none, or it is not text")
    if "dhParameters" in given:
        path = given["dhParameters"]
        _contentOf(path)
        with _naming(path, "no Diffie-Hellman parameters that OpenSSL takes"):
            context.load_tmp_dh(path.encode())
    try:
        _shakeHands(SSL, context)
    except SSL.Error as error:
        raise ValueError(
            f"no client could connect with {method} and {certificate} ({whyOpenSSL(error)}): use "
            "another certificate, and leave sslmethod= out"
        ) from error


def whyOpenSSL(error: BaseException, nothing: str = "there is nothing in it") -> str:
    """
    What an error of OpenSSL's, which may have none or several reasons, says.

    @param nothing: what it says if it has none.
    """
    reasons = error.args[0] if error.args else ()
    if isinstance(reasons, list):  # of (library, function, reason)
        return ", ".join(str(reason[-1]) for reason in reasons) or nothing
    return " ".join(str(error).split())


def _shakeHands(ssl: Any, context: Any) -> None:
    """
    Have a client of today connect, in memory (3 ms).

    @param ssl: C{OpenSSL.SSL}.
    @raise Exception: an C{Error} of that; it cannot.
    """
    server, client = (ssl.Connection(end) for end in (context, ssl.Context(ssl.TLS_METHOD)))
    server.set_accept_state()
    client.set_connect_state()
    for _ in range(_FLIGHTS):
        for here, there in ((client, server), (server, client)):
            with suppress(ssl.WantReadError):
                here.do_handshake()
            with suppress(ssl.WantReadError):
                there.bio_write(here.bio_read(_MOST_BYTES))


@contextmanager
def _naming(path: str, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path}: it is {what} ({whyOpenSSL(error)})") from error


def _contentOf(path: str) -> bytes:
    try:
        return contentOf(path, _MOST_BYTES)
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}") from error
