"""What Prometheus reads is right, whatever routes are called, and quick."""

from __future__ import annotations

import builtins
import importlib
import json
import re
import sys
import time
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generateOpenMetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parseOpenMetrics
from prometheus_client.parser import text_string_to_metric_families as parseText

from tests.relay.admin.programs import promtool
from tests.relay.admin.statuses import DOCUMENTS, NAMES, document, end, fullDocument, route, viewers
from tests.relay.health.documents import health
from txgroupsock.relay.admin import metrics
from txgroupsock.relay.admin.families import REFUSALS
from txgroupsock.relay.admin.metrics import (
    CONTENT_TYPE,
    OPENMETRICS_TYPE,
    StatusCollector,
    contentType,
    metricsText,
    openMetricsText,
)

DOCS = Path(__file__).parents[3] / "docs"

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(found: Iterable[Metric], prefix: str = "groupsock_") -> Series:
    """Each series of the relay's own by its name and labels."""
    series: Series = {}
    for family in found:
        for sample in family.samples:
            if sample.name.startswith(prefix):
                key = sample.name, frozenset(sample.labels.items())
                assert key not in series
                series[key] = float(sample.value)  # ours are whole numbers where theirs are not
    return series


def seriesOf(status: dict[str, Any], prefix: str = "groupsock_") -> Series:
    """What Prometheus makes of a document."""
    return read(parseText(metricsText(status).decode()), prefix)


def value(series: Series, name: str, **labels: str) -> float | None:
    """The value of a series; L{None} if there is none."""
    return series.get((f"groupsock_{name}", frozenset(labels.items())))


def test_everythingOfADocumentIsThere() -> None:
    """Each part of a document has its series, with its value."""
    series = seriesOf(fullDocument())
    out = {"route": "sport", "output": "udp://10.0.0.9:5000"}
    channel = {"channel": "/udp/239.1.1.1:5000"}
    hitless = {"route": "hitless", "leg": "udp://239.1.1.2:5000?interface=eth1"}
    expected: list[tuple[str, dict[str, str], float]] = [
        ("build_info", {"version": "0.1.0"}, 1),
        ("start_time_seconds", {}, 1795370000),
        ("ready", {}, 1),
        ("last_change_successful", {}, 1),
        ("last_change_timestamp_seconds", {}, 1795373000),
        ("route_info", {"route": "sport", "input": "udp://239.1.1.1:5000"}, 1),
        ("route_enabled", {"route": "news"}, 1),
        ("route_enabled", {"route": "off"}, 0),
        ("route_open", {"route": "news"}, 1),
        ("route_open", {"route": "off"}, 0),
        ("route_input_datagrams_total", {"route": "news"}, 50000),
        ("route_input_bytes_total", {"route": "news"}, 65800000),
        ("route_input_dropped_datagrams_total", {"route": "news"}, 12),
        (
            "route_input_dropped_by_reason_datagrams_total",
            {"route": "news", "reason": "kernel"},
            12,
        ),
        ("route_input_buffer_granted_bytes", {"route": "news"}, 212992),
        ("route_input_buffer_requested_bytes", {"route": "news"}, 4194304),
        ("route_input_warnings", {"route": "sport"}, 1),
        *(
            (f"route_leg_{name}", hitless, number)
            for name, number in {
                "datagrams_total": 50000,
                "bytes_total": 65800000,
                "dropped_datagrams_total": 4,
                "open": 0,
                "used_datagrams_total": 49000,
                "duplicate_datagrams_total": 3,
                "late_datagrams_total": 2,
                "stray_datagrams_total": 1,
                "lost_datagrams": 12,
                "loss_ratio": 0.002,
                "silence_seconds": 0.25,
                "skew_most_seconds": 0.012,
                "skew_mean_seconds": 0.004,
            }.items()
        ),
        ("route_leg_changes_total", {"route": "hitless"}, 2),
        ("route_leg_active", {**hitless, "route": "backed"}, 1),
        ("route_stage_dropped_datagrams_total", {"route": "news", "stage": "Filter"}, 7),
        ("route_output_dropped_datagrams_total", out, 7),
        ("route_output_dropped_by_reason_datagrams_total", {**out, "reason": "rate"}, 2),
        ("route_output_warnings", out, 1),
        ("route_rtp_packets_lost_total", {"route": "news"}, 3),
        ("route_rtp_jitter_seconds", {"route": "news"}, 0.0015),
        ("route_ts_continuity_errors_total", {"route": "news"}, 5),
        ("route_ts_in_sync", {"route": "news"}, 1),
        ("route_ts_pcr_jitter_seconds", {"route": "news"}, 0.00025),
        ("route_longest_gap_seconds", {"route": "news"}, 1.25),
        ("route_silences_total", {"route": "news"}, 1),
        ("route_alarms", {"route": "news"}, 1),
        ("route_alarm", {"route": "news", "alarm": "rtpLoss"}, 1),
        ("channel_alarms", channel, 1),
        ("channel_alarm", {**channel, "alarm": "rtpLoss"}, 1),
        ("viewers_watching", {}, 1),
        ("viewers_limit", {}, 500),
        ("viewers_per_channel_limit", {}, 400),
        ("viewers_channels_limit", {}, 64),
        ("viewers_refused_total", {"reason": "403"}, 1),
        ("viewers_served_total", {}, 4),
        ("viewers_given_bytes_total", {}, 1000000),
        ("channel_input_datagrams_total", channel, 50000),
        ("channel_input_dropped_by_reason_datagrams_total", {**channel, "reason": "not RTP"}, 3),
        ("channel_given_bytes_total", channel, 1000000),
        ("channel_left_total", channel, 3),
        ("channel_behind", channel, 1),
        ("channel_backlog_bytes", channel, 4096),
    ]
    for name, labels, expectation in expected:
        assert value(series, name, **labels) == expectation, name


