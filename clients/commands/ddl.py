"""`crpc ddl import FILE`: convert a DDL of Choria or MCollective."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from collective.clients import output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.streams import notice
from collective.errors import UsageError
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.ddl_import.convert import ImportedDDL


def make_parser() -> Parser:
    """Return the parser of `crpc ddl`."""
    parser = Parser(
        "crpc ddl", description=f"{COMMANDS['ddl']}.", examples=["crpc ddl import agent/puppet.ddl --folder ddl"]
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="import")
    import_ = verbs.add_parser(
        "import",
        help="convert a DDL of Choria or MCollective",
        description="Convert a DDL of Choria (JSON) or MCollective (Ruby).\n\nThe DDL is printed, or written to a "
        "folder. Standard error has one line for each part that could not be converted. Ruby code is not run.",
        examples=["crpc ddl import agent/puppet.ddl --folder ddl", "crpc ddl import agent/puppet.json"],
    )
    import_.add_argument("file", type=Path, metavar="FILE", help="a DDL: NAME.ddl in Ruby, or NAME.json of Choria")
    import_.add_argument(
        "--folder", type=Path, metavar="FOLDER", help="write NAME.json to this folder (data functions: to FOLDER/data)"
    )
    import_.add_argument("--replace", action="store_true", help="replace an existing file")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run a verb."""
    args = make_parser().parse_args(arguments)
    return _import(args)


def _import(args: argparse.Namespace) -> int:
    from collective.ddl_import import convert

    imported = convert.read(args.file)
    path = _write(args, imported) if args.folder else None
    for line in imported.lost:
        notice(f"not converted: {line}")

    def text() -> str:
        return f"{escape_controls(str(path))}\n" if path else imported.text

    document = {
        "name": imported.name,
        "kind": "data function" if imported.data else "agent",
        "file": None if path is None else str(path),
        "ddl": imported.document,
        "not_converted": list(imported.lost),
    }
    rows = [[imported.name, line] for line in imported.lost]
    output.show(args, Output("ddl-import", document, ["name", "not_converted"], rows, text))
    return 0


def _write(args: argparse.Namespace, imported: ImportedDDL) -> Path:
    folder: Path = args.folder / "data" if imported.data else args.folder
    path = folder / f"{imported.name}.json"
    if path.exists() and not args.replace:
        raise UsageError(f"{path}: exists (use --replace to replace it)")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(imported.text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    return path
