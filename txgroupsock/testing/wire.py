"""What is really on a link: a capture of its frames, to be looked at or waited for."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from txgroupsock.ports.clock import steady
from txgroupsock.testing.frames import Frame, GroupRecord, RecordKind, UDPFrame, parseFrame
from txgroupsock.testing.namespaces import Namespace

__all__ = [
    "Capture",
    "Frame",
    "GroupRecord",
    "IReactorForCapture",
    "RecordKind",
    "UDPFrame",
    "datagram",
    "report",
]

TIMEOUT = 5.0

Found = TypeVar("Found")


class IReactorForCapture(IReactorFDSet, IReactorTime):
    """What L{Capture.until} needs."""


@implementer(IReadDescriptor)
class Capture:
    """
    Every frame that an interface sends or receives, from now until L{close}.

    @raise OSError: the interface does not exist.
    """

    def __init__(self, namespace: Namespace, interface: str = "eth0") -> None:
        everyProtocol = 3  # ETH_P_ALL
        with namespace:
            # Protocol 0 gets nothing, so no frame of another interface slips in before bind().
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            self._socket.bind((interface, everyProtocol))
        except BaseException:
            self._socket.close()
            raise
        self._interface = interface
        self._frames: list[Frame] = []
        self._waiting: list[_Waiting] = []

    def __enter__(self) -> Capture:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def waitFor(self, wanted: Callable[[Frame], Found | None], timeout: float = TIMEOUT) -> Found:
        """
        What C{wanted} finds in a frame since the last L{drain}, in any before or one to come.

        Blocks, and forgets nothing. C{wanted} gets each frame and gives None (or anything false)
        for one it does not want: L{report} and L{datagram} make such functions.

        @raise TimeoutError: nothing within C{timeout} seconds; says what was captured.
        """
        deadline = time.monotonic() + timeout
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        self._collect()
        looked = 0
        while True:
            for frame in self._frames[looked:]:
                found = wanted(frame)
                if found:
                    return found
            looked = len(self._frames)
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise self._notSeen(timeout)
            poll.poll(remaining * 1000)
            self._collect()

    def until(
        self,
        reactor: IReactorForCapture,
        wanted: Callable[[Frame], Found | None],
        timeout: float = TIMEOUT,
    ) -> Deferred[Found]:
        """As L{waitFor}, but while the reactor runs."""
        self._collect()
        waiting = _Waiting(self, reactor, wanted, timeout)
        self._waiting.append(waiting)
        if not any(waiting.look(frame) for frame in self._frames):
            reactor.addReader(self)
        return waiting.result

    def drain(self) -> list[Frame]:
        """All frames since the last call, which later waits then do not look at."""
        self._collect()
        frames, self._frames = self._frames, []
        return frames

    def close(self) -> None:
        """Capture no more; a wait that is under way is cancelled."""
        for waiting in tuple(self._waiting):
            waiting.result.cancel()
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def doRead(self) -> None:
        self._collect()

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def logPrefix(self) -> str:
        return f"capture of {self._interface}"

    def _collect(self) -> None:
        """Read what there is, and tell who waits."""
        while True:
            try:
                data, address = self._socket.recvfrom(1 << 17)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENETDOWN:  # said once, each time the interface goes down
                    continue
                raise
            frame = parseFrame(data, outgoing=address[2] == socket.PACKET_OUTGOING)
            self._frames.append(frame)
            for waiting in tuple(self._waiting):
                if waiting in self._waiting:  # what one wait calls may end another
                    waiting.look(frame)
            if self._socket.fileno() < 0:  # or close this capture
                return

    def _notSeen(self, timeout: float) -> TimeoutError:
        shown = "".join(f"\n  {_describe(frame)}" for frame in self._frames)
        return TimeoutError(f"not seen on {self._interface} in {timeout} s; there was:{shown}")


class _Waiting:
    """One call of L{Capture.until}."""

    def __init__(
        self,
        capture: Capture,
        reactor: IReactorForCapture,
        wanted: Callable[[Frame], Any],
        timeout: float,
    ) -> None:
        self.result: Deferred[Any] = Deferred(lambda result: self._end())
        self._capture = capture
        self._reactor = reactor
        self._wanted = wanted
        self._timeout: IDelayedCall = steady(reactor).callLater(timeout, self._giveUp, timeout)

    def look(self, frame: Frame) -> bool:
        """End the wait if this is what it was for."""
        try:
            found = self._wanted(frame)
        except Exception:  # noqa: BLE001 - the caller's function fails the caller's wait
            self._end()
            self.result.errback()
            return True
        if found:
            self._end()
            self.result.callback(found)
            return True
        return False

    def _giveUp(self, timeout: float) -> None:
        self._end()
        self.result.errback(self._capture._notSeen(timeout))

    def _end(self) -> None:
        if self._timeout.active():
            self._timeout.cancel()
        self._capture._waiting.remove(self)
        if not self._capture._waiting:
            self._reactor.removeReader(self._capture)


# --- What to wait for ----------------------------------------------------------------------------


def report(
    kind: RecordKind, group: str, *sources: str, outgoing: bool | None = None
) -> Callable[[Frame], GroupRecord | None]:
    """Find a record of exactly this content, if given only among frames sent, or received."""
    record = GroupRecord(kind, group, sources)

    def wanted(frame: Frame) -> GroupRecord | None:
        rightWay = outgoing is None or outgoing == frame.outgoing
        return record if rightWay and record in frame.records else None

    return wanted


def datagram(
    payload: bytes | None = None,
    *,
    destination: str | None = None,
    destinationPort: int | None = None,
    outgoing: bool | None = None,
) -> Callable[[Frame], UDPFrame | None]:
    """Find a datagram that has all that is given."""

    def wanted(frame: Frame) -> UDPFrame | None:
        udp = frame.udp
        if udp is None:
            return None
        matches = (
            payload in (None, udp.payload)
            and destination in (None, udp.destination)
            and destinationPort in (None, udp.destinationPort)
            and outgoing in (None, frame.outgoing)
        )
        return udp if matches else None

    return wanted


def _describe(frame: Frame) -> str:
    way = "sent" if frame.outgoing else "received"
    what = frame.udp or frame.records or frame.packet or frame.ethernet or frame.data.hex()
    return f"{way} {what}"
