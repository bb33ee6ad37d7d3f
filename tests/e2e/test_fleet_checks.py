"""`crpc check nodes` and the other checks on a lab, with each exit code."""

from __future__ import annotations

import json
import re
import time
import uuid
from pathlib import Path

import boto3
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.crpc_process import Crpc, clean_environment, make_crpc
from support.daemons import aws_environment

from collective import names
from collective.clients.nagios import CHECKS

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.mark.parametrize("check", CHECKS)
def test_each_exit_code(crpc: Crpc, environment: dict[str, str], check: str) -> None:
    """The thresholds decide between 0, 1 and 2; without AWS the state is unknown."""
    for words, code, state in [
        ("-w 100000 -c 100000", 0, "OK"),
        ("-w @0:100000 -c 100000", 1, "WARNING"),
        ("-c @0:100000", 2, "CRITICAL"),
    ]:
        done = crpc("check", check, *words.split())
        assert (done.returncode, done.stderr) == (code, "")
        assert re.fullmatch(rf"{check}: {state}: [^|\n]+\|(\w+=[0-9.e-]+s?;[^; ]*;[^; ]*;0 ?)+\n", done.stdout)
    done = make_crpc({**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})("check", check)
    assert done.returncode == 3
    assert done.stdout.startswith(f"{check}: UNKNOWN: ")


def test_the_form_for_cacti(crpc: Crpc) -> None:
    """The values are on one line, and the exit code is 0 whatever the state."""
    done = crpc("check", "nodes", "-c", "@0:100", "--format", "cacti")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "state:2 absent:0 alive:5 stale:0 invalid:0 stopped:0 revoked:0\n"


def test_the_form_for_prometheus(crpc: Crpc) -> None:
    """The exit code is 0 whatever the state, so that the file is replaced; alerts and panels use these names."""
    exported: set[str] = set()
    for check in CHECKS:
        done = crpc("check", check, "-c", "@0:100000", "--format", "prometheus")
        assert (done.returncode, done.stderr) == (0, "")
        families = {family.name: family for family in text_string_to_metric_families(done.stdout)}
        assert families[f"collective_check_{check}_state"].samples[0].value == 2
        assert families[f"collective_check_{check}_timestamp_seconds"].samples[0].value > 1.7e9
        exported |= families.keys()
    for path in ("prometheus/alerts.yaml", "prometheus/alerts_test.yaml", "grafana/collective.json"):
        used = set(re.findall(r"\bcollective_check_[a-z_]+\b", (CONF / path).read_text()))
        assert used - exported - {"collective_check_"} == set(), path


@pytest.fixture
def own(tmp_path: Path, moto_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a collective without nodes; boto3 and crpc use its server."""
    name = f"check-{uuid.uuid4().hex[:8]}"
    (tmp_path / "client.yaml").write_text(json.dumps({"collective": name, "state": "state", "registry": "none"}))
    for key, value in {**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path)}.items():
        monkeypatch.setenv(key, value)
    return name


def test_the_oldest_unread_request(own: str, tmp_path: Path, moto_server: str) -> None:
    """Only queues with unread requests are looked up in CloudWatch; without any value the state is unknown."""
    environment = {**clean_environment(), **aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path)}
    crpc, sqs, metrics = make_crpc(environment), boto3.client("sqs"), boto3.client("cloudwatch")
    queues = [names.node_queue(own, identity) for identity in ("web1", "web2", "web3")]
    urls = [sqs.create_queue(QueueName=queue)["QueueUrl"] for queue in queues]
    done = crpc("check", "requests")
    assert (done.returncode, done.stdout.split("|")[1]) == (0, "oldest=0s;300;900;0 waiting=0;;;0 unknown=0;;;0\n")
    for url in urls[:2]:
        sqs.send_message(QueueUrl=url, MessageBody="x")
    done = crpc("check", "requests")
    assert done.returncode == 3
    assert "CloudWatch has no age of" in done.stdout
    for queue, age, ago in ((queues[0], 700, 60), (queues[0], 600, 120), (queues[2], 5000, 60)):
        dimensions = [{"Name": "QueueName", "Value": queue}]
        metrics.put_metric_data(
            Namespace="AWS/SQS",
            MetricData=[
                {
                    "MetricName": "ApproximateAgeOfOldestMessage",
                    "Dimensions": dimensions,
                    "Timestamp": time.time() - ago,
                    "Value": age,
                    "Unit": "Seconds",
                }
            ],
        )
    for limits, code in ((["-w", "700"], 0), ([], 1), (["-c", "600"], 2)):
        done = crpc("check", "requests", *limits)
        assert done.returncode == code, done.stdout
        assert f"3 node queues, 2 with unread requests, oldest waits 700 s: {queues[0]}|oldest=700s;" in done.stdout
        assert done.stdout.endswith(" waiting=2;;;0 unknown=1;;;0\n")