def test_whatAFailoverDoesNotKnowIsNotThere() -> None:
    """Losses and skew of a failover's legs, which nobody measures, have no series."""
    names = {
        name
        for name, labels in seriesOf(fullDocument())
        if ("route", "backed") in labels and "_leg_" in name
    }
    assert not any(re.search("lost|loss|skew|late|stray|duplicate", name) for name in names)
    assert "groupsock_route_leg_used_datagrams_total" in names


def test_healthIsThereAsFarAsItIsKnown() -> None:
    """Without a stage there is none; RTP and TS only where they are; an alarm while it holds."""
    still = health(isHeard=False, hasAlarm=False)
    series = seriesOf(document(route("a"), route("b", health=None), route("c", health=still)))
    assert value(series, "route_alarms", route="a") is None
    assert value(series, "route_alarms", route="b") is None
    assert value(series, "route_alarms", route="c") == 0
    assert value(series, "route_silence_seconds", route="c") == 0
    names = {name for name, _ in series}
    assert not [each for each in names if "_rtp_" in each or "_ts_" in each]
    assert "groupsock_route_alarm" not in names


def test_thisProcessIsThereToo() -> None:
    """CPU time, memory and Python's version are those of the process that serves them."""
    process = seriesOf(document(), prefix="process_")
    python = seriesOf(document(), prefix="python_")
    if sys.platform == "linux":
        assert ("process_cpu_seconds_total", frozenset()) in process
    assert any(name == "python_info" for name, _ in python)


def test_aTotalIsThereBeforeTheFirstDrop() -> None:
    """What has lost nothing says 0, or the first drops would be no increase; a reason is there
    once it occurred.
    """
    status = document(route("news", 1, input=end("in"), stages=[end("stage")]))
    series = seriesOf(status)
    for part, labels in (
        ("input", {}),
        ("stage", {"stage": "stage"}),
        ("output", {"output": "udp://10.0.0.0:5000"}),
    ):
        name = f"route_{part}_dropped_datagrams_total"
        assert value(series, name, route="news", **labels) == 0
    assert not any("by_reason" in name for name, _ in series)


def test_whyViewersAreRefusedIsThereBeforeTheFirst() -> None:
    """Each reason of docs/viewers.md has a series from the start."""
    series = seriesOf(document(viewers=viewers(refused={})))
    assert {value(series, "viewers_refused_total", reason=each) for each in REFUSALS} == {0}


def test_withoutViewersNothingIsSaidOfThem() -> None:
    """A relay that serves none has no series of viewers; nor of a change before the first."""
    names = {name for name, _ in seriesOf(document(route("news")))}
    assert not any(re.search("viewers|channel|last_change", name) for name in names)


def test_noViewerIsALabel() -> None:
    """Addresses of viewers, which have no end, are not there."""
    assert b"10.0.0.7" not in metricsText(fullDocument())


def test_aDisabledRouteCountsNothing() -> None:
    """It has its URL and that it is disabled, and no counters."""
    names = {name for name, labels in seriesOf(fullDocument()) if ("route", "off") in labels}
    assert names == {f"groupsock_route_{each}" for each in ("info", "enabled", "open")}


def test_equalNamesAreNumbered() -> None:
    """Outputs of one's own that are called the same remain two series."""
    same = [end("ToFile", datagrams=1), end("ToFile", datagrams=2), end("ToFile (2)", datagrams=3)]
    series = seriesOf(document(route("news", outputs=same)))
    assert {
        dict(labels)["output"]: count
        for (name, labels), count in series.items()
        if name == "groupsock_route_output_datagrams_total"
    } == {"ToFile": 1, "ToFile (2)": 2, "ToFile (2) (2)": 3}


def test_largeCountsAreExact() -> None:
    """Whole numbers are written as such, where a float would end after 15 digits."""
    assert b" 9007199254740993\n" in metricsText(
        document(route("news", input=end("in", bytes=(1 << 53) + 1)))
    )


@given(DOCUMENTS)
def test_bothFormatsAreWhatTheLibraryWouldWrite(status: dict[str, Any]) -> None:
    """Whatever things are called, it can be read, and says what prometheus_client says."""
    registry = CollectorRegistry()
    registry.register(StatusCollector(status))
    assert seriesOf(status) == read(parseText(generate_latest(registry).decode()))
    assert read(parseOpenMetrics(openMetricsText(status).decode())) == read(
        parseOpenMetrics(generateOpenMetrics(registry).decode())
    )


