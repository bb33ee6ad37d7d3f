"""Figures for Prometheus: each request has one fate, and the file says what the node has counted."""

# ruff: noqa: F811 - fixtures that are imported, and asked for by name

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
from test_server import REPLIES, ask, body, plugins, replies, request, send, settled  # noqa: F401 - and a fixture
from test_simulation import Make, simulation  # noqa: F401 - a fixture

from collective.errors import Failed
from collective.filters import parse
from collective.node.audit import Audit
from collective.node.counts import FATES, Durations
from collective.node.journal import Journal
from collective.node.metrics import Metrics
from collective.policy import Policy, Rule
from collective.testing import Faults, Network, memory_fleet
from collective.transport import Delivery

Samples = dict[tuple[str, ...], float]  # by name, and the values of its labels in their order, but for `collective`


def samples(path: Path) -> Samples:
    """Return what a file of figures says."""
    found: Samples = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            labels = [value for label, value in sample.labels.items() if label != "collective"]
            key = (sample.name, *labels)
            found[key] = sample.value
    return found


@pytest.fixture
def network(tmp_path: Path, plugins: Path) -> Iterator[Network]:
    """One node where nobody may call shell, and one action of `odd` runs while one more waits."""
    policy = Policy([Rule("no shell", agents=("shell",), allow=False), Rule("all else")])
    few: dict[str, Any] = {"max_actions": 1, "max_queued": 1}
    with memory_fleet(tmp_path, {"web1": {}}, code=[plugins], ddls=[plugins], policy=policy, **few) as network:
        network.transport.open_replies(REPLIES)
        yield network


@pytest.fixture
def metrics(network: Network, tmp_path: Path) -> Iterator[Metrics]:
    """What writes the node's figures to `node.prom`."""
    journal, audit = Journal(None, time.time), Audit(tmp_path / "audit")
    yield Metrics(tmp_path / "node.prom", network.nodes["web1"], journal, audit)
    journal.close()
    audit.close()


def test_each_request_has_one_fate(network: Network, metrics: Metrics, tmp_path: Path) -> None:
    """What has been received is the sum of all fates; what has passed is the sum of all outcomes."""
    node, now = network.nodes["web1"], network.transport.now()
    first = request()
    ask(network, first)
    send(network, "rubbish", first, request(targets=("db1",)), request("shell", "run", data={"command": "id"}))
    send(network, request(filter=parse(with_fact=["role=db"]).to_data()), request("nosuch"), request("odd", "lie"))
    node.handle(Delivery(body(request(ttl=60)), sent=now, received=now + 61, receipt=""))
    assert len(replies(network, 6)) == 6
    long = [request("odd", "sleep", data={"seconds": 0.5}) for _ in range(3)]
    send(network, *long)
    assert len(replies(network, 3)) == 3
    metrics.write()
    found = samples(tmp_path / "node.prom")
    fates = {fate: found["collective_request_fates_total", fate] for fate in FATES}
    assert fates == {
        **dict.fromkeys(FATES, 0),
        **dict.fromkeys(["unvalidated", "duplicates", "elsewhere", "expired", "denied", "filtered", "invalid"], 1),
        "busy": 1,
        "passed": 4,
    }
    assert sum(fates.values()) == found["collective_requests_total", "received"] == 12
    assert found["collective_request_age_seconds_count",] == 12
    outcomes = {key[1:]: value for key, value in found.items() if key[0] == "collective_actions_total"}
    assert outcomes == {("ping", "rpcutil", "ok"): 1, ("lie", "odd", "crashed"): 1, ("sleep", "odd", "ok"): 2}
    assert found["collective_action_duration_seconds_count", "sleep", "odd"] == 2
    assert found["collective_action_duration_seconds_bucket", "sleep", "odd", "0.25"] == 0
    assert found["collective_action_duration_seconds_bucket", "sleep", "odd", "+Inf"] == 2
    assert found["collective_last_poll_timestamp_seconds",] >= now


