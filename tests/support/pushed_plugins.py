"""A node that keeps pushed plug-ins, and plug-ins to push."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from collective import bundles
from collective.bundled import DDLS
from collective.bundles import pack
from collective.node.plugins import agents, plugin_set, store
from collective.node.plugins.plugin_set import Plugins
from collective.node.plugins.store import PluginStore

CODE = "from collective.agent import action\n@action\ndef go(): return {'n': %d}\n"


def plugin(folder: Path, version: str = "1.0", number: int = 1, name: str = "extra", code: str = CODE) -> Path:
    """Write a plug-in with one agent, and return its folder."""
    for part in ("agents", "ddl"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    action = {"description": "Go", "input": {"type": "object"},
              "output": {"type": "object", "properties": {"n": {"type": "integer"}}}}  # fmt: skip
    metadata = {"name": name, "description": "Extra", "version": version}
    (folder / "ddl" / f"{name}.json").write_text(json.dumps({"metadata": metadata, "actions": {"go": action}}))
    (folder / "agents" / f"{name}.py").write_text(code % number if "%d" in code else code)
    return folder


class StoringNode:
    """A node that serves the standard agents and what is in its store."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.serving = self.load()
        self.store = PluginStore(state, state / "settings", lambda: self.serving, self.reload)

    def load(self) -> Plugins:
        """Load what the folders hold now."""
        code = [agents.bundled(), *store.code_folders(self.state)]
        ddls = [DDLS, *store.ddl_folders(self.state)]
        return plugin_set.load(code, ddls, self.state / "settings")

    def reload(self) -> None:
        """Serve what the folders hold now."""
        self.serving = self.load()

    def push(self, folder: Path, name: str | None = None) -> dict[str, Any]:
        """Install the plug-in of a folder."""
        text = pack(folder, name).text()
        return self.store.install(text, bundles.digest(text))

    def try_out(self, folder: Path) -> dict[str, Any]:
        """Make a dry run of an installation."""
        text = pack(folder, None).text()
        return self.store.install(text, bundles.digest(text), dry_run=True)

    def version(self) -> str:
        """Return the version of the agent `extra` that serves."""
        return str(self.serving.agents["extra"].ddl.metadata["version"])
