"""
What one process is asked to do: one model, whoever asks for it.

A file, a command line and the API all make a document, which is what a TOML file is when it has
been read: tables, lists, texts, numbers.  This checks a document and makes the model of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from attrs import evolve, field, frozen

from txgroupsock.primitives.errors import Restorable
from txgroupsock.relay.config.admin import AdminModel
from txgroupsock.relay.config.health import healthOf
from txgroupsock.relay.config.keys import FILE, LIMITS
from txgroupsock.relay.config.kinds import Amount
from txgroupsock.relay.config.positions import KeyPath
from txgroupsock.relay.config.recording import recordingOf, recordingProblems
from txgroupsock.relay.config.redundancy import problemsOf, redundancyOf
from txgroupsock.relay.engine.model import Refusal, RelayModel, RouteRequest
from txgroupsock.relay.models.udp import InputModel
from txgroupsock.relay.models.url import URLError
from txgroupsock.relay.viewers.access import Access, Passwords, tokenProblem
from txgroupsock.relay.viewers.allowlist import AllowError, AllowList, AllowRule
from txgroupsock.relay.viewers.model import Form, Limits, StreamModel, TCPModel, ViewersModel

Document = Mapping[str, Any]
"""A configuration as TOML and JSON have it."""

Report = Callable[[KeyPath, str], None]
"""Takes each thing that is wrong: where, and why, with the remedy."""

MOST_PROBLEMS = 100
"""Things that are wrong in a document, of which is told: nobody reads 100,000."""

_MORE = f"more than these {MOST_PROBLEMS} things are wrong; mend them, and see what is left"

VIEWERS_ENDPOINT = "tcp:8080:interface=127.0.0.1"
ADMIN_ENDPOINT = "tcp:8088:interface=127.0.0.1"

_FORMS = {"plain": Form.PLAIN, "rtp": Form.RTP, "framed": Form.FRAMED}
_BARE = re.compile("[A-Za-z0-9_-]+")
_MOST_CHARACTERS = 1000  # of what is said of one thing; without long URLs it is some 300 at most


@frozen
class Configuration:
    """
    What a process is asked to do.

    @ivar relay: its routes.
    @ivar viewers: what it serves to viewers; without endpoints, nothing.
    @ivar admin: what it serves to operators; without endpoints, nothing.
    @ivar document: what all this was made of.
    @ivar names: what each route of the document is called, those that are disabled or have no
        outputs included.
    """

    relay: RelayModel
    viewers: ViewersModel = field(factory=lambda: ViewersModel(endpoints=()))
    admin: AdminModel = field(factory=AdminModel)
    document: Document = field(factory=dict, eq=False, repr=False)
    names: tuple[str, ...] = ()


class WrongDocument(Restorable, Exception):
    """
    A document asks for what cannot be.

    @ivar found: everything that is wrong, where and why; L{MOST_PROBLEMS} at most.
    @ivar more: what is to be told after it: that there is more, if there is.
    """

    def __init__(self, found: Sequence[tuple[KeyPath, str]], *, isMore: bool) -> None:
        super().__init__(f"{len(found)} things are wrong")
        self.found = found
        self.more = [_MORE] if isMore else []


def configurationOf(document: Document) -> Configuration:
    """
    What a document asks for.

    @raise WrongDocument: something is wrong in it.  It is looked at no further where that is
        much, so that what is wrong all through takes no longer than what is right.
    """
    found: list[tuple[KeyPath, str]] = []

    def report(path: KeyPath, why: str) -> None:
        if len(found) == MOST_PROBLEMS:
            raise WrongDocument(found, isMore=True)
        found.append((path, _shortened(why)))

    configuration = _configurationOf(document, report)
    if found:
        raise WrongDocument(found, isMore=False)
    return configuration


def _configurationOf(document: Document, report: Report) -> Configuration:
    """
    What a document asks for, without what is wrong in it.

    @param report: called with each thing that is wrong; if it never is, the result is whole.
    """
    for path, why in FILE.check(document, ()):
        report(path, why)
    relay, names = _relayOf(document, report)
    streams = _streamsOf(document, relay, names, report)
    return Configuration(
        evolve(relay, routes=tuple(each for each in relay.routes if each.outputs or each.record)),
        _viewersOf(document, streams, report),
        _adminOf(document),
        document,
        names,
    )


def textsIn(table: Document, key: str) -> list[tuple[KeyPath, str]]:
    """The texts under a key, which may be one or a list, and where each stands in it."""
    value = table.get(key)
    if isinstance(value, str):
        return [((), value)]
    return [
        ((index,), each) for index, each in enumerate(_listIn(table, key)) if isinstance(each, str)
    ]


def written(path: KeyPath) -> str:
    """A path as people write it, counted from 1: C{route[2].to[1]}."""
    parts = []
    for part in path:
        if isinstance(part, int):
            parts.append(f"[{part + 1}]")
        else:
            parts.append(f".{part}" if _BARE.fullmatch(part) else f".{json.dumps(part)}")
    return _shortened("".join(parts).removeprefix("."))


def _shortened(text: str) -> str:
    """A text for people, without the middle where it is very long: a URL may be the whole file."""
    half = _MOST_CHARACTERS // 2
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:half]} […] {text[-half:]}"


# Routes


def _relayOf(document: Document, report: Report) -> tuple[RelayModel, tuple[str, ...]]:
    """The routes, those without outputs included, and what each table's is called."""
    tables = _tablesIn(document, "route")
    requests = [
        RouteRequest(
            _inputsIn(table),
            [text for _, text in textsIn(table, "to")],
            _textIn(table, "name"),
            table.get("enabled") is not False,
            redundancyOf(table),
            healthOf(document.get("health"), table.get("health")),
            recordingOf(table.get("record")),
        )
        for _, table in tables
    ]
    for (index, table), request in zip(tables, requests, strict=True):
        for where, why in problemsOf(table):
            report(("route", index, *where), why)
        for where, why in recordingProblems(table.get("record"), request.health):
            report(("route", index, "record", *where), why)

    @cache
    def urlsOf(route: int, key: str) -> list[tuple[KeyPath, str]]:
        _, table = tables[route]
        return _urlsIn(table) if key == "from" else textsIn(table, key)

    def refuse(refusal: Refusal) -> None:
        index, _ = tables[refusal.route]
        path: KeyPath = ("route", index, refusal.key)
        if refusal.key != "name":
            place = urlsOf(refusal.route, refusal.key)[refusal.index][0]
            if len(place) > 1 and requests[refusal.route].redundancy is None:
                return  # there should be no such list, which has been said
            path += place
        report(path, str(refusal.error))

    relay = RelayModel.checked(requests, refuse)
    running, disabled = iter(relay.routes), iter(relay.disabled)
    found = [next(running if each.isEnabled else disabled, None) for each in requests]
    workers = document.get("workers")
    relay = evolve(relay, workers=workers if type(workers) is int else None)  # no bool
    return relay, tuple(each.name for each in found if each is not None)


