"""Read the DDLs of data functions: what `fstat('/etc/hosts').md5` in a filter may ask, and which fields there are.

    {"metadata": {"name": "fstat", …, "timeout": 5},
     "query":    {"title": "File", "type": "string", "pattern": "^/"},
     "output":   {"type": "object", "properties": {"md5": {"title": "MD5", …}, …}}}

A data function is described as the action `<function>` of an agent `data` with one input, `query`: its inputs and
outputs are checked by the same code, and a policy's rules speak of it by these names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from collective import ddl, schemas
from collective.errors import DDLError

AGENT = "data"  # what a policy's rules call the agent of all data functions
DEFAULT_TIMEOUT = 5.0  # seconds, for a function whose DDL names none


def read(path: Path) -> ddl.Action:
    """Read and check the DDL of one data function; raise DDLError naming the file and the fault."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DDLError(f"{path}: cannot be read as JSON: {error}") from None
    try:
        action = parse(document)
    except DDLError as error:
        raise DDLError(f"{path}: {error}") from None
    if action.name != path.stem:
        raise DDLError(f"{path}: metadata.name is '{action.name}', the file's name says '{path.stem}'")
    return action


def parse(document: Any) -> ddl.Action:
    """Check the DDL document of a data function and return it as an action; raise DDLError."""
    error = best_match(Draft202012Validator(schemas.load("data")).iter_errors(document))
    if error is not None:
        raise DDLError(f"{error.json_path}: {error.message}")
    metadata = document["metadata"]
    name = metadata["name"]
    body = {
        "description": metadata["description"],
        "idempotent": True,
        "timeout": metadata.get("timeout", DEFAULT_TIMEOUT),
        "input": {"type": "object", "required": ["query"], "properties": {"query": document["query"]}},
        "output": document["output"],
    }
    return ddl.parse({"metadata": {**metadata, "name": AGENT}, "actions": {name: body}}).action(name)
