"""Read the DDLs of data functions: the query and the fields of `fstat('/etc/hosts').md5` in a filter.

    {"metadata": {"name": "fstat", …, "timeout": 5},
     "query":    {"title": "File", "type": "string", "pattern": "^/"},
     "output":   {"type": "object", "properties": {"md5": {"title": "MD5", …}, …}}}

A data function is represented as the action `<function>` of the agent `data` with one input, `query`. So the same code
checks its input and output, and policy rules refer to it by these names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collective import ddl, ddl_document

AGENT = "data"  # the agent of all data functions in policy rules
DEFAULT_TIMEOUT = 5.0  # seconds, for a function without a timeout in its DDL


def read(path: Path) -> ddl.Action:
    """Read and check the DDL file of a data function; raise DDLError naming the file and the problem."""
    return ddl_document.read_file(path, parse)


def parse(document: Any) -> ddl.Action:
    """Check the DDL document of a data function and return it as an action; raise DDLError."""
    ddl_document.check_document(document, "data-ddl")
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
