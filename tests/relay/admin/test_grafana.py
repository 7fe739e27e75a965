"""The dashboard and the alerts ask for what there is, in a way that Prometheus understands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.relay.admin.programs import promtool
from tests.relay.admin.statuses import fullDocument
from txgroupsock.relay.admin.metrics import metricsText

FOLDER = Path(__file__).parents[3] / "docs" / "grafana"
ALERTS = FOLDER / "alerts.yml"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "groupsock-relay.json").read_text("utf-8"))

# What a scrape adds by itself.
SCRAPED = {"instance", "job"}
WORDS = {"sum", "min", "rate", "increase", "topk", "by", "on", "and", "or", "time", "vector"}


def labelsByMetric() -> dict[str, set[str]]:
    """Each metric of a full document with its labels."""
    found: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(metricsText(fullDocument()).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def panels() -> list[dict[str, Any]]:
    """Each panel of the dashboard."""
    return list(DASHBOARD["panels"])


def expressions() -> list[str]:
    """Each expression of the dashboard."""
    return [expression(target) for target in targets()]


def targets() -> list[dict[str, Any]]:
    """What each panel asks."""
    return [target for panel in panels() for target in panel.get("targets", ())]


def expression(target: dict[str, Any]) -> str:
    """An expression as Grafana asks it with everything chosen."""
    asked: str = target["expr"].replace("$__rate_interval", "1m")
    return re.sub(r"\$(instance|route)\b", ".*", asked)


def used(asked: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics that an expression names, each with the labels that it is asked for."""
    bare = re.sub(r"\[\w+\]|\d+[smh]\b", "", asked)
    grouped = {
        label.strip()
        for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", bare)
        for label in group.split(",")
    }
    bare = re.sub(r"\b(?:by|on) \([^)]*\)", "", bare)
    for name, matchers in re.findall(r"\b([a-z_][a-z0-9_]*)\b(?:\{([^}]*)\})?", bare):
        if name not in WORDS and not re.search(rf'[{{,]{name}=~?"', bare):
            yield name, grouped | set(re.findall(r'(\w+)=~?"', matchers))


def test_whatPanelsAskForExists() -> None:
    """Each metric and label of each panel is in the metrics of a relay."""
    there = labelsByMetric()
    asked = [each for text in expressions() for each in used(text)]
    assert len(asked) > 30
    for name, labels in asked:
        assert name in there
        assert labels <= there[name] | SCRAPED, name


def test_legendsNameLabelsThatAreThere() -> None:
    """A legend shows labels that its series have once they are summed."""
    there = labelsByMetric()
    for target in targets():
        shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        grouped = re.findall(r"\bby \(([^)]*)\)", target["expr"])
        kept = {label.strip() for each in grouped for label in each.split(",")}
        if not grouped:
            kept = SCRAPED.union(*(there[name] for name, _ in used(expression(target))))
        assert shown <= kept, target


def test_variablesAskForWhatExists() -> None:
    """The data source is chosen, and relay and route come from labels that there are."""
    there = labelsByMetric()
    first, *queries = DASHBOARD["templating"]["list"]
    assert (first["name"], first["type"], first["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    assert [each["name"] for each in queries] == ["instance", "route"]
    for each in queries:
        pattern = r"label_values\((\w+)(?:\{[^}]*\})?, (\w+)\)"
        ((metric, label),) = re.findall(pattern, each["definition"])
        assert label in there[metric] | SCRAPED
        assert each["query"]["query"] == each["definition"]


def test_everythingAsksTheChosenDataSource() -> None:
    """No panel has a data source of the machine where it was drawn."""
    said = json.dumps(DASHBOARD)
    assert set(re.findall(r'"uid": "([^"]*)"', said)) == {"${datasource}", "groupsock-relay"}


def test_panelsStandApart() -> None:
    """No two panels have the same number or overlap, and none is wider than the page."""
    assert len({panel["id"] for panel in panels()}) == len(panels())
    places = [panel["gridPos"] for panel in panels()]
    for place in places:
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24
    for one, other in combinations(places, 2):
        assert (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        ), (one, other)


def test_prometheusUnderstandsThePanels(tmp_path: Path) -> None:
    """Each expression is PromQL."""
    rules = [
        f"      - {{record: 'panel:{number}', expr: {json.dumps(text)}}}"
        for number, text in enumerate(expressions())
    ]
    file = tmp_path / "rules.yml"
    file.write_text("\n".join(["groups:", "  - name: panels", "    rules:", *rules, ""]))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)


def test_whatAlertsAskForExists() -> None:
    """Each metric that an alert names is in the metrics of a relay."""
    names = set(re.findall(r"\bgroupsock_\w+", ALERTS.read_text("utf-8")))
    assert len(names) > 5
    assert names <= labelsByMetric().keys()


def test_prometheusUnderstandsTheAlerts() -> None:
    """The file of alerts is one that Prometheus loads."""
    assert "8 rules found" in promtool("check", "rules", ALERTS)


def test_alertsFireWhenTheyShould() -> None:
    """Each alert is there in its trouble, with its words, and none without."""
    assert "SUCCESS" in promtool("test", "rules", Path(__file__).with_name("alerts.test.yml"))


def test_thePageHasEachAlert() -> None:
    """docs/metrics.md says what each alert means."""
    page = (FOLDER.parent / "metrics.md").read_text("utf-8")
    said = re.findall(r"^\| `(Groupsock\w+)`", page, re.MULTILINE)
    assert said == re.findall(r"alert: (\w+)", ALERTS.read_text("utf-8"))