def _streamsOf(
    document: Document, relay: RelayModel, names: Sequence[str], report: Report
) -> dict[str, StreamModel]:
    """What routes offer to viewers."""
    routes = {each.name: each for each in relay.routes}
    streams = {}
    for index, table in _tablesIn(document, "route"):
        form, name = _FORMS.get(_textIn(table, "viewers")), _textIn(table, "name")
        if form is None:
            continue
        if not name or "/" in name or name in (".", ".."):
            report(
                ("route", index, "name") if name else ("route", index),
                "viewers ask for it by its name, as /NAME; give it one without a slash",
            )
        elif name in routes:
            route = routes[name]
            # What is relayed all the time is looked at there.
            health = None if route.outputs or route.record else route.health
            streams[name] = StreamModel(route.input, form, health)
            if (relay.workers or 1) > 1 and not route.input.isMulticast:
                report(
                    ("route", index, "viewers"),
                    "a worker receives this, and only a group can be received twice; leave out "
                    "workers, or give it a group",
                )
    return streams


# Services


def _viewersOf(
    document: Document, streams: Mapping[str, StreamModel], report: Report
) -> ViewersModel:
    table = document.get("viewers")
    if not isinstance(table, dict):
        if streams:
            report((), "routes have viewers, but there is no [viewers], which says where to listen")
        return ViewersModel(endpoints=())
    tcp = []
    for index, each in _tablesIn(table, "tcp"):
        stream = _tcpStreamOf(each, ("viewers", "tcp", index), streams, report)
        if stream is not None:
            tcp += [TCPModel(endpoint, stream) for _, endpoint in textsIn(each, "listen")]
    return ViewersModel(
        tuple(text for _, text in textsIn(table, "listen")) or (VIEWERS_ENDPOINT,),
        _allowedIn(table),
        streams,
        tuple(tcp),
        _accessIn(table),
        _limitsIn(table),
    )


