"""From what a service for viewers is to what another model says, without touching what stays."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.logger import Logger

from txgroupsock.relay.http.listening import ListenError, Listening
from txgroupsock.relay.turns import Turns
from txgroupsock.relay.viewers.model import StreamModel, ViewersModel

Offer: TypeAlias = tuple[str, StreamModel | str | None]


def offersOf(model: ViewersModel) -> list[Offer]:
    """Each endpoint of a model, and what it gives without being asked: L{None} if it is HTTP's."""
    return [
        *((each, None) for each in model.endpoints),
        *((e.endpoint, e.stream) for e in model.tcp),
    ]


class ViewersChange:
    """
    A change to another model, all of it or nothing.

    What is new is open, but lets nobody in yet.  Now either L{commit} or L{abandon} it; neither
    does anything if the service has been stopped meanwhile.

    Only where a new endpoint needs the port of one that goes, that one is closed first, so that
    for as long nobody can connect there.  If the change is not made, it is opened again.

    @ivar model: what the service is to be.
    @ivar listenings: for each endpoint of that, in its order.
    @ivar new: those of them that the service did not have.
    @ivar gone: those that it will not have any more.
    @ivar isOver: whether it has been committed or abandoned, or the service stopped.
    """

    _log = Logger()

    def __init__(
        self,
        model: ViewersModel,
        there: Sequence[Listening],
        make: Callable[[Offer], Listening],
        take: Callable[[ViewersChange], Deferred[Any]],
        turns: Turns,
    ) -> None:
        """
        @param there: what the service has.
        @param make: what it would have for an endpoint, not open yet.
        @param take: have the service be what the model says; fires when all that goes is closed.
        @param turns: in which to open what is new.
        """
        self.model = model
        offers = offersOf(model)
        found, self.gone = _matches(there, offers)
        self.listenings = [each or make(offer) for each, offer in zip(found, offers, strict=True)]
        self.new = [
            each for each, old in zip(self.listenings, found, strict=True) if each is not old
        ]
        self._take = take
        self._turns = turns
        self._released: list[Listening] = []
        self.isOver = False

    async def open(self) -> None:
        """
        Open what is new, so that streams do not wait for it: 0.4 ms for each endpoint.

        @raise ListenError: something could not be opened; or whatever else went wrong.  All is as
            it was before.
        """
        try:
            for each in self.new:
                if each is not self.new[0]:
                    await self._turns.free()
                await self._open(each)
        except BaseException:
            await self.abandon()
            raise

    async def _open(self, listening: Listening) -> None:
        while not self.isOver:
            try:
                await listening.open()
                listening.hold()
            except ListenError as error:
                inTheWay = [each for each in self.gone if each.has(error.taken)]
                if not inTheWay:
                    raise
                self._released += inTheWay
                await gatherResults([each.close() for each in inTheWay])
            else:
                return
        raise ListenError(listening.endpoint, "the service was stopped before that")

    def commit(self) -> Deferred[Any]:
        """
        Have the service be what the model says, at once.

        @return: fires when all that is gone, with its viewers, is closed.
        """
        if self.isOver:
            return succeed(None)
        self.isOver = True
        return self._take(self)

    def abandon(self) -> Deferred[Any]:
        """Leave the service as it was; fires when what was new is closed."""
        if self.isOver:
            return succeed(None)
        return self.end().addCallback(lambda _: Deferred.fromCoroutine(self._openAgain()))

    def end(self) -> Deferred[Any]:
        """Close what is new, and do nothing more: the service has been stopped."""
        self.isOver = True
        return gatherResults([each.close() for each in self.new])

    async def _openAgain(self) -> None:
        for each in self._released:
            try:
                await each.open()
            except ListenError as error:
                self._log.error(
                    "{endpoint} was closed for a new one, and could not be opened again: {error}",
                    endpoint=each.endpoint,
                    error=error,
                )


def _matches(
    there: Sequence[Listening], offers: Sequence[Offer]
) -> tuple[list[Listening | None], list[Listening]]:
    """For each that is wanted the one that stays, if there is one; and those that do not."""
    found: list[Listening | None] = [None] * len(offers)
    left = dict.fromkeys(there)
    # What gives the same first: which of several on any free port that is shows only there.
    for likeness in (_whole, _kind):
        like: defaultdict[Hashable, deque[Listening]] = defaultdict(deque)
        for listening in left:
            like[likeness((listening.endpoint, listening.stream))].append(listening)
        for index, offer in enumerate(offers):
            same = like[likeness(offer)]
            if found[index] is None and same:
                found[index] = listening = same.popleft()
                del left[listening]
    return found, list(left)


def _whole(offer: Offer) -> Hashable:
    return offer


def _kind(offer: Offer) -> Hashable:
    endpoint, stream = offer
    return endpoint, stream is None
