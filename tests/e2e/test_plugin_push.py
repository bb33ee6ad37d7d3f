"""Plug-ins are pushed to the nodes of a lab, called without a DDL on the caller, and rolled back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.crpc_process import BIN, clean_environment
from support.program_agents import CHORIA_SHELL, PARROT, write_program

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
mkdir quiet; cd quiet
crpc new agent quiet --action go --output n:integer > /dev/null
sed -i 's/"display": "[a-z]*"/"display": "ok"/' ddl/quiet.json
grep -q '"display": "ok"' ddl/quiet.json
cp "$1/quiet.py" agents/quiet.py
crpc plugin push . --yes -q
crpc quiet go --yes || echo "quiet: code $?"
cd ..
cp "$COLLECTIVE_CONFIG/client.yaml" client.yaml
printf '\nddl_source: local\n' >> "$COLLECTIVE_CONFIG/client.yaml"
crpc quiet go --yes || echo "local: code $?"
cp client.yaml "$COLLECTIVE_CONFIG/client.yaml"
for name in parrot greeter; do
  crpc ddl import "choria/$name.json" --folder "$name/ddl"
  crpc plugin push "$name" --yes -q
done
crpc parrot echo message=polly --yes
crpc greeter go name=world --yes
"""

FAILING = """from collective.agent import Aborted, action

@action
def go():
    raise Aborted("disk is full")
"""


def foreign_agent(folder: Path, name: str, program: str, action: str, field: str, output: str) -> None:
    """Write an agent as it is for Choria: a program, and a DDL in Choria's form with one input and one output."""
    write_program(folder / name / "agents" / name, program)
    metadata = {"name": name, "description": "Answer", "author": "x", "license": "x", "version": "1.0.0", "url": "x",
                "timeout": 5, "provider": "external"}  # fmt: skip
    one = {"prompt": "In", "description": "In", "type": "string", "validation": ".", "optional": False, "maxlength": 20}
    body = {"action": action, "description": "Answer", "display": "always", "input": {field: one},
            "output": {output: {"description": "Out", "display_as": "Out", "default": None}}}  # fmt: skip
    (folder / "choria").mkdir(exist_ok=True)
    schema = "https://choria.io/schemas/mcorpc/ddl/v1/agent.json"
    document = {"$schema": schema, "metadata": metadata, "actions": [body]}
    (folder / "choria" / f"{name}.json").write_text(json.dumps(document))


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
@pytest.mark.timeout(300)
def test_an_agent_is_pushed_called_and_rolled_back(tmp_path: Path) -> None:
    """The caller fetches the DDL by itself; a broken version changes nothing on any node.

    A fetched DDL that shows successes only hides no failure. With `ddl_source: local` no DDL is fetched.

    Agents that were written for Choria, in Python and in shell, are pushed with DDLs that were imported.
    """
    (tmp_path / "quiet.py").write_text(FAILING)
    foreign_agent(tmp_path, "parrot", PARROT.replace("#!python", f"#!{sys.executable}"), "echo", "message", "message")
    foreign_agent(tmp_path, "greeter", CHORIA_SHELL, "go", "name", "text")
    done = subprocess.run(
        [BIN / "crpc", "lab", "run", "--nodes", "2", "--", "sh", "-c", STEPS, "steps", tmp_path],
        env={**clean_environment(), "PATH": f"{BIN}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=280,
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
    assert ("Out: polly" in output, "Out: Hello world" in output) == (True, True), done.stdout
    assert output.count("disk is full") >= 1
    assert "quiet: code 2" in output
    assert "local: code 64" in output
    assert "quiet" in done.stderr
    (reply,) = json.loads((tmp_path / "list.json").read_text())["replies"]
    assert reply["data"]["plugins"]["extra"]["version"] == "1.0.0"