def test_fates_add_up_in_a_network_that_misbehaves(simulation: Make) -> None:
    """Repeated, lost, late, corrupted and cut: no delivery is counted twice, or not at all."""
    with simulation(20, Faults(drop=0.02, duplicate=0.2, delay=0.1, corrupt=0.05, throttle=0.02), seed=5) as world:
        for _ in range(5):
            world.fleet.call("odd", "lie", timeout=4.0).wait()
        world.pass_time(10)
        for node in world.nodes.values():
            counts = node.counts
            assert counts["received"] + counts["resumed"] == sum(counts[fate] for fate in FATES) > 0
            assert counts["passed"] == sum(node.workshop.outcomes.read().values())


def test_a_file_that_cannot_be_written_is_one_line_in_the_log(
    network: Network, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not one each time, and the node serves on; ten minutes later there is another, and then the file."""
    now = [0.0]
    path = tmp_path / "none" / "node.prom"
    journal = Journal(None, time.time)
    metrics = Metrics(path, network.nodes["web1"], journal, Audit(tmp_path / "audit"), clock=lambda: now[0])
    for later in (0, 30, 30, 600):
        now[0] += later
        metrics.write()
    lines = [vars(line)["fault"] for line in caplog.records if line.message == "metrics.failed"]
    assert (
        lines
        == [f"metrics: {path}: cannot be written: No such file or directory: make its folder, or name another"] * 2
    )
    path.parent.mkdir()
    metrics.write()
    assert list(path.parent.iterdir()) == [path]
    journal.close()


def test_links_in_its_folder_lead_nowhere(metrics: Metrics, tmp_path: Path) -> None:
    """Whoever owns the folder has root write to no other file: neither by the file's name, nor by one on the way."""
    other, path = tmp_path / "other", tmp_path / "node.prom"
    other.write_text("kept")
    path.symlink_to(other)
    planted = tmp_path / f"node.prom.{os.getpid()}.{threading.get_ident()}"  # as prometheus_client names it
    planted.symlink_to(other)
    metrics.write()
    assert other.read_text() == "kept"
    assert samples(path)
    assert (path.is_symlink(), stat.S_IMODE(path.stat().st_mode)) == (False, 0o644)


def test_nothing_is_left_where_no_file_can_be_put(metrics: Metrics, tmp_path: Path) -> None:
    """A folder in its place stays, alone."""
    (tmp_path / "node.prom").mkdir()
    metrics.write()
    assert list(tmp_path.glob("*node.prom*")) == [tmp_path / "node.prom"]


def test_lines_of_the_audit_that_are_missing_are_counted(network: Network, tmp_path: Path) -> None:
    """A disk that is full shows in the figures."""
    audit = Audit(tmp_path / "none" / "audit.jsonl")
    with pytest.raises(Failed):
        audit.decision(request(), {}, "allowed", None)
    path = tmp_path / "node.prom"
    journal = Journal(None, time.time)
    Metrics(path, network.nodes["web1"], journal, audit).write()
    journal.close()
    assert samples(path)["collective_audit_failures_total",] == 1


def test_durations_are_cumulative() -> None:
    """What took exactly a bound is within it; what took longer than all is in the last alone."""
    durations = Durations()
    for seconds in (0.05, 0.06, 1000.0):
        durations.add(seconds, "odd", "go")
    ((key, (counts, total)),) = durations.read().items()
    assert (key, counts[:2], counts[-2:]) == (("odd", "go"), [1, 2], [2, 3])
    assert total == pytest.approx(1000.11)


def test_every_fate_and_series_is_documented(metrics: Metrics, tmp_path: Path) -> None:
    """docs/daemon.md has what the file has, in the words of the code."""
    text = (Path(__file__).parents[1] / "docs" / "daemon.md").read_text()
    for fate, meaning in FATES.items():
        assert f"| `{fate}` | {meaning}" in text
    metrics.write()
    families = text_string_to_metric_families((tmp_path / "node.prom").read_text())
    missing = [family.name for family in families if f"`{family.name}" not in text]
    assert missing == []
