"""Rollouts in waves, gates, hooks, plans and jobs over ten real daemons."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from support.crpc_process import Crpc, on_a_terminal
from support.json_documents import check_document
from support.receivers import mail_server, webhook
from support.rollouts import document

from collective.lab.layout import Layout

NODES = [f"node{number:02}.lab" for number in range(1, 11)]
SPAN = "command=date +%s.%N; sleep 0.4; date +%s.%N"


@pytest.fixture
def environment(of_ten: dict[str, str]) -> dict[str, str]:
    """Let `crpc` use the lab of ten nodes."""
    return of_ten


def spans(results: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the start and end of each node's action, from its output."""
    found = {reply["sender"]: reply["data"]["stdout"].split() for reply in results["replies"]}
    return {node: (float(began), float(ended)) for node, (began, ended) in found.items()}


def facts(lab: Layout, fact: str) -> dict[str, str]:
    """Return the value of a fact on each node."""
    return {name: yaml.safe_load((lab.node(name) / "facts.yaml").read_text())[fact] for name in NODES}


# -- waves


def test_a_canary_that_fails_stops_at_one_node(crpc: Crpc, tmp_path: Path) -> None:
    """The exit code is 4 with nine nodes skipped; once the cause is gone, `crpc retry` reaches all others."""
    run = ("shell", "run", f"command=echo x >> {tmp_path}/ran; test -e {tmp_path}/fixed")
    results = document(crpc, *run, "--waves", "1,rest", "--max-fail", "1", "--yes")
    assert (results["exit"], results["outcomes"]["failed"], results["outcomes"]["skipped"]) == (4, 1, 9)
    assert (tmp_path / "ran").read_text() == "x\n"
    (tmp_path / "fixed").touch()
    again = document(crpc, "retry", "--yes")
    assert (again["exit"], again["outcomes"]["ok"], len(again["request_ids"])) == (0, 10, 2)
    assert (tmp_path / "ran").read_text().count("x") == 11


def test_one_node_per_zone_works_at_a_time(crpc: Crpc, ten: Layout) -> None:
    """By the actions' own times, nodes of one zone never overlap, and different zones do."""
    results = document(crpc, "shell", "run", SPAN, "--per", "az=1", "--yes")
    times, zones = spans(results), facts(ten, "az")
    assert (results["exit"], len(times)) == (0, 10)
    pairs = [(one, other) for one in NODES for other in NODES if one < other]
    overlapping = {
        (one, other) for one, other in pairs if times[one][0] < times[other][1] and times[other][0] < times[one][1]
    }
    assert overlapping
    assert [pair for pair in overlapping if zones[pair[0]] == zones[pair[1]]] == []


def test_ranks_follow_each_other(crpc: Crpc, ten: Layout) -> None:
    """No node of a rank begins before all of the rank before have ended, at a rate of 20 nodes a second."""
    roles = facts(ten, "role")
    order = sorted(set(roles.values()))
    results = document(crpc, "shell", "run", SPAN, "--order-by", f"role={','.join(order)}", "--rate", "20/s", "--yes")
    times = spans(results)
    for before, after in itertools.pairwise(order):
        ended = max(times[name][1] for name in NODES if roles[name] == before)
        assert ended <= min(times[name][0] for name in NODES if roles[name] == after)
    assert len(times) == 10


def test_hooks_run_around_each_node(crpc: Crpc, tmp_path: Path) -> None:
    """The three steps of a node follow each other, and the next node begins after the last one."""
    log = f"tee -a {tmp_path}/log"
    steps = {"before": f"shell run 'echo before | {log}'", "after": f"shell run 'echo after | {log}'"}
    words = ("--before", steps["before"], "--after", steps["after"], "--concurrency", "1", "--limit", "2", "--yes")
    results = document(crpc, "shell", "run", f"command=echo run | {log}", *words)
    assert (results["exit"], len(results["request_ids"])) == (0, 6)
    assert (tmp_path / "log").read_text().split() == ["before", "run", "after"] * 2
    failed = document(crpc, "shell", "run", "command=true", "--before", "shell run false", "--one", "--yes")
    assert [(reply["reason"], reply["statuscode"]) for reply in failed["replies"]] == [("before", 1)]


# -- gates


def test_an_alarm_is_a_gate(crpc: Crpc, environment: dict[str, str]) -> None:
    """An alarm in the state OK lets the next wave begin; ALARM, no data and no such alarm stop the rollout."""
    client = boto3.client(
        "cloudwatch",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_DEFAULT_REGION"],
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
    )
    client.put_metric_alarm(
        AlarmName="errors",
        MetricName="Errors",
        Namespace="Test",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        Statistic="Sum",
    )
    call = ("rpcutil", "ping", "--limit", "2", "--waves", "1", "--gate")
    for state, code in (("OK", 0), ("ALARM", 4), ("INSUFFICIENT_DATA", 4)):
        client.set_alarm_state(AlarmName="errors", StateValue=state, StateReason="test")
        results = document(crpc, *call, "alarm:errors")
        assert results["exit"] == code, state
    assert results["stopped"] == "gate 'alarm:errors': the alarm is in the state INSUFFICIENT_DATA"
    assert document(crpc, *call, "alarm:absent")["stopped"] == "gate 'alarm:absent': the alarm does not exist"


