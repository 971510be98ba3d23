"""The dashboard, the alerts and the operations guide speak of metrics and labels that a real scrape has."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from quickim.observability import metrics
from quickim.observability.metrics_series import Family
from tests.observability.conftest import Scrape, scrape
from tests.servers import Server
from tests.test_docs import headings, table_rows

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
OF_PROMETHEUS = {"instance", "job"}
OURS = re.compile(r"\b(quickim_\w+)(?:\{([^}]*)\})?")


def alerts() -> list[dict[str, Any]]:
    """Every rule."""
    document = yaml.safe_load((DOCS / "monitoring/alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """Every panel that shows something."""
    document = json.loads((DOCS / "monitoring/dashboard.json").read_text())
    return [panel for panel in document["panels"] if panel["type"] != "row"]


EXPRESSIONS = {
    **{f"alert {rule['alert']}": rule["expr"] for rule in alerts()},
    **{
        f"panel {panel['title']} {target['refId']} ({panel['id']})": target["expr"]
        for panel in panels()
        for target in panel["targets"]
    },
}


def check(expression: str, now: Scrape) -> None:
    """Each metric is there, and has each label that is asked for or grouped by."""
    names = OURS.findall(expression)
    had: set[str] = set()
    for name, selector in names:
        assert any(sample.name == name for sample in now.samples), f"no {name}"
        labels = now.labels(name)
        had |= labels
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) <= labels | OF_PROMETHEUS
    for grouped in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression):
        assert {label.strip() for label in grouped.split(",")} <= had | OF_PROMETHEUS


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def test_metrics_and_labels_exist(server: Server, expression: str) -> None:
    assert OURS.search(expression) or "up{" in expression
    check(expression, scrape(server.url))
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do_and_where_it_is_explained(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["action"].endswith(".")
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in ("warning", "critical")
    document, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor in headings((DOCS.parent / document).read_text())


def test_every_metric_is_scraped_documented_and_on_the_dashboard(server: Server) -> None:
    told = scrape(server.url)
    rows = table_rows((DOCS / "operations.md").read_text(), r"`quickim_.*")
    documented = {name: set(re.findall(r"`(\w+)`", row[1])) for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    shown = {name for expression in EXPRESSIONS.values() for name, _ in OURS.findall(expression)}
    families = dict(Family.all)
    assert len(families) > 20
    assert documented.keys() == families.keys()
    for name, family in families.items():
        assert name.removesuffix("_total") in told.families
        assert any(shown_name.startswith(name) for shown_name in shown), f"{name} is on no panel"
        assert set(family.labels) == (documented[name] if "pool" not in name else documented[name] & set(family.labels))


def test_names_follow_prometheus_conventions() -> None:
    for name, family in Family.all.items():
        assert name.endswith("_total") == (family.kind == "counter"), name
        assert family.text.endswith("."), name
    assert metrics.DELIVERY_SECONDS.name.endswith("_seconds")
