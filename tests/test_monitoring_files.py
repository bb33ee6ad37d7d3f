"""The alert rules and the dashboard in conf/ use metrics that exist, and Prometheus accepts their expressions."""

from __future__ import annotations

import itertools
import json
import re
import time
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families
from support.node_server import REPLIES, replies, request, send
from support.tools import check, tool

from collective.node.service.metrics import Metrics
from collective.node.storage.audit_log import AuditLog
from collective.node.storage.journal import Journal
from collective.testing import memory_fleet

CONF = Path(__file__).resolve().parents[1] / "conf"
ALERTS, TESTS = CONF / "prometheus" / "alerts.yaml", CONF / "prometheus" / "alerts_test.yaml"
DASHBOARD: dict[str, Any] = json.loads((CONF / "grafana" / "collective.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def test_nodes_export_each_metric_that_is_used(tmp_path: Path) -> None:
    """The names of checks are compared in tests/e2e/test_fleet_checks.py."""
    with memory_fleet(tmp_path, {"web1": {}}) as network:
        network.transport.open_replies(REPLIES)
        send(network, request())
        assert len(replies(network, 1)) == 1
        journal, audit = Journal(None, time.time), AuditLog(tmp_path / "audit")
        Metrics(tmp_path / "node.prom", network.nodes["web1"], journal, audit).write()
        journal.close()
        audit.close()
    families = text_string_to_metric_families((tmp_path / "node.prom").read_text())
    exported = {sample.name for family in families for sample in family.samples}
    for text in (ALERTS.read_text(), TESTS.read_text(), "\n".join(EXPRESSIONS)):
        used = set(re.findall(r"\bcollective_(?!check_)[a-z_]+\b", text))
        assert used
        assert used - exported == set()


def test_each_alert_is_tested() -> None:
    """A rule without a case in alerts_test.yaml could be one that never fires."""
    names = {rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]}
    assert names == set(re.findall(r'alertname="(\w+)"', TESTS.read_text()))


def test_promtool_accepts_the_alerts() -> None:
    """The rules are valid, fire for a broken collective, and are silent for a healthy one."""
    check(tool("promtool"), "check", "rules", ALERTS)
    check(tool("promtool"), "test", "rules", TESTS)


def test_promtool_parses_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    """Each expression is one of Prometheus once Grafana has replaced its variables."""
    found = [text.replace("$__rate_interval", "5m").replace("$collective", ".*") for text in EXPRESSIONS]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(found)]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    check(tool("promtool"), "check", "rules", tmp_path / "rules.yaml")


def test_panels_have_a_place_of_their_own() -> None:
    """Ids differ, panels do not overlap, and each uses the data source that the viewer chooses."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in itertools.combinations([panel["gridPos"] for panel in panels], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    sources = {panel["datasource"]["uid"] for panel in panels if panel["type"] != "row"}
    assert sources == {"${datasource}"}
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["datasource", "collective"]
