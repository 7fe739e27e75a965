"""Asking a relay for its status, by HTTP."""

from __future__ import annotations

import base64
import http.client
import netrc
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from txgroupsock.tools.top.snapshot import Snapshot
from txgroupsock.tools.top.text import visible

DEFAULT_URL = "http://127.0.0.1:8088"
PATIENCE = 5.0  # seconds without a byte, after which a server does not answer
_LONGEST = 20.0  # seconds that a whole answer may take
_LARGEST = 64 * 1024 * 1024  # bytes of an answer: 25,000 routes of 3 outputs
_PIECE = 65536

_WAYS = (
    "set GROUPSOCK_TOKEN, or GROUPSOCK_USER and GROUPSOCK_PASSWORD, or put 'machine {host} "
    "login NAME password PASSWORD' into ~/.netrc"
)


class NoStatus(Exception):
    """There is none to be had now; the text says why, and what to do, in one line."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nobody elsewhere, for the token would go along."""

    def redirect_request(self, *_: Any) -> None:
        """See the base class: L{None} makes it an error."""


@frozen
class Server:
    """
    Where a relay answers, and what it is told about who asks.

    @ivar url: of the server, as people write it, without a path to the status.
    @ivar authorization: the header of that name; L{None}: none.
    @ivar credentials: where that came from, in words.
    """

    url: str
    authorization: str | None = field(default=None, repr=False)
    credentials: str = ""

    @classmethod
    def of(cls, text: str, environment: Mapping[str, str]) -> Server:
        """
        @param text: a URL; C{http://} may be left out.
        @param environment: may have a token, or a name and a password; else C{~/.netrc} may.

        @raise ValueError: in words, what is wrong with it.
        """
        url = (text if "://" in text else f"http://{text}").rstrip("/").removesuffix("/api/status")
        wrong = ValueError(f"{visible(text)} is no URL such as {DEFAULT_URL}")
        if not text.isascii() or not text.isprintable() or " " in text:
            raise wrong
        try:
            parts = urlsplit(url)
            isRight = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            raise wrong from None
        if not isRight:
            raise wrong
        if "@" in parts.netloc:
            raise ValueError(f"others can read what is in a URL: {_WAYS.format(host='HOST')}")
        if parts.query or parts.fragment:
            raise ValueError(f"{text}: leave out what follows the path, such as ?{parts.query}")
        return cls(url, *_credentials(parts.hostname or "", environment))

    def ask(self) -> Snapshot:
        """
        What the relay says now.

        @raise NoStatus: it says nothing, or nothing that could be understood.
        """
        # No proxy: it is asked for the relay itself, mostly on this host.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
        headers = {"Accept": "application/json"}
        if self.authorization is not None:
            headers["Authorization"] = self.authorization
        request = urllib.request.Request(f"{self.url}/api/status", headers=headers)  # noqa: S310 - it is http or https
        try:
            with opener.open(request, timeout=PATIENCE) as answer:
                data = _read(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise NoStatus(self._refusal(error)) from None
        except urllib.error.URLError as error:
            raise NoStatus(self._silence(error.reason)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NoStatus(self._silence(error)) from None
        try:
            return Snapshot.parse(data)
        except ValueError:
            raise NoStatus(f"what {self.url} answers is not the status of a relay") from None

    def _refusal(self, error: urllib.error.HTTPError) -> str:
        if error.code == http.HTTPStatus.UNAUTHORIZED:
            if self.authorization is not None:
                return f"{self.url} does not accept {self.credentials}"
            host = urlsplit(self.url).hostname
            return f"{self.url} asks who you are: {_WAYS.format(host=host)}"
        if error.code == http.HTTPStatus.NOT_FOUND:
            return f"{self.url} has no /api/status: give the address of the relay's [admin]"
        location = error.headers.get("Location")
        if location is not None:
            return f"{self.url} is elsewhere: try {visible(location)}"
        return f"{self.url} answers {error.code} {visible(str(error.reason))}"

    def _silence(self, reason: object) -> str:
        if isinstance(reason, ssl.SSLCertVerificationError):
            return (
                f"{self.url} cannot show who it is ({visible(reason.verify_message)}): "
                "SSL_CERT_FILE names a file of certificates to trust"
            )
        if isinstance(reason, TimeoutError):
            return f"{self.url} does not answer in time: is it the relay, and is it busy?"
        why = reason.strerror if isinstance(reason, OSError) and reason.strerror else reason
        return (
            f"{self.url} does not answer ({visible(str(why))}): does the relay run, with [admin] "
            "or --admin, and is this its address?"
        )


def _read(answer: Any) -> bytes:
    end = time.monotonic() + _LONGEST
    pieces, size = [], 0
    while piece := answer.read1(_PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > _LARGEST:
            raise ValueError("its answer has no end")
        if time.monotonic() > end:
            raise TimeoutError
    return b"".join(pieces)


def _credentials(host: str, environment: Mapping[str, str]) -> tuple[str | None, str]:
    token = environment.get("GROUPSOCK_TOKEN")
    if token:
        if not token.isascii() or not token.isprintable():
            raise ValueError("GROUPSOCK_TOKEN is no token: it has characters that no token has")
        return f"Bearer {token}", "the token in GROUPSOCK_TOKEN"
    user = environment.get("GROUPSOCK_USER")
    if user:
        password = environment.get("GROUPSOCK_PASSWORD", "")
        return _basic(user, password), "GROUPSOCK_USER and GROUPSOCK_PASSWORD"
    try:
        # Not its `default`, which is meant for whom it may concern.
        entry = netrc.netrc().hosts.get(host)
    except FileNotFoundError:
        return None, ""
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError) as error:
        raise ValueError(f"~/.netrc cannot be read: {visible(str(error))}") from None
    if entry is None:
        return None, ""
    return _basic(entry[0], entry[2] or ""), f"the password for {host} in ~/.netrc"


def _basic(user: str, password: str) -> str:
    both = f"{user}:{password}".encode("utf-8", "surrogateescape")
    return f"Basic {base64.b64encode(both).decode()}"
