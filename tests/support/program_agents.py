"""Agents in other languages than our Python functions."""

from __future__ import annotations

from pathlib import Path

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
