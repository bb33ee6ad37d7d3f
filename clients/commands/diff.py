"""`crpc diff [RUN [RUN]]`: compare the replies of two saved calls."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from collective.clients import options, output, saved_runs
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.render.differences import changed_lines
from collective.clients.render.formatting import Paint
from collective.clients.streams import notice
from collective.clients.view_options import check_fields, read_view
from collective.errors import CollectiveError, UsageError
from collective.exit_codes import FAILED
from collective.nodesets import fold_any
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.ddl import Action
    from collective.fleet.runs.differences import FieldChange, RunDifferences
    from collective.fleet.runs.saved_run import SavedRun

_COLORS = {"-": "red", "+": "green"}
_COLUMNS = ("node", "change", "field", "before", "after")


def make_parser() -> Parser:
    """Return the parser of `crpc diff`."""
    parser = Parser(
        "crpc diff",
        description=f"{COMMANDS['diff']}.\n\nWithout RUN, the last run is compared with the run of the same call "
        "before it; with one RUN, that run with the newest run of the same call. Outputs that the DDL marks as "
        "volatile are ignored. Exit code 2: there are differences.",
        examples=["crpc diff", "crpc diff -3 last", "crpc diff -o table"],
    )
    completed_by("run", parser.add_argument("before", nargs="?", metavar="RUN", help="the first run"))
    completed_by("run", parser.add_argument("after", nargs="?", metavar="RUN", help="the second run"))
    options.add_target(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print what differs between two runs; return 0 without differences, else 2."""
    args = make_parser().parse_args(arguments)
    check_fields(read_view(args), _COLUMNS)
    before, after = _runs(args)

    from collective.fleet.runs.differences import compare
    from collective.fleet.runs.saved_call import SavedCall

    _check_actions(before, after)
    action = SavedCall(after).action
    found = compare(before, after, action.volatile)
    if args.output == "text":
        notice(f"{saved_runs.described(before)}; compared with run {saved_runs.short(after.begin['run'])}")
    document = _document(before, after, found, action)
    paint = output.paint(args)
    output.show(args, Output("diff", document, _COLUMNS, _rows(found), lambda: _text(found, action, paint)))
    return FAILED if found.any else 0


def _check_actions(before: SavedRun, after: SavedRun) -> None:
    """Raise UsageError for runs of different actions, whose replies have nothing to compare."""
    first, second = (f"{run.begin['agent']} {run.begin['action']}" for run in (before, after))
    if first != second:
        names = [saved_runs.short(run.begin["run"]) for run in (before, after)]
        raise UsageError(f"run {names[0]} is of {first} and run {names[1]} of {second} (compare runs of one action)")


def _runs(args: argparse.Namespace) -> tuple[SavedRun, SavedRun]:
    if args.after is not None:
        return saved_runs.find(args, args.before), saved_runs.find(args, args.after)
    given = saved_runs.find(args, args.before)
    others = _same_calls(args, given)
    if args.before is not None and (
        newer := next((run for run in others if run.source.time > given.source.time), None)
    ):
        return given, newer
    earlier = next((run for run in others if run.source.time < given.source.time), None)
    if earlier is None:
        name = saved_runs.short(given.begin["run"])
        hint = "'crpc diff RUN RUN' compares runs with different inputs"
        raise UsageError(f"run {name}: no other saved run of the same call ({hint})")
    return earlier, given


def _same_calls(args: argparse.Namespace, given: SavedRun) -> Iterator[SavedRun]:
    """Yield the other runs with the same action and inputs, the newest first."""
    from collective.fleet.runs import saved_run

    for file in saved_runs.folder(args).newest():
        try:
            begin = file.begin()
            same = file.run != given.source.run and all(
                begin.get(name) == given.begin.get(name) for name in ("agent", "action", "inputs", "collective")
            )
            if same:
                yield saved_run.read(file)
        except (OSError, CollectiveError):  # another process has deleted it, or it is broken: not comparable
            continue


def _document(before: SavedRun, after: SavedRun, found: RunDifferences, action: Action) -> dict[str, Any]:
    changed = [
        {"node": node, "changes": [change._asdict() for change in changes]} for node, changes in found.changed.items()
    ]
    return {
        "before": before.begin["run"],
        "after": after.begin["run"],
        "agent": after.begin["agent"],
        "action": action.name,
        "changed": changed,
        "appeared": found.appeared,
        "went_silent": found.went_silent,
        "not_asked": found.not_asked,
        "unchanged": len(found.unchanged),
    }


def _rows(found: RunDifferences) -> list[list[Any]]:
    rows: list[list[Any]] = [
        [node, "changed", *change] for node, changes in found.changed.items() for change in changes
    ]
    for kind, nodes in (
        ("appeared", found.appeared),
        ("went silent", found.went_silent),
        ("not asked", found.not_asked),
    ):
        rows += [[node, kind, None, None, None] for node in nodes]
    return rows


def _text(found: RunDifferences, action: Action, paint: Paint) -> str:
    """Return the changes, nodes with the same changes together."""
    groups: dict[str, list[str]] = {}
    for node, changes in found.changed.items():
        text = "".join(line for change in changes for line in _lines(change, action.title, paint))
        groups.setdefault(text, []).append(node)
    parts = [f"{_folded(nodes, paint)}\n{text}\n" for text, nodes in groups.items()]
    kinds = (("Appeared", found.appeared), ("Went silent", found.went_silent), ("Not asked again", found.not_asked))
    for heading, nodes in kinds:
        parts += [f"{paint('yellow', heading)}: {plural(len(nodes), 'node')}: {fold_any(nodes)}\n\n"] if nodes else []
    return "".join([*parts, f"{plural(len(found.unchanged), 'node')} unchanged\n"])


def _folded(nodes: list[str], paint: Paint) -> str:
    count = f" ({len(nodes)})" if len(nodes) > 1 else ""
    return paint("bold", f"{fold_any(nodes)}{count}")


def _lines(change: FieldChange, title: Callable[[str], str], paint: Paint) -> Iterator[str]:
    """Yield the lines of one change, as `--diff` shows them."""
    kind, _, name = change.field.partition(".")
    yield f"   {escape_controls(title(name) if name else kind)}:\n"
    before, after = ({} if value is None else {name: value} for value in (change.before, change.after))
    for line in changed_lines(name, before, after):
        color, text = _COLORS.get(line[0]), escape_controls(line)
        yield f"      {paint(color, text) if color else text}\n"
