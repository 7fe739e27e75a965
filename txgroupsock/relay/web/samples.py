"""Samples of Prometheus' metrics, and their labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.samples import Sample


class Labels(dict[str, str]):
    """
    Labels, and how they are written; many families share them, and writing them takes time.

    @ivar text: as both formats of Prometheus have them, braces included.
    """

    __slots__ = ("text",)

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__(names)
        pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(self.items()))
        self.text = f"{{{pairs}}}" if pairs else ""


NONE = Labels({})


def counter(name: str, help_: str) -> Metric:
    """A family of counters."""
    return CounterMetricFamily(name, help_, labels=())


def gauge(name: str, help_: str) -> Metric:
    """A family of gauges."""
    return GaugeMetricFamily(name, help_, labels=())


def count(family: Metric, labels: Labels, value: float) -> None:
    """Give a counter a value."""
    family.samples.append(Sample(f"{family.name}_total", labels, value))


def setGauge(family: Metric, labels: Labels, value: float) -> None:
    """Give a gauge a value."""
    family.samples.append(Sample(family.name, labels, value))


def named(parts: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """
    Each with a name that no other one has.

    Two stages, or outputs of one's own, may be called the same; but Prometheus refuses the
    whole answer if two series are.
    """
    taken: set[str] = set()
    for part in parts:
        name = own = clean(part["name"])
        number = 1
        while name in taken:
            number += 1
            name = f"{own} ({number})"
        taken.add(name)
        yield part, name


def clean(text: str) -> str:
    """The same as UTF-8 can have it: JSON has escapes for halves of a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
