"""From which figures on an operator is to be told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import field, frozen, validators

from txgroupsock.primitives.arguments import typed
from txgroupsock.relay.counters import bitRate
from txgroupsock.relay.health.rtp import RTPFigures
from txgroupsock.relay.health.stream import StreamFigures
from txgroupsock.relay.health.tsfigures import TSFigures

# Any, since attrs has no type for a validator of a field that may be None.
_share: Any = validators.optional(validators.and_(validators.ge(0.0), validators.le(1.0)))
_amount: Any = validators.optional(validators.ge(0))
_positive: Any = validators.optional(validators.gt(0.0))
_seconds = validators.ge(0.0)


@frozen
class Finding:
    """
    Something that is not as it should be.

    @ivar name: what kind of thing: C{"rtpLoss"}, as in L{Thresholds}.
    @ivar text: in words, with what to do about it.
    @ivar value: the figure; L{None} if there is no single one.
    @ivar limit: what it should be at most, or at least.
    """

    name: str
    text: str
    value: float | None = None
    limit: float | None = None


@frozen(field_transformer=typed)
class Thresholds:
    """
    Limits for figures; L{None} for a figure that is not to be watched.  An interval is that from
    one measurement to the next.

    @ivar silence: seconds without a datagram.
    @ivar leastBitRate: bits of payload a second, at least.
    @ivar mostBitRate: bits of payload a second, at most.
    @ivar kernelDrops: datagrams that the kernel had no room for, in an interval.
    @ivar rtpLoss: share of packets lost in an interval, 0 to 1.
    @ivar jitter: ms.
    @ivar continuityErrors: in an interval; so are the next two.
    @ivar syncByteErrors: see there.
    @ivar transportErrors: see there.
    @ivar missing: whether a PAT, a PMT or a PID that is missing is one (see
        L{TSFigures.missing}).
    @ivar pcrJitter: ms.
    @ivar scrambled: whether scrambled packets are one.
    @ivar raiseAfter: seconds for which something has to be so before an alarm is raised.
    @ivar clearAfter: seconds for which it has to be otherwise before that is cleared.
    """

    silence: float | None = field(default=1.0, validator=_positive)
    leastBitRate: float | None = field(default=None, validator=_amount)
    mostBitRate: float | None = field(default=None, validator=_amount)
    kernelDrops: int | None = field(default=0, validator=_amount)
    rtpLoss: float | None = field(default=0.0, validator=_share)
    jitter: float | None = field(default=None, validator=_amount)
    continuityErrors: int | None = field(default=0, validator=_amount)
    syncByteErrors: int | None = field(default=0, validator=_amount)
    transportErrors: int | None = field(default=0, validator=_amount)
    missing: bool = True
    pcrJitter: float | None = field(default=None, validator=_amount)
    scrambled: bool = False
    raiseAfter: float = field(default=0.0, validator=_seconds)
    clearAfter: float = field(default=10.0, validator=_seconds)

    def describe(self) -> list[str]:
        """What raises an alarm, in words."""
        return [words.format(each) for words, each in self._described() if each is not None]

    def _described(self) -> Iterator[tuple[str, Any]]:
        yield "{:g} s of silence", self.silence
        for words, rate in (("less", self.leastBitRate), ("more", self.mostBitRate)):
            yield f"{words} than {{}}", None if rate is None else bitRate(rate)
        yield "more than {} kernel drops a second", self.kernelDrops
        yield "RTP loss over {:g} %", None if self.rtpLoss is None else 100 * self.rtpLoss
        yield "jitter over {:g} ms", self.jitter
        yield "more than {} continuity errors a second", self.continuityErrors
        yield "more than {} sync byte errors a second", self.syncByteErrors
        yield "more than {} transport errors a second", self.transportErrors
        yield "missing PIDs", self.missing or None
        yield "PCR jitter over {:g} ms", self.pcrJitter
        yield "scrambling", self.scrambled or None

    def findings(
        self, stream: StreamFigures, rtp: RTPFigures | None, ts: TSFigures | None
    ) -> list[Finding]:
        """What is above its limit, or below."""
        if self.silence is not None and stream.silence >= self.silence:
            # All else follows from it.
            return [
                Finding(
                    "silence",
                    f"nothing has come for {stream.silence:.1f} s; see whether the sender runs, "
                    "and whether the network brings it here (joins, source, firewall)",
                    stream.silence,
                    self.silence,
                )
            ]
        found = list(self._ofStream(stream))
        if rtp is not None and rtp.isRTP:
            found += self._ofRTP(rtp)
        if ts is not None and ts.isTS:
            found += self._ofTS(ts)
        return found

    def _ofStream(self, stream: StreamFigures) -> Iterator[Finding]:
        rate = stream.bitRate
        if self.leastBitRate is not None and rate < self.leastBitRate:
            text = f"only {bitRate(rate)} come, less than {bitRate(self.leastBitRate)}"
            yield Finding("leastBitRate", f"{text}; look at the sender", rate, self.leastBitRate)
        if self.mostBitRate is not None and rate > self.mostBitRate:
            text = f"{bitRate(rate)} come, more than {bitRate(self.mostBitRate)}"
            remedy = "look at the sender, and for a second one to the same group"
            yield Finding("mostBitRate", f"{text}; {remedy}", rate, self.mostBitRate)
        drops = stream.recentKernelDrops
        if self.kernelDrops is not None and drops > self.kernelDrops:
            text = f"this host had no room for {drops:,} datagrams"
            remedy = "raise net.core.rmem_max, or relay less on this core"
            yield Finding("kernelDrops", f"{text}; {remedy}", drops, self.kernelDrops)

    def _ofRTP(self, rtp: RTPFigures) -> Iterator[Finding]:
        if self.rtpLoss is not None and rtp.recentLoss > self.rtpLoss:
            text = f"{rtp.recentLost:,} of {rtp.recentExpected:,} RTP packets were lost"
            remedy = "look for drops on the way, and in this host's buffer (kernel)"
            yield Finding("rtpLoss", f"{text}; {remedy}", rtp.recentLoss, self.rtpLoss)
        if self.jitter is not None and rtp.jitter > self.jitter:
            text = f"RTP jitter is {rtp.jitter:.1f} ms, more than {self.jitter:g}"
            remedy = "look for queues on the way, and give receivers a longer buffer"
            yield Finding("jitter", f"{text}; {remedy}", rtp.jitter, self.jitter)

    def _ofTS(self, ts: TSFigures) -> Iterator[Finding]:
        for name, count, limit, text in (
            (
                "continuityErrors",
                ts.recentContinuityErrors,
                self.continuityErrors,
                (
                    "errors of continuity in the transport stream; look for drops on the way, or "
                    "at the encoder if RTP lost none"
                ),
            ),
            (
                "syncByteErrors",
                ts.recentSyncByteErrors,
                self.syncByteErrors,
                "packets of the transport stream without sync byte; see what else is sent there",
            ),
            (
                "transportErrors",
                ts.recentTransportErrors,
                self.transportErrors,
                (
                    "packets were marked as damaged before they were sent; look at the reception "
                    "(dish, cable, demodulator) that the stream comes from"
                ),
            ),
        ):
            if limit is not None and count > limit:
                yield Finding(name, f"{count:,} {text}", count, limit)
        if self.missing and ts.missing:
            some = ", ".join(ts.missing[:5])
            more = f" and {len(ts.missing) - 5} more" if len(ts.missing) > 5 else ""
            text = f"missing in the transport stream: {some}{more}; look at the multiplexer"
            yield Finding("missing", text, len(ts.missing), 0)
        if self.pcrJitter is not None and (ts.pcrJitter or 0.0) > self.pcrJitter:
            text = f"PCR jitter is {ts.pcrJitter:.1f} ms, more than {self.pcrJitter:g}"
            remedy = "look for queues on the way, and at the multiplexer"
            yield Finding("pcrJitter", f"{text}; {remedy}", ts.pcrJitter, self.pcrJitter)
        if self.scrambled and ts.scrambledPIDs:
            some = ", ".join(map(str, ts.scrambledPIDs[:5]))
            text = f"scrambled packets on PID {some}; look at the descrambler and its rights"
            yield Finding("scrambled", text, len(ts.scrambledPIDs), 0)
