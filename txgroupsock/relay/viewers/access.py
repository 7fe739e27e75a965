"""Who may watch: whoever has a token, or a name and a password."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping

from attrs import field, frozen
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin, UnhandledCredentials
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from txgroupsock.primitives.arguments import checked, typed

_log = Logger()


# RFC 6750 section 2.1; shorter ones are found by trying.
_TOKEN = re.compile("[A-Za-z0-9._~+/-]{8,}=*")


def tokenProblem(text: str) -> str | None:
    """Why a text can be no token; L{None} if it can."""
    if _TOKEN.fullmatch(text):
        return None
    return "a token has eight characters or more: letters, digits and -._~+/ (RFC 6750)"


def checkTokens(name: str, tokens: Iterable[str]) -> None:
    """
    Texts that can be tokens.

    @raise ValueError: one cannot; it is not told, lest it be in a log.
    """
    for place, token in enumerate(tokens):
        problem = tokenProblem(token)
        if problem is not None:
            raise ValueError(f"{name}[{place}] is no token: {problem}")


@checked
def _passwords(known: Mapping[str, str]) -> Mapping[str, str]:
    return known


def _encoded(known: Mapping[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): password.encode() for name, password in _passwords(known).items()}


@implementer(ICredentialsChecker)
@frozen
class Passwords:
    """
    Checks names and passwords that are kept in memory, in a time that does not tell them.

    @ivar known: the password of each name.
    """

    credentialInterfaces = (IUsernamePassword,)

    known: Mapping[bytes, bytes] = field(converter=_encoded, repr=False)

    def requestAvatarId(self, credentials: IUsernamePassword) -> Deferred[bytes | tuple[()]]:
        """See C{ICredentialsChecker}."""
        name: bytes = credentials.username
        known = self.known.get(name)
        isRight = hmac.compare_digest(known or b"", credentials.password)
        return succeed(name) if known is not None and isRight else fail(UnauthorizedLogin())


@frozen(field_transformer=typed)
class Access:
    """
    Who may watch; whoever meets one of the conditions may.

    Neither token nor password is hidden from the network unless the endpoint is one of TLS.

    @ivar tokens: any of these as C{?token=} or C{Authorization: Bearer}.
    @ivar checker: what checks a name and a password (basic authentication, RFC 7617), such as
        L{Passwords} or one of C{twisted.cred}.
    """

    tokens: tuple[str, ...] = field(default=(), repr=False)
    checker: ICredentialsChecker | None = None

    def __attrs_post_init__(self) -> None:
        checkTokens("tokens", self.tokens)

    @property
    def isOpen(self) -> bool:
        """Whether everybody may."""
        return not self.tokens and self.checker is None

    @property
    def challenges(self) -> list[bytes]:
        """What a client is told to show (C{WWW-Authenticate}, RFC 9110 section 11.6.1)."""
        basic = [b'Basic realm="groupsock", charset="UTF-8"'] if self.checker is not None else []
        return [*basic, *([b'Bearer realm="groupsock"'] if self.tokens else [])]

    def admits(self, tokens: list[bytes], name: bytes, password: bytes) -> Deferred[bool]:
        """
        Whether somebody may watch, who shows this.

        @param tokens: all that it shows.
        @param name: C{b""} if none.
        """
        if self.isOpen or self._knows(tokens):
            return succeed(True)
        if self.checker is None or not name:
            return succeed(False)

        def refused(failure: Failure) -> bool:
            if not failure.check(LoginFailed, UnhandledCredentials):
                _log.failure("{checker} failed", failure, checker=self.checker)
            return False

        credentials = UsernamePassword(name, password)
        checking = maybeDeferred(self.checker.requestAvatarId, credentials)
        return checking.addCallbacks(lambda _: True, refused)

    def _knows(self, tokens: list[bytes]) -> bool:
        # All of them, so that the time taken does not tell which one was right.
        return True in [
            hmac.compare_digest(known.encode(), shown) for known in self.tokens for shown in tokens
        ]
