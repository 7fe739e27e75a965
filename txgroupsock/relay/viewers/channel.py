"""A channel: the output of a route that many viewers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from zope.interface import implementer

from txgroupsock.ports.clock import callOff, steady
from txgroupsock.primitives.arguments import checked
from txgroupsock.primitives.run import Run
from txgroupsock.relay.counters import Counters
from txgroupsock.relay.interfaces import IRelayOutput
from txgroupsock.relay.turns import Work, atOnce, inPieces
from txgroupsock.relay.viewers.allowance import Sayings
from txgroupsock.relay.viewers.block import Backlog, Block, Position
from txgroupsock.relay.viewers.model import Limits
from txgroupsock.relay.viewers.status import ChannelStatus
from txgroupsock.relay.viewers.viewer import Viewer


@implementer(IRelayOutput)
class Channel:
    """
    Gathers datagrams into blocks, and gives each block to all of its viewers.

    A viewer that takes everything at once costs one C{send} a block.  One that does not is
    behind: the rest of its block waits in its transport, and the blocks after that in a backlog
    which all that are behind share.  Once they have fallen out of that, it skips to what comes
    now; it never costs the others anything, and every gap is one of whole datagrams.

    @ivar name: what it is called in logs and in the status.
    @ivar position: the end of what it has given.
    @ivar sayings: what is logged of its viewers.
    @ivar whenEmpty: called when the last viewer has gone.
    """

    _log = Logger()

    @checked
    def __init__(self, reactor: Any, name: str, limits: Limits | None = None) -> None:
        """@param reactor: provides C{IReactorTime}."""
        self.name = name
        self.counters = Counters()
        self.position = Position()
        self.sayings = Sayings(reactor, self._log)
        self.whenEmpty: Callable[[], None] | None = None
        self._reactor = steady(reactor)
        self._limits = limits or Limits()
        self._live: dict[Viewer, Callable[[bytes], int]] = {}
        self._behind: set[Viewer] = set()
        self._backlog = Backlog(self._limits.backlog)
        self._gathered: list[bytes] = []
        self._size = self._datagrams = 0  # of what is gathered
        self._due: IDelayedCall | None = None
        self._checkDue: IDelayedCall | None = None
        self._lastGiven = float("-inf")
        self._gone = ChannelStatus(name)  # what it did for viewers that have gone
        self._isOpen = False

    # The data path

    def runReceived(self, run: Run) -> None:
        """See L{IRelayOutput}."""
        size, count = len(run.data), len(run)
        self.counters.passed(count, size)
        if not self._live and not self._behind:
            return
        self._gathered.append(bytes(run.data))
        self._size += size
        self._datagrams += count
        if self._size >= self._limits.blockSize:
            self._give()
        elif self._due is None:
            # What comes after a silence goes with whatever is read in the same turn.
            blockTime, past = self._limits.blockTime, self._reactor.seconds() - self._lastGiven
            self._due = self._reactor.callLater(max(0.0, blockTime - past), self._isDue)

    def _isDue(self) -> None:
        self._due = None
        if self._gathered:
            self._give()

    def _give(self) -> None:
        data, start = b"".join(self._gathered), self.position
        size = len(data)
        self.position = end = start.after(self._datagrams, size)
        self._gathered.clear()
        self._size = self._datagrams = 0
        self._lastGiven = self._reactor.seconds()
        if self._behind:
            self._backlog.append(Block(data, start, end))
        for viewer, send in tuple(self._live.items()):
            try:
                sent = send(data)
            except OSError as error:
                viewer.refused(data, error)
            except Exception:  # noqa: BLE001 - what a transport raises, the others get theirs
                self._log.failure(
                    "{peer} could not be given {name}", peer=viewer.peer, name=self.name
                )
                viewer.end("its connection failed")
            else:
                if sent != size:
                    viewer.keep(memoryview(data)[sent:])

    # For viewers

    @property
    def viewers(self) -> int:
        """How many there are."""
        return len(self._live) + len(self._behind)

    def viewersFrom(self, origin: str) -> int:
        """How many of them are there."""
        return sum(each.origin == origin for each in (*self._live, *self._behind))

    def add(self, viewer: Viewer) -> None:
        """Give a viewer what comes from now on, as soon as it says that it is ready."""
        viewer.began = viewer.position = self.position
        viewer.lastTaken = self._reactor.seconds()
        self._behind.add(viewer)
        if self._checkDue is None:
            self._checkLater()

    def remove(self, viewer: Viewer) -> None:
        """Give a viewer nothing more."""
        if viewer not in self._live and viewer not in self._behind:
            return
        self._gone = self._gone.including(viewer.status())
        if self._live.pop(viewer, None) is not None:
            viewer.position = self.position  # for who still tells of it
        self._caughtUp(viewer)
        if self.viewers:
            return
        self._cancel()
        if self.whenEmpty is not None:
            self.whenEmpty()

    def isLive(self, viewer: Viewer) -> bool:
        """Whether a viewer has everything that was given."""
        return viewer in self._live

    def fellBehind(self, viewer: Viewer) -> None:
        """A viewer takes nothing more at the moment."""
        if self._live.pop(viewer, None) is not None:
            viewer.position = self.position
            self._behind.add(viewer)

    def catchUp(self, viewer: Viewer) -> None:
        """Give a viewer that takes something again what it has not got."""
        if viewer not in self._behind:
            return
        while viewer.position.blocks < self.position.blocks:
            block = self._backlog.at(viewer.position)
            if block is None:
                viewer.skipTo(self.position)
                break
            viewer.position = block.end
            if not viewer.take(block.data):
                return
        self._caughtUp(viewer)
        self._live[viewer] = viewer.send

    def _caughtUp(self, viewer: Viewer) -> None:
        self._behind.discard(viewer)
        if not self._behind:
            self._backlog.clear()

    # Those that take nothing

    def _checkLater(self) -> None:
        self._checkDue = self._reactor.callLater(self._limits.stallTime / 4, self._check)

    def _check(self) -> None:
        self._checkLater()
        now = self._reactor.seconds()
        for viewer in (*self._live, *self._behind):
            if viewer.hasGone():
                viewer.end("it has gone")
            elif viewer.hasTaken():
                viewer.lastTaken = now
            elif now - viewer.lastTaken >= self._limits.stallTime:
                self._gone = self._gone.withOneStalled()
                viewer.end(f"it took nothing for {self._limits.stallTime:g} s")

    def setLimits(self, limits: Limits) -> None:
        """Keep to other limits from now on; those of a connection hold for new ones only."""
        self._limits = limits
        self._backlog.setMost(limits.backlog)
        if self._checkDue is not None:
            self._checkDue.cancel()
            self._checkLater()

    # For a route

    def openOutput(self) -> None:
        """See L{IRelayOutput}."""
        self._isOpen = True

    def closeOutput(self) -> Deferred[Any]:
        """See L{IRelayOutput}."""
        self._isOpen = False
        return self.closeViewers()

    def closeViewers(self) -> Deferred[Any]:
        """End all viewers; fires when their connections are closed."""
        viewers = (*self._live, *self._behind)
        for viewer in viewers:
            viewer.end("the stream has ended")
        self._cancel()
        return gatherResults([viewer.whenLost() for viewer in viewers])

    def _cancel(self) -> None:
        for call in (self._due, self._checkDue):
            callOff(call)
        self._due = self._checkDue = None
        self._gathered.clear()
        self._size = self._datagrams = 0

    def describe(self) -> list[str]:
        """See L{IRelayOutput}."""
        return [f"viewers of {self.name}"] if self._isOpen else []

    def status(self) -> ChannelStatus:
        """What it does now, and has done."""
        return atOnce(self.makingStatus())

    def makingStatus(self) -> Work[ChannelStatus]:
        """The same, some of its viewers at a time: who goes meanwhile is still among them."""
        gone, counters, backlog = self._gone, self.counters.copy(), self._backlog.size
        viewers = yield from inPieces(lambda viewer: viewer.status(), (*self._live, *self._behind))
        return gone.during(counters, backlog, tuple(viewers))
