"""A datagram on the wire of an in-memory network, and what may become of it there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

from txgroupsock.primitives.arguments import checked


@frozen
class Datagram:
    """
    A datagram as it is sent; named as in L{UDPFrame <txgroupsock.testing.wire.UDPFrame>}.

    @ivar source: the sender's address, as text without a scope; so is C{destination}.
    @ivar ttl: time to live or hop limit.
    @ivar time: when it was sent, in seconds of the reactor's clock.
    """

    source: str
    destination: str
    sourcePort: int
    destinationPort: int
    ttl: int
    dscp: int
    payload: bytes
    time: float


Loss: TypeAlias = Callable[[Datagram], bool]
"""Called once with each datagram sent; true for one that is to be lost."""

Delay: TypeAlias = Callable[[Datagram], float]
"""Called once with each datagram that is not lost; how many seconds it is on its way."""


@checked
def everyNth(number: int) -> Loss:
    """
    Lose one datagram in so many: the C{number}-th, and so on.

    @raise ValueError: C{number} is less than 1.
    """
    if number < 1:
        raise ValueError(f"every datagram is one in 1; there is no one in {number}")
    seen = 0

    def isLost(_datagram: Datagram) -> bool:
        nonlocal seen
        seen += 1
        return seen % number == 0

    return isLost
