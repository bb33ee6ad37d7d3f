"""`crpc file put LOCAL REMOTE` and `crpc file get REMOTE FOLDER`: files of any size between the caller and many nodes.

See `_pieces` for how they travel.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients import options, output
from collective.clients.apps import ExtraVerb
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.streams import notice
from collective.clients.view_options import check_fields, read_view
from collective.errors import NoNodes, UsageError
from collective.exit_codes import FAILED, NO_NODES, OK, SILENT
from collective.nodesets import fold
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.clients.apps._pieces import Ask, Transfer
    from collective.fleet.call import Call
    from collective.fleet.targets import Targets

_COLUMNS = ("node", "ok", "changed", "size", "path", "error")


def make_put_parser() -> Parser:
    """Return the parser of `crpc file put`."""
    parser = Parser(
        "crpc file put",
        description="Copy a local file to many nodes.\n\n"
        "The old file is replaced at once when all of the new one has arrived and has the right digest.",
        examples=["crpc file put app.conf /srv/app/app.conf --mode 0640 --owner app -F role=web"],
    )
    parser.add_argument("local", type=Path, metavar="LOCAL", help="the file to copy")
    parser.add_argument("remote", metavar="REMOTE", help="absolute path on the nodes")
    parser.add_argument("--mode", metavar="MODE", help="mode in octal digits (default: that of the old file, or 0644)")
    parser.add_argument("--owner", metavar="USER", help="owner on the nodes (default: that of the old file)")
    parser.add_argument("--group", metavar="GROUP", help="group on the nodes (default: that of the old file)")
    parser.add_argument("--backup", action="store_true", help="keep the old file beside the new one")
    options.add_dry_run(parser)
    _add_targets(parser)
    return parser


def make_get_parser() -> Parser:
    """Return the parser of `crpc file get`."""
    parser = Parser(
        "crpc file get",
        description="Copy a file from many nodes.\n\nThe copies are FOLDER/NODE/NAME, one folder per node.",
        examples=["crpc file get /etc/motd motds -F role=web"],
    )
    parser.add_argument("remote", metavar="REMOTE", help="absolute path on the nodes")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="local folder for the copies; created if missing")
    _add_targets(parser)
    return parser


def _add_targets(parser: Parser) -> None:
    options.add_targets(parser)
    options.add_running(parser)


def put(arguments: Sequence[str]) -> int:
    """Copy a local file to the nodes; return the exit code."""
    args = make_put_parser().parse_args(arguments)
    from collective.clients.apps import _pieces

    source = _pieces.LocalFile.read(args.local)
    names = ("mode", "owner", "group", "backup")
    inputs = {"path": args.remote, **{name: getattr(args, name) for name in names if getattr(args, name)}}
    with _asking(args) as (ask, targets, published):
        upload = _pieces.Upload(ask, source, inputs, _pieces.PUBLISHED_PIECE if published else _pieces.PIECE)
        return _show(args, upload.transfers, lambda: upload.run(targets, dry_run=args.dry_run))


def get(arguments: Sequence[str]) -> int:
    """Copy a file from the nodes; return the exit code."""
    args = make_get_parser().parse_args(arguments)
    from collective.clients.apps import _pieces

    if not Path(args.remote).name:
        raise UsageError(f"'{args.remote}': not the path of a file")
    args.dry_run = False
    with _asking(args) as (ask, targets, _):
        download = _pieces.Download(ask, args.remote, args.folder)
        return _show(args, download.transfers, lambda: download.run(targets))


@contextmanager
def _asking(args: argparse.Namespace) -> Iterator[tuple[Ask, Targets, bool]]:
    """Discover the nodes; yield what calls an action, the nodes, and whether messages to them are published."""
    config = options.client_config(args)
    wanted = options.targets(args)
    check_fields(read_view(args), _COLUMNS)

    from collective.fleet.fleet import Fleet
    from collective.fleet.targets import Targets
    from collective.prices import USUALLY_DIRECT

    with Fleet.connect(config) as fleet:
        found = fleet.find(wanted, "file")
        for line in found.incomplete():
            notice(line)

        def ask(action: str, inputs: Mapping[str, Any], targets: Targets) -> Call:
            return fleet.call(
                "file", action, inputs, targets=targets, timeout=args.timeout, ttl=args.ttl, dry_run=args.dry_run
            )

        if not found.nodes:
            raise NoNodes(found.why_none)
        limit = USUALLY_DIRECT if config.direct_limit is None else config.direct_limit
        yield ask, Targets(nodes=found.nodes), len(found.nodes) > limit


def _show(args: argparse.Namespace, transfers: Mapping[str, Transfer], run: Callable[[], None]) -> int:
    """Run the transfers, print how each one ended, and return the exit code."""
    began = time.monotonic()
    run()
    seconds = time.monotonic() - began
    ended = [transfers[node] for node in sorted(transfers)]
    rows = [[one.node, not one.error, one.changed, one.size, one.path, one.error] for one in ended]
    document = {
        "dry_run": args.dry_run,
        "transfers": [dict(zip(_COLUMNS, row, strict=True)) for row in rows],
        "seconds": round(seconds, 3),
    }
    output.show(args, Output("file-transfer", document, _COLUMNS, rows, lambda: _text(ended, seconds)))
    if args.dry_run:
        notice("dry run: the nodes changed nothing")
    return exit_code(ended)


def exit_code(transfers: Sequence[Transfer]) -> int:
    """Return the exit code of some transfers: the worst one decides."""
    if any(one.error and not one.silent for one in transfers):
        return FAILED
    if any(one.silent for one in transfers):
        return SILENT
    return OK if transfers else NO_NODES


def _text(transfers: Sequence[Transfer], seconds: float) -> str:
    groups: dict[str, list[str]] = {}
    for one in transfers:
        state = one.error or ("changed" if one.changed else "unchanged")
        groups.setdefault(f"{state}: {one.path}" if one.path else state, []).append(one.node)
    lines = [f"{fold(nodes)}: {escape_controls(state)}\n" for state, nodes in groups.items()]
    done = [one for one in transfers if not one.error]
    sizes = sum(one.size for one in done)
    return (
        "".join(lines)
        + f"\nFinished {len(done)} / {plural(len(transfers), 'host')}, {sizes} bytes in {seconds:.2f} s\n"
    )


VERBS = {
    "put": ExtraVerb("Copy a local file to many nodes", put, make_put_parser),
    "get": ExtraVerb("Copy a file from many nodes", get, make_get_parser),
}
