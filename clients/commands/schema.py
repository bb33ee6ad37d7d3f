"""`crpc schema [NAME]`: list the JSON Schemas of configuration files, DDLs and documents, or print one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from collective import schemas
from collective.clients import output
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.render.formatting import write_yaml
from collective.clients.render.view import Screen, View
from collective.clients.streams import write
from collective.clients.view_options import read_view
from collective.errors import UsageError
from collective.suggestions import suggest

_COLUMNS = ("name", "title", "id")


def make_parser() -> Parser:
    """Return the parser of `crpc schema`."""
    parser = Parser(
        "crpc schema",
        description=f"{COMMANDS['schema']}.\n\nEditors and validators use them for configuration files, DDLs and the "
        "output of --json. A schema is printed as JSON, or with -o yaml as YAML.",
        examples=["crpc schema", "crpc schema node"],
    )
    completed_by(
        "schema", parser.add_argument("name", nargs="?", metavar="NAME", help="schema to print (default: list all)")
    )
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print one schema, or list all."""
    args = make_parser().parse_args(arguments)
    if args.name is None:
        output.show(args, _list())
    elif args.name in schemas.names():
        output.deliver(args, _Printed(args.name, read_view(args)))
    else:
        hint = suggest(args.name, schemas.names(), "run 'crpc schema' for a list")
        raise UsageError(f"unknown schema '{args.name}' ({hint})")
    return 0


@dataclass(frozen=True)
class _Printed:
    """One schema: JSON as it is in its file, or the same as YAML or on one line. It has no rows."""

    name: str
    view: View

    def write(self, form: str, screen: Screen) -> None:
        """Write the schema; raise UsageError for a form or an option that needs rows."""
        if form in ("table", "csv") or self.view.selects or self.view.only:
            raise UsageError(f"crpc schema {self.name}: one document without rows (use text, json, jsonl or yaml)")
        if self.view.query is not None:
            output.write_query(self.view.query, schemas.load(self.name), form, screen)
        elif form == "yaml":
            write_yaml(schemas.load(self.name), screen.stream)
        else:
            text = schemas.text(self.name)
            write(f"{json.dumps(schemas.load(self.name))}\n" if form == "jsonl" else text, screen.stream)


def _list() -> Output:
    names = schemas.names()
    rows = [(name, schemas.load(name)["title"], schemas.load(name)["$id"]) for name in names]
    width = max(map(len, names))

    def text() -> str:
        return "".join(f"{name:<{width}}   {title}\n" for name, title, _ in rows)

    return Output("schema", {"schemas": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]}, _COLUMNS, rows, text)
