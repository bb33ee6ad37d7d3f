"""`crpc schema [NAME]`: list the JSON Schemas of configuration files, DDLs and documents, or print one."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from collective import schemas
from collective.clients import options
from collective.errors import UsageError
from collective.suggestions import suggest


def run(arguments: Sequence[str]) -> int:
    """Print the schema that is named, or a line with name and title for each."""
    parser = options.Parser(
        "crpc schema",
        description="List the JSON Schemas of configuration files, DDLs and documents, or print one, for editors"
        " and validators.",
        epilog="example: crpc schema node > node.schema.json",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the schema to print; without it, list all")
    name = parser.parse_args(arguments).name
    sys.stdout.write(_list() if name is None else _one(name))
    return 0


def _list() -> str:
    names = schemas.names()
    width = max(map(len, names))
    return "".join(f"{name:<{width}}   {schemas.load(name)['title']}\n" for name in names)


def _one(name: str) -> str:
    if name not in schemas.names():
        hint = suggest(name, schemas.names(), "run 'crpc schema' for a list")
        raise UsageError(f"unknown schema '{name}' ({hint})")
    return schemas.text(name)
