"""Routes by HTTP: looked at, added, changed and removed while the relay runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from txgroupsock.relay.admin.answer import Answer, Refusal
from txgroupsock.relay.admin.body import valueIn
from txgroupsock.relay.admin.powers import NOTHING, checkPowers
from txgroupsock.relay.config.document import Configuration, Document
from txgroupsock.relay.config.file import ConfigurationError, checkedDocument
from txgroupsock.relay.control.control import Control
from txgroupsock.relay.control.reload import ReloadService
from txgroupsock.relay.secrecy import restored, shownTable
from txgroupsock.relay.status import Outcome

Edit = Callable[[list[Any], Sequence[str]], object]
"""Changes the tables of routes, which are called so, in place; may raise L{Refusal}."""


class RoutesAPI:
    """
    The routes as the configuration has them: tables with C{name}, C{from}, C{to} and the like.

    A change holds until the configuration file is read again, or the relay ends.
    """

    def __init__(self, control: Control, reloading: ReloadService | None = None) -> None:
        """@param reloading: reads the file again, if there is one."""
        self._control = control
        self._reloading = reloading

    def all(self) -> Answer:
        """All routes."""
        return Answer.json({"routes": [shownTable(table) for _, table in self._tables()]})

    def get(self, name: str) -> Answer:
        """
        One route.

        @raise Refusal: there is none of that name.
        """
        for each, table in self._tables():
            if each == name:
                return Answer.json(shownTable(table))
        raise _unknown(name)

    async def add(self, body: bytes, who: str) -> Answer:
        """
        Add a route.

        @raise Refusal: it is wrong, or its name is taken.
        """
        table = _tableIn(body)

        def edit(routes: list[Any], names: Sequence[str]) -> None:
            if table.get("name") in names:
                raise Refusal(409, f"there is a route called {table['name']!r}; PUT replaces it")
            routes.append(checkPowers(table, NOTHING, self._control.configuration.admin))

        outcome = await self._change(f"the addition of a route by {who}", edit)
        return _answer(outcome, 201)

    async def put(self, name: str, body: bytes, who: str) -> Answer:
        """
        Have a route be another, or add it.

        @raise Refusal: it is wrong.
        """
        table = {"name": name, **_tableIn(body)}
        isNew = False

        def edit(routes: list[Any], names: Sequence[str]) -> None:
            nonlocal isNew
            isNew = name not in names
            before = NOTHING if isNew else routes[names.index(name)]
            wanted = checkPowers(restored(table, before), before, self._control.configuration.admin)
            if isNew:
                routes.append(wanted)
            else:
                routes[names.index(name)] = wanted

        outcome = await self._change(f"the change of {name} by {who}", edit)
        return _answer(outcome, 201 if isNew else 200)

    async def delete(self, name: str, who: str) -> Answer:
        """
        Remove a route.

        @raise Refusal: there is none of that name.
        """

        def edit(routes: list[Any], names: Sequence[str]) -> None:
            if name not in names:
                raise _unknown(name)
            del routes[names.index(name)]

        return _answer(await self._change(f"the removal of {name} by {who}", edit))

    async def reload(self) -> Answer:
        """
        Go over to what the configuration file says now.

        @raise Refusal: there is none, or it is wrong.
        """
        if self._reloading is None:
            raise Refusal(409, "the relay has no configuration file; start it with --config")
        return _answer(await _made(self._reloading.reload()))

    def _tables(self) -> list[tuple[str, Document]]:
        configuration = self._control.configuration
        routes = configuration.document.get("route", [])
        return [
            (name, {"name": name, **table})
            for name, table in zip(configuration.names, routes, strict=True)
        ]

    async def _change(self, what: str, edit: Edit) -> Outcome:
        def make() -> Configuration:
            now = self._control.configuration
            routes = list(now.document.get("route", []))
            edit(routes, now.names)
            document = {key: each for key, each in now.document.items() if key != "route"}
            if routes:
                document["route"] = routes
            return checkedDocument(document, what)

        return await _made(self._control.change(what, make))


async def _made(changing: Any) -> Outcome:
    """
    What became of a change.

    @raise Refusal: it was not made.
    """
    try:
        outcome: Outcome = await changing
    except ConfigurationError as error:
        problems = [{"key": each.key, "text": each.text} for each in error.problems]
        first = ": ".join(each for each in problems[0].values() if each)
        raise Refusal(400, first, problems) from None
    except (OSError, RuntimeError) as error:
        raise Refusal(409, str(error)) from None
    return outcome


def _answer(outcome: Outcome, status: int = 200) -> Answer:
    return Answer.json(
        {
            "unchanged": len(outcome.unchanged),
            "changed": outcome.changed,
            "opened": outcome.opened,
            "closed": outcome.closed,
        },
        status,
    )


def _tableIn(body: bytes) -> dict[str, Any]:
    try:
        table = valueIn(body)
    except ValueError as error:
        raise Refusal(400, str(error)) from None
    if not isinstance(table, dict):
        raise Refusal(400, 'the body is a route: {"name": …, "from": …, "to": …}')
    return table


def _unknown(name: str) -> Refusal:
    return Refusal(404, f"there is no route called {name!r}")
