"""What is told of a transport stream."""

from __future__ import annotations

from typing import Any

from attrs import asdict, frozen


@frozen
class PIDFigures:
    """
    One PID, since the beginning.

    @ivar pid: its number.
    @ivar streamType: as its PMT has it; L{None} if none names it.
    @ivar packets: that had it.
    @ivar continuityErrors: where the continuity_counter was not what it should be.
    @ivar duplicates: packets that came a second time, as each may.
    @ivar scrambled: packets with a transport_scrambling_control other than 00.
    @ivar pcrJitter: ms; L{None} if it has no PCR.
    """

    pid: int
    streamType: int | None
    packets: int
    continuityErrors: int
    duplicates: int
    scrambled: int
    pcrJitter: float | None

    def toJSON(self) -> dict[str, Any]:
        """By name, as docs/health.md has it."""
        return {
            "pid": self.pid,
            "streamType": self.streamType,
            "packets": self.packets,
            "continuityErrors": self.continuityErrors,
            "duplicates": self.duplicates,
            "scrambled": self.scrambled,
            "pcrJitter": self.pcrJitter,
        }


@frozen
class TSFigures:
    """
    A transport stream at one moment; since the beginning where nothing else is said.  The
    numbers are those of ETSI TR 101 290, section 5.2.

    @ivar isTS: whether there is one.  The rest means nothing until then.
    @ivar carrier: C{"UDP"}, or C{"RTP"} if it is in the payload of that.
    @ivar packets: of 188 bytes.
    @ivar isInSync: whether sync bytes are where they should be.
    @ivar syncLosses: 1.1, two packets in a row without sync byte; five with one end that.
    @ivar syncByteErrors: 1.2, packets without sync byte.
    @ivar patErrors: 1.3, how often there was no PAT for 0.5 s.
    @ivar continuityErrors: 1.4, of all PIDs.
    @ivar pmtErrors: 1.5, how often a PMT was missing for 0.5 s.
    @ivar pidErrors: 1.6, how often a PID that a PMT names was missing, for 5 s unless told
        otherwise.
    @ivar transportErrors: 2.1, packets with transport_error_indicator, which are left out of all
        else.
    @ivar crcErrors: 2.2, of the PAT and the PMTs.
    @ivar pcrRepetitionErrors: 2.3a, more than 100 ms from one PCR to the next unless told
        otherwise.
    @ivar pcrDiscontinuityErrors: 2.3b, PCRs behind the one before or more than 100 ms further,
        without discontinuity_indicator.
    @ivar pcrJitter: ms, of the PID where it is highest.  Network and packets together, with the
        precision of arrivals; the accuracy of 2.4 (500 ns) cannot be told from them.
    @ivar mostPCRJitter: the highest that it was.
    @ivar nullShare: of packets in the last interval, 0 to 1.
    @ivar scrambled: packets with a transport_scrambling_control other than 00.
    @ivar scrambledPIDs: PIDs with such packets in the last interval.
    @ivar missing: what is missing now, in words: C{"PAT"}, C{"PMT on PID 4096"}, C{"PID 257"}.
    @ivar recentSyncByteErrors: in the last interval, as the following.
    @ivar otherDatagrams: datagrams that hold no whole packets, since there was a stream.
    @ivar pids: how many have been seen.
    @ivar busiest: up to 64 of them, those with errors first, then by packets.
    """

    isTS: bool = False
    carrier: str | None = None
    packets: int = 0
    isInSync: bool = False
    syncLosses: int = 0
    syncByteErrors: int = 0
    patErrors: int = 0
    continuityErrors: int = 0
    pmtErrors: int = 0
    pidErrors: int = 0
    transportErrors: int = 0
    crcErrors: int = 0
    pcrRepetitionErrors: int = 0
    pcrDiscontinuityErrors: int = 0
    pcrJitter: float | None = None
    mostPCRJitter: float | None = None
    nullShare: float = 0.0
    scrambled: int = 0
    scrambledPIDs: tuple[int, ...] = ()
    missing: tuple[str, ...] = ()
    recentSyncByteErrors: int = 0
    recentContinuityErrors: int = 0
    recentTransportErrors: int = 0
    otherDatagrams: int = 0
    pids: int = 0
    busiest: tuple[PIDFigures, ...] = ()

    def toJSON(self) -> dict[str, Any]:
        """By name, as docs/health.md has it."""
        # What is in it is flat but for the PIDs; there may be thousands of routes to tell of.
        flat = asdict(self, recurse=False)
        flat["busiest"] = [each.toJSON() for each in self.busiest]
        return flat
