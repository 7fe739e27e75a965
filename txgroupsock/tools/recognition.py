"""Finds out what a stream is, and what there is to tell of it."""

from __future__ import annotations

from typing import Any, Final

from zope.interface import implementer

from txgroupsock.interfaces import IRunReceiver
from txgroupsock.primitives.run import Run
from txgroupsock.relay.counters import bitRate
from txgroupsock.relay.health import RTPFigures, RTPHealth, StreamHealth, TSFigures, TSHealth
from txgroupsock.teststream.checker import StreamReceiver
from txgroupsock.teststream.stream import HEADER, MAGIC

_MOST_STREAMS: Final = 16


@implementer(IRunReceiver)
class Recognition:
    """
    Looks at all that arrives, as a test stream or else as RTP, as a transport stream (on UDP or
    in RTP), and in any case at how much comes, and when.

    @ivar streams: the test streams, by their names; at most 16.
    @ivar datagrams: of all.
    @ivar bytes: of payload.
    @ivar began: when the first came, in seconds of the reactor's clock; L{None} until then.
    @ivar latest: when the last came.
    @ivar isOver: whether the streams have ended, so that what has not come of them is lost.
    """

    def __init__(self, now: float) -> None:
        """@param now: in seconds of the clock that gives the runs' arrival."""
        self.streams: dict[bytes, StreamReceiver] = {}
        self.datagrams = 0
        self.bytes = 0
        self.began: float | None = None
        self.latest = now
        self.isOver = False
        self._others = 0  # datagrams of no test stream
        self._stream = StreamHealth(now)
        self._rtp = RTPHealth()
        self._ts = TSHealth()
        self._rtpFigures = RTPFigures()
        self._tsFigures = TSFigures()

    @property
    def kind(self) -> str | None:
        """C{"test"}, C{"RTP"}, C{"TS"} or C{"UDP"}; L{None} until something has come."""
        if self.streams:
            return "test"
        if not self.datagrams:
            return None
        if self._rtpFigures.isRTP:
            return "RTP"
        return "TS" if self._tsFigures.isTS else "UDP"

    @property
    def isAll(self) -> bool:
        """Whether it is known that nothing more is to come."""
        receivers = self.streams.values()
        return bool(receivers) and not self._others and all(each.isAll for each in receivers)

    def runReceived(self, run: Run) -> None:
        """See L{IRunReceiver}."""
        self.latest = run.arrival
        if self.began is None:
            self.began = run.arrival
        self.datagrams += len(run)
        self.bytes += len(run.data)
        self._stream.take(run)
        receiver = self._receiverFor(bytes(run.data[:HEADER]), run.segmentSize)
        if receiver is not None:
            receiver.runReceived(run)
        else:
            self._others += len(run)
            self._rtp.take(run)
            self._ts.take(run)

    def _receiverFor(self, header: bytes, size: int) -> StreamReceiver | None:
        """What checks the stream that a datagram with this header is of."""
        if len(header) < HEADER or header[:4] != MAGIC:
            return None
        name = header[4:12]
        receiver = self.streams.get(name)
        if receiver is None and len(self.streams) < _MOST_STREAMS:
            total, number = (int.from_bytes(header[at : at + 8], "big") for at in (12, 20))
            receiver = StreamReceiver(name, size, total, first=number)
            receiver.giveForeign = self._takeForeign
            self.streams[name] = receiver
        return receiver

    def _takeForeign(self, datagram: bytes) -> None:
        """Take what is of another stream than what it came with."""
        receiver = self._receiverFor(datagram[:HEADER], len(datagram))
        if receiver is not None:
            receiver.datagramReceived(datagram)
        else:
            self._others += 1

    # What there is to tell

    def line(self, now: float, kernelDrops: int) -> str:
        """How it is now, for people; ends an interval, and begins another."""
        figures = self._stream.measure(now, kernelDrops)
        self._rtpFigures, self._tsFigures = self._rtp.measure(), self._ts.measure(self.latest)
        if not self.datagrams:
            return "nothing has come yet"
        parts = [
            f"{self.kind}: {figures.datagrams:,} datagrams, {figures.datagramRate:,.0f}/s",
            bitRate(figures.bitRate),
            *self._signs(),
        ]
        if kernelDrops:
            parts.append(f"{kernelDrops:,} dropped here for want of room")
        if figures.silence:
            parts.append(f"silent for {figures.silence:.1f} s")
        return ", ".join(parts)

    def _signs(self) -> list[str]:
        receivers = list(self.streams.values())
        rtp, ts = self._rtpFigures, self._tsFigures
        if receivers:
            names = {"missing": "lost", "reordered": "reordered", "duplicates": "duplicates"}
            counts = [
                f"{word} {sum(getattr(each, name) for each in receivers):,}"
                for name, word in names.items()
            ]
            last = receivers[-1]
            return [*counts, str(last.takeLatencies()), f"jitter {last.jitter / 1e6:.3f} ms"]
        signs = []
        if rtp.isRTP:
            signs += [
                f"lost {rtp.lost:,}",
                f"reordered {rtp.reordered:,}",
                f"duplicates {rtp.duplicates:,}",
                f"jitter {rtp.jitter:.3f} ms",
            ]
        if ts.isTS:
            signs += [f"continuity errors {ts.continuityErrors:,}"]
        return signs

    @property
    def lost(self) -> int:
        """
        Datagrams that were lost; of a transport stream without RTP, breaks in its continuity.

        As of the last L{line}, for what is no test stream.
        """
        if self.streams:
            return sum(each.lost(isOver=self.isOver) for each in self.streams.values())
        if self._rtpFigures.isRTP:
            return self._rtpFigures.lost
        return self._tsFigures.continuityErrors

    def toJSON(self, kernelDrops: int) -> dict[str, Any]:
        """By name, as docs/tools.md has it; as it was when the last datagram came."""
        stream = self._stream.measure(self.latest, kernelDrops)
        rtp, ts = self._rtp.measure(), self._ts.measure(self.latest)
        self._rtpFigures, self._tsFigures = rtp, ts
        seconds = 0.0 if self.began is None else self.latest - self.began
        share = (self.datagrams - 1) / max(1, self.datagrams)  # from the first to the last
        return {
            "kind": self.kind,
            "seconds": round(seconds, 6),
            "datagrams": self.datagrams,
            "bytes": self.bytes,
            "datagramRate": round(self.datagrams * share / seconds, 3) if seconds else None,
            "bitRate": round(self.bytes * 8 * share / seconds, 3) if seconds else None,
            "longestGap": round(stream.longest, 6),
            "kernelDrops": kernelDrops,
            "lost": self.lost,
            "others": self._others if self.streams else 0,
            "test": [each.toJSON(isOver=self.isOver) for each in self.streams.values()],
            "rtp": rtp.toJSON() if rtp.isRTP else None,
            "ts": ts.toJSON() if ts.isTS else None,
        }
