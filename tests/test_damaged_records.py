"""Records of runs that are damaged, or of another version: each use is an error in one line, or the line is ignored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.crpc_call import Captured, called

from collective.testing import memory_fleet

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an unfinished rollout, which this caller could take."""
    from collective.clients import run_records
    from collective.fleet.pace import Pace

    path = tmp_path / "client.yaml"
    path.write_text("{collective: testing, registry: none, key: none, caller: alice, state: state}")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(path))
    with memory_fleet(tmp_path, {"a": {}, "b": {}}) as network:
        plan = network.fleet.plan("rpcutil", "ping", pace=Pace(waves="1,rest"))
        network.fleet.hand_over(plan, run_records.steered(network.fleet.config, plan, shared=False))
    [file] = (tmp_path / "state" / "runs").glob("*.jsonl")
    return file


def changed(record: Path, event: str, change: Change) -> None:
    """Change the first event of a kind."""
    events = [json.loads(line) for line in record.read_text().splitlines()]
    change(next(one for one in events if one["event"] == event))
    record.write_text("".join(f"{json.dumps(one)}\n" for one in events))


def plan_without(*names: str) -> Change:
    def change(event: dict[str, Any]) -> None:
        for name in names:
            event["document"].pop(name)

    return change


DAMAGED: list[tuple[str, Change, int, str]] = [
    ("plan", lambda event: event.update(document=5), 4, "has no plan, so no caller can steer it"),
    ("plan", lambda event: event["document"].update(type="other"), 4, "has no plan, so no caller can steer it"),
    ("plan", lambda event: event["document"].update(call=5), 4, "its plan cannot be read"),
    ("plan", lambda event: event["document"]["call"].update(gates={}), 4, "its plan cannot be read"),
    ("plan", lambda event: event["document"]["call"].update(data=None), 4, "its plan cannot be read"),
    ("plan", plan_without("approvals"), 4, "its plan cannot be read"),
    ("plan", plan_without("nodes"), 4, "its plan cannot be read"),
    ("plan", plan_without("signature"), 4, "its plan cannot be read"),
    ("request", lambda event: event.update(expected=5), 64, "no rollouts are recorded"),
    ("begin", lambda event: event.update(time="x"), 64, "no rollouts are recorded"),
]


@pytest.mark.parametrize(("event", "change", "code", "message"), DAMAGED)
def test_a_damaged_record_is_refused_in_one_line(
    record: Path, capsys: Captured, event: str, change: Change, code: int, message: str
) -> None:
    """Commands that read the record neither end with an internal error nor go on with the run."""
    changed(record, event, change)
    for verb in ("take", "stop", "log"):
        found, _, err = called(["run", verb, "last"], capsys)
        assert (found in (0, 4, 64), "internal error" in err) == (True, False), err
        if verb == "take":
            assert (found, message in err) == (code, True), err
    for words in (["run", "list", "--all"], ["runs"], ["show", "last"], ["run", "show", "last"], ["retry", "last"]):
        assert called(words, capsys)[0] != 70


@pytest.mark.parametrize("nodes", [5, "a", {"a": 1}, [1], True])
def test_a_wave_with_nodes_that_are_no_list_is_ignored(record: Path, capsys: Captured, nodes: Any) -> None:
    """The line counts as one that cannot be read."""
    line = {"event": "sent", "request": "0" * 32, "nodes": nodes}
    record.write_text(f"{record.read_text()}{json.dumps(line)}\n")
    code, _, err = called(["show", "last"], capsys)
    assert (code, "internal error" in err) == (0, False), err
