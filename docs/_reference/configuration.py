"""Every key of the configuration files and of agents' settings, from their JSON Schemas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from collective import conf, schemas
from collective.clients.render import markdown

CONF = Path(conf.__path__[0])
SETTINGS = "settings-"


def keys(name: str) -> Callable[[], str]:
    """Return what shows the keys of one configuration file as a table, and then its example."""
    example = (CONF / f"{name}.yaml").read_text(encoding="utf-8")
    return lambda: f"{_table(schemas.load(name))}\n\n{markdown.block(example, 'yaml')}"


def settings() -> str:
    """Return one section for each agent that has settings."""
    names = [name for name in schemas.names() if name.startswith(SETTINGS)]
    return "\n\n".join(f"### {name.removeprefix(SETTINGS)}\n\n{_table(schemas.load(name))}" for name in names)


def _table(schema: Mapping[str, Any]) -> str:
    rows = [
        [
            markdown.code(key),
            markdown.kind(part, schema),
            _default(key, part, schema),
            markdown.plain(part.get("description", "")),
        ]
        for key, part in schema["properties"].items()
    ]
    return markdown.table(["Key", "Type", "Default", "Meaning"], rows)


def _default(key: str, part: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if key in schema.get("required", ()):
        return "required"
    return markdown.code(part["default"]) if "default" in part else ""
