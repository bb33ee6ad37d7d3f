"""Keep the DDLs that were fetched from nodes (fetched_ddls.py), so that completion can read them without a call.

<state>/ddls/<collective>/<digest>/<agent>.json     the DDL
<state>/ddls/<collective>/index.json                {agent: {digest, version, node, fetched}}
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collective.errors import ConfigError
from collective.replaced_file import replace_file


class FetchedDDLs:
    """The DDLs that were fetched for a collective, in the folder `state`."""

    def __init__(self, state: Path, collective: str) -> None:
        self._folder = state / "ddls" / collective
        self._index = self._folder / "index.json"

    def entries(self) -> dict[str, dict[str, Any]]:
        """Return what is known of each agent: `digest`, `version`, `node`, `fetched` (Unix seconds)."""
        try:
            found = json.loads(self._index.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        entries = found if isinstance(found, dict) else {}
        return {
            name: entry
            for name, entry in entries.items()
            if isinstance(entry, dict) and self.path(name, entry).is_file()
        }

    def path(self, agent: str, entry: Mapping[str, Any]) -> Path:
        """Return the file of an entry."""
        return self._folder / str(entry.get("digest")) / f"{agent}.json"

    def kept(self, agent: str, wanted: str) -> Path | None:
        """Return the file of the DDL with a digest, if it was fetched before and has not been changed since."""
        path = self.path(agent, {"digest": wanted})
        try:
            return path if digest(path.read_text(encoding="utf-8")) == wanted else None
        except (OSError, ValueError):
            return None

    def store(self, agent: str, text: str, version: str, node: str) -> Path:
        """Keep the DDL of an agent and return its file. Raises ConfigError."""
        entry = {"digest": digest(text), "version": version, "node": node, "fetched": round(time.time(), 3)}
        path = self.path(agent, entry)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(path, text.encode())
            replace_file(self._index, json.dumps({**self.entries(), agent: entry}, indent=1).encode())
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
        return path

    def paths(self) -> dict[str, Path]:
        """Return the file of each agent whose DDL was fetched."""
        return {name: self.path(name, entry) for name, entry in self.entries().items()}


def digest(text: str) -> str:
    """Return the SHA-256 of a DDL's text, in hexadecimal digits."""
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()
