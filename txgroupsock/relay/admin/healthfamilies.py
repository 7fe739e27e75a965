"""What the health of inputs is, as families of Prometheus' metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client.core import Metric

from txgroupsock.relay.admin.samples import Labels, clean, count, counter, gauge, setGauge

# Key of docs/health.md, name, help; those of ms are given in seconds.
_STREAM_COUNTS = (("silences", "silences", "Times that nothing came for as long as a silence is."),)
_STREAM_GAUGES = (
    ("silence", "silence_seconds", "Seconds that nothing has come for; 0 unless it is silent.", 1),
    ("longest", "longest_gap_seconds", "The most seconds that nothing came for.", 1),
)
_RTP_COUNTS = (
    ("expected", "rtp_packets_expected", "RTP packets that were sent."),
    ("received", "rtp_packets_received", "RTP packets that came, each counted once."),
    ("lost", "rtp_packets_lost", "RTP packets that did not come."),
    ("reordered", "rtp_packets_reordered", "RTP packets that came after a later one."),
    ("duplicates", "rtp_packets_duplicate", "RTP packets that had come before."),
    ("restarts", "rtp_restarts", "Times that the sequence number jumped, and went on from there."),
    ("ssrcChanges", "rtp_source_changes", "RTP sources after the first."),
)
_RTP_GAUGES = (("jitter", "rtp_jitter_seconds", "Jitter of RTP (RFC 3550), in seconds.", 0.001),)
_TS_COUNTS = (
    ("packets", "ts_packets", "Packets of the transport stream."),
    ("syncLosses", "ts_sync_losses", "Losses of sync (TR 101 290 1.1)."),
    ("syncByteErrors", "ts_sync_byte_errors", "Packets without sync byte (1.2)."),
    ("patErrors", "ts_pat_errors", "Times without a PAT (1.3)."),
    ("continuityErrors", "ts_continuity_errors", "Packets out of continuity (1.4)."),
    ("pmtErrors", "ts_pmt_errors", "Times without a PMT (1.5)."),
    ("pidErrors", "ts_pid_errors", "Times without a PID that a PMT names (1.6)."),
    ("transportErrors", "ts_transport_errors", "Packets marked as wrong (2.1)."),
    ("crcErrors", "ts_crc_errors", "PATs and PMTs with a wrong CRC (2.2)."),
    ("pcrRepetitionErrors", "ts_pcr_repetition_errors", "PCRs too long apart (2.3a)."),
    ("pcrDiscontinuityErrors", "ts_pcr_discontinuity_errors", "PCRs that jump (2.3b)."),
    ("scrambled", "ts_scrambled_packets", "Packets that are scrambled."),
)
_TS_GAUGES = (
    ("isInSync", "ts_in_sync", "1 if sync bytes are where they should be.", 1),
    ("pids", "ts_pids", "PIDs that have been seen.", 1),
    ("pcrJitter", "ts_pcr_jitter_seconds", "Jitter of the PCR, where it is highest.", 0.001),
)
_PARTS = (
    ("stream", _STREAM_COUNTS, _STREAM_GAUGES),
    ("rtp", _RTP_COUNTS, _RTP_GAUGES),
    ("ts", _TS_COUNTS, _TS_GAUGES),
)


class AlarmFamilies:
    """
    The families of alarms, of routes or of channels.

    @ivar families: of it.
    """

    def __init__(self, prefix: str) -> None:
        self._raised = gauge(f"{prefix}_alarms", "Alarms that hold now.")
        self._alarm = gauge(
            f"{prefix}_alarm", "1 while an alarm holds, by the name of its threshold; else absent."
        )
        self.families = [self._raised, self._alarm]

    def add(self, labels: Labels, health: Mapping[str, Any] | None) -> None:
        """
        One more.

        @param health: as docs/health.md has it; L{None} if it is not looked at.
        """
        if health is None:
            return
        setGauge(self._raised, labels, len(health["alarms"]))
        for name in dict.fromkeys(clean(alarm["name"]) for alarm in health["alarms"]):
            setGauge(self._alarm, Labels({**labels, "alarm": name}), 1)


class HealthFamilies(AlarmFamilies):
    """
    The families of the health of routes.

    What is looked for and not there has no samples; nor have PIDs, of which there may be
    thousands.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix)
        self._counts: dict[tuple[str, str], Metric] = {}
        self._gauges: dict[tuple[str, str], tuple[Metric, float]] = {}
        for part, counts, gauges in _PARTS:
            for key, name, help_ in counts:
                self._counts[part, key] = counter(f"{prefix}_{name}", help_)
            for key, name, help_, unit in gauges:
                self._gauges[part, key] = (gauge(f"{prefix}_{name}", help_), unit)
        gaugeFamilies = [family for family, _ in self._gauges.values()]
        self.families = [*self._counts.values(), *gaugeFamilies, *self.families]

    def add(self, labels: Labels, health: Mapping[str, Any] | None) -> None:
        """See L{AlarmFamilies}."""
        super().add(labels, health)
        if health is None:
            return
        for (part, key), family in self._counts.items():
            if health[part] is not None:
                count(family, labels, health[part][key])
        for (part, key), (family, unit) in self._gauges.items():
            value = None if health[part] is None else health[part][key]
            if isinstance(value, bool):
                setGauge(family, labels, int(value))
            elif value is not None:
                setGauge(family, labels, value if unit == 1 else unit * value)
