"""Exceptions of this package travel: between processes, into copies, and into logs."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.error import CannotListenError

import txgroupsock
from txgroupsock.primitives.errors import GroupsockError
from txgroupsock.primitives.subscription import Membership, MembershipError

GROUP = Membership.of("232.1.1.1", None, "10.0.0.1")


def everyException() -> Iterator[type[BaseException]]:
    """Each exception class that a module of the package defines."""
    for found in pkgutil.walk_packages(txgroupsock.__path__, "txgroupsock."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        for value in vars(module).values():
            isOurs = isinstance(value, type) and value.__module__ == module.__name__
            if isOurs and issubclass(value, BaseException) and value.__name__ != "Restorable":
                yield value


# What each is made of; all others are made of one text.
MADE_OF: dict[str, Callable[[Any], BaseException]] = {
    "MembershipError": lambda kind: kind(GROUP, 22, "join", "leave it first", "it is there"),
    "JoinError": lambda kind: kind(MembershipError(GROUP, 105, "join", "raise the limit")),
    "txgroupsock.relay.viewers.web.Refusal": lambda kind: kind(503, "later", retry_after=b"5"),
    "txgroupsock.relay.admin.answer.Refusal": lambda kind: kind(
        422, "no", [{"key": "a", "text": "b"}]
    ),
    "ConfigurationError": lambda kind: kind(
        [importlib.import_module(kind.__module__).Problem("relay.toml", 3, "name", "it is empty")]
    ),
    "WrongDocument": lambda kind: kind([(("workers",), "it is a list")], isMore=True),
    "URLError": lambda kind: kind("udp://", "it has no port"),
    "ListenError": lambda kind: kind(
        "tcp:80", CannotListenError("", 80, OSError(98, "Address already in use"))
    ),
    "ToolError": lambda kind: kind("groupsock-send", "one\ntwo"),
    "CommandFailed": lambda kind: kind(("ip", "link"), 1, "no", "one\ntwo"),
}


def made(kind: type[BaseException]) -> BaseException:
    """An exception of a class."""
    for name in (kind.__name__, f"{kind.__module__}.{kind.__name__}"):
        if name in MADE_OF:
            return MADE_OF[name](kind)
    if issubclass(kind, GroupsockError):
        return kind(24, "open a socket", "close some", "there is none left")
    return kind("what went wrong")


def known(error: BaseException) -> tuple[Any, ...]:
    """All that an exception tells."""
    attributes = {
        name: getattr(error, name)
        for name in (*vars(error), "errno", "strerror", "code")
        if hasattr(error, name) and not isinstance(getattr(error, name), BaseException)
    }
    cause = error.__cause__ and known(error.__cause__)
    return type(error), error.args, str(error), repr(error), attributes, cause


@pytest.mark.parametrize("kind", [*everyException()], ids=lambda each: each.__qualname__)
@pytest.mark.parametrize("protocol", [0, 2, pickle.HIGHEST_PROTOCOL, None])
def test_anExceptionComesBackWithAllThatItTells(kind: Any, protocol: int | None) -> None:
    """Pickled in any protocol, or copied: class, args, text and attributes are the same."""
    error = made(kind)
    error.ofTheCaller = "kept"  # type: ignore[attr-defined] # as add_note() does, for one
    if protocol is None:
        back = [copy.copy(error), copy.deepcopy(error)]
    else:
        back = [pickle.loads(pickle.dumps(error, protocol))]
    assert [known(each) for each in back] == [known(error)] * len(back)
    assert str(error)
