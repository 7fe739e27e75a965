"""
The status of a relay as Prometheus reads it, in its text format or as OpenMetrics.

The families are C{prometheus_client}'s, and so is the format, which the tests compare; but what is
written here shares the text of labels between families.  1,000 routes of 3 outputs each,
31,000 series, take 65 ms, where C{prometheus_client}'s own C{generate_latest} takes 200.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

try:
    from prometheus_client import (
        CollectorRegistry,
        GCCollector,
        PlatformCollector,
        ProcessCollector,
        generate_latest,
    )
    from prometheus_client.core import Metric
    from prometheus_client.openmetrics.exposition import generate_latest as generateOpenMetrics
    from prometheus_client.registry import Collector
    from prometheus_client.utils import floatToGoString
except ImportError as error:
    raise ImportError(
        "metrics need prometheus_client: pip install 'txgroupsock[metrics]'",
        name="prometheus_client",
    ) from error

from txgroupsock.relay.admin.families import RouteFamilies, families, familiesBesides
from txgroupsock.relay.admin.samples import Labels
from txgroupsock.relay.turns import Work, atOnce

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of Prometheus' text format, which every version of it reads."""

OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""Of OpenMetrics, to who asks for it."""


class MetricsWriter:
    """
    Writes a status, one route after the other, with the metrics of this process and of Python.

    What a route adds to each family is a text at once: see L{Monitor
    <txgroupsock.relay.control.monitor.Monitor>} for why.
    """

    def __init__(self, *, isOpenMetrics: bool = False) -> None:
        self._isOpenMetrics = isOpenMetrics
        self._routes = RouteFamilies()
        self._lines = [[_head(each, isOpenMetrics)] for each in self._routes.families]

    def add(self, route: Mapping[str, Any]) -> Work[None]:
        """One more route, as the status document has it; a few outputs at a time."""
        for _ in self._routes.add(route):
            self._write()
            yield
        self._write()

    def _write(self) -> None:
        for family, lines in zip(self._routes.families, self._lines, strict=True):
            if family.samples:
                lines += _lines(family)
                family.samples.clear()

    def text(self, status: Mapping[str, Any]) -> bytes:
        """All of it; the document is without routes."""
        parts = []
        for family in familiesBesides(status):
            parts += [_head(family, self._isOpenMetrics), *_lines(family)]
        for lines in self._lines:
            parts += lines
        registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        made = generateOpenMetrics if self._isOpenMetrics else generate_latest
        return "".join(parts).encode() + made(registry)


def metricsText(status: Mapping[str, Any]) -> bytes:
    """
    A status in Prometheus' text format, with the metrics of this process and of Python.

    @param status: what C{GET /api/status} answers, as C{json.loads} gives it.
    """
    return _written(status, isOpenMetrics=False)


def openMetricsText(status: Mapping[str, Any]) -> bytes:
    """The same as OpenMetrics 1.0."""
    return _written(status, isOpenMetrics=True)


def contentType(accept: str | None) -> str:
    """
    The one of both formats that a client asks for: L{CONTENT_TYPE} or L{OPENMETRICS_TYPE}.

    C{prometheus_client.choose_encoder} is not used: it answers with whatever version it was asked
    for, and fails if that is no number.

    @param accept: the C{Accept} header of the request.
    """
    for each in (accept or "").lower().split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        if kind == "application/openmetrics-text":
            said = {key.strip(): value.strip() for key, _, value in map(_halves, parameters)}
            if said.get("version", "1.0.0") == "1.0.0" and said.get("q", "1").strip("0."):
                return OPENMETRICS_TYPE
    return CONTENT_TYPE


@frozen(eq=False)  # a registry has it as a key
class StatusCollector(Collector):
    """
    The families of one status, for a registry of C{prometheus_client}.

    @ivar status: what C{GET /api/status} answers.
    """

    status: Mapping[str, Any]

    def describe(self) -> list[Metric]:
        """None, so that registering it collects nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        return families(self.status)


def _written(status: Mapping[str, Any], *, isOpenMetrics: bool) -> bytes:
    writer = MetricsWriter(isOpenMetrics=isOpenMetrics)
    for route in status["routes"]:
        atOnce(writer.add(route))
    return writer.text(status)


def _head(family: Metric, isOpenMetrics: bool) -> str:  # noqa: FBT001 - as above
    name, kind = family.name, family.type
    if not isOpenMetrics:  # where a family has the name of its samples, and information is a gauge
        name += {"counter": "_total", "info": "_info"}.get(kind, "")
        kind = "gauge" if kind == "info" else kind
    return f"# HELP {name} {family.documentation}\n# TYPE {name} {kind}\n"


def _lines(family: Metric) -> Iterator[str]:
    for sample in family.samples:
        labels, value = sample.labels, sample.value
        text = labels.text if isinstance(labels, Labels) else Labels(labels).text
        number = value if type(value) is int else floatToGoString(value)
        yield f"{sample.name}{text} {number}\n"


def _halves(parameter: str) -> tuple[str, str, str]:
    return parameter.partition("=")
