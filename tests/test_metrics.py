"""Metrics for Prometheus: each request has one result, and the file has the counters of the node."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.node_server import REPLIES, body, call_node, replies, request, send
from support.prometheus import samples
from support.simulated import Make

from collective.errors import Failed
from collective.filters import parse
from collective.node.requests.counters import Durations
from collective.node.requests.reasons import COUNTERS
from collective.node.service.metrics import Metrics
from collective.node.storage.audit_log import AuditLog
from collective.node.storage.journal import Journal
from collective.policy import Policy, Rule
from collective.testing import FaultRates, Network, memory_fleet
from collective.transport import Delivery


@pytest.fixture
def network(tmp_path: Path, plugins: Path) -> Iterator[Network]:
    """One node that denies shell, and accepts one running and one queued action."""
    policy = Policy([Rule("no shell", agents=("shell",), allow=False), Rule("all else")])
    few: dict[str, Any] = {"max_actions": 1, "max_queued": 1}
    with memory_fleet(tmp_path, {"web1": {}}, code=[plugins], ddls=[plugins], policy=policy, **few) as network:
        network.transport.open_replies(REPLIES)
        yield network


@pytest.fixture
def metrics(network: Network, tmp_path: Path) -> Iterator[Metrics]:
    """The metrics of the node, written to `node.prom`."""
    journal, audit = Journal(None, time.time), AuditLog(tmp_path / "audit")
    yield Metrics(tmp_path / "node.prom", network.nodes["web1"], journal, audit)
    journal.close()
    audit.close()


def test_each_request_has_one_result(network: Network, metrics: Metrics, tmp_path: Path) -> None:
    """The requests received are the sum of all results; the requests passed are the sum of all outcomes."""
    node, now = network.nodes["web1"], network.transport.now()
    first = request()
    call_node(network, first)
    send(network, "rubbish", first, request(targets=("db1",)), request("shell", "run", data={"command": "id"}))
    send(network, request(filter=parse(with_fact=["role=db"]).to_data()), request("nosuch"), request("odd", "lie"))
    node.pipeline.handle(Delivery(body(request(ttl=60)), sent=now, received=now + 61, receipt=""))
    assert len(replies(network, 5)) == 5
    long = [request("odd", "sleep", data={"seconds": 0.5}) for _ in range(3)]
    send(network, *long)
    assert len(replies(network, 3)) == 3
    metrics.write()
    found = samples(tmp_path / "node.prom")
    results = {result: found["collective_request_results_total", result] for result in COUNTERS}
    assert results == {
        **dict.fromkeys(COUNTERS, 0),
        **dict.fromkeys(["unvalidated", "duplicates", "elsewhere", "expired", "denied", "filtered", "invalid"], 1),
        "busy": 1,
        "passed": 4,
    }
    assert sum(results.values()) == found["collective_requests_total", "received"] == 12
    assert found["collective_request_age_seconds_count",] == 12
    outcomes = {key[1:]: value for key, value in found.items() if key[0] == "collective_actions_total"}
    assert outcomes == {("ping", "rpcutil", "ok"): 1, ("lie", "odd", "invalid_output"): 1, ("sleep", "odd", "ok"): 2}
    assert found["collective_action_duration_seconds_count", "sleep", "odd"] == 2
    assert found["collective_action_duration_seconds_bucket", "sleep", "odd", "0.25"] == 0
    assert found["collective_action_duration_seconds_bucket", "sleep", "odd", "+Inf"] == 2
    assert found["collective_last_poll_timestamp_seconds",] >= now


def test_results_add_up_on_an_unreliable_network(simulation: Make) -> None:
    """With duplicated, lost, delayed, corrupted and throttled messages, each delivery is counted exactly once."""
    with simulation(20, FaultRates(drop=0.02, duplicate=0.2, delay=0.1, corrupt=0.05, throttle=0.02), seed=5) as world:
        for _ in range(5):
            world.fleet.call("odd", "lie", timeout=4.0).wait()
        world.pass_time(10)
        for node in world.nodes.values():
            counts = node.statistics.requests
            assert counts["received"] + counts["resumed"] == sum(counts[result] for result in COUNTERS) > 0
            assert counts["passed"] == sum(node.statistics.outcomes.read().values())


def test_a_metrics_file_that_cannot_be_written_is_logged_every_ten_minutes(
    network: Network, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged at most every ten minutes; the file is written as soon as that is possible."""
    now = [0.0]
    path = tmp_path / "none" / "node.prom"
    journal = Journal(None, time.time)
    metrics = Metrics(path, network.nodes["web1"], journal, AuditLog(tmp_path / "audit"), clock=lambda: now[0])
    for later in (0, 30, 30, 600):
        now[0] += later
        metrics.write()
    lines = [vars(line)["error"] for line in caplog.records if line.message == "metrics.failed"]
    assert (
        lines
        == [f"metrics: {path}: cannot be written: No such file or directory (create its folder or change the path)"] * 2
    )
    path.parent.mkdir()
    metrics.write()
    assert list(path.parent.iterdir()) == [path]
    journal.close()


def test_links_in_the_folder_are_not_followed(metrics: Metrics, tmp_path: Path) -> None:
    """The owner of the folder cannot make root write elsewhere through a link at the final or the temporary name."""
    other, path = tmp_path / "other", tmp_path / "node.prom"
    other.write_text("kept")
    path.symlink_to(other)
    planted = tmp_path / f"node.prom.{os.getpid()}.{threading.get_ident()}"  # as prometheus_client names it
    planted.symlink_to(other)
    metrics.write()
    assert other.read_text() == "kept"
    assert samples(path)
    assert (path.is_symlink(), stat.S_IMODE(path.stat().st_mode)) == (False, 0o644)


def test_no_temporary_file_is_left_after_a_failed_write(metrics: Metrics, tmp_path: Path) -> None:
    """A folder at the path stays, without a temporary file next to it."""
    (tmp_path / "node.prom").mkdir()
    metrics.write()
    assert list(tmp_path.glob("*node.prom*")) == [tmp_path / "node.prom"]


def test_failed_audit_log_lines_are_counted(network: Network, tmp_path: Path) -> None:
    """A line that could not be written appears in the metrics."""
    audit = AuditLog(tmp_path / "none" / "audit.jsonl")
    with pytest.raises(Failed):
        audit.decision(request(), "0" * 64, {}, "allowed", None)
    path = tmp_path / "node.prom"
    journal = Journal(None, time.time)
    Metrics(path, network.nodes["web1"], journal, audit).write()
    journal.close()
    assert samples(path)["collective_audit_failures_total",] == 1


def test_duration_histograms_are_cumulative() -> None:
    """A bucket includes its upper bound; a duration above all bounds is in the last bucket only."""
    durations = Durations()
    for seconds in (0.05, 0.06, 1000.0):
        durations.add(seconds, "odd", "go")
    ((key, (counts, total)),) = durations.read().items()
    assert (key, counts[:2], counts[-2:]) == (("odd", "go"), [1, 2], [2, 3])
    assert total == pytest.approx(1000.11)


def test_every_series_is_documented(metrics: Metrics, tmp_path: Path) -> None:
    """docs/reference/metrics.md lists every series."""
    text = (Path(__file__).parents[1] / "docs" / "reference" / "metrics.md").read_text()
    metrics.write()
    families = text_string_to_metric_families((tmp_path / "node.prom").read_text())
    missing = [family.name for family in families if f"`{family.name}" not in text]
    assert missing == []
