"""Who may watch, and who may not."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.cred.checkers import FilePasswordDB, ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred
from zope.interface import implementer

from tests.relay.support import loggedLines
from tests.relay.viewers.support import PATH, assertQuiet, request, serving, soon
from txgroupsock.relay.viewers import Access
from txgroupsock.relay.viewers.access import Passwords


def basic(user: str, password: str) -> bytes:
    """A header of basic authentication."""
    return b"Authorization: Basic " + b64encode(f"{user}:{password}".encode())


@pytest.mark.parametrize(
    ("path", "headers", "isAdmitted"),
    [
        (PATH, [], False),
        (PATH + b"?token=right-one", [], True),
        (PATH + b"?token=%72ight-one", [], True),
        (PATH + b"?token=wrong", [], False),
        (PATH + b"?token=", [], False),
        (PATH + b"?token=righ", [], False),
        (PATH + b"?token=rightt", [], False),
        (PATH + b"?token=wrong&token=right-one", [], True),
        (PATH, [b"Authorization: Bearer right-one"], True),
        (PATH, [b"Authorization: bearer  right-one"], True),
        (PATH, [b"Authorization: Bearer wrong"], False),
        (PATH, [b"Authorization: Bearer"], False),
        (PATH, [b"Authorization: right-one"], False),
        (PATH, [basic("me", "pass")], True),
        (PATH, [basic("me", "pas")], False),
        (PATH, [basic("me", "")], False),
        (PATH, [basic("", "")], False),
        (PATH, [basic("you", "pass")], False),
        (PATH, [basic("you", "")], False),
        (PATH, [basic("j\u00fcrgen", "\u20ac")], True),
    ],
)
@pytest_twisted.ensureDeferred
async def test_whoMayWatch(
    reactor: Any, path: bytes, headers: list[bytes], isAdmitted: bool
) -> None:
    """A token or a name and a password lets somebody in; nothing else does."""
    access = Access(("the-other", "right-one"), Passwords({"me": "pass", "j\u00fcrgen": "\u20ac"}))
    with loggedLines() as lines:
        async with serving(reactor, access=access) as service:
            client = await request(reactor, service, path, *headers)
            head = await client.head(reactor)
            assert head.split(b" ")[1] == (b"200" if isAdmitted else b"401")
            challenges = [each for each in head.split(b"\r\n") if b"www-auth" in each.lower()]
            assert len(challenges) == (0 if isAdmitted else 2)
            assert bool(service.status().viewers) == isAdmitted
    assert not [each for each in lines if "right" in each]


def test_secretsAreNotShown() -> None:
    """A token is in no description, and an empty one is refused."""
    assert "right" not in repr(Access(("right-one",)))
    with pytest.raises(ValueError, match=r"tokens\[0\] is no token"):
        Access(("",))


@pytest_twisted.ensureDeferred
async def test_checkersOfTwistedCred(reactor: Any, tmp_path: Path) -> None:
    """Any checker of names and passwords will do; one that fails lets nobody in."""
    file = tmp_path / "passwords"
    file.write_text("me:pass\n")

    @implementer(ICredentialsChecker)
    class Failing:
        credentialInterfaces = (IUsernamePassword,)

        def requestAvatarId(self, credentials: object) -> Deferred[bytes | tuple[()]]:
            raise RuntimeError("broken on purpose")

    checkers: list[Any] = [FilePasswordDB(str(file)), Failing()]
    for checker, status in zip(checkers, (b"200", b"401"), strict=True):
        async with serving(reactor, access=Access(checker=checker)) as service:
            client = await request(reactor, service, PATH, basic("me", "pass"))
            assert (await client.head(reactor)).split(b" ")[1] == status


@pytest_twisted.ensureDeferred
async def test_goneBeforeItIsAdmitted(reactor: Any) -> None:
    """Who goes while its password is being looked up leaves nothing behind."""
    asked: list[Deferred[bytes | tuple[()]]] = []

    @implementer(ICredentialsChecker)
    class Slow:
        credentialInterfaces = (IUsernamePassword,)

        def requestAvatarId(self, credentials: object) -> Deferred[bytes | tuple[()]]:
            asked.append(Deferred())
            return asked[-1]

    with loggedLines() as lines:
        async with serving(reactor, access=Access(checker=Slow())) as service:
            client = await request(reactor, service, PATH, basic("me", "pass"))
            await soon(reactor, lambda: asked, "the checker is asked")
            await client.close(reactor)
            await soon(reactor, lambda: not service._site.opened, "the connection is closed")
            asked[0].callback(b"me")
            assert not service.status().totals.channels
    assertQuiet(lines)
