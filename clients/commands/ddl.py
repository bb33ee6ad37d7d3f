"""`crpc ddl list`: list the DDLs of this caller; `crpc ddl import FILE`: convert one of Choria or MCollective."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients import options, output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.streams import notice
from collective.errors import CollectiveError, ConfigError, UsageError
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.ddl_import.convert import ImportedDDL

_COLUMNS = ("agent", "version", "source", "digest", "problem")


def make_parser() -> Parser:
    """Return the parser of `crpc ddl`."""
    parser = Parser(
        "crpc ddl",
        description=f"{COMMANDS['ddl']}.",
        examples=["crpc ddl list", "crpc ddl import agent/puppet.ddl --folder ddl"],
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|import")
    list_ = verbs.add_parser(
        "list",
        help="list the DDLs of this caller",
        description="List the DDLs of this caller: where each one is from, its version and its digest.\n\nA DDL that "
        "is missing is fetched from a node when its agent is first called, unless 'ddl_source' is 'local'. It is "
        "fetched again when most nodes have another one.",
        examples=["crpc ddl list", "crpc ddl list -o table"],
    )
    options.add_target(list_)
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
    return _list(args) if args.verb == "list" else _import(args)


def _list(args: argparse.Namespace) -> int:
    catalog = options.catalog(args)
    rows = [_row(catalog, name) for name in sorted(catalog.paths)]
    fetched = _fetched(args)
    rows += [
        [name, entry["version"], f"fetched from {entry['node']}", entry["digest"][:12], None]
        for name, entry in sorted(fetched.items())
        if name not in catalog.paths
    ]

    def text() -> str:
        width = max((len(str(row[0])) for row in rows), default=0)
        return "".join(
            escape_controls(f"{row[0]:<{width}}  {row[1] or '-':<10}  {row[3] or '-':<12}  {row[4] or row[2]}") + "\n"
            for row in rows
        )

    document = {"ddls": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]}
    output.show(args, Output("ddl-list", document, _COLUMNS, rows, text))
    return 0


def _row(catalog: Catalog, name: str) -> list[str | None]:
    """Return a row of the list; a DDL that cannot be read has a problem in place of version and digest."""
    from collective.bundled import DDLS

    path = catalog.paths[name]
    source = "standard" if path.parent == DDLS else str(path)
    try:
        found = catalog.ddl(name)
    except CollectiveError as error:
        return [name, None, source, None, str(error)]
    return [name, str(found.metadata["version"]), source, found.digest[:12], None]


def _fetched(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    from collective.fleet.ddl_cache import FetchedDDLs

    try:
        config = options.client_config(args)
    except ConfigError:
        return {}
    return FetchedDDLs(config.state, config.collective).entries()


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
