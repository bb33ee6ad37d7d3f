"""`crpc schema [NAME]`: list the JSON Schemas of configuration files, DDLs and documents, or print one."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from collective import schemas
from collective.clients import output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.errors import UsageError
from collective.suggestions import suggest

_COLUMNS = ("name", "title", "id")


def make_parser() -> Parser:
    """Return the parser of `crpc schema`."""
    parser = Parser(
        "crpc schema",
        description=f"{COMMANDS['schema']}.\n\n"
        "Editors and validators can use them. A schema is always printed as JSON; -o is for the list.",
        examples=["crpc schema", "crpc schema node"],
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="the schema to print; without it, list all")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print a schema, or the list of all; return the exit code."""
    args = make_parser().parse_args(arguments)
    if args.name is not None:
        sys.stdout.write(_one(args.name))
        return 0
    found = {name: schemas.load(name) for name in schemas.names()}
    rows = [(name, schema["title"], schema.get("$id")) for name, schema in found.items()]
    document = {"schemas": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]}
    output.show(args, Output("schema", document, _COLUMNS, rows, _list))
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
