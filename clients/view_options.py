"""The options for what is shown, and how: of every command, and of the results of calls.

    add_forms(parser)                   every command: -o, --fields, --where, --output-file …; `Parser` calls it
    add_views(parser)                   commands that print the results of a call: --display, --group-by, --diff …
    read_view(args, action) -> View     the values; names are checked, so call it before a request is sent

To print a call, live or saved: `results.show_results(CallOutput(call, args))`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients.render.view import View
from collective.clients.streams import notice
from collective.errors import UsageError
from collective.path_checks import is_folder, may_exist
from collective.suggestions import suggest

if TYPE_CHECKING:
    from collective.clients.parser import Parser
    from collective.ddl import Action
    from collective.filters import Filter

FORMS = ("text", "json", "jsonl", "yaml", "table", "csv")
MEMBERS = ("sender", "outcome", "statuscode", "statusmsg", "reason", "elapsed_ms", "data")  # of a reply
BY_NAME = "sender"  # what `--sort` without a field stands for
_OTHER_FILES = (".htm", ".html", ".markdown", ".md", ".ods", ".pdf", ".tsv", ".xls", ".xlsx", ".xml")
_DOCUMENTS = ("text", "json", "yaml")  # the forms that can have the result of --jmespath


class _OneOf(argparse.Action):
    """An option that is the value of `dest`; two different ones are refused."""

    def __init__(self, option_strings: Sequence[str], dest: str, const: str, help: str | None = None) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, const=const, help=help)

    def __call__(self, parser: Any, namespace: argparse.Namespace, _values: object, option: str | None = None) -> None:
        given = getattr(namespace, self.dest, None)
        if given not in (None, self.const):
            parser.error(f"{option}: not allowed with --{given}")
        setattr(namespace, self.dest, self.const)


def add_forms(parser: Parser, group: argparse._ActionsContainer) -> None:
    """Add the options of every command for the form of its output."""
    form = group.add_mutually_exclusive_group()
    form.add_argument("-o", "--output", choices=FORMS, metavar="FORM", help=f"output form: {', '.join(FORMS)}")
    form.add_argument("-j", "--json", action="store_const", dest="output", const="json", help="one JSON document")
    form.add_argument("--jsonl", action="store_const", dest="output", const="jsonl", help="one JSON object per line")
    form.add_argument("--yaml", action="store_const", dest="output", const="yaml", help="one YAML document")
    form.add_argument("--table", action="store_const", dest="output", const="table", help="a table")
    form.add_argument("--csv", action="store_const", dest="output", const="csv", help="comma-separated values")
    parser.read_variable("output", "COLLECTIVE_OUTPUT", "text")
    group.add_argument("--fields", type=_paths, metavar="A,B.C", help="only these fields, in this order")
    group.add_argument("--where", metavar="EXPR", help="only the rows or replies that match: 'data.version<2.0'")
    group.add_argument(
        "--sort",
        nargs="?",
        const=(),
        type=_paths,
        metavar="A,B.C",
        help="sort by fields (default: the name); --sort=-A: descending",
    )
    group.add_argument("--jmespath", metavar="EXPR", help="print what a JMESPath expression finds in the JSON document")
    group.add_argument(
        "--count", action=_OneOf, dest="only", const="count", help="print only the number of rows or nodes"
    )
    group.add_argument(
        "--names", action=_OneOf, dest="only", const="names", help="print only the names of nodes, one per line"
    )
    group.add_argument("--folded", action=_OneOf, dest="only", const="folded", help="like --names, folded into ranges")
    group.add_argument("--wide", action="store_true", help="do not cut the cells of a table to fit the terminal")
    group.add_argument(
        "--output-file", type=Path, metavar="FILE", help="also write to FILE, in the form of its suffix: .json, .csv …"
    )
    group.add_argument("--log-file", type=Path, metavar="FILE", help="append a copy of all that is printed to FILE")
    group.add_argument("--no-pager", action="store_true", help="do not show long output in $PAGER")


def add_views(parser: Parser) -> argparse._ArgumentGroup:
    """Add the options for the results of a call; return their group."""
    group = parser.add_argument_group("result options")
    group.add_argument("--display", choices=("ok", "failed", "all"), help="replies to print (default: as in the DDL)")
    group.add_argument("--no-group", action="store_true", help="print equal replies of several nodes one by one")
    group.add_argument("--group-by", type=_paths, metavar="A,B.C", help="group nodes by the values of these fields")
    group.add_argument("--diff", action="store_true", help="print how replies differ from the most common one")
    add_quiet(group)
    return group


def add_call(parser: Parser) -> None:
    """Add the options of a command that makes one call of its own: targets, timeouts, saving, and `-q`."""
    from collective.clients import options  # which imports the parser, and that imports this module

    options.add_targets(parser)
    options.add_running(parser)
    add_quiet(parser.add_argument_group("result options"))


def add_quiet(group: argparse._ActionsContainer) -> None:
    """Add `-q`."""
    group.add_argument("-q", "--quiet", action="store_true", help="print results only: no progress, counts or warnings")


def read_view(args: argparse.Namespace, action: Action | None = None) -> View:
    """Return what the options ask for; raise UsageError for an invalid expression or an unknown field.

    `action` has the outputs that may be named without `data.`; without it, names are not checked.
    """
    sort = (BY_NAME,) if args.sort == () else args.sort or ()
    group_by = getattr(args, "group_by", None) or ()
    found = View(
        display=getattr(args, "display", None),
        group=not getattr(args, "no_group", False),
        group_by=group_by,
        diff=getattr(args, "diff", False),
        fields=args.fields or (),
        sort=sort,
        where=None if args.where is None else _where(args.where, "--where"),
        query=_query(args.jmespath),
        only=args.only or "",
        wide=args.wide,
        verbose=args.verbose,
        quiet=getattr(args, "quiet", False),
    )
    _check_combination(args, found)
    if action is not None:
        check_fields(found, [*MEMBERS, *action.outputs])
    return found


def check_fields(found: View, names: Iterable[str]) -> None:
    """Raise UsageError if an option names a field that does not begin with one of `names`."""
    known = list(dict.fromkeys(names))
    for option, paths in _named(found).items():
        if paths:
            _check_names(option, paths, known)


def report_undeclared(args: argparse.Namespace, action: Action) -> None:
    """Print a warning for each path below `data` that the DDL does not have: replies may still have it."""
    view = read_view(args, action)
    for option, paths in _named(view).items():
        for path in paths:
            name = path.removeprefix("data.")
            if name != path and not any(f"{name}.".startswith(f"{one}.") for one in action.outputs):
                hint = suggest(name, action.outputs, f"outputs: {', '.join(action.outputs)}")
                if not view.quiet:
                    notice(f"{option}: '{path}' is not in the DDL of {action.agent} {action.name} ({hint})")


def _named(view: View) -> dict[str, tuple[str, ...]]:
    """Return the fields that options name, by option."""
    sort = tuple(path.removeprefix("-") for path in view.sort if path != BY_NAME)
    return {"--fields": view.fields, "--group-by": view.group_by, "--where": _compared(view.where), "--sort": sort}


def _check_names(option: str, paths: Iterable[str], known: Sequence[str]) -> None:
    from collective.filters.paths import steps

    for path in paths:
        first = steps(path)[0][0]
        if first not in known and path not in known:
            hint = suggest(first, known, f"fields: {', '.join(known)}")
            raise UsageError(f"{option}: unknown field '{path}' ({hint})")


def _check_combination(args: argparse.Namespace, found: View) -> None:
    """Raise UsageError for options that exclude each other."""
    if found.diff and not found.group:
        raise UsageError("--diff: not allowed with --no-group, because it compares groups of replies")
    if found.group_by and not found.group:
        raise UsageError("--group-by: not allowed with --no-group")
    if getattr(args, "live", False):
        _check_live(args)
    if found.only and (other := _without_effect(args, found)):
        raise UsageError(f"{other}: not allowed with --{found.only}")
    if found.query is not None and args.output not in _DOCUMENTS:
        raise UsageError(f"--jmespath: not allowed with -o {args.output} (use text, json or yaml)")
    if found.sort and args.output == "jsonl" and not found.only:
        raise UsageError("--sort: not allowed with -o jsonl, whose lines are printed as they arrive (use json)")


def _without_effect(args: argparse.Namespace, found: View) -> str:
    """Return an option that `--names`, `--folded` or `--count` would ignore; empty if there is none."""
    given = {
        "--group-by": found.group_by,
        "--diff": found.diff,
        "--jmespath": args.jmespath,
        "--fields": found.fields and found.only != "count",
    }
    return next((option for option, value in given.items() if value), "")


def check_output_file(path: Path, forms: Sequence[str] = ()) -> None:
    """Raise UsageError if the file of `--output-file` cannot be written, before anything is sent.

    Also for a suffix that stands for a form which the command does not have; `forms` are those of its own.
    """
    folder, suffix = path.parent, path.suffix.lower()
    if suffix in _OTHER_FILES and suffix not in forms:
        known = ", ".join([*forms, ".json", ".jsonl", ".yaml", ".csv"])
        raise UsageError(f"--output-file {path}: unknown form '{path.suffix}' (use {known} or .txt)")
    if is_folder(path):
        raise UsageError(f"--output-file {path}: is a folder")
    if not os.access(path if may_exist(path) else folder, os.W_OK):
        problem = "cannot be written" if is_folder(folder) else f"the folder {folder} does not exist"
        raise UsageError(f"--output-file {path}: {problem}")


def _check_live(args: argparse.Namespace) -> None:
    """Raise UsageError if `--live` has no terminal of its own."""
    if not sys.stderr.isatty():
        raise UsageError("--live: standard error is not a terminal (omit the option in scripts)")
    if args.output == "jsonl" and sys.stdout.isatty():
        raise UsageError("--live: not allowed with -o jsonl on a terminal, whose lines are printed as they arrive")


def read_where(text: str, option: str, action: Action) -> Filter:
    """Return the filter over replies of an option like `--where`; raise UsageError for an unknown field."""
    found = _where(text, option)
    _check_names(option, _compared(found), [*MEMBERS, *action.outputs])
    return found


def _where(text: str, option: str) -> Filter:
    """Return the filter of `option`: comparisons with and, or, not; classes and data functions are refused."""
    from collective.filters import ClassTest, DataTest, Filter, leaves
    from collective.filters.select import read_select

    wanted = Filter(select=read_select(text, option))
    for test in leaves(wanted):
        if isinstance(test, ClassTest):
            raise UsageError(f"{option} {text!r}: '{test.name}' is not compared with a value (use {test.name}=…)")
        if isinstance(test, DataTest):
            raise UsageError(f"{option} {text!r}: data functions such as '{test.function}' are for -S only")
    return wanted


def _compared(where: Filter | None) -> tuple[str, ...]:
    if where is None:
        return ()
    from collective.filters import FactTest, leaves

    return tuple(test.fact for test in leaves(where) if isinstance(test, FactTest))


def _query(text: str | None) -> Any:
    if text is None:
        return None
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        return jmespath.compile(text)
    except JMESPathError as error:
        reason = str(error).partition("\n")[0].rstrip(": ")
        raise UsageError(f"--jmespath {text!r}: {reason}") from None


def _paths(text: str) -> tuple[str, ...]:
    paths = tuple(path.strip() for path in text.split(","))
    if not all(path.strip("-") for path in paths):
        raise argparse.ArgumentTypeError(f"empty name in '{text}' (use names separated by commas)")
    return paths
