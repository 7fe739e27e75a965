"""
What a relay and its worker processes say to each other over pipes: a JSON object a line.

    to the worker                                  from it
    open     routes, reactor                       ready     reactor, after pieces
                                                   failed    problem
    run      groups, gids, uids                    log       level, namespace, time, text
    count                                          counts    turn, after some
    status   number                                status    number, after pieces
    change   number, routes                        prepared  number
                                                   refused   number, problem
    commit   number                                committed after pieces
                                                   changed   number, lines
    abandon  number                                kept      number
    stop                                           ended     after pieces

A worker opens its routes at once but relays only from C{run} on.  C{turn} is how many seconds a
turn of its reactor lately took at most.  What it answers has the C{number} of what was asked.

What there may be much of comes before the message that it belongs to, in lines that are short, so
that neither end takes long for any of them: the status of routes as C{piece}s, one of
L{RouteStatus.pieces} each, and what is counted as C{some}, lists of L{packed} counters of all
parts of all routes in their order.

When it is to C{change} its routes it opens what is new, and closes nothing yet: so that all the
workers of a relay can open theirs before the first of them has to C{commit}.  Once one has
C{committed}, what it says is of its new routes; it has C{changed} when the old ones are closed.
Whatever became of a change, it can be told to C{abandon} it instead.
"""

from __future__ import annotations

import json
import os
import selectors
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from twisted.protocols.basic import LineOnlyReceiver

from txgroupsock.relay.counters import Counters

PIECE = 65536  # bytes read or written at once: what Linux gives a pipe


class Talk(LineOnlyReceiver):
    """
    One end of it.

    @cvar MAX_LENGTH: bytes of a line; all the routes of a configuration fit.
    """

    transport: Any
    delimiter = b"\n"
    MAX_LENGTH = 64 * 1024 * 1024

    handlers: ClassVar[dict[str, Callable[..., None]]] = {}
    """What takes the fields of each kind of message."""

    def talkOver(self, pipes: BlockingPipes) -> None:
        """Talk without a reactor."""
        self.makeConnection(pipes)  # type: ignore[no-untyped-call] # Twisted's, without types

    def dataReceived(self, data: bytes) -> None:
        """See L{IProtocol}."""
        super().dataReceived(data)  # type: ignore[no-untyped-call] # as above

    def say(self, kind: str, **fields: object) -> None:
        """Send a message."""
        self.transport.write(messageOf(kind, **fields).encode())

    def lineReceived(self, line: bytes) -> None:
        """Take a message; what is none, whoever wrote it, goes to L{junkReceived}."""
        try:
            message = json.loads(line)
            handler = self.handlers[message.pop("kind")]
            handler(self, **message)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            self.junkReceived(line, error)

    def junkReceived(self, line: bytes, error: Exception) -> None:
        """Something came that is no message, or not one for this end."""
        raise NotImplementedError


class BlockingPipes:
    """
    What a L{Talk} writes to while no reactor runs, and reads from.

    @ivar disconnecting: as for L{ITransport}.
    """

    disconnecting = False

    def __init__(self, reading: int, writing: int, patience: float | None = None) -> None:
        """
        @param reading: descriptor of a pipe; so is C{writing}, which is made non-blocking.
        @param patience: seconds after which a write that waits fails; L{None}: never.
        """
        os.set_blocking(writing, False)
        self.reading, self.writing = reading, writing
        self._patience = patience

    def write(self, data: bytes) -> None:
        """
        Write all of it.

        @raise OSError: the other end is closed, or took longer than C{patience}.
        """
        deadline = None if self._patience is None else time.monotonic() + self._patience
        left = memoryview(data)
        with selectors.DefaultSelector() as selector:
            selector.register(self.writing, selectors.EVENT_WRITE)
            while left:
                wait = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not selector.select(wait):
                    raise TimeoutError("nobody reads from the pipe")
                try:
                    left = left[os.write(self.writing, left[:PIECE]) :]
                except BlockingIOError:  # there is room, but less than the kernel wants
                    time.sleep(0.001)

    def read(self) -> bytes:
        """What has come, waiting for something; nothing if the other end is closed."""
        return os.read(self.reading, PIECE)

    def loseConnection(self) -> None:
        """Take no more lines."""
        self.disconnecting = True


def messageOf(kind: str, **fields: object) -> str:
    """A message as a line."""
    return f"{json.dumps({'kind': kind, **fields})}\n"


def packed(counters: Counters) -> list[object]:
    """Counters as JSON, briefly, for they are sent every second."""
    dropped = {reason: count for reason, count in counters.dropped.items() if count}
    return [counters.datagrams, counters.bytes, dropped]


def unpacked(value: Sequence[Any]) -> Counters:
    """
    The counters that L{packed} gave this.

    @raise ValueError: it is something else; or C{TypeError}.
    """
    datagrams, size, dropped = value
    reasons = {str(reason): int(count) for reason, count in dict(dropped).items()}
    return Counters(int(datagrams), int(size), Counter(reasons))