def _tcpStreamOf(
    table: Document, path: KeyPath, streams: Mapping[str, StreamModel], report: Report
) -> StreamModel | str | None:
    wanted, form = _textIn(table, "stream"), _FORMS.get(_textIn(table, "form"))
    if "://" in wanted:
        try:
            return StreamModel(InputModel.parse(wanted), form or Form.PLAIN)
        except URLError as error:
            report((*path, "stream"), str(error))
            return None
    if wanted and wanted not in streams:
        report((*path, "stream"), f"no route that has viewers is called {wanted!r}")
        return None
    if not wanted or form is None:
        return wanted or None
    return evolve(streams[wanted], form=form)


def _allowedIn(table: Document) -> AllowList:
    rules = []
    for _, text in textsIn(table, "allow"):
        with suppress(AllowError):  # which the check has reported
            rules.append(AllowRule.parse(text))
    return AllowList(tuple(rules))


def _limitsIn(table: Document) -> Limits:
    limits: dict[str, Any] = {}
    usual = Limits()
    found = table.get("limits")
    for name, value in (found if isinstance(found, dict) else {}).items():
        kind = LIMITS.get(name)
        if kind is None or any(kind.check(value, ())):
            continue
        number = kind.quantity.parse(value) if isinstance(kind, Amount) else value
        limits[name] = type(getattr(usual, name))(number)
    return Limits(**limits)


def _adminOf(document: Document) -> AdminModel:
    table = document.get("admin")
    if not isinstance(table, dict):
        return AdminModel()
    tokens = _tokensIn(table)
    return AdminModel(
        tuple(text for _, text in textsIn(table, "listen")) or (ADMIN_ENDPOINT,),
        _accessIn({**table, "tokens": tokens and list(tokens)} if table.get("users") else {}),
        tokens,
        tuple(text for _, text in textsIn(table, "recordingFolders")),
        tuple(text for _, text in textsIn(table, "hookHosts")),
    )


def _tokensIn(table: Document) -> tuple[str, ...]:
    return tuple(text for _, text in textsIn(table, "tokens") if tokenProblem(text) is None)


def _accessIn(table: Document) -> Access:
    tokens = _tokensIn(table)
    users = table.get("users")
    passwords = {
        name: each
        for name, each in (users if isinstance(users, dict) else {}).items()
        if isinstance(each, str)
    }
    return Access(tokens, Passwords(passwords) if passwords else None)


# Documents


def _inputsIn(table: Document) -> list[str | list[str]]:
    """What a route receives: the URLs, and for a list of them a list."""
    value = table.get("from")
    return [
        each if isinstance(each, str) else [text for text in each if isinstance(text, str)]
        for each in ([value] if isinstance(value, str) else _listIn(table, "from"))
        if isinstance(each, str | list)
    ]


def _urlsIn(table: Document) -> list[tuple[KeyPath, str]]:
    """The same in one list, and where each stands."""
    found = textsIn(table, "from")
    for index, each in enumerate(_listIn(table, "from")):
        found += [((index, *path), text) for path, text in textsIn({"": each}, "") if path]
    return sorted(found, key=lambda each: each[0])


def _textIn(table: Document, key: str) -> str:
    value = table.get(key)
    return value if isinstance(value, str) else ""


def _listIn(table: Document, key: str) -> Sequence[Any]:
    value = table.get(key)
    return value if isinstance(value, list) else ()


def _tablesIn(table: Document, key: str) -> list[tuple[int, Document]]:
    """The tables of a list, and where each stands in it."""
    return [
        (index, each) for index, each in enumerate(_listIn(table, key)) if isinstance(each, dict)
    ]
