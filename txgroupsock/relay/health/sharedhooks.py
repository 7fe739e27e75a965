"""Hooks that routes share."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList, gatherResults

from txgroupsock.ports.clock import steady
from txgroupsock.primitives.arguments import checked
from txgroupsock.relay.health.hooks import CommandHook, Hook, URLHook
from txgroupsock.relay.health.model import HookModel


class SharedHooks:
    """
    The hooks of one process: those that are alike are made once, and closed when nobody needs
    them any more.
    """

    def __init__(self, reactor: Any) -> None:
        """@param reactor: as for L{CommandHook}."""
        self._reactor = steady(reactor)
        self._taken: dict[HookModel, tuple[tuple[Hook, ...], list[str]]] = {}
        self._finishing: set[Deferred[Any]] = set()

    @checked
    def take(self, model: HookModel, user: str = "") -> tuple[Hook, ...]:
        """
        The hooks of a model; L{giveBack} has to follow.

        @param user: the route whose alarms they are told, for the log.
        """
        if model not in self._taken:
            self._taken[model] = (self._made(model), [])
        hooks, users = self._taken[model]
        users.append(user)
        for hook in hooks:
            hook.users = users
        return hooks

    @checked
    def giveBack(self, model: HookModel, user: str = "") -> None:
        """
        Need the hooks of a model no more; of the alarms before, they still tell, but not for long
        (L{Hook.finish}).
        """
        hooks, users = self._taken[model]
        if len(users) > 1:
            users.remove(user)
            return
        del self._taken[model]  # whose they were is said yet of what they do not tell
        finishing = gatherResults([hook.finish() for hook in hooks])
        self._finishing.add(finishing)
        finishing.addBoth(lambda _: self._finishing.discard(finishing))

    def endedAfter(self, result: Any) -> Deferred[Any]:
        """A result, when nothing is told any more by hooks that nobody needs."""
        return DeferredList(list(self._finishing)).addCallback(lambda _: result)

    def _made(self, model: HookModel) -> tuple[Hook, ...]:
        hooks: list[Hook] = []
        if model.command:
            hooks.append(CommandHook(self._reactor, model.command))
        if model.url:
            hooks.append(URLHook(self._reactor, model.url))
        return tuple(hooks)
