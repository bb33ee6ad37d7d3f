"""Saved runs of real calls: a killed caller leaves what had arrived, and a retry asks only the other nodes."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.crpc_process import BIN, NODES, Crpc, suspended
from support.waiting import wait_until

from collective.lab.layout import Layout


def shown(crpc: Crpc, *words: str, code: int = 0) -> dict[str, Any]:
    done = crpc(*words, "--json")
    assert done.returncode == code, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def run_files(lab: Layout) -> set[Path]:
    return set((lab.folder / "state" / "runs").glob("*.jsonl"))


def kill_in_the_middle(environment: dict[str, str], lab: Layout, replies: int, *options: str) -> None:
    """Start a call, and kill it with SIGKILL once `replies` replies have been saved."""
    before = run_files(lab)

    def arrived() -> bool:
        return any(file.read_text().count('"event":"reply"') == replies for file in run_files(lab) - before)

    words = ["rpcutil", "get_fact", "fact=role", *options]
    with subprocess.Popen([BIN / "crpc", *words], env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(arrived, 30)
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize(
    ("options", "rest", "silent"),
    [((), ["node03.lab"], ["node03.lab"]), (("--batch", "3"), NODES[2:], ["node03.lab"])],
    ids=["at once", "in batches"],
)
def test_a_retry_asks_the_rest_of_a_killed_call(
    crpc: Crpc, environment: dict[str, str], lab: Layout, options: tuple[str, ...], rest: list[str], silent: list[str]
) -> None:
    """What had arrived is shown; silent nodes and those that were never reached are asked again, and no others."""
    with suspended(lab, "node03.lab"):
        kill_in_the_middle(environment, lab, len(NODES) - len(rest), *options)
    found = shown(crpc, "show", "last")
    assert sorted(reply["sender"] for reply in found["replies"]) == [name for name in NODES if name not in rest]
    assert (found["silent"], found["skipped"]) == (silent, [name for name in rest if name not in silent])
    assert shown(crpc, "runs")["runs"][0]["state"] == "unfinished"
    again = shown(crpc, "retry", "last")
    assert sorted(reply["sender"] for reply in again["replies"]) == rest
    assert again["outcomes"]["ok"] == len(rest)
    newest = shown(crpc, "runs")["runs"][0]
    assert (newest["run"], newest["retry_of"]) == (again["request_id"], found["request_id"])


def test_one_id_of_a_rollout_is_in_every_audit_log(crpc: Crpc, lab: Layout) -> None:
    """The id that -v prints is that of the saved run, and every node's audit log has it."""
    done = crpc("rpcutil", "get_fact", "fact=role", "--batch", "2", "-v")
    [run] = [line.split()[2] for line in done.stderr.splitlines() if line.startswith("crpc: run ")]
    assert shown(crpc, "show", run[:10])["request_id"] == run
    for node in NODES:
        audit = shown(crpc, "audit", "show", str(lab.node(node) / "audit.jsonl"), "--run", run)["requests"]
        assert [entry["decision"]["run"] for entry in audit] == [run]


def test_a_call_can_be_unsaved(crpc: Crpc, lab: Layout) -> None:
    """The option --no-save leaves no file of the call."""
    before = run_files(lab)
    assert crpc("rpcutil", "ping", "--no-save").returncode == 0
    assert run_files(lab) == before
