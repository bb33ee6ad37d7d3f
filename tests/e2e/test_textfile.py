"""Test of the metrics that a real daemon writes for the textfile collector of the Prometheus node exporter."""

from __future__ import annotations

import signal
import time
import uuid
from pathlib import Path

from support.crpc_process import make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon
from support.prometheus import samples
from support.waiting import wait_until

import collective


def test_a_daemon_writes_its_metrics_at_start_and_at_stop(tmp_path: Path, moto_server: str) -> None:
    """The file is readable by everyone, exists after the start, and counts the last call after the stop."""
    configure(tmp_path, collective=f"prom-{uuid.uuid4().hex[:8]}", metrics="node.prom")
    path = tmp_path / "node.prom"
    crpc = make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path)})
    with daemon(tmp_path, moto_server) as node:
        wait_until(path.exists, 30)
        assert samples(path)["collective_requests_total", "received"] == 0
        assert crpc("shell", "run", "command=true", "-I", IDENTITY).returncode == 0
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(30) == 0
    found = samples(path)
    assert found["collective_info", IDENTITY, collective.__version__] == 1
    assert found["collective_requests_total", "received"] == found["collective_request_results_total", "passed"] == 1
    assert found["collective_actions_total", "run", "shell", "ok"] == found["collective_replies_total", "sent"] == 1
    assert time.time() - 60 < found["collective_last_poll_timestamp_seconds",] < time.time() + 5
    assert path.stat().st_mode & 0o444 == 0o444
    assert [found.name for found in tmp_path.glob("node.prom*")] == ["node.prom"]
