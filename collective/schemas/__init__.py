"""The JSON Schemas of everything that crosses a border: messages, DDLs, and `crpc --json` documents."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any


@cache
def load(name: str) -> dict[str, Any]:
    """Return the schema `name` (`envelope`, `request`, `reply`, `ddl`, `results`)."""
    text = resources.files(__package__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
