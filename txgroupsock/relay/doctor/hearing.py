"""Listening to a stream for a bounded time, as any program would, and at the interfaces."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from attrs import frozen

from txgroupsock.primitives import (
    parseAddress,
    setReuse,
    socketJoinGroup,
    socketJoinGroupSSM,
    toSocketAddress,
)
from txgroupsock.primitives.constants import (
    IP_RECVFRAGSIZE,
    IP_RECVTTL,
    IP_TTL_PER_MESSAGE,
    IPV6_HOPLIMIT,
    IPV6_RECVFRAGSIZE,
    IPV6_RECVHOPLIMIT,
)
from txgroupsock.primitives.errors import GroupsockError
from txgroupsock.primitives.options import hearOnlyOwnGroups
from txgroupsock.primitives.sockaddr import IPAddress, familyOf, withoutScope
from txgroupsock.relay.doctor.capture import Capture
from txgroupsock.relay.doctor.packet import Query
from txgroupsock.relay.doctor.tally import Flow, Tallies, tallyOf
from txgroupsock.relay.models.udp import InputModel, withScope

_MOST_READS: Final = 1000  # before others have their turn
_SLICE: Final = 100  # ms until somebody may stop it
_BUFFER: Final = 4 * 1024 * 1024


@frozen
class Heard:
    """
    What was heard.

    @ivar seconds: how long it took.
    @ivar atSocket: what came to a socket of our own; L{None} if there was none.
    @ivar atInterfaces: what came to the interfaces; L{None} if this may not be looked at.
    @ivar blindness: why it may not.
    @ivar queries: of IGMP or MLD, with the name of the interface.
    """

    seconds: float
    atSocket: Tallies | None
    atInterfaces: Tallies | None
    blindness: str = ""
    queries: frozenset[tuple[str, Query]] = frozenset()


def hear(
    model: InputModel,
    interface: int,
    seconds: float,
    isStopped: Callable[[], bool] = lambda: False,
    *,
    opens: bool = True,
) -> Heard:
    """
    Listen to a stream; blocks.

    @param interface: index of where a group is joined.
    @param isStopped: asked ten times a second; then it ends at once.
    @param opens: whether there is a socket; else only the interfaces are looked at.
    @raise OSError: the socket cannot be opened, or the group not be joined.
    """
    with ExitStack() as opened:
        capture, blindness = None, ""
        try:
            capture = opened.enter_context(Capture(model.address, model.port))
        except OSError as error:
            blindness = str(error.strerror or error)
        ear = opened.enter_context(_Ear(model, interface)) if opens else None
        poll = select.poll()
        sources: dict[int, _Ear | Capture] = {
            each.fileno(): each for each in (ear, capture) if each is not None
        }
        for number in sources:
            poll.register(number, select.POLLIN)
        began = time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0 and not isStopped():
            for number, _ in poll.poll(min(_SLICE, 1000 * left)):
                sources[number].read()
        return Heard(
            max(time.monotonic() - began, 0.001),
            None if ear is None else ear.tallies,
            None if capture is None else capture.tallies,
            blindness,
            frozenset() if capture is None else frozenset(capture.queries),
        )


class _Ear:
    """A socket that receives a stream beside whoever else does."""

    def __init__(self, model: InputModel, interface: int) -> None:
        address = model.address
        family = familyOf(address)
        self.tallies: Tallies = {}
        self._model = model
        self._socket = sock = socket.socket(family, socket.SOCK_DGRAM)
        self._destination = withoutScope(address)
        try:
            sock.setblocking(False)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Never for unicast: there two sockets on one port take datagrams from each other.
            if model.isMulticast:
                setReuse(sock, address=True, port=False)
                hearOnlyOwnGroups(sock)  # from the first moment
            _askForDetails(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._bind(withScope(address, interface))
            for source in model.sources:
                socketJoinGroupSSM(sock, address, source, interface or None)
            if model.isMulticast and not model.sources:
                socketJoinGroup(sock, address, interface or None)
        except BaseException:
            sock.close()
            raise

    def __enter__(self) -> _Ear:  # noqa: PYI034 - as above
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def _bind(self, address: IPAddress) -> None:
        where = toSocketAddress(address, self._model.port)
        try:
            self._socket.bind(where)
        except OSError as error:
            raise PortTaken(error.errno, f"bind to {address} port {self._model.port}") from error

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> None:
        """Count what has come."""
        for _ in range(_MOST_READS):
            try:
                data, ancillary, _, sender = self._socket.recvmsg(65536, 128)
            except OSError:  # there is no more; or an error of some datagram, which is no matter
                return
            ttl, isFragment = None, False
            for _, kind, value in ancillary:
                if len(value) != 4:
                    continue
                number = struct.unpack("@i", value)[0]
                if kind in (IP_RECVFRAGSIZE, IPV6_RECVFRAGSIZE):
                    isFragment = number > 0
                elif kind in (IP_TTL_PER_MESSAGE, IPV6_HOPLIMIT):
                    ttl = number
            source = withoutScope(parseAddress(sender[0]))
            flow = Flow(source, self._destination, self._model.port)
            tallyOf(flow, self.tallies).add(len(data), ttl, isFragment=isFragment)


class PortTaken(GroupsockError):
    """The port cannot be bound."""


def _askForDetails(sock: socket.socket) -> None:
    """Have the kernel tell what it knows of each datagram, as far as it can."""
    options = (
        (socket.IPPROTO_IP, (IP_RECVTTL, IP_RECVFRAGSIZE))
        if sock.family == socket.AF_INET
        else (socket.IPPROTO_IPV6, (IPV6_RECVHOPLIMIT, IPV6_RECVFRAGSIZE))
    )
    for each in options[1]:
        try:
            if each is not None:
                sock.setsockopt(options[0], each, 1)
        except OSError:  # an older kernel; then it is not known
            pass
