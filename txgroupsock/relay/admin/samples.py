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


class Names:
    """
    Names, no two of which are the same.

    Two stages, or outputs of one's own, may be called the same; but Prometheus refuses the whole
    answer if two series are.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, part: Mapping[str, Any]) -> str:
        """What no other part is called."""
        name = own = clean(part["name"])
        number = 1
        while name in self._taken:
            number += 1
            name = f"{own} ({number})"
        self._taken.add(name)
        return name


def named(parts: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each with a name that no other one has."""
    names = Names()
    return ((part, names.of(part)) for part in parts)


def clean(text: str) -> str:
    """The same as UTF-8 can have it: JSON has escapes for halves of a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
