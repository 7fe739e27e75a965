"""Where a route's datagrams go: one UDP destination."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.ports.clock import steady
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
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.checks import needClosed
from txgroupsock.primitives.errors import sendAdvice
from txgroupsock.primitives.networkinterface import interfaceName
from txgroupsock.primitives.run import Run
from txgroupsock.primitives.sockaddr import describe, familyOf
from txgroupsock.relay.carriers.udp.hostlookup import HostLookup
from txgroupsock.relay.carriers.udp.ratelimit import RateLimit
from txgroupsock.relay.counters import Counters, bitRate, errnoName
from txgroupsock.relay.interfaces import IRelayOutput, IWarning
from txgroupsock.relay.models.udp import OutputModel, withScope

# What passes by itself and soon: a full queue or buffer.  What concerns one datagram only is
# no reason to wait either.
_GO_ON: Final = frozenset(
    {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EMSGSIZE, errno.ECONNREFUSED}
)
# What a flow gives when it is opened and there is no route, or no route yet; or, for IPv6, no
# address of this host's that it could come from.
_NO_WAY: Final = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EACCES, errno.EADDRNOTAVAIL}
)
# What comes back from where nobody wants what is sent, or gets it.
_IN_VAIN: Final = frozenset(
    {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH}
)


@implementer(IRelayOutput, IWarning)
class UDPOutput:
    """
    Sends to one address, unicast or multicast, on a socket of its own (L{Flow
    <txgroupsock.primitives.Flow>}).

    What cannot be sent now is dropped and counted: a stream that comes late is worth nothing,
    and no destination may hold up another.  While a destination cannot be reached nothing is
    tried but a run now and then, on a new socket, so that it costs the others nothing and is
    served again as soon as it can be.

    Where the host is a name with several addresses, the next of them takes over as soon as one
    cannot be sent to, or is told to be of no use by what comes back from it; only while all fail
    is there a pause.

    @cvar quiet: at most one line of log about failures in so many seconds.
    @cvar firstPause: seconds until a destination that failed is tried again; doubled each time
        up to L{longestPause}.
    @cvar shortestStay: seconds until another address of a name is tried for what came back.
    @ivar statistics: what became of what was sent
        (L{DestinationStatistics <txgroupsock.primitives.DestinationStatistics>}).
    @ivar moved: called with this output when its C{localAddress} has changed.
    """

    quiet: ClassVar[float] = 10.0
    firstPause: ClassVar[float] = 0.01
    longestPause: ClassVar[float] = 0.5
    shortestStay: ClassVar[float] = 1.0

    _log = Logger()

    @checked
    def __init__(self, reactor: Any, model: OutputModel) -> None:
        """
        @param reactor: provides C{IReactorTime}, and C{IReactorPluggableNameResolver} if the
            host is a name.
        """
        self.model = model
        self.statistics = DestinationStatistics()
        self.moved: Callable[[UDPOutput], object] = lambda _: None
        self._reactor = steady(reactor)
        self._address: IPAddress | None = None
        self._flow: Flow | None = None
        self._lookup: HostLookup | None = None
        self._limit = None if model.rate is None else RateLimit(model.rate)
        self._counters = Counters()
        self._refused: Counter[str] = Counter()
        self._isOpen = False
        self._droppedSeen = 0
        self._errorsSeen: Counter[int] = Counter()
        self._failedWith: int | None = None
        self._pause = 0.0
        self._resume: IDelayedCall | None = None
        self._moving: IDelayedCall | None = None
        self._movedAt = float("-inf")
        self._droppedSaid = 0
        self._saidAt = float("-inf")
        self._isSaid = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model}>"

    @property
    def counters(self) -> Counters:
        """See L{IRelayOutput}."""
        counters, statistics = self._counters, self.statistics
        counters.datagrams, counters.bytes = statistics.datagramsSent, statistics.bytesSent
        if self._refused or statistics.errors:
            dropped = self._refused.copy()
            for number, count in statistics.errors.items():
                dropped[errnoName(number)] += count
            counters.dropped |= dropped  # in place: a route adds what it finds failing
        return counters

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
        needClosed(self, self._isOpen)
        model = self.model
        interfaceIndex(model.interface)  # it has to be there, whatever the host name says
        try:
            self._address = parseAddress(model.host)
        except AddressError:
            family = None if model.source is None else familyOf(model.source)
            self._lookup = HostLookup(self._reactor, model.host, family, self._useAddress)
            self._lookup.start()
        else:
            try:
                self._openFlow()
            except OSError as error:
                if not _mayPass(error):
                    self._address = self._flow = None
                    raise
                self._goElsewhere(error)
        self._isOpen = True

    def closeOutput(self) -> Deferred[None]:
        """See L{IRelayOutput}."""
        self._isOpen = False
        if self._lookup is not None:
            self._lookup.stop()
            self._lookup = None
        self._stopWaiting()
        if self._moving is not None:
            self._moving.cancel()
            self._moving = None
        if self._flow is not None:
            self._flow.close()
        self._address = self._flow = None
        return succeed(None)

    def describe(self) -> list[str]:
        """See L{IRelayOutput}."""
        if not self._isOpen:
            return []
        if self._flow is None:
            state = "not looked up yet" if self._address is None else "not possible yet"
            return [f"sending to {self.model.host} port {self.model.port}, {state}"]
        there = self._flow.destination
        where = f"{there.target[0]} port {there.port}"
        if there.interface:
            where += f" by {interfaceName(there.interface)}"
        if there.source is not None:
            where += f" from {there.source}"
        if there.ttl is not None:
            where += f" with TTL {there.ttl}"
        if there.dscp is not None:
            where += f" with DSCP {there.dscp}"
        if self.model.rate is not None:
            where += f", {bitRate(self.model.rate)} at most"
        return [f"sending to {where}"]

    def warnings(self) -> list[str]:
        """See L{IWarning}."""
        statistics, said = self.statistics, []
        if self._failedWith is not None:
            advice = sendAdvice(self._failedWith)
            said.append(f"cannot be reached now ({errnoName(self._failedWith)}): {advice}")
        if self._lookup is not None and self._lookup.note:
            said.append(self._lookup.note)
        if statistics.segmentationRefused is not None:
            name = errnoName(statistics.segmentationRefused)
            said.append(f"datagrams go one by one: the way there cannot cut them up ({name})")
        if statistics.reported:
            back = sorted((errnoName(each), count) for each, count in statistics.reported.items())
            said.append("came back: " + ", ".join(f"{name} {count:,}" for name, count in back))
        if self.buffer is not None and self.buffer.advice:
            said.append(f"the send buffer is small: {self.buffer.advice}")
        return said

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
                self._refused["rate"] += len(run) - allowed
                if not allowed:
                    return
                data = data[: allowed * run.segmentSize]
        flow.sendRun(data, run.segmentSize)
        if self.statistics.datagramsDropped != self._droppedSeen:
            self._failed(flow.destination)
        elif self._failedWith is not None:
            self._recovered()

    # What goes wrong

    def _refuse(self, count: int) -> None:
        """Drop what comes while there is nowhere to send to."""
        if not self._isOpen:
            reason = "closed"
        elif self._address is None:
            reason = "lookup"
        else:
            reason = errnoName(self._failedWith)
        self._refused[reason] += count

    def _failed(self, there: Destination) -> None:
        """Something of a run was dropped: say so now and then, and wait if that may help."""
        errors = self.statistics.errors
        self._droppedSeen = self.statistics.datagramsDropped
        number = next(iter(errors - self._errorsSeen))
        self._errorsSeen = errors.copy()
        error = TransferError(number, f"send to {describe(there.target)}", sendAdvice(number))
        if number in _GO_ON:
            self._say(error)
        else:
            self._goElsewhere(error)

    def _goElsewhere(self, error: OSError) -> None:
        """Nothing can be sent there: send to what else the name stands for, or wait."""
        self._say(error)
        self._failedWith = error.errno
        while self._hasOther(self._failedWith):
            try:
                self._openFlow()
            except OSError as following:
                self._failedWith = following.errno
            else:
                return
        self._pause = min(max(2 * self._pause, self.firstPause), self.longestPause)
        self._resume = self._reactor.callLater(self._pause, self._tryAgain)

    def _hasOther(self, number: int | None) -> bool:
        """Go over to another address of the name; whether that has not been tried yet."""
        lookup = self._lookup
        if lookup is None:
            return False
        isOther = lookup.instead(errnoName(number))
        self._address = lookup.address
        return isOther

    def _heardBack(self, number: int) -> None:
        """What was sent there is of no use, as the network says; another address may be better."""
        now = self._reactor.seconds()
        if number in _IN_VAIN and self._moving is None and now - self._movedAt >= self.shortestStay:
            self._movedAt = now
            # Not at once: the flow is about to send.
            self._moving = self._reactor.callLater(0, self._move, number)

    def _move(self, number: int) -> None:
        self._moving = None
        before = self._address
        self._hasOther(number)
        if self._address != before and self._resume is None:
            what = f"reach {self.model.host} at {before}"
            self._say(TransferError(number, what, f"now {self._address} is tried"))
            self._tryAgain()

    def _stopWaiting(self) -> None:
        self._failedWith = None
        self._pause = 0.0
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None

    def _tryAgain(self) -> None:
        """Have the next run sent from a new socket, with source and route chosen anew."""
        self._resume = None
        try:
            self._openFlow()
        except OSError as error:
            self._goElsewhere(error)

    def _recovered(self) -> None:
        self._stopWaiting()
        if self._lookup is not None:
            self._lookup.worked()
        # A line for each that told of a failure, so that coming and going fills no log.
        if self._isSaid:
            self._isSaid = False
            self._log.info(
                "{output}: sending again{where} ({count:,} dropped since the last such line)",
                output=self.model,
                where="" if self._lookup is None else f" to {self._address}",
                count=self._takeDropped(),
            )

    def _say(self, error: OSError) -> None:
        now = self._reactor.seconds()
        if now - self._saidAt < self.quiet:
            return
        self._saidAt = now
        self._isSaid = True
        self._log.warn(
            "{output}: {error} ({count:,} dropped since the last such line)",
            output=self.model,
            error=error,
            count=self._takeDropped(),
        )

    def _takeDropped(self) -> int:
        before, self._droppedSaid = self._droppedSaid, self.counters.dropped.total()
        return self._droppedSaid - before

    # Where it goes

    def _openFlow(self) -> None:
        """
        Send to the address from now on, from a new socket.

        @raise OSError: there can be none, or no route leads there; then nothing is sent.
        """
        model, address = self.model, self._address
        if address is None:  # not looked up yet
            return
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
        port = 0
        if self._flow is not None:
            port = self._flow.port
            self._flow.close()
        self._flow = Flow(there, port)
        if self._lookup is not None:
            self._flow.heardBack = self._heardBack
        try:
            self._flow.open()
        finally:
            self.moved(self)

    def _useAddress(self, address: IPAddress) -> None:
        """Send to what the host name stands for now."""
        self._address = address
        if self._resume is not None:
            self._resume.cancel()
        self._pause = 0.0
        self._tryAgain()


def _mayPass(error: OSError) -> bool:
    """Whether a flow could not be opened for want of a route only, or of an address of ours."""
    return isinstance(error, TransferError) and error.errno in _NO_WAY
