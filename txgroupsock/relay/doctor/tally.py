"""What came of one stream while somebody listened."""

from __future__ import annotations

from typing import Final

from attrs import define, field, frozen

from txgroupsock.primitives.sockaddr import IPAddress

MOST: Final = 64
"""Streams that are told apart; what comes of others is not counted."""


@frozen
class Flow:
    """
    Datagrams from one host to one address and port.

    @ivar interface: name of the one that they come by; C{""} if that is not known.
    @ivar port: 0 if it is not known, as for fragments whose first is missing.
    """

    source: IPAddress
    destination: IPAddress
    port: int
    interface: str = ""


@define
class Tally:
    """
    How many came.

    @ivar bytes: of payload.
    @ivar ttls: TTL or hop limit of each.
    @ivar fragments: how many came in fragments, or are one.
    """

    datagrams: int = 0
    bytes: int = 0
    smallest: int = 0
    largest: int = 0
    ttls: set[int] = field(factory=set)
    fragments: int = 0

    def add(self, size: int, ttl: int | None, *, count: int = 1, isFragment: bool = False) -> None:
        """
        Count some more.

        @param size: bytes of payload of each.
        """
        self.datagrams += count
        self.bytes += size * count
        self.largest = max(self.largest, size)
        self.smallest = min(self.smallest, size) if self.datagrams > count else size
        self.fragments += isFragment
        if ttl is not None:
            self.ttls.add(ttl)


Tallies = dict[Flow, Tally]


def tallyOf(flow: Flow, tallies: Tallies) -> Tally:
    """That of a stream; one that nobody looks at if there are too many already."""
    found = tallies.get(flow)
    if found is None:
        found = Tally()
        if len(tallies) < MOST:
            tallies[flow] = found
    return found