def test_a_person_is_a_gate(environment: dict[str, str], crpc: Crpc) -> None:
    """On a terminal the question names the wave; a no stops, and so does a missing terminal."""
    call = ("rpcutil", "ping", "--limit", "2", "--waves", "1", "--gate", "ask")
    code, shown = on_a_terminal(environment, "y\n", *call)
    assert (code, "wave 1 of 2 has ended (1 OK, 0 failed, 0 silent); continue with the next of 1 node?" in shown) == (
        0,
        True,
    ), shown
    assert on_a_terminal(environment, "n\n", *call)[0] == 4
    assert document(crpc, *call)["stopped"] == "gate 'ask': standard input is not a terminal to ask on"


# -- plans


def test_a_plan_is_saved_applied_and_refused_when_it_has_drifted(crpc: Crpc, tmp_path: Path) -> None:
    """The plan names nodes, waves and cost; it runs as long as the same nodes match."""
    plan, ran = tmp_path / "plan.json", tmp_path / "ran"
    call = ("shell", "run", f"command=echo x >> {ran}", "--waves", "1,rest", "-F", "role=web")
    shown = document(crpc, *call, "--plan")
    assert (shown["exit"], [len(wave["nodes"]) for wave in shown["waves"]]) == (0, [1, len(shown["nodes"]) - 1])
    assert shown["cost"]["requests"] > 4 * len(shown["nodes"])
    text = crpc(*call, "--plan").stdout
    assert "  wave 1: 1 node (node0" in text
    assert re.search(r"about \d+ requests, \$0\.0000", text)
    saved = crpc(*call, "--save-plan", str(plan))
    assert (saved.returncode, f"run it with 'crpc apply {plan}'" in saved.stderr) == (0, True)
    check_document(json.loads(plan.read_text()))
    assert crpc(*call, "--save-plan", str(plan)).returncode == 64
    assert not ran.exists()
    applied = document(crpc, "apply", str(plan), "--yes")
    assert (applied["exit"], applied["outcomes"]["ok"]) == (0, len(shown["nodes"]))
    gone = shown["nodes"][0]
    assert crpc("lab", "node", gone, "stop").returncode == 0
    try:
        refused = crpc("apply", str(plan), "--yes")
        assert (refused.returncode, refused.stdout) == (4, "")
        assert (
            f"plan: 1 node no longer matched: {gone} (make a new plan, or use --allow-drift): nothing" in refused.stderr
        )
        assert len(ran.read_text().split()) == len(shown["nodes"])
        assert document(crpc, "apply", str(plan), "--yes", "--allow-drift")["outcomes"]["ok"] == len(shown["nodes"]) - 1
    finally:
        assert crpc("lab", "node", gone, "start").returncode == 0


def test_a_call_that_costs_too_much_is_not_sent(crpc: Crpc) -> None:
    """The price is in the message, and the exit code is 4."""
    done = crpc("rpcutil", "ping", "--max-cost", "0.000001")
    assert (done.returncode, done.stdout) == (4, "")
    assert re.search(r"plan: it costs about \$0\.0000\d+, --max-cost is \$0\.000001: nothing was sent", done.stderr)


# -- notifications


def test_a_run_notifies_people(crpc: Crpc, tmp_path: Path) -> None:
    """A mail server and a page learn of the end; one that fails changes no exit code."""
    with mail_server() as mailbox, webhook() as page:
        done = document(crpc, "rpcutil", "ping", "--notify", mailbox.url, "--notify", page.url)
        assert (done["exit"], done["stderr"]) == (0, "")
        subject, text = mailbox.next()
        assert subject == f"rpcutil ping on 10 nodes of {done['collective']}: OK"
        assert text.splitlines()[:2] == ["10 OK", f"run {done['request_id']}, started by {done['caller']}"]
        assert page.next()["title"] == subject
        (tmp_path / "text.j2").write_text(
            "{{ agent }} {{ event }}\n{{ failures[0].node }}, {{ skipped | length }} skipped"
        )
        failing = ("shell", "run", "command=false", "--waves", "1,rest", "--max-fail", "1", "--yes")
        template = ("--notify", page.url, "--notify-template", str(tmp_path / "text.j2"))
        failed = document(crpc, *failing, *template)
        assert failed["exit"] == 4
        found = page.next()
        assert (found["title"], found["message"]) == ("shell fail", f"{failed['replies'][0]['sender']}, 9 skipped")
        unreachable = document(crpc, "rpcutil", "ping", "--notify", f"{page.url}/refuse/t0ken")
    assert unreachable["exit"] == 0
    problem = "notification 1 (json): not sent: Failed to send JSON POST notification: error=403."
    assert unreachable["stderr"] == f"crpc: notification 'json://********': {problem}\n"


def test_people_learn_that_a_run_waits(environment: dict[str, str], crpc: Crpc, tmp_path: Path) -> None:
    """A question and a pause are reported while the run waits; each is in the configuration of the caller."""
    with webhook() as page:
        asking = ("rpcutil", "ping", "--waves", "1,rest", "--gate", "ask", "--notify", page.url)
        code, _ = on_a_terminal(environment, "y\n", *asking)
        assert (code, page.next()["title"].endswith(": waiting"), page.next()["title"].endswith(": OK")) == (
            0,
            True,
            True,
        )
        opens = f"cmd:sh -c 'test -e {tmp_path}/open || {{ touch {tmp_path}/open; exit 3; }}'"
        paused = ("--gate", opens, "--on-gate", "pause", "--gate-every", "0.5")
        assert document(crpc, "rpcutil", "ping", "--waves", "1,rest", *paused, "--notify", page.url)["exit"] == 0
        found = page.next()
        assert (found["title"].endswith(": paused"), "exit code 3" in found["message"]) == (True, True)
        assert page.next()["title"].endswith(": OK")
