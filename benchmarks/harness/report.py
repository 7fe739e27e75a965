"""The tables: each contender's figures, and their ratio to the best of the others' projects."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version

from attrs import field, frozen

from harness.contenders import Contender
from harness.rows import Figures, Row


@frozen
class Column:
    """
    A figure in a table.

    @ivar best: what chooses the best of several, if contenders are compared by it.
    """

    key: str
    title: str
    text: Callable[[float], str]
    best: Callable[[Sequence[float]], float] | None = None


_LOST = Column("lost", "lost", lambda value: f"{value:.2%}")
_SHARE = Column("share", "of a core", lambda value: f"{value:.1%}")

COLUMNS = {
    "cost": [
        Column("cost", "CPU µs per packet sent on", lambda value: f"{value:.2f}", min),
        _SHARE,
        _LOST,
    ],
    "highest": [
        Column("outRate", "packets/s sent on", lambda value: f"{value:,.0f}", max),
        _SHARE,
        Column("latency99", "p99 ms", lambda value: f"{value / 1000:.1f}"),
    ],
    "latency": [
        Column("added50", "µs added, median", lambda value: f"{value:.0f}", min),
        Column("added99", "µs added, p99", lambda value: f"{value:.0f}", min),
        Column("direct50", "no relay, median", lambda value: f"{value:.0f}"),
        Column("direct99", "no relay, p99", lambda value: f"{value:.0f}"),
        _LOST,
    ],
    "idle": [
        Column("startSeconds", "s until all are joined", lambda value: f"{value:.2f}"),
        _SHARE,
        Column("resident", "MB resident", lambda value: f"{value / 1e6:.0f}"),
    ],
}


@frozen
class Result:
    """What a contender did in a row: the figures of each run, or why there are none."""

    contender: Contender
    runs: list[Figures] = field(factory=list)
    failures: list[str] = field(factory=list)

    def median(self, key: str) -> float:
        """The median of all runs."""
        return statistics.median(run[key] for run in self.runs)

    def notes(self, row: Row, calm: float) -> str:
        """What a reader has to know beside the figures."""
        notes = list(self.failures)
        disturbed = sum(run["disturbance"] > calm for run in self.runs)
        if disturbed:
            notes.append(f"disturbed in {disturbed} of {len(self.runs)} runs")
        if row.kind == "cost" and any(run["keptUp"] < 0.97 for run in self.runs):
            notes.append(f"kept up with {self.median('keptUp'):.0%} of this rate only")
        if row.kind == "cost" and any(run["offered"] < 0.97 * row.rate for run in self.runs):
            notes.append(f"the generator managed {self.median('offered'):,.0f}/s")
        if any(run.get("atLeast") for run in self.runs):
            notes.append("or more: the generator has no more")
        if any(run.get("sinkDropped") for run in self.runs):
            notes.append("the sink dropped some")
        if any(not run.get("complete", 1) for run in self.runs):
            notes.append("not all intact at a low rate")
        return "; ".join(notes).replace("|", "\\|")


def reference(results: Sequence[Result], column: Column) -> Result | None:
    """The best of the other projects' relays by a figure; without any, the best in C."""
    if column.best is None:
        return None
    for kind in ("peer", "floor"):
        others = [each for each in results if each.contender.kind == kind and each.runs]
        if others:
            wanted = column.best([each.median(column.key) for each in others])
            return next(each for each in others if each.median(column.key) == wanted)
    return None


def table(row: Row, results: Sequence[Result], calm: float) -> str:
    """A row's table, in Markdown."""
    columns = COLUMNS[row.kind]
    references = {column.key: reference(results, column) for column in columns}
    head = ["relay"]
    for column in columns:
        head.append(column.title)
        best = references[column.key]
        if best is not None:
            head.append(f"ratio to {best.contender.name}")
    lines = [head, ["---"] * (len(head) + 1)]
    head.append("notes")
    for result in results:
        cells = [result.contender.name]
        for column in columns:
            cells.append(_cell(column, result))
            best = references[column.key]
            if best is not None:
                cells.append(_ratio(column.key, result, best))
        lines.append([*cells, result.notes(row, calm)])
    kind = "" if row.offload else ", no segmentation offload"
    title = f"### {row.name}. {row.title}{kind}\n\n"
    return title + "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _cell(column: Column, result: Result) -> str:
    if not result.runs:
        return "-"
    values = [run[column.key] for run in result.runs]
    low, middle, high = (column.text(f(values)) for f in (min, statistics.median, max))
    return middle if low == high else f"{middle} [{low}-{high}]"


def _ratio(key: str, result: Result, best: Result) -> str:
    if not result.runs or not best.median(key):
        return "-"
    ratio = result.median(key) / best.median(key)
    text = f"{ratio:.2f}"
    return f"**{text}**" if result.contender.kind == "ours" else text


def machine() -> dict[str, str]:
    """What the figures depend on besides the programs."""
    model = platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "CPU": f"{model}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "Twisted": _version("Twisted"),
        "txgroupsock": _version("txgroupsock"),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
