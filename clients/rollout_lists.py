"""Print rollouts: the list of them, and the log of one."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from collective import durations
from collective.clients import found_rollouts, output, run_records, saved_runs
from collective.clients.found_rollouts import FoundRollout
from collective.clients.output import Output
from collective.clients.streams import notice
from collective.exit_codes import OK
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.config import ClientConfig

_COLUMNS = (
    *("run", "time", "state", "exit", "agent", "action", "inputs", "collective", "caller", "nodes"),
    *("wave", "waves", "counts", "steered_by", "host", "lease_seconds", "shared"),
)
_LOG_COLUMNS = ("time", "event", "caller", "what")
_SHOWN = frozenset({"begin", "taken", "order", "sent", "gate", "silent", "end"})
_WIDEST = 50  # columns of the call in the text form


def show_list(args: argparse.Namespace, config: ClientConfig) -> int:
    """Print the rollouts, the newest first; return the exit code."""
    every = sorted(found_rollouts.every(config), key=lambda one: -one.entry.time)
    shown = [one for one in every if args.all or not one.entry.end]
    entries = [_entry(one) for one in shown]
    rows = [[entry[name] for name in _COLUMNS] for entry in entries]
    output.show(args, Output("run-list", {"runs": entries}, _COLUMNS, rows, lambda: _text(entries)))
    if len(shown) < len(every):
        notice(f"{plural(len(every) - len(shown), 'complete rollout')} not listed (--all lists all)")
    return OK


def _entry(found: FoundRollout) -> dict[str, Any]:
    entry, progress = found.entry, found.entry.progress
    counts = entry.end.get("outcomes", progress.counts)
    seconds = entry.seconds if entry.seconds < float("inf") else None
    return {
        **{name: entry.begin.get(name) for name in ("agent", "action", "inputs", "collective", "caller", "nodes")},
        "run": entry.run,
        "time": entry.time,
        "state": entry.state,
        "exit": entry.end.get("exit"),
        "wave": progress.wave or None,
        "waves": progress.waves or None,
        "counts": dict(counts),
        "steered_by": entry.holder.caller if entry.holder else None,
        "host": entry.holder.host if entry.holder else None,
        "lease_seconds": None if seconds is None else round(seconds, 1),
        "shared": found.shared,
    }


def _text(entries: Sequence[Mapping[str, Any]]) -> str:
    if not entries:
        return "no rollouts\n"
    now = time.time()
    lines = []
    for entry in entries:
        words = [str(entry[name]) for name in ("agent", "action", "inputs") if entry[name]]
        call = escape_controls(" ".join(words))
        call = call if len(call) <= _WIDEST else f"{call[: _WIDEST - 1]}…"
        counts = ", ".join(f"{count} {name}" for name, count in entry["counts"].items() if count)
        who = (
            f", {entry['steered_by']} on {entry['host']}"
            if entry["steered_by"] and entry["state"] != "complete"
            else ""
        )
        age = f"{durations.in_words(max(0.0, now - entry['time']))} ago"
        result = escape_controls(f"{entry['state']} ({counts or 'nothing sent'}){who}")
        lines.append(f"{saved_runs.short(entry['run'])}  {age:<15} {call}  {result}\n")
    return "".join(lines)


def show_log(args: argparse.Namespace, config: ClientConfig, found: FoundRollout) -> int:
    """Print the events of a rollout but for its replies; statements that do not count are marked."""
    from collective.fleet.steering.takeover import read

    steerer = run_records.steerer(config, found.store, shared=found.shared)
    known = read(found.store, found.entry, steerer)
    events = [_logged(event, known.state.refused) for event in known.found if event["event"] in _SHOWN]
    rows = [[event[name] for name in _LOG_COLUMNS] for event in events]
    document = {"run": found.entry.run, "events": events}

    def text() -> str:
        lines = (f"{_clock(event['time']):<8}  {event['event']:<7}  {event['what']}" for event in events)
        return "".join(f"{escape_controls(line)}\n" for line in lines)

    output.show(args, Output("run-log", document, _LOG_COLUMNS, rows, text))
    return OK


def _logged(event: Mapping[str, Any], refused: Mapping[str, str]) -> dict[str, Any]:
    kind = event["event"]
    nodes = event.get("nodes")
    count = "all nodes" if not isinstance(nodes, list) else plural(len(nodes), "node")
    what = {
        "begin": lambda: f"{event['caller']} begins {event['agent']} {event['action']}",
        "taken": lambda: f"{event['caller']} on {event.get('host')} goes on with it",
        "order": lambda: f"{event['caller']} orders: {event['order']}",
        "sent": lambda: f"{event.get('step') or 'action'} to {count}, request {event['request']}",
        "gate": lambda: f"after wave {event['wave']}: {event['closed'] or 'open'}",
        "silent": lambda: f"{count} silent",
        "end": lambda: f"exit code {event['exit']}" + (f", {event['stopped']}" if event.get("stopped") else ""),
    }[kind]()
    if why := refused.get(str(event.get("id"))):
        what += f" (ignored: {why})"
    return {"time": event.get("time"), "event": kind, "caller": event.get("caller"), "what": what}


def _clock(moment: float | None) -> str:
    return "" if moment is None else time.strftime("%H:%M:%S", time.localtime(moment))
