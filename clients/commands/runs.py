"""`crpc runs`: list the saved calls."""

from __future__ import annotations

import argparse
import fnmatch
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from collective import durations
from collective.clients import options, output, saved_runs
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.render.width import cut, pad, width
from collective.clients.streams import notice
from collective.clients.view_options import check_fields, read_view
from collective.errors import UsageError
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.fleet.runs.folder import RunSummary

_COLUMNS = (
    *("run", "time", "state", "exit", "agent", "action", "inputs", "collective"),
    *("nodes", "answered", "outcomes", "retry_of"),
)
_USUAL = 20  # runs that are listed without --all
_WIDEST = 60  # columns of the call in the text form
_NARROWEST = 12  # and at least


def make_parser() -> Parser:
    """Return the parser of `crpc runs`."""
    parser = Parser(
        "crpc runs",
        description=f"{COMMANDS['runs']}.\n\nThe newest run comes first. Other commands take a RUN as its ID or the "
        "first digits of it, as 'last', or as -2 for the one before the last. client.yaml sets how long runs are kept.",
        examples=["crpc runs", "crpc runs package --since 2h", "crpc runs --not-ok --all -o json"],
    )
    completed_by(
        "agent",
        parser.add_argument("agent", nargs="?", metavar="AGENT", help="only calls of this agent (name or glob)"),
    )
    completed_by(
        "described",
        parser.add_argument("action", nargs="?", metavar="ACTION", help="only calls of this action (name or glob)"),
    )
    parser.add_argument("--since", type=_age, metavar="AGE", help="only calls of the last 90s, 15m, 2h or 3d")
    parser.add_argument("--not-ok", action="store_true", help="only calls that did not end with exit code 0")
    parser.add_argument("--all", action="store_true", help=f"list all runs, not only the newest {_USUAL}")
    options.add_target(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the saved runs."""
    args = make_parser().parse_args(arguments)
    found = list(_matching(args))
    shown = found if args.all or _selects(args) else found[:_USUAL]
    entries = [_entry(summary) for summary in shown]
    rows = [[entry[name] for name in _COLUMNS] for entry in entries]
    none = "no saved run matches" if args.agent or args.since or args.not_ok else "no saved runs"
    columns = None if args.wide else output.terminal_columns(sys.stdout)
    listed = Output("runs", {"runs": entries}, _COLUMNS, rows, lambda: _text(entries, columns) or f"{none}\n")
    output.show(args, listed)
    if len(shown) < len(found):
        notice(f"{plural(len(found) - len(shown), 'older run')} not listed (--all lists all)")
    return 0


def _selects(args: argparse.Namespace) -> bool:
    """Return whether options choose, count or order runs: then all of them, and not only the newest."""
    view = read_view(args)
    check_fields(view, _COLUMNS)
    return bool(view.where or view.sort or view.only or view.query is not None)


def _matching(args: argparse.Namespace) -> Iterator[RunSummary]:
    since = 0.0 if args.since is None else time.time() - args.since
    broken = 0
    for file in saved_runs.folder(args).newest():
        if file.time < since:
            return
        try:
            summary = file.summary()
        except OSError:  # deleted by another process, or not readable
            broken += 1
            continue
        if _wanted(args, summary):
            yield summary
    if broken:
        notice(f"{plural(broken, 'saved run')} cannot be read")


def _wanted(args: argparse.Namespace, summary: RunSummary) -> bool:
    names = ((args.agent, "agent"), (args.action, "action"))
    matches = all(glob is None or fnmatch.fnmatchcase(str(summary.begin.get(name)), glob) for glob, name in names)
    return matches and not (args.not_ok and summary.end.get("exit") == 0)


def _entry(summary: RunSummary) -> dict[str, Any]:
    begin, end = summary.begin, summary.end
    entry = {name: begin.get(name) for name in _COLUMNS}
    return entry | {
        "run": summary.file.run,
        "time": summary.file.time,
        "state": summary.state,
        "exit": end.get("exit"),
        "answered": _answered(summary),
        "outcomes": end.get("outcomes"),
    }


def _answered(summary: RunSummary) -> int | None:
    """Return the number of nodes that have answered; a run that has not ended is counted."""
    outcomes = summary.end.get("outcomes")
    if isinstance(outcomes, dict):
        return sum(count for name in ("ok", "failed") if isinstance(count := outcomes.get(name), int))
    try:
        return summary.file.count_replies() if summary.begin else None
    except OSError:
        return None


def _text(entries: Sequence[Mapping[str, Any]], columns: int | None) -> str:
    """Return a line for each run; calls are cut to fit a terminal of `columns`."""
    now = time.time()
    ages = [f"{durations.in_words(now - entry['time'])} ago" for entry in entries]
    results = [_result(entry) for entry in entries]
    age_width, result_width = (max(map(width, texts), default=0) for texts in (ages, results))
    room = _WIDEST
    if columns is not None:
        room = min(room, max(_NARROWEST, columns - len("a1b2c3d4  ") - age_width - 2 - 2 - result_width))
    calls = [cut(_call(entry), room) for entry in entries]
    call_width = max(map(width, calls), default=0)
    return "".join(
        f"{saved_runs.short(entry['run'])}  {pad(age, age_width)}  {pad(call, call_width)}  {result}\n"
        for entry, age, call, result in zip(entries, ages, calls, results, strict=True)
    )


def _call(entry: Mapping[str, Any]) -> str:
    words = [str(entry[name]) for name in ("agent", "action", "inputs") if entry[name]]
    return escape_controls(" ".join(words)) or "?"


def _result(entry: Mapping[str, Any]) -> str:
    if entry["state"] == "broken":
        return "broken"
    if entry["state"] != "complete":
        return f"{entry['state']}, {entry['answered']} of {entry['nodes']} answered"
    counts = entry["outcomes"] if isinstance(entry["outcomes"], dict) else {}
    shown = [f"{count} {name}" for name, count in counts.items() if count]
    retry = f" (retry of {saved_runs.short(str(entry['retry_of']))})" if entry["retry_of"] else ""
    return escape_controls((", ".join(shown) or "no nodes") + retry)


def _age(text: str) -> float:
    try:
        return durations.read(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
