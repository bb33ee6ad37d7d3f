"""`crpc schema [NAME]`: list the JSON Schemas of configuration files, DDLs and documents, or print one."""

from __future__ import annotations

from collections.abc import Sequence

from collective import schemas
from collective.clients import output
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.streams import write
from collective.errors import UsageError
from collective.suggestions import suggest

_COLUMNS = ("name", "title", "id")


def make_parser() -> Parser:
    """Return the parser of `crpc schema`."""
    parser = Parser(
        "crpc schema",
        description=f"{COMMANDS['schema']}.\n\nEditors and validators use them for configuration files, DDLs and the "
        "output of --json. A schema is printed as JSON, whatever the output format.",
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
        write(schemas.text(args.name))
    else:
        hint = suggest(args.name, schemas.names(), "run 'crpc schema' for a list")
        raise UsageError(f"unknown schema '{args.name}' ({hint})")
    return 0


def _list() -> Output:
    names = schemas.names()
    rows = [(name, schemas.load(name)["title"], schemas.load(name)["$id"]) for name in names]
    width = max(map(len, names))

    def text() -> str:
        return "".join(f"{name:<{width}}   {title}\n" for name, title, _ in rows)

    return Output("schema", {"schemas": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]}, _COLUMNS, rows, text)
