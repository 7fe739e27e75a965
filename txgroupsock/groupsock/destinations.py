"""Where a L{Groupsock <txgroupsock.Groupsock>} sends to, by session, and what became of it."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator

from attrs import evolve, field, frozen

from txgroupsock.groupsock.statistics import Traffic
from txgroupsock.primitives import (
    AddressError,
    Ancillary,
    IPAddress,
    NotSupportedHere,
    SocketAddress,
    ancillaryFor,
    parseAddress,
    toSocketAddress,
)
from txgroupsock.primitives.arguments import typed
from txgroupsock.primitives.sockaddr import describe, familyName, familyOf, scopeIndex

DEFAULT_TTL = 255
"""LIVE555's: as far as routers' thresholds and the group's scope let it go."""


@frozen(eq=False, field_transformer=typed)
class SessionDestination:
    """
    One receiver of what a Groupsock sends; a change to it makes another that keeps its counts.

    @ivar address: unicast or multicast.
    @ivar port: 1 to 65535.
    @ivar ttl: TTL or hop limit of what is sent to it, 1 to 255.  With 0 multicast stays on this
        host, and unicast has the system's own.
    @ivar sessionId: the caller's name for it; several destinations may share one.
    @ivar sent: what the kernel took for it.
    @ivar dropped: datagrams that it did not take, by errno.
    @ivar target: what to hand C{sendmsg}.
    @ivar ancillary: what carries the TTL of each message; L{None} where it cannot be carried (0,
        and by systems that have no such thing) and the socket has to be told.
    """

    address: IPAddress
    port: int
    ttl: int = DEFAULT_TTL
    sessionId: int = 0
    sent: Traffic = field(factory=Traffic)
    dropped: Counter[int] = field(factory=Counter)
    target: SocketAddress = field(init=False, repr=False)
    ancillary: Ancillary | None = field(init=False, repr=False)

    @target.default
    def _makeTarget(self) -> SocketAddress:
        if not self.port:
            raise AddressError(errno.EINVAL, f"send to port 0 of {self.address}", "give its port")
        return toSocketAddress(self.address, self.port)

    @ancillary.default
    def _makeAncillary(self) -> Ancillary | None:
        if not self.ttl:
            return None
        try:
            return ancillaryFor(familyOf(self.address), ttl=self.ttl)
        except NotSupportedHere:
            return None

    def __str__(self) -> str:
        return f"{describe(self.target)} with TTL {self.ttl} (session {self.sessionId})"


class Destinations:
    """
    The destinations of one Groupsock, in the order they were added.

    Every method that takes an address raises L{AddressError <txgroupsock.AddressError>} for
    one that is none of this family or has no such port, L{UnknownInterface
    <txgroupsock.UnknownInterface>} for a scope that names no interface and
    L{SocketOptionError <txgroupsock.primitives.SocketOptionError>} for a TTL out of range;
    then nothing has changed.
    """

    def __init__(self, family: int) -> None:
        """@param family: of all of them, C{AF_INET} or C{AF_INET6}."""
        self._family = family
        self._all: tuple[SessionDestination, ...] = ()

    def __iter__(self) -> Iterator[SessionDestination]:
        """Those there are now, whatever happens to the table meanwhile."""
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def ofSession(self, sessionId: int) -> SessionDestination | None:
        """The first of a session."""
        return next((each for each in self._all if each.sessionId == sessionId), None)

    def at(self, address: str | IPAddress, port: int) -> SessionDestination | None:
        """The first with this address and port."""
        wanted = self._key(self._parse(address), port)
        return next(
            (each for each in self._all if self._key(each.address, each.port) == wanted), None
        )

    def add(
        self, address: str | IPAddress, port: int, sessionId: int = 0, ttl: int = DEFAULT_TTL
    ) -> SessionDestination:
        """Add a destination, unless this session has it; the one that is there then."""
        added = SessionDestination(self._parse(address), port, ttl, sessionId)
        key = self._key(added.address, port)
        for each in self._all:
            if each.sessionId == sessionId and self._key(each.address, each.port) == key:
                return each
        self._all += (added,)
        return added

    def changed(
        self,
        sessionId: int,
        address: str | IPAddress | None = None,
        port: int | None = None,
        ttl: int | None = None,
    ) -> SessionDestination:
        """
        What the first destination of a session would be with what is given; see L{put}.

        @raise AddressError: the session has none yet, and address or port is left out.
        """
        before = self.ofSession(sessionId)
        parsed = None if address is None else self._parse(address)
        if before is not None:
            return evolve(
                before,
                address=before.address if parsed is None else parsed,
                port=before.port if port is None else port,
                ttl=before.ttl if ttl is None else ttl,
            )
        if parsed is None or port is None:
            raise AddressError(
                errno.EDESTADDRREQ,
                f"change the destination of session {sessionId}",
                "give an address and a port",
                reason="it has none yet",
            )
        return SessionDestination(parsed, port, DEFAULT_TTL if ttl is None else ttl, sessionId)

    def put(self, destination: SessionDestination) -> None:
        """Have this one as the only one of its session, in the place of the first."""
        before = self.ofSession(destination.sessionId)
        if before is None:
            self._all += (destination,)
            return
        self._all = tuple(
            destination if each is before else each
            for each in self._all
            if each is before or each.sessionId != destination.sessionId
        )

    def remove(self, sessionId: int) -> int:
        """Remove all of a session; how many there were."""
        before = len(self._all)
        self._all = tuple(each for each in self._all if each.sessionId != sessionId)
        return before - len(self._all)

    def clear(self) -> None:
        """Remove all."""
        self._all = ()

    def _parse(self, address: str | IPAddress) -> IPAddress:
        parsed = parseAddress(address)
        if familyOf(parsed) != self._family:
            raise AddressError(
                errno.EAFNOSUPPORT,
                f"send to {parsed}",
                "use a Groupsock for each family",
                reason=f"this Groupsock is {familyName(self._family)}",
            )
        if parsed.is_unspecified:
            raise AddressError(
                errno.EADDRNOTAVAIL, f"send to {parsed}", reason="it is nobody's address"
            )
        return parsed

    @staticmethod
    def _key(address: IPAddress, port: int) -> tuple[bytes, int, int]:
        """What makes two destinations the same, however their scopes are written."""
        return address.packed, scopeIndex(address), port
