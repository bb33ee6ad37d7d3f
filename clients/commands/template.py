"""`crpc template render FILE`: keep a file current that is rendered from members; `import`: convert one of confd."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from collective.clients import options, output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser, Verbs
from collective.clients.streams import notice
from collective.errors import UsageError
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.confd_import import ImportedTemplate


def make_parser() -> Parser:
    """Return the parser of `crpc template`."""
    parser = Parser(
        "crpc template",
        description=f"{COMMANDS['template']}.",
        examples=["crpc template render lb.yaml --dry-run --diff", "crpc template import conf.d/haproxy.toml"],
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="render|import")
    _add_render(verbs)
    _add_import(verbs)
    return parser


def _add_render(verbs: Verbs) -> None:
    render = verbs.add_parser(
        "render",
        help="keep a file current that is rendered from the members",
        description="Keep a file current that is rendered from the members.\n\nFILE is a watch as in node.yaml, with a "
        "template: src, dest, mode, owner, check, reload, min_interval. The file is replaced only when it differs and "
        "its check succeeds. When the reload fails, the file before is restored. Ctrl-C and SIGTERM end the command.",
        examples=[
            "crpc template render lb.yaml --dry-run --diff",
            "crpc template render lb.yaml --once",
            "crpc template render lb.yaml",
        ],
    )
    render.add_argument("file", type=Path, metavar="FILE", help="a YAML file with a template")
    render.add_argument("--once", action="store_true", help="update the file once, and end")
    preview = render.add_mutually_exclusive_group()
    preview.add_argument("--dry-run", action="store_true", help="render and check once, and change nothing")
    preview.add_argument("--noop", action="store_true", help="render once, change nothing, and run no command")
    render.add_argument("--diff", action="store_true", help="show what changes in the file")
    render.add_argument(
        "--no-ping", action="store_true", help="do not ask suspected nodes: six missed heartbeats are a failure"
    )
    options.add_target(render)


def _add_import(verbs: Verbs) -> None:
    import_ = verbs.add_parser(
        "import",
        help="convert a template resource of confd",
        description="Convert a template resource of confd and its template.\n\nFILE is the TOML file in conf.d. Its "
        "template is found in the folder templates beside conf.d. NAME.yaml and NAME.j2 are written to a folder. "
        "Standard error has one line for each part that could not be converted. --key gives the keys of the members "
        "that take the place of keys in confd's store.",
        examples=[
            "crpc template import conf.d/haproxy.toml --folder templates",
            "crpc template import conf.d/haproxy.toml --key '/services/web=/roles/web' --folder templates",
        ],
    )
    import_.add_argument("file", type=Path, metavar="FILE", help="a TOML file of confd")
    import_.add_argument("--template", type=Path, metavar="FILE", help="its template, if it is elsewhere")
    import_.add_argument(
        "--key", action="append", default=[], metavar="OLD=NEW", help="replace the start OLD of keys by NEW; repeatable"
    )
    import_.add_argument(
        "--folder", type=Path, default=Path(), metavar="FOLDER", help="write the files to this folder (default: here)"
    )
    import_.add_argument("--replace", action="store_true", help="replace existing files")


def run(arguments: Sequence[str]) -> int:
    """Run a verb."""
    args = make_parser().parse_args(arguments)
    if args.verb == "import":
        return _import(args)
    from collective.clients.template_watch import render

    return render(args)


def _import(args: argparse.Namespace) -> int:
    from collective import confd_import

    pairs = [tuple(one.partition("=")[::2]) for one in args.key]
    for option, (old, new) in zip(args.key, pairs, strict=True):
        if not (old.startswith("/") and new.startswith("/")):
            raise UsageError(f"--key {option}: must be OLD=NEW, two keys that begin with '/'")
    imported = confd_import.read(args.file, args.template, dict(pairs))
    paths = _write(args, imported)
    for line in imported.lost:
        notice(f"not converted: {line}")
    document = {"name": imported.name, "files": [str(path) for path in paths], "not_converted": list(imported.lost)}
    rows = [[imported.name, line] for line in imported.lost]
    columns = ["name", "not_converted"]

    def text() -> str:
        return "".join(f"{escape_controls(str(path))}\n" for path in paths)

    output.show(args, Output("template-import", document, columns, rows, text))
    return 0


def _write(args: argparse.Namespace, imported: ImportedTemplate) -> list[Path]:
    texts = {
        args.folder / f"{imported.name}.yaml": imported.settings,
        args.folder / f"{imported.name}.j2": imported.template,
    }
    for path in texts:
        if path.exists() and not args.replace:
            raise UsageError(f"{path}: exists (use --replace to replace it)")
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    return list(texts)
