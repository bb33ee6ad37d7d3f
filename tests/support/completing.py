"""A caller whose names of the registry are known, for tests of completion."""

from __future__ import annotations

import json
from pathlib import Path

HOSTILE = ["$(touch ran)`touch ran`;touch ran", "a 'b' \"c\" \\d * !!", "~root", "Zürich", "a\tb", "\x1b[31m"]
VALUES = [value for value in HOSTILE if value.isprintable()]

NAMES = {
    "nodes": ["web01.lab", "web02.lab", "-rf"],
    "agents": ["package", "rpcutil"],
    "classes": ["apache", "mysql::server"],
    "facts": {"role": ["db", "web"], "os.name": ["debian"], "place": HOSTILE},
}


def configure(folder: Path) -> None:
    """Write a client.yaml, and the names of the registry as a call leaves them."""
    settings = "collectives: [staging], groups: {front: {filter: role=web}}, aliases: {up: shell run uptime}"
    (folder / "client.yaml").write_text(
        f"{{collective: production, state: state, ddls: [ddl], ddl_source: local, {settings}}}"
    )
    (folder / "state").mkdir()
    (folder / "state" / "names_production.json").write_text(json.dumps(NAMES))
