"""Which of all that comes to one address is the stream, and what is only beside it."""

from __future__ import annotations

from typing import Final

from txgroupsock.packets.ts import PACKET, isPackets

INTERVAL: Final = 0.5
"""Seconds of which it is counted what came: what prevails in such a time is followed after it."""

_MOST_RIVALS: Final = 16
_FEW: Final = 10  # datagrams that tell nothing yet
_SYNCS: Final = 5  # more than there are others make a transport stream (ETSI TR 101 290 1.1)


class Prevailing:
    """
    Says of each datagram whether it is of the stream, which is what came first, until something
    else prevails.

    Forward error correction, another sender by mistake and made-up packets come beside a stream
    and not in its place.  A stream whose sender begins anew under another name is followed: what
    came twice as often as it in an L{INTERVAL} is the stream from then on.  A transport
    stream is kept to its packets of 188 bytes, for everything after an odd byte would be lost; what
    is none can only follow it once it has been silent for an L{INTERVAL}, and 10 datagrams have
    come.  In a stream that is no transport stream nothing is taken for odd.

    Of the others up to 16 are remembered, by the way of Misra and Gries: any that has a 17th of
    all is among them.  A datagram of the stream takes 0.25 µs, another one 0.5, and 2 where every
    one has another name (CPython 3.11).

    @ivar name: of the stream, as its datagrams have it; L{None} before the first.
    @ivar isTS: whether it is a transport stream.
    """

    def __init__(self) -> None:
        self.name: bytes | None = None
        self.isTS = False
        self._total = self._own = 0  # of the stream: since it is, and in this interval
        self._rivals: dict[tuple[bytes, bool], int] = {}
        self._began = self._heard = float("-inf")
        self._syncs = 0

    def isPackets(self, data: memoryview) -> bool:
        """Whether a datagram is whole packets of a transport stream, and not by accident."""
        if isPackets(data):
            self._syncs = min(self._syncs + len(data) // PACKET, 2 * _SYNCS)
            return self._syncs >= _SYNCS
        if self._syncs and len(data) and not len(data) % PACKET:
            self._syncs -= 1
        return False

    def has(self, name: bytes, now: float, count: int = 1, *, isTS: bool) -> bool:
        """
        Whether datagrams that came are of the stream.

        @param name: tells what may be different streams apart.
        @param now: seconds.
        @param isTS: see L{isPackets}.
        """
        if not 0 <= now - self._began < INTERVAL:
            self._review(now)
        if name == self.name and isTS == self.isTS:
            self._own += count
            self._total += count
            self._heard = now
            return True
        isBeginning = isTS and not self.isTS and self._total < _FEW
        if self.name is None or isBeginning:
            self._follow(name, isTS=isTS)
            self._own = self._total = count
            self._heard = now
            return True
        rival = (name, isTS)
        self._note(rival, count)
        least = _FEW if self.isTS and not isTS else 2
        if now - self._heard >= INTERVAL and self._rivals.get(rival, 0) >= least:
            self._follow(name, isTS=isTS)
            self._own = self._total = count
            self._rivals.clear()
            self._heard = now
            return True
        return name == self.name and not self.isTS

    def _note(self, rival: tuple[bytes, bool], count: int) -> None:
        rivals = self._rivals
        if rival in rivals or len(rivals) < _MOST_RIVALS:
            rivals[rival] = rivals.get(rival, 0) + count
        else:
            self._rivals = {each: left for each, had in rivals.items() if (left := had - count) > 0}

    def _review(self, now: float) -> None:
        """Another interval begins: follow what has prevailed in this one."""
        for (name, isTS), count in self._rivals.items():
            isOdd = self.isTS and not isTS
            least, most = (_FEW, 0) if isOdd else (2, count // 2)
            if count >= least and self._own <= most:
                self._follow(name, isTS=isTS)
                self._total, self._own = count, count
        self._rivals.clear()
        self._own, self._began = 0, now

    def _follow(self, name: bytes, *, isTS: bool) -> None:
        self.name, self.isTS = name, isTS
