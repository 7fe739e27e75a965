"""An even UDP port for RTP and the odd one after it for RTCP (RFC 3550 section 11)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import AbstractDatagramProtocol, DatagramProtocol

from txgroupsock.ports.multicast import JoinError
from txgroupsock.ports.udp import UDPPort
from txgroupsock.primitives import (
    AddressError,
    GroupsockError,
    InterfaceLike,
    IPAddress,
    parseGroup,
)
from txgroupsock.primitives.sockaddr import familyOf

# With half of all ports taken, as many tries fail once in a thousand million times.
_TRIES = 30


@frozen
class RTPPair:
    """
    Two open ports.

    @ivar rtp: the even one.
    @ivar rtcp: the next.
    """

    rtp: UDPPort
    rtcp: UDPPort

    def stopListening(self) -> Deferred[Any]:
        """Close both; fires when they are."""
        return gatherResults([self.rtp.stopListening(), self.rtcp.stopListening()])


class _NotYet(DatagramProtocol):
    """Has a port until both are there."""

    noisy = False


def openRTPPair(
    reactor: Any,
    port: int,
    rtp: AbstractDatagramProtocol,
    rtcp: AbstractDatagramProtocol,
    interface: InterfaceLike,
    maxPacketSize: int,
    *,
    group: str | IPAddress | None,
    sources: Iterable[str | IPAddress],
    listenMultiple: bool,
    family: int | None,
) -> RTPPair:
    """See L{GroupsockReactor.listenRTP <txgroupsock.GroupsockReactor.listenRTP>}."""
    sources = list(sources)
    if sources and group is None:
        raise ValueError("sources are those of a group; name it")
    if group is not None and family is None:
        try:
            family = familyOf(parseGroup(group))
        except GroupsockError as error:
            raise JoinError(error) from error

    def opened(number: int) -> UDPPort:
        made = UDPPort(
            reactor,
            _NotYet(),
            number,
            interface,
            maxPacketSize,
            listenMultiple=listenMultiple and port != 0,
            family=family,
            openSocket=reactor.openSocket,
        )
        made.startListening()
        return made

    with ExitStack() as onFailure:
        if port == 1:
            none = AddressError(errno.EINVAL, "use the port before 1", reason="there is none")
            raise CannotListenError(interface, port, none)
        open_ = partial(_openPair, even=port & ~1) if port else _choosePair
        pair = open_(opened, onFailure)
        for each in (pair.rtp, pair.rtcp):
            _join(each, group, sources)
        for each, protocol in ((pair.rtp, rtp), (pair.rtcp, rtcp)):
            each.useProtocol(protocol)
            protocol.makeConnection(each)
        onFailure.pop_all()
    return pair


def _openPair(opened: Callable[[int], UDPPort], onFailure: ExitStack, even: int) -> RTPPair:
    """That pair and no other."""
    rtp = opened(even)
    onFailure.callback(rtp.connectionLost)
    rtcp = opened(even + 1)
    onFailure.callback(rtcp.connectionLost)
    return RTPPair(rtp, rtcp)


def _choosePair(opened: Callable[[int], UDPPort], onFailure: ExitStack) -> RTPPair:
    """Any pair: one port of the kernel's choice, and the other half of its pair."""
    # A port without a partner stays open for so long, or the kernel might choose it again.
    with ExitStack() as partnerless:
        for remaining in reversed(range(_TRIES)):
            first = opened(0)
            number = first.getHost().port
            try:
                second = opened(number ^ 1)
            except CannotListenError:
                partnerless.callback(first.connectionLost)
                if not remaining:
                    raise
                continue
            for each in (first, second):
                onFailure.callback(each.connectionLost)
            return RTPPair(first, second) if number % 2 == 0 else RTPPair(second, first)
    raise AssertionError("unreachable")


def _join(port: UDPPort, group: str | IPAddress | None, sources: list[str | IPAddress]) -> None:
    if group is None:
        return
    try:
        if not sources:
            port.memberships.join(group)
        for source in sources:
            port.memberships.joinSource(group, source)
    except GroupsockError as error:
        raise JoinError(error) from error
