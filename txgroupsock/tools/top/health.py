"""The health of a route in a few words; its alarms are among the warnings of its stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from txgroupsock.tools.top.text import visible

_MOST_MISSING = 4


def healthWords(health: Mapping[str, Any] | None) -> tuple[str, ...]:
    """
    A line for the stream, and one for RTP and for a transport stream where there is some.

    @param health: as docs/api.md has it; L{None} if it is not looked at.
    @raise Exception: of many kinds, if it is something else.
    """
    return () if health is None else tuple(_lines(health))


def _lines(health: Mapping[str, Any]) -> Iterator[str]:
    stream, rtp, ts = health["stream"], health["rtp"], health["ts"]
    if stream["silence"]:
        yield f"silent for {stream['silence']:,.1f} s"
    else:
        most = stream["most"]
        gap = "" if most is None else f"gaps up to {1000 * most:,.1f} ms, "
        yield f"{gap}longest {1000 * stream['longest']:,.1f} ms, {stream['silences']:,} silences"
    if rtp is not None:
        yield (
            f"RTP: {rtp['lost']:,} of {rtp['expected']:,} lost, {rtp['reordered']:,} reordered, "
            f"{rtp['duplicates']:,} duplicates, jitter {rtp['jitter']:,.1f} ms"
        )
    if ts is not None:
        sync = "in sync" if ts["isInSync"] else "NO SYNC"
        missing = [visible(each) for each in ts["missing"]]
        more = f" and {len(missing) - _MOST_MISSING:,} more" * (len(missing) > _MOST_MISSING)
        gone = f", missing: {', '.join(missing[:_MOST_MISSING])}{more}" if missing else ""
        yield (
            f"TS: {sync}, {ts['continuityErrors']:,} continuity errors, {ts['pids']:,} PIDs{gone}"
        )
