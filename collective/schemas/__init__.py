"""The JSON Schemas of messages, DDLs and the documents that `crpc` prints.

The `$id` of a schema is `BASE/NAME-VERSION.json`; a document of `crpc --json` names it in its member `schema`.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

BASE = "https://collective-rpc.github.io/schemas"
VERSION = 1


def schema_id(name: str) -> str:
    """Return the `$id` of the schema `name`."""
    return f"{BASE}/{name}-{VERSION}.json"


@cache
def load(name: str) -> dict[str, Any]:
    """Return the schema `name`: the name of a file in this folder without `.json`."""
    text = resources.files(__package__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
