"""Tests of an agent that hangs at its import, with a real daemon: the start, a reload, and the other agents."""

from __future__ import annotations

import json
import signal
import sys
import uuid
from pathlib import Path

from support.crpc_process import make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon

ACTION = "from collective.agent import action\n\n@action\ndef swing():\n    return {}\n"
HANGS = f"{ACTION}\nimport socket\nleft, right = socket.socketpair()\nleft.recv(1)\n"
DDL = {
    "metadata": {"name": "odd", "description": "Hits", "version": "1.0"},
    "actions": {"swing": {"description": "Swing it", "input": {"type": "object"}, "output": {"type": "object"}}},
}
SHORT_LIMIT = """
import runpy, sys
from collective.node.plugins import import_trial
import_trial.IMPORT_LIMIT = 4.0
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_an_agent_that_hangs_at_its_import_stops_neither_start_nor_reload(tmp_path: Path, moto_server: str) -> None:
    """The node serves without it, and says why; a version that can be imported is used after a reload."""
    configure(tmp_path, collective=f"hang-{uuid.uuid4().hex[:8]}")
    crpc = make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path / "client.yaml")})
    (tmp_path / "agents" / "odd.py").write_text(HANGS)
    (tmp_path / "ddl" / "odd.json").write_text(json.dumps(DDL))
    with daemon(tmp_path, moto_server, by=[sys.executable, "-c", SHORT_LIMIT]) as node:
        refused = crpc("odd", "swing", "-I", IDENTITY, "--yes")
        assert "agent 'odd' failed to load on this node" in refused.stdout + refused.stderr
        assert "odd.py: import took longer than 4 s" in refused.stdout + refused.stderr
        assert crpc("shell", "run", "command=true", "--yes", "-I", IDENTITY).returncode == 0
        (tmp_path / "agents" / "odd.py").write_text(ACTION)
        node.process.send_signal(signal.SIGHUP)
        node.wait_for("daemon.reloaded")
        assert crpc("odd", "swing", "-I", IDENTITY, "--yes").returncode == 0
        (tmp_path / "agents" / "odd.py").write_text(HANGS)
        node.process.send_signal(signal.SIGHUP)
        node.wait_for("daemon.reloaded", 2)
        assert crpc("odd", "swing", "-I", IDENTITY, "--yes").returncode == 0
        assert [event["in_force"] for event in node.events("agent.refused")] == ["nothing", "the last valid version"]
