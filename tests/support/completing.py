"""A caller whose names of the registry are known, for tests of completion."""

from __future__ import annotations

import json
from pathlib import Path

HOSTILE = ["$(touch ran)`touch ran`;touch ran", "a 'b' \"c\" \\d * !!", "~root", "Zürich", "a\tb", "\x1b[31m"]
VALUES = [value for value in HOSTILE if value.isprintable()]

RUN = "0a1b2c3d" * 4  # a saved run
NAMES = {
    "nodes": ["web01.lab", "web02.lab", "-rf"],
    "agents": ["package", "rpcutil"],
    "classes": ["apache", "mysql::server"],
    "facts": {"role": ["db", "web"], "os.name": ["debian"], "place": HOSTILE},
}


def configure(folder: Path) -> None:
    """Write a client.yaml, and the names of the registry as a call leaves them."""
    settings = "collectives: [staging], groups: {front: {filter: role=web}}, commands: [commands]"
    settings += ", aliases: {up: package install package=zsh, webs: find -F role=web}"
    (folder / "client.yaml").write_text(
        f"{{collective: production, state: state, ddls: [ddl], ddl_source: local, {settings}}}"
    )
    (folder / "commands").mkdir()
    (folder / "commands" / "fetch.yaml").write_text("{summary: Fetch, agent: shell, action: script, inputs: {url: x}}")
    (folder / "lab" / "nodes" / "node01.lab").mkdir(parents=True)
    (folder / "state" / "runs").mkdir(parents=True)
    begin = {"event": "begin", "run": RUN, "agent": "shell", "action": "run", "inputs": "command=uptime"}
    (folder / "state" / "runs" / f"1795817573547-{RUN}.jsonl").write_text(f"{json.dumps(begin)}\n")
    (folder / "state" / "names_production.json").write_text(json.dumps(NAMES))
