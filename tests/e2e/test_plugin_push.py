"""Plug-ins are pushed to the nodes of a lab, called without a DDL on the caller, and rolled back."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from support.crpc_process import BIN, clean_environment

STEPS = """
set -eu
cd "$1"
crpc new agent extra --action go --output n:integer > /dev/null
crpc plugin push . --yes
crpc extra go -q --yes
crpc ddl list | grep '^extra ' | awk '{print $1, $2}'
sed -i 's/"n": 1/"n": 2/' agents/extra.py
sed -i 's/"version": "1.0.0"/"version": "1.1.0"/' ddl/extra.json
crpc plugin push . --yes -I node01.lab
crpc 'extra@>=1.1' go -q --yes -I node01.lab
crpc 'extra@>=1.1' go -q --yes -I node02.lab || echo "exit code $?"
crpc plugin rollback extra --yes -I node01.lab
crpc plugin list -j -I node01.lab > list.json
echo 'def go(:' > agents/extra.py
crpc plugin push . --yes || echo "exit code $?"
crpc extra go -q --yes
"""


@pytest.mark.timeout(240)
def test_an_agent_is_pushed_called_and_rolled_back(tmp_path: Path) -> None:
    """The caller fetches the DDL by itself; a broken version changes nothing on any node."""
    done = subprocess.run(
        [BIN / "crpc", "lab", "run", "--nodes", "2", "--", "sh", "-c", STEPS, "steps", tmp_path],
        env={**clean_environment(), "PATH": f"{BIN}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    output = " ".join(done.stdout.split())
    assert output.count("N: 1") == 2, done.stdout
    assert output.count("N: 2") == 1, done.stdout
    assert "extra 1.0.0" in output
    assert "version '>=1.1' demanded, this node has 1.0.0" in output + done.stderr
    assert output.count("exit code 2") == 2
    assert "was not installed: agents/extra.py: cannot be imported: SyntaxError" in output
    (reply,) = json.loads((tmp_path / "list.json").read_text())["replies"]
    assert reply["data"]["plugins"]["extra"]["version"] == "1.0.0"
