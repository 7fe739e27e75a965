"""
What the status document of docs/api.md says, as families of Prometheus' metrics.

A drop has a reason, and a reason is counted from its first drop on.  C{rate()} misses the first
value of a series that appears, so each total without reasons is there from the start, and the
reasons are another family, or every query for the sum would count twice.  All possible reasons at
0 would be a dozen series for each of thousands of outputs.  The few reasons for which viewers are
refused are at 0 from the start.

Nothing is labelled with a viewer's address: each is a new series, and Prometheus keeps a series
for as long as it keeps anything.  C{/api/status} has them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.samples import Sample

from txgroupsock.relay.admin.healthfamilies import AlarmFamilies, HealthFamilies
from txgroupsock.relay.admin.samples import NONE, Labels, Names
from txgroupsock.relay.admin.samples import clean as _clean
from txgroupsock.relay.admin.samples import count as _count
from txgroupsock.relay.admin.samples import counter as _counter
from txgroupsock.relay.admin.samples import gauge as _gauge
from txgroupsock.relay.admin.samples import named as _named
from txgroupsock.relay.admin.samples import setGauge as _set
from txgroupsock.relay.turns import PIECE, Work, atOnce

REFUSALS = (
    "401", "403", "404", "405", "421", "500", "503",
    "slow", "junk", "connections", "viewers", "channels", "joins", "input",
)  # fmt: skip
"""Why viewers are refused, as docs/viewers.md has it."""

_LIMITS = {
    "viewers": ("groupsock_viewers_limit", "Most viewers at once."),
    "viewersPerChannel": ("groupsock_viewers_per_channel_limit", "Most viewers of one channel."),
    "channels": ("groupsock_viewers_channels_limit", "Most channels open at once."),
}
_TOTALS = {
    "channels": ("channels_opened", "Channels opened because somebody asked for them."),
    "viewers": ("served", "Viewers that got a stream."),
    "stalled": ("stalled", "Viewers closed because they took nothing."),
    "bytes": ("given_bytes", "Bytes given to viewers."),
    "skips": ("skips", "Gaps in what viewers got, because they took too little."),
    "skippedDatagrams": ("skipped_datagrams", "Datagrams in those gaps."),
    "skippedBytes": ("skipped_bytes", "Bytes in those gaps."),
}


def families(status: Mapping[str, Any]) -> Iterator[Metric]:
    """
    Every family of a status document, each with all its samples.

    @param status: what C{GET /api/status} answers, as C{json.loads} gives it.
    """
    routes = RouteFamilies()
    for route in status["routes"]:
        atOnce(routes.add(route))
    yield from familiesBesides(status)
    yield from routes.families


def familiesBesides(status: Mapping[str, Any]) -> Iterator[Metric]:
    """Those that are not of routes."""
    yield InfoMetricFamily("groupsock_build", "What runs.", value={"version": status["version"]})
    start = _gauge("groupsock_start_time_seconds", "When the relay opened its routes, since 1970.")
    # Rounded, since otherwise the last bits would differ each time and look like a start.
    _set(start, NONE, round(status["time"] - status["uptime"], 3))
    yield start
    ready = _gauge("groupsock_ready", "1 if all that should run does, as /readyz has it.")
    _set(ready, NONE, int(status["isReady"]))
    yield ready
    turn = _gauge(
        "groupsock_reactor_turn_seconds_max",
        "The longest that streams lately waited for other work of this process.",
    )
    _set(turn, NONE, status["reactor"]["longestTurn"])
    yield turn
    yield from _workers(status["workers"])
    yield from _change(status.get("change"))
    if status.get("viewers") is not None:
        yield from _viewers(status["viewers"])


def _workers(workers: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    ready = _gauge("groupsock_worker_ready", "1 if a worker has its routes open, and answers.")
    starts = _counter("groupsock_worker_starts", "Processes that were started as this worker.")
    hangs = _counter("groupsock_worker_hangs", "How many of those were killed: they stood still.")
    turn = _gauge(
        "groupsock_worker_reactor_turn_seconds_max",
        "The longest that streams lately waited for other work of this worker.",
    )
    for worker in workers:
        labels = Labels({"worker": str(worker["number"])})
        _set(ready, labels, int(worker["isReady"]))
        _count(starts, labels, worker["starts"])
        _count(hangs, labels, worker["hangs"])
        _set(turn, labels, worker["longestTurn"])
    yield from (ready, starts, hangs, turn)


def _change(change: Mapping[str, Any] | None) -> Iterator[Metric]:
    done = _gauge(
        "groupsock_last_change_successful",
        "1 if the last reload, or change by the API, was applied; absent before the first.",
    )
    when = _gauge("groupsock_last_change_timestamp_seconds", "When that was, since 1970.")
    if change is not None:
        _set(done, NONE, int(change["isDone"]))
        _set(when, NONE, change["time"])
    yield done
    yield when


class RouteFamilies:
    """
    The families of routes.

    @ivar families: of them.
    """

    def __init__(self) -> None:
        self._names = Names()
        self._info = InfoMetricFamily("groupsock_route", "The input of a route, as a URL.")
        self._enabled = _gauge(
            "groupsock_route_enabled", "1 unless the configuration has it disabled."
        )
        self._open = _gauge("groupsock_route_open", "1 if the input of the route is open.")
        self._inputs = _Ends("groupsock_route_input", "in at the input", hasBuffer=True)
        self._legs = _Legs()
        self._stages = _Ends("groupsock_route_stage", "through the stage")
        self._outputs = _Ends("groupsock_route_output", "out at the output", hasBuffer=True)
        self._health = HealthFamilies("groupsock_route")
        several: Sequence[_Counts] = (self._inputs, self._legs, self._stages, self._outputs)
        self.families = [self._info, self._enabled, self._open]
        self.families += [family for each in several for family in each.families]
        self.families += self._health.families

    def add(self, route: Mapping[str, Any]) -> Work[None]:
        """One more route, as the status document has it; a few outputs at a time."""
        name = self._names.of(route)
        labels = Labels({"route": name})
        incoming = route.get("input") or {}
        described = Labels({"route": name, "input": _clean(incoming.get("name", ""))})
        self._info.samples.append(Sample("groupsock_route_info", described, 1))
        _set(self._enabled, labels, int(route["isEnabled"]))
        _set(self._open, labels, int(bool(incoming.get("state"))))
        if not route["isEnabled"]:
            return  # nothing counts there
        self._inputs.add(labels, incoming)
        self._legs.addAll(labels, incoming.get("redundancy"))
        self._health.add(labels, route.get("health"))
        for kind, ends in (("stage", self._stages), ("output", self._outputs)):
            for number, (end, endName) in enumerate(_named(route[f"{kind}s"]), 1):
                ends.add(Labels({"route": name, kind: endName}), end)
                if not number % PIECE:
                    yield


class _Counts:
    """
    The families of what passed a place, and of what did not.

    @ivar families: of it.
    """

    def __init__(self, prefix: str, where: str) -> None:
        self._datagrams = _counter(f"{prefix}_datagrams", f"Datagrams that came {where}.")
        self._bytes = _counter(f"{prefix}_bytes", f"Bytes of payload that came {where}.")
        lost = f"Datagrams that did not come {where}"
        self._dropped = _counter(f"{prefix}_dropped_datagrams", f"{lost}.")
        self._reasons = _counter(
            f"{prefix}_dropped_by_reason_datagrams",
            f"{lost}, by reason; a reason is there from its first drop on.",
        )
        self.families = [self._datagrams, self._bytes, self._dropped, self._reasons]

    def add(self, labels: Labels, counted: Mapping[str, Any]) -> None:
        """One more place."""
        _count(self._datagrams, labels, counted["datagrams"])
        _count(self._bytes, labels, counted["bytes"])
        dropped = counted["dropped"]
        _count(self._dropped, labels, sum(dropped.values()))
        for reason, count in dropped.items():
            _count(self._reasons, Labels({**labels, "reason": _clean(reason)}), count)


class _Ends(_Counts):
    """The families of inputs, of stages or of outputs."""

    def __init__(self, prefix: str, where: str, *, hasBuffer: bool = False) -> None:
        super().__init__(prefix, where)
        self._warnings = _gauge(f"{prefix}_warnings", "What is not as it should be now.")
        buffer = "Bytes of the kernel's buffer that the relay"
        self._granted = _gauge(f"{prefix}_buffer_granted_bytes", f"{buffer} got.")
        self._requested = _gauge(f"{prefix}_buffer_requested_bytes", f"{buffer} asked for.")
        self.families.append(self._warnings)
        if hasBuffer:
            self.families += [self._granted, self._requested]

    def add(self, labels: Labels, counted: Mapping[str, Any]) -> None:
        super().add(labels, counted)
        _set(self._warnings, labels, len(counted["warnings"]))
        buffer = counted["buffer"]
        if buffer is not None:
            _set(self._granted, labels, buffer["granted"])
            _set(self._requested, labels, buffer["requested"])


class _Legs(_Counts):
    """
    The families of the legs of inputs that are made of several.

    What only a merge knows, or only a failover, is there for its legs only.
    """

    def __init__(self) -> None:
        prefix = "groupsock_route_leg"
        super().__init__(prefix, "in on the leg")
        self._open = _gauge(f"{prefix}_open", "1 if the leg is open.")
        self._used = _counter(f"{prefix}_used_datagrams", "Datagrams of the leg that went on.")
        self._counters = {
            "duplicates": _counter(
                f"{prefix}_duplicate_datagrams", "Datagrams that had come on this very leg before."
            ),
            "late": _counter(
                f"{prefix}_late_datagrams", "Datagrams that came when they had been given up."
            ),
            "stray": _counter(
                f"{prefix}_stray_datagrams", "Datagrams of another stream than is given on."
            ),
        }
        self._gauges = {
            # It falls when datagrams come late after all, which a counter must not.
            "lost": _gauge(f"{prefix}_lost_datagrams", "Datagrams missing on the leg so far."),
            "lossRate": _gauge(f"{prefix}_loss_ratio", "Share of its datagrams lost lately."),
            "silence": _gauge(f"{prefix}_silence_seconds", "Since its last datagram."),
            "isActive": _gauge(f"{prefix}_active", "1 if a failover gives this leg on."),
        }
        self._skew = {
            "most": _gauge(f"{prefix}_skew_most_seconds", "Most it was lately behind the first."),
            "mean": _gauge(f"{prefix}_skew_mean_seconds", "The same on average."),
        }
        self._changes = _counter(
            "groupsock_route_leg_changes",
            "How often a failover went over to another leg, or a merged stream began anew.",
        )
        several = (self._counters, self._gauges, self._skew)
        self.families += [self._open, self._used, self._changes]
        self.families += [family for each in several for family in each.values()]

    def addAll(self, route: Labels, redundancy: Mapping[str, Any] | None) -> None:
        """The legs of one more route, if it has any."""
        if redundancy is None:
            return
        _count(self._changes, route, redundancy["changes"])
        for leg, name in _named(redundancy["legs"]):
            labels = Labels({**route, "leg": name})
            self.add(labels, leg)
            _set(self._open, labels, int(bool(leg["state"])))
            _count(self._used, labels, leg["used"])
            for key, family in self._counters.items():
                if leg[key] is not None:
                    _count(family, labels, leg[key])
            for key, family in self._gauges.items():
                if leg[key] is not None:
                    _set(family, labels, leg[key])
            for key, family in self._skew.items():
                if leg["skew"] is not None:
                    _set(family, labels, leg["skew"][key])


def _viewers(viewers: Mapping[str, Any]) -> Iterator[Metric]:
    watching = _gauge("groupsock_viewers_watching", "Viewers that watch now.")
    _set(watching, NONE, viewers["watching"])
    yield watching
    for key, (name, help_) in _LIMITS.items():
        limit = _gauge(name, help_)
        _set(limit, NONE, viewers["limits"][key])
        yield limit
    refused = _counter(
        "groupsock_viewers_refused",
        "Requests and connections that got no stream, by HTTP status or a word for why.",
    )
    for reason, count in {**dict.fromkeys(REFUSALS, 0), **viewers["refused"]}.items():
        _count(refused, Labels({"reason": _clean(reason)}), count)
    yield refused
    for key, (name, help_) in _TOTALS.items():
        total = _counter(f"groupsock_viewers_{name}", help_)
        _count(total, NONE, viewers["totals"][key])
        yield total
    isOpen = _gauge("groupsock_viewers_channels_open", "Channels that are open.")
    _set(isOpen, NONE, len(viewers["channels"]))
    yield isOpen
    yield from _channels(viewers["channels"])


def _channels(channels: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    prefix = "groupsock_channel"
    counts = _Counts(f"{prefix}_input", "into the channel")
    alarms = AlarmFamilies(prefix)
    given = {
        key: _counter(f"{prefix}_{_TOTALS[key][0]}", f"{_TOTALS[key][1][:-1]}, of this channel.")
        for key in ("bytes", "skips", "skippedDatagrams", "skippedBytes")
    }
    left = _counter(f"{prefix}_left", "Viewers that have gone.")
    stalled = _counter(f"{prefix}_stalled", "How many of those were closed: they took nothing.")
    watching = _gauge(f"{prefix}_watching", "Viewers that watch it now.")
    behind = _gauge(f"{prefix}_behind", "How many of those take less than comes.")
    backlog = _gauge(f"{prefix}_backlog_bytes", "Bytes kept for those that are behind.")
    for channel, name in _named(channels):
        labels = Labels({"channel": name})
        counts.add(labels, channel)
        alarms.add(labels, channel.get("health"))
        for key, family in given.items():
            _count(family, labels, channel["given"][key])
        _count(left, labels, channel["viewersBefore"])
        _count(stalled, labels, channel["stalled"])
        _set(watching, labels, len(channel["viewers"]))
        _set(behind, labels, sum(each["isBehind"] for each in channel["viewers"]))
        _set(backlog, labels, channel["backlog"])
    yield from (*counts.families, *given.values(), left, stalled, watching, behind, backlog)
    yield from alarms.families
