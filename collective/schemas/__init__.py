"""The JSON Schemas of configuration files, DDLs, messages and `crpc --json` documents.

Each schema has an `$id` below `BASE`; its number increases when a change makes valid documents invalid. `crpc schema`
prints the schemas. Editors find them by the `$schema` of a DDL or a `# yaml-language-server: $schema=…` comment.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent  # without importlib.resources, which takes 5 ms to import

BASE = "https://collective-rpc.github.io/schemas/"
_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of all schemas, sorted."""
    return sorted(file.stem for file in _FOLDER.glob("*.json"))


def schema_id(name: str, version: int = 1) -> str:
    """Return the `$id` of the schema `name`."""
    return f"{BASE}{name}-{version}.json"


@cache
def load(name: str) -> dict[str, Any]:
    """Return the schema `name`, one of `names()`."""
    schema: dict[str, Any] = json.loads(text(name))
    return schema


def text(name: str) -> str:
    """Return the text of the schema `name`, as shipped."""
    return (_FOLDER / f"{name}.json").read_text(encoding="utf-8")
