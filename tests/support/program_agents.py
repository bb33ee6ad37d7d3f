"""Agents in other languages than our Python functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from collective.node.plugins import agents
from collective.node.plugins.agents import LoadedAgents
from support.node_server import described

TEXT = {"type": "string"}

# As in the documentation of py-mco-agent: a class with actions, and `dispatch`.
PARROT = """#!python
import json, os
from choria_external.dispatcher import dispatch
from mco_agent import Agent, action, register_actions

@register_actions
class Parrot(Agent):
    @action
    def echo(self):
        self.logger.info("asked by %s", self.request.callerid)
        self.reply.data["message"] = self.config.get("prefix", "") + self.request.data["message"]
        with open(os.environ["CHORIA_EXTERNAL_FACTS"]) as facts:
            self.reply.data["role"] = json.load(facts)["role"]

    @action
    def broken(self):
        raise KeyError("no such bird")

if __name__ == "__main__":
    dispatch(Parrot)
"""

CHORIA_SHELL = """#!/bin/sh
set -eu
case $CHORIA_EXTERNAL_PROTOCOL in
*.activation_request) echo '{"activate": true}' ;;
*) jq '{statuscode: 0, statusmsg: "OK", data: {text: ("Hello " + .data.name)}}' "$CHORIA_EXTERNAL_REQUEST" ;;
esac > "$CHORIA_EXTERNAL_REPLY"
"""

USAGE = """#!/bin/sh
set -eu
path=$(jq -r .data.path "$1")
used=$(df --output=pcent -- "$path") || exit 1
printf '{"percent": %d}' "$(echo "$used" | tr -cd 0-9)" > "$2"
"""

REMOVER = """#!/bin/sh
set -eu
path=$(jq -r .data.path "$1")
changed=false; [ ! -e "$path" ] || changed=true
[ "$(jq .dry_run "$1")" = true ] || rm -f -- "$path"
printf '{"changed": %s}' "$changed" > "$2"
"""

MOUNTED = """#!/bin/sh
if grep -q '"query": "/proc"' "$1"; then echo '{"mounted": true}'; else echo '{"mounted": false}'; fi > "$2"
"""


def write_program(path: Path, text: str, mode: int = 0o755) -> None:
    """Write an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(mode)


def ddl(name: str, *actions: str, inputs: dict[str, Any] | None = None, **more: Any) -> str:
    """Return the DDL of an agent whose actions all have the output `text`."""
    body = described(inputs or {}, {"text": TEXT}, timeout=5, **more)
    metadata = {"name": name, "description": "For the test", "version": "1"}
    return json.dumps({"metadata": metadata, "actions": dict.fromkeys(actions or ["go"], body)})


def load(folder: Path) -> LoadedAgents:
    """Load the agents of a folder."""
    return agents.load([folder], [folder], folder / "settings")


def make_folder(parent: Path) -> Path:
    """Return a new folder of code, DDLs and settings."""
    folder = parent / "plugins"
    (folder / "data").mkdir(parents=True)
    return folder
