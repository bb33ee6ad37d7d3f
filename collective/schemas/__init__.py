"""The JSON Schemas of configuration files, DDLs, messages and `crpc --json` documents.

Each schema has an `$id` below `BASE`; its number increases when a change makes valid documents invalid. `crpc schema`
prints the schemas. Editors find them by the `$schema` of a DDL or a `# yaml-language-server: $schema=…` comment.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

BASE = "https://collective-rpc.github.io/schemas/"


def names() -> list[str]:
    """Return the names of all schemas, sorted."""
    files = resources.files(__package__).iterdir()
    return sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))


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
    return resources.files(__package__).joinpath(f"{name}.json").read_text(encoding="utf-8")
