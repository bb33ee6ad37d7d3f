"""Generate the reference from the code: each section replaces a line `<!-- reference: NAME -->` of a page in docs/."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from _reference import agents, codes, commands, configuration, playbooks, python_api, schemas

ROOT = Path(__file__).resolve().parents[2]
MARKER = re.compile(r"^<!-- reference: ([a-z-]+) -->$", re.MULTILINE)

SECTIONS: Mapping[str, Callable[[], str]] = {
    "agents": agents.agents,
    "data-functions": agents.data_functions,
    "commands": commands.commands,
    "common-options": commands.common_options,
    "collectived": commands.collectived,
    "node-configuration": configuration.keys("node"),
    "client-configuration": configuration.keys("client"),
    "settings": configuration.settings,
    "documents": schemas.documents,
    "playbook-keys": playbooks.playbook_keys,
    "status-codes": codes.status_codes,
    "request-outcomes": codes.request_outcomes,
    "python-api": python_api.exported,
    "changelog": lambda: (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    **{f"schema-{name}": schemas.section(name) for name in schemas.NAMES},
}


def fill(page: str) -> str:
    """Return a page with every marker replaced by its section; raise KeyError for a section that does not exist."""
    return MARKER.sub(lambda found: SECTIONS[found[1]](), page)
