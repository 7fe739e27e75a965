"""Where a route's datagrams go: one UDP destination."""

from __future__ import annotations

import errno
from collections import Counter
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.interfaces import IRelayOutput
from txgroupsock.primitives import (
    AddressError,
    BufferSize,
    Destination,
    DestinationStatistics,
    Flow,
    IPAddress,
    TransferError,
    interfaceIndex,
    parseAddress,
)
from txgroupsock.primitives.errors import sendAdvice
from txgroupsock.primitives.networkinterface import interfaceName
from txgroupsock.primitives.run import Run
from txgroupsock.primitives.sockaddr import describe, familyOf
from txgroupsock.relay.counters import Counters, errnoName
from txgroupsock.relay.lookup import HostLookup
from txgroupsock.relay.model import OutputModel, withScope
from txgroupsock.relay.ratelimit import RateLimit

# What passes by itself and soon: a full queue or buffer.  What concerns one datagram only is
# no reason to wait either.
_GO_ON: Final = frozenset(
    {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EMSGSIZE, errno.ECONNREFUSED}
)
# What a route that is not there, or not there yet, gives when a flow is opened.
_NO_WAY: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EACCES})


@implementer(IRelayOutput)
class UDPOutput:
    """
    Sends to one address, unicast or multicast, on a socket of its own (L{Flow
    <txgroupsock.primitives.Flow>}).

    What cannot be sent now is dropped and counted: a stream that comes late is worth nothing,
    and no destination may hold up another.  While a destination cannot be reached nothing is
    tried but a run now and then, on a new socket, so that it costs the others nothing and is
    served again as soon as it can be.

    @cvar quiet: at most one line of log about failures in so many seconds.
    @cvar firstPause: seconds until a destination that failed is tried again; doubled each time
        up to L{longestPause}.
    @ivar statistics: what became of what was sent
        (L{DestinationStatistics <txgroupsock.primitives.DestinationStatistics>}).
    """

    quiet: ClassVar[float] = 10.0
    firstPause: ClassVar[float] = 0.01
    longestPause: ClassVar[float] = 0.5

    _log = Logger()

    def __init__(self, reactor: Any, model: OutputModel) -> None:
        """
        @param reactor: provides C{IReactorTime}, and C{IReactorPluggableNameResolver} if the
            host is a name.
        """
        self.model = model
        self.statistics = DestinationStatistics()
        self._reactor = reactor
        self._flow: Flow | None = None
        self._lookup: HostLookup | None = None
        self._limit = None if model.rate is None else RateLimit(model.rate)
        self._droppedHere: Counter[str] = Counter()
        self._isOpen = False
        self._droppedSeen = 0
        self._errorsSeen: Counter[int] = Counter()
        self._failedWith: int | None = None
        self._pause = 0.0
        self._resume: IDelayedCall | None = None
        self._droppedSaid = 0
        self._saidAt = float("-inf")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model}>"

    @property
    def counters(self) -> Counters:
        """See L{IRelayOutput}."""
        statistics = self.statistics
        dropped = self._droppedHere.copy()
        for number, count in statistics.errors.items():
            dropped[errnoName(number)] += count
        return Counters(statistics.datagramsSent, statistics.bytesSent, dropped)

    @property
    def buffer(self) -> BufferSize | None:
        """The send buffer that was asked for and granted; L{None} while there is none."""
        return None if self._flow is None else self._flow.buffer

    @property
    def localAddress(self) -> tuple[str, int] | None:
        """The C{(host, port)} that receivers see as the sender; L{None} while there is none."""
        return None if self._flow is None else self._flow.localAddress

    # Life

    def openOutput(self) -> None:
        """See L{IRelayOutput}."""
        model = self.model
        interfaceIndex(model.interface)  # it has to be there, whatever the host name says
        try:
            address = parseAddress(model.host)
        except AddressError:
            family = None if model.source is None else familyOf(model.source)
            self._lookup = HostLookup(self._reactor, model.host, family, self._useAddress)
            self._lookup.start()
        else:
            self._sendTo(address)
        self._isOpen = True

    def closeOutput(self) -> Deferred[None]:
        """See L{IRelayOutput}."""
        self._isOpen = False
        if self._lookup is not None:
            self._lookup.stop()
            self._lookup = None
        self._goOn()
        if self._flow is not None:
            self._flow.close()
            self._flow = None
        return succeed(None)

    def describe(self) -> list[str]:
        """See L{IRelayOutput}."""
        if not self._isOpen:
            return []
        if self._flow is None:
            return [f"sending to {self.model.host} port {self.model.port}, not looked up yet"]
        there = self._flow.destination
        where = f"{there.target[0]} port {there.port}"
        if there.interface:
            where += f" by {interfaceName(there.interface)}"
        if there.source is not None:
            where += f" from {there.source}"
        if there.ttl is not None:
            where += f" with TTL {there.ttl}"
        return [f"sending to {where}"]

    def runReceived(self, run: Run) -> None:
        """Send every datagram of a run."""
        flow = self._flow
        if flow is None or self._resume is not None:
            self._refuse(len(run))
            return
        data = run.data
        if self._limit is not None:
            allowed = self._limit.allowed(run)
            if allowed < len(run):
                self._droppedHere["rate"] += len(run) - allowed
                if not allowed:
                    return
                data = data[: allowed * run.segmentSize]
        flow.sendRun(data, run.segmentSize)
        if self.statistics.datagramsDropped != self._droppedSeen:
            self._failed()
        elif self._failedWith is not None:
            self._recovered()

    # What goes wrong

    def _refuse(self, count: int) -> None:
        """Drop what comes while there is nowhere to send to."""
        if not self._isOpen:
            self._droppedHere["closed"] += count
        elif self._flow is None:
            self._droppedHere["lookup"] += count
        else:
            self._droppedHere[errnoName(self._failedWith)] += count

    def _failed(self) -> None:
        """Something of a run was dropped: say so now and then, and wait if that may help."""
        errors = self.statistics.errors
        self._droppedSeen = self.statistics.datagramsDropped
        number = next(iter(errors - self._errorsSeen))
        self._errorsSeen = errors.copy()
        self._say(number)
        if number not in _GO_ON:
            self._waitAfter(number)

    def _waitAfter(self, number: int | None) -> None:
        self._failedWith = number
        self._pause = min(max(2 * self._pause, self.firstPause), self.longestPause)
        self._resume = self._reactor.callLater(self._pause, self._tryAgain)

    def _tryAgain(self) -> None:
        """Have the next run sent from a new socket, with source and route chosen anew."""
        self._resume = None
        if self._flow is None:
            return
        try:
            self._sendTo(self._flow.destination.address)
        except OSError as error:
            self._waitAfter(error.errno)

    def _recovered(self) -> None:
        dropped = self.counters.dropped.total()
        self._log.info(
            "{output}: sending again ({count:,} dropped since the last such line)",
            output=self.model,
            count=dropped - self._droppedSaid,
        )
        self._droppedSaid = dropped
        self._saidAt = float("-inf")
        self._goOn()

    def _goOn(self) -> None:
        self._failedWith = None
        self._pause = 0.0
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None

    def _say(self, number: int | None) -> None:
        now = self._reactor.seconds()
        if self._flow is None or now - self._saidAt < self.quiet:
            return
        dropped = self.counters.dropped.total()
        there = describe(self._flow.destination.target)
        self._log.warn(
            "{output}: {error} ({count:,} dropped since the last such line)",
            output=self.model,
            error=TransferError(number, f"send to {there}", sendAdvice(number)),
            count=dropped - self._droppedSaid,
        )
        self._saidAt, self._droppedSaid = now, dropped

    # Where it goes

    def _sendTo(self, address: IPAddress) -> None:
        """
        Send to an address from now on, or as soon as a route leads there.

        @raise OSError: no socket can be had for it; then nothing is sent.
        """
        model = self.model
        index = interfaceIndex(model.interface)
        there = Destination(
            withScope(address, index),
            model.port,
            ttl=model.ttl,
            dscp=model.dscp,
            interface=index,
            source=model.source,
        )
        there.statistics = self.statistics
        before = self._flow
        flow = Flow(there, 0 if before is None else before.port)
        if before is not None:
            before.close()
        self._flow = flow
        try:
            flow.open()
        except TransferError as error:
            if error.errno not in _NO_WAY:
                raise
            self._say(error.errno)
            self._waitAfter(error.errno)

    def _useAddress(self, address: IPAddress) -> None:
        """Send to what the host name stands for now."""
        self._goOn()
        try:
            self._sendTo(address)
        except OSError as error:
            self._log.warn("{output}: {error}", output=self.model, error=error)
            self._waitAfter(error.errno)