@given(DOCUMENTS)
def test_openMetricsCanBeRead(status: dict[str, Any]) -> None:
    """The strict parser of OpenMetrics takes it, and finds the same as in the text format."""
    text = openMetricsText(status).decode()
    assert text.endswith("# EOF\n")
    assert read(parseOpenMetrics(text)) == seriesOf(status)


@given(NAMES)
def test_namesComeBackAsTheyWere(name: str) -> None:
    """Quotes, backslashes and ends of lines in a name are still there for who reads it."""
    series = seriesOf(document(route(name)))
    clean = name.encode("utf-8", "replace").decode()
    assert value(series, "route_enabled", route=clean) == 1


@given(st.lists(st.tuples(*[st.integers(0, 1 << 40)] * 3), min_size=1, max_size=5))
def test_countersNeverGoBackward(steps: list[tuple[int, int, int]]) -> None:
    """While a document's counts rise, no counter falls, and none disappears."""
    status = fullDocument()
    before: Series = {}
    for datagrams, size, dropped in steps:
        for each in status["routes"]:
            for part in (each["input"], *each["stages"], *each["outputs"]):
                if each["isEnabled"]:
                    part["datagrams"] += datagrams
                    part["bytes"] += size
                    part["dropped"]["EAGAIN"] = part["dropped"].get("EAGAIN", 0) + dropped
        now = seriesOf(json.loads(json.dumps(status)))
        counters = {key: count for key, count in before.items() if key[0].endswith("_total")}
        assert all(now[key] >= count for key, count in counters.items())
        before = now


def test_startStaysTheSame() -> None:
    """The time of the start does not tremble with the last bits of the clock."""
    status = document()
    texts = set()
    for step in range(200):
        status["time"], status["uptime"] = 1795374000.1 + step / 7, 4000.1 + step / 7
        texts.add(value(seriesOf(deepcopy(status)), "start_time_seconds"))
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        (None, CONTENT_TYPE),
        ("*/*", CONTENT_TYPE),
        ("application/openmetrics-text", OPENMETRICS_TYPE),
        ("Application/OpenMetrics-Text; Version=1.0.0", OPENMETRICS_TYPE),
        (
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
                "application/openmetrics-text;version=0.0.1;q=0.4,"
                "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
                "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
            ),
            OPENMETRICS_TYPE,
        ),
        ("application/openmetrics-text; version=0.0.1", CONTENT_TYPE),
        ("application/openmetrics-text; version=abc", CONTENT_TYPE),
        ("application/openmetrics-text; q=0.0, text/plain", CONTENT_TYPE),
        (";;=,=;,application/openmetrics-text;;", OPENMETRICS_TYPE),
    ],
)
def test_aClientGetsWhatItAsksFor(accept: str | None, answer: str) -> None:
    """OpenMetrics is for those who ask for it in a version that there is, text for all others."""
    assert contentType(accept) == answer


@given(st.text())
def test_anyAcceptHeaderHasAnAnswer(accept: str) -> None:
    """Nothing in the header is an error."""
    assert contentType(accept) in {CONTENT_TYPE, OPENMETRICS_TYPE}


def test_prometheusFindsNothingToMend() -> None:
    """promtool, which knows the conventions of names, takes all of it."""
    ours = metricsText(fullDocument()).decode().partition("# HELP process_")[0]
    assert promtool("check", "metrics", text=ours) == ""


def test_theTableOfThePageIsComplete() -> None:
    """docs/metrics.md has each metric with its labels, and no other."""
    rows = re.findall(
        r"^\| `(groupsock_\w+)(?:\{([\w,]*)\})?`", (DOCS / "metrics.md").read_text(), re.MULTILINE
    )
    said = {(name, frozenset(filter(None, labels.split(",")))) for name, labels in rows}
    assert len(said) == len(rows)
    assert said == {
        (name, frozenset(key for key, _ in labels)) for name, labels in seriesOf(fullDocument())
    }


def test_aThousandRoutesAreQuick() -> None:
    """1,000 routes of 3 outputs take less than 100 ms of CPU on a machine of today; here there is
    room for a slower one.
    """
    status = document(*(route(f"route {number}", 3) for number in range(1000)))
    took, text = [], b""
    for _ in range(3):
        before = time.process_time()
        text = metricsText(status)
        took.append(time.process_time() - before)
    assert text.count(b"groupsock_route_output_bytes_total{") == 3000
    assert min(took) < 0.5


def test_withoutTheLibraryItSaysWhatToInstall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without prometheus_client, importing it fails with a line that says how to get it."""
    real = builtins.__import__

    def withoutIt(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("prometheus_client"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", withoutIt)
    monkeypatch.delitem(sys.modules, metrics.__name__)
    with pytest.raises(ImportError, match=r"pip install 'txgroupsock\[metrics\]'"):
        importlib.import_module(metrics.__name__)
