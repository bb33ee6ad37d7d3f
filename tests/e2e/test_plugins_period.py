"""A real daemon loads new and changed agents by itself, all or nothing, while actions run."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from support.crpc_process import Crpc, begin, make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon
from support.waiting import wait_until

CODE = """
import pathlib, time
from collective.agent import action

@action
def go(mark: str = ""):
    if mark:
        pathlib.Path(mark + ".begun").touch()
        while not pathlib.Path(mark).exists():
            time.sleep(0.05)
    return {{"n": {number}}}
"""


def write(folder: Path, version: str, code: str) -> None:
    """Write a version of the agent `extra`."""
    inputs = {"type": "object", "properties": {"mark": {"type": "string"}}}
    outputs = {"type": "object", "properties": {"n": {"type": "integer"}}}
    metadata = {"name": "extra", "description": "x", "version": version}
    action = {"description": "Go", "timeout": 60, "idempotent": True, "input": inputs, "output": outputs}
    (folder / "ddl" / "extra.json").write_text(json.dumps({"metadata": metadata, "actions": {"go": action}}))
    (folder / "agents" / "extra.py").write_text(code)


@pytest.fixture
def crpc(tmp_path: Path, moto_server: str) -> Crpc:
    """A caller of a node that looks at its plugins each second."""
    configure(tmp_path, collective=f"watch-{uuid.uuid4().hex[:8]}", plugins_period=1)
    return make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path)})


def number(crpc: Crpc, agent: str = "extra") -> int:
    """Return the number that the agent of the node has."""
    (reply,) = json.loads(crpc(agent, "go", "-I", IDENTITY, "-o", "json").stdout)["replies"]
    return int(reply["data"].get("n", 0))


def test_an_agent_that_changes_while_the_node_starts_is_loaded_again(
    tmp_path: Path, moto_server: str, crpc: Crpc
) -> None:
    """The files are looked at before they are loaded; this agent is replaced when it is imported."""
    path, later = str(tmp_path / "agents" / "extra.py"), CODE.format(number=2)
    replaces = f"import pathlib\npathlib.Path({path!r}).write_text({later!r})"
    write(tmp_path, "1.0", replaces + CODE.format(number=1))
    with daemon(tmp_path, moto_server) as node:
        node.wait_for("daemon.reloaded", 1)
        assert number(crpc) == 2


def test_agents_are_loaded_without_a_signal(tmp_path: Path, moto_server: str, crpc: Crpc) -> None:
    """A new agent serves, a running action ends with its old code, and a broken version changes nothing."""
    with daemon(tmp_path, moto_server) as node:
        write(tmp_path, "1.0", CODE.format(number=1))
        node.wait_for("daemon.reloaded", 1)
        assert number(crpc) == 1
        mark = tmp_path / "mark"
        slow = begin(crpc, "extra", "go", f"mark={mark}", "-I", IDENTITY, "-o", "json")
        wait_until((tmp_path / "mark.begun").exists, 30)
        write(tmp_path, "2.0", CODE.format(number=2))
        node.wait_for("daemon.reloaded", 2)
        assert number(crpc, "extra@>=2") == 2
        mark.touch()
        assert json.loads(slow().stdout)["replies"][0]["data"] == {"n": 1}
        write(tmp_path, "3.0", "def go(:")
        node.wait_for("agent.refused")
        assert number(crpc) == 2
        reply = json.loads(crpc("rpcutil", "agent_inventory", "-I", IDENTITY, "-o", "json").stdout)["replies"][0]
        assert [one["version"] for one in reply["data"]["agents"] if one["agent"] == "extra"] == ["2.0"]
    assert len(node.events("plugins.changed")) >= 3
